#pragma once
// What reads bytes that somebody else has made, each as a function that a fuzzer can call millions
// of times. A target takes any bytes. It must neither crash nor hang nor take memory for what the
// bytes only claim, and it checks what must hold of everything that it accepts, for example that
// it can be written again and read as the same.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vflbus::fuzz {

using Bytes = std::vector<std::uint8_t>;

struct Target {
    std::string_view name;
    std::string_view what;  ///< it reads
    /// Whether the bytes were accepted as something valid.
    bool (*try_input)(std::span<const std::uint8_t> input);
    /// Inputs that are accepted, of every kind that the target reads: a fuzzer begins with them.
    std::vector<Bytes> (*seeds)();
};

std::span<const Target> targets();

/// The inputs of DIRECTORY/TARGET.hex, which have failed before and must not again: one per line in
/// hexadecimal digits; "#" begins a remark.
std::vector<Bytes> failed_before(const std::string& directory, std::string_view target);

/// Ends the process with a sentence: a fault was found.
void require(bool holds, std::string_view what);

}  // namespace vflbus::fuzz
