// vflbus predict

#include <algorithm>
#include <cstdlib>
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
#include "trained_model.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

std::uint64_t without_counterpart(const observe::PartyReport& party) {
    return party.rows - std::min(party.rows, party.rows_matched);
}

std::string json_of(const observe::RunReport& report, std::uint64_t rows, const RunId& model,
                    const std::string& out) {
    std::vector<std::string> parties;
    for (const observe::PartyReport& party : report.parties)
        parties.push_back(JsonObject()
                              .add("name", party.name)
                              .add("rows", party.rows)
                              .add("rows_without_counterpart", without_counterpart(party))
                              .add("rows_absent", party.rows_absent)
                              .add("filled_cells", party.missing_cells)
                              .add("unseen_values", party.unseen_values)
                              .text());
    JsonObject values;
    for (const auto& [name, value] : report.test) values.add(name, value);
    JsonObject positive;
    for (const auto& [label, value] : report.positive_classes) positive.add(label, value);
    return JsonObject()
        .add("status", "completed")
        .add("reason", "")
        .add("run_id", report.run_id)
        .add("model", model.hex())
        .add("rows", rows)
        .add("rows_unlabelled", report.rows_unlabelled)
        .add("out", out)
        .add_json("parties", json_array(parties))
        .add_json("metrics", values.text())
        .add("positive_class", report.positive_class)
        .add_json("positive_classes", positive.text())
        .text();
}

std::string table_of(const observe::RunReport& report) {
    using observe::Align;
    observe::Table table({{"party"},
                          {"rows", Align::right},
                          {"no counterpart", Align::right},
                          {"absent", Align::right},
                          {"filled cells", Align::right},
                          {"unseen texts", Align::right}});
    for (const observe::PartyReport& party : report.parties)
        table.add({party.name, observe::grouped(party.rows),
                   observe::grouped(without_counterpart(party)),
                   observe::grouped(party.rows_absent), observe::grouped(party.missing_cells),
                   observe::grouped(party.unseen_values)});
    return shown(table);
}

void print_result(const PredictArguments& arguments, const actors::PredictMaster& master,
                  const RunId& model, const std::string& out) {
    const observe::RunReport& report = master.report();
    if (arguments.json) return print(json_of(report, master.rows(), model, out) + "\n");
    print(observe::grouped(master.rows()) + " predictions: " + out + "\n\n" + table_of(report));
    if (report.rows_unlabelled > 0)
        print("\n" + observe::grouped(report.rows_unlabelled) +
              (report.test.empty() ? " rows have no label; there are no metrics"
                                   : " rows have no label; the metrics are of the others") +
              (report.test.empty() && report.rows_unlabelled < master.rows()
                   ? ", and a warning of the label holder says why\n"
                   : "\n"));
    if (report.test.empty()) return;
    observe::Table table({{"metric"}, {"value", observe::Align::right}});
    for (const auto& [name, value] : report.test) table.add({name, observe::metric_text(value)});
    print("\n" + shown(table));
}

struct Job {
    const PredictArguments& arguments;
    const config::Config& config;
    RunId run;
    RunId model;
    fs::path out;  ///< empty: standard output
};

Failure predict_as_master(const Job& job, PartyOptions options, const bus::StopSignal& stop) {
    const auto env = actors::make_file_env();
    options.model_dir = job.arguments.model;
    auto made = watched_options(job.config, job.run, options, *env);
    if (!made) return made.error();
    auto master = actors::make_predict_master(std::move(*made), {job.model, job.out});
    if (!master) return master.error();
    Failure outcome = drive(**master, job.config, options, stop);
    if (outcome.code != Errc::ok) return outcome;
    if (job.out.empty())
        print((*master)->csv());
    else
        print_result(job.arguments, **master, job.model, job.out.string());
    return outcome;
}

/// Where the rows to predict come from, when this process is the one to say it.
Result<> choose_rows(config::Config& config, const PredictArguments& arguments,
                     const TrainedModel& model) {
    const bool all = arguments.local || arguments.threads;
    if (!arguments.data.empty()) return take_rows(config, model, arguments.data, all);
    if (!all) return {};
    std::vector<std::string> without;
    std::vector<std::string> names{"master"};
    for (std::uint64_t rank = 0; rank < model.head.world_size; ++rank)
        names.push_back(config::member_name(rank));
    for (const std::string& name : names) {
        const auto section = config.parties.find(name);
        if (section == config.parties.end() || section->second.predict_data.empty())
            without.push_back(name);
    }
    if (without.empty()) return {};
    return fail(Errc::usage, "no rows to predict for " + join_and(without) +
                                 ": say --data FILE once for each of " + join_and(names) +
                                 ", or predict_data in the section of each");
}

}  // namespace

int run(const PredictArguments& given) {
    const EarlySignals early("vflbus: ended before it began\n");
    PredictArguments arguments = given;
    const auto model = find_model(arguments, arguments.model);
    if (!model) return report_failure(arguments, model.error());
    arguments.model = model->parts.string();
    if (arguments.config.empty() && std::getenv("VFLBUS_CONFIG") == nullptr)
        arguments.config = saved_configuration(*model).string();

    // a party that trained by flags predicts without saying them again
    auto config = load_short(
        arguments, {"model.task=" + model->head.task, "run.protocol=" + model->head.protocol});
    if (!config) return report_failure(arguments, config.error());
    if (const auto taken = take_agreed(*config, *model); !taken)
        return report_failure(arguments, taken.error());
    if (arguments.json && arguments.out == "-")
        return report_failure(arguments, {Errc::usage,
                                          "--json and --out - both want standard "
                                          "output; choose one"});
    if (const auto chosen = choose_rows(*config, arguments, *model); !chosen)
        return report_failure(arguments, chosen.error());
    const auto run_id = run_id_or_random(arguments.run_id);
    if (!run_id) return report_failure(arguments, run_id.error());
    const fs::path run_dir = fs::path(config->output.runs_dir) / run_id->hex();
    fs::path out = arguments.out.empty() ? run_dir / "predictions.csv" : fs::path(arguments.out);
    if (arguments.out == "-") out.clear();
    std::error_code ec;
    if (fs::is_directory(out, ec))
        return report_failure(arguments, {Errc::usage, "--out " + arguments.out +
                                                           " is a directory; name a file in it"});
    for (const auto& [name, section] : config->parties)
        for (const std::string& table : {section.predict_data, section.data, section.test_data})
            if (!out.empty() && !table.empty() && fs::equivalent(out, table, ec))
                return report_failure(
                    arguments, {Errc::usage, "--out " + arguments.out + " is a table of " + name +
                                                 "; name another file"});
    const Job job{arguments, *config, *run_id, model->head.run, out};

    return run_short(arguments, {*config,
                                 run_dir,
                                 actors::Purpose::predict,
                                 [&](const PartyOptions& options, const bus::StopSignal& stop) {
                                     return predict_as_master(job, options, stop);
                                 },
                                 {"predict", "--model", arguments.model, "--run-id", run_id->hex(),
                                  "--out", out.empty() ? "-" : fs::absolute(out).string()},
                                 arguments.model});
}

}  // namespace vflbus::cli
