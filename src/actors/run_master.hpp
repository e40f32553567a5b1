#pragma once
// What all masters share: gathering the members, rounds of requests with a bound on every wait,
// alignment, and one way to fail. Subclasses: TrainMaster, CheckMaster, PredictMaster.
//   run_master.cpp            events, requests, the end
//   run_master_waiting.cpp    how long it waits for whom
//   run_master_recovery.cpp   members that are back, or restarted
//   run_master_alignment.cpp  which rows all parties have

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "actors/env.hpp"
#include "actors/member.hpp"
#include "actors/messages.hpp"
#include "actors/node/app.hpp"
#include "actors/party.hpp"
#include "actors/purpose.hpp"
#include "actors/run_record.hpp"
#include "actors/tables.hpp"
#include "config/config.hpp"
#include "observe/progress.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

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
    Env* env = nullptr;              ///< must outlive the master
    std::filesystem::path runs_dir;  ///< results go to runs_dir/<run_id>/
    std::filesystem::path out_dir;   ///< when not empty: model parts go to out_dir/<party>/ instead
    std::filesystem::path
        model_dir;        ///< predict: its part is in model_dir/<name>/ (empty: runs_dir)
    std::string version;  ///< of this program; another one at a member is logged
    LogHook log;
    /// After every step, and with `report` set whenever metrics were computed.
    std::function<void(const observe::ProgressState&, TimePoint)> progress;
};

/// The state of a run at the master: docs/training.md, section 4.
enum class Phase : std::uint8_t {
    opening,
    gathering,
    aligning,
    selecting,
    beginning,
    restoring,
    training,
    evaluating,
    comparing,
    finishing,
    releasing,
    closing,
    done,
};
std::string_view name_of(Phase phase) noexcept;

class RunMaster : public ServerApp {
  public:
    ~RunMaster() override;

    // -- ServerApp ----------------------------------------------------------------
    [[nodiscard]] const RunSpec& spec() const final { return spec_; }
    void on_opened(Driver& driver) final;
    void on_join(Driver& driver, NodeId node, const bus::Join& join) final;
    void on_reply(Driver& driver, Message&& reply) final;
    void on_peer(Driver& driver, const PeerEvent& event) final;
    void on_timer(Driver& driver) final;
    void on_link(Driver& driver, bool up, const std::string& sentence) final;
    void on_closed(const Ending& ending) final;

    // -- results ------------------------------------------------------------------
    [[nodiscard]] Phase phase() const noexcept { return phase_; }
    [[nodiscard]] bool done() const noexcept { return phase_ == Phase::done; }
    /// Filled as far as the run came; `status` and `reason` are final when done().
    [[nodiscard]] const observe::RunReport& report() const noexcept { return report_; }
    /// ok, or why the run failed.
    [[nodiscard]] const Failure& outcome() const noexcept { return outcome_; }

  protected:
    RunMaster(MasterOptions options, Purpose purpose);

    struct Pending {
        std::uint64_t id = 0;
        MessageType type = 0;
        std::uint64_t tag = 0;
        bool background = false;
    };
    struct Member {
        NodeId node;
        std::string name;
        bool joined = false;
        bool declined = false;  ///< in its last JOIN
        bool up = false;
        bool down = false;  ///< PEER_DOWN, and not back since
        TimePoint down_since{};
        Duration silent{};              ///< when it was found to be gone
        std::uint64_t incarnation = 0;  ///< 0: not known
        std::string version;
        std::vector<Pending> pending;
        std::uint64_t bytes_to = 0;
        std::uint64_t bytes_from = 0;
    };

    // -- for subclasses -------------------------------------------------------------
    /// All members have joined and the own tables of this purpose are loaded.
    virtual void on_gathered() = 0;
    /// A reply without error. `body` is borrowed. A failure ends the run; its sentence gets the
    /// party's name in front.
    virtual Result<> on_answer(std::size_t member, const Pending& request, Bytes&& body) = 0;
    /// The last outstanding reply has come and was accepted.
    virtual void on_all_answered() = 0;
    /// Phase::comparing only: a slice of work.
    virtual void on_slice() {}
    /// Phase::comparing, in place of on_slice when the master waits for something.
    [[nodiscard]] virtual bool halted() const { return false; }
    /// The run is about to be closed, or others have ended it (`outcome_`, `report_` are set).
    virtual void on_ending() {}
    /// What needs to be stored before RELEASE, after the report.
    virtual Result<> on_complete() { return {}; }
    /// A party's error reply that is not to end the run at once; `error` names the party.
    virtual bool on_refused(const Pending&, const Failure&) { return false; }

    // -- recovery -------------------------------------------------------------------
    /// Whether the run can go on in a new term. The base class fails it otherwise.
    [[nodiscard]] virtual bool recoverable() const { return false; }
    /// Adds what is committed, and whether the run can be resumed, to the failure of a run that
    /// others than this process have ended.
    virtual void add_resume_hint(Failure&) const {}
    /// The user wants the run to stop and `party` is gone: whether that ended it at once.
    virtual bool stopped_without(const std::string&) { return false; }
    /// One more restart of `party`; how many there were since the last commit.
    virtual std::uint64_t count_restart(const std::string&) { return 0; }
    /// The run goes on in `term`: stores that, then forgets everything of the earlier one.
    virtual Result<> on_new_term(std::uint32_t) { return {}; }
    /// The files of the run are not this process's to write: it has not begun its term, or another
    /// process drives the run now.
    [[nodiscard]] virtual bool files_are_others() { return false; }
    /// Before the run is opened.
    void set_term(std::uint32_t term) noexcept { spec_.term = term; }
    /// Everything is written and stored already; the run is only gathered and released.
    [[nodiscard]] bool only_releases() const noexcept { return only_releases_; }
    void only_release() noexcept { only_releases_ = true; }
    /// The failure with a hint: `what` is to be done, then the run goes on (or is started again,
    /// when it cannot be resumed).
    [[nodiscard]] Failure then_again(Errc code, std::string sentence,
                                     const std::string& what) const;

    void enter(Phase phase);
    void send(std::size_t member, MessageType type, Bytes body, std::uint64_t tag = 0);
    void send_all(MessageType type, const Bytes& body, std::uint64_t tag = 0);
    /// A request that on_all_answered does not wait for.
    void send_aside(std::size_t member, MessageType type, Bytes body);
    [[nodiscard]] bool waiting() const noexcept { return outstanding_ != 0; }
    /// A member that is gone; null when all are there.
    [[nodiscard]] const Member* first_down() const;
    /// Ends the run; the first call counts.
    void fail_run(Failure failure);
    void fail_run(Errc code, std::string sentence) { fail_run({code, std::move(sentence)}); }
    /// RELEASE to all, then CLOSE.
    void release_all();
    /// ", at step 12 of 240" while training, otherwise " (while aligning)".
    [[nodiscard]] virtual std::string where() const;
    /// Adds what to do about an error of a member, where its sentence does not say it.
    virtual void add_advice(Failure&) const {}
    void log(observe::log::Level level, const std::string& text) const;
    /// Again `on_slice` as soon as other events have been served.
    void slice_soon();
    [[nodiscard]] bool over() const noexcept { return phase_ >= Phase::closing; }
    [[nodiscard]] std::filesystem::path run_dir() const;
    [[nodiscard]] std::filesystem::path model_root() const;

    // -- alignment, shared ------------------------------------------------------------
    /// Sends align for `kind` to all members.
    void ask_ids(TableKind kind);
    Result<> take_ids(std::size_t member, const Pending& request, Body body);
    /// Whether all parties have this table; an error that names the parties when only some have.
    Result<bool> present(TableKind kind) const;
    /// Intersects what came, sends each member its selection and applies the master's own.
    Result<> select_common(TableKind kind);
    Result<> take_selected(std::size_t member, const Pending& request, Body body);
    [[nodiscard]] std::uint64_t common_ids(TableKind kind) const;
    [[nodiscard]] std::uint64_t aligned_rows(TableKind kind) const;

    MasterOptions options_;
    Driver* driver_ = nullptr;  ///< valid within events only
    std::vector<Member> members_;
    std::unique_ptr<Party> own_;
    observe::RunReport report_;
    Failure outcome_{Errc::ok, {}};

  private:
    struct TableIds {
        std::vector<AlignReply> of_members;
        std::uint64_t common = 0;
        std::uint64_t rows = 0;
    };

    void warn_of(const Member& member, const PeerEvent& event);
    void gone(Member& member, const PeerEvent& event);
    void stalled(const Member& member, Duration since);
    void restarted(Member& member, std::uint64_t incarnation);
    void back(Member& member);
    bool count(const Member& member);
    void begin_term();
    void load_tables();
    void tick();
    void tick_gathering();
    [[nodiscard]] bool tick_down();
    [[nodiscard]] bool tick_timeouts();
    [[nodiscard]] const Member* late(bool background) const;
    void arm();
    void gather();
    void answered();
    void write_report();
    void close(Errc code, const std::string& sentence);
    /// For the report, the log and other parties, who do not know by which command this process
    /// would be started again.
    [[nodiscard]] std::string told() const;
    [[nodiscard]] std::vector<std::string> missing() const;
    /// A complete run waits for these members no longer.
    void release_without(const std::vector<std::string>& names);
    [[nodiscard]] std::vector<std::string> silent() const;

    RunSpec spec_;
    Purpose purpose_;
    Phase phase_ = Phase::opening;
    std::size_t outstanding_ = 0;
    std::size_t aside_ = 0;
    TimePoint opened_{};
    TimePoint gathering_since_{};
    TimePoint aside_since_{};
    TimePoint waiting_since_{};
    TimePoint reported_{};
    TimePoint link_down_since_{};
    bool link_up_ = true;
    bool started_ = false;       ///< all have joined this term
    bool started_ever_ = false;  ///< ... or an earlier one
    bool only_releases_ = false;
    std::string link_sentence_;
    TableIds ids_[table_kinds];
};

}  // namespace vflbus::actors
