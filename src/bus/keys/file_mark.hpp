#pragma once
// Whether a file is still the one that was read. Who asks often asks stat(2), and reads only what
// is another one.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>

namespace vflbus::bus {

struct FileMark {
    bool there = false;
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t changed_s = 0;  ///< st_ctim
    std::int64_t changed_ns = 0;
    friend bool operator==(const FileMark&, const FileMark&) = default;
};

/// What cannot be looked at is not there.
FileMark mark_of(const std::filesystem::path& file);

}  // namespace vflbus::bus
