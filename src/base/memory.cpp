#include "base/memory.hpp"

#include <algorithm>
#include <fstream>
#include <string>

namespace vflbus {
namespace {

std::optional<std::uint64_t> number_in(const char* file) {
    std::ifstream in(file);
    std::uint64_t number = 0;
    if (in >> number) return number;
    return {};
}

/// The number behind a word of a file of words and numbers.
std::optional<std::uint64_t> number_behind(const char* file, const std::string& wanted) {
    std::ifstream in(file);
    std::uint64_t number = 0;
    for (std::string word; in >> word;)
        if (word == wanted && in >> number) return number;
    return {};
}

}  // namespace

std::optional<std::uint64_t> available_memory() {
    std::optional<std::uint64_t> found = number_behind("/proc/meminfo", "MemAvailable:");
    if (found) *found <<= 10;
    // a container sees its own group as the root of all; "max" is no number
    const auto most = number_in("/sys/fs/cgroup/memory.max");
    const auto used = number_in("/sys/fs/cgroup/memory.current");
    if (most && used) {
        // the cache of files counts as used, and is given back when a process needs room
        std::uint64_t left = *most > *used ? *most - *used : 0;
        for (const char* const kept : {"inactive_file", "active_file"})
            left += number_behind("/sys/fs/cgroup/memory.stat", kept).value_or(0);
        found = std::min(found.value_or(left), left);
    }
    return found;
}

}  // namespace vflbus
