#include "data/column_kinds.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/text.hpp"
#include "data/number.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

constexpr std::size_t columns_named_max = 5;

bool is_all_digits(std::string_view text) noexcept {
    return std::ranges::all_of(text, is_digit);
}

/// Whether a cell that is no number may be a code: letters, digits, '-', '_' and '/', a digit among
/// them.
bool looks_like_code(std::string_view text) noexcept {
    const auto fits = [](char c) {
        const char low = static_cast<char>(c | 0x20);
        return is_digit(c) || (low >= 'a' && low <= 'z') || c == '-' || c == '_' || c == '/';
    };
    return std::ranges::all_of(text, fits) && std::ranges::any_of(text, is_digit);
}

}  // namespace

bool KindTally::add(std::string_view text, const NumberStyle& stated) {
    ++cells_;
    if (is_no_number_text(text)) {
        ++no_numbers_;
        return true;
    }
    if (values_.size() <= few_values_max && !values_.contains(text)) values_.emplace(text);
    if (stated.plain() ? parse_number(text).has_value() : parse_styled(text, stated).has_value()) {
        ++numbers_;
        if (is_all_digits(text)) {
            ++digits_;
            zeros_ |= text.size() > 1 && text.front() == '0';
        }
        return true;
    }
    const char sign = grouping_of(text, stated.decimal);
    for (std::size_t i = 0; i < groupings.size(); ++i) grouped_[i] += groupings[i] == sign;
    last_is_no_date_ = !dates_.add(text);
    const char usual = stated.decimal == '.' ? ',' : '.';
    const NumberStyle with_marks{stated.decimal,
                                 stated.thousands == '\0' ? usual : stated.thousands, true};
    const bool is_amount = parse_styled(text, with_marks).has_value();
    marked_ += is_amount;
    last_has_marks_ = is_amount && sign == '\0';  // groups alone are no signs around a number
    has_class_ |= !is_amount && sign == '\0';
    codes_ += !is_amount && looks_like_code(text);
    add_word(text);
    return false;
}

void KindTally::add_word(std::string_view text) {
    const auto known = std::ranges::find(words_, text, &Word::text);
    if (known != words_.end())
        ++known->cells;
    else if (words_.size() <= missing_words_max)
        words_.push_back({std::string(text), 1});
}

std::vector<std::string> KindTally::missing_words() const {
    std::vector<std::string> texts;
    if (words_.size() > missing_words_max || !is_numbers()) return texts;
    for (const Word& word : words_) {
        const bool usual =
            word.cells >= missing_word_cells_min && std::ranges::none_of(word.text, is_digit);
        if (usual || is_missing_word(word.text)) texts.push_back(word.text);
    }
    std::ranges::sort(texts);
    return texts;
}

void KindTally::set_odd(std::string_view text, std::string place) {
    if (last_has_marks_ && with_marks_.place.empty()) with_marks_ = {std::string(text), place};
    if (last_is_no_date_ && no_date_.place.empty()) no_date_ = {std::string(text), place};
    if (odd_.place.empty()) odd_ = {std::string(text), std::move(place)};
}

std::string KindTally::told(const OddCell& cell) {
    return "(" + shown(cell.text) + " on " + cell.place + ")";
}

char KindTally::grouping() const noexcept {
    for (std::size_t i = 0; i < groupings.size(); ++i)
        if (grouped_[i] > 0 && (numbers_ + grouped_[i]) * 10 >= counted() * 9) return groupings[i];
    return '\0';
}

void KindDecision::decide(ChosenColumn& column, const KindTally& tally) {
    column.undecided = false;
    if (column.known != nullptr) return as_known(column, tally);
    if (column.rule != nullptr) return as_declared(column, tally);
    if (column.use == Use::label && request_.labels_as != LabelsAs::guess)
        return as_label(column, tally);
    by_cells(column, tally);
}

void KindDecision::as_numbers(ChosenColumn& column, const KindTally& tally, bool marks) {
    column.kind = ColumnKind::numeric;
    const char usual = decimal_ == '.' ? ',' : '.';
    char thousands = tally.grouping();
    // $1,200.50: where marks are expected groups are, too
    if (thousands == '\0' && marks) thousands = usual;
    column.style = {decimal_, stated_.thousands.value_or(thousands), marks};
}

void KindDecision::as_known(ChosenColumn& column, const KindTally& tally) {
    column.kind = column.known->kind;
    column.date = column.known->date;
    if (column.kind != ColumnKind::numeric) return;
    as_numbers(column, tally, true);
    column.missing_words = column.known->missing_words;
    if (column.date == DateForm::none && !tally.with_marks().empty())
        read_with_marks_.push_back(shown(column.name) + " " + tally.with_marks());
}

void KindDecision::as_declared(ChosenColumn& column, const KindTally& tally) {
    column.kind = ColumnKind::numeric;
    switch (column.rule->kind) {
        case DeclaredKind::number:
            return as_numbers(column, tally, true);
        case DeclaredKind::date: {
            const DateForm form = tally.dates().form();
            column.date = form == DateForm::none || form == DateForm::time ? DateForm::ymd : form;
            return;
        }
        case DeclaredKind::date_dmy:
            column.date = DateForm::dmy;
            return;
        case DeclaredKind::date_mdy:
            column.date = DateForm::mdy;
            return;
        case DeclaredKind::time:
            column.date = DateForm::time;
            return;
        case DeclaredKind::category:
        case DeclaredKind::text:
        case DeclaredKind::id:
        case DeclaredKind::ignore:
            column.kind = ColumnKind::text;
            return;
    }
}

void KindDecision::as_label(ChosenColumn& column, const KindTally& tally) {
    if (request_.labels_as == LabelsAs::classes) {
        column.kind = ColumnKind::text;  // 1, 2, 3, 5 and U are classes; see make_numbers()
        return;
    }
    const DateForm dates = tally.dates().form();
    if (dates != DateForm::none && dates != DateForm::time) return by_cells(column, tally);
    as_numbers(column, tally, false);
}

void KindDecision::by_cells(ChosenColumn& column, const KindTally& tally) {
    column.undecided = tally.says_nothing();
    if (tally.is_codes()) {
        column.kind = ColumnKind::text;
        codes_.push_back(shown(column.name));
    } else if (column.use == Use::feature && tally.is_numbers() && tally.is_mixed_codes()) {
        column.kind = ColumnKind::text;
        mixed_codes_.push_back(shown(column.name) + " " + tally.odd());
    } else if (column.use == Use::feature && tally.is_numbers() && tally.is_few_values() &&
               tally.has_class()) {
        column.kind = ColumnKind::text;
        classes_.push_back(shown(column.name) + " " + tally.odd());
    } else if (tally.is_numbers() || (tally.grouping() != '\0' && !stated_.thousands)) {
        as_numbers(column, tally, false);
        if (column.use == Use::feature) column.missing_words = tally.missing_words();
        if (column.style.thousands != '\0' && !stated_.thousands)
            grouped_.push_back(shown(column.name));
    } else if (const DateForm form = tally.dates().form();
               // labels that are times are classes, such as those at which a shop closes
               form != DateForm::none && (form != DateForm::time || column.use == Use::feature)) {
        column.kind = ColumnKind::numeric;
        column.date = form;
        (form == DateForm::time ? times_ : dates_).push_back(shown(column.name));
    } else {
        column.kind = ColumnKind::text;
        if (tally.dates().ambiguous())
            ambiguous_dates_.push_back(shown(column.name));
        else if (tally.dates().nearly() && !tally.no_date().empty())
            nearly_dates_.push_back(shown(column.name) + " " + tally.no_date());
        else if (tally.is_numbers_with_marks())
            marked_.push_back(shown(column.name) + " " + tally.odd());
        else if (tally.is_half_numbers() && column.use == Use::feature)
            mixed_.push_back(shown(column.name) + " " + tally.odd());
    }
}

std::vector<std::string> KindDecision::notes() const {
    std::vector<std::string> notes;
    const auto add = [&](const char* what, const std::vector<std::string>& columns,
                         const char* key) {
        if (!columns.empty())
            notes.push_back(what + join_some(columns, columns_named_max) + " (" + std::string(key) +
                            ")");
    };
    add("numbers with leading zeros are taken for codes, that is categories: ", codes_,
        "columns: \"number\"");
    add("numbers have their digits in groups: ", grouped_, "thousands");
    add("dates become days since 1970: ", dates_, "columns: \"category\"");
    add("times of day become hours since midnight: ", times_, "columns: \"category\"");
    add("dates of which day and month cannot be told apart are taken for categories: ",
        ambiguous_dates_, "columns: \"date-dmy\" or \"date-mdy\"");
    add("taken for categories, because not all cells are dates: ", nearly_dates_,
        "columns: \"date\" refuses this cell");
    add("amounts with signs around them are taken for categories: ", marked_,
        "columns: \"number\" reads them");
    add("numbers and codes with other characters are taken for categories: ", mixed_codes_,
        "columns: \"number\" refuses these cells");
    add("taken for categories, because there are few values and one is no number: ", classes_,
        "columns: \"number\" refuses this cell");
    add("amounts are read without the signs around them, in parentheses as negative: ",
        read_with_marks_, "the model knows numbers there");
    add("taken for categories, because more than a tenth of the cells are no numbers: ", mixed_,
        "columns: \"number\" refuses these cells");
    return notes;
}

}  // namespace vflbus::data
