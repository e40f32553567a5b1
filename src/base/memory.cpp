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

}  // namespace

std::optional<std::uint64_t> available_memory() {
    std::optional<std::uint64_t> found;
    std::ifstream meminfo("/proc/meminfo");
    std::uint64_t kilobytes = 0;
    for (std::string word; meminfo >> word;)
        if (word == "MemAvailable:" && meminfo >> kilobytes) {
            found = kilobytes << 10;
            break;
        }
    // a container sees its own group as the root of all; "max" is no number
    const auto most = number_in("/sys/fs/cgroup/memory.max");
    const auto used = number_in("/sys/fs/cgroup/memory.current");
    if (most && used) {
        const std::uint64_t left = *most > *used ? *most - *used : 0;
        found = found ? std::min(*found, left) : left;
    }
    return found;
}

}  // namespace vflbus
