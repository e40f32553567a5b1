#pragma once
// Distinct texts and their codes in order of first appearance. Internal to the data room: a hash
// table that a CSV cell goes through in a few nanoseconds.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vflbus::data {

class TextCodes {
  public:
    TextCodes();

    /// The code of `text`, a new one if it was not there.
    std::uint32_t code_of(std::string_view text);
    [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] std::string_view operator[](std::size_t code) const noexcept {
        const std::size_t begin = code == 0 ? 0 : ends_[code - 1];
        return std::string_view(arena_).substr(begin, ends_[code] - begin);
    }
    void clear();

    /// Distinct texts in bytewise order; new_codes[old code] = position in it.
    [[nodiscard]] std::vector<std::string> sorted(std::vector<std::uint32_t>& new_codes) const;

  private:
    void grow();

    std::string arena_;
    std::vector<std::size_t> ends_;
    std::vector<std::uint64_t> hashes_;
    std::vector<std::uint32_t> slots_;  ///< code + 1, or 0 where free; a power of two of them
};

}  // namespace vflbus::data
