// The sample of a CSV file that decides what its columns are read as.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/column_kinds.hpp"
#include "data/csv_cells.hpp"
#include "data/csv_parser.hpp"

namespace vflbus::data {
namespace {

class Sample {
  public:
    explicit Sample(CsvJob& job)
        : job_(job),
          decision_(job.request, job.options.format, job.dialect.decimal),
          style_(decision_.stated_style()),
          tallies_(job.chosen.columns.size()) {
        for (const ChosenColumn& column : job.chosen.columns) open_columns_ += column.has_values();
    }

    Result<> take() {
        ChunkBuffer buffer;
        for (const FileChunk& chunk : job_.chunks) {
            if (full()) break;
            if (auto ok = buffer.read(job_, chunk); !ok) return ok;
            const char* p = buffer.bytes.data();
            file_ = chunk.file;
            std::uint64_t line = chunk.chunk.first_line;
            for (; !full() && skip_blank_lines(p, buffer.end, job_.dialect, line); ++line)
                sound_ = row(p, buffer.end, line);
        }
        return {};
    }

    void decide() {
        for (std::size_t c = 0; c < tallies_.size(); ++c) {
            ChosenColumn& column = job_.chosen.columns[c];
            if (column.has_values()) decision_.decide(column, tallies_[c]);
        }
        for (std::string& note : decision_.notes()) job_.chosen.notes.push_back(std::move(note));
    }

    /// Columns without a name and without a cell are the separators that end each line.
    void forget_empty_columns() {
        std::erase_if(job_.chosen.left_out, [&](const LeftOut& column) {
            for (std::size_t c = 1; c < tallies_.size(); ++c)
                if (column.name == "column " + std::to_string(c + 1))
                    return job_.chosen.columns[c].name.empty() && tallies_[c].cells() == 0;
            return false;
        });
    }

  private:
    [[nodiscard]] bool full() const noexcept {
        return !sound_ || rows_ == sample_rows || open_columns_ == 0;
    }

    /// Counts the cells of one row. `line`: of its first byte, and then of its last. False when the
    /// row is malformed.
    bool row(const char*& p, const char* end, std::uint64_t& line) {
        ++rows_;
        for (std::size_t c = 0;; ++c) {
            std::string_view text;
            const std::uint64_t cell_line = line;
            const CellStop stop = read_cell(p, end, job_.dialect, scratch_, text, line);
            if (stop != CellStop::separator && stop != CellStop::row) return false;
            if (c < tallies_.size())
                cell(c, text, cell_line);
            else if (!text.empty())
                return false;
            if (stop == CellStop::row) return true;
        }
    }

    void cell(std::size_t c, std::string_view text, std::uint64_t line) {
        const ChosenColumn& column = job_.chosen.columns[c];
        KindTally& tally = tallies_[c];
        if (!column.has_values() && !column.name.empty()) return;
        if (tally.cells() == sample_cells || is_missing_text(text)) return;
        if (!tally.add(text, style_) && tally.wants_odd()) {
            std::string place = "line " + std::to_string(line);
            if (job_.files.size() > 1) place += " of " + job_.files[file_].name;
            tally.set_odd(text, std::move(place));
        }
        open_columns_ -= column.has_values() && tally.cells() == sample_cells;
    }

    CsvJob& job_;
    KindDecision decision_;
    NumberStyle style_;
    std::vector<KindTally> tallies_;
    std::size_t open_columns_ = 0;  ///< that have fewer than sample_cells cells so far
    std::size_t rows_ = 0;
    std::size_t file_ = 0;  ///< that is looked at
    std::string scratch_;
    bool sound_ = true;
};

}  // namespace

Result<> decide_kinds(CsvJob& job) {
    Sample sample(job);
    if (auto ok = sample.take(); !ok) return ok;
    sample.decide();
    sample.forget_empty_columns();
    return {};
}

}  // namespace vflbus::data
