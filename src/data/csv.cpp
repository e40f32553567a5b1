#include "data/csv.hpp"

#include <string_view>
#include <utility>

#include "base/assert.hpp"
#include "data/columns.hpp"
#include "data/csv_cells.hpp"
#include "data/csv_dialect.hpp"
#include "data/csv_parser.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

struct Header {
    std::vector<std::string> names;
    std::uint64_t line = 1;  ///< on which it begins
};

/// The names in the header record of `file`.
Result<Header> parse_header(const CsvFile& file, const CsvLayout& layout, const Dialect& dialect,
                            const Place& place) {
    std::string buffer(layout.header.end - layout.header.begin, '\0');
    if (auto ok = file.text.input.read(layout.header.begin, buffer.data(), buffer.size()); !ok)
        return tl::unexpected(fault(ok.error().code, place, " " + ok.error().sentence));
    if (buffer.empty() || buffer.back() != '\n') buffer.push_back('\n');
    const char* p = buffer.data();
    const char* const end = p + buffer.size();
    Header header;
    header.line = layout.header.first_line;
    const bool found = skip_blank_lines(p, end, dialect, header.line);
    VFLBUS_ASSERT(found, "a header that was found has a name in it");
    Place at = place;
    at.line = header.line;
    std::uint64_t line = header.line;
    std::string scratch;
    for (CellStop stop = CellStop::separator; stop == CellStop::separator;) {
        std::string_view text;
        stop = read_cell(p, end, dialect, scratch, text, line);
        if (stop != CellStop::separator && stop != CellStop::row)
            return tl::unexpected(fault(Errc::bad_data, at,
                                        ": the header has a quote inside a name; put the whole "
                                        "name in quotes and double those inside"));
        if (header.names.size() == columns_max)
            return tl::unexpected(fault(Errc::bad_data, at,
                                        ": more than " + std::to_string(columns_max) + " columns"));
        header.names.emplace_back(text);
    }
    return header;
}

/// The table of one or more files with the same header.
class CsvSource final : public Source {
  public:
    CsvSource(const SourceOptions& options, std::vector<CsvFile> files)
        : options_(options), files_(std::move(files)) {}

    Result<> open() {
        CsvFile& first = files_[0];
        auto head = first.text.input.head(first.text.begin + sniff_bytes);
        if (!head)
            return tl::unexpected(
                fault(head.error().code, place_of(first), " " + head.error().sentence));
        const bool all = head->size() == first.text.input.size();
        head->erase(0, first.text.begin);
        sniffed_ = sniff(*head, all, options_.format);
        notes_ = first.text.notes;
        notes_.insert(notes_.end(), sniffed_.notes.begin(), sniffed_.notes.end());
        for (CsvFile& file : files_) skip_separator_line(file);
        const auto layout =
            scan_csv({first.text, sniffed_.dialect, first.skip_lines, true}, place_of(first));
        if (!layout) return tl::unexpected(layout.error());
        if (layout->fault)
            return tl::unexpected(refuse_fault(first.text, *layout->fault, layout->zero_byte,
                                               sniffed_.dialect, place_of(first)));
        auto header = header_of(first, *layout);
        if (!header) return tl::unexpected(std::move(header.error()));
        header_ = std::move(*header);
        return {};
    }

    const std::vector<std::string>& columns() const noexcept override { return header_.names; }
    const std::vector<std::string>& notes() const noexcept override { return notes_; }
    char separator() const noexcept override { return sniffed_.dialect.separator; }

  private:
    Result<> do_each_row(const RowTaker& take) override {
        const TableRequest request{.id = std::string(row_number_id)};
        const ReadProgress progress;
        Place header = place_of(files_[0]);
        header.line = header_.line;
        auto chosen = choose_columns(header_.names, request, header);
        if (!chosen) return tl::unexpected(std::move(chosen.error()));
        CsvJob job{options_,           request, files_, sniffed_.dialect, {}, 0, 0,
                   std::move(*chosen), progress};
        if (auto ok = scan(job); !ok) return ok;
        ChunkBuffer buffer;
        for (const FileChunk& of : job.chunks) {
            if (auto ok = buffer.read(job, of); !ok) return ok;
            if (auto ok = take_rows(job, of, buffer, take); !ok) return ok;
        }
        return {};
    }

    static Result<> take_rows(const CsvJob& job, const FileChunk& of, const ChunkBuffer& buffer,
                              const RowTaker& take) {
        const std::size_t columns = job.chosen.columns.size();
        std::vector<std::string> cells(columns);
        std::vector<std::string_view> views(columns);
        std::string scratch;
        const char* p = buffer.bytes.data();
        std::uint64_t line = of.chunk.first_line;
        for (; skip_blank_lines(p, buffer.end, job.dialect, line); ++line) {
            const std::uint64_t row_line = line;
            std::size_t found = 0;
            CellStop stop = CellStop::separator;
            for (; stop == CellStop::separator; ++found) {
                std::string_view text;
                stop = read_cell(p, buffer.end, job.dialect, scratch, text, line);
                if (found < columns)
                    cells[found] = text;
                else if (text.empty())
                    --found;  // separators that end a line
            }
            if (stop != CellStop::row || found != columns)
                return tl::unexpected(fault(Errc::bad_data, job.place(of.file, row_line),
                                            ": the row has " + std::to_string(found) +
                                                " cells, the header " + std::to_string(columns)));
            std::copy(cells.begin(), cells.end(), views.begin());
            take(views);
        }
        return {};
    }

    Result<Table> do_read(const TableRequest& request, const ReadProgress& progress) override {
        Place header = place_of(files_[0]);
        header.line = header_.line;
        auto chosen = choose_columns(header_.names, request, header);
        if (!chosen) return tl::unexpected(std::move(chosen.error()));
        Dialect dialect = sniffed_.dialect;
        dialect.keep_empty_rows = request.id == row_number_id;
        CsvJob job{options_, request, files_, dialect, {}, 0, 0, std::move(*chosen), progress};
        if (auto ok = scan(job); !ok) return tl::unexpected(ok.error());
        job.chosen.notes.insert(job.chosen.notes.begin(), notes_.begin(), notes_.end());
        if (auto ok = decide_kinds(job); !ok) return tl::unexpected(ok.error());
        return parse_csv(job);
    }

    Place place() const override { return place_of(files_[0]); }
    Place place_of(const CsvFile& file) const { return {options_.party, file.name}; }

    /// Every part of a table may begin with the line "sep=;".
    static void skip_separator_line(CsvFile& file) {
        constexpr std::size_t longest = 16;
        const auto head = file.text.input.head(file.text.begin + longest);
        if (!head || head->size() < file.text.begin) return;
        const std::size_t bytes =
            separator_line_bytes(std::string_view(*head).substr(file.text.begin));
        file.text.begin += bytes;
        file.skip_lines = bytes > 0 ? 1 : 0;
    }

    Result<Header> header_of(const CsvFile& file, const CsvLayout& layout) const {
        auto header = parse_header(file, layout, sniffed_.dialect, place_of(file));
        if (header && sniffed_.row_names) header->names.insert(header->names.begin(), "");
        return header;
    }

    /// First pass over one file; when its text turns out not to be UTF-8, once more after it was
    /// decoded.
    Result<> scan_file(CsvFile& file, const Dialect& dialect) {
        for (;;) {
            auto layout = scan_csv({file.text, dialect, file.skip_lines}, place_of(file));
            if (!layout) return tl::unexpected(std::move(layout.error()));
            if (!layout->fault) {
                file.layout = std::move(*layout);
                return {};
            }
            if (layout->zero_byte)
                return tl::unexpected(
                    refuse_fault(file.text, *layout->fault, true, dialect, place_of(file)));
            auto decoded = decode_text(file.text, *layout->fault, dialect, place_of(file));
            if (!decoded) return tl::unexpected(std::move(decoded.error()));
            file.text = std::move(*decoded);
            VFLBUS_ASSERT(file.text.checked, "a decoded text is UTF-8");
            notes_.insert(notes_.end(), file.text.notes.begin(), file.text.notes.end());
        }
    }

    /// First pass over all files.
    Result<> scan(CsvJob& job) {
        for (std::size_t f = 0; f < files_.size(); ++f) {
            CsvFile& file = files_[f];
            if (auto ok = scan_file(file, job.dialect); !ok) return ok;
            if (auto ok = check_header(file); !ok) return ok;
            for (CsvChunk chunk : file.layout.chunks) {
                chunk.first_row += job.rows;
                job.chunks.push_back({f, chunk});
            }
            job.rows += file.layout.rows;
            job.bytes += file.text.input.size();
        }
        if (job.rows == 0)
            return tl::unexpected(
                fault(Errc::bad_data, place_of(files_[0]), " has a header but no rows"));
        if (job.rows >= missing_code)
            return tl::unexpected(fault(Errc::bad_data, place_of(files_[0]),
                                        " has more than 4294967294 rows; split it"));
        return {};
    }

    /// All files name the same columns in the same order, also when one of them was replaced since
    /// the header was read.
    Result<> check_header(const CsvFile& file) const {
        const auto header = header_of(file, file.layout);
        if (!header) return tl::unexpected(header.error());
        if (header->names == header_.names) return {};
        Place at = place_of(file);
        at.line = header->line;
        return tl::unexpected(fault(Errc::bad_data, at,
                                    ": its columns are not those of " + files_[0].name +
                                        "; all parts of a table name the same columns in the same "
                                        "order",
                                    ": its columns are not those of the first part of the table"));
    }

    SourceOptions options_;
    std::vector<CsvFile> files_;
    Sniffed sniffed_;
    Header header_;
    std::vector<std::string> notes_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_csv(const SourceOptions& options, std::vector<CsvFile> files) {
    VFLBUS_ASSERT(!files.empty(), "a table consists of one file or more");
    auto source = std::make_unique<CsvSource>(options, std::move(files));
    if (auto ok = source->open(); !ok) return tl::unexpected(std::move(ok.error()));
    return source;
}

}  // namespace vflbus::data
