#include "tune_grid.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "actors/alignment/kept_alignment.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace vflbus::cli {
namespace {

/// More are a mistake in writing rather than a search.
constexpr std::size_t combinations_max = 1000;

/// The values of "0.1,1,[1,2],\"a,b\"": a comma within brackets or quotes separates nothing.
std::vector<std::string> values_in(std::string_view text) {
    std::vector<std::string> values(1);
    int depth = 0;
    bool quoted = false;
    for (const char c : text) {
        if (c == '"') quoted = !quoted;
        if (!quoted && c == '[') ++depth;
        if (!quoted && c == ']') --depth;
        if (c == ',' && depth == 0 && !quoted)
            values.emplace_back();
        else
            values.back() += c;
    }
    return values;
}

Result<Axis> parse_axis(const std::string& text) {
    const std::size_t equals = text.find('=');
    Axis axis;
    axis.key = std::string(trim(text.substr(0, equals)));
    const bool agreed = axis.key.starts_with("model.") || axis.key.starts_with("data.");
    if (equals == std::string::npos || !agreed)
        return fail(Errc::usage, "--grid " + text +
                                     ": it is KEY=VALUE,VALUE,... with a key of [model] or [data], "
                                     "such as model.l2=0.1,1,10");
    axis.values = values_in(std::string_view(text).substr(equals + 1));
    for (std::string& value : axis.values) {
        value = std::string(trim(value));
        if (value.empty()) return fail(Errc::usage, "--grid " + text + ": a value is missing");
        if (std::ranges::count(axis.values, value) > 1)
            return fail(Errc::usage, "--grid " + text + ": " + value + " is there twice");
    }
    return axis;
}

}  // namespace

Result<std::vector<Axis>> parse_grid(const std::vector<std::string>& texts) {
    std::vector<Axis> grid;
    std::size_t combinations = 1;
    for (const std::string& text : texts) {
        auto axis = parse_axis(text);
        if (!axis) return tl::unexpected(std::move(axis.error()));
        if (std::ranges::find(grid, axis->key, &Axis::key) != grid.end())
            return fail(Errc::usage, "--grid " + text + ": " + axis->key +
                                         " is there twice; say all its values at once");
        combinations *= axis->values.size();
        if (combinations > combinations_max)
            return fail(Errc::usage, "--grid makes more than " + std::to_string(combinations_max) +
                                         " combinations");
        grid.push_back(std::move(*axis));
    }
    return grid;
}

std::vector<Point> points_of(const std::vector<Axis>& grid) {
    std::vector<Point> points(1);
    for (const Axis& axis : grid) {
        std::vector<Point> more;
        for (const Point& point : points)
            for (const std::string& value : axis.values) {
                std::vector<std::string>& values = more.emplace_back().values;
                values = point.values;
                values.push_back(value);
            }
        points = std::move(more);
    }
    for (Point& point : points) point.run = random_run_id();
    return points;
}

void share_alignments(std::vector<Point>& points) {
    std::vector<std::pair<config::AgreedHalf, std::vector<Point*>>> known;
    for (Point& point : points) {
        config::AgreedHalf wanted = actors::aligned_by(point.job->config);
        auto found =
            std::ranges::find_if(known, [&](const auto& one) { return one.first == wanted; });
        if (found == known.end()) {
            known.emplace_back(std::move(wanted), std::vector<Point*>());
            found = known.end() - 1;
        }
        found->second.push_back(&point);
    }
    for (const auto& [wanted, sharers] : known) {
        std::set<RunId> runs;
        for (const Point* const point : sharers) runs.insert(point->run);
        const auto shared =
            std::make_shared<actors::SharedAlignment>(random_run_id(), std::move(runs));
        for (Point* const point : sharers) point->alignment = shared;
    }
}

std::string settings_text(const std::vector<Axis>& grid, const Point& point) {
    std::vector<std::string> settings;
    for (std::size_t a = 0; a < grid.size(); ++a)
        settings.push_back(grid[a].key + " = " + point.values[a]);
    return join_and(settings);
}

std::string status_of(const Point& point) {
    if (!point.ran) return "not begun";
    return point.outcome.code == Errc::ok ? "completed" : "failed";
}

observe::Metrics judged_by(const observe::RunReport& report) {
    return report.folds.empty() ? report.test : observe::mean_of_folds(report.folds);
}

std::string default_metric(const observe::RunReport& report) {
    const observe::Metrics metrics = judged_by(report);
    for (const auto& [name, value] : metrics)
        if (name != "loss") return name;
    return metrics.empty() ? std::string() : metrics.front().first;
}

std::optional<double> value_of(const observe::RunReport& report, const std::string& metric) {
    for (const auto& [name, value] : judged_by(report))
        if (name == metric) return value;
    return {};
}

}  // namespace vflbus::cli
