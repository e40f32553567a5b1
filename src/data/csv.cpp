#include "data/csv.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <thread>

#include "data/csv_cells.hpp"
#include "data/csv_scan.hpp"
#include "data/csv_schema.hpp"
#include "data/number.hpp"
#include "data/text_codes.hpp"

namespace vflbus::data {
namespace {

Failure malformed(std::string sentence) {
    return {Errc::bad_data, std::move(sentence)};
}

Failure quote_failure(const CsvOptions& options, std::uint64_t line, const std::string& column) {
    return malformed(where(options, line, column) +
                     ": a quote inside an unquoted cell, or text after a closing quote; put the "
                     "whole cell in quotes and double those inside");
}

/// A chunk in memory: complete records, the last one ended by LF, and padding.
struct ChunkBuffer {
    std::vector<char> bytes;
    const char* end = nullptr;  ///< behind the last LF

    Result<> read(const InputFile& file, const CsvChunk& chunk) {
        const std::size_t size = chunk.end - chunk.begin;
        bytes.resize(size + 1 + number_padding);
        if (auto ok = file.read(chunk.begin, bytes.data(), size); !ok) return ok;
        char* last = bytes.data() + size;
        if (last[-1] != '\n') *last++ = '\n';
        std::memset(last, 0, number_padding);
        end = last;
        return {};
    }
};

// -- the sample: numeric or text ------------------------------------------------

/// Sets the kind of each used column from the first rows (rule in csv.hpp). What is malformed here
/// ends the sample and is reported by the second pass.
Result<> decide_kinds(const InputFile& file, const CsvLayout& layout, CsvSchema& schema) {
    struct Tally {
        std::size_t cells = 0;
        std::size_t numbers = 0;
    };
    std::vector<Tally> tallies(schema.columns.size());
    std::size_t open_columns = 0;
    for (const CsvColumn& column : schema.columns) open_columns += column.use == Use::value;
    ChunkBuffer buffer;
    std::string scratch;
    std::size_t rows = 0;
    bool sound = true;
    for (const CsvChunk& chunk : layout.chunks) {
        if (!sound || rows == sample_rows || open_columns == 0) break;
        if (auto ok = buffer.read(file, chunk); !ok) return ok;
        const char* p = buffer.bytes.data();
        const char* const end = buffer.end;
        std::uint64_t line = 0;
        while (sound && rows < sample_rows && open_columns > 0 && skip_blank_lines(p, end, line)) {
            ++rows;
            for (std::size_t c = 0;; ++c) {
                std::string_view text;
                const CellStop stop = read_cell(p, end, scratch, text, line);
                sound = (stop == CellStop::comma || stop == CellStop::row) && c < tallies.size();
                if (!sound) break;
                Tally& tally = tallies[c];
                if (schema.columns[c].use == Use::value && tally.cells < sample_cells &&
                    !is_missing_text(text)) {
                    tally.numbers += parse_number(text).has_value();
                    open_columns -= ++tally.cells == sample_cells;
                }
                if (stop == CellStop::row) break;
            }
        }
    }
    for (std::size_t c = 0; c < tallies.size(); ++c) {
        const Tally& tally = tallies[c];
        schema.columns[c].undecided = tally.cells == 0;
        schema.columns[c].kind =
            tally.numbers * 10 >= tally.cells * 9 ? ColumnKind::numeric : ColumnKind::text;
    }
    return {};
}

// -- the second pass ------------------------------------------------------------

/// Where the cells of one file column go.
struct Target {
    Use use = Use::skip;
    bool undecided = false;
    bool is_number = false;          ///< the cells go into the next column of numbers
    std::uint32_t* codes = nullptr;  ///< text columns: where the cells go
    std::size_t text = 0;            ///< text columns: index among them
};

/// The texts of one column over all chunks.
struct SharedTexts {
    TextCodes codes;
    std::atomic<bool> abandoned{false};
};

class Parser {
  public:
    Parser(const CsvOptions& options, const InputFile& file, const CsvLayout& layout,
           const CsvSchema& schema, Table& table, const CsvProgress& progress)
        : options_(options),
          file_(file),
          layout_(layout),
          schema_(schema),
          table_(table),
          progress_(progress),
          ids_(layout.chunks.size()),
          found_text_(schema.columns.size()) {
        bind_targets();
    }

    Result<> run() {
        unsigned count = options_.threads != 0 ? options_.threads
                                               : std::max(1U, std::thread::hardware_concurrency());
        count = static_cast<unsigned>(std::min<std::size_t>(count, layout_.chunks.size()));
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
        ids.reserve(layout_.rows, characters);
        for (Ids& part : ids_) ids.append(std::move(part));
        std::size_t t = 0;
        const auto settle = [&](Column& column) {
            if (column.kind != ColumnKind::text) return true;
            const SharedTexts& texts = *texts_[t++];
            if (texts.abandoned) return false;
            std::vector<std::uint32_t> new_codes;
            column.dictionary = texts.codes.sorted(new_codes);
            for (std::uint32_t& code : column.codes)
                if (code != missing_code) code = new_codes[code];
            return true;
        };
        for (Column& label : table_.labels)
            if (!settle(label))
                return fail(Errc::bad_data, where(options_) + ", column " + shown(label.name) +
                                                ": a label of more than " +
                                                std::to_string(text_values_max) +
                                                " different texts cannot be learned; is it the "
                                                "right column?");
        std::erase_if(table_.features, [&](Column& column) {
            if (settle(column)) return false;
            table_.left_out.push_back(
                {column.name, "more than " + std::to_string(text_values_max) + " different texts"});
            return true;
        });
        return {};
    }

  private:
    /// Makes the table's columns, labels in the order asked for, and points at their cells.
    void bind_targets() {
        targets_.resize(schema_.columns.size());
        table_.labels.resize(options_.labels.size());
        for (std::size_t c = 0; c < targets_.size(); ++c) {
            const CsvColumn& column = schema_.columns[c];
            targets_[c].use = column.use;
            targets_[c].undecided = column.undecided;
            if (column.use != Use::value) continue;
            const auto label =
                std::find(options_.labels.begin(), options_.labels.end(), column.name);
            Column made{column.name, column.kind, {}, {}, {}};
            if (column.kind == ColumnKind::numeric) {
                made.numbers.resize(layout_.rows);
                targets_[c].is_number = true;
                columns_of_numbers_.push_back(made.numbers.data());
            } else {
                made.codes.resize(layout_.rows);
                targets_[c].codes = made.codes.data();
            }
            // moving a vector keeps its memory where it is
            if (label != options_.labels.end())
                table_.labels[static_cast<std::size_t>(label - options_.labels.begin())] =
                    std::move(made);
            else
                table_.features.push_back(std::move(made));
        }
        // texts are numbered in the table's order, in which finish() settles them
        const auto number = [&](const Column& column) {
            if (column.kind != ColumnKind::text) return;
            for (Target& target : targets_)
                if (target.codes == column.codes.data()) target.text = texts_.size();
            texts_.push_back(std::make_unique<SharedTexts>());
        };
        for (const Column& column : table_.labels) number(column);
        for (const Column& column : table_.features) number(column);
        constexpr std::size_t block_cells = 32'768;  // 256 KiB: within a level-2 cache
        block_rows_ = std::clamp<std::size_t>(
            block_cells / std::max<std::size_t>(1, columns_of_numbers_.size()), 16, 256);
        if (!layout_.one_line_per_row) table_.lines.resize(layout_.rows);
        table_.first_line = layout_.chunks.front().first_line;
    }

    void work() {
        try {
            ChunkBuffer buffer;
            std::vector<TextCodes> texts(texts_.size());
            std::vector<double> block(block_rows_ * columns_of_numbers_.size());
            for (;;) {
                const std::size_t index = next_++;
                if (index >= layout_.chunks.size() || stopped_) return;
                const CsvChunk& chunk = layout_.chunks[index];
                auto ok = buffer.read(file_, chunk);
                if (ok) ok = parse(chunk, buffer, ids_[index], texts, block);
                if (!ok) return stop(index, ok.error());
                share(chunk, texts);
                report(chunk);
            }
        } catch (const std::bad_alloc&) {
            stop(0, malformed(where(options_) + " does not fit into memory"));
        }
    }

    /// Chunks are handed out in order, so that all before a failed one are looked at: the failure
    /// that is kept is the first of the file, whoever found one first.
    void stop(std::size_t index, const Failure& failure) {
        stopped_ = true;
        const std::scoped_lock lock(mutex_);
        if (failure_ && failed_chunk_ <= index) return;
        failure_ = failure;
        failed_chunk_ = index;
    }

    Failure ragged(std::uint64_t line, std::size_t cells, const char* more) const {
        return malformed(where(options_, line) + ": the row has " + std::to_string(cells) + more +
                         " cells, the header names " + std::to_string(targets_.size()) +
                         " columns; add what is missing, or put text with commas in quotes");
    }

    /// Numbers go into `block`, row by row, and from there to their columns, a stretch of rows at a
    /// time: cell by cell, a wide table would touch another page with every number.
    Result<> parse(const CsvChunk& chunk, const ChunkBuffer& buffer, Ids& ids,
                   std::vector<TextCodes>& texts, std::vector<double>& block) {
        const char* p = buffer.bytes.data();
        const char* const end = buffer.end;
        const std::size_t columns = targets_.size();
        std::uint64_t line = chunk.first_line;
        std::uint64_t row = chunk.first_row;
        std::uint64_t block_row = row;  // the first one in the block
        double* number = block.data();
        std::string scratch;
        ids.reserve(chunk.rows, 0);
        for (; skip_blank_lines(p, end, line); ++row, ++line) {
            if (row == chunk.first_row + chunk.rows) return changed();
            if (row - block_row == block_rows_) {
                flush(block, block_row, row);
                block_row = row;
                number = block.data();
            }
            const std::uint64_t row_line = line;
            if (!table_.lines.empty()) table_.lines[row] = line;
            for (std::size_t c = 0; c < columns; ++c) {
                const Target& target = targets_[c];
                CellStop stop;
                if (target.is_number && parse_plain_number(p, *number)) {
                    ++number;
                    stop = *p++ == ',' ? CellStop::comma : CellStop::row;
                } else {
                    const std::uint64_t cell_line = line;
                    std::string_view text;
                    stop = read_cell(p, end, scratch, text, line);
                    if (stop == CellStop::stray_quote || stop == CellStop::open_quote)
                        return tl::unexpected(
                            quote_failure(options_, cell_line, schema_.columns[c].name));
                    Result<> ok;
                    if (target.is_number)
                        ok = store_number(c, cell_line, text, *number++);
                    else if (target.codes != nullptr)
                        store_text(target, row, text, texts);
                    else if (target.use == Use::id)
                        ok = store_id(c, cell_line, text, ids);
                    if (!ok) return ok;
                }
                if (stop == CellStop::row && c + 1 < columns)
                    return tl::unexpected(ragged(row_line, c + 1, ""));
                if (stop == CellStop::comma && c + 1 == columns)
                    return tl::unexpected(ragged(row_line, columns + 1, " or more"));
            }
        }
        if (row != chunk.first_row + chunk.rows) return changed();
        flush(block, block_row, row);
        return {};
    }

    void flush(const std::vector<double>& block, std::uint64_t begin, std::uint64_t end) const {
        const std::size_t width = columns_of_numbers_.size();
        for (std::size_t k = 0; k < width; ++k) {
            const double* from = block.data() + k;
            double* to = columns_of_numbers_[k] + begin;
            for (std::uint64_t row = begin; row < end; ++row, from += width) *to++ = *from;
        }
    }

    Result<> store_id(std::size_t c, std::uint64_t line, std::string_view text, Ids& ids) const {
        if (text.empty())
            return fail(Errc::bad_data, where(options_, line, schema_.columns[c].name) +
                                            ": the id is empty; every row needs one");
        ids.push_back(text);
        return {};
    }

    Result<> store_number(std::size_t c, std::uint64_t line, std::string_view text, double& cell) {
        cell = std::numeric_limits<double>::quiet_NaN();
        if (is_missing_text(text)) return {};
        if (const auto number = parse_number(text)) {
            cell = *number;
        } else if (targets_[c].undecided) {
            found_text_[c] = true;
        } else {
            return fail(Errc::bad_data,
                        where(options_, line, schema_.columns[c].name) + ": " + shown(text) +
                            " is not a number as the rest of the column is; correct it, leave the "
                            "cell empty or exclude the column");
        }
        return {};
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

    void report(const CsvChunk& chunk) {
        const std::scoped_lock lock(mutex_);
        bytes_done_ += chunk.end - chunk.begin;
        if (progress_) progress_(bytes_done_, file_.size());
    }

    Result<> changed() const {
        return fail(
            Errc::io,
            where(options_) + " changed while it was read; start again when nobody writes to it");
    }

    const CsvOptions& options_;
    const InputFile& file_;
    const CsvLayout& layout_;
    const CsvSchema& schema_;
    Table& table_;
    const CsvProgress& progress_;
    std::vector<Target> targets_;
    std::vector<double*> columns_of_numbers_;  ///< in the order of the file
    std::size_t block_rows_ = 0;
    std::vector<Ids> ids_;                             ///< per chunk
    std::vector<std::unique_ptr<SharedTexts>> texts_;  ///< per text column
    std::vector<std::atomic<bool>> found_text_;        ///< per file column
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> stopped_{false};
    std::mutex mutex_;
    std::optional<Failure> failure_;  ///< guarded by mutex_
    std::size_t failed_chunk_ = 0;    ///< guarded by mutex_
    std::uint64_t bytes_done_ = 0;    ///< guarded by mutex_
};

struct Opened {
    InputFile file;
    CsvLayout layout;
    std::vector<std::string> names;
};

Result<Opened> open_csv(const CsvOptions& options, bool header_only) {
    auto file = InputFile::open(options.path);
    if (!file) {
        Failure failure = file.error();
        if (!options.party.empty()) failure.sentence = options.party + ": " + failure.sentence;
        return tl::unexpected(std::move(failure));
    }
    auto layout = scan_csv(*file, where(options), header_only);
    if (!layout) return tl::unexpected(layout.error());
    auto names = parse_header(*file, *layout, options);
    if (!names) return tl::unexpected(names.error());
    return Opened{std::move(*file), std::move(*layout), std::move(*names)};
}

Result<Table> read_opened(const CsvOptions& options, const Opened& opened,
                          const CsvProgress& progress) {
    auto schema = choose_columns(opened.names, options, opened.layout.header.first_line);
    if (!schema) return tl::unexpected(schema.error());
    if (opened.layout.rows == 0)
        return fail(Errc::bad_data, where(options) + " has a header but no rows");
    if (opened.layout.rows >= missing_code)
        return fail(Errc::bad_data, where(options) + " has more than 4294967294 rows; split it");
    if (auto ok = decide_kinds(opened.file, opened.layout, *schema); !ok)
        return tl::unexpected(ok.error());
    for (;;) {
        Table table;
        table.path = options.path;
        table.party = options.party;
        table.left_out = schema->left_out;
        Parser parser(options, opened.file, opened.layout, *schema, table, progress);
        if (auto ok = parser.run(); !ok) return tl::unexpected(ok.error());
        const std::vector<std::size_t> late = parser.late_texts();
        if (late.empty()) {
            if (auto ok = parser.finish(); !ok) return tl::unexpected(ok.error());
            return table;
        }
        for (const std::size_t c : late) {
            schema->columns[c].kind = ColumnKind::text;
            schema->columns[c].undecided = false;
        }
    }
}

}  // namespace

Result<Table> read_csv(const CsvOptions& options, const CsvProgress& progress) {
    try {
        auto opened = open_csv(options, false);
        if (!opened) return tl::unexpected(opened.error());
        return read_opened(options, *opened, progress);
    } catch (const std::bad_alloc&) {
        return fail(Errc::bad_data, where(options) + " does not fit into memory");
    } catch (const std::length_error&) {
        return fail(Errc::bad_data, where(options) + " does not fit into memory");
    }
}

Result<std::vector<std::string>> read_csv_header(const std::string& path,
                                                 const std::string& party) {
    CsvOptions options;
    options.path = path;
    options.party = party;
    auto opened = open_csv(options, true);
    if (!opened) return tl::unexpected(opened.error());
    return std::move(opened->names);
}

}  // namespace vflbus::data
