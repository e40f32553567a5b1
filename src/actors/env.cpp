#include "actors/env.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "base/file_writer.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"

namespace vflbus::actors {
namespace {

class FileEnv final : public Env {
  public:
    Result<std::string> read_file(const std::filesystem::path& path) override {
        return vflbus::read_file(path);
    }
    Result<> write_file(const std::filesystem::path& path, std::string_view content) override {
        return write_file_atomically(path, content);
    }
    Result<> write_secret(const std::filesystem::path& path, std::string_view content) override {
        auto writer = FileWriter::open(path, S_IRUSR | S_IWUSR);
        if (!writer) return tl::unexpected(writer.error());
        if (auto written = writer->write(content); !written) return written;
        return writer->finish();
    }
    bool exists(const std::filesystem::path& path) override {
        std::error_code ignored;
        return std::filesystem::exists(path, ignored);
    }
    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override {
        std::vector<std::string> names;
        std::error_code ec;
        std::filesystem::directory_iterator at(directory, ec);
        if (ec == std::errc::no_such_file_or_directory) return names;
        for (; !ec && at != std::filesystem::directory_iterator(); at.increment(ec))
            names.push_back(at->path().filename().string());
        if (ec) return fail(Errc::io, "cannot list " + directory.string() + ": " + ec.message());
        std::ranges::sort(names);
        return names;
    }
    Result<> remove(const std::filesystem::path& path) override {
        std::error_code ec;
        std::filesystem::remove_all(path, ec);
        if (ec) return fail(Errc::io, "cannot remove " + path.string() + ": " + ec.message());
        return {};
    }
    std::string utc_now() override {
        const std::time_t now = std::time(nullptr);
        std::tm utc{};
        gmtime_r(&now, &utc);
        std::array<char, 32> text{};
        const std::size_t length =
            std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
        return {text.data(), length};
    }
};

}  // namespace

void Env::random(std::span<std::uint8_t> out) {
    random_bytes(out);
}

std::unique_ptr<Env> make_file_env() {
    return std::make_unique<FileEnv>();
}

Result<std::string> MemoryEnv::read_file(const std::filesystem::path& path) {
    const auto found = files.find(path.string());
    if (found == files.end())
        return fail(Errc::io, "cannot read " + path.string() + ": No such file or directory");
    return found->second;
}

Result<> MemoryEnv::write_file(const std::filesystem::path& path, std::string_view content) {
    if (write_failure.code != Errc::ok && (refused.empty() || path.filename() == refused))
        return tl::unexpected(write_failure);
    files[path.string()] = content;
    return {};
}

Result<std::vector<std::string>> MemoryEnv::list(const std::filesystem::path& directory) {
    const std::string prefix = directory.string() + "/";
    std::vector<std::string> names;
    for (auto at = files.lower_bound(prefix); at != files.end() && at->first.starts_with(prefix);
         ++at) {
        std::string name = at->first.substr(prefix.size());
        name.resize(std::min(name.size(), name.find('/')));
        if (names.empty() || names.back() != name) names.push_back(std::move(name));
    }
    return names;
}

Result<> MemoryEnv::remove(const std::filesystem::path& path) {
    const std::string prefix = path.string() + "/";
    std::erase_if(files, [&](const auto& file) {
        return file.first == path.string() || file.first.starts_with(prefix);
    });
    return {};
}

bool MemoryEnv::exists(const std::filesystem::path& path) {
    return files.contains(path.string());
}

}  // namespace vflbus::actors
