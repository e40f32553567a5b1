#include "bus/zmq/conduct_file.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "base/text.hpp"
#include "bus/keys/allow_list_file.hpp"

namespace vflbus::bus {
namespace {

std::uint64_t number_of(std::string_view text) {
    std::uint64_t value = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

std::filesystem::path conduct_path(const std::filesystem::path& directory) {
    return allow_list_path(directory).parent_path() / "broker.conduct";
}

std::string conduct_text(std::span<const ConductRow> rows, Seconds now) {
    const auto whole = [](Duration time) {
        return std::chrono::ceil<std::chrono::seconds>(time).count();
    };
    std::string text =
        "# what the broker holds against keys; written by it, and read at its start\n";
    for (const ConductRow& row : rows) {
        text += row.who + " breaches=" + std::to_string(row.breaches) +
                " cut=" + std::to_string(row.cuts) + " last=" + date_text(now - whole(row.quiet));
        const auto left = whole(row.held_off);
        if (left > 0) text += " until=" + date_text(now + left);
        text += "\n";
    }
    return text;
}

std::vector<NotedConduct> parse_conduct(std::string_view text) {
    std::vector<NotedConduct> all;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        if (line.empty() || line.front() == '#') continue;
        NotedConduct noted;
        std::string_view rest = line;
        while (!rest.empty()) {
            const std::string_view word = rest.substr(0, rest.find(' '));
            rest.remove_prefix(std::min(rest.size(), word.size() + 1));
            const auto value = [&](std::string_view key) { return word.substr(key.size()); };
            if (noted.name.empty())
                noted.name = word;
            else if (word.starts_with("breaches="))
                noted.breaches = number_of(value("breaches="));
            else if (word.starts_with("cut="))
                noted.cuts = number_of(value("cut="));
            else if (word.starts_with("last="))
                noted.last = parse_date(value("last=")).value_or(0);
            else if (word.starts_with("until="))
                noted.until = parse_date(value("until=")).value_or(0);
        }
        if (noted.breaches > 0) all.push_back(std::move(noted));
    }
    return all;
}

std::vector<ConductRow> rows_of(std::span<const NotedConduct> noted, Seconds now) {
    std::vector<ConductRow> rows;
    rows.reserve(noted.size());
    for (const NotedConduct& one : noted)
        // a clock that was set back, or a line that somebody has changed, costs nobody more than
        // the longest hold-off: see Conduct::restore
        rows.push_back({one.name, one.breaches, one.cuts,
                        std::chrono::seconds(std::clamp<Seconds>(one.until - now, 0, 1'000'000)),
                        std::chrono::seconds(std::clamp<Seconds>(now - one.last, 0, 1'000'000))});
    return rows;
}

}  // namespace vflbus::bus
