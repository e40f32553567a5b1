#include "run_view.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <utility>

#include "app_metrics.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "run_files.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

using AskIt = std::function<Result<bus::Bytes>(bus::Question, const bus::Bytes&)>;

Result<std::vector<bus::MetricEntry>> all_metrics(const AskIt& ask) {
    std::vector<bus::MetricEntry> entries;
    for (;;) {
        const auto body = ask(bus::Question::metrics, bus::encode_from(entries.size()));
        if (!body) return tl::unexpected(body.error());
        auto answer = bus::decode_metrics(*body);
        if (!answer) return tl::unexpected(answer.error());
        for (bus::MetricEntry& entry : answer->entries) entries.push_back(std::move(entry));
        if (answer->entries.empty() || entries.size() >= answer->total) return entries;
    }
}

Told hear(const AskIt& ask) {
    const auto status = ask(bus::Question::status, bus::encode_empty());
    if (!status) {
        const auto none = tl::unexpected(status.error());
        return {none, none, none};
    }
    const auto text = ask(bus::Question::configuration, bus::encode_empty());
    return {bus::decode_status(*status),
            text ? bus::decode_text(*text) : Result<std::string>(tl::unexpected(text.error())),
            all_metrics(ask)};
}

/// What the files of a training that ran here say; without `run.json` an error.
Told read_files(const config::Config& config, const RunId& run) {
    RunFiles files("master", config.output.runs_dir, config.output.share_log);
    return hear([&](bus::Question what, const bus::Bytes& body) {
        return files.answer({{}, run, 0, static_cast<std::uint16_t>(what), body}, false);
    });
}

/// Where somebody finds it who is where the run was.
std::string where_it_is(const bus::RunRow& row) {
    const std::string dir = "runs/" + row.run.hex();
    return row.owner + ", which drove it, is gone; " +
           (row.role == "serverapp"
                ? "what it logged is where it ran, in " + dir + "/" + row.owner + "/log"
                : "metrics and configuration are where it ran, in " + dir +
                      "/report.json and run.json") +
           " (or the output.runs_dir there)";
}

/// Where the ServerApp of a run has written, if it was driven here.
std::filesystem::path app_directory(const config::Config& config, const bus::RunRow& row) {
    return std::filesystem::path(config.output.runs_dir) / row.run.hex() / row.owner;
}

/// What it has left of its metrics.
Told read_app_files(const config::Config& config, const bus::RunRow& row) {
    const auto none = fail(Errc::unreachable, row.owner + " is gone");
    return {none, none, read_app_metrics(app_directory(config, row) / app_metrics_file)};
}

}  // namespace

Result<bus::Bytes> ask_owner(Asker& asker, const bus::RunRow& row, bus::Question what,
                             const bus::Bytes& body) {
    auto answer = asker.ask({node_id_of(row.owner), row.run, what, body});
    const std::string master = serving_master(row.owner, row.run);
    if (answer || answer.error().code != Errc::unreachable || master.empty()) return answer;
    auto instead = asker.ask({node_id_of(master), row.run, what, body});
    return instead ? instead : answer;
}

std::string reason_of(Asker& asker, const bus::RunRow& row) {
    if (!bus::finished(row.state) || row.state == bus::RunState::completed) return {};
    if (const auto answer = ask_owner(asker, row, bus::Question::reason, bus::encode_empty()))
        if (auto text = bus::decode_text(*answer); text && !text->empty()) return *text;
    return row.reason;
}

Told told_by_owner(Asker& asker, const bus::RunRow& row) {
    return hear([&](bus::Question what, const bus::Bytes& body) {
        return ask_owner(asker, row, what, body);
    });
}

Told told_by_files(const config::Config& config, const bus::RunRow& row) {
    if (Told files = read_files(config, row.run); files.status) return files;
    return read_app_files(config, row);
}

Told told_by_files(const LocalRun& run) {
    bus::RunStatus status;
    status.loss = std::numeric_limits<double>::quiet_NaN();  // not known
    status.phase = run.status;
    status.step = run.report.steps;
    status.steps = run.report.steps_planned;
    status.epoch = last_epoch(run.report);
    status.epochs = run.report.epochs;
    const auto entries = entries_of_run(run);
    for (const bus::MetricEntry& entry : entries)
        if (entry.split == "train") status.loss = entry.loss;
    return {status, run.configuration, entries};
}

// -- looking up ---------------------------------------------------------------------

Result<RunFinder> RunFinder::make(const RunQuestion& question, const bus::StopSignal& stop) {
    auto config = load_config(question, broker_flag(question.broker));
    if (!config) return tl::unexpected(config.error());
    RunFinder finder;
    finder.config_ = std::move(*config);
    if (question.local) return finder;
    bool turned_away = false;
    auto asker = Asker::connect(finder.config_, stop, &turned_away);
    if (asker) {
        finder.asker_.emplace(std::move(*asker));
        return finder;
    }
    if (asker.error().code != Errc::unreachable || turned_away ||
        local_runs(finder.config_.output.runs_dir).empty())
        return tl::unexpected(asker.error());
    finder.remark_ = "no broker answers at " + finder.config_.bus.broker +
                     "; this is what lies in " + finder.config_.output.runs_dir;
    return finder;
}

Result<RunView> RunFinder::find(const std::string& digits) {
    if (!asker_) return find_local(digits);
    auto row = asker_->run(digits);
    if (row) return find_at_broker(std::move(*row));
    // a run that never came to this broker, or that it has forgotten
    if (row.error().code == Errc::unknown_run)
        if (auto local = find_local(digits)) {
            local->sentence = "the broker does not know this run; this is what lies in " +
                              local->local->directory.string();
            return local;
        }
    return tl::unexpected(row.error());
}

Result<RunView> RunFinder::find_local(const std::string& digits) const {
    auto local = local_run(config_.output.runs_dir, digits);
    if (!local) return tl::unexpected(local.error());
    RunView view{local->run, {}, {}, told_by_files(*local), local->report.reason, false, {}};
    view.local = std::move(*local);
    return view;
}

Result<RunView> RunFinder::find_at_broker(bus::RunRow row) {
    Told told = told_by_owner(*asker_, row);
    RunView view{row.run, row, {}, std::move(told), reason_of(*asker_, row), false, {}};
    view.owner_answers = view.told.status.has_value();
    if (view.owner_answers) return view;
    view.sentence = bus::finished(row.state)
                        ? where_it_is(row)
                        : row.owner + " does not tell more: " + view.told.status.error().sentence;
    if (Told files = read_files(config_, row.run); files.status) {
        view.told = std::move(files);
        view.sentence = row.owner + " does not answer; metrics and configuration are from " +
                        (std::filesystem::path(config_.output.runs_dir) / row.run.hex()).string();
    }
    if (row.role != "serverapp") return view;
    if (Told files = read_app_files(config_, row); files.metrics) {
        view.told = std::move(files);
        view.sentence = row.owner + ", which drove it, does not answer; its metrics are from " +
                        app_directory(config_, row).string() + ", where its log is as well";
    }
    return view;
}

// -- what is told -------------------------------------------------------------------

std::string to_json(const bus::RunStatus& status) {
    return JsonObject()
        .add("phase", status.phase)
        .add("step", status.step)
        .add("steps", status.steps)
        .add("epoch", status.epoch)
        .add("epochs", status.epochs)
        .add("loss", status.loss)
        .text();
}

std::string to_json(const bus::MetricEntry& entry) {
    JsonObject metrics;
    for (const auto& [name, value] : entry.metrics) metrics.add(name, value);
    return JsonObject()
        .add("step", entry.step)
        .add("epoch", entry.epoch)
        .add("split", entry.split)
        .add("loss", entry.loss)
        .add_json("metrics", metrics.text())
        .text();
}

std::string metrics_table(const std::vector<bus::MetricEntry>& entries) {
    using observe::Align;
    std::vector<observe::Column> columns{
        {"STEP", Align::right}, {"EPOCH", Align::right}, {"ROWS"}, {"LOSS", Align::right}};
    std::vector<std::string> names;
    for (const bus::MetricEntry& entry : entries)
        for (const auto& [name, value] : entry.metrics)
            if (name != "loss" && std::ranges::find(names, name) == names.end())
                names.push_back(name);
    for (const std::string& name : names) columns.push_back({name, Align::right});
    observe::Table table(columns);
    for (const bus::MetricEntry& entry : entries) {
        std::vector<std::string> cells{std::to_string(entry.step), std::to_string(entry.epoch),
                                       entry.split, observe::metric_text(entry.loss)};
        for (const std::string& name : names) {
            const auto found = std::ranges::find(entry.metrics, name,
                                                 [](const auto& metric) { return metric.first; });
            cells.push_back(found == entry.metrics.end() ? ""
                                                         : observe::metric_text(found->second));
        }
        table.add(std::move(cells));
    }
    return shown(table);
}

}  // namespace vflbus::cli
