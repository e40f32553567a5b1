#include "data/encoding.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/text.hpp"

namespace vflbus::data {
namespace {

struct EncodingName {
    Encoding encoding;
    std::string_view name;
};
constexpr EncodingName encoding_names[] = {{Encoding::utf8, "utf-8"},
                                           {Encoding::latin1, "latin-1"},
                                           {Encoding::windows1252, "windows-1252"},
                                           {Encoding::utf16le, "utf-16le"},
                                           {Encoding::utf16be, "utf-16be"}};

/// Windows-1252 from 0x80 to 0x9f; 0 where it has no character. The rest is as in Latin-1.
constexpr std::array<std::uint16_t, 32> windows1252_signs = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

constexpr unsigned char byte_of(char c) noexcept {
    return static_cast<unsigned char>(c);
}

constexpr bool is_high_byte(char c) noexcept {
    return byte_of(c) >= 0x80;
}

}  // namespace

std::string_view name_of(Encoding encoding) noexcept {
    for (const EncodingName& row : encoding_names)
        if (row.encoding == encoding) return row.name;
    return "unknown";
}

Result<std::optional<Encoding>> parse_encoding(std::string_view name) {
    std::string plain;
    for (const char c : name)
        plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == '_' ? '-' : c;
    if (plain.empty() || plain == "auto") return std::optional<Encoding>{};
    for (const EncodingName& row : encoding_names)
        if (row.name == plain) return std::optional(row.encoding);
    const std::pair<std::string_view, Encoding> others[] = {
        {"utf8", Encoding::utf8},         {"utf-16", Encoding::utf16le},
        {"utf16", Encoding::utf16le},     {"latin1", Encoding::latin1},
        {"iso-8859-1", Encoding::latin1}, {"cp1252", Encoding::windows1252},
        {"ascii", Encoding::utf8},        {"utf-8-sig", Encoding::utf8},
        {"iso8859-1", Encoding::latin1},  {"us-ascii", Encoding::utf8}};
    for (const auto& [other, encoding] : others)
        if (other == plain) return std::optional(encoding);
    return fail(Errc::bad_config,
                "there is no encoding \"" + printable(name.substr(0, 40)) +
                    "\": it is auto, utf-8, latin-1, windows-1252 or utf-16; for another one give "
                    "the table as exec:iconv -f NAME -t UTF-8 FILE");
}

ByteOrderMark byte_order_mark(std::string_view head) noexcept {
    if (head.starts_with("\xef\xbb\xbf")) return {Encoding::utf8, 3};
    // FF FE 00 00 would be UTF-32, which nobody writes tables in: its zeros are refused later
    if (head.starts_with("\xff\xfe")) return {Encoding::utf16le, 2};
    if (head.starts_with("\xfe\xff")) return {Encoding::utf16be, 2};
    return {};
}

// -- UTF-8 ------------------------------------------------------------------------

bool Utf8Check::check(std::string_view text) noexcept {
    while (!text.empty()) {
        // most text is ASCII: eight bytes at a time
        std::uint64_t word = 0;
        while (text.size() >= sizeof word) {
            std::memcpy(&word, text.data(), sizeof word);
            if ((word & 0x8080808080808080ULL) != 0) break;
            text.remove_prefix(sizeof word);
        }
        if (text.empty()) return true;
        const std::size_t length = utf8_character(text);
        if (length == 0) {
            fault_ = offset_ - text.size();
            return false;
        }
        text.remove_prefix(length);
    }
    return true;
}

bool Utf8Check::add(const char* data, std::size_t count) noexcept {
    if (!sound_) return false;
    std::string_view text(data, count);
    offset_ += count;
    while (kept_size_ > 0 && !text.empty()) {
        // the character that the last block ended in, byte by byte
        kept_[kept_size_++] = text.front();
        text.remove_prefix(1);
        if (utf8_character({kept_, kept_size_}) != 0) {
            kept_size_ = 0;
        } else if (kept_size_ == sizeof kept_) {
            fault_ = offset_ - text.size() - kept_size_;
            return sound_ = false;
        }
    }
    // a character that goes on in the next block
    std::size_t tail = 0;
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
        const unsigned char c = byte_of(text[text.size() - back]);
        if (c < 0x80) break;
        if (c < 0xc0) continue;
        const std::size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        if (length > back) tail = back;
        break;
    }
    std::copy_n(text.end() - static_cast<std::ptrdiff_t>(tail), tail, kept_ + kept_size_);
    const std::size_t checked = text.size() - tail;
    offset_ -= tail;
    sound_ = check(text.substr(0, checked));
    offset_ += tail;
    kept_size_ += tail;
    return sound_;
}

bool Utf8Check::finish() noexcept {
    if (sound_ && kept_size_ > 0) {
        fault_ = offset_ - kept_size_;
        sound_ = false;
    }
    return sound_;
}

// -- guessing ---------------------------------------------------------------------

namespace {

/// Counts what speaks for and against Windows-1252 in a text that is no UTF-8.
class Western {
  public:
    void add(std::string_view text) {
        for (std::size_t i = 0; i < text.size();) {
            if (!is_high_byte(text[i])) {
                end_run();
                before_ = text[i++];
                continue;
            }
            // a character of UTF-8 is two bytes or more; single high bytes are none
            if (const std::size_t length = utf8_character(text.substr(i)); length > 1) {
                ++utf8_;
                i += length;
                run_ += length;
                high_ += length;
                before_ = text[i - 1];
                continue;
            }
            high(text[i], i + 1 < text.size() ? text[i + 1] : '\0');
            before_ = text[i++];
        }
    }

    [[nodiscard]] Legacy verdict() {
        end_run();
        if (utf8_ >= single_) return Legacy::mixed;
        if (undefined_ > 0 || signs_in_words_ > 0) return Legacy::unknown;
        return in_long_runs_ * 10 <= high_ ? Legacy::windows1252 : Legacy::unknown;
    }

  private:
    void high(char c, char after) {
        ++high_;
        ++single_;
        ++run_;
        const unsigned char byte = byte_of(c);
        if (byte >= 0xa0) return;
        const std::uint16_t sign = windows1252_signs[byte - 0x80U];
        const bool letter = sign == 0x0160 || sign == 0x0161 || sign == 0x017d || sign == 0x017e ||
                            sign == 0x0152 || sign == 0x0153 || sign == 0x0178 || sign == 0x0192;
        const bool joins_words = sign == 0x2019 || sign == 0x2018 || sign == 0x2013 ||
                                 sign == 0x2014 || sign == 0x20ac || sign == 0x2026;
        if (sign == 0)
            ++undefined_;
        else if (!letter && !joins_words && is_ascii_letter(before_) && is_ascii_letter(after))
            ++signs_in_words_;
    }

    static bool is_ascii_letter(char c) noexcept {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }

    void end_run() noexcept {
        constexpr std::uint64_t long_run = 3;
        if (run_ >= long_run) in_long_runs_ += run_;
        run_ = 0;
    }

    char before_ = '\0';
    std::uint64_t run_ = 0;             ///< high bytes one after another so far
    std::uint64_t high_ = 0;            ///< bytes beyond ASCII
    std::uint64_t in_long_runs_ = 0;    ///< of those, in runs of three or more
    std::uint64_t single_ = 0;          ///< of those, no part of a UTF-8 character
    std::uint64_t utf8_ = 0;            ///< characters of UTF-8 beyond ASCII
    std::uint64_t undefined_ = 0;       ///< bytes that Windows-1252 has no character for
    std::uint64_t signs_in_words_ = 0;  ///< quotation marks and the like within words
};

}  // namespace

Result<Legacy> guess_encoding(const Input& input) {
    Western western;
    const auto ok = for_each_block(input, [&](const char* data, std::size_t count) -> Result<> {
        western.add({data, count});
        return {};
    });
    if (!ok) return tl::unexpected(ok.error());
    return western.verdict();
}

// -- decoding ---------------------------------------------------------------------

namespace {

class Decoder {
  public:
    explicit Decoder(Encoding encoding) : encoding_(encoding) {}

    Result<> add(std::string_view block) {
        out_.clear();
        if (encoding_ == Encoding::utf16le || encoding_ == Encoding::utf16be) {
            if (auto ok = add_utf16(block); !ok) return ok;
        } else if (encoding_ == Encoding::utf8) {
            out_ = block;
        } else {
            for (const char c : block) add_byte(byte_of(c));
        }
        return spool_.append(out_.data(), out_.size());
    }

    Result<Input> finish() {
        if (odd_ || high_surrogate_ != 0)
            return fail(Errc::bad_data, " ends within a UTF-16 character; it was cut off");
        return spool_.finish();
    }

  private:
    void add_byte(unsigned char byte) {
        std::uint32_t point = byte;
        if (encoding_ == Encoding::windows1252 && byte >= 0x80 && byte < 0xa0)
            point = windows1252_signs[byte - 0x80U] != 0 ? windows1252_signs[byte - 0x80U] : byte;
        append_utf8(out_, point);
    }

    Result<> add_utf16(std::string_view block) {
        for (const char c : block) {
            if (!odd_) {
                first_ = byte_of(c);
                odd_ = true;
                continue;
            }
            odd_ = false;
            const std::uint32_t second = byte_of(c);
            const std::uint32_t unit =
                encoding_ == Encoding::utf16le ? second << 8 | first_ : first_ << 8 | second;
            if (!add_unit(unit))
                return fail(Errc::bad_data,
                            ", line " + std::to_string(line_) + ": half a UTF-16 character");
        }
        return {};
    }

    bool add_unit(std::uint32_t unit) {
        if (high_surrogate_ != 0) {
            if (unit < 0xdc00 || unit > 0xdfff) return false;
            append_utf8(out_, 0x10000 + ((high_surrogate_ - 0xd800) << 10) + (unit - 0xdc00));
            high_surrogate_ = 0;
            return true;
        }
        if (unit >= 0xdc00 && unit <= 0xdfff) return false;
        if (unit >= 0xd800 && unit <= 0xdbff) {
            high_surrogate_ = unit;
            return true;
        }
        line_ += unit == '\n';
        append_utf8(out_, unit);
        return true;
    }

    Encoding encoding_;
    Spool spool_;
    std::string out_;
    std::uint32_t first_ = 0;           ///< UTF-16: the first byte of a unit
    bool odd_ = false;                  ///< UTF-16: `first_` waits for the second
    std::uint32_t high_surrogate_ = 0;  ///< UTF-16: the first half of a character
    std::uint64_t line_ = 1;
};

}  // namespace

Result<Input> decode(const Input& input, std::uint64_t skip, Encoding encoding) {
    Decoder decoder(encoding);
    const auto ok = for_each_block(input, [&](const char* data, std::size_t count) {
        const std::size_t skipped = std::min<std::uint64_t>(skip, count);
        skip -= skipped;
        return decoder.add({data + skipped, count - skipped});
    });
    if (!ok) return tl::unexpected(ok.error());
    return decoder.finish();
}

}  // namespace vflbus::data
