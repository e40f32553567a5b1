#pragma once
// Chrome trace events (the "JSON Array Format" that Perfetto opens): what each party did when.
//
// Each process writes a file of its own, one event per line, so that a process that is killed
// leaves a file that can be read up to there. `merge_traces` puts the files of all parties into
// one. Times are those of the wall clock of each machine, which `merge_traces` lays over one
// another.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "actors/run/observer.hpp"
#include "base/errc.hpp"

namespace vflbus::observers {

/// Events of one process; what comes after that is counted and said.
inline constexpr std::uint64_t trace_events_max = 2'000'000;

class TraceObserver final : public actors::RunObserver {
  public:
    struct Options {
        std::filesystem::path file;
        std::string party;
        unsigned place = 0;  ///< among the processes of the picture: 1 the master, then members
        std::vector<std::string> parties;  ///< of a master: whom it asks
        /// An earlier process of the party has written there; its events stay.
        bool goes_on = false;
    };
    /// Errors: io.
    static Result<std::shared_ptr<TraceObserver>> open(Options options);
    ~TraceObserver() override;

    void on_phase(actors::Phase phase, TimePoint at) override;
    void on_step(const observe::ProgressState& state, TimePoint at) override;
    void on_end(const observe::RunReport& report, const Failure& outcome) override;
    void on_answer(const actors::AnsweredRequest& answer) override;
    void on_work(TimePoint begun, TimePoint ended) override;
    void on_handled(const actors::HandledRequest& handled) override;

  private:
    TraceObserver(Options options, std::FILE* file);
    void name_thread(unsigned thread, const std::string& name);
    void slice(unsigned thread, std::string_view name, TimePoint begun, TimePoint ended,
               const std::string& arguments = {});
    void line(const std::string& event);

    Options options_;
    std::FILE* file_;
    Duration to_wall_{};  ///< wall clock minus monotonic clock
    std::uint64_t events_ = 0;
    std::uint64_t dropped_ = 0;
    TimePoint flushed_{};
    std::string phase_;
    TimePoint phase_since_{};
    TimePoint step_since_{};
};

/// Whether a party's file has an event at all.
bool has_events(const std::filesystem::path& part);
/// One trace of the files that are there, on the clock of the master's, when it is among them
/// (trace_clocks.hpp). Errors: io.
Result<> merge_traces(const std::vector<std::filesystem::path>& parts,
                      const std::filesystem::path& out);

}  // namespace vflbus::observers
