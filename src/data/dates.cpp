#include "data/dates.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "data/number.hpp"

namespace vflbus::data {
namespace {

/// Takes `min` to `max` digits from the front; -1 when there are fewer or more.
int take_number(std::string_view& text, std::size_t min, std::size_t max) noexcept {
    int value = 0;
    std::size_t digits = 0;
    while (digits < text.size() && is_digit(text[digits])) {
        if (digits == max) return -1;
        value = value * 10 + (text[digits] - '0');
        ++digits;
    }
    if (digits < min) return -1;
    text.remove_prefix(digits);
    return value;
}

bool take(std::string_view& text, char c) noexcept {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

constexpr bool is_leap(int year) noexcept {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

bool is_day(int year, int month, int day) noexcept {
    constexpr std::array<int, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    const int last =
        days[static_cast<std::size_t>(month - 1)] + (month == 2 && is_leap(year) ? 1 : 0);
    return day <= last;
}

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
std::int64_t days_since_1970(int year, int month, int day) noexcept {
    const std::int64_t y = year - (month <= 2 ? 1 : 0);
    const std::int64_t era = y / 400;  // years are positive
    const std::int64_t year_of_era = y - era * 400;
    const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    const std::int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146'097 + day_of_era - 719'468;
}

/// Minutes of an offset such as Z, +02:00, -0530 at the end of a time.
std::optional<int> take_offset(std::string_view& text) noexcept {
    if (text.empty()) return 0;
    if (take(text, 'Z') || take(text, 'z')) return 0;
    const bool minus = text.front() == '-';
    if (!take(text, '+') && !take(text, '-')) return std::nullopt;
    if (text.size() < 2 || !is_digit(text[0]) || !is_digit(text[1])) return std::nullopt;
    const int hours = (text[0] - '0') * 10 + (text[1] - '0');
    text.remove_prefix(2);
    int minutes = 0;
    if (!text.empty()) {
        (void)take(text, ':');
        minutes = take_number(text, 2, 2);
    }
    if (hours > 14 || minutes < 0 || minutes > 59) return std::nullopt;
    return (minus ? -1 : 1) * (hours * 60 + minutes);
}

struct DayTime {
    int hour = 0;
    int minute = 0;
    double seconds = 0;
};

/// "17:45", "5:45:30.5"; hours up to 24.
std::optional<DayTime> take_clock(std::string_view& text) noexcept {
    DayTime clock;
    clock.hour = take_number(text, 1, 2);
    if (clock.hour < 0 || clock.hour > 24 || !take(text, ':')) return std::nullopt;
    clock.minute = take_number(text, 2, 2);
    if (clock.minute < 0 || clock.minute > 59) return std::nullopt;
    double& seconds = clock.seconds;
    if (take(text, ':')) {
        const int whole = take_number(text, 2, 2);
        if (whole < 0 || whole > 60) return std::nullopt;
        seconds = whole;
        if (take(text, '.') || take(text, ',')) {
            double digit = 0.1;
            if (text.empty() || !is_digit(text.front())) return std::nullopt;
            for (; !text.empty() && is_digit(text.front()); digit /= 10) {
                seconds += (text.front() - '0') * digit;
                text.remove_prefix(1);
            }
        }
    }
    return clock;
}

void skip_spaces(std::string_view& text) noexcept {
    while (take(text, ' ')) {
    }
}

/// The time of day at the end of a date, as a fraction of a day; 0 when there is none.
std::optional<double> take_time(std::string_view& text) noexcept {
    if (text.empty()) return 0;
    if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
    skip_spaces(text);
    const auto clock = take_clock(text);
    if (!clock || clock->hour > 23) return std::nullopt;
    skip_spaces(text);
    const auto offset = take_offset(text);
    if (!offset) return std::nullopt;
    return (clock->hour * 3600.0 + clock->minute * 60.0 + clock->seconds - *offset * 60.0) /
           86'400.0;
}

/// Whether "am" or "pm" is left of a text; nothing for anything else.
std::optional<bool> is_afternoon(std::string_view text) noexcept {
    if (text.size() != 2 || (text[1] | 0x20) != 'm') return std::nullopt;
    const int first = text[0] | 0x20;
    if (first != 'a' && first != 'p') return std::nullopt;
    return first == 'p';
}

/// Hours since midnight of a text that is nothing but a time of day.
std::optional<double> parse_time(std::string_view text) noexcept {
    const auto clock = take_clock(text);
    if (!clock) return std::nullopt;
    int hour = clock->hour;
    skip_spaces(text);
    if (!text.empty()) {
        const auto afternoon = is_afternoon(text);
        if (!afternoon || hour < 1 || hour > 12) return std::nullopt;
        hour = hour % 12 + (*afternoon ? 12 : 0);
    }
    const double part = clock->minute / 60.0 + clock->seconds / 3600.0;
    if (hour == 24 && part > 0) return std::nullopt;
    return hour + part;
}

}  // namespace

std::string_view name_of(DateForm form) noexcept {
    switch (form) {
        case DateForm::none:
            return "none";
        case DateForm::ymd:
            return "ymd";
        case DateForm::dmy:
            return "dmy";
        case DateForm::mdy:
            return "mdy";
        case DateForm::time:
            return "time";
    }
    return "none";
}

DateForm parse_date_form(std::string_view name) noexcept {
    for (const DateForm form : {DateForm::ymd, DateForm::dmy, DateForm::mdy, DateForm::time})
        if (name == name_of(form)) return form;
    return DateForm::none;
}

std::optional<double> parse_date(std::string_view text, DateForm form) noexcept {
    if (form == DateForm::none) return std::nullopt;
    if (form == DateForm::time) return parse_time(text);
    const bool year_first = form == DateForm::ymd;
    const int first = year_first ? take_number(text, 4, 4) : take_number(text, 1, 2);
    if (first < 0 || text.empty()) return std::nullopt;
    const char separator = text.front();
    if (separator != '-' && separator != '/' && (separator != '.' || form != DateForm::dmy))
        return std::nullopt;
    if (!take(text, separator)) return std::nullopt;
    const int second = take_number(text, 1, 2);
    if (second < 0 || !take(text, separator)) return std::nullopt;
    const int third = year_first ? take_number(text, 1, 2) : take_number(text, 4, 4);
    if (third < 0) return std::nullopt;
    const int year = year_first ? first : third;
    const int month = form == DateForm::mdy ? first : second;
    const int day = year_first ? third : form == DateForm::mdy ? second : first;
    if (!is_day(year, month, day)) return std::nullopt;
    const auto time = take_time(text);
    if (!time || !text.empty()) return std::nullopt;
    return static_cast<double>(days_since_1970(year, month, day)) + *time;
}

bool DateGuess::add(std::string_view text) noexcept {
    ++texts_;
    const bool time =
        text.size() >= 4 && (text[1] == ':' || text[2] == ':') && parse_time(text).has_value();
    time_ += time;
    // what has no separator in its first five characters is no date: one look for most texts
    if (text.size() < 8 || !is_digit(text.front())) return time;
    const bool ymd = parse_date(text, DateForm::ymd).has_value();
    ymd_ += ymd;
    const bool dmy = parse_date(text, DateForm::dmy).has_value();
    dmy_ += dmy;
    const bool mdy = parse_date(text, DateForm::mdy).has_value();
    mdy_ += mdy;
    dotted_ += dmy && text.substr(0, 3).find('.') != std::string_view::npos;
    return time || ymd || dmy || mdy;
}

bool DateGuess::nearly() const noexcept {
    const std::uint64_t most = std::max({ymd_, dmy_, mdy_});
    return most < texts_ && most * 10 >= texts_ * 9;
}

DateForm DateGuess::form() const noexcept {
    if (texts_ == 0) return DateForm::none;
    if (time_ == texts_) return DateForm::time;
    if (ymd_ == texts_) return DateForm::ymd;
    const bool dmy = dmy_ == texts_;
    const bool mdy = mdy_ == texts_;
    if (dmy && (!mdy || dotted_ == texts_)) return DateForm::dmy;
    if (mdy && !dmy) return DateForm::mdy;
    return DateForm::none;
}

bool DateGuess::ambiguous() const noexcept {
    return texts_ > 0 && dmy_ == texts_ && mdy_ == texts_ && dotted_ != texts_;
}

}  // namespace vflbus::data
