#include "data/typed_columns.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "data/column_kinds.hpp"
#include "data/columns.hpp"
#include "data/csv.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

class Assembly {
  public:
    Assembly(const SourceOptions& options, const TableRequest& request, TypedColumns typed)
        : options_(options), request_(request), typed_(std::move(typed)) {}

    Result<Table> assemble() {
        std::vector<std::string> names;
        for (const Column& column : typed_.columns) names.push_back(column.name);
        table_.path = options_.location;
        table_.party = options_.party;
        auto chosen = choose_columns(names, request_, table_.place());
        if (!chosen) return tl::unexpected(advised(std::move(chosen.error()), names));
        if (typed_.rows == 0)
            return tl::unexpected(fault(Errc::bad_data, table_.place(), " has no rows"));
        table_.left_out = chosen->left_out;
        table_.notes = chosen->notes;
        table_.parts = typed_.parts;
        table_.lines = std::move(typed_.lines);
        table_.labels.resize(request_.labels.size());
        for (std::size_t c = 0; c < names.size(); ++c)
            if (auto ok = take(chosen->columns[c], typed_.columns[c]); !ok)
                return tl::unexpected(ok.error());
        if (request_.id == row_number_id)
            for (std::size_t row = 0; row < typed_.rows; ++row)
                table_.ids.push_back(std::to_string(row + 1));
        if (auto ok = skip_rows(request_, table_); !ok) return tl::unexpected(ok.error());
        return std::move(table_);
    }

  private:
    /// A file without an id column is most often one whose rows are in the common order already.
    Failure advised(Failure failure, const std::vector<std::string>& names) const {
        const bool has_id = request_.id == row_number_id || request_.id == unnamed_id ||
                            std::ranges::find(names, request_.id) != names.end();
        if (!has_id)
            failure.hint =
                "if the rows of all parties are in the same order, set data.id to \"@row\"";
        if (!failure.hint.empty()) failure.sentence += "; " + failure.hint;
        return failure;
    }

    Result<> take(const ChosenColumn& chosen, Column& column) {
        if (chosen.use == Use::skip) return {};
        if (chosen.use == Use::id) return take_ids(column);
        if (auto ok = convert(chosen, column); !ok) return ok;
        if (chosen.use == Use::label)
            table_.labels[chosen.label] = std::move(column);
        else if (column.dictionary.size() > text_values_max)
            table_.left_out.push_back(
                {column.name, "more than " + std::to_string(text_values_max) + " different texts",
                 LeftOutKind::texts});
        else
            table_.features.push_back(std::move(column));
        return {};
    }

    /// A whole number is written without an exponent, as in the CSV files of other parties.
    static std::string id_of(const Column& column, std::size_t row) {
        constexpr double exact_max = 9007199254740992.0;  // 2^53
        if (column.kind == ColumnKind::text || column.is_missing(row)) return column.text(row);
        const double number = column.numbers[row];
        if (std::abs(number) > exact_max || number != std::floor(number)) return column.text(row);
        return std::to_string(static_cast<std::int64_t>(number));
    }

    Result<> take_ids(const Column& column) {
        for (std::size_t row = 0; row < typed_.rows; ++row) {
            const std::string id = id_of(column, row);
            if (id.empty() && !request_.skip_missing_ids) {
                table_.ids.push_back("?");  // so that the row is one of the table
                Place place = table_.place_of(row);
                place.column = column.name;
                return tl::unexpected(fault(Errc::bad_data, place,
                                            ": the id is empty; every row needs one, or set "
                                            "data.missing_id to \"skip\""));
            }
            table_.ids.push_back(id);
        }
        return {};
    }

    /// Makes a column what the model knows or the configuration declares.
    Result<> convert(const ChosenColumn& chosen, Column& column) {
        std::optional<ColumnKind> wanted;
        if (chosen.known != nullptr)
            wanted = chosen.known->kind;
        else if (chosen.rule != nullptr)
            wanted = chosen.rule->kind == DeclaredKind::category ? ColumnKind::text
                                                                 : ColumnKind::numeric;
        else if (chosen.use == Use::label && request_.labels_as == LabelsAs::numbers)
            wanted = ColumnKind::numeric;
        if (!wanted || *wanted == column.kind) return {};
        if (*wanted == ColumnKind::text) {
            make_texts(column);
            return {};
        }
        if (make_numbers(column)) return {};
        Place place = table_.place();
        place.column = column.name;
        return tl::unexpected(fault(Errc::bad_data, place, " holds text where numbers are wanted"));
    }

    const SourceOptions& options_;
    const TableRequest& request_;
    TypedColumns typed_;
    Table table_;
};

}  // namespace

Result<Table> make_table(const SourceOptions& options, const TableRequest& request,
                         TypedColumns typed) {
    return Assembly(options, request, std::move(typed)).assemble();
}

std::string numbered_column(std::size_t number) {
    return "x" + std::to_string(number);
}

}  // namespace vflbus::data
