// vflbus features: what each party's columns tell of the label

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "actors/master.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "party.hpp"
#include "short_run.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// A line of the table: a column by its name, or by its number where its name is not told.
struct FeatureLine {
    std::string party;
    std::string column;
    const data::FeatureFigures* figures;
};

std::vector<FeatureLine> feature_lines(const actors::FeaturesResult& result) {
    std::vector<FeatureLine> lines;
    for (const actors::PartyFeatures& party : result.parties)
        for (std::size_t i = 0; i < party.columns.size(); ++i) {
            const data::FeatureFigures& one = party.columns[i];
            lines.push_back(
                {party.name, one.name.empty() ? "#" + std::to_string(i + 1) : one.name, &one});
        }
    std::ranges::stable_sort(lines, std::greater<>(),
                             [](const FeatureLine& line) { return line.figures->information; });
    return lines;
}

std::string figure_text(double value, int digits) {
    return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "infinite";
}

std::string json_of(const actors::FeaturesMaster& master, const RunId& run) {
    const actors::FeaturesResult& result = master.features();
    Json columns = Json::array();
    for (const FeatureLine& line : feature_lines(result))
        columns.push_back(Json{{"party", line.party},
                               {"column", line.column},
                               {"information", line.figures->information},
                               {"missing", line.figures->missing},
                               {"inflation", line.figures->inflation},
                               {"correlation", line.figures->correlation},
                               {"nearest", line.figures->nearest}});
    const Json out{{"status", "completed"},
                   {"reason", ""},
                   {"run_id", run.hex()},
                   {"rows", result.rows},
                   {"positive_class", result.positive_class},
                   {"columns", std::move(columns)}};
    return out.dump() + "\n";
}

std::string table_of(const actors::FeaturesMaster& master, const std::filesystem::path& run_dir) {
    using observe::Align;
    const actors::FeaturesResult& result = master.features();
    observe::Table table({{"party"},
                          {"column"},
                          {"information", Align::right},
                          {"missing", Align::right},
                          {"inflation", Align::right},
                          {"correlation", Align::right},
                          {"with"}});
    for (const FeatureLine& line : feature_lines(result)) {
        const data::FeatureFigures& one = *line.figures;
        table.add({line.party, line.column, figure_text(one.information, 4),
                   observe::grouped(one.missing), figure_text(one.inflation, 2),
                   figure_text(one.correlation, 3), one.nearest});
    }
    return shown(table) + "\nOf " + observe::grouped(result.rows) + " training rows; class '" +
           result.positive_class + "' is the positive one.\n" +
           "Bins and names are in features.json of each party, the master's in " +
           (run_dir / "master").string() + ".\n";
}

}  // namespace

int run(const FeaturesArguments& arguments) {
    const EarlySignals early("vflbus: ended before it began\n");
    auto config = load_short(arguments);
    if (!config) return report_failure(arguments, config.error());
    const auto run_id = run_id_or_random(arguments.run_id);
    if (!run_id) return report_failure(arguments, run_id.error());
    const auto run_dir = std::filesystem::path(config->output.runs_dir) / run_id->hex();
    const auto as_master = [&](PartyOptions options, const bus::StopSignal& stop) -> Failure {
        const auto env = actors::make_file_env();
        auto made = watched_options(*config, *run_id, options, *env);
        if (!made) return made.error();
        auto master = actors::make_features_master(std::move(*made));
        if (!master) return master.error();
        Failure outcome = drive(**master, *config, options, stop);
        if (outcome.code == Errc::ok)
            print(arguments.json ? json_of(**master, *run_id) : table_of(**master, run_dir));
        return outcome;
    };
    return run_short(arguments, {*config,
                                 run_dir,
                                 actors::Purpose::features,
                                 as_master,
                                 {"features", "--run-id", run_id->hex()},
                                 {}});
}

}  // namespace vflbus::cli
