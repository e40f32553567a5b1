#include "data/csv.hpp"

#include <string_view>
#include <utility>

#include "base/assert.hpp"
#include "data/columns.hpp"
#include "data/csv_cells.hpp"
#include "data/csv_parser.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

struct Header {
    std::vector<std::string> names;
    std::uint64_t line = 1;  ///< on which it begins
};

Result<Header> parse_header(const CsvFile& file, const CsvLayout& layout, const Place& place) {
    std::string buffer(layout.header.end - layout.header.begin, '\0');
    if (auto ok = file.input.read(layout.header.begin, buffer.data(), buffer.size()); !ok)
        return tl::unexpected(fault(ok.error().code, place, " " + ok.error().sentence));
    if (buffer.empty() || buffer.back() != '\n') buffer.push_back('\n');
    const char* p = buffer.data();
    const char* const end = p + buffer.size();
    Header header;
    header.line = layout.header.first_line;
    skip_blank_lines(p, end, header.line);
    Place at = place;
    at.line = header.line;
    std::uint64_t line = header.line;
    std::string scratch;
    for (CellStop stop = CellStop::comma; stop == CellStop::comma;) {
        std::string_view text;
        stop = read_cell(p, end, scratch, text, line);
        if (stop != CellStop::comma && stop != CellStop::row)
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
        const auto layout = scan_csv(files_[0].input, place_of(files_[0]), true);
        if (!layout) return tl::unexpected(layout.error());
        auto header = parse_header(files_[0], *layout, place_of(files_[0]));
        if (!header) return tl::unexpected(std::move(header.error()));
        header_ = std::move(*header);
        return {};
    }

    const std::vector<std::string>& columns() const noexcept override { return header_.names; }

    Result<Table> read(const TableRequest& request, const ReadProgress& progress) override {
        Place header = place_of(files_[0]);
        header.line = header_.line;
        auto chosen = choose_columns(header_.names, request, header);
        if (!chosen) return tl::unexpected(std::move(chosen.error()));
        CsvJob job{options_, request, files_, {}, 0, 0, std::move(*chosen), progress};
        if (auto ok = scan(job); !ok) return tl::unexpected(ok.error());
        if (auto ok = decide_kinds(job); !ok) return tl::unexpected(ok.error());
        return parse_csv(job);
    }

  private:
    Place place_of(const CsvFile& file) const { return {options_.party, file.name}; }

    /// First pass over all files.
    Result<> scan(CsvJob& job) {
        for (std::size_t f = 0; f < files_.size(); ++f) {
            CsvFile& file = files_[f];
            auto layout = scan_csv(file.input, place_of(file));
            if (!layout) return tl::unexpected(std::move(layout.error()));
            file.layout = std::move(*layout);
            if (auto ok = check_header(file); !ok) return ok;
            for (CsvChunk chunk : file.layout.chunks) {
                chunk.first_row += job.rows;
                job.chunks.push_back({f, chunk});
            }
            job.rows += file.layout.rows;
            job.bytes += file.input.size();
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
        const auto header = parse_header(file, file.layout, place_of(file));
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
    Header header_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_csv(const SourceOptions& options, std::vector<CsvFile> files) {
    VFLBUS_ASSERT(!files.empty(), "a table consists of one file or more");
    auto source = std::make_unique<CsvSource>(options, std::move(files));
    if (auto ok = source->open(); !ok) return tl::unexpected(std::move(ok.error()));
    return source;
}

}  // namespace vflbus::data
