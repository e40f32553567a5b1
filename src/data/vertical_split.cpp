#include "data/vertical_split.hpp"

#include <algorithm>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file_writer.hpp"
#include "base/location.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "data/csv_cell.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

namespace fs = std::filesystem;

/// A CSV file that is there as a whole or not at all.
class CsvWriter {
  public:
    CsvWriter(FileWriter file, char separator) : file_(std::move(file)), separator_(separator) {}

    void cell(std::string_view text) {
        if (cells_++ > 0) text_ += separator_;
        append_csv_cell(text_, text, separator_);
    }

    void end_row() {
        text_ += '\n';
        cells_ = 0;
        if (text_.size() >= bytes_at_once) flush();
    }

    /// Errors: io, also of the rows before.
    Result<> finish() {
        flush();
        return written_ ? file_.finish() : written_;
    }

  private:
    static constexpr std::size_t bytes_at_once = std::size_t{64} << 10;

    void flush() {
        if (written_) written_ = file_.write(text_);
        text_.clear();
    }

    FileWriter file_;
    char separator_;
    std::string text_;  ///< not written yet
    Result<> written_;
    std::size_t cells_ = 0;
};

/// Which columns go where.
struct Plan {
    std::string id = "id";
    std::size_t id_column = 0;  ///< of the source; behind the last one when rows are numbered
    std::vector<std::vector<std::size_t>> columns;  ///< per party, of the source
    std::vector<std::size_t> widths;                ///< per party: columns of pixels of its part
};

bool has(const std::vector<std::string>& list, const std::string& name) {
    return std::ranges::find(list, name) != list.end();
}

/// Columns of pixels from the left to the right, as many to each party as to the others.
Result<> cut_pictures(const VerticalSplitOptions& options, const std::vector<std::size_t>& features,
                      Plan& plan) {
    const ImageShape& image = *options.image;
    if (features.size() != image.size())
        return fail(Errc::usage, "--image " + image.text() + " takes " +
                                     std::to_string(image.size()) +
                                     " columns that are neither id nor label, and there are " +
                                     std::to_string(features.size()));
    if (image.width < options.parties)
        return fail(Errc::usage, "--image " + image.text() + ": " + std::to_string(image.width) +
                                     " columns of pixels are too few for " +
                                     std::to_string(options.parties) + " parties");
    plan.widths.resize(options.parties);
    for (std::size_t i = 0; i < features.size(); ++i) {
        const std::size_t x = i / image.channels % image.width;
        const std::size_t party = x * options.parties / image.width;
        plan.columns[party].push_back(features[i]);
        if (i < image.width * image.channels && i % image.channels == 0) ++plan.widths[party];
    }
    return {};
}

/// A table of pictures has hundreds of columns: only some are named.
std::string no_such_column(const std::string& name, const std::vector<std::string>& names) {
    constexpr std::size_t named_max = 8;
    if (const std::string near = nearest(name, names); !near.empty())
        return ": there is no such column; the nearest is " + near;
    return ": there is no such column; there is " + join_some(names, named_max);
}

Result<Plan> plan_columns(const VerticalSplitOptions& options,
                          const std::vector<std::string>& names) {
    const auto usage = [](const std::string& what) { return fail(Errc::usage, what); };
    if (options.parties < 2 || options.parties > split_parties_max)
        return usage("--parties " + std::to_string(options.parties) + ": there must be 2 to " +
                     std::to_string(split_parties_max));
    if (!(options.overlap > 0 && options.overlap <= 1))
        return usage("--overlap " + shortest(options.overlap) + ": it must be above 0 to 1");
    Plan plan;
    if (!options.id.empty()) plan.id = options.id;
    const auto id = std::ranges::find(names, plan.id);
    if (id == names.end() && !options.id.empty())
        return usage("--id " + options.id + no_such_column(options.id, names));
    plan.id_column = static_cast<std::size_t>(id - names.begin());
    plan.columns.resize(options.parties);
    for (const std::string& label : options.labels) {
        const auto found = std::ranges::find(names, label);
        if (found == names.end()) return usage("--label " + label + no_such_column(label, names));
        const auto column = static_cast<std::size_t>(found - names.begin());
        if (column == plan.id_column)
            return usage("--label " + label + ": it is the id column; name another one");
        if (std::ranges::find(plan.columns[0], column) != plan.columns[0].end())
            return usage("--label " + label + ": it is named twice; leave one out");
        plan.columns[0].push_back(column);
    }
    std::vector<std::size_t> features;
    for (std::size_t c = 0; c < names.size(); ++c)
        if (c != plan.id_column && !names[c].empty() && !has(options.labels, names[c]))
            features.push_back(c);
    if (features.size() < options.parties)
        return usage("there are " + std::to_string(features.size()) + " columns for " +
                     std::to_string(options.parties) + " parties; each needs one");
    if (options.image) {
        if (auto cut = cut_pictures(options, features, plan); !cut)
            return tl::unexpected(std::move(cut.error()));
        return plan;
    }
    for (std::size_t i = 0; i < features.size(); ++i)
        plan.columns[i * options.parties / features.size()].push_back(features[i]);
    return plan;
}

using Writers = std::vector<CsvWriter>;

/// The files of all parties, with their headers.
Result<Writers> make_parts(const VerticalSplitOptions& options, const Plan& plan,
                           const Source& source, VerticalSplit& split) {
    const std::vector<std::string>& names = source.columns();
    Writers writers;
    fs::path where(path_within(options.source.location));
    if (!where.has_filename()) where = where.parent_path();  // a folder of pictures
    std::string stem = where.filename().string();
    stem = stem.empty() ? "table" : stem.substr(0, stem.find('.'));  // table.csv.gz
    for (std::size_t p = 0; p < options.parties; ++p) {
        SplitPart& part = split.parts.emplace_back();
        part.party = p == 0 ? "master" : "member-" + std::to_string(p - 1);
        part.file = options.out_dir / (stem + "_" + part.party + ".csv");
        auto file = FileWriter::open(part.file);
        if (!file) return tl::unexpected(std::move(file.error()));
        CsvWriter& writer = writers.emplace_back(std::move(*file), source.separator());
        writer.cell(plan.id);
        for (const std::size_t c : plan.columns[p]) {
            part.columns.push_back(names[c]);
            writer.cell(names[c]);
        }
        writer.end_row();
        if (options.image)
            part.image = {options.image->height, plan.widths[p], options.image->channels};
    }
    return writers;
}

Result<> copy_rows(const VerticalSplitOptions& options, const Plan& plan, Source& source,
                   Writers& writers, VerticalSplit& split) {
    Rng rng(options.seed);
    std::uint64_t row = 0;
    return source.for_each_row([&](std::span<const std::string_view> cells) {
        ++row;
        for (std::size_t p = 0; p < options.parties; ++p) {
            if (p > 0 && rng.uniform() >= options.overlap) continue;
            writers[p].cell(split.ids_made ? std::to_string(row)
                                           : std::string(cells[plan.id_column]));
            for (const std::size_t c : plan.columns[p]) writers[p].cell(cells[c]);
            writers[p].end_row();
            ++split.parts[p].rows;
        }
    });
}

}  // namespace

Result<VerticalSplit> split_vertically(const VerticalSplitOptions& options) {
    auto source = open_source(options.source);
    if (!source) return tl::unexpected(std::move(source.error()));
    const std::vector<std::string>& names = (*source)->columns();
    const auto plan = plan_columns(options, names);
    if (!plan) return tl::unexpected(plan.error());
    std::error_code ec;
    fs::create_directories(options.out_dir, ec);
    if (ec) return fail(Errc::io, "cannot make " + options.out_dir.string() + ": " + ec.message());

    VerticalSplit split;
    split.id = plan->id;
    split.ids_made = plan->id_column == names.size();
    auto writers = make_parts(options, *plan, **source, split);
    if (!writers) return tl::unexpected(std::move(writers.error()));
    if (auto copied = copy_rows(options, *plan, **source, *writers, split); !copied)
        return tl::unexpected(copied.error());
    for (CsvWriter& writer : *writers)
        if (auto done = writer.finish(); !done) return tl::unexpected(std::move(done.error()));
    return split;
}

}  // namespace vflbus::data
