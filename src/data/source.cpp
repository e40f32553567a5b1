#include "data/source.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "base/location.hpp"
#include "base/text.hpp"
#include "data/exec_source.hpp"
#include "data/file_source.hpp"
#include "data/picture_folder.hpp"
#include "data/place.hpp"
#include "data/postgres_source.hpp"
#include "data/sqlite_source.hpp"

namespace vflbus::data {
namespace {

constexpr Scheme scheme_table[] = {
    {"file", "the path of a file, or of a folder of PNG pictures", open_file},
    {"exec", "a command that writes a table", open_exec},
    {"sqlite", "FILE?query=select ...", open_sqlite},
    {"postgresql", "//USER@HOST/DATABASE?query=select ...", open_postgres},
    {"postgres", "the same", open_postgres},
};

/// The word before the first colon when it can be a scheme; empty for a plain path.
std::string_view scheme_of(std::string_view location) noexcept {
    if (const std::string_view word = server_scheme(location); !word.empty()) return word;
    const std::size_t colon = location.find(':');
    if (colon == std::string_view::npos || colon < 2) return {};
    const std::string_view word = location.substr(0, colon);
    const bool fits = std::ranges::all_of(word, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-';
    });
    return fits ? word : std::string_view{};
}

Failure unknown_scheme(const SourceOptions& options, std::string_view word) {
    std::vector<std::string> known;
    for (const Scheme& scheme : scheme_table)
        known.push_back(std::string(scheme.name) + ": (" + std::string(scheme.meaning) + ")");
    const bool server = !server_scheme(options.location).empty();  // it may hold a password
    return fault(Errc::bad_config,
                 {options.party, server ? std::string(word) + "://..." : options.location},
                 ": there is no kind of source " + shown(word) + "; there is " + join_and(known));
}

}  // namespace

std::span<const Scheme> schemes() noexcept {
    return scheme_table;
}

namespace {

/// Runs `work`; a lack of memory becomes a failure at `place`.
template <class T, class Work>
Result<T> with_memory(const Place& place, const Work& work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
    } catch (const std::length_error&) {
    }
    return tl::unexpected(fault(Errc::bad_data, place, " does not fit into memory"));
}

Result<std::unique_ptr<Source>> open_by_scheme(const SourceOptions& options) {
    const std::string_view word = scheme_of(options.location);
    if (word.empty()) return scheme_table[0].open(options);
    for (const Scheme& scheme : scheme_table) {
        if (word != scheme.name) continue;
        SourceOptions rest = options;
        rest.location = options.location.substr(word.size() + 1);
        return scheme.open(rest);
    }
    // a file may have a colon in its name
    std::error_code ec;
    if (std::filesystem::exists(options.location, ec)) return scheme_table[0].open(options);
    return tl::unexpected(unknown_scheme(options, word));
}

}  // namespace

Stamp stamp_of(const std::string& location) {
    Stamp stamp;
    if (location == "-" || !scheme_of(location).empty()) return stamp;
    std::vector<std::string> files = files_of(location);
    if (std::vector<std::string> pictures = pictures_in(location); !pictures.empty())
        files = std::move(pictures);
    for (const std::string& file : files) {
        struct stat info{};
        if (::stat(file.c_str(), &info) != 0) return {};
        std::string mark = file;
        for (const auto part :
             {static_cast<std::int64_t>(info.st_dev), static_cast<std::int64_t>(info.st_ino),
              static_cast<std::int64_t>(info.st_size),
              static_cast<std::int64_t>(info.st_mtim.tv_sec),
              static_cast<std::int64_t>(info.st_mtim.tv_nsec),
              static_cast<std::int64_t>(info.st_ctim.tv_sec),
              static_cast<std::int64_t>(info.st_ctim.tv_nsec)})
            mark += " " + std::to_string(part);
        stamp.marks_.push_back(std::move(mark));
    }
    return stamp;
}

std::string absolute_location(const std::string& location) {
    const std::string of_files = std::string(scheme_table[0].name) + ":";
    const std::string bare =
        location.starts_with(of_files) ? location.substr(of_files.size()) : location;
    const std::string_view path = path_within(bare);
    std::error_code ec;
    const std::filesystem::path full = std::filesystem::absolute(path, ec).lexically_normal();
    return path.empty() || ec ? location : with_path(bare, full.string());
}

Result<Table> Source::read(const TableRequest& request, const ReadProgress& progress) {
    return with_memory<Table>(place(), [&] { return do_read(request, progress); });
}

Result<> Source::for_each_row(const RowTaker& take) {
    return do_each_row(take);
}

Result<> Source::do_each_row(const RowTaker&) {
    return tl::unexpected(
        fault(Errc::bad_data, place(), " is no text of rows and cells; write it as CSV"));
}

Result<std::unique_ptr<Source>> open_source(const SourceOptions& options) {
    return with_memory<std::unique_ptr<Source>>({options.party, options.location},
                                                [&] { return open_by_scheme(options); });
}

Result<Table> read_table(const SourceOptions& options, const TableRequest& request,
                         const ReadProgress& progress) {
    auto source = open_source(options);
    if (!source) return tl::unexpected(std::move(source.error()));
    return (*source)->read(request, progress);
}

}  // namespace vflbus::data
