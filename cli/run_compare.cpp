// vflbus run compare: what two runs have trained differently, and what came of it

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "run_view.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

using Values = std::map<std::string, std::string>;

/// "model.epochs = 20" lines as a map.
Values values_of(const RunView& view) {
    Values values;
    if (!view.told.configuration) return values;
    for (const std::string& line : split(*view.told.configuration, '\n')) {
        const std::size_t equals = line.find(" = ");
        if (equals != std::string::npos) values[line.substr(0, equals)] = line.substr(equals + 3);
    }
    return values;
}

/// The last value of each metric, as "test auc".
Values metrics_of(const RunView& view) {
    Values values;
    if (!view.told.metrics) return values;
    for (const bus::MetricEntry& entry : *view.told.metrics) {
        // (a run of an app has no splits)
        const std::string prefix = entry.split.empty() ? std::string() : entry.split + " ";
        values[prefix + "loss"] = observe::metric_text(entry.loss);
        for (const auto& [name, value] : entry.metrics)
            values[prefix + name] = observe::metric_text(value);
    }
    return values;
}

struct Difference {
    std::string what;
    std::string a;
    std::string b;
};

/// Everything that either has; `same_too`: also where both have the same.
std::vector<Difference> differences(const Values& a, const Values& b, bool same_too) {
    std::vector<Difference> found;
    Values names = a;
    names.insert(b.begin(), b.end());
    for (const auto& [name, ignored] : names) {
        const auto in_a = a.find(name);
        const auto in_b = b.find(name);
        Difference one{name, in_a == a.end() ? "-" : in_a->second,
                       in_b == b.end() ? "-" : in_b->second};
        if (same_too || one.a != one.b) found.push_back(std::move(one));
    }
    return found;
}

std::string status_text(const RunView& view) {
    if (view.row) return state_text(*view.row);
    return view.local ? view.local->status : "unknown";
}

std::string to_json(const std::vector<Difference>& all) {
    JsonObject object;
    for (const Difference& one : all)
        object.add_json(one.what, json_array({json_string(one.a), json_string(one.b)}));
    return object.text();
}

}  // namespace

int run(const RunCompareArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto finder = RunFinder::make(arguments, stop);
    if (!finder) return report_failure(arguments, finder.error());
    const auto a = finder->find(arguments.run);
    if (!a) return report_failure(arguments, a.error());
    const auto b = finder->find(arguments.other);
    if (!b) return report_failure(arguments, b.error());
    const auto settings = differences(values_of(*a), values_of(*b), false);
    const auto metrics = differences(metrics_of(*a), metrics_of(*b), true);
    if (arguments.json) {
        print(versioned("vflbus-comparison")
                  .add("runs", std::vector<std::string>{a->run.hex(), b->run.hex()})
                  .add_json("configuration", to_json(settings))
                  .add_json("metrics", to_json(metrics))
                  .text() +
              "\n");
        return 0;
    }
    using observe::Align;
    observe::Table table(
        {{"RUN"}, {a->run.short_hex(), Align::right}, {b->run.short_hex(), Align::right}});
    table.add({"status", status_text(*a), status_text(*b)});
    for (const Difference& one : metrics) table.add({one.what, one.a, one.b});
    for (const Difference& one : settings) table.add({one.what, one.a, one.b});
    print(shown(table));
    if (settings.empty()) print("\nboth have the same configuration\n");
    if (!finder->remark().empty()) note(arguments, finder->remark());
    return 0;
}

}  // namespace vflbus::cli
