#pragma once
// One run as its master drives it: events come in, a Task goes on, and this object ends the run
// once (another process may resume it later).
//
// The *program* of a run carries out its purpose as a function that reads from top to bottom
// (train.cpp, predict.cpp, check.cpp). Run is what all programs share and none should have to think
// of: who has joined, how long is waited for whom and what is said meanwhile, members that die and
// come back, the user who wants to stop, the report, and failures. A program fails by returning an
// error; what it waits for fails by itself.
//
// NodeCore calls the events (`on_...`), all on one thread. A program calls the three parts below
// that are for programs, and begins with `co_await run.gathered()`.
//
//   run.cpp        events, the one way to fail, the end
//   waiting.cpp    how long it waits for whom
//   recovery.cpp   members that are back, or were restarted
//
// A *term* is one attempt at the run. It begins when the run is opened or resumed, and when a
// member was restarted; a member that merely had no connection for a while goes on in the term. All
// parties join it and are aligned again, and a training goes on from the last recorded commit. A
// new term destroys the Task of the old one and runs the program again, from its first line. What
// it needs of the old term it gets from a commit (commits.hpp), and from nowhere else.
//
// How a failure becomes a sentence. Whoever finds something wrong says what happened, and fills
// `party` if the sentence names a party. `fail` adds what only the run knows: phase and step (they
// are in the sentence as well when a member is the cause), what to do about it (`hint`), and
// whether the run can be resumed (`resumable`). People get that as one sentence; no code looks into
// it.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/env.hpp"
#include "actors/member.hpp"
#include "actors/node/app.hpp"
#include "actors/purpose.hpp"
#include "actors/run/observer.hpp"
#include "actors/run/parties.hpp"
#include "actors/run/phase.hpp"
#include "actors/run/run_record.hpp"
#include "actors/run/task.hpp"
#include "actors/run/text.hpp"
#include "actors/tables.hpp"
#include "config/config.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

class Commits;
class SharedAlignment;

struct MasterOptions {
    RunId run;  ///< chosen by the caller, e.g. random_run_id()
    std::uint32_t term = 1;
    /// Training: goes on with the run that runs_dir holds a record of, in the term after the one
    /// that is stored when the broker welcomes this process (`term` is not looked at). The agreed
    /// half must be the same.
    bool resume = false;
    std::string name = "master";
    config::Config config;           ///< agreed half (world_size not 0), [bus] timeouts
    TableSource tables;              ///< csv_tables(config, name) in a process
    CommonSink on_common;            ///< check: what is common; may be empty
    Env* env = nullptr;              ///< must outlive the master
    std::filesystem::path runs_dir;  ///< results go to runs_dir/<run_id>/
    std::filesystem::path out_dir;   ///< when not empty: model parts go to out_dir/<party>/ instead
    std::filesystem::path
        model_dir;        ///< predict: its part is in model_dir/<name>/ (empty: runs_dir)
    std::string version;  ///< of this program; another one at a member is logged
    LogHook log;
    /// Of lines that tell what was expected: the run is open, members have joined and have written
    /// their parts, the user has stopped it. Who started all parties with one command looks for
    /// other things on the terminal.
    observe::log::Level routine_level = observe::log::Level::info;
    std::vector<std::shared_ptr<RunObserver>> observers;
    /// Of a training that shares its alignment with others of this process; null: with none.
    std::shared_ptr<SharedAlignment> alignment;
    /// Notes of the report besides those about the model: a sentence each.
    std::vector<std::string> notes;
};

class Run : public ServerApp {
  public:
    /// The steps of the run. Called at the beginning of every term.
    using Program = std::function<Task<>(Run&)>;

    /// With `record` the run is a training: it stores commits and can be recovered. `record` is the
    /// one that would be stored now, in the term of `options`.
    Run(MasterOptions options, Purpose purpose, Program program,
        std::optional<RunRecord> record = {});
    ~Run() override;

    // -- ServerApp ----------------------------------------------------------------
    [[nodiscard]] const RunSpec& spec() const final { return spec_; }
    Result<> on_welcome() final;
    void on_opened(Driver& driver) final;
    void on_join(Driver& driver, NodeId node, const bus::Join& join) final;
    void on_reply(Driver& driver, Message&& reply) final;
    void on_peer(Driver& driver, const PeerEvent& event) final;
    void on_timer(Driver& driver) final;
    void on_stop(Driver& driver) final;
    void on_link(Driver& driver, bool up, const std::string& sentence) final;
    void on_closed(const Ending& ending) final;

    // -- results ------------------------------------------------------------------
    [[nodiscard]] Phase phase() const noexcept { return phase_; }
    [[nodiscard]] bool done() const noexcept { return phase_ == Phase::done; }
    /// Filled as far as the run came; `status` and `reason` are final when done().
    [[nodiscard]] const observe::RunReport& report() const noexcept { return report_; }
    /// ok, or why the run failed.
    [[nodiscard]] const Failure& outcome() const noexcept { return outcome_; }

    // -- for programs: what they wait for -------------------------------------------
    class Gathered;
    class Pause;
    /// All parties have joined this term.
    [[nodiscard]] Gathered gathered();
    /// Other events are served, then the Task goes on; also when the user wants to stop.
    [[nodiscard]] Pause pause();
    [[nodiscard]] WaitingPlace& place() noexcept { return place_; }

    // -- for programs: what they are made of ------------------------------------------
    [[nodiscard]] Parties& parties() noexcept { return parties_; }
    /// Of a training only.
    [[nodiscard]] Commits& commits() noexcept { return *commits_; }
    [[nodiscard]] const MasterOptions& options() const noexcept { return options_; }
    [[nodiscard]] const config::Config& config() const noexcept { return options_.config; }
    [[nodiscard]] Env& env() const noexcept { return *options_.env; }
    [[nodiscard]] observe::RunReport& results() noexcept { return report_; }
    [[nodiscard]] std::uint32_t term() const noexcept { return spec_.term; }
    /// The longest message that this party and its broker carry; members may have lower limits.
    [[nodiscard]] std::uint64_t message_bytes_max() const {
        return std::min(config().bus.message_bytes_max, driver_->message_bytes_max());
    }
    /// Within events only, as a program always is.
    [[nodiscard]] TimePoint now() const { return driver_->now(); }
    [[nodiscard]] std::filesystem::path directory() const;
    /// Where model parts go.
    [[nodiscard]] std::filesystem::path model_root() const;
    /// Everything is written and stored already; the run is only gathered and released.
    [[nodiscard]] bool only_releases() const noexcept { return only_releases_; }
    /// The user wants the run to stop.
    [[nodiscard]] bool stopping() const noexcept { return stopping_; }

    // -- for programs: what they say --------------------------------------------------
    void enter(Phase phase);
    void log(observe::log::Level level, const std::string& text) const;
    /// The training has done `step` of `steps` steps. `held`: the next one waits for a commit.
    void note_step(std::uint64_t step, std::uint64_t steps, bool held = false) noexcept;
    /// Before the first step of a term, and after the last one of the training.
    void training_begins();
    void training_ends();
    /// To the observers. Once the first steps have shown how long one takes, the log hears how long
    /// a long training will take.
    void report_step(const observe::ProgressState& state);
    /// How far something long is that comes before or after the steps.
    void report_job(const observe::JobState& state);
    void report_metrics(const observe::ProgressState& state, const observe::HistoryEntry& entry);
    /// Puts the name of member `party` (its rank) before what was found wrong with its reply. A
    /// member's own errors get it from the run.
    template <class T>
    [[nodiscard]] Result<T> said_by(std::size_t party, Result<T> result) const {
        if (!result)
            return tl::unexpected(of_party(parties_[party].name, std::move(result.error())));
        return result;
    }
    /// The failure of a run that the user wants to stop while `party` is gone, without which the
    /// last commit cannot be made.
    [[nodiscard]] Result<> stops_without(const std::string& party) const;
    /// Passes `done` on; what went wrong with a file of the run here becomes "master cannot store
    /// WHAT: ..." and what to do.
    [[nodiscard]] Result<> stored(const std::string& what, Result<> done) const;

  private:
    friend class Commits;

    // -- run.cpp ----------------------------------------------------------------------
    /// The Task of a new term.
    void start_program();
    /// Says once how long the rest of a long training will take.
    void estimate(const observe::ProgressState& state);
    /// After every event: the Task goes on if what it waits for has come, and ends the run when it
    /// is over. The only place where a Task is resumed or destroyed.
    void go_on();
    void gather();
    void taken_over(const Parties::Peer& peer, const bus::Join& join, bool again);
    void refused(const Parties::Answered& answered, Failure error);
    /// Ends the run; the first call counts.
    void fail(Failure failure);
    /// Phase, step, place and hint: see above.
    [[nodiscard]] Failure completed(Failure failure) const;
    /// A failure that `party` is at fault for, found by the run itself, whose sentence says where
    /// it was: `what` is to be done, and then the run goes on, or is started again.
    [[nodiscard]] Failure then_again(Errc code, std::string party, std::string sentence,
                                     const std::string& what) const;
    /// For a file that could not be written.
    void add_room_hint(Failure& failure) const;
    /// How the run ended, as one sentence for the report, the log and other parties. It has no
    /// command by which this process would be started again: other parties have another one.
    [[nodiscard]] std::string told() const;
    /// RELEASE to all, then CLOSE.
    void release_all();
    void close(Errc code, const std::string& sentence);
    void end_of_run();
    void write_report();
    void reset_results();
    /// ", at step 12 of 240" while training, otherwise " (while aligning)".
    [[nodiscard]] std::string where() const;
    [[nodiscard]] bool over() const noexcept { return phase_ >= Phase::closing; }
    /// The step that is under way, counted from 1; nothing before and after the training.
    [[nodiscard]] std::optional<std::uint64_t> step_under_way() const noexcept;

    // -- waiting.cpp ------------------------------------------------------------------
    void tick();
    void tick_gathering();
    [[nodiscard]] bool fail_without_broker();
    [[nodiscard]] bool fail_for_gone();
    [[nodiscard]] bool fail_for_late();
    void arm();
    /// The time since the last call goes to the phase at hand.
    void count_phase(TimePoint now);
    /// A complete run waits for these parties no longer.
    void release_without(const std::vector<std::string>& names);

    // -- recovery.cpp -----------------------------------------------------------------
    [[nodiscard]] bool recoverable() const noexcept { return commits_ != nullptr; }
    void warn_of(const Parties::Peer& peer, const PeerEvent& event);
    void gone(std::size_t party, const PeerEvent& event);
    void stalled(const Parties::Peer& peer, Duration since);
    void restarted(Parties::Peer& peer, std::uint64_t incarnation);
    void back(Parties::Peer& peer);
    /// Notes a restart; false when it was one too many and the run has failed.
    bool count_restart(const Parties::Peer& peer);
    void begin_term();
    /// True when the user wants the run to stop: it has failed then, as `party` is gone.
    bool stopped_without(const std::string& party);

    MasterOptions options_;
    RunSpec spec_;
    Purpose purpose_;
    Program program_;
    WaitingPlace place_;
    Parties parties_;
    std::unique_ptr<Commits> commits_;
    std::unique_ptr<Task<>> task_;
    bool in_task_ = false;      ///< the Task runs just now: it must not be destroyed
    Driver* driver_ = nullptr;  ///< valid within events only
    observe::RunReport report_;
    Failure outcome_{Errc::ok, {}};
    Phase phase_ = Phase::opening;

    TimePoint opened_{};
    TimePoint phase_since_{};
    TimePoint train_began_{};
    // -- how long the training will take, said once
    TimePoint first_step_at_{};
    std::uint64_t first_step_ = 0;
    bool estimated_ = false;
    TimePoint gathering_since_{};
    TimePoint reported_{};
    TimePoint link_down_since_{};
    std::string link_sentence_;
    bool link_up_ = true;
    bool started_ = false;       ///< all have joined this term
    bool started_ever_ = false;  ///< ... or an earlier one
    bool only_releases_ = false;
    bool stopping_ = false;
    bool slice_due_ = false;  ///< the timer that a Pause waits for has come

    std::uint64_t step_ = 0;  ///< steps of the training that are done, those of a commit among them
    std::uint64_t steps_ = 0;  ///< of the whole training
    bool step_held_ = false;   ///< the next step waits for the commit under way
};

class Run::Gathered final : public Wait {
  public:
    explicit Gathered(Run& run) : Wait(run.place_), run_(&run) {}
    [[nodiscard]] bool ready() const noexcept override { return run_->started_; }

  private:
    const Run* run_;
};

class Run::Pause final : public Wait {
  public:
    explicit Pause(Run& run) : Wait(run.place_), run_(&run) {}
    [[nodiscard]] bool ready() const noexcept override {
        return run_->slice_due_ || run_->stopping_;
    }

  private:
    const Run* run_;
};

}  // namespace vflbus::actors
