// vflbus run show, run stop and run logs: one run, asked of the broker, its owner and its
// participants

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "app_metrics.hpp"
#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "run_files.hpp"
#include "run_log.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// How long an owner may take to end in order; it gives up by itself before.
constexpr Duration stop_patience = std::chrono::seconds(40);

struct Found {
    config::Config config;
    Asker asker;
    bus::RunRow row;
};

Result<Found> find(const RunArguments& arguments, const bus::StopSignal& stop) {
    auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return tl::unexpected(config.error());
    auto asker = Asker::connect(*config, stop);
    if (!asker) return tl::unexpected(asker.error());
    auto row = asker->run(arguments.run);
    if (!row) return tl::unexpected(row.error());
    return Found{std::move(*config), std::move(*asker), std::move(*row)};
}

/// The process that drives the run or, when that is gone, the master to which it was submitted.
Result<bus::Bytes> ask_owner(Found& found, bus::Question what, const bus::Bytes& body) {
    const bus::RunRow& row = found.row;
    auto answer = found.asker.ask({node_id_of(row.owner), row.run, what, body});
    const std::string master = serving_master(row.owner, row.run);
    if (answer || answer.error().code != Errc::unreachable || master.empty()) return answer;
    auto instead = found.asker.ask({node_id_of(master), row.run, what, body});
    return instead ? instead : answer;
}

// -- what the broker does not keep ---------------------------------------------------

using AskIt = std::function<Result<bus::Bytes>(bus::Question, const bus::Bytes&)>;

struct Told {
    Result<bus::RunStatus> status;
    Result<std::string> configuration;
    Result<std::vector<bus::MetricEntry>> metrics;
};

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
Told read_files(const Found& found) {
    RunFiles files("master", found.config.output.runs_dir, found.config.output.share_log);
    return hear([&](bus::Question what, const bus::Bytes& body) {
        return files.answer({{}, found.row.run, 0, static_cast<std::uint16_t>(what), body}, false);
    });
}

/// What the ServerApp of a run that was driven here has left of its metrics.
Told read_app_files(const Found& found, const std::filesystem::path& directory) {
    const auto none = fail(Errc::unreachable, found.row.owner + " is gone");
    return {none, none, read_app_metrics(directory / app_metrics_file)};
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
            if (name != "loss" && std::find(names.begin(), names.end(), name) == names.end())
                names.push_back(name);
    for (const std::string& name : names) columns.push_back({name, Align::right});
    observe::Table table(columns);
    for (const bus::MetricEntry& entry : entries) {
        std::vector<std::string> cells{std::to_string(entry.step), std::to_string(entry.epoch),
                                       entry.split, observe::metric_text(entry.loss)};
        for (const std::string& name : names) {
            const auto found = std::find_if(entry.metrics.begin(), entry.metrics.end(),
                                            [&](const auto& m) { return m.first == name; });
            cells.push_back(found == entry.metrics.end() ? ""
                                                         : observe::metric_text(found->second));
        }
        table.add(std::move(cells));
    }
    return table.text();
}

/// What is known of a run: what the broker keeps, and what its owner or its files add.
struct Shown {
    const bus::RunRow& row;
    Told told;
    bool owner_answers = false;
    /// Whose word it is, or where to look; empty when the owner answers.
    std::string sentence = {};
};

Shown look_at(Found& found) {
    const bus::RunRow& row = found.row;
    Shown shown{row, hear([&](bus::Question what, const bus::Bytes& body) {
                    return ask_owner(found, what, body);
                })};
    shown.owner_answers = shown.told.status.has_value();
    if (shown.owner_answers) return shown;
    shown.sentence = bus::finished(row.state)
                         ? where_it_is(row)
                         : row.owner + " does not tell more: " + shown.told.status.error().sentence;
    if (Told files = read_files(found); files.status) {
        shown.told = std::move(files);
        shown.sentence =
            row.owner + " does not answer; metrics and configuration are from " +
            (std::filesystem::path(found.config.output.runs_dir) / row.run.hex()).string();
    }
    const auto directory =
        std::filesystem::path(found.config.output.runs_dir) / row.run.hex() / row.owner;
    if (Told files = read_app_files(found, directory); row.role == "serverapp" && files.metrics) {
        shown.told = std::move(files);
        shown.sentence = row.owner + ", which drove it, does not answer; its metrics are from " +
                         directory.string() + ", where its log is as well";
    }
    return shown;
}

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

std::string to_json(const Shown& shown) {
    const auto& [status, text, metrics] = shown.told;
    JsonObject object;
    object.add_json("run", cli::to_json(shown.row));
    object.add("owner_answers", shown.owner_answers);
    if (!shown.owner_answers) object.add("owner_sentence", shown.sentence);
    if (status) object.add_json("progress", to_json(*status));
    if (metrics) {
        std::vector<std::string> entries;
        for (const bus::MetricEntry& entry : *metrics) entries.push_back(to_json(entry));
        object.add_json("metrics", json_array(entries));
    }
    if (text) object.add("configuration", *text);
    return object.text() + "\n";
}

std::string progress_text(const bus::RunStatus& status) {
    if (status.steps == 0) return status.phase;
    return status.phase + ", step " + std::to_string(status.step) + " of " +
           std::to_string(status.steps) + ", loss " + observe::metric_text(status.loss);
}

std::string participants_text(const bus::RunRow& row) {
    if (row.names.empty()) return "-";
    return join_and(row.names) + (row.names.size() < row.participants
                                      ? " (" + std::to_string(row.participants) + " in all)"
                                      : "");
}

std::string facts_table(const Shown& shown) {
    const bus::RunRow& row = shown.row;
    observe::Table table({{"RUN"}, {row.run.hex()}});
    table.add({"status", state_text(row)});
    if (!row.reason.empty()) table.add({"reason", row.reason});
    if (shown.told.status) table.add({"progress", progress_text(*shown.told.status)});
    table.add({"owner", row.owner + " (" + row.role + ")"});
    table.add({"participants", participants_text(row)});
    table.add({"created (UTC)", time_text(row.created_ms)});
    table.add({"started (UTC)", time_text(row.started_ms)});
    if (row.finished_ms != 0) table.add({"finished (UTC)", time_text(row.finished_ms)});
    table.add({"duration", duration_text(row, wall_now_ms())});
    table.add({"messages", observe::grouped(row.messages)});
    table.add({"bytes", human_bytes(row.bytes)});
    if (row.term > 1) table.add({"term", std::to_string(row.term)});
    return table.text(200);
}

}  // namespace

// -- show --------------------------------------------------------------------------

int run(const RunShowArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto found = find(arguments, stop);
    if (!found) return report_failure(arguments, found.error());
    const Shown shown = look_at(*found);
    if (arguments.json) {
        print(to_json(shown));
        return 0;
    }
    print(facts_table(shown));
    const auto& [status, text, metrics] = shown.told;
    if (metrics && !metrics->empty()) print("\n" + metrics_table(*metrics));
    if (text && !text->empty()) print("\n" + *text);
    if (!shown.sentence.empty()) note(arguments, shown.sentence);
    return 0;
}

// -- stop --------------------------------------------------------------------------

int run(const RunStopArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto found = find(arguments, stop);
    if (!found) return report_failure(arguments, found.error());
    bus::RunRow row = found->row;
    if (bus::finished(row.state))
        return report_failure(
            arguments, {Errc::run_ended,
                        "run " + row.run.short_hex() + " is over already: " + state_text(row)});
    const auto told =
        ask_owner(*found, bus::Question::stop, bus::encode_text("stopped by `vflbus run stop`"));
    if (!told)
        return report_failure(
            arguments,
            {told.error().code,
             row.owner + ", which drives run " + row.run.short_hex() +
                 (told.error().code == Errc::timed_out
                      ? ", has not answered in time; it may have heard, and stop the run still"
                      : ", was not told: " + told.error().sentence)});
    const TimePoint until = std::chrono::steady_clock::now() + stop_patience;
    while (!bus::finished(row.state)) {
        if (std::chrono::steady_clock::now() >= until)
            return report_failure(
                arguments, {Errc::timed_out, row.owner + " was told to stop run " +
                                                 row.run.short_hex() + ", but has not ended it"});
        if (!found->asker.pause(std::chrono::milliseconds(200)))
            return report_failure(arguments, {Errc::cancelled, "interrupted"});
        const auto now = found->asker.run(row.run.hex());
        if (!now) return report_failure(arguments, now.error());
        row = *now;
    }
    if (arguments.json)
        print(JsonObject().add_json("run", to_json(row)).text() + "\n");
    else
        print("run " + row.run.short_hex() + " is " + state_text(row) +
              (row.reason.empty() ? "" : ": " + row.reason) + "\n");
    return 0;
}

// -- logs --------------------------------------------------------------------------

int run(const RunLogsArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto found = find(arguments, stop);
    if (!found) return report_failure(arguments, found.error());
    RunLogReader reader(found->asker, found->row);
    std::vector<std::string> objects;
    const Duration patience = forgotten_after(found->config);
    TimePoint known = std::chrono::steady_clock::now();
    bool forgotten = false;
    for (;;) {
        // before the lines are read: what was written until its end is read after it
        const bool over = bus::finished(found->row.state) || !arguments.follow || forgotten;
        for (const LogLine& line : reader.read(over)) {
            if (!arguments.json) {
                print(line.text + "\n");
                continue;
            }
            const std::string object =
                JsonObject().add("party", line.party).add("line", line.text).text();
            if (arguments.follow)
                print(object + "\n");
            else
                objects.push_back(object);
        }
        if (arguments.follow) (void)finish_output(0);
        if (over || stop.stopped()) break;
        if (!found->asker.pause(std::chrono::milliseconds(500))) break;
        if (const auto now = found->asker.run(found->row.run.hex())) {
            found->row = *now;
            reader.update(*now);
            if (now->state != bus::RunState::unknown) known = std::chrono::steady_clock::now();
        }
        forgotten = std::chrono::steady_clock::now() - known >= patience;
    }
    std::vector<std::string> missing;
    for (const auto& [party, why] : reader.missing()) {
        note(arguments, why);
        missing.push_back(JsonObject().add("party", party).add("reason", why).text());
    }
    if (arguments.json && !arguments.follow)
        print(JsonObject()
                  .add("run_id", found->row.run.hex())
                  .add_json("lines", json_array(objects))
                  .add_json("missing", json_array(missing))
                  .text() +
              "\n");
    if (forgotten)
        return report_failure(
            arguments, {Errc::unreachable,
                        "the broker at " + found->config.bus.broker + " has told nothing of run " +
                            found->row.run.short_hex() + " for " +
                            human_seconds(std::chrono::duration<double>(patience).count()) +
                            "; when it is there again, ask again"});
    if (reader.anything() || reader.missing().empty()) return 0;
    return static_cast<int>(exit_code(Errc::refused));
}

}  // namespace vflbus::cli
