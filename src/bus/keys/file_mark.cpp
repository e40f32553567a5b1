#include "bus/keys/file_mark.hpp"

#include <sys/stat.h>

namespace vflbus::bus {

FileMark mark_of(const std::filesystem::path& file) {
    struct stat found{};
    if (::stat(file.c_str(), &found) != 0) return {};
    return {true,          found.st_dev,         found.st_ino,
            found.st_size, found.st_ctim.tv_sec, found.st_ctim.tv_nsec};
}

}  // namespace vflbus::bus
