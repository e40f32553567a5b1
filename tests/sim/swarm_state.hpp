#pragma once
// What one seed is made of: what it has drawn, its processes, and what it knows of them. Private to
// the swarm*.cpp files.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "actors/master.hpp"
#include "first_judged.hpp"
#include "hostile.hpp"
#include "privacy/psi/curve.hpp"
#include "questions.hpp"
#include "stored.hpp"
#include "swarm.hpp"
#include "training.hpp"

namespace vflbus::sim {

inline constexpr std::size_t drawn_variants = 5;
inline constexpr std::size_t folds_variant = 5;      ///< with cross-validation
inline constexpr std::size_t network_variant = 6;    ///< a split network
inline constexpr std::size_t psi_variant = 7;        ///< with private set intersection
inline constexpr std::size_t encrypted_variant = 8;  ///< mini-batches with encrypted residuals
inline constexpr std::size_t encrypted_lbfgs_variant = 9;
inline constexpr std::size_t arbitered_variant = 10;  ///< with an arbiter, encrypted or not
inline constexpr std::size_t noisy_variant = 11;      ///< noise for differential privacy
inline constexpr std::size_t left_psi_variant = 12;   ///< psi, and all records of the master
inline constexpr std::size_t encrypted_network_variant = 13;
inline constexpr std::size_t variants = 14;
/// Of every seed, at least.
inline constexpr std::uint64_t steps_least = 200;
inline constexpr std::size_t faults_least = 10;
inline constexpr std::uint64_t many_restarts = 1000;

enum class FaultKind : std::uint8_t {
    cut,
    cut_in_body,
    partition,
    pause,
    owner_asleep,
    kill,
    quick_restart,
    power_loss,
    death_in_write,
    broker_restart,
    broker_pause,
    leap,
    broker_leap,
    slow,
    hang,
    choke,
    garbage,
    intrusion,
    trespass,
    false_answer,
    twin_member,
    twin_master,
    disk_full,
    stop,
    stop_now,
    damage,
    wipe,
    set_back,
    count,
};
inline constexpr std::size_t fault_kinds = static_cast<std::size_t>(FaultKind::count);

struct Plan {
    WorldOptions world;
    std::array<std::size_t, 2> variant{};
    std::uint64_t commit_steps = 0;
    double commit_interval = 0;
    std::uint64_t restarts_max = many_restarts;
    bool restart_when_lost = false;
    int patience = 60;       ///< recv_timeout in seconds
    std::size_t faults = 0;  ///< so many, then the world heals
    Duration gap{};          ///< between two of them, on average
    std::set<FaultKind> on;
    double deaths_per_step = 0;
    AskerPlan asker;
    bool explores = false;  ///< a run asks what columns tell of the label
    bool app = false;       ///< the run of questions ends with the process that drives it
    /// A hostile node that is a member of a training of its own, and of open runs.
    bool hostile_member = false;
    bool hostile_owner = false;  ///< one that owns runs, and visits
    double changed = 0;          ///< of their links' own frames, a share
    double lies_per_s = 0;       ///< beside these

    [[nodiscard]] bool hostile() const noexcept { return hostile_member || hostile_owner; }
};

/// Everything that follows from the seed alone.
Plan draw(std::uint64_t seed);
/// A world without faults and with the defaults, for the models that all others are compared with.
Plan calm_plan(std::size_t variant);
/// `variant` of the models; `number` makes seeds of trainings differ.
config::Config configuration(std::size_t variant, std::size_t number, std::size_t members,
                             const Plan& plan);
/// What the process of a place trains on.
std::shared_ptr<const data::Table> table_of(std::size_t place);

/// By path: what a finished run leaves, and its history.
using Files = std::map<std::string, std::string>;

// -- the swarm ------------------------------------------------------------------------

class Swarm {
  public:
    Swarm(std::uint64_t seed, Plan plan, Story story)
        : plan_(std::move(plan)),
          rng_(mix_seed(seed, 2)),
          world_(mix_seed(seed, 3), with_story(plan_.world, story)),
          hostile_rng_(mix_seed(seed, 4)) {
        world_.on_fatal = [this](std::size_t place, const Failure& failure) {
            on_fatal(place, failure);
        };
        world_.on_send = [this](std::size_t place, const bus::Header& header,
                                std::span<const std::uint8_t> part) {
            if (stored_[place] == nullptr || !trainings_.contains(header.run)) return;
            check(stored_[place]->on_send(header, part));
        };
        world_.on_answer = [this](std::size_t, const bus::AnswerArrived& answer) {
            visitor_->on_answer(answer);
        };
        build(seed);
    }

    void run();
    /// What the last complete run of each master came to.
    std::array<Files, 2> results();
    void compare(const std::array<Files, 2>& calm);
    /// What the run of features has told; empty before it has completed.
    [[nodiscard]] const std::string& figures() const noexcept { return figures_; }
    void compare_figures(const std::string& calm) {
        if (world_.violation().empty() && figures_ != calm)
            world_.violate("the figures of columns are not those of the undisturbed run:\n" +
                           figures_ + "not\n" + calm);
    }
    SeedResult result(std::uint64_t seed);

  private:
    // places: two members, two masters, the one who asks questions, a second process of some name
    static constexpr std::size_t master_a = 2;
    static constexpr std::size_t asker = 4;
    static constexpr std::size_t twin_member = 5;  ///< of member-0, on a machine of its own
    static constexpr std::size_t twin_master = 6;  ///< of master-a, with the same files
    static constexpr std::size_t intruder = 7;
    static constexpr std::size_t guest = 8;    ///< comes later, and takes part in open runs alone
    static constexpr std::size_t visitor = 9;  ///< asks beside all runs
    /// Places that faults strike are below.
    static constexpr std::size_t honest_places = 10;
    static constexpr std::size_t hostile_member = 10;  ///< member-2
    static constexpr std::size_t hostile_owner = 11;
    static constexpr std::size_t victim = 12;    ///< a master whose third member is hostile
    static constexpr std::size_t arbiter = 13;   ///< only where a training has one
    static constexpr std::size_t explorer = 13;  ///< only where one asks what columns tell
    static constexpr std::size_t places = 14;
    [[nodiscard]] bool has_arbiter() const noexcept {
        return plan_.variant[0] == arbitered_variant || plan_.variant[1] == arbitered_variant;
    }
    /// Places that this world has.
    [[nodiscard]] std::size_t present() const noexcept {
        return has_arbiter() || plan_.explores ? places : arbiter;
    }

    struct Machine {
        std::unique_ptr<Disk> disk;
        bool power_lost = false;
        TimePoint full_until{};
        bool full_noticed = false;
    };
    /// A master's present training. When it is over and the seed has not seen enough, another one
    /// begins.
    struct Run {
        RunId id;
        std::unique_ptr<actors::Run> master;  ///< of the present process
        std::unique_ptr<actors::Run> twin;
        bool settled = false;  ///< the end of the present process was taken in
        bool over = false;     ///< complete, or nothing can continue it, and no other one begins
        std::map<RunId, std::string> complete;  ///< with its history
        std::uint64_t ends_after_healing = 0;
        std::uint64_t steps = 0;
    };

    static WorldOptions with_story(WorldOptions options, Story story) {
        options.frames_told = story == Story::with_frames;
        options.story_lines = story == Story::none ? 0 : options.frames_told ? 1'000'000 : 600;
        return options;
    }

    void build(std::uint64_t seed);
    void build_strangers(std::uint64_t seed);
    // -- hostile nodes: swarm_hostile.cpp
    void build_hostile(std::uint64_t seed);
    void setup_hostile_member(actors::NodeCore& core);
    void setup_hostile_owner(actors::NodeCore& core);
    void setup_victim(actors::NodeCore& core);
    void poll_hostile();
    void poll_victim();
    void come_again(std::size_t place);
    void end_hostile();
    [[nodiscard]] bool is_hostile(const std::string& name) const {
        return name == world_.name(hostile_member) || name == world_.name(hostile_owner);
    }
    void answer_queries(std::size_t place, actors::NodeCore& core);
    void join_questions(actors::Context& context);
    void setup_guest(actors::NodeCore& core);
    void visit();
    // -- a run of features: swarm_explorer.cpp
    void build_explorer();
    void setup_explorer(actors::NodeCore& core);
    void poll_explorer();
    static std::string figures_text(const actors::FeaturesResult& result);
    void watch_count(const std::function<Result<actors::Bytes>()>& once_more);
    void build_arbiter(std::uint64_t seed);
    void setup_arbiter(actors::NodeCore& core);
    void setup_member(std::size_t place, actors::NodeCore& core);
    Result<> join_watched(std::size_t place, std::uint64_t incarnation,
                          const actors::ClientApp& trains, actors::Context& context);
    void watch_points(const actors::Message& request, const actors::Bytes& answer,
                      const actors::Context& context);
    void watch_request(std::size_t place, std::uint64_t incarnation, const actors::Message& m,
                       const actors::Context& context);
    actors::ClientApp watched(std::size_t place,
                              const std::shared_ptr<const actors::ClientApp>& trains);
    void setup_master(std::size_t place, actors::NodeCore& core);
    void on_log(const RunId& run, const std::string& text);
    Disk::Fate fate_of_step(std::size_t place);
    void boot(std::size_t place);
    [[nodiscard]] std::size_t machine_of(std::size_t place) const {
        return place == twin_master ? master_a : place;
    }
    [[nodiscard]] bool is_master(std::size_t place) const {
        return place == master_a || place == master_a + 1 || place == twin_master;
    }
    [[nodiscard]] bool has_disk(std::size_t place) const {
        return place < asker || place == twin_member || place == twin_master || place == victim;
    }

    void plan_next_fault();
    void strike();
    bool strike(FaultKind kind);
    bool strike_network(FaultKind kind, std::size_t place);
    bool strike_process(FaultKind kind, std::size_t place);
    bool strike_stranger(FaultKind kind, std::size_t place);
    bool strike_disk(FaultKind kind, std::size_t place);
    bool sleep_of_owner();
    bool lose_power(std::size_t place);
    bool hang(std::size_t place);
    bool start_twin(FaultKind kind);
    bool stop(FaultKind kind);
    bool damage_commit();
    bool lose_disk();
    bool plan_set_back();
    void set_back(std::size_t r, const RunId& run, const Disk::Backup& backup);
    Duration length();
    std::size_t any_place();
    void heal();
    void poll();
    void watch_progress();
    void ended(std::size_t r, const Failure& outcome, std::string_view status);
    void training_over(std::size_t r);
    void go_on(std::size_t r);
    Files files_of(const RunId& run, const std::string& history);
    void on_fatal(std::size_t place, const Failure& failure);
    bool excusable(Errc code) const;
    void finish();
    /// The seed has seen what it was to see, so that nothing new begins.
    [[nodiscard]] bool enough() const {
        return healed_ ? runs_[0].steps + runs_[1].steps >= steps_least : struck_ >= plan_.faults;
    }
    void check(const std::string& wrong) {
        if (!wrong.empty()) world_.violate(wrong);
    }

    std::uint64_t& count(const std::string& name) { return world_.coverage()[name]; }

    Plan plan_;
    Rng rng_;
    World world_;
    std::array<Machine, places> machines_;
    std::array<Run, 2> runs_;
    std::set<RunId> trainings_;
    std::array<std::unique_ptr<StoredFirst>, places> stored_;  ///< of the present processes
    std::array<std::unique_ptr<FirstJudged>, places> judges_;  ///< of members
    std::unique_ptr<Asker> asker_;
    std::uint64_t askers_ = 0;
    std::uint64_t asker_over_ = 0;  ///< the last one after which another one begins
    std::unique_ptr<Visitor> visitor_;
    std::array<std::unique_ptr<Liar>, 2> liars_;  ///< the member, the owner
    std::unique_ptr<HostileOwner> hostile_run_;
    std::unique_ptr<actors::Run> hostile_master_;
    std::unique_ptr<actors::Run> victim_;
    RunId victim_run_;
    std::unique_ptr<actors::FeaturesMaster> explored_;  ///< of the explorer's present process
    std::uint64_t explorers_ = 0;
    bool explorer_settled_ = true;
    std::string figures_;
    bool victim_settled_ = false;
    bool hostile_settled_ = false;
    Rng hostile_rng_;
    bool hostile_over_ = false;
    struct Progress {
        std::uint64_t value = 0;
        TimePoint at{};
    };
    std::array<Progress, 3> progress_;  ///< of the trainings and the questions, once healed
    std::size_t struck_ = 0;
    std::set<FaultKind> drawn_;  ///< of what has been tried
    bool healed_ = false;
    bool state_hurt_ = false;  ///< a commit was removed or damaged by hand
    bool twin_came_ = false;
    std::set<RunId> lost_last_;  ///< runs whose present term has found the last commit lost
    /// (place, incarnation, run, term): joins, and the last request handled since
    struct Served {
        std::uint64_t joins = 0;
        std::uint64_t last = 0;
    };
    std::map<std::tuple<std::size_t, std::uint64_t, RunId, std::uint32_t>, Served> served_;
    /// The last term that each disk's processes have joined.
    std::set<privacy::psi::Point> points_;  ///< own lists of members, as they were sent
    std::map<std::pair<std::size_t, RunId>, std::uint32_t> terms_;
};

}  // namespace vflbus::sim
