#include "swarm.hpp"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <functional>
#include <set>
#include <stdexcept>

#include "actors/master.hpp"
#include "actors/member.hpp"
#include "actors/messages.hpp"
#include "actors/run_record.hpp"
#include "questions.hpp"
#include "stored.hpp"
#include "training.hpp"

namespace vflbus::sim {
namespace {

using actors::Message;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t table_rows = 40;
constexpr std::size_t variants = 4;
/// Of every seed, at least.
constexpr std::uint64_t steps_least = 200;
constexpr std::size_t faults_least = 10;
constexpr std::uint64_t many_restarts = 1000;
/// Nothing may stand still for so long while nothing is broken: less than it takes to send a
/// request again of which nothing is heard, which is for what nobody has thought of.
constexpr Duration standstill = seconds(25);
/// After this the world is whole, and everything has to come to its end.
constexpr Duration fault_time = minutes(10);
constexpr Duration healing_time = minutes(30);

// -- what is drawn --------------------------------------------------------------------

enum class Kind : std::uint8_t {
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
constexpr std::size_t kinds = static_cast<std::size_t>(Kind::count);

AskerPlan questions_plan() {
    AskerPlan plan;
    plan.members = {{"member-0", "member", 0}, {"member-1", "member", 1}};
    plan.nodes = plan.members.size();
    return plan;
}

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
    std::set<Kind> on;
    double deaths_per_step = 0;
    AskerPlan asker = questions_plan();
    bool app = false;  ///< the run of questions ends with the process that drives it
};

/// Small bodies do what large ones do: travel in many chunks, wait for credit, for room, for the
/// window.
bus::Limits draw_limits(Rng& rng) {
    bus::Limits limits;
    const std::size_t chunks[] = {4 << 10, 6 << 10, 16 << 10, 64 << 10};
    limits.chunk = chunks[rng.below(4)];
    limits.credit_share_min = 8 << 10;
    limits.credit_share_max = (8 << 10) << rng.below(4);
    limits.credit_total = (64 << 10) << rng.below(3);
    limits.credit_first = (4 << 10) << rng.below(6);
    limits.bulk_lead = std::min<std::uint64_t>(limits.credit_first, (4 << 10) << rng.below(6));
    limits.hop_window = (32 << 10) << rng.below(5);
    limits.hop_window_max = limits.hop_window << rng.below(4);
    limits.window_report = limits.hop_window >> (1 + rng.below(3));
    limits.broker_queue = (std::max(limits.hop_window, limits.credit_total) + 1) << rng.below(3);
    limits.body_budget = (96 << 10) << rng.below(4);
    limits.outstanding = 1 + rng.below(bus::outstanding_requests_max);
    if (!bus::consistent(limits)) throw std::logic_error("limits that contradict each other");
    return limits;
}

Plan draw(std::uint64_t seed) {
    Rng rng(mix_seed(seed, 1));
    Plan plan;
    WorldOptions& world = plan.world;
    plan.patience = rng.below(3) == 0 ? 15 : 60;
    world.link_timeout = seconds(plan.patience);
    const Duration delays[] = {milliseconds(1), milliseconds(5), milliseconds(20)};
    world.faults.delay_max = delays[rng.below(3)];
    const Duration handlers[] = {milliseconds(1), milliseconds(5), milliseconds(30)};
    world.faults.handler_max = handlers[rng.below(3)];
    for (std::size_t& variant : plan.variant) variant = rng.below(variants);
    const std::uint64_t steps[] = {1, 3, 10, 40, 0};
    plan.commit_steps = steps[rng.below(5)];
    if (plan.commit_steps == 0) plan.commit_interval = 0.3;
    if (rng.below(4) == 0) plan.restarts_max = 1;  // two in a row are rare enough
    plan.restart_when_lost = rng.below(2) == 0;
    plan.faults = faults_least + rng.below(7);
    if (rng.below(2) == 0) world.timings.progress_stall = seconds(2 + rng.below(9));
    // some strike one after the other has healed, most while the same training goes on
    const Duration step = 2 * world.faults.delay_max + world.faults.handler_max;
    plan.gap = rng.below(3) == 0 ? Duration(milliseconds(100 + rng.below(900)))
                                 : step * static_cast<std::int64_t>(3 + rng.below(28));
    for (std::size_t kind = 0; kind < kinds; ++kind)
        if (rng.below(3) != 0) plan.on.insert(static_cast<Kind>(kind));
    // what costs a run its model, or a user's patience, is rare
    for (const Kind rare : {Kind::owner_asleep, Kind::wipe, Kind::damage, Kind::twin_member,
                            Kind::twin_master, Kind::stop_now, Kind::disk_full, Kind::hang})
        if (rng.below(3) != 0) plan.on.erase(rare);
    if (plan.on.contains(Kind::death_in_write) && rng.below(2) == 0) plan.deaths_per_step = 0.01;
    plan.app = rng.below(2) == 0;
    plan.asker.open = rng.below(2) == 0;
    if (rng.below(4) != 0) {
        world.limits = draw_limits(rng);
        world.frames_vary = rng.below(2) == 0;
        world.bulk = rng.below(4) != 0;
        plan.asker.large_one_in = 2;
        plan.asker.large_from = bus::credit_free_bytes;
        world.body_bytes_max = 2 * bus::credit_free_bytes + 1024;
    }
    return plan;
}

config::Config configuration(std::size_t owner, const Plan& plan) {
    static const std::vector<std::string> common{"model.epochs=25",
                                                 "model.batch_size=8",
                                                 "run.world_size=2",
                                                 "data.test_fraction=0.2",
                                                 "model.report_test_metrics_iteration=20",
                                                 "party.master.data=none.csv",
                                                 "party.master.id=id",
                                                 "party.master.label=y",
                                                 "bus.rendezvous_timeout=120"};
    static const std::vector<std::string> models[variants] = {
        {"model.task=logistic", "model.learning_rate=0.1"},
        {"model.task=logistic", "model.learning_rate=0.02", "model.optimizer=adam"},
        {"model.task=linear", "model.sequential=true", "model.reg_lambda=0.5"},
        {"model.task=linear", "model.learning_rate=0.05", "model.momentum=0.9",
         "model.label_holder_alone=true"},
    };
    const std::size_t variant = plan.variant[owner];
    // parsing costs more than a hundred steps
    static std::map<std::pair<std::size_t, std::size_t>, config::Config> parsed;
    const auto known = parsed.find({owner, variant});
    if (known == parsed.end()) {
        std::vector<std::string> settings = common;
        settings.insert(settings.end(), models[variant].begin(), models[variant].end());
        settings.push_back("run.seed=" + std::to_string(owner + 5));
        parsed[{owner, variant}] = configure(settings);
    }
    config::Config config = parsed.at({owner, variant});
    config.bus.commit_interval = plan.commit_interval;
    config.bus.commit_steps = plan.commit_steps;
    config.bus.restarts_max = plan.restarts_max;
    config.bus.recv_timeout = plan.patience;
    config.bus.on_state_lost =
        plan.restart_when_lost ? config::StateLost::restart : config::StateLost::fail;
    return config;
}

std::shared_ptr<const data::Table> table_of(std::size_t place) {
    static const std::shared_ptr<const data::Table> tables[] = {
        make_table("member-0", table_rows, 2, false, 2),
        make_table("member-1", table_rows, 3, false, 3),
        make_table("master", table_rows, 1, true, 1),
    };
    return tables[std::min<std::size_t>(place, 2)];
}

/// By path: what a finished run leaves, and its history.
using Files = std::map<std::string, std::string>;

// -- the swarm ------------------------------------------------------------------------

class Swarm {
  public:
    Swarm(std::uint64_t seed, Plan plan, Story story)
        : plan_(std::move(plan)),
          rng_(mix_seed(seed, 2)),
          world_(mix_seed(seed, 3), with_story(plan_.world, story)) {
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
    static constexpr std::size_t places = 10;

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
        std::unique_ptr<actors::RunMaster> master;  ///< of the present process
        std::unique_ptr<actors::RunMaster> twin;
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
    void answer_queries(std::size_t place, actors::NodeCore& core);
    void setup_guest(actors::NodeCore& core);
    void visit();
    void setup_member(std::size_t place, actors::NodeCore& core);
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
        return place < asker || place == twin_member || place == twin_master;
    }

    void plan_next_fault();
    void strike();
    bool strike(Kind kind);
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
    std::unique_ptr<Asker> asker_;
    std::uint64_t askers_ = 0;
    std::uint64_t asker_over_ = 0;  ///< the last one after which another one begins
    std::unique_ptr<Visitor> visitor_;
    struct Progress {
        std::uint64_t value = 0;
        TimePoint at{};
    };
    std::array<Progress, 3> progress_;  ///< of the trainings and the questions, once healed
    std::size_t struck_ = 0;
    std::set<Kind> drawn_;  ///< of what has been tried
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
    std::map<std::pair<std::size_t, RunId>, std::uint32_t> terms_;
};

void Swarm::build(std::uint64_t seed) {
    for (std::size_t r = 0; r < 2; ++r) {
        runs_[r].id.bytes[0] = static_cast<std::uint8_t>(r + 1);
        trainings_.insert(runs_[r].id);
    }
    for (std::size_t place = 0; place < places; ++place) {
        machines_[place].disk = std::make_unique<Disk>(mix_seed(seed, 100 + place));
        machines_[place].disk->fate = [this, place] { return fate_of_step(place); };
    }
    const auto member = [this](std::size_t place) {
        return [this, place](actors::NodeCore& core) { setup_member(place, core); };
    };
    const auto master = [this](std::size_t place) {
        return [this, place](actors::NodeCore& core) { setup_master(place, core); };
    };
    const std::vector<std::string> apps{std::string(bus::feature_apps)};
    world_.add_node("member-0", "member", 0, member(0), true, apps);
    world_.add_node("member-1", "member", 1, member(1), true, apps);
    world_.add_node("master-a", "master", -1, master(2));
    world_.add_node("master-b", "master", -1, master(3));
    // a run of a server app ends with its process, another one after the grace
    world_.add_node("asker", plan_.app ? "serverapp" : "node", -1,
                    [this, seed](actors::NodeCore& core) {
                        asker_ = std::make_unique<Asker>(
                            world_, asker, mix_seed(seed, 1000 + askers_++), plan_.asker);
                        answer_queries(asker, core);
                        core.drive(*asker_);
                    });
    world_.add_node("member-0", "member", 0, member(twin_member), false, apps);
    world_.add_node("master-a", "master", -1, master(twin_master), false);
    world_.add_node("intruder", "node", -1, [](actors::NodeCore&) {}, false);
    world_.add_node(
        "guest", "node", -1, [this](actors::NodeCore& core) { setup_guest(core); }, false, apps);
    visitor_ = std::make_unique<Visitor>(
        world_, visitor, mix_seed(seed, 2000),
        std::vector<std::string>{"member-0", "member-1", "master-a", "asker", "guest", "nobody"},
        std::vector<RunId>{runs_[0].id, runs_[1].id});
    world_.add_node("visitor", "node", -1, [this](actors::NodeCore&) { visitor_->begin(); }, true,
                    {std::string(bus::feature_asks)});
    if (plan_.asker.open)
        world_.after(milliseconds(rng_.below(1500)), [this] { world_.start(guest); });
    visit();
    if (plan_.faults > 0) plan_next_fault();
}

void Swarm::answer_queries(std::size_t place, actors::NodeCore& core) {
    core.on_query([this, place](const bus::QueryArrived& query) {
        return Result<bus::Bytes>(answer_query(query, world_.name(place)));
    });
}

void Swarm::setup_guest(actors::NodeCore& core) {
    actors::ClientApp app;
    app.on_join([this](actors::Context& context) -> Result<> {
        if (context.invitation().agreed != questions) world_.violate("the guest was invited");
        return {};
    });
    app.on(question, [this, incarnation = world_.incarnation(guest)](const Message& m,
                                                                     actors::Context& context) {
        if (m.metadata.run != context.invitation().run ||
            m.metadata.src_node_id != context.invitation().owner)
            world_.violate("the guest was given a request of somebody else");
        return Result<actors::Bytes>(answer_to(m.content, "guest", incarnation));
    });
    answer_queries(guest, core);
    core.serve(std::move(app));
}

void Swarm::visit() {
    world_.after(milliseconds(50 + rng_.below(1500)), [this] {
        if (healed_) return;
        visitor_->ask();
        visit();
    });
}

void Swarm::boot(std::size_t place) {
    Machine& machine = machines_[machine_of(place)];
    if (machine.power_lost && machine.disk->lose_power()) ++count("unsynced writes lost");
    machine.power_lost = false;
    machine.disk->begin();
}

void Swarm::on_log(const RunId& run, const std::string& text) {
    world_.tell(run.short_hex() + " " + text);
    const auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
    if (has("begins term")) {
        ++count("term raised");
        lost_last_.erase(run);
    } else if (has("goes on from step")) {
        ++count(lost_last_.erase(run) != 0 ? "restored the commit before the last"
                                           : "restored the last commit");
    } else if (has("lost commit")) {
        lost_last_.insert(run);
    } else if (has("no commit is left")) {
        ++count("began again at the first step");
        lost_last_.erase(run);
    } else if (has(" is back") && has("member")) {
        ++count("came back within the grace");
    } else if (has("the broker is back")) {
        ++count("owner's link came back");
    } else if (has("unconfirmed")) {
        ++count("a part written, unconfirmed");
    }
}

/// Only a member's own runs, in their own term, from their owner, each request once and in order.
void Swarm::setup_member(std::size_t place, actors::NodeCore& core) {
    boot(place);
    const std::string name = world_.name(place);
    stored_[place] = std::make_unique<StoredFirst>(*machines_[place].disk, "runs", name);
    answer_queries(place, core);
    const std::size_t rank = place == twin_member ? 0 : place;
    actors::MemberOptions options;
    options.name = name;
    options.tables = source(table_of(rank));
    options.env = machines_[place].disk.get();
    options.runs_dir = "runs";
    options.log = [this](observe::log::Level, const RunId& run, const std::string& text) {
        on_log(run, text);
    };
    const auto trains =
        std::make_shared<const actors::ClientApp>(actors::make_member_app(std::move(options)));
    const std::uint64_t incarnation = world_.incarnation(place);
    const auto key = [place, incarnation](const actors::Invitation& invitation) {
        return std::tuple(place, incarnation, invitation.run, invitation.term);
    };
    actors::ClientApp app;
    app.on_join([this, trains, key, place](actors::Context& context) -> Result<> {
        Served& served = served_[key(context.invitation())];
        ++served.joins;
        served.last = 0;
        if (context.invitation().agreed == questions) return {};
        auto joined = trains->join(context);
        std::uint32_t& term = terms_[{place, context.invitation().run}];
        if (joined && context.invitation().term < term)
            world_.violate(world_.name(place) + " joined term " +
                           std::to_string(context.invitation().term) + " after " +
                           std::to_string(term));
        if (joined) term = context.invitation().term;
        return joined;
    });
    app.on_end([this, trains, place](const actors::Ending& ending, actors::Context& context) {
        // a run that is complete leaves no term behind
        if (ending.code == Errc::ok) terms_.erase({place, context.invitation().run});
        if (context.invitation().agreed != questions) trains->end(ending, context);
    });
    const auto guard = [this, name, key](const Message& m, const actors::Context& context) {
        const actors::Invitation& invitation = context.invitation();
        if (m.metadata.run != invitation.run || m.metadata.term != invitation.term)
            world_.violate(name + " was given a request of another run or term");
        if (m.metadata.src_node_id != invitation.owner)
            world_.violate(name + " was given a request of somebody who does not own the run");
        Served& served = served_[key(invitation)];
        if (m.metadata.message_id <= served.last)
            world_.violate(name + " was given request " + std::to_string(m.metadata.message_id) +
                           " after " + std::to_string(served.last));
        served.last = m.metadata.message_id;
    };
    app.on(question, [guard, name, incarnation](const Message& m, actors::Context& context) {
        guard(m, context);
        return Result<actors::Bytes>(answer_to(m.content, name, incarnation));
    });
    for (actors::MessageType type = 2; type < 64; ++type)
        if (const auto* handler = trains->handler_of(type); handler != nullptr)
            app.on(type, [this, guard, handler, trains, type, place](const Message& m,
                                                                     actors::Context& context) {
                guard(m, context);
                auto answer = (*handler)(m, context);
                if (type != actors::message::restore) return answer;
                const auto asked = actors::decode_restore_request(m.content);
                if (!answer)
                    ++count("restore refused");
                else if (asked)
                    check(stored_[place]->on_restored(m.metadata.run, asked->step));
                return answer;
            });
    core.serve(std::move(app));
}

void Swarm::setup_master(std::size_t place, actors::NodeCore& core) {
    boot(place);
    stored_[place] = std::make_unique<StoredFirst>(*machines_[machine_of(place)].disk, "runs",
                                                   world_.name(place));
    answer_queries(place, core);
    const std::size_t r = place == twin_master ? 0 : place - master_a;
    Run& run = runs_[r];
    actors::MasterOptions options;
    options.run = run.id;
    options.name = world_.name(place);
    options.config = configuration(r, plan_);
    options.tables = source(table_of(place));
    options.env = machines_[machine_of(place)].disk.get();
    options.runs_dir = "runs";
    options.log = [this, place](observe::log::Level, const RunId& id, const std::string& text) {
        on_log(id, text);
        std::uint64_t step = 0;
        if (std::sscanf(text.c_str(), "goes on from step %" SCNu64, &step) == 1)
            check(stored_[place]->on_restored(id, step));
    };
    options.progress = [&run](const observe::ProgressState& state, TimePoint) {
        run.steps += state.report ? 0 : 1;
    };
    options.resume = options.env->exists(actors::run_record_path("runs", options.run));
    if (options.resume) {
        ++count("resumed");
        const auto record = actors::read_run_record(*options.env, options.runs_dir, options.run);
        if (record && record->phase == actors::RunRecord::Phase::finished)
            ++count("resumed to release the members");
    }
    auto master = actors::make_train_master(std::move(options));
    if (place != twin_master) run.settled = false;
    auto& slot = place == twin_master ? run.twin : run.master;
    slot.reset();
    if (!master) {
        world_.tell(world_.name(place) + " does not start: " + master.error().sentence);
        if (world_.will_return(place)) return;  // it died in its first write
        world_.after(milliseconds(1), [this, place, life = world_.incarnation(place)] {
            if (world_.incarnation(place) == life) world_.leave(place);
        });
        if (place == twin_master) return;
        run.settled = true;
        return ended(r, master.error(), "failed");
    }
    slot = std::move(*master);
    core.drive(*slot);
}

// -- faults -----------------------------------------------------------------------------

Disk::Fate Swarm::fate_of_step(std::size_t place) {
    Machine& machine = machines_[place];
    if (world_.now() < machine.full_until) {
        ++count("write to a full disk");
        if (!std::exchange(machine.full_noticed, true)) ++struck_;
        return Disk::Fate::full;
    }
    if (healed_ || plan_.deaths_per_step == 0 || struck_ >= plan_.faults ||
        rng_.uniform() >= plan_.deaths_per_step)
        return Disk::Fate::done;
    ++struck_;
    machine.power_lost = rng_.below(2) == 0;
    drawn_.insert(Kind::death_in_write);
    ++count(machine.power_lost ? "power lost in a write" : "death in a write");
    // the twin of a master has the same machine, and may be the one who writes
    if (place == master_a) world_.die_now(twin_master, milliseconds(50 + rng_.below(1500)));
    world_.die_now(place, milliseconds(50 + rng_.below(1500)));
    return Disk::Fate::dies;
}

void Swarm::plan_next_fault() {
    const auto mean = static_cast<std::uint64_t>(plan_.gap.count());
    world_.after(Duration(1 + static_cast<std::int64_t>(rng_.below(2 * mean))), [this] {
        if (healed_) return;
        strike();
        if (struck_ < plan_.faults) plan_next_fault();
    });
}

void Swarm::strike() {
    for (int tries = 0; tries < 20; ++tries) {
        const auto kind = static_cast<Kind>(rng_.below(kinds));
        if (!plan_.on.contains(kind)) continue;
        drawn_.insert(kind);
        if (!strike(kind)) continue;
        ++struck_;
        return;
    }
}

/// Most are short, some longer than `suspect`, few longer than `lost` or the rejoin grace.
Duration Swarm::length() {
    const std::uint64_t draw = rng_.below(20);
    if (draw < 10) return milliseconds(5 + rng_.below(500));
    if (draw < 16) return milliseconds(500 + rng_.below(4500));
    if (draw < 19) return milliseconds(5000 + rng_.below(10000));
    return milliseconds(15000 + rng_.below(50000));
}

std::size_t Swarm::any_place() {
    std::vector<std::size_t> up;
    for (std::size_t place = 0; place < places; ++place)
        if (world_.running(place)) up.push_back(place);
    return up.empty() ? 0 : up[rng_.below(up.size())];
}

bool Swarm::strike(Kind kind) {
    const std::size_t place = any_place();
    if (!world_.running(place)) return false;
    switch (kind) {
        case Kind::cut:
            return world_.cut(
                place, static_cast<World::Told>(rng_.below(4)),
                world_.has_bulk(place) && rng_.below(2) == 0 ? bus::Lane::bulk : bus::Lane::main);
        case Kind::cut_in_body:
            world_.cut_in_body([this] { ++struck_; });
            return false;  // counts when it happens
        case Kind::partition:
            world_.partition(place, length());
            return true;
        case Kind::pause:
            world_.pause(place, length());
            return true;
        case Kind::owner_asleep: {
            // for longer than the broker keeps its run, which the members forget then
            const std::size_t owner = rng_.below(2) == 0 ? asker : master_a + rng_.below(2);
            if (!world_.running(owner)) return false;
            ++count("an owner sleeps until its run is closed");
            world_.pause(owner, milliseconds(41'000 + rng_.below(8000)));
            return true;
        }
        case Kind::kill:
            world_.kill(place, length());
            return true;
        case Kind::quick_restart:
            // the broker may read the next process's HELLO before the last words of this one
            ++count("restarted while the broker is stopped");
            world_.pause_broker(milliseconds(50 + rng_.below(1000)));
            world_.kill(place, milliseconds(1 + rng_.below(40)));
            return true;
        case Kind::power_loss: {
            if (!has_disk(place)) return false;
            const std::size_t machine = machine_of(place);
            machines_[machine].power_lost = true;
            ++count("power lost");
            if (machine == master_a && place != twin_master && world_.running(twin_master))
                world_.kill(twin_master, {});
            if (place == twin_master && world_.running(master_a)) world_.kill(master_a, length());
            world_.kill(place, length());
            return true;
        }
        case Kind::death_in_write:
            return false;  // comes with the writes
        case Kind::broker_restart:
            world_.restart_broker(std::min<Duration>(length(), seconds(20)));
            return true;
        case Kind::broker_pause:
            world_.pause_broker(length());
            return true;
        case Kind::leap:
            world_.leap(place, length());
            return true;
        case Kind::broker_leap:
            world_.leap_broker(length());
            return true;
        case Kind::slow:
            world_.slow(place, length(), length());
            return true;
        case Kind::hang: {
            // of a member or a master, rather; half of the time until after it is given up
            const Duration patience = plan_.world.timings.progress_stall;
            const auto most = static_cast<std::uint64_t>(2 * patience.count());
            const Duration more(1 + static_cast<std::int64_t>(rng_.below(most)));
            const std::size_t whose = rng_.below(4);
            world_.hang(world_.running(whose) ? whose : place,
                        patience > seconds(60) ? length()
                        : rng_.below(2) == 0   ? more
                                               : 2 * patience + seconds(3) + more);
            return true;
        }
        case Kind::choke:
            world_.choke(place, std::min<Duration>(length(), milliseconds(300)));
            return true;
        case Kind::garbage:
            for (int i = 0; i < 5; ++i) world_.send_garbage(place);
            return true;
        case Kind::intrusion:
            return world_.intrude(intruder);
        case Kind::trespass:
            return world_.trespass();
        case Kind::false_answer:
            if (rng_.below(2) == 0)
                world_.repeat_answer();
            else
                world_.forge_answer(intruder);
            return true;
        case Kind::twin_member:
        case Kind::twin_master: {
            const std::size_t twin = kind == Kind::twin_member ? twin_member : twin_master;
            if (world_.running(twin) || world_.will_return(twin)) return false;
            if (twin == twin_master && runs_[0].over) return false;
            twin_came_ = true;
            ++count(twin == twin_member ? "a second process of a member"
                                        : "a second process of a master");
            // the first one is there, or asleep for longer than `suspect`, or dead
            const std::size_t first = twin == twin_member ? 0 : master_a;
            const std::uint64_t how = rng_.below(4);
            if (how == 0) world_.pause(first, milliseconds(4500 + rng_.below(4000)));
            if (how == 1 && world_.running(first)) world_.kill(first, milliseconds(4500));
            world_.after(milliseconds(how == 0 ? 3500 : 1), [this, twin] {
                if (world_.running(twin) || world_.will_return(twin)) return;
                world_.tell("fault: a second process of " + world_.name(twin) + " starts");
                world_.start(twin, rng_.below(3));
            });
            return true;
        }
        case Kind::disk_full: {
            if (!has_disk(place)) return false;
            machines_[machine_of(place)].full_until = world_.now() + length();
            machines_[machine_of(place)].full_noticed = false;
            ++count("disk full for a while");
            world_.tell("fault: the disk of " + world_.name(place) + " is full for a while");
            return false;  // counts when something is to be written
        }
        case Kind::stop:
        case Kind::stop_now: {
            const std::size_t r = rng_.below(2);
            if (!world_.running(master_a + r) || runs_[r].over) return false;
            ++count(kind == Kind::stop ? "stopped in order" : "stopped at once");
            world_.tell("fault: a user stops " + world_.name(master_a + r) +
                        (kind == Kind::stop ? "" : " at once"));
            world_.act(master_a + r,
                       [&](actors::NodeCore& core) { core.stop_driven(kind == Kind::stop_now); });
            return true;
        }
        case Kind::damage: {
            // the newest commit of a member in one of the runs
            const std::size_t member = rng_.below(2);
            std::string newest;
            std::uint64_t best = 0;
            machines_[member].disk->for_each_file([&](const std::string& path, const std::string&) {
                const std::size_t at = path.find("/commit-");
                if (at == std::string::npos || path.ends_with(".tmp") ||
                    path.find(runs_[rng_.below(2)].id.hex()) == std::string::npos)
                    return;
                const std::uint64_t step = std::strtoull(path.c_str() + at + 8, nullptr, 10);
                if (step >= best) newest = path;
                best = std::max(best, step);
            });
            if (newest.empty()) return false;
            state_hurt_ = true;
            ++count("a commit is damaged");
            world_.tell("fault: " + newest + " of " + world_.name(member) +
                        " is damaged, and the process dies");
            machines_[member].disk->damage(newest);
            if (world_.running(member)) world_.kill(member, milliseconds(100));
            return true;
        }
        case Kind::wipe: {
            const std::size_t member = rng_.below(2);
            if (!world_.running(member)) return false;
            state_hurt_ = true;
            ++count("a member's disk is lost");
            world_.tell("fault: " + world_.name(member) + " dies and loses its disk");
            world_.kill(member, milliseconds(100 + rng_.below(1000)));
            machines_[member].disk->wipe();
            std::erase_if(terms_, [&](const auto& entry) { return entry.first.first == member; });
            return true;
        }
        case Kind::set_back: {
            const std::size_t r = rng_.below(2);
            if (!world_.running(master_a + r) || runs_[r].over) return false;
            world_.after(length(), [this, r, id = runs_[r].id,
                                    backup = machines_[master_a + r].disk->backup()] {
                set_back(r, id, backup);
            });
            return false;  // counts when it happens
        }
        case Kind::count:
            break;
    }
    return false;
}

/// A master's machine is restored from a backup: its run is in an earlier term there.
void Swarm::set_back(std::size_t r, const RunId& run, const Disk::Backup& backup) {
    const std::size_t place = master_a + r;
    if (healed_ || runs_[r].over || runs_[r].id != run || !world_.running(place)) return;
    ++struck_;
    state_hurt_ = true;
    ++count("a master's disk is set back");
    world_.tell("fault: " + world_.name(place) + " dies, and its disk is set back");
    if (r == 0 && world_.running(twin_master)) world_.kill(twin_master, {});
    world_.kill(place, milliseconds(100 + rng_.below(1000)));
    machines_[place].disk->set_back(backup);
}

// -- ends of processes --------------------------------------------------------------------

/// A process whose name was taken, or which is too old, ends; whoever watches it starts it again.
void Swarm::on_fatal(std::size_t place, const Failure& failure) {
    ++count("process ended: " + std::string(name_of(failure.code)));
    const bool twin = place == twin_member || place == twin_master;
    if (!twin && !twin_came_)
        world_.violate(world_.name(place) +
                       " was sent away although it is the only one: " + failure.sentence);
    world_.after(milliseconds(1), [this, place, twin, life = world_.incarnation(place)] {
        if (world_.incarnation(place) != life || !world_.running(place)) return;
        world_.kill(place, twin || is_master(place)
                               ? std::optional<Duration>{}
                               : std::optional<Duration>{milliseconds(500 + rng_.below(4000))});
    });
}

/// Reasons for which a run may end while something is broken.
bool Swarm::excusable(Errc code) const {
    switch (code) {
        case Errc::peer_lost:
        case Errc::timed_out:
        case Errc::unreachable:
        case Errc::owner_lost:
            return true;  // (in every seed something was cut, killed or asleep)
        case Errc::stalled:
            return drawn_.contains(Kind::hang) || drawn_.contains(Kind::slow);
        case Errc::cancelled:
            return drawn_.contains(Kind::stop) || drawn_.contains(Kind::stop_now);
        case Errc::io:
            return drawn_.contains(Kind::disk_full) || drawn_.contains(Kind::death_in_write);
        case Errc::too_many_restarts:
            return plan_.restarts_max < many_restarts;
        case Errc::state_lost:
        case Errc::stale_term:
            return state_hurt_ || twin_came_;
        case Errc::superseded:
        case Errc::name_taken:
        case Errc::stale_incarnation:
        case Errc::usage:  // a new run that the twin has begun meanwhile
            return twin_came_;
        default:
            return false;
    }
}

void Swarm::ended(std::size_t r, const Failure& outcome, std::string_view status) {
    Run& run = runs_[r];
    if (status == "completed") {
        std::string& history = run.complete[run.id];
        char text[64];
        for (const observe::HistoryEntry& entry : run.master->report().history) {
            std::snprintf(text, sizeof text, "%llu %a ",
                          static_cast<unsigned long long>(entry.step), entry.loss);
            history += text + entry.split + "\n";
        }
        return training_over(r);
    }
    ++count("run ended: " + std::string(name_of(outcome.code)));
    const std::string what = "the run of " + world_.name(master_a + r) + " ended (" +
                             std::string(name_of(outcome.code)) + "): " + outcome.sentence;
    world_.tell(what);
    if (outcome.sentence.empty()) world_.violate("a run ended without a reason");
    if (!excusable(outcome.code)) world_.violate("without a fault that explains it, " + what);
    if (outcome.code == Errc::state_lost && (state_hurt_ || twin_came_) &&
        !plan_.restart_when_lost) {
        ++count("run lost with its state");
        return training_over(r);
    }
    // (one whose disk was set back is refused in each term that its members have joined)
    if (healed_ && ++run.ends_after_healing > (state_hurt_ ? 12 : 4))
        world_.violate("again and again, with nothing broken, " + what);
    world_.after(milliseconds(500 + rng_.below(4000)), [this, r] { go_on(r); });
}

void Swarm::training_over(std::size_t r) {
    Run& run = runs_[r];
    if (enough()) {
        run.over = true;
        return;
    }
    ++count("another training begins");
    ++run.id.bytes[1];
    trainings_.insert(run.id);
    visitor_->may_ask_about(run.id);
    world_.after(milliseconds(50 + rng_.below(500)), [this, r] { go_on(r); });
}

/// A user resumes the run, or begins another one.
void Swarm::go_on(std::size_t r) {
    const std::size_t place = master_a + r;
    if (runs_[r].over || world_.running(place) || world_.will_return(place)) return;
    world_.start(place);
}

/// Processes that have done their work end.
void Swarm::poll() {
    watch_progress();
    if (healed_)
        for (const std::size_t twin : {twin_member, twin_master})
            if (world_.running(twin)) world_.kill(twin, {});
    if (asker_->done && !enough() && world_.running(asker) && asker_over_ != askers_) {
        asker_over_ = askers_;
        const auto gaps = static_cast<std::int64_t>(4 + rng_.below(12));
        world_.after(gaps * plan_.gap, [this, life = world_.incarnation(asker)] {
            if (world_.incarnation(asker) != life || !world_.running(asker)) return;
            ++count("another run of questions begins");
            world_.leave(asker);
            world_.start(asker);
        });
    }
    for (std::size_t r = 0; r < 2; ++r) {
        Run& run = runs_[r];
        const std::size_t place = master_a + r;
        if (run.twin && run.twin->done() && world_.running(twin_master)) {
            world_.leave(twin_master);
        }
        if (run.settled || !run.master || !run.master->done() || world_.will_return(place))
            continue;
        run.settled = true;
        const std::string status = run.master->report().status;
        const Failure outcome = run.master->outcome();
        world_.after(milliseconds(1), [this, place, life = world_.incarnation(place)] {
            if (world_.incarnation(place) == life) world_.leave(place);
        });
        ended(r, outcome, status);
    }
}

void Swarm::watch_progress() {
    if (!healed_) return;
    for (std::size_t i = 0; i < progress_.size(); ++i) {
        if (i < 2 ? runs_[i].over : asker_->done) continue;
        const std::size_t place = i < 2 ? master_a + i : asker;
        const std::uint64_t value =
            (i < 2 ? runs_[i].steps : asker_->replies) + (world_.incarnation(place) << 32);
        Progress& progress = progress_[i];
        if (progress.value != value) progress = {value, world_.now()};
        if (world_.now() - std::max(progress.at, world_.calm_from()) <= standstill) continue;
        for (std::size_t p = 0; p < places; ++p)
            if (world_.core(p) != nullptr) world_.tell(world_.describe(p));
        world_.violate("with nothing broken, " + world_.name(place) + " does not get on");
    }
}

void Swarm::heal() {
    if (healed_) return;
    healed_ = true;
    world_.heal();
    world_.tell("the world is whole again");
    for (Machine& machine : machines_) machine.full_until = {};
}

void Swarm::run() {
    const auto over = [this] {
        poll();
        return runs_[0].over && runs_[1].over && asker_->done;
    };
    world_.run_until([&] { return over() || (struck_ >= plan_.faults && plan_.faults > 0); },
                     fault_time);
    heal();
    const bool in_time = world_.run_until(
        [&] {
            // whoever is down for no reason any more is started
            return over();
        },
        healing_time);
    if (!world_.violation().empty()) return;
    if (!in_time) {
        for (std::size_t place = 0; place < places; ++place) world_.tell(world_.describe(place));
        world_.tell(asker_->open_questions());
        return world_.violate("not everything came to its end within bounded time");
    }
    finish();
}

/// Everybody hears of it, and nothing stays.
void Swarm::finish() {
    const auto quiet = [this] {
        std::size_t left = world_.broker() == nullptr ? 1 : world_.broker()->runs();
        left += visitor_->waits() ? 1 : 0;
        for (std::size_t place = 0; place < places; ++place)
            if (world_.core(place) != nullptr) left += world_.core(place)->runs();
        return left == 0;
    };
    if (!world_.run_until(quiet, minutes(5)) && world_.violation().empty())
        world_.violate("something of a run is left in memory");
    if (plan_.faults == 0) return;
    if (struck_ < plan_.faults)
        world_.violate("only " + std::to_string(struck_) + " faults of " +
                       std::to_string(plan_.faults) + " have struck");
    if (const std::uint64_t steps = runs_[0].steps + runs_[1].steps; steps < steps_least)
        world_.violate("only " + std::to_string(steps) + " steps were made");
}

/// What a complete training leaves, without its name.
Files Swarm::files_of(const RunId& run, const std::string& history) {
    Files files{{"history", history}};
    const auto nameless = [id = run.hex()](std::string text) {
        for (std::size_t at = text.find(id); at != std::string::npos; at = text.find(id, at))
            text.replace(at, id.size(), "RUN");
        return text;
    };
    for (std::size_t place = 0; place < 4; ++place)
        machines_[place].disk->for_each_file(
            [&](const std::string& path, const std::string& content) {
                if (path.ends_with("model.json") && path.find(run.hex()) != std::string::npos)
                    files[world_.name(place) + ": " + nameless(path)] = nameless(content);
            });
    return files;
}

std::array<Files, 2> Swarm::results() {
    std::array<Files, 2> out;
    for (std::size_t r = 0; r < 2; ++r)
        for (const auto& [id, history] : runs_[r].complete) out[r] = files_of(id, history);
    return out;
}

void Swarm::compare(const std::array<Files, 2>& calm) {
    if (!world_.violation().empty()) return;
    for (std::size_t r = 0; r < 2; ++r)
        for (const auto& [id, history] : runs_[r].complete) {
            const Files files = files_of(id, history);
            for (const auto& [path, content] : calm[r]) {
                const auto found = files.find(path);
                const bool there = found != files.end();
                // a disk that is lost takes a finished part with it, and a second process has its
                // own
                if (there ? found->second != content : !state_hurt_ && !twin_came_)
                    world_.violate("of run " + id.short_hex() + " of " + world_.name(master_a + r) +
                                   ", " + path +
                                   (there ? " is not that of the undisturbed run" : " is missing"));
            }
        }
}

SeedResult Swarm::result(std::uint64_t seed) {
    SeedResult out;
    out.seed = seed;
    out.trace = world_.trace();
    out.violation = world_.violation();
    out.steps = runs_[0].steps + runs_[1].steps;
    out.faults = struck_;
    out.events = world_.events();
    out.seconds = std::chrono::duration<double>(world_.elapsed()).count();
    out.coverage = world_.coverage().counts;
    for (const std::string& line : world_.story()) out.story += line + "\n";
    return out;
}

/// By owner and variant.
const Files& calm_result(std::size_t owner, std::size_t variant) {
    static std::array<std::array<Files, 2>, variants> known;
    auto& of_variant = known[variant];
    if (of_variant[0].empty()) {
        Plan plan;
        plan.world.link_timeout = seconds(60);
        plan.variant = {variant, variant};
        plan.commit_steps = 7;
        Swarm calm(1, plan, Story::told);
        calm.run();
        of_variant = calm.results();
        if (of_variant[0].size() != 4 || of_variant[1].size() != 4)
            throw std::runtime_error("the undisturbed run does not complete: " +
                                     calm.result(0).violation + "\n" + calm.result(0).story);
    }
    return of_variant[owner];
}

}  // namespace

void prepare() {
    for (std::size_t variant = 0; variant < variants; ++variant) (void)calm_result(0, variant);
}

SeedResult simulate(std::uint64_t seed, Story story) {
    const Plan plan = draw(seed);
    const std::array<Files, 2> calm{calm_result(0, plan.variant[0]),
                                    calm_result(1, plan.variant[1])};
    Swarm swarm(seed, plan, story);
    swarm.run();
    swarm.compare(calm);
    return swarm.result(seed);
}

std::vector<std::string_view> expected_coverage() {
    return {
        // faults
        "another training begins",
        "another run of questions begins",
        "cut told to both sides",
        "cut told to the node",
        "cut told to the broker",
        "cut told to nobody",
        "bulk cut told to both sides",
        "bulk cut told to the node",
        "bulk cut told to the broker",
        "bulk cut told to nobody",
        "cut inside a body",
        "partition",
        "pause",
        "kill",
        "an owner sleeps until its run is closed",
        "restarted while the broker is stopped",
        "power lost",
        "unsynced writes lost",
        "death in a write",
        "power lost in a write",
        "broker restarted",
        "broker stopped for a while",
        "clock leaps",
        "broker's clock leaps",
        "slow worker",
        "hung worker",
        "full pipes",
        "garbage",
        "a run is claimed by another owner",
        "a request from outside of the run",
        "a request past the owner of an open run",
        "an answer is forged",
        "an answer is repeated",
        "a second process of a member",
        "a second process of a master",
        "disk full for a while",
        "write to a full disk",
        "stopped in order",
        "stopped at once",
        "a commit is damaged",
        "a member's disk is lost",
        "a master's disk is set back",
        // ways of recovery
        "welcome to the same process again",
        "welcome to another process of the name",
        "broker told of a closed connection",
        "link reconnected by itself",
        "owner's link came back",
        "request sent again",
        "answer sent again",
        "duplicate of a request arrived",
        "credit",
        "a body waits for room",
        "frames wait for the window",
        "frame on a bulk connection",
        "peer lost by silence",
        "given up as stalled",
        "a hung worker was noticed in time",
        "came back within the grace",
        "term raised",
        "resumed",
        "resumed to release the members",
        "restored the last commit",
        "restored the commit before the last",
        "began again at the first step",
        "run lost with its state",
        "a part written, unconfirmed",
        "question failed: peer_restarted",
        "open run of questions ended: ok",
        "run of questions ended: ok",
        "run of a dead app closed",
        "query answered by a node",
        "query answered by the broker",
        "query failed: unreachable",
        "query failed: too_many",
        "query failed: timed_out",
        "error not_a_participant",
        "error retry",
        "error unreachable",
        "error stale_term",
        "process ended: name_taken",
        "process ended: stale_incarnation",
        "run ended: peer_lost",
        "run ended: cancelled",
        "run ended: io",
        "run ended: too_many_restarts",
        "run ended: timed_out",
        "run ended: state_lost",
        "run ended: stalled",
    };
}

}  // namespace vflbus::sim
