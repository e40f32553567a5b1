// vflbus run stop: asks the owner of a run to end it in order

#include "ask.hpp"
#include "base/clock.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "resume.hpp"
#include "run_view.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// How long an owner may take to end in order; it gives up by itself before.
constexpr Duration stop_patience = std::chrono::seconds(40);

/// The run as it is once it has ended. Errors: timed_out, cancelled, those of the broker.
Result<bus::RunRow> await_end(Asker& asker, bus::RunRow row) {
    const TimePoint until = clock_now() + stop_patience;
    while (!bus::finished(row.state)) {
        if (clock_now() >= until)
            return fail(Errc::timed_out, row.owner + " was told to stop run " +
                                             row.run.short_hex() + ", but has not ended it");
        if (!asker.pause(std::chrono::milliseconds(200)))
            return fail(Errc::cancelled, "interrupted");
        auto now = asker.run(row.run.hex());
        if (!now) return now;
        row = std::move(*now);
    }
    return row;
}

Failure not_told(const bus::RunRow& row, const Failure& why) {
    return {why.code, row.owner + ", which drives run " + row.run.short_hex() +
                          (why.code == Errc::timed_out
                               ? ", has not answered in time; it may have heard, and stop the run "
                                 "still"
                               : ", was not told: " + why.sentence)};
}

/// How a run that was submitted goes on: the master that waits for submissions is the one who has
/// its files.
void say_how_to_go_on(const Common& common, const bus::RunRow& row) {
    const std::string master = serving_master(row.owner, row.run);
    // (an app keeps nothing that another process could go on from)
    if (master.empty() || row.role != "master" || row.state != bus::RunState::stopped) return;
    note(common, "where " + master + " runs, `vflbus actor --role master --name " + row.owner +
                     " --resume " + row.run.hex() + "` goes on with it");
}

}  // namespace

int run(const RunStopArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    auto asker = Asker::connect(*config, stop);
    if (!asker) return report_failure(arguments, asker.error());
    auto row = asker->run(arguments.run);
    if (!row) return report_failure(arguments, row.error());
    if (bus::finished(row->state))
        return report_failure(
            arguments, {Errc::run_ended,
                        "run " + row->run.short_hex() + " is over already: " + state_text(*row)});
    const auto told = ask_owner(*asker, *row, bus::Question::stop,
                                bus::encode_text("stopped by `vflbus run stop`"));
    if (!told) return report_failure(arguments, not_told(*row, told.error()));
    row = await_end(*asker, std::move(*row));
    if (!row) return report_failure(arguments, row.error());
    if (arguments.json)
        print(versioned("vflbus-run-end").add_json("run", to_json(*row)).text() + "\n");
    else
        print("run " + row->run.short_hex() + " is " + state_text(*row) +
              (row->reason.empty() ? "" : ": " + row->reason) + "\n");
    say_how_to_go_on(arguments, *row);
    return 0;
}

}  // namespace vflbus::cli
