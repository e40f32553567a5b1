#pragma once
// What the files of this room that call POSIX have in common. Private to it.

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

namespace vflbus {

/// "cannot write FILE: no space left on device", from errno.
inline std::string because(std::string_view what, const std::filesystem::path& path) {
    return std::string(what) + " " + path.string() + ": " + std::strerror(errno);
}

/// What this process writes before it is renamed to `path`. Where the process is killed before
/// that, the file is found by this name (remove_unfinished).
inline std::string unfinished_name(const std::filesystem::path& path) {
    return path.string() + ".tmp-" + std::to_string(::getpid());
}

}  // namespace vflbus
