#include "actors/party.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>
#include <utility>

#include "actors/run/text.hpp"
#include "base/hash.hpp"
#include "data/split.hpp"

namespace vflbus::actors {
namespace {

data::Duplicates duplicates_of(config::Duplicates value) {
    switch (value) {
        case config::Duplicates::refuse:
            return data::Duplicates::refuse;
        case config::Duplicates::first:
            return data::Duplicates::first;
        case config::Duplicates::all:
            return data::Duplicates::all;
    }
    return data::Duplicates::refuse;
}

std::uint64_t missing_cells_of(const data::Table& table) {
    std::uint64_t missing = 0;
    for (const data::Column& column : table.features) {
        if (column.kind == data::ColumnKind::numeric)
            missing += static_cast<std::uint64_t>(std::ranges::count_if(
                column.numbers, [](double value) { return std::isnan(value); }));
        else
            missing +=
                static_cast<std::uint64_t>(std::ranges::count(column.codes, data::missing_code));
    }
    return missing;
}

models::DesignView view_of(const data::Design& design) {
    return {design.data(), design.rows(), design.cols()};
}

/// The bits of many numbers, fast: eight chains that do not wait for each other. For changes by
/// accident, not by an opponent.
std::uint64_t mix_bits(std::span<const double> values) {
    std::array<std::uint64_t, 8> chains{};
    for (std::size_t c = 0; c < chains.size(); ++c) chains[c] = c + values.size();
    for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint64_t& chain = chains[i % chains.size()];
        chain =
            std::rotl(chain ^ std::bit_cast<std::uint64_t>(values[i]), 29) * 0x9e3779b97f4a7c15ULL;
    }
    std::uint64_t out = 0;
    for (const std::uint64_t chain : chains)
        out = std::rotl(out ^ chain, 29) * 0x9e3779b97f4a7c15ULL;
    return out;
}

/// Whether the features of a training table are pixels to this model.
bool learns_from_pixels(const config::AgreedHalf& agreed, const data::Table& train) {
    return agreed.model.name == config::ModelName::efficientnet && !train.features.empty() &&
           train.image && train.image->size() > 0;
}

/// A network for pictures is told of every table with features what they are.
Result<> check_pixels(const config::AgreedHalf& agreed, const data::Table& train) {
    if (agreed.model.name != config::ModelName::efficientnet || train.features.empty()) return {};
    if (learns_from_pixels(agreed, train)) return data::check_image(train);
    if (train.image) return {};
    return tl::unexpected(data::fault(
        Errc::bad_config, train.place(),
        " has " + std::to_string(train.features.size()) +
            " columns of features, and model.name = \"efficientnet\" has to know what they are: "
            "state image = \"HEIGHTxWIDTH\" in the section of the party, or image = \"none\" for "
            "dense layers",
        ": image is not stated, which model.name = \"efficientnet\" needs: \"HEIGHTxWIDTH\", or "
        "\"none\" for dense layers"));
}

/// The columns of a training table that a model may use, and what they are read as.
std::vector<data::KnownColumn> known_of(const data::Table& train, bool pixels) {
    std::vector<data::KnownColumn> known = data::known_columns(train);
    if (pixels) return known;
    std::erase_if(known, [&](const data::KnownColumn& k) {
        const data::Column* const column = train.find_feature(k.name);
        if (column->kind == data::ColumnKind::text) return false;
        // nothing is learned from a column without two numbers
        double one = std::nan("");
        for (const double value : column->numbers) {
            if (std::isnan(value) || value == one) continue;
            if (!std::isnan(one)) return false;
            one = value;
        }
        return true;
    });
    return known;
}

/// A digest of many pieces, each hashed by itself.
class Digest {
  public:
    template <class T>
    void add(std::span<const T> values) {
        static_assert(std::is_trivially_copyable_v<T>);
        const Hash256 piece = hash256(
            std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
        pieces_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    void add(std::string_view text) { add(std::span(text.data(), text.size())); }
    [[nodiscard]] Hash256 value() const { return hash256(pieces_); }

  private:
    std::string pieces_;
};

}  // namespace

Party::Party(std::string name, config::AgreedHalf agreed, TableSource tables)
    : name_(std::move(name)), agreed_(std::move(agreed)), tables_(std::move(tables)) {}

// -- tables and alignment -----------------------------------------------------------

Result<bool> Party::load(TableKind kind) {
    Side& s = side(kind);
    if (!s.loaded) {
        TableAsk ask(kind, agreed_);
        std::vector<data::KnownColumn> known;
        if (kind == TableKind::test) {
            if (const auto trained = load(TableKind::train); !trained) return trained;
            if (const data::Table* train = table(TableKind::train)) {
                known = known_of(*train, learns_from_pixels(agreed_, *train));
                ask.known = &known;
            }
        } else if (kind == TableKind::predict && uses_part_) {
            known = preprocessor_.known_columns();
            ask.known = &known;
        }
        auto table = tables_(ask);
        if (!table) return tl::unexpected(named(std::move(table.error())));
        s.table = std::move(*table);
        s.loaded = true;
    }
    return s.table != nullptr;
}

Result<AlignReply> Party::align(TableKind kind) {
    AlignReply reply;
    const auto present = load(kind);
    if (!present) return tl::unexpected(present.error());
    if (!*present) return reply;
    Side& s = side(kind);
    auto local =
        data::hash_ids(*s.table, agreed_.data.id_salt, duplicates_of(agreed_.data.duplicates), {});
    if (!local) return tl::unexpected(named(std::move(local.error())));
    s.local = std::move(*local);
    s.aligned = true;
    reply.present = true;
    reply.rows = s.table->rows();
    reply.duplicate_rows = s.local.duplicate_rows;
    reply.missing_cells = missing_cells_of(*s.table);
    reply.columns = s.table->features.size() + s.table->left_out.size();
    return reply;
}

void Party::restrict_to(TableKind kind, std::span<const std::uint8_t> marks) {
    data::LocalIds& local = side(kind).local;
    local = data::restricted(local, marks);
}

Result<> Party::select(TableKind kind, const data::Selection& selection, std::uint64_t rows) {
    Side& s = side(kind);
    if (selection.held.empty() != (agreed_.data.join == config::Join::inner))
        return tl::unexpected(named({Errc::malformed_message,
                                     "was told which records it has, or was not, against what "
                                     "data.join says"}));
    auto common = data::apply(s.local, selection, rows);
    if (!common) return tl::unexpected(named(std::move(common.error())));
    if (common->rows.size() != rows)
        return tl::unexpected(named(
            {Errc::malformed_message, "comes to " + std::to_string(common->rows.size()) +
                                          " aligned rows, the master to " + std::to_string(rows)}));
    s.common = std::move(*common);
    s.selected = true;
    if (kind == TableKind::predict) s.rows = std::move(s.common.rows);
    return {};
}

AlignedTables Party::aligned_tables() const {
    AlignedTables out;
    for (std::size_t kind = 0; kind < out.tables.size(); ++kind) {
        const Side& s = sides_[kind];
        out.tables[kind] = {s.table, s.local, s.common, s.aligned, s.selected};
    }
    return out;
}

void Party::use(const AlignedTables& aligned) {
    for (std::size_t kind = 0; kind < aligned.tables.size(); ++kind) {
        const AlignedTables::One& one = aligned.tables[kind];
        Side& s = sides_[kind];
        s.table = one.table;
        s.loaded = true;
        s.local = one.local;
        s.common = one.common;
        s.aligned = one.aligned;
        s.selected = one.selected;
    }
}

bool Party::aligned(TableKind kind) const noexcept {
    return side(kind).aligned;
}
bool Party::selected(TableKind kind) const noexcept {
    return side(kind).selected;
}
const data::LocalIds& Party::local(TableKind kind) const noexcept {
    return side(kind).local;
}
const data::Table* Party::table(TableKind kind) const noexcept {
    return side(kind).table.get();
}
std::span<const std::uint32_t> Party::rows(TableKind kind) const noexcept {
    return side(kind).rows;
}
std::uint64_t Party::absent(TableKind kind) const noexcept {
    return static_cast<std::uint64_t>(std::ranges::count(side(kind).rows, data::absent_row));
}

// -- training -----------------------------------------------------------------------

Result<> Party::split(std::span<const std::uint8_t> test_bitmap) {
    Side& train = side(TableKind::train);
    Side& test = side(TableKind::test);
    test_bitmap_.assign(test_bitmap.begin(), test_bitmap.end());
    if (!test_bitmap.empty()) {
        const std::size_t rows = train.common.rows.size();
        const bool spare = rows % 8 != 0 && (test_bitmap.back() >> (rows % 8)) != 0;
        const bool said = agreed_.data.test_fraction > 0 || agreed_.data.folds > 0;
        if (test.selected || !said || test_bitmap.size() != (rows + 7) / 8 || spare)
            return fail(Errc::malformed_message, "test rows that do not fit the table");
        train.rows.clear();
        test.rows.clear();
        for (std::size_t i = 0; i < rows; ++i)
            ((test_bitmap[i / 8] >> (i % 8) & 1U) != 0 ? test.rows : train.rows)
                .push_back(train.common.rows[i]);
    } else if (test.selected) {
        train.rows = train.common.rows;
        test.rows = test.common.rows;
    } else if (agreed_.data.test_fraction > 0) {
        if (agreed_.data.join == config::Join::left)
            return fail(Errc::malformed_message,
                        "was not told the test rows, which follow from ids that it does not know "
                        "(data.join = \"left\")");
        const auto sides =
            data::split_rows(train.common.ids, agreed_.run.seed, agreed_.data.test_fraction);
        train.rows = data::pick(train.common.rows, sides.train);
        test.rows = data::pick(train.common.rows, sides.test);
    } else {
        train.rows = train.common.rows;
        test.rows.clear();
    }
    if (train.rows.empty())
        return fail(Errc::bad_data, "all " + std::to_string(train.common.rows.size()) +
                                        " common rows fall to the test side; lower "
                                        "data.test_fraction or give more rows");
    return {};
}

Result<> Party::build() {
    Side& train = side(TableKind::train);
    Side& test = side(TableKind::test);
    data::PreprocessOptions options;
    options.standardize = agreed_.data.standardize;
    options.one_hot_max = static_cast<std::uint32_t>(agreed_.data.one_hot_max);
    if (auto good = check_pixels(agreed_, *train.table); !good)
        return tl::unexpected(named(std::move(good.error())));
    options.pixels = learns_from_pixels(agreed_, *train.table);
    prepared_ = {};
    std::vector<std::uint32_t> there;
    for (const std::uint32_t row : train.rows)
        if (row != data::absent_row) there.push_back(row);
    preprocessor_ = data::fit(*train.table, there, options, &prepared_);
    // a picture has its pixels and nothing beside them
    if (!there.empty() && there.size() != train.rows.size() && !preprocessor_.image)
        preprocessor_.columns.push_back(data::presence_column());

    auto design = data::transform(preprocessor_, *train.table, train.rows);
    if (!design) return tl::unexpected(named(std::move(design.error())));
    train.design = std::move(*design);
    const data::Table& of_test = test.selected ? *test.table : *train.table;
    auto test_design = data::transform(preprocessor_, of_test, test.rows);
    if (!test_design) return tl::unexpected(named(std::move(test_design.error())));
    test.design = std::move(*test_design);

    alignment_ = digest();
    return {};
}

AlignmentDigest Party::digest() const {
    Digest table;
    Digest rows;
    Digest features;
    for (const TableKind kind : {TableKind::train, TableKind::test}) {
        const Side& s = side(kind);
        table.add(std::span<const Hash128>(s.local.ids));
        table.add(std::span<const std::uint32_t>(s.local.counts));
        rows.add(std::span<const Hash128>(s.common.ids));
        const std::uint64_t bits = mix_bits({s.design.data(), s.design.rows() * s.design.cols()});
        features.add(std::span<const std::uint64_t>(&bits, 1));
        const Side& from = kind == TableKind::test && !s.selected ? side(TableKind::train) : s;
        if (from.table == nullptr) continue;
        if (s.table != nullptr)
            for (const data::Column& column : s.table->features) table.add(column.name);
        for (const data::Column& column : from.table->labels) {
            features.add(column.name);
            for (const std::string& value : column.dictionary) features.add(value);
            std::vector<double> cells;
            for (const std::uint32_t row : s.rows)
                cells.push_back(column.kind == data::ColumnKind::numeric
                                    ? column.numbers[row]
                                    : static_cast<double>(column.codes[row]));
            features.add(std::span<const double>(cells));
        }
    }
    const Side& weighted = side(TableKind::train);
    if (weighted.table != nullptr && weighted.table->weights) {
        std::vector<double> weights;
        for (const std::uint32_t row : weighted.rows)
            weights.push_back(weighted.table->weights->numbers[row]);
        features.add(std::span<const double>(weights));
    }
    for (const TableKind kind : {TableKind::train, TableKind::test}) {
        const Side& s = side(kind);
        const Side& from = kind == TableKind::test && !s.selected ? weighted : s;
        if (from.table == nullptr || !from.table->exposure) continue;
        std::vector<double> exposures;
        for (const std::uint32_t row : s.rows)
            exposures.push_back(from.table->exposure->numbers[row]);
        features.add(std::span<const double>(exposures));
    }
    // which rows are test rows is a function of their ids, the seed and the fraction, or is said
    if (!test_bitmap_.empty()) rows.add(std::span<const std::uint8_t>(test_bitmap_));
    const double split[] = {static_cast<double>(side(TableKind::train).rows.size()),
                            static_cast<double>(side(TableKind::test).rows.size())};
    rows.add(std::span<const double>(split));
    for (const data::PreparedColumn& column : preprocessor_.columns) {
        features.add(column.name);
        const double scaling[] = {column.fill, column.mean, column.scale};
        features.add(std::span<const double>(scaling));
        for (const std::string& category : column.categories) features.add(category);
    }
    return {table.value(), rows.value(), features.value()};
}

data::Design Party::take_design(TableKind kind) {
    return std::exchange(side(kind).design, data::Design());
}

void Party::drop_tables() {
    for (const TableKind kind : {TableKind::train, TableKind::test}) {
        Side& s = side(kind);
        s.table.reset();
        s.local = {};
        s.common = {};
    }
}

// -- prediction ---------------------------------------------------------------------

void Party::use(std::vector<data::PreparedColumn> columns) {
    preprocessor_.columns = std::move(columns);
    uses_part_ = true;
}

Result<> Party::build_predict() {
    Side& s = side(TableKind::predict);
    auto design = data::transform(preprocessor_, *s.table, s.rows, &transformed_);
    if (!design) return tl::unexpected(named(std::move(design.error())));
    s.design = std::move(*design);
    return {};
}

// -- properties ---------------------------------------------------------------------

Failure Party::named(Failure failure) const {
    return name_.empty() ? std::move(failure) : of_party(name_, std::move(failure));
}

models::DesignView Party::design(TableKind kind) const noexcept {
    return view_of(side(kind).design);
}

}  // namespace vflbus::actors
