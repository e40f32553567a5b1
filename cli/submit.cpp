// vflbus run submit: hands a training to a master that waits for them

#include <algorithm>
#include <optional>

#include "ask.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "config/agreed.hpp"
#include "observe/console.hpp"
#include "output.hpp"
#include "run_log.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// The master that is meant, or the only one that waits for submissions.
Result<std::string> find_master(Asker& asker, const std::string& to) {
    const auto nodes = asker.nodes(bus::rows_max);
    if (!nodes) return tl::unexpected(nodes.error());
    std::vector<std::string> waiting;
    for (const bus::NodeRow& node : *nodes)
        if (node.state == bus::NodeState::up &&
            std::find(node.features.begin(), node.features.end(), bus::feature_serve) !=
                node.features.end())
            waiting.push_back(node.name);
    if (!to.empty()) {
        if (std::find(waiting.begin(), waiting.end(), to) != waiting.end()) return to;
        return fail(Errc::unreachable,
                    to + " does not wait for submissions at this broker" +
                        (waiting.empty()
                             ? "; start it with `vflbus actor --role master --serve`"
                             : "; " + join_and(waiting) + (waiting.size() == 1 ? " does" : " do")));
    }
    if (waiting.empty())
        return fail(Errc::unreachable,
                    "no master waits for submissions at this broker; start one with `vflbus actor "
                    "--role master --serve`");
    if (waiting.size() > 1)
        return fail(Errc::usage, join_and(waiting) + " wait for submissions; say --to one of them");
    return waiting.front();
}

}  // namespace

int run(const SubmitArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    if (!config->has_agreed_half())
        return report_failure(arguments,
                              {Errc::bad_config,
                               "nothing says what to train: no key of [run], [model] or [data] is "
                               "set; say --config FILE, or --set model.task=..."});
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto asker = Asker::connect(*config, stop);
    if (!asker) return report_failure(arguments, asker.error());
    const auto master = find_master(*asker, arguments.to);
    if (!master) return report_failure(arguments, master.error());
    const RunId run = random_run_id();
    const auto body = asker->ask({node_id_of(*master), run, bus::Question::submit,
                                  bus::encode(bus::SubmitQuery{config::canonical_agreed(*config),
                                                               arguments.label.substr(0, 256)})});
    const auto answer = body ? bus::decode_submit_answer(*body)
                             : Result<bus::SubmitAnswer>(tl::unexpected(body.error()));
    if (!answer)
        return report_failure(
            arguments,
            {answer.error().code, *master + " does not take the run: " + answer.error().sentence});
    const bool waits = arguments.wait || arguments.follow;
    if (!waits) {
        if (arguments.json)
            print(JsonObject()
                      .add("run_id", run.hex())
                      .add("status", bus::name_of(answer->state))
                      .add("ahead", answer->ahead)
                      .add("owner", *master)
                      .text() +
                  "\n");
        else
            print(run.hex() + "\n");
        note(arguments, answer->ahead == 0 ? "submitted to " + *master
                                           : "submitted to " + *master + "; " +
                                                 std::to_string(answer->ahead) + " wait before it");
        return 0;
    }
    note(arguments, "submitted to " + *master + " as run " + run.hex());

    bus::RunRow row;
    row.run = run;
    row.owner = *master;
    std::optional<RunLogReader> reader;
    const Duration patience = forgotten_after(*config);
    TimePoint known = std::chrono::steady_clock::now();
    while (!bus::finished(row.state)) {
        if (!asker->pause(std::chrono::milliseconds(300)))
            return report_failure(
                arguments, {Errc::cancelled,
                            "interrupted; run " + run.short_hex() + " goes on at " + *master});
        if (auto now = asker->run(run.hex())) {
            row = std::move(*now);
            if (row.state != bus::RunState::unknown) known = std::chrono::steady_clock::now();
            if (arguments.follow && row.owner != *master) {
                if (!reader) reader.emplace(*asker, row);
                reader->update(row);
            }
        }
        if (std::chrono::steady_clock::now() - known >= patience)
            return report_failure(
                arguments, {Errc::owner_lost,
                            "nobody has told the broker of run " + run.short_hex() + " for " +
                                human_seconds(std::chrono::duration<double>(patience).count()) +
                                "; is " + *master + " running?"});
        if (reader)
            for (const LogLine& line : reader->read(bus::finished(row.state)))
                observe::Console::standard_error().line(line.text);
    }
    if (arguments.json)
        print(JsonObject().add_json("run", to_json(row)).text() + "\n");
    else
        print(
            "run " + row.run.hex() + " is " + state_text(row) +
            (row.reason.empty() || row.state == bus::RunState::completed ? "" : ": " + row.reason) +
            "\n");
    if (row.state == bus::RunState::completed) return 0;
    return static_cast<int>(exit_code(row.code == Errc::ok ? Errc::run_ended : row.code));
}

}  // namespace vflbus::cli
