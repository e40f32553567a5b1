#include "data/csv_scan.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "data/csv.hpp"
#include "data/encoding.hpp"

namespace vflbus::data {
namespace {

/// Cuts lines into records and records into chunks.
class Scanner {
  public:
    Scanner(const CsvText& of, CsvLayout& layout)
        : dialect_(of.dialect), layout_(layout), line_(of.skip_lines + 1), record_line_(line_) {
        record_begin_ = chunk_.begin = of.text.begin;
        chunk_.first_line = line_;
    }

    /// A piece of a line that is followed by a line feed (`ended`) or by the rest of that line.
    /// `next` = offset behind the piece and its line feed.
    void piece(const char* begin, const char* end, bool quotes, bool ended, std::uint64_t next) {
        if (quotes) in_quotes_ ^= (std::count(begin, end, '"') & 1) != 0;
        if (!content_)
            content_ = std::any_of(begin, end, [&](char c) {
                // no line of separators alone is a header, also where it is a row of missing cells
                return !dialect_.is_nothing(c) && (has_header_ || c != dialect_.separator);
            });
        if (!ended) return;
        ++line_;
        if (!in_quotes_) end_record(next);
    }

    void end_record(std::uint64_t next) {
        if (content_) {
            ++chunk_.rows;
            if (line_ != record_line_ + 1) layout_.one_line_per_row = false;
        } else {
            layout_.one_line_per_row &= !has_header_;
        }
        if (!has_header_) {
            if (content_) {
                chunk_.end = next;
                layout_.header = chunk_;
                has_header_ = true;
                start_chunk(next);
                layout_.one_line_per_row = true;
            }
        } else if (next - chunk_.begin >= csv_chunk_bytes) {
            finish_chunk(next);
        }
        content_ = false;
        record_begin_ = next;
        record_line_ = line_;
    }

    void finish(std::uint64_t end) {
        if (content_) {
            ++line_;
            end_record(end);
        }
        if (has_header_) finish_chunk(end);
    }

    [[nodiscard]] bool has_header() const noexcept { return has_header_; }
    [[nodiscard]] bool in_quotes() const noexcept { return in_quotes_; }
    [[nodiscard]] std::uint64_t record_begin() const noexcept { return record_begin_; }
    [[nodiscard]] std::uint64_t record_line() const noexcept { return record_line_; }

  private:
    void start_chunk(std::uint64_t begin) { chunk_ = {begin, begin, layout_.rows, 0, line_}; }
    void finish_chunk(std::uint64_t end) {
        chunk_.end = end;
        layout_.rows += chunk_.rows;
        if (chunk_.rows > 0) layout_.chunks.push_back(chunk_);
        start_chunk(end);
    }

    const Dialect& dialect_;
    CsvLayout& layout_;
    CsvChunk chunk_;
    std::uint64_t line_;
    std::uint64_t record_line_;
    std::uint64_t record_begin_ = 0;
    bool in_quotes_ = false;
    bool content_ = false;
    bool has_header_ = false;
};

Failure at_line(const Place& file, std::uint64_t line, std::string_view what) {
    Place place = file;
    place.line = line;
    return fault(Errc::bad_data, place, what);
}

/// Hands the lines of a block to the scanner. `offset`: that of the block in the file.
void scan_block(const char* begin, std::size_t count, std::uint64_t offset, Scanner& scanner) {
    const char* p = begin;
    const char* const end = begin + count;
    const bool quotes = std::memchr(p, '"', count) != nullptr;
    while (p != end) {
        const auto* feed =
            static_cast<const char*>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
        const char* const stop = feed != nullptr ? feed : end;
        const char* const next = feed != nullptr ? feed + 1 : end;
        scanner.piece(p, stop, quotes, feed != nullptr,
                      offset + static_cast<std::uint64_t>(next - begin));
        p = next;
    }
}

/// Looks for what is no text. False when there is something.
class TextCheck {
  public:
    explicit TextCheck(const TextInput& text)
        : needed_(!text.checked), begin_(text.begin), offset_(text.begin) {}

    bool add(const char* data, std::size_t count, CsvLayout& layout) {
        if (!needed_) return true;
        if (const void* const zero = std::memchr(data, 0, count); zero != nullptr) {
            layout.fault =
                offset_ + static_cast<std::uint64_t>(static_cast<const char*>(zero) - data);
            layout.zero_byte = true;
            return false;
        }
        offset_ += count;
        return utf8_.add(data, count) || wrong(layout);
    }

    bool finish(CsvLayout& layout) { return !needed_ || utf8_.finish() || wrong(layout); }

  private:
    bool wrong(CsvLayout& layout) const {
        layout.fault = begin_ + utf8_.fault();
        return false;
    }

    bool needed_;
    std::uint64_t begin_;   ///< offset of the text
    std::uint64_t offset_;  ///< of the next block
    Utf8Check utf8_;
};

}  // namespace

Result<CsvLayout> scan_csv(const CsvText& of, const Place& file) {
    const Input& input = of.text.input;
    CsvLayout layout;
    Scanner scanner(of, layout);
    TextCheck check(of.text);
    std::vector<char> block(std::min<std::uint64_t>(input.size(), 1u << 20));
    std::uint64_t offset = of.text.begin;
    while (offset < input.size()) {
        const std::size_t count = std::min<std::uint64_t>(block.size(), input.size() - offset);
        if (auto ok = input.read(offset, block.data(), count); !ok)
            return tl::unexpected(fault(ok.error().code, file, " " + ok.error().sentence));
        if (!check.add(block.data(), count, layout)) return layout;
        scan_block(block.data(), count, offset, scanner);
        offset += count;
        if (offset - std::min(offset, scanner.record_begin()) > row_bytes_max)
            return tl::unexpected(at_line(file, scanner.record_line(),
                                          ": the row that begins here is longer than 64 MiB; look "
                                          "for a quote that is never closed"));
        if (of.header_only && scanner.has_header()) return layout;
    }
    if (!check.finish(layout)) return layout;
    if (scanner.in_quotes())
        return tl::unexpected(at_line(file, scanner.record_line(),
                                      ": a quote in the row that begins here is never closed; "
                                      "close it, or double it if it is part of the text"));
    scanner.finish(offset);
    if (!scanner.has_header())
        return tl::unexpected(
            fault(Errc::bad_data, file,
                  " is empty; its first line must name the columns, separated by commas"));
    return layout;
}

}  // namespace vflbus::data
