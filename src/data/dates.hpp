#pragma once
// Dates as numbers: days since 1970-01-01, with the time of day as a fraction. A time of day alone
// is the hours since midnight.

#include <cstdint>
#include <optional>
#include <string_view>

namespace vflbus::data {

/// The order in which day, month and year are written. A column has one.
enum class DateForm : std::uint8_t {
    none,  ///< the column holds no dates
    ymd,   ///< 2024-03-31, 2024/3/31, each with a time or without
    dmy,   ///< 31.03.2024, 31/3/2024
    mdy,   ///< 03/31/2024
    time,  ///< 17:45, 5:45 PM, 17:45:30.5, without a day
};

/// "ymd"
std::string_view name_of(DateForm form) noexcept;
/// The inverse; none for anything else.
DateForm parse_date_form(std::string_view name) noexcept;

/// Days since 1970-01-01 in the Gregorian calendar. A time of day (2024-03-31 12:30,
/// 2024-03-31T12:30:15.5Z, with an offset such as +02:00) is a fraction of a day. Nothing for what
/// is no date of years 1 to 9999. `time`: hours since midnight, 0 to 24, without an offset.
std::optional<double> parse_date(std::string_view text, DateForm form) noexcept;

/// Counts which forms the dates of a column can have.
class DateGuess {
  public:
    /// False for a text that is a date in none of the forms.
    bool add(std::string_view text) noexcept;
    /// The one form that all texts fit, times of day among them; none where some fit none, and
    /// where day and month cannot be told apart: 03/04/2024 alone may be either.
    [[nodiscard]] DateForm form() const noexcept;
    /// Nine of ten texts, and not all, are dates in one order of day, month and year.
    [[nodiscard]] bool nearly() const noexcept;
    /// Every text is a date, but nothing says which of two numbers is the day.
    [[nodiscard]] bool ambiguous() const noexcept;

  private:
    std::uint64_t texts_ = 0;
    std::uint64_t ymd_ = 0;
    std::uint64_t dmy_ = 0;
    std::uint64_t mdy_ = 0;
    std::uint64_t time_ = 0;
    std::uint64_t dotted_ = 0;  ///< written with dots, as only day-first dates are
};

}  // namespace vflbus::data
