#include "data/preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <new>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "data/number.hpp"
#include "data/place.hpp"

namespace vflbus::data {

std::size_t Preprocessor::width() const noexcept {
    std::size_t width = 0;
    for (const PreparedColumn& column : columns) width += column.width();
    return width;
}

std::vector<std::string> Preprocessor::feature_names() const {
    std::vector<std::string> names;
    for (const PreparedColumn& column : columns) {
        if (column.kind == ColumnKind::numeric || column.coding == TextCoding::frequency ||
            column.coding == TextCoding::ordinal) {
            names.push_back(column.name);
            if (column.has_value) names.push_back("has " + column.name);
        } else if (column.coding == TextCoding::hashed) {
            for (std::uint32_t i = 0; i < column.buckets; ++i)
                names.push_back(column.name + "#" + std::to_string(i));
        } else {
            for (const std::string& category : column.categories)
                names.push_back(column.name + "=" + category);
        }
    }
    return names;
}

std::vector<KnownColumn> Preprocessor::known_columns() const {
    std::vector<KnownColumn> known;
    for (const PreparedColumn& column : columns)
        if (!column.presence)
            known.push_back(
                {column.name, column.kind, column.date, column.missing_words, column.decimal});
    return known;
}

PreparedColumn presence_column() {
    PreparedColumn column;
    column.name = "has features";
    column.presence = true;
    return column;
}

Design::Design(std::size_t rows, std::size_t cols) : rows_(rows), cols_(cols) {
    constexpr std::size_t alignment = 64;
    if (cols != 0 && rows > std::numeric_limits<std::size_t>::max() / sizeof(double) / cols - 64)
        throw std::bad_alloc();
    const std::size_t bytes =
        (rows * cols * sizeof(double) + alignment - 1) / alignment * alignment;
    if (bytes == 0) return;
    data_.reset(static_cast<double*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
}

// -- fit ------------------------------------------------------------------------

namespace {

struct Fitted {
    PreparedColumn column;
    std::string removed;  ///< why it is not used, or empty
    LeftOutKind kind = LeftOutKind::constant;
    std::uint64_t missing = 0;  ///< training cells
};

Fitted fit_numeric(const Column& source, std::span<const std::uint32_t> rows, bool standardize) {
    Fitted fitted;
    PreparedColumn& column = fitted.column;
    column.name = source.name;
    column.date = source.date;
    column.missing_words = source.missing_words;
    column.decimal = source.decimal;
    double sum = 0;
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    for (const std::uint32_t row : rows) {
        const double value = source.numbers[row];
        if (std::isnan(value)) {
            ++fitted.missing;
            continue;
        }
        sum += value;
        low = std::min(low, value);
        high = std::max(high, value);
    }
    const std::uint64_t present = rows.size() - fitted.missing;
    if (present == 0) {
        fitted.removed = "all training cells are missing";
        fitted.kind = LeftOutKind::all_missing;
        return fitted;
    }
    if (low == high) {
        fitted.removed = "it is constant on the training rows";
        return fitted;
    }
    const double mean = sum / static_cast<double>(present);
    double squares = 0;
    for (const std::uint32_t row : rows) {
        const double value = source.numbers[row];
        if (!std::isnan(value)) squares += (value - mean) * (value - mean);
    }
    // missing cells become the mean: they count as rows and add nothing
    const double scale = std::sqrt(squares / static_cast<double>(rows.size()));
    column.fill = mean;
    if (!std::isfinite(mean) || (standardize && !std::isfinite(scale))) {
        fitted.removed = "its numbers are too large to add up";
        fitted.kind = LeftOutKind::scale;
    } else if (standardize && scale < std::numeric_limits<double>::min()) {
        fitted.removed = "its numbers are too close to each other to be scaled";
        fitted.kind = LeftOutKind::scale;
    } else if (standardize) {
        column.mean = mean;
        column.scale = scale;
    }
    return fitted;
}

/// Between the order statistics, as numpy's default. `sorted` is not empty.
double quantile(std::span<const double> sorted, double share) {
    const double place = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    if (below + 1 >= sorted.size()) return sorted.back();
    const double rest = place - static_cast<double>(below);
    return sorted[below] + rest * (sorted[below + 1] - sorted[below]);
}

double mean_of(std::span<const double> values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

double deviation_of(std::span<const double> values, double mean) {
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    return std::sqrt(squares / static_cast<double>(values.size()));
}

/// Middle and width of `values`, the training rows with nothing missing any more.
void scale_by(Scaling scaling, std::vector<double> values, PreparedColumn& column) {
    if (scaling == Scaling::none) return;
    // of equal numbers the mean is rounded, and would leave a deviation of nothing but rounding
    if (std::ranges::adjacent_find(values, std::not_equal_to<>()) == values.end()) {
        column.mean = values.front();
        return;
    }
    if (scaling == Scaling::standard) {
        column.mean = mean_of(values);
        column.scale = deviation_of(values, column.mean);
    } else {
        std::ranges::sort(values);
        const bool robust = scaling == Scaling::robust;
        column.mean = robust ? quantile(values, 0.5) : values.front();
        column.scale = robust ? quantile(values, 0.75) - quantile(values, 0.25)
                              : values.back() - values.front();
    }
    if (!(column.scale >= std::numeric_limits<double>::min())) column.scale = 1;
}

/// A column that the plain way has found usable, prepared as its rule says.
void prepare_numeric(const Column& source, std::span<const std::uint32_t> rows,
                     const Preparing& how, Scaling scaling, Fitted& fitted) {
    PreparedColumn& column = fitted.column;
    std::vector<double> present;
    for (const std::uint32_t row : rows)
        if (!std::isnan(source.numbers[row])) present.push_back(source.numbers[row]);
    std::ranges::sort(present);
    if (how.clip > 0) {
        column.low = quantile(present, how.clip);
        column.high = quantile(present, 1 - how.clip);
        for (double& value : present) value = std::clamp(value, column.low, column.high);
    }
    if (how.filling == Filling::constant)
        column.fill = how.constant;
    else if (how.filling == Filling::median || present.front() == present.back())
        column.fill = quantile(present, 0.5);
    else
        column.fill = mean_of(present);
    column.has_value = how.has_value && fitted.missing > 0;
    std::vector<double> filled;
    for (const std::uint32_t row : rows) {
        const double value = source.numbers[row];
        filled.push_back(std::isnan(value) ? column.fill
                                           : std::clamp(value, column.low, column.high));
    }
    column.mean = 0;
    column.scale = 1;
    scale_by(scaling, filled, column);
    if (std::isfinite(column.mean) && std::isfinite(column.scale)) return;
    fitted.removed = "its numbers are too large to add up";
    fitted.kind = LeftOutKind::scale;
}

/// "12 %", "$5,000", "(3.1)": what an amount may look like that is no plain number.
bool looks_like_number(std::string_view text) {
    const auto digit = [](char c) { return is_digit(c); };
    const auto of_amount = [](char c) {
        return is_digit(c) || (static_cast<unsigned char>(c) & 0x80U) != 0 ||
               std::string_view(" .,'%$()+-").find(c) != std::string_view::npos;
    };
    return std::ranges::any_of(text, digit) && std::ranges::all_of(text, of_amount);
}

bool looks_like_date(std::string_view text) {
    return parse_date(text, DateForm::ymd) || parse_date(text, DateForm::dmy) ||
           parse_date(text, DateForm::mdy);
}

Fitted fit_text(const Column& source, std::span<const std::uint32_t> rows, std::size_t values_max,
                TextCoding coding) {
    Fitted fitted;
    PreparedColumn& column = fitted.column;
    column.name = source.name;
    column.kind = ColumnKind::text;
    std::vector<char> seen(source.dictionary.size(), 0);
    for (const std::uint32_t row : rows) {
        const std::uint32_t code = source.codes[row];
        if (code == missing_code)
            ++fitted.missing;
        else
            seen[code] = 1;
    }
    const auto values = static_cast<std::size_t>(std::count(seen.begin(), seen.end(), 1));
    if (values == 0) {
        fitted.removed = "all training cells are missing";
        fitted.kind = LeftOutKind::all_missing;
    } else if (values == 1 && fitted.missing == 0) {
        fitted.removed = "it is constant on the training rows";
    } else if (coding != TextCoding::one_hot && values > coded_texts_max) {
        fitted.removed = std::to_string(values) + " different texts, more than " +
                         std::to_string(coded_texts_max);
        fitted.kind = LeftOutKind::texts;
    } else if (coding == TextCoding::one_hot && values > values_max) {
        fitted.removed = std::to_string(values) +
                         " different texts, more than one_hot_max = " + std::to_string(values_max);
        std::size_t like_numbers = 0;
        std::size_t like_dates = 0;
        for (std::size_t code = 0; code < seen.size(); ++code) {
            like_numbers += seen[code] != 0 && looks_like_number(source.dictionary[code]);
            like_dates += seen[code] != 0 && looks_like_date(source.dictionary[code]);
        }
        if (2 * like_dates > values)
            fitted.removed += "; most look like dates: declare it \"date\" (columns)";
        else if (2 * like_numbers > values)
            fitted.removed += "; most look like numbers: declare it \"number\" (columns)";
        fitted.kind = LeftOutKind::texts;
    } else {
        for (std::size_t code = 0; code < seen.size(); ++code)
            if (seen[code] != 0) column.categories.push_back(source.dictionary[code]);
    }
    return fitted;
}

/// The number of each category, and their scaling.
void code_texts(const Column& source, std::span<const std::uint32_t> rows, const Preparing& how,
                Scaling scaling, PreparedColumn& column) {
    column.coding = how.text;
    column.buckets = how.buckets;
    if (how.text == TextCoding::hashed) column.categories.clear();
    if (how.text != TextCoding::frequency && how.text != TextCoding::ordinal) return;
    std::vector<double> of_code(source.dictionary.size(), 0.0);
    for (const std::uint32_t row : rows)
        if (source.codes[row] != missing_code) of_code[source.codes[row]] += 1;
    double rank = 0;
    for (double& number : of_code) {
        if (number == 0) continue;
        number =
            how.text == TextCoding::ordinal ? ++rank : number / static_cast<double>(rows.size());
        column.codes.push_back(number);
    }
    std::vector<double> values;
    for (const std::uint32_t row : rows)
        values.push_back(source.codes[row] == missing_code ? 0 : of_code[source.codes[row]]);
    scale_by(scaling, std::move(values), column);
}

/// Whether a column of one number tells its rows apart all the same: by where it is missing, as in
/// a column that is 1 or empty.
bool tells_by_missing(const Column& source, std::span<const std::uint32_t> rows,
                      const Preparing& how, const Fitted& fitted) {
    if (fitted.kind != LeftOutKind::constant || fitted.missing == 0) return false;
    if (how.has_value) return true;
    if (how.filling != Filling::constant) return false;
    return std::ranges::any_of(rows, [&](std::uint32_t row) {
        return !std::isnan(source.numbers[row]) && source.numbers[row] != how.constant;
    });
}

Fitted fit_column(const Column& source, std::span<const std::uint32_t> rows, const Preparing& how,
                  const PreprocessOptions& options) {
    const Scaling scaling =
        how.scaling.value_or(options.standardize ? Scaling::standard : Scaling::none);
    if (source.kind == ColumnKind::text) {
        Fitted fitted = fit_text(source, rows, options.one_hot_max, how.text);
        if (fitted.removed.empty()) code_texts(source, rows, how, scaling, fitted.column);
        return fitted;
    }
    Preparing plain;
    plain.text = how.text;
    plain.buckets = how.buckets;
    Fitted fitted = fit_numeric(source, rows, options.standardize);
    if (tells_by_missing(source, rows, how, fitted)) fitted.removed.clear();
    if (how != plain && fitted.removed.empty()) prepare_numeric(source, rows, how, scaling, fitted);
    return fitted;
}

/// All columns as pixels.
Preprocessor fit_pixels(const Table& table, std::span<const std::uint32_t> rows, bool standardize,
                        PreprocessReport& found) {
    Preprocessor preprocessor;
    preprocessor.image = table.image;
    double sum = 0;
    std::size_t present = 0;
    for (const Column& source : table.features) {
        std::uint64_t missing = 0;
        for (const std::uint32_t row : rows) {
            const double value = source.numbers[row];
            if (std::isnan(value))
                ++missing;
            else
                sum += value;
        }
        present += rows.size() - missing;
        if (missing == 0) continue;
        found.filled.push_back({source.name, missing});
        found.filled_cells += missing;
    }
    const double mean = present == 0 ? 0 : sum / static_cast<double>(present);
    double squares = 0;
    for (const Column& source : table.features)
        for (const std::uint32_t row : rows) {
            const double value = source.numbers[row];
            if (!std::isnan(value)) squares += (value - mean) * (value - mean);
        }
    const double scale = std::sqrt(squares / std::max(1.0, static_cast<double>(present)));
    const bool scaled =
        standardize && std::isfinite(scale) && scale >= std::numeric_limits<double>::min();
    for (const Column& source : table.features) {
        PreparedColumn& column = preprocessor.columns.emplace_back();
        column.name = source.name;
        column.date = source.date;
        column.fill = mean;
        column.mean = scaled ? mean : 0;
        column.scale = scaled ? scale : 1;
    }
    return preprocessor;
}

}  // namespace

Result<> check_image(const Table& table) {
    const ImageShape& image = *table.image;
    for (const Column& column : table.features)
        if (column.kind == ColumnKind::text)
            return tl::unexpected(
                fault(Errc::bad_data, table.place(),
                      ", column " + shown(column.name) + " holds text such as " +
                          shown(column.dictionary.empty() ? "" : column.dictionary.front()) +
                          ", and pixels are numbers: mend its cells, or leave it out (exclude)",
                      ": a column holds text, and pixels are numbers"));
    if (table.features.size() == image.size()) return {};
    return tl::unexpected(fault(
        Errc::bad_data, table.place(),
        " has " + std::to_string(table.features.size()) + " columns of features, but image = \"" +
            image.text() + "\" takes " + std::to_string(image.size()) +
            (table.left_out.empty()
                 ? ""
                 : " (" + std::to_string(table.left_out.size()) + " more are not read as numbers)"),
        " has " + std::to_string(table.features.size()) +
            " columns of features, and its pictures " + std::to_string(image.size()) +
            " pixels: mend image, or exclude other columns"));
}

Preprocessor fit(const Table& table, std::span<const std::uint32_t> rows,
                 const PreprocessOptions& options, PreprocessReport* report) {
    Preprocessor preprocessor;
    PreprocessReport found;
    found.removed = table.left_out;
    if (options.pixels) {
        preprocessor = fit_pixels(table, rows, options.standardize, found);
        if (report != nullptr) *report = std::move(found);
        return preprocessor;
    }
    for (const Column& source : table.features) {
        const Preparing how = preparing_of(source.name, table.prepare);
        Fitted fitted = fit_column(source, rows, how, options);
        if (!fitted.removed.empty()) {
            found.removed.push_back({source.name, std::move(fitted.removed), fitted.kind});
            continue;
        }
        if (source.kind == ColumnKind::text) {
            if (fitted.column.coding == TextCoding::one_hot)
                found.one_hot.push_back({source.name, fitted.column.categories.size()});
            if (fitted.missing > 0) found.blank.push_back({source.name, fitted.missing});
        } else if (fitted.missing > 0) {
            found.filled.push_back({source.name, fitted.missing});
            if (how.filling != Filling::mean) found.filled_as_said.push_back(found.filled.back());
            found.filled_cells += fitted.missing;
        }
        preprocessor.columns.push_back(std::move(fitted.column));
    }
    if (report != nullptr) *report = std::move(found);
    return preprocessor;
}

// -- transform ------------------------------------------------------------------

namespace {

/// A prepared column, its source and its place in the design.
struct Step {
    const PreparedColumn* plan;
    std::size_t source;  ///< index in table.features; of no use to a presence column
    std::size_t offset;  ///< first column of the design
};

Result<std::vector<Step>> plan_steps(const Preprocessor& preprocessor, const Table& table) {
    std::vector<Step> steps;
    std::size_t offset = 0;
    for (const PreparedColumn& plan : preprocessor.columns) {
        if (plan.presence) {
            steps.push_back({&plan, table.features.size(), offset});
            offset += plan.width();
            continue;
        }
        const Column* source = table.find_feature(plan.name);
        if (source == nullptr) {
            std::vector<std::string> names;
            for (const Column& column : table.features) names.push_back(column.name);
            const std::string near = nearest(plan.name, names);
            return tl::unexpected(
                fault(Errc::bad_data, table.place(),
                      " has no column " + shown(plan.name) + ", which the model was trained with" +
                          (near.empty() ? "; add it" : "; is it " + shown(near) + " now?"),
                      " has not all columns that the model was trained with"));
        }
        if (plan.kind == ColumnKind::numeric && source->kind == ColumnKind::text)
            return tl::unexpected(
                fault(Errc::bad_data, table.place(),
                      ", column " + shown(plan.name) + " holds text such as " +
                          shown(source->dictionary.front()) +
                          ", but it was numbers when the model was trained",
                      ": a column holds text, but it was numbers when the model was trained"));
        steps.push_back({&plan, static_cast<std::size_t>(source - table.features.data()), offset});
        offset += plan.width();
    }
    return steps;
}

/// Up to eight numeric columns at once: a row of them is one cache line of the design.
constexpr std::size_t lane_max = 8;

struct Lane {
    const double* numbers;
    double fill, mean, scale, low, high;
    std::size_t offset;
    std::uint64_t filled;
};

/// The same on every machine.
std::size_t bucket_of(const std::string& text, std::uint32_t buckets) {
    const Hash256 hash = hash256(text);
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < sizeof word; ++i) word = word << 8 | hash[i];
    return static_cast<std::size_t>(word % buckets);
}

/// Aligned rows lie anywhere in the table: the cells of a row are fetched while so many rows before
/// it are written, since waiting for memory would be most of the work.
constexpr std::size_t rows_ahead = 16;

void write_lanes(std::span<Lane> lanes, std::span<const std::uint32_t> rows, Design& design) {
    double* out = design.data();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::uint32_t row = rows[i];
        if (i + rows_ahead < rows.size() && rows[i + rows_ahead] != absent_row)
            for (const Lane& lane : lanes) __builtin_prefetch(lane.numbers + rows[i + rows_ahead]);
        if (row == absent_row) {
            for (const Lane& lane : lanes) out[lane.offset] = 0;
            out += design.cols();
            continue;
        }
        for (Lane& lane : lanes) {
            double value = lane.numbers[row];
            if (std::isnan(value)) {
                value = lane.fill;
                ++lane.filled;
            } else {
                value = value < lane.low ? lane.low : value > lane.high ? lane.high : value;
            }
            out[lane.offset] = (value - lane.mean) / lane.scale;
        }
        out += design.cols();
    }
}

constexpr std::size_t no_index = std::numeric_limits<std::size_t>::max();

/// Where a text stands in its column of the design, or in the list of its numbers: its bucket or
/// its category. no_index for a text that training did not know.
std::size_t text_index(const PreparedColumn& plan, const std::string& text) {
    if (plan.coding == TextCoding::hashed) return bucket_of(text, plan.buckets);
    const auto found = std::ranges::lower_bound(plan.categories, text);
    return found != plan.categories.end() && *found == text
               ? static_cast<std::size_t>(found - plan.categories.begin())
               : no_index;
}

/// Texts as 0 or 1 in each column, or as one number.
void write_texts(const Step& step, const Column& source, std::span<const std::uint32_t> rows,
                 Design& design, TransformReport& report) {
    const PreparedColumn& plan = *step.plan;
    const bool one_number =
        plan.coding == TextCoding::frequency || plan.coding == TextCoding::ordinal;
    const std::size_t width = plan.width();
    std::vector<std::size_t> of_code;  // each different text is looked for once
    for (const std::string& text : source.dictionary) of_code.push_back(text_index(plan, text));
    std::uint64_t unseen = 0;
    double* out = design.data() + step.offset;
    for (const std::uint32_t row : rows) {
        std::size_t index = no_index;
        if (row == absent_row) {
            std::fill_n(out, width, 0.0);
            out += design.cols();
            continue;
        }
        if (!source.is_missing(row)) {
            // a few rows of a text column may all look like numbers
            index = source.kind == ColumnKind::text ? of_code[source.codes[row]]
                                                    : text_index(plan, source.text(row));
            if (index == no_index) ++unseen;
        }
        if (one_number) {
            const double code = index == no_index ? 0 : plan.codes[index];
            *out = (code - plan.mean) / plan.scale;
        } else {
            std::fill_n(out, width, 0.0);
            if (index != no_index) out[index] = 1;
        }
        out += design.cols();
    }
    if (unseen == 0) return;
    report.unseen.push_back({plan.name, unseen});
    report.unseen_values += unseen;
}

void write_has_value(const Step& step, const Column& source, std::span<const std::uint32_t> rows,
                     Design& design) {
    double* out = design.data() + step.offset + 1;
    for (const std::uint32_t row : rows) {
        *out = row == absent_row || source.is_missing(row) ? 0 : 1;
        out += design.cols();
    }
}

void write_presence(const Step& step, std::span<const std::uint32_t> rows, Design& design) {
    double* out = design.data() + step.offset;
    for (const std::uint32_t row : rows) {
        *out = row == absent_row ? 0 : 1;
        out += design.cols();
    }
}

/// Columns that are written side by side.
bool is_lane(const PreparedColumn& plan) {
    return plan.kind == ColumnKind::numeric && !plan.presence;
}

/// Writes steps [begin, end), all lanes or a single other one, into one design.
void write_group(std::span<const Step> group, const Table& table,
                 std::span<const std::uint32_t> rows, Design& design, TransformReport& report) {
    if (rows.empty()) return;  // and the design has no memory
    if (group.front().plan->presence) {
        write_presence(group.front(), rows, design);
        return;
    }
    if (group.front().plan->kind == ColumnKind::text) {
        write_texts(group.front(), table.features[group.front().source], rows, design, report);
        return;
    }
    std::vector<Lane> lanes;
    for (const Step& step : group)
        lanes.push_back({table.features[step.source].numbers.data(), step.plan->fill,
                         step.plan->mean, step.plan->scale, step.plan->low, step.plan->high,
                         step.offset, 0});
    write_lanes(lanes, rows, design);
    for (const Step& step : group)
        if (step.plan->has_value) write_has_value(step, table.features[step.source], rows, design);
    for (std::size_t i = 0; i < group.size(); ++i) {
        if (lanes[i].filled == 0) continue;
        report.filled.push_back({group[i].plan->name, lanes[i].filled});
        report.filled_cells += lanes[i].filled;
    }
}

/// `consumed(source)` is called when a column has gone into all designs.
template <class Consumed>
Result<std::vector<Design>> transform_sets(const Preprocessor& preprocessor, const Table& table,
                                           std::span<const std::span<const std::uint32_t>> row_sets,
                                           std::vector<TransformReport>& reports,
                                           const Consumed& consumed) {
    const auto steps = plan_steps(preprocessor, table);
    if (!steps) return tl::unexpected(steps.error());
    try {
        std::vector<Design> designs;
        for (const auto& rows : row_sets) designs.emplace_back(rows.size(), preprocessor.width());
        reports.assign(row_sets.size(), {});
        for (std::size_t begin = 0, end = 0; begin < steps->size(); begin = end) {
            end = begin + 1;
            if (is_lane(*(*steps)[begin].plan))
                while (end < steps->size() && end - begin < lane_max &&
                       is_lane(*(*steps)[end].plan))
                    ++end;
            const std::span group(steps->data() + begin, end - begin);
            for (std::size_t set = 0; set < row_sets.size(); ++set)
                write_group(group, table, row_sets[set], designs[set], reports[set]);
            for (const Step& step : group)
                if (!step.plan->presence) consumed(step.source);
        }
        return designs;
    } catch (const std::bad_alloc&) {
        return tl::unexpected(fault(Errc::bad_data, table.place(), " does not fit into memory"));
    }
}

}  // namespace

Result<Design> transform(const Preprocessor& preprocessor, const Table& table,
                         std::span<const std::uint32_t> rows, TransformReport* report) {
    std::vector<TransformReport> reports;
    const std::span<const std::uint32_t> sets[] = {rows};
    auto designs = transform_sets(preprocessor, table, sets, reports, [](std::size_t) {});
    if (!designs) return tl::unexpected(designs.error());
    if (report != nullptr) *report = std::move(reports.front());
    return std::move(designs->front());
}

Result<std::vector<Design>> transform_and_free(
    const Preprocessor& preprocessor, Table& table,
    std::span<const std::span<const std::uint32_t>> row_sets,
    std::vector<TransformReport>* reports) {
    const auto release = [&](std::size_t source) {
        table.features[source].numbers = {};
        table.features[source].codes = {};
    };
    // what no step reads goes first
    for (std::size_t i = 0; i < table.features.size(); ++i)
        if (std::none_of(preprocessor.columns.begin(), preprocessor.columns.end(),
                         [&](const PreparedColumn& c) { return c.name == table.features[i].name; }))
            release(i);
    std::vector<TransformReport> own;
    auto designs = transform_sets(preprocessor, table, row_sets, own, release);
    table.features.clear();
    if (designs && reports != nullptr) *reports = std::move(own);
    return designs;
}

}  // namespace vflbus::data
