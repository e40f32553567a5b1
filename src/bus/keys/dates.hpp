#pragma once
// Days and times as key files and the allow-list write them, always in UTC.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vflbus::bus {

/// Seconds since 1970.
using Seconds = std::int64_t;

/// "2027-11-29T08:30:00Z"
std::string date_text(Seconds at);
/// The same, or a day alone, which is its first second. Nothing for what is no date from 1970 to
/// 9999.
std::optional<Seconds> parse_date(std::string_view text);
/// "365d", "12h", "30m" or "45s", in seconds; nothing for another text, or more than 100 years.
std::optional<Seconds> parse_period(std::string_view text);
/// "in 12 days", "in 5 hours", "3 days ago"
std::string from_now(Seconds at, Seconds now);
Seconds wall_seconds();
/// What to do when this machine's clock and the broker's, in milliseconds since 1970, are more than
/// 5 s apart; empty: they are not. Policies, keys and log lines go by the clock of each machine.
std::string clock_warning(std::uint64_t theirs_ms, std::uint64_t ours_ms);

}  // namespace vflbus::bus
