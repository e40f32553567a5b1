#pragma once
// In which encoding a text is, and how it becomes UTF-8, which is all that the rest of the room
// knows.
//
// Why this is decided once, for the whole text, and said: a file in Latin-1 that is taken for UTF-8
// trains well, since every broken name is at least the same in each row, and predicts wrongly as
// soon as the names come from a file in another encoding.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "data/input.hpp"

namespace vflbus::data {

enum class Encoding : std::uint8_t { utf8, latin1, windows1252, utf16le, utf16be };

/// "utf-8", "latin-1", "windows-1252", "utf-16le", "utf-16be"
std::string_view name_of(Encoding encoding) noexcept;

/// A name as it stands in a configuration; "utf-16" is the little-endian one. "auto" gives
/// nothing. Errors: bad_config.
Result<std::optional<Encoding>> parse_encoding(std::string_view name);

/// What the first bytes say; `mark_bytes` of them are the byte order mark.
struct ByteOrderMark {
    std::optional<Encoding> encoding;
    std::size_t mark_bytes = 0;
};
ByteOrderMark byte_order_mark(std::string_view head) noexcept;

/// Follows a text block by block and finds the first byte that is no UTF-8.
class Utf8Check {
  public:
    /// False once a fault was found; then nothing more has to be added.
    bool add(const char* data, std::size_t count) noexcept;
    [[nodiscard]] bool sound() const noexcept { return sound_; }
    /// After the last block: false also when the text ends within a character.
    [[nodiscard]] bool finish() noexcept;
    /// Offset of the first byte of what is wrong.
    [[nodiscard]] std::uint64_t fault() const noexcept { return fault_; }

  private:
    bool check(std::string_view text) noexcept;

    std::uint64_t offset_ = 0;  ///< of the next block
    std::uint64_t fault_ = 0;
    char kept_[4] = {};  ///< the beginning of a character that goes on in the next block
    std::size_t kept_size_ = 0;
    bool sound_ = true;
};

/// What the bytes of a text that is no UTF-8 speak for.
enum class Legacy : std::uint8_t {
    windows1252,  ///< of which printable Latin-1 is a part
    mixed,        ///< UTF-8 with faults in it
    unknown,
};

/// Windows-1252 when the letters beyond ASCII stand among ASCII letters, as they do in the
/// languages of Western Europe. Unknown when the bytes speak against it: undefined ones, long runs
/// of high bytes (Cyrillic, Greek, Chinese, Japanese text), signs where letters belong (DOS code
/// pages).
Result<Legacy> guess_encoding(const Input& input);

/// The text in UTF-8, without a byte order mark. `input` begins with `skip` bytes that are not
/// text. Errors: io; bad_data for halves of UTF-16 characters. The sentences do not name the file.
Result<Input> decode(const Input& input, std::uint64_t skip, Encoding encoding);

}  // namespace vflbus::data
