#include "data/text_input.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace vflbus::data {
namespace {

tl::unexpected<Failure> refuse(const Place& file, const Failure& why) {
    return tl::unexpected(fault(why.code, file, why.sentence));
}

tl::unexpected<Failure> unreadable(const Place& file, const Failure& why) {
    return tl::unexpected(fault(why.code, file, " " + why.sentence));
}

/// Whether every other byte is zero, as in Latin text in UTF-16 without a byte order mark.
bool looks_like_utf16(std::string_view head) {
    std::size_t zeros[2] = {0, 0};
    for (std::size_t i = 0; i < head.size(); ++i) zeros[i % 2] += head[i] == '\0';
    const std::size_t half = head.size() / 2;
    return half > 0 && (zeros[0] * 10 > half * 8 || zeros[1] * 10 > half * 8);
}

/// Of a text whose first bytes have a zero byte among them.
tl::unexpected<Failure> zero_byte(const TextInput& text, std::string_view head, const Place& file) {
    if (looks_like_utf16(head))
        return tl::unexpected(fault(Errc::bad_data, file,
                                    " looks like UTF-16 without a byte order mark; set encoding to "
                                    "\"utf-16le\" or \"utf-16be\""));
    const auto zeros = static_cast<std::size_t>(std::count(head.begin(), head.end(), '\0'));
    if (zeros > 3 && zeros * 100 > head.size())
        return tl::unexpected(fault(Errc::bad_data, file,
                                    " is no text: it has zero bytes. A table is a CSV file, which "
                                    "may be packed with gzip or zstd"));
    return tl::unexpected(refuse_fault(text, head.find('\0'), true, Dialect(), file));
}

/// The same text with LF where CR stood: files of old Macs have CR alone at the end of a line.
Result<Input> with_line_feeds(const Input& input) {
    Spool spool;
    std::string out;
    const auto ok = for_each_block(input, [&](const char* data, std::size_t count) {
        out.assign(data, count);
        std::replace(out.begin(), out.end(), '\r', '\n');
        return spool.append(out.data(), out.size());
    });
    if (!ok) return tl::unexpected(ok.error());
    return spool.finish();
}

Result<> recode(TextInput& text, Encoding encoding, const Place& file) {
    auto decoded = decode(text.input, text.begin, encoding);
    if (!decoded) return refuse(file, decoded.error());
    text.input = std::move(*decoded);
    text.begin = 0;
    text.checked = true;
    return {};
}

/// What to do with a text that is no UTF-8 from byte `offset` on.
Result<> guess_and_recode(TextInput& text, std::uint64_t offset, const Dialect& dialect,
                          const Place& file) {
    Legacy guess = Legacy::unknown;
    if (!text.is_utf8) {
        const auto found = guess_encoding(text.input);
        if (!found) return unreadable(file, found.error());
        guess = *found;
    }
    if (guess == Legacy::windows1252) {
        text.notes.emplace_back("its text is taken for windows-1252 (encoding)");
        return recode(text, Encoding::windows1252, file);
    }
    text.is_utf8 |= guess == Legacy::mixed;
    return tl::unexpected(refuse_fault(text, offset, false, dialect, file));
}

}  // namespace

Result<TextInput> open_text(Input input, const TextFormat& stated, const Place& file) {
    TextInput text;
    text.input = std::move(input);
    auto head = text.input.head(sniff_bytes);
    if (!head) return unreadable(file, head.error());
    const ByteOrderMark mark = byte_order_mark(*head);
    text.begin = mark.mark_bytes;
    const std::optional<Encoding> encoding = mark.encoding ? mark.encoding : stated.encoding;
    text.is_utf8 = encoding == Encoding::utf8;
    if (encoding && !text.is_utf8) {
        if (auto ok = recode(text, *encoding, file); !ok) return tl::unexpected(ok.error());
    } else if (head->find('\0') != std::string::npos) {
        return zero_byte(text, *head, file);
    } else if (!encoding) {
        Utf8Check check;
        check.add(head->data(), head->size());
        const bool all = head->size() == text.input.size();
        if (all ? !check.finish() : !check.sound())
            if (auto ok = guess_and_recode(text, check.fault(), Dialect(), file); !ok)
                return tl::unexpected(ok.error());
    }
    head = text.input.head(sniff_bytes);
    if (!head) return unreadable(file, head.error());
    if (head->find('\n') == std::string::npos && head->find('\r') != std::string::npos) {
        auto lines = with_line_feeds(text.input);
        if (!lines) return refuse(file, lines.error());
        text.input = std::move(*lines);
    }
    return text;
}

Result<TextInput> decode_text(TextInput text, std::uint64_t offset, const Dialect& dialect,
                              const Place& file) {
    if (auto ok = guess_and_recode(text, offset, dialect, file); !ok)
        return tl::unexpected(ok.error());
    return text;
}

Failure refuse_fault(const TextInput& text, std::uint64_t offset, bool zero, const Dialect& dialect,
                     const Place& file) {
    const auto place = locate(text, offset, dialect, file);
    if (!place) return place.error();
    if (zero)
        return fault(Errc::bad_data, *place,
                     ": a zero byte, which no text has; the file is damaged");
    const std::string text_is = text.is_utf8 ? ", as the rest of the text is"
                                             : ", and the text does not look like Latin-1 or "
                                               "Windows-1252 either";
    return fault(Errc::bad_data, *place,
                 ": a byte here is not UTF-8" + text_is +
                     "; correct it, or convert the file (iconv -f NAME -t UTF-8), or set encoding");
}

Result<Place> locate(const TextInput& text, std::uint64_t offset, const Dialect& dialect,
                     const Place& file) {
    Place place = file;
    place.line = 1;
    place.column_number = 1;
    bool in_quotes = false;
    std::uint64_t at = 0;
    const auto ok =
        for_each_block(text.input, [&](const char* data, std::size_t count) -> Result<> {
            for (std::size_t i = 0; i < count && at < offset; ++i, ++at) {
                place.line += data[i] == '\n';
                if (data[i] == '"') in_quotes = !in_quotes;
                if (in_quotes) continue;
                if (data[i] == '\n') place.column_number = 1;
                if (data[i] == dialect.separator) ++place.column_number;
            }
            return {};
        });
    if (!ok) return unreadable(file, ok.error());
    return place;
}

}  // namespace vflbus::data
