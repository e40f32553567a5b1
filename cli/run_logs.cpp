// vflbus run logs: the lines of all parties that give theirs, or whose files lie here

#include <string>
#include <vector>

#include "ask.hpp"
#include "base/clock.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "local_runs.hpp"
#include "output.hpp"
#include "run_log.hpp"
#include "run_view.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// Lines as they are printed: at once, or for --json without --follow as one object at the end.
class Printer {
  public:
    Printer(bool json, bool follow) : json_(json), follow_(follow) {}

    void line(const std::string& party, const std::string& text) {
        if (!json_) return print(text + "\n");
        const std::string object = JsonObject().add("party", party).add("line", text).text();
        if (follow_)
            print(object + "\n");
        else
            objects_.push_back(object);
    }
    void finish(const RunId& run, const std::vector<std::string>& missing) const {
        if (!json_ || follow_) return;
        print(versioned("vflbus-log")
                  .add("run_id", run.hex())
                  .add_json("lines", json_array(objects_))
                  .add_json("missing", json_array(missing))
                  .text() +
              "\n");
    }

  private:
    bool json_;
    bool follow_;
    std::vector<std::string> objects_;
};

int show_local(const RunLogsArguments& arguments, const LocalRun& run, const std::string& remark) {
    if (arguments.follow && run.status == "running")
        note(arguments, "--follow needs a broker to ask; these are the lines so far");
    Printer printer(arguments.json, false);
    const auto lines = local_log(run);
    for (const LocalLogLine& line : lines) printer.line(line.party, line.text);
    printer.finish(run.run, {});
    if (!remark.empty()) note(arguments, remark);
    if (!lines.empty()) return 0;
    return report_failure(
        arguments, {Errc::unknown_run, "no party has left log lines of run " + run.run.short_hex() +
                                           " in " + run.directory.string()});
}

int show_asked(const RunLogsArguments& arguments, const RunFinder& finder, Asker& asker,
               const bus::StopSignal& stop) {
    auto row = asker.run(arguments.run);
    if (!row && row.error().code == Errc::unknown_run)
        if (const auto here = local_run(finder.config().output.runs_dir, arguments.run))
            return show_local(arguments, *here,
                              "the broker does not know this run; these lines lie in " +
                                  here->directory.string());
    if (!row) return report_failure(arguments, row.error());
    RunLogReader reader(asker, *row);
    Printer printer(arguments.json, arguments.follow);
    const Duration patience = forgotten_after(finder.config());
    TimePoint known = clock_now();
    bool forgotten = false;
    for (;;) {
        // before the lines are read: what was written until its end is read after it
        const bool over = bus::finished(row->state) || !arguments.follow || forgotten;
        for (const LogLine& line : reader.read(over)) printer.line(line.party, line.text);
        if (arguments.follow) (void)finish_output(0);
        if (over || stop.stopped()) break;
        if (!asker.pause(std::chrono::milliseconds(500))) break;
        if (auto now = asker.run(row->run.hex())) {
            row = std::move(now);
            reader.update(*row);
            if (row->state != bus::RunState::unknown) known = clock_now();
        }
        forgotten = clock_now() - known >= patience;
    }
    std::vector<std::string> missing;
    for (const auto& [party, why] : reader.missing()) {
        note(arguments, why);
        missing.push_back(JsonObject().add("party", party).add("reason", why).text());
    }
    printer.finish(row->run, missing);
    if (forgotten)
        return report_failure(
            arguments,
            {Errc::unreachable, "the broker at " + finder.config().bus.broker +
                                    " has told nothing of run " + row->run.short_hex() + " for " +
                                    human_seconds(std::chrono::duration<double>(patience).count()) +
                                    "; when it is there again, ask again"});
    if (reader.anything() || reader.missing().empty()) return 0;
    return static_cast<int>(exit_code(Errc::refused));
}

}  // namespace

int run(const RunLogsArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto finder = RunFinder::make(arguments, stop);
    if (!finder) return report_failure(arguments, finder.error());
    if (Asker* const asker = finder->asker()) return show_asked(arguments, *finder, *asker, stop);
    const auto run = local_run(finder->config().output.runs_dir, arguments.run);
    if (!run) return report_failure(arguments, run.error());
    return show_local(arguments, *run, finder->remark());
}

}  // namespace vflbus::cli
