// vflbus check

#include <filesystem>
#include <string>

#include "actors/master.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "party.hpp"
#include "short_run.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

double milliseconds(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

std::string fixed(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string as_json(const actors::CheckMaster& master, const RunId& run) {
    std::vector<std::string> parties;
    for (const actors::CheckedParty& party : master.checked())
        parties.push_back(JsonObject()
                              .add("name", party.name)
                              .add("version", party.version)
                              .add("round_trip_ms", milliseconds(party.round_trip_median))
                              .add("round_trip_min_ms", milliseconds(party.round_trip_min))
                              .add("rows", party.rows)
                              .add("duplicate_rows", party.duplicate_rows)
                              .add("missing_cells", party.missing_cells)
                              .add("columns", party.columns)
                              .add("match_rate", party.match_rate)
                              .text());
    return JsonObject()
               .add("status", "completed")
               .add("reason", "")
               .add("run_id", run.hex())
               .add_json("parties", json_array(parties))
               .add("common", master.common())
               .add("common_test", master.common_test())
               .text() +
           "\n";
}

std::string as_table(const actors::CheckMaster& master, config::Join join) {
    using observe::Align;
    observe::Table table({{"party"},
                          {"version"},
                          {"round trip", Align::right},
                          {"rows", Align::right},
                          {"repeated", Align::right},
                          {"columns", Align::right},
                          {"missing", Align::right},
                          {"matched", Align::right}});
    for (const actors::CheckedParty& party : master.checked())
        table.add({party.name, party.version,
                   party.round_trip_median == Duration{}
                       ? "-"
                       : fixed(milliseconds(party.round_trip_median), 3) + " ms",
                   observe::grouped(party.rows), observe::grouped(party.duplicate_rows),
                   observe::grouped(party.columns), observe::grouped(party.missing_cells),
                   fixed(100 * party.match_rate, 1) + " %"});
    std::string text = shown(table) + "\n" + observe::grouped(master.common()) +
                       (join == config::Join::left ? " ids of the master are used"
                                                   : " ids are common to all parties");
    if (master.common_test() != 0)
        text += ", " + observe::grouped(master.common_test()) + " in the test tables";
    return text + ".\n";
}

Failure check_as_master(const CheckArguments& arguments, const config::Config& config,
                        const RunId& run, PartyOptions options, const bus::StopSignal& stop) {
    const auto env = actors::make_file_env();
    auto made = watched_options(config, run, options, *env);
    if (!made) return made.error();
    auto master = actors::make_check_master(std::move(*made));
    if (!master) return master.error();
    Failure outcome = drive(**master, config, options, stop);
    if (outcome.code == Errc::ok)
        print(arguments.json ? as_json(**master, run) : as_table(**master, config.data.join));
    return outcome;
}

}  // namespace

int run(const CheckArguments& arguments) {
    const EarlySignals early("vflbus: ended before it began\n");
    auto config = load_short(arguments);
    if (!config) return report_failure(arguments, config.error());
    const auto run_id = run_id_or_random(arguments.run_id);
    if (!run_id) return report_failure(arguments, run_id.error());
    return run_short(arguments, {*config,
                                 std::filesystem::path(config->output.runs_dir) / run_id->hex(),
                                 actors::Purpose::check,
                                 [&](const PartyOptions& options, const bus::StopSignal& stop) {
                                     return check_as_master(arguments, *config, *run_id, options,
                                                            stop);
                                 },
                                 {"check", "--run-id", run_id->hex()},
                                 {}});
}

}  // namespace vflbus::cli
