// The sample: which columns are numbers and which are texts.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/csv_cells.hpp"
#include "data/csv_parser.hpp"
#include "data/number.hpp"

namespace vflbus::data {
namespace {

struct Tally {
    std::size_t cells = 0;  ///< that are not missing
    std::size_t numbers = 0;
};

class Sample {
  public:
    explicit Sample(CsvJob& job) : job_(job), tallies_(job.chosen.columns.size()) {
        for (const ChosenColumn& column : job.chosen.columns) open_columns_ += column.has_values();
    }

    Result<> take() {
        ChunkBuffer buffer;
        for (const FileChunk& chunk : job_.chunks) {
            if (full()) break;
            if (auto ok = buffer.read(job_, chunk); !ok) return ok;
            const char* p = buffer.bytes.data();
            std::uint64_t line = 0;
            while (!full() && skip_blank_lines(p, buffer.end, line)) sound_ = row(p, buffer.end);
        }
        return {};
    }

    void decide() const {
        for (std::size_t c = 0; c < tallies_.size(); ++c) {
            const Tally& tally = tallies_[c];
            ChosenColumn& column = job_.chosen.columns[c];
            column.undecided = tally.cells == 0;
            column.kind =
                tally.numbers * 10 >= tally.cells * 9 ? ColumnKind::numeric : ColumnKind::text;
        }
    }

  private:
    [[nodiscard]] bool full() const noexcept {
        return !sound_ || rows_ == sample_rows || open_columns_ == 0;
    }

    /// Counts the cells of one row. False when the row is malformed.
    bool row(const char*& p, const char* end) {
        ++rows_;
        std::uint64_t line = 0;
        for (std::size_t c = 0;; ++c) {
            std::string_view text;
            const CellStop stop = read_cell(p, end, scratch_, text, line);
            if ((stop != CellStop::comma && stop != CellStop::row) || c == tallies_.size())
                return false;
            Tally& tally = tallies_[c];
            if (job_.chosen.columns[c].has_values() && tally.cells < sample_cells &&
                !is_missing_text(text)) {
                tally.numbers += parse_number(text).has_value();
                open_columns_ -= ++tally.cells == sample_cells;
            }
            if (stop == CellStop::row) return true;
        }
    }

    CsvJob& job_;
    std::vector<Tally> tallies_;
    std::size_t open_columns_ = 0;  ///< that have fewer than sample_cells cells so far
    std::size_t rows_ = 0;
    std::string scratch_;
    bool sound_ = true;
};

}  // namespace

Result<> decide_kinds(CsvJob& job) {
    Sample sample(job);
    if (auto ok = sample.take(); !ok) return ok;
    sample.decide();
    return {};
}

}  // namespace vflbus::data
