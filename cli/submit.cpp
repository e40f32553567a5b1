// vflbus run submit: hands a training to a master that waits for them

#include <algorithm>
#include <optional>

#include "ask.hpp"
#include "base/clock.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "config/agreed.hpp"
#include "observe/console.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "resume.hpp"
#include "run_log.hpp"
#include "run_view.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "submission.hpp"

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

/// Of a token always the same, so that whoever does not know whether a submission has arrived sends
/// it again; without one a run of its own.
RunId run_of(const std::string& token) {
    if (token.empty()) return random_run_id();
    RunId run;
    run.bytes = hash128(token, "vflbus-submission");
    return run;
}

/// Hands the run over. Errors: what the master says against it.
Result<bus::SubmitAnswer> hand_over(Asker& asker, const std::string& master, const RunId& run,
                                    const bus::SubmitQuery& submission) {
    const auto body =
        asker.ask({node_id_of(master), run, bus::Question::submit, bus::encode(submission)});
    auto answer = body ? bus::decode_submit_answer(*body)
                       : Result<bus::SubmitAnswer>(tl::unexpected(body.error()));
    if (!answer)
        answer.error().sentence = master + " does not take the run: " + answer.error().sentence;
    return answer;
}

void report_submitted(const SubmitArguments& arguments, const std::string& master, const RunId& run,
                      const bus::SubmitAnswer& answer) {
    if (arguments.json)
        print(versioned("vflbus-submission")
                  .add("run_id", run.hex())
                  .add("status", bus::name_of(answer.state))
                  .add("ahead", answer.ahead)
                  .add("owner", master)
                  .text() +
              "\n");
    else
        print(run.hex() + "\n");
    note(arguments,
         "submitted to " + master +
             (answer.ahead == 0 ? "" : "; " + std::to_string(answer.ahead) + " wait before it"));
}

/// With --follow: how far the run is, in one line now and then, until it says so no more.
class ProgressTeller {
  public:
    explicit ProgressTeller(Asker& asker) : asker_(asker) {}

    void look(const bus::RunRow& row) {
        if (row.state != bus::RunState::running || clock_now() - told_ < interval) return;
        told_ = clock_now();
        const auto answer = ask_owner(asker_, row, bus::Question::status, bus::encode_empty());
        if (!answer) return;
        const auto status = bus::decode_status(*answer);
        if (!status || status->step == 0 || status->step == step_) return;
        step_ = status->step;
        observe::Console::standard_error().line(
            "run " + row.run.short_hex() + ": " + status->phase + ", step " +
            std::to_string(status->step) +
            (status->steps == 0 ? "" : " of " + std::to_string(status->steps)) + ", loss " +
            observe::metric_text(status->loss));
    }

  private:
    static constexpr Duration interval = std::chrono::seconds(2);
    Asker& asker_;
    TimePoint told_{};
    std::uint64_t step_ = 0;
};

/// What came of the run, and the command that shows it again.
void print_result(Asker& asker, const config::Config& config, const bus::RunRow& row) {
    const Told told = told_by_owner(asker, row);
    if (told.metrics && !told.metrics->empty()) {
        // the last of each kind of rows: those of the finished model
        std::vector<bus::MetricEntry> last;
        for (const bus::MetricEntry& entry : *told.metrics) {
            std::erase_if(last, [&](const auto& old) { return old.split == entry.split; });
            last.push_back(entry);
        }
        print("\n" + metrics_table(last));
    }
    print("\nShow it again with: " + program() + " run show " + row.run.short_hex() + " --broker " +
          shell_word(config.bus.broker) + "\n");
}

/// A master notes what it has taken at the broker within milliseconds.
constexpr Duration shown_within = std::chrono::seconds(5);

Failure not_shown(const RunId& run, const std::string& master) {
    return {Errc::not_allowed,
            "the broker shows nothing of run " + run.short_hex() + ", which " + master +
                " has taken: who waits for a run needs the right `see`, and `status` to hear what "
                "came of it (at the broker: vflbus allow NAME --may see,status,submit); the run "
                "goes on, submit without --wait and --follow"};
}

/// Waits until the run is over, with --follow showing its log lines. Errors: cancelled, when the
/// user interrupts; not_allowed, when the broker shows it nothing; owner_lost, when no broker has
/// heard of the run for too long.
Result<bus::RunRow> await_end(Asker& asker, const SubmitArguments& arguments,
                              const config::Config& config, const std::string& master,
                              const RunId& run) {
    bus::RunRow row;
    row.run = run;
    row.owner = master;
    std::optional<RunLogReader> reader;
    ProgressTeller progress(asker);
    const Duration patience = forgotten_after(config);
    TimePoint known = clock_now();
    bool shown = config.bus.certificates.empty();  // without keys everybody sees all
    while (!bus::finished(row.state)) {
        if (!asker.pause(std::chrono::milliseconds(300)))
            return fail(Errc::cancelled,
                        "interrupted; run " + run.short_hex() + " goes on at " + master);
        if (auto now = asker.run(run.hex())) {
            row = std::move(*now);
            if (row.state != bus::RunState::unknown) known = clock_now();
            shown = true;
            if (arguments.follow && row.owner != master) {
                if (!reader) reader.emplace(asker, row);
                reader->update(row);
                progress.look(row);
            }
        }
        if (!shown && clock_now() - known >= std::min(patience, shown_within))
            return tl::unexpected(not_shown(run, master));
        if (clock_now() - known >= patience)
            return fail(Errc::owner_lost,
                        "nobody has told the broker of run " + run.short_hex() + " for " +
                            human_seconds(std::chrono::duration<double>(patience).count()) +
                            "; is " + master + " running?");
        if (!reader) continue;
        for (const LogLine& line : reader->read(bus::finished(row.state)))
            observe::Console::standard_error().line(line.text);
    }
    return row;
}

/// Hands `what` over, an agreed half or what a prediction is asked by, and waits where that is
/// wanted.
int submit(const SubmitArguments& arguments, const config::Config& config,
           const std::string& what) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto asker = Asker::connect(config, stop);
    if (!asker) return report_failure(arguments, asker.error());
    const auto master = find_master(*asker, arguments.to);
    if (!master) return report_failure(arguments, master.error());
    const RunId run = run_of(arguments.token);
    const auto answer = hand_over(*asker, *master, run, {what, arguments.label.substr(0, 256)});
    if (!answer) return report_failure(arguments, answer.error());
    if (!arguments.wait && !arguments.follow) {
        report_submitted(arguments, *master, run, *answer);
        return 0;
    }
    note(arguments, "submitted to " + *master + " as run " + run.hex());
    const auto row = await_end(*asker, arguments, config, *master, run);
    if (!row) return report_failure(arguments, row.error());
    const bool completed = row->state == bus::RunState::completed;
    const std::string reason = reason_of(*asker, *row);
    if (arguments.json) {
        JsonObject end = versioned("vflbus-run-end");
        end.add_json("run", cli::to_json(*row));
        if (!reason.empty()) end.add("reason", reason);
        print(end.text() + "\n");
    } else {
        print("run " + row->run.hex() + " is " + state_text(*row) +
              (reason.empty() ? "" : ": " + reason) + "\n");
    }
    if (completed && arguments.follow && !arguments.json) print_result(*asker, config, *row);
    if (completed) return 0;
    return static_cast<int>(exit_code(row->code == Errc::ok ? Errc::run_ended : row->code));
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
    return submit(arguments, *config, config::canonical_agreed(*config));
}

int run(const RunPredictArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    const std::string what = prediction_text(arguments.model);
    if (const auto good = predicted_model(what); !good)
        return report_failure(arguments, {Errc::usage, good.error().sentence});
    return submit(arguments, *config, what);
}

}  // namespace vflbus::cli
