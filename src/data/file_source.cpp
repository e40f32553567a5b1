#include "data/file_source.hpp"

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "data/formats.hpp"
#include "data/input.hpp"
#include "data/picture_folder.hpp"
#include "data/place.hpp"
#include "data/source.hpp"

namespace vflbus::data {
namespace {

constexpr std::size_t parts_max = 512;

tl::unexpected<Failure> refuse(const SourceOptions& options, const std::string& file,
                               const Failure& why) {
    return tl::unexpected(fault(why.code, {options.party, file}, " " + why.sentence));
}

/// The bytes of standard input, which can be read once only: they are kept for later runs of this
/// process.
Result<Input> standard_input() {
    static std::mutex mutex;
    static std::optional<Input> kept;
    const std::scoped_lock lock(mutex);
    if (!kept) {
        if (::isatty(STDIN_FILENO) == 1)
            return fail(Errc::io,
                        "is a terminal; '-' means a table on standard input: put a file or a pipe "
                        "there");
        Spool spool;
        if (auto ok = receive(STDIN_FILENO, spool); !ok) return tl::unexpected(ok.error());
        kept = spool.finish();
    }
    return *kept;
}

Result<NamedInput> open_part(const SourceOptions& options, const std::string& file) {
    const bool from_stdin = file == "-";
    const std::string name = from_stdin ? "standard input" : file;
    auto input = from_stdin ? standard_input() : Input::open(file);
    if (!input) return refuse(options, name, input.error());
    return NamedInput{name, std::move(*input)};
}

}  // namespace

Result<> keep_standard_input(const std::string& file) {
    const auto input = standard_input();
    if (!input) return fail(Errc::io, "standard input " + input.error().sentence);
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const auto refuse_file = [&] {
        return fail(Errc::io, file + " cannot be written: " + std::strerror(errno));
    };
    if (fd < 0) return refuse_file();
    Result<> done = for_each_block(*input, [&](const char* data, std::size_t count) -> Result<> {
        while (count > 0) {
            const ssize_t written = ::write(fd, data, count);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return refuse_file();
            data += written;
            count -= static_cast<std::size_t>(written);
        }
        return {};
    });
    if (::close(fd) != 0 && done) done = refuse_file();
    return done;
}

std::vector<std::string> files_of(const std::string& location) {
    std::error_code ec;
    if (location.find_first_of("*?[") == std::string::npos || std::filesystem::exists(location, ec))
        return {location};
    glob_t found{};
    std::vector<std::string> files;
    if (::glob(location.c_str(), 0, nullptr, &found) == 0)
        for (std::size_t i = 0; i < found.gl_pathc; ++i) files.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
    return files;
}

Result<std::unique_ptr<Source>> open_file(const SourceOptions& options) {
    std::error_code ec;
    if (std::filesystem::is_directory(options.location, ec)) {
        const std::vector<std::string> pictures = pictures_in(options.location);
        if (!pictures.empty()) return open_pictures(options, pictures);
        return refuse(options, options.location,
                      {Errc::io, "is not a regular file, and as a folder holds no PNG pictures"});
    }
    const std::vector<std::string> names = files_of(options.location);
    if (names.empty())
        return refuse(options, options.location, {Errc::io, "fits no file; check the pattern"});
    if (names.size() > parts_max)
        return refuse(
            options, options.location,
            {Errc::io, "fits " + std::to_string(names.size()) + " files, but a table has " +
                           std::to_string(parts_max) + " at most; join them in a command (exec:)"});
    std::vector<NamedInput> parts;
    for (const std::string& name : names) {
        auto part = open_part(options, name);
        if (!part) return tl::unexpected(std::move(part.error()));
        parts.push_back(std::move(*part));
    }
    return open_bytes(options, std::move(parts));
}

}  // namespace vflbus::data
