// vflbus predict

#include <string>

#include "actors/master.hpp"
#include "actors/model_file.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "party.hpp"
#include "short_run.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// The run that trained the model in `directory`: its master's part says it.
Result<RunId> run_of_model(const fs::path& directory) {
    const fs::path part = directory / "master" / "model.json";
    const auto text = read_file(part);
    if (!text)
        return fail(Errc::io, "--model " + directory.string() +
                                  " holds no model: " + text.error().sentence +
                                  "; name the directory of a training, such as runs/<run_id>");
    const auto parsed = actors::parse_model_head(*text, part.string());
    if (!parsed) return tl::unexpected(parsed.error());
    return parsed->run;
}

void print_result(const PredictArguments& arguments, const actors::PredictMaster& master,
                  const RunId& run, const RunId& model, const std::string& out) {
    const observe::Metrics& metrics = master.report().test;
    if (arguments.json) {
        JsonObject values;
        for (const auto& [name, value] : metrics) values.add(name, value);
        print(JsonObject()
                  .add("status", "completed")
                  .add("reason", "")
                  .add("run_id", run.hex())
                  .add("model", model.hex())
                  .add("rows", master.rows())
                  .add("out", out)
                  .add_json("metrics", values.text())
                  .text() +
              "\n");
        return;
    }
    print(observe::grouped(master.rows()) + " predictions: " + out + "\n");
    if (metrics.empty()) return;
    observe::Table table({{"metric"}, {"value", observe::Align::right}});
    for (const auto& [name, value] : metrics) table.add({name, observe::metric_text(value)});
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
    auto master = actors::make_predict_master(master_options(job.config, job.run, options, *env),
                                              {job.model, job.out});
    if (!master) return master.error();
    Failure outcome = drive(**master, job.config, options, stop);
    if (outcome.code != Errc::ok) return outcome;
    if (job.out.empty())
        print((*master)->csv());
    else
        print_result(job.arguments, **master, job.run, job.model, job.out.string());
    return outcome;
}

}  // namespace

int run(const PredictArguments& given) {
    PredictArguments arguments = given;
    const auto model = run_of_model(arguments.model);
    if (!model) return report_failure(arguments, model.error());
    std::error_code ignored;
    arguments.model = fs::absolute(arguments.model).lexically_normal().string();
    const fs::path saved = fs::path(arguments.model) / "vflbus.toml";
    if (arguments.config.empty() && fs::exists(saved, ignored)) arguments.config = saved.string();

    const auto config = load_short(arguments);
    if (!config) return report_failure(arguments, config.error());
    if (arguments.json && arguments.out == "-")
        return report_failure(arguments, {Errc::usage,
                                          "--json and --out - both want standard "
                                          "output; choose one"});
    const RunId run_id = random_run_id();
    const fs::path run_dir = fs::path(config->output.runs_dir) / run_id.hex();
    fs::path out = arguments.out.empty() ? run_dir / "predictions.csv" : fs::path(arguments.out);
    if (arguments.out == "-") out.clear();
    const Job job{arguments, *config, run_id, *model, out};

    return run_short(arguments, {*config,
                                 run_dir,
                                 actors::Purpose::predict,
                                 [&](const PartyOptions& options, const bus::StopSignal& stop) {
                                     return predict_as_master(job, options, stop);
                                 },
                                 {"predict", "--model", arguments.model, "--out",
                                  out.empty() ? "-" : fs::absolute(out).string()},
                                 arguments.model});
}

}  // namespace vflbus::cli
