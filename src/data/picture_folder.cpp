#include "data/picture_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/files.hpp"
#include "data/formats.hpp"
#include "data/input.hpp"
#include "data/place.hpp"
#include "data/png.hpp"

namespace vflbus::data {
namespace {

namespace fs = std::filesystem;

/// Bytes of a file: more than the largest picture takes unpacked, at 16 bits with transparency.
constexpr std::uintmax_t picture_file_max = std::uintmax_t{256} << 20;

bool is_png(const fs::path& path) {
    std::string end = path.extension().string();
    std::ranges::transform(end, end.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return end == ".png";
}

std::string size_text(const Picture& picture) {
    return std::to_string(picture.height) + "x" + std::to_string(picture.width) +
           (picture.channels == 1 ? " grey" : " coloured") + " pixels";
}

/// A cell of CSV whatever its text is.
std::string csv_text(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"') out += '"';
        out += c;
    }
    return out + '"';
}

/// What is in a folder, as far as it can be read: it may change meanwhile.
std::vector<fs::directory_entry> entries_in(const fs::path& folder) {
    std::vector<fs::directory_entry> out;
    std::error_code ec;
    for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec))
        out.push_back(*at);
    return out;
}

/// Whether a picture lies in a folder within `folder`, whose name is its class.
bool has_class(const std::string& folder, const fs::path& file) {
    const fs::path root = fs::path(folder).lexically_normal();
    const fs::path in = file.parent_path().lexically_normal();
    return in != root && in / "" != root;
}

/// Writes pictures as CSV.
class PictureRows {
  public:
    PictureRows(const SourceOptions& options, bool with_folders)
        : options_(options), with_folders_(with_folders) {}

    Result<> add(const fs::path& file) {
        const Place place{options_.party, file.string()};
        std::error_code ec;
        if (fs::file_size(file, ec) > picture_file_max && !ec)
            return tl::unexpected(
                fault(Errc::bad_data, place, " is larger than 256 MiB, more than is read"));
        const auto bytes = read_file(file);
        if (!bytes) return tl::unexpected(fault(Errc::io, place, " cannot be read"));
        const auto picture = decode_png(*bytes);
        if (!picture)
            return tl::unexpected(fault(Errc::bad_data, place, " " + picture.error().sentence));
        if (!first_) {
            first_ = Picture{picture->height, picture->width, picture->channels, {}};
            if (auto done = head(); !done) return done;
        }
        if (picture->height != first_->height || picture->width != first_->width ||
            picture->channels != first_->channels)
            return tl::unexpected(fault(Errc::bad_data, place,
                                        " has " + size_text(*picture) +
                                            ", and the first picture of the folder has " +
                                            size_text(*first_) + "; make all of one kind"));
        std::string line = csv_text(file.stem().string());
        if (with_folders_) line += ',';
        if (has_class(options_.location, file))
            line += csv_text(file.parent_path().filename().string());
        for (const std::uint8_t pixel : picture->pixels) line += "," + std::to_string(pixel);
        line += '\n';
        return spool_.append(line.data(), line.size());
    }

    Input finish() { return spool_.finish(); }

  private:
    Result<> head() {
        std::string line = with_folders_ ? "id,folder" : "id";
        const std::size_t pixels = first_->height * first_->width * first_->channels;
        for (std::size_t i = 0; i < pixels; ++i) line += ",p" + std::to_string(i);
        line += '\n';
        return spool_.append(line.data(), line.size());
    }

    const SourceOptions& options_;
    bool with_folders_;
    std::optional<Picture> first_;  ///< without its pixels
    Spool spool_;
};

}  // namespace

std::vector<std::string> pictures_in(const std::string& folder) {
    std::vector<std::string> files;
    std::error_code ec;
    const auto take = [&](const fs::path& in) {
        for (const fs::directory_entry& entry : entries_in(in))
            if (is_png(entry.path()) && entry.is_regular_file(ec))
                files.push_back(entry.path().string());
    };
    if (!fs::is_directory(folder, ec)) return files;
    take(folder);
    for (const fs::directory_entry& entry : entries_in(folder))
        if (entry.is_directory(ec)) take(entry.path());
    std::ranges::sort(files);
    return files;
}

Result<std::unique_ptr<Source>> open_pictures(const SourceOptions& options,
                                              const std::vector<std::string>& files) {
    const auto in_a_folder = [&](const auto& file) { return has_class(options.location, file); };
    PictureRows rows(options, std::ranges::any_of(files, in_a_folder));
    for (const std::string& file : files)
        if (auto done = rows.add(file); !done) return tl::unexpected(std::move(done.error()));
    SourceOptions text = options;
    text.format = {};
    std::vector<NamedInput> parts;
    parts.push_back({options.location, rows.finish()});
    return open_bytes(text, std::move(parts));
}

}  // namespace vflbus::data
