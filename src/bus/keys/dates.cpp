#include "bus/keys/dates.hpp"

#include <charconv>
#include <chrono>
#include <cstdio>

#include "base/text.hpp"

namespace vflbus::bus {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr Seconds day_s = 86'400;

/// `count` digits at the front of `text`, taken off.
std::optional<unsigned> take_number(std::string_view& text, std::size_t count) {
    unsigned value = 0;
    if (text.size() < count) return std::nullopt;
    for (std::size_t i = 0; i < count; ++i) {
        if (text[i] < '0' || text[i] > '9') return std::nullopt;
        value = value * 10 + static_cast<unsigned>(text[i] - '0');
    }
    text.remove_prefix(count);
    return value;
}

bool take(std::string_view& text, char c) {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

}  // namespace

std::string date_text(Seconds at) {
    const Seconds day = at >= 0 ? at / day_s : (at - day_s + 1) / day_s;
    const year_month_day date{sys_days{days{day}}};
    const auto rest = static_cast<unsigned>(at - day * day_s);
    char text[48];
    std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02u:%02u:%02uZ",
                  static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                  static_cast<unsigned>(date.day()), rest / 3600, rest / 60 % 60, rest % 60);
    return text;
}

std::optional<Seconds> parse_date(std::string_view text) {
    const auto year = take_number(text, 4);
    if (!year || !take(text, '-')) return std::nullopt;
    const auto month = take_number(text, 2);
    if (!month || !take(text, '-')) return std::nullopt;
    const auto day = take_number(text, 2);
    if (!day) return std::nullopt;
    const year_month_day date{std::chrono::year(static_cast<int>(*year)),
                              std::chrono::month(*month), std::chrono::day(*day)};
    if (!date.ok() || *year < 1970) return std::nullopt;
    const Seconds first = Seconds{sys_days(date).time_since_epoch().count()} * day_s;
    if (text.empty()) return first;
    if (!take(text, 'T')) return std::nullopt;
    const auto hour = take_number(text, 2);
    if (!hour || *hour > 23 || !take(text, ':')) return std::nullopt;
    const auto minute = take_number(text, 2);
    if (!minute || *minute > 59 || !take(text, ':')) return std::nullopt;
    const auto second = take_number(text, 2);
    if (!second || *second > 59 || text != "Z") return std::nullopt;
    return first + *hour * 3600 + *minute * 60 + *second;
}

std::optional<Seconds> parse_period(std::string_view text) {
    if (text.size() < 2) return std::nullopt;
    Seconds unit = 0;
    switch (text.back()) {
        case 'd':
            unit = day_s;
            break;
        case 'h':
            unit = 3600;
            break;
        case 'm':
            unit = 60;
            break;
        case 's':
            unit = 1;
            break;
        default:
            return std::nullopt;
    }
    text.remove_suffix(1);
    std::uint32_t count = 0;
    const auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (code != std::errc{} || at != text.data() + text.size()) return std::nullopt;
    const Seconds period = unit * count;
    return period > 0 && period <= 36'525 * day_s ? std::optional(period) : std::nullopt;
}

std::string from_now(Seconds at, Seconds now) {
    const Seconds far = at > now ? at - now : now - at;
    const bool in_days = far >= 2 * day_s;
    const bool in_hours = far >= 2 * 3600;
    const Seconds count = in_days ? far / day_s : in_hours ? far / 3600 : far / 60;
    const std::string text = std::to_string(count) +
                             (in_days    ? " day"
                              : in_hours ? " hour"
                                         : " minute") +
                             (count == 1 ? "" : "s");
    return at > now ? "in " + text : text + " ago";
}

Seconds wall_seconds() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string clock_warning(std::uint64_t theirs_ms, std::uint64_t ours_ms) {
    constexpr std::uint64_t apart_max_ms = 5'000;
    const std::uint64_t apart = theirs_ms > ours_ms ? theirs_ms - ours_ms : ours_ms - theirs_ms;
    if (apart <= apart_max_ms) return {};
    return "this machine's clock is " + human_seconds(static_cast<double>(apart) / 1000) +
           (theirs_ms > ours_ms ? " behind" : " ahead of") +
           " the broker's: keys, policies and logs go by it; set it, for example with chrony";
}

}  // namespace vflbus::bus
