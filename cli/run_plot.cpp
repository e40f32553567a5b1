// vflbus run plot: a metric of one or several runs over their steps, as a curve in the terminal

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "plot.hpp"
#include "run_view.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

constexpr std::size_t plot_height = 16;
constexpr std::size_t width_max = 100;

/// Its value in one entry; NaN when the entry does not have it.
double value_of(const bus::MetricEntry& entry, const std::string& metric) {
    for (const auto& [name, value] : entry.metrics)
        if (name == metric) return value;
    return metric == "loss" ? entry.loss : std::nan("");
}

/// One curve for the training rows and one for the test rows, where they were measured.
void add_curves(std::vector<Curve>& curves, const RunView& view, const std::string& metric) {
    for (const char* const split : {"train", "test"}) {
        Curve curve{view.run.short_hex() + " " + split, {}};
        for (const bus::MetricEntry& entry : *view.told.metrics)
            if (const double value = value_of(entry, metric);
                entry.split == split && std::isfinite(value))
                curve.points.emplace_back(static_cast<double>(entry.step), value);
        if (!curve.points.empty()) curves.push_back(std::move(curve));
    }
}

std::vector<std::string> metrics_in(const std::vector<RunView>& views) {
    std::set<std::string> names{"loss"};
    for (const RunView& view : views)
        for (const bus::MetricEntry& entry : *view.told.metrics)
            for (const auto& [name, value] : entry.metrics) names.insert(name);
    return {names.begin(), names.end()};
}

std::string to_json(const Curve& curve) {
    std::vector<std::string> points;
    for (const auto& [step, value] : curve.points)
        points.push_back(json_array({shortest(step), shortest(value)}));
    return JsonObject().add("name", curve.name).add_json("points", json_array(points)).text();
}

}  // namespace

int run(const RunPlotArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto finder = RunFinder::make(arguments, stop);
    if (!finder) return report_failure(arguments, finder.error());
    std::vector<RunView> views;
    for (const std::string& digits : arguments.runs) {
        auto view = finder->find(digits);
        if (!view) return report_failure(arguments, view.error());
        if (!view->told.metrics)
            return report_failure(
                arguments, {view->told.metrics.error().code,
                            "nothing tells the metrics of run " + view->run.short_hex() + ": " +
                                view->told.metrics.error().sentence});
        views.push_back(std::move(*view));
    }
    std::vector<Curve> curves;
    for (const RunView& view : views) add_curves(curves, view, arguments.metric);
    if (curves.empty()) {
        const auto names = metrics_in(views);
        // every run would have it, had it come so far
        if (std::ranges::find(names, arguments.metric) != names.end())
            return report_failure(
                arguments, {Errc::usage, "no run here has values of " + arguments.metric + " yet"});
        const std::string near = nearest(arguments.metric, names);
        return report_failure(arguments,
                              {Errc::usage, "no run here has the metric " + arguments.metric +
                                                (near.empty() ? "; there are " + join_and(names)
                                                              : "; did you mean " + near + "?")});
    }
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const Curve& curve : curves) objects.push_back(to_json(curve));
        print(versioned("vflbus-curves")
                  .add("metric", arguments.metric)
                  .add_json("curves", json_array(objects))
                  .text() +
              "\n");
        return 0;
    }
    print(plot(curves, "steps", arguments.metric, std::min(output_columns(), width_max),
               plot_height));
    if (std::ranges::all_of(curves, [](const Curve& c) { return c.points.size() < 2; }))
        note(arguments,
             "only the end was measured; model.report_train_metrics_iteration and "
             "model.report_test_metrics_iteration say how often a training measures");
    if (!finder->remark().empty()) note(arguments, finder->remark());
    return 0;
}

}  // namespace vflbus::cli
