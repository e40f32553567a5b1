#include "data/csv_parser.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>

#include "base/assert.hpp"
#include "base/text.hpp"
#include "data/column_kinds.hpp"
#include "data/csv_cells.hpp"
#include "data/dates.hpp"
#include "data/number.hpp"
#include "data/text_codes.hpp"

namespace vflbus::data {

Place CsvJob::place(std::size_t file, std::uint64_t line, std::size_t column) const {
    Place place{options.party, files[file].name, line};
    if (column == no_column) return place;
    place.column = chosen.columns[column].name;
    place.column_number = column + 1;
    return place;
}

Result<> ChunkBuffer::read(const CsvJob& job, const FileChunk& of) {
    const std::size_t size = of.chunk.end - of.chunk.begin;
    bytes.resize(size + 1 + number_padding);
    if (auto ok = job.files[of.file].text.input.read(of.chunk.begin, bytes.data(), size); !ok)
        return tl::unexpected(
            fault(ok.error().code, job.place(of.file, 0), " " + ok.error().sentence));
    char* last = bytes.data() + size;
    if (last[-1] != '\n') *last++ = '\n';
    std::memset(last, 0, number_padding);
    end = last;
    return {};
}

namespace {

/// Where the cells of one column of the file go.
struct Target {
    Use use = Use::skip;
    bool undecided = false;
    bool is_number = false;          ///< the cells go into the next column of numbers
    bool is_plain = false;           ///< numbers that parse_plain_number() may take
    std::uint32_t* codes = nullptr;  ///< text columns: where the cells go
    std::size_t text = 0;            ///< text columns: index among them
};

/// The texts of one column over all chunks.
struct SharedTexts {
    TextCodes codes;
    std::atomic<bool> abandoned{false};  ///< more than text_values_max: the column is given up
};

/// What one thread needs to parse a chunk; used again for the next one.
struct Work {
    ChunkBuffer buffer;
    std::vector<TextCodes> texts;  ///< per text column, of this chunk
    std::vector<double> block;     ///< numbers of some rows, row by row
    std::string scratch;
};

class Parser {
  public:
    Parser(const CsvJob& job, Table& table)
        : job_(job),
          table_(table),
          ids_(job.chunks.size()),
          found_text_(job.chosen.columns.size()),
          no_numbers_(job.chosen.columns.size()),
          missing_words_(job.chosen.columns.size()) {
        bind_targets();
        bind_lines();
    }

    Result<> run() {
        const unsigned wanted = job_.options.threads != 0
                                    ? job_.options.threads
                                    : std::max(1U, std::thread::hardware_concurrency());
        const auto count = static_cast<unsigned>(std::min<std::size_t>(wanted, job_.chunks.size()));
        std::vector<std::thread> threads;
        for (unsigned i = 1; i < count; ++i) {
            try {
                threads.emplace_back([this] { work(); });
            } catch (const std::exception&) {
                break;  // no more threads to be had: fewer do the work
            }
        }
        work();
        for (std::thread& thread : threads) thread.join();
        if (failure_) return tl::unexpected(*failure_);
        return {};
    }

    /// Columns without a cell in the sample in which a text turned up.
    [[nodiscard]] std::vector<std::size_t> late_texts() const {
        std::vector<std::size_t> columns;
        for (std::size_t c = 0; c < found_text_.size(); ++c)
            if (found_text_[c]) columns.push_back(c);
        return columns;
    }

    /// Joins the ids and gives dictionaries their sorted order.
    Result<> finish() {
        Ids& ids = table_.ids;
        std::size_t characters = 0;
        for (const Ids& part : ids_) characters += part.characters();
        ids.reserve(job_.rows, characters);
        for (Ids& part : ids_) ids.append(std::move(part));
        VFLBUS_ASSERT(ids.size() == job_.rows, "every parsed row has an id");
        std::size_t next_text = 0;
        const auto settle = [&](Column& column) {
            if (column.kind != ColumnKind::text) return true;
            return settle_texts(*texts_[next_text++], column);
        };
        const std::string too_many = std::to_string(text_values_max) + " different texts";
        for (Column& label : table_.labels)
            if (!settle(label)) return too_many_classes(label, too_many);
        std::erase_if(table_.features, [&](Column& column) {
            if (settle(column)) return false;
            table_.left_out.push_back({column.name, "more than " + too_many, LeftOutKind::texts});
            return true;
        });
        note_no_numbers();
        note_missing_words();
        return {};
    }

  private:
    /// Dashes and the like that were taken for missing numbers.
    void note_no_numbers() {
        constexpr std::size_t named_max = 5;
        std::vector<std::string> columns;
        for (std::size_t c = 0; c < no_numbers_.size(); ++c) {
            const std::uint64_t cells = no_numbers_[c];
            if (cells == 0) continue;
            columns.push_back(shown(job_.chosen.columns[c].name) + " (" + std::to_string(cells) +
                              (cells == 1 ? " cell)" : " cells)"));
        }
        if (columns.empty()) return;
        table_.notes.push_back("dashes and points alone are taken for missing numbers: " +
                               join_some(columns, named_max) +
                               " (columns: \"category\"; prepare: \"missing=0\")");
    }

    /// Words among numbers that were taken for missing ones.
    void note_missing_words() {
        constexpr std::size_t named_max = 5;
        std::vector<std::string> columns;
        for (std::size_t c = 0; c < missing_words_.size(); ++c) {
            const std::uint64_t cells = missing_words_[c];
            if (cells == 0) continue;
            std::string words;
            for (const std::string& word : job_.chosen.columns[c].missing_words)
                words += shown(word) + ", ";
            columns.push_back(shown(job_.chosen.columns[c].name) + " (" + words +
                              std::to_string(cells) + (cells == 1 ? " cell)" : " cells)"));
        }
        if (columns.empty()) return;
        table_.notes.push_back("words that stand for no number are taken for missing ones: " +
                               join_some(columns, named_max) +
                               " (columns: \"category\"; prepare: \"missing=0\")");
    }

    // -- setup ------------------------------------------------------------------

    /// Makes the table's columns and points at their cells.
    void bind_targets() {
        const std::vector<ChosenColumn>& columns = job_.chosen.columns;
        targets_.resize(columns.size());
        table_.labels.resize(job_.request.labels.size());
        for (std::size_t c = 0; c < targets_.size(); ++c) {
            const ChosenColumn& column = columns[c];
            targets_[c].use = column.use;
            targets_[c].undecided = column.undecided;
            if (!column.has_values()) continue;
            Column made{column.name,          column.kind,         {}, {}, {}, column.date,
                        column.missing_words, column.style.decimal};
            if (column.kind == ColumnKind::numeric) {
                made.numbers.resize(job_.rows);
                targets_[c].is_number = true;
                targets_[c].is_plain = column.date == DateForm::none;
                columns_of_numbers_.push_back(made.numbers.data());
            } else {
                made.codes.resize(job_.rows);
                targets_[c].codes = made.codes.data();
            }
            // moving a vector keeps its memory where it is
            if (column.use == Use::label)
                table_.labels[column.label] = std::move(made);
            else
                table_.features.push_back(std::move(made));
        }
        number_texts(table_.labels);
        number_texts(table_.features);
        constexpr std::size_t block_cells = 32'768;  // 256 KiB: within a level-2 cache
        block_rows_ = std::clamp<std::size_t>(
            block_cells / std::max<std::size_t>(1, columns_of_numbers_.size()), 16, 256);
    }

    /// Texts are numbered in the table's order, in which finish() settles them.
    void number_texts(const std::vector<Column>& columns) {
        for (const Column& column : columns) {
            if (column.kind != ColumnKind::text) continue;
            for (Target& target : targets_)
                if (target.codes == column.codes.data()) target.text = texts_.size();
            texts_.push_back(std::make_unique<SharedTexts>());
        }
    }

    /// The files of the table and the lines of its rows.
    void bind_lines() {
        bool one_line_per_row = true;
        std::uint64_t first_row = 0;
        for (const CsvFile& file : job_.files) {
            const CsvLayout& layout = file.layout;
            const std::uint64_t line = layout.chunks.empty() ? 1 : layout.chunks[0].first_line;
            table_.parts.push_back({file.name, first_row, line});
            one_line_per_row &= layout.one_line_per_row;
            first_row += layout.rows;
        }
        if (!one_line_per_row) table_.lines.resize(job_.rows);
    }

    // -- threads ----------------------------------------------------------------

    void work() {
        try {
            Work work;
            work.texts.resize(texts_.size());
            work.block.resize(block_rows_ * columns_of_numbers_.size());
            for (;;) {
                const std::size_t index = next_++;
                if (index >= job_.chunks.size() || stopped_) return;
                const FileChunk& chunk = job_.chunks[index];
                auto ok = work.buffer.read(job_, chunk);
                if (ok) ok = parse(chunk, work, ids_[index]);
                if (!ok) return stop(index, ok.error());
                share(chunk.chunk, work.texts);
                report(chunk.chunk);
            }
        } catch (const std::bad_alloc&) {
            stop(0, fault(Errc::bad_data, job_.place(0, 0), " does not fit into memory"));
        }
    }

    /// Chunks are handed out in order, so that all before a failed one are looked at: the failure
    /// that is kept is the first of the table, whoever found one first.
    void stop(std::size_t index, const Failure& failure) {
        stopped_ = true;
        const std::scoped_lock lock(mutex_);
        if (failure_ && failed_chunk_ <= index) return;
        failure_ = failure;
        failed_chunk_ = index;
    }

    void report(const CsvChunk& chunk) {
        const std::scoped_lock lock(mutex_);
        bytes_done_ += chunk.end - chunk.begin;
        if (job_.progress) job_.progress(bytes_done_, job_.bytes);
    }

    // -- one chunk --------------------------------------------------------------

    /// Numbers go into a block, row by row, and from there to their columns, a stretch of rows at a
    /// time: cell by cell, a wide table would touch another page with every number.
    Result<> parse(const FileChunk& of, Work& work, Ids& ids) {
        const CsvChunk& chunk = of.chunk;
        const char* p = work.buffer.bytes.data();
        const char* const end = work.buffer.end;
        std::uint64_t line = chunk.first_line;
        std::uint64_t row = chunk.first_row;
        std::uint64_t block_row = row;  // the first one in the block
        double* number = work.block.data();
        ids.reserve(chunk.rows, 0);
        for (; skip_blank_lines(p, end, job_.dialect, line); ++row, ++line) {
            if (row == chunk.first_row + chunk.rows) return changed(of.file);
            if (row - block_row == block_rows_) {
                flush(work.block, block_row, row);
                block_row = row;
                number = work.block.data();
            }
            if (!table_.lines.empty()) table_.lines[row] = line;
            if (auto ok = parse_row(of.file, row, p, end, line, number, work, ids); !ok) return ok;
        }
        if (row != chunk.first_row + chunk.rows) return changed(of.file);
        flush(work.block, block_row, row);
        return {};
    }

    /// One record at `p`. `line`: of its first byte, and then of its last.
    Result<> parse_row(std::size_t file, std::uint64_t row, const char*& p, const char* end,
                       std::uint64_t& line, double*& number, Work& work, Ids& ids) {
        const std::size_t columns = targets_.size();
        const char separator = job_.dialect.separator;
        const char decimal = job_.dialect.decimal;
        const std::uint64_t row_line = line;
        for (std::size_t c = 0; c < columns; ++c) {
            const Target& target = targets_[c];
            CellStop stop;
            if (target.is_plain && parse_plain_number(p, *number, separator, decimal)) {
                ++number;
                stop = *p++ == separator ? CellStop::separator : CellStop::row;
            } else {
                const std::uint64_t cell_line = line;
                std::string_view text;
                stop = read_cell(p, end, job_.dialect, work.scratch, text, line);
                if (stop == CellStop::stray_quote || stop == CellStop::open_quote)
                    return stray_quote(file, cell_line, c);
                Result<> ok;
                if (target.is_number)
                    ok = store_number(file, cell_line, c, text, *number++);
                else if (target.codes != nullptr)
                    store_text(target, row, text, work.texts);
                else if (target.use == Use::id)
                    ok = store_id(file, cell_line, c, text, ids);
                if (!ok) return ok;
            }
            if (stop == CellStop::row && c + 1 < columns) return ragged(file, row_line, c + 1, "");
            if (stop == CellStop::separator && c + 1 == columns &&
                !only_empty_cells(p, end, line, work.scratch))
                return ragged(file, row_line, columns + 1, " or more");
        }
        if (numbered_) ids.push_back(std::to_string(row + 1));
        return {};
    }

    /// Reads the cells beyond the last column. True when there is nothing in them.
    bool only_empty_cells(const char*& p, const char* end, std::uint64_t& line,
                          std::string& scratch) const {
        for (;;) {
            std::string_view text;
            const CellStop stop = read_cell(p, end, job_.dialect, scratch, text, line);
            if (!text.empty() || (stop != CellStop::separator && stop != CellStop::row))
                return false;
            if (stop == CellStop::row) return true;
        }
    }

    void flush(const std::vector<double>& block, std::uint64_t begin, std::uint64_t end) const {
        const std::size_t width = columns_of_numbers_.size();
        for (std::size_t k = 0; k < width; ++k) {
            const double* from = block.data() + k;
            double* to = columns_of_numbers_[k] + begin;
            for (std::uint64_t row = begin; row < end; ++row, from += width) *to++ = *from;
        }
    }

    Result<> store_id(std::size_t file, std::uint64_t line, std::size_t c, std::string_view text,
                      Ids& ids) const {
        // an empty id marks a row that keep_rows() will leave out
        const bool skip = job_.request.skip_missing_ids;
        if (text.empty() && !skip)
            return refuse(job_.place(file, line, c),
                          ": the id is empty; every row needs one, or set data.missing_id to "
                          "\"skip\"");
        ids.push_back(skip && is_missing_text(text) ? std::string_view{} : text);
        return {};
    }

    std::optional<double> number_of(const ChosenColumn& column, std::string_view text) const {
        if (column.date != DateForm::none) return parse_date(text, column.date);
        if (column.style.decimal == '.')
            if (const auto number = parse_number(text)) return number;
        if (column.style.plain()) return std::nullopt;
        return parse_styled(text, column.style);
    }

    Result<> store_number(std::size_t file, std::uint64_t line, std::size_t c,
                          std::string_view text, double& cell) {
        cell = std::numeric_limits<double>::quiet_NaN();
        if (is_missing_text(text)) return {};
        const ChosenColumn& column = job_.chosen.columns[c];
        if (const auto number = number_of(column, text)) {
            cell = *number;
            return {};
        }
        if (is_no_number_text(text)) {
            no_numbers_[c].fetch_add(1, std::memory_order_relaxed);
            return {};
        }
        if (column.use == Use::feature && column.rule == nullptr &&
            (is_missing_word(text) ||
             std::ranges::find(column.missing_words, text) != column.missing_words.end())) {
            missing_words_[c].fetch_add(1, std::memory_order_relaxed);
            return {};
        }
        if (targets_[c].undecided) {
            found_text_[c] = true;
            return {};
        }
        const std::string what = why_not(column, text);
        return tl::unexpected(fault(Errc::bad_data, job_.place(file, line, c),
                                    ": " + shown(text) + what, ": a cell" + what));
    }

    /// Why a cell does not fit its column, and what to do.
    std::string why_not(const ChosenColumn& column, std::string_view text) const {
        const bool beside = column.use == Use::label && column.known != nullptr;
        const std::string how = beside                     ? " as an exposure or weight has to be"
                                : column.use == Use::label ? " as this label has to be"
                                : column.known != nullptr
                                    ? " as the column was when the model was trained"
                                : column.rule != nullptr ? " as the column is declared to be"
                                                         : " as the rest of the column is";
        const std::string correct =
            beside ? "; correct it"
            : column.known != nullptr && column.use != Use::label
                ? "; correct it or leave the cell empty"
            : column.use == Use::label ? "; correct it, or set model.task to one with classes"
                                       : "; correct it, leave the cell empty or exclude the column";
        if (column.date == DateForm::time) return " is not a time of day" + how + correct;
        if (column.date != DateForm::none)
            return " is not a date (" + std::string(name_of(column.date)) + ")" + how + correct;
        const char sign = grouping_of(text, column.style.decimal);
        if (sign != '\0')
            return " is not a number" + how +
                   "; if its digits are grouped set thousands, else correct it";
        const NumberStyle with_marks{column.style.decimal, column.style.thousands, true};
        if (!column.style.marks && parse_styled(text, with_marks))
            return " is not a number" + how +
                   "; if it is one with signs around it declare the column \"number\" (columns), "
                   "else correct it";
        return " is not a number" + how + correct;
    }

    void store_text(const Target& target, std::uint64_t row, std::string_view text,
                    std::vector<TextCodes>& texts) {
        if (is_missing_text(text)) {
            target.codes[row] = missing_code;
            return;
        }
        target.codes[row] = 0;
        SharedTexts& shared = *texts_[target.text];
        if (shared.abandoned.load(std::memory_order_relaxed)) return;
        TextCodes& codes = texts[target.text];
        target.codes[row] = codes.code_of(text);
        if (codes.size() > text_values_max) shared.abandoned = true;
    }

    // -- texts of all chunks ----------------------------------------------------

    /// Gives the chunk's texts their codes in the whole table. First come, first numbered: finish()
    /// sorts.
    void share(const CsvChunk& chunk, std::vector<TextCodes>& texts) {
        std::vector<std::uint32_t> new_codes;
        for (const Target& target : targets_) {
            if (target.codes == nullptr) continue;
            TextCodes& own = texts[target.text];
            SharedTexts& shared = *texts_[target.text];
            if (!shared.abandoned) {
                new_codes.clear();
                const std::scoped_lock lock(mutex_);
                for (std::size_t code = 0; code < own.size(); ++code)
                    new_codes.push_back(shared.codes.code_of(own[code]));
                if (shared.codes.size() > text_values_max) shared.abandoned = true;
            }
            if (!shared.abandoned)
                for (std::uint64_t row = chunk.first_row; row < chunk.first_row + chunk.rows; ++row)
                    if (target.codes[row] != missing_code)
                        target.codes[row] = new_codes[target.codes[row]];
            own.clear();
        }
    }

    /// Gives a column its dictionary. False when it has too many different texts.
    static bool settle_texts(const SharedTexts& texts, Column& column) {
        if (texts.abandoned) return false;
        std::vector<std::uint32_t> new_codes;
        column.dictionary = texts.codes.sorted(new_codes);
        for (std::uint32_t& code : column.codes)
            if (code != missing_code) code = new_codes[code];
        return true;
    }

    // -- refusals ---------------------------------------------------------------

    static tl::unexpected<Failure> refuse(const Place& place, std::string_view what) {
        return tl::unexpected(fault(Errc::bad_data, place, what));
    }

    tl::unexpected<Failure> ragged(std::size_t file, std::uint64_t line, std::size_t cells,
                                   const char* more) const {
        return refuse(job_.place(file, line),
                      ": the row has " + std::to_string(cells) + more +
                          " cells, the header names " + std::to_string(targets_.size()) +
                          " columns; add what is missing, or put text with commas in quotes");
    }

    tl::unexpected<Failure> stray_quote(std::size_t file, std::uint64_t line,
                                        std::size_t column) const {
        return refuse(job_.place(file, line, column),
                      ": a quote inside an unquoted cell, or text after a closing quote; put the "
                      "whole cell in quotes and double those inside");
    }

    tl::unexpected<Failure> too_many_classes(const Column& label,
                                             const std::string& too_many) const {
        Place place = job_.place(0, 0);
        place.column = label.name;
        return refuse(place, ": a label of more than " + too_many +
                                 " cannot be learned; is it the right column? A number to be "
                                 "predicted needs task linear");
    }

    tl::unexpected<Failure> changed(std::size_t file) const {
        return tl::unexpected(
            fault(Errc::io, job_.place(file, 0),
                  " changed while it was read; start again when nobody writes to it"));
    }

    const CsvJob& job_;
    Table& table_;
    std::vector<Target> targets_;              ///< per column of the file
    std::vector<double*> columns_of_numbers_;  ///< in the order of the file
    std::size_t block_rows_ = 0;
    bool numbered_ = job_.request.id == row_number_id;       ///< ids are numbers of rows
    std::vector<Ids> ids_;                                   ///< per chunk
    std::vector<std::unique_ptr<SharedTexts>> texts_;        ///< per text column
    std::vector<std::atomic<bool>> found_text_;              ///< per column of the file
    std::vector<std::atomic<std::uint64_t>> no_numbers_;     ///< per column: dashes and the like
    std::vector<std::atomic<std::uint64_t>> missing_words_;  ///< per column: cells of such words
    std::atomic<std::size_t> next_{0};                       ///< the chunk to be parsed next
    std::atomic<bool> stopped_{false};
    std::mutex mutex_;
    std::optional<Failure> failure_;  ///< guarded by mutex_
    std::size_t failed_chunk_ = 0;    ///< guarded by mutex_
    std::uint64_t bytes_done_ = 0;    ///< guarded by mutex_
};

}  // namespace

Result<Table> parse_csv(CsvJob& job) {
    for (;;) {
        Table table;
        table.path = job.options.location;
        table.party = job.options.party;
        table.left_out = job.chosen.left_out;
        table.notes = job.chosen.notes;
        Parser parser(job, table);
        if (auto ok = parser.run(); !ok) return tl::unexpected(ok.error());
        const std::vector<std::size_t> late = parser.late_texts();
        for (const std::size_t c : late) {
            job.chosen.columns[c].kind = ColumnKind::text;
            job.chosen.columns[c].undecided = false;
        }
        if (!late.empty()) continue;
        if (auto ok = parser.finish(); !ok) return tl::unexpected(ok.error());
        if (job.request.labels_as == LabelsAs::classes)
            for (Column& label : table.labels) {
                const bool dashes = std::ranges::any_of(label.dictionary, is_no_number_text);
                if (make_numbers(label) && dashes)
                    table.notes.push_back("dashes and points alone are taken for missing labels: " +
                                          shown(label.name));
            }
        if (auto ok = skip_rows(job.request, table); !ok) return tl::unexpected(ok.error());
        return table;
    }
}

}  // namespace vflbus::data
