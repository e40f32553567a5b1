// The processes of a seed, and how it ends.

#include <algorithm>
#include <cinttypes>
#include <stdexcept>

#include "actors/alignment/psi_messages.hpp"
#include "actors/arbiter.hpp"
#include "actors/member.hpp"
#include "actors/messages.hpp"
#include "actors/run/run_record.hpp"
#include "masks.hpp"
#include "swarm_state.hpp"

namespace vflbus::sim {

using actors::Message;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

/// Nothing may stand still for so long while nothing is broken: less than it takes to send a
/// request again of which nothing is heard, which is for what nobody has thought of.
constexpr Duration standstill = seconds(25);
/// After this the world is whole, and everything has to come to its end.
constexpr Duration fault_time = minutes(10);
constexpr Duration healing_time = minutes(30);

/// Counts the steps of a training, to see that it gets on.
class StepCounter final : public actors::RunObserver {
  public:
    explicit StepCounter(std::uint64_t& steps) : steps_(&steps) {}
    void on_step(const observe::ProgressState&, TimePoint) override { ++*steps_; }

  private:
    std::uint64_t* steps_;
};

}  // namespace

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
    world_.add_node("asker",
                    plan_.app          ? "serverapp"
                    : plan_.world.keys ? "master"
                                       : "node",
                    -1, [this, seed](actors::NodeCore& core) {
                        asker_ = std::make_unique<Asker>(
                            world_, asker, mix_seed(seed, 1000 + askers_++), plan_.asker);
                        answer_queries(asker, core);
                        core.drive(*asker_);
                    });
    world_.add_node("member-0", "member", 0, member(twin_member), false, apps);
    world_.add_node("master-a", "master", -1, master(twin_master), false);
    build_strangers(seed);
    build_hostile(seed);
    build_arbiter(seed);
    build_explorer();
    world_.give_rights("visitor", 0xff);
    visit();
    if (plan_.faults > 0) plan_next_fault();
}

void Swarm::build_strangers(std::uint64_t seed) {
    const std::vector<std::string> apps{std::string(bus::feature_apps)};
    world_.add_node("intruder", "node", -1, [](actors::NodeCore&) {}, false);
    world_.add_node(
        "guest", "node", -1, [this](actors::NodeCore& core) { setup_guest(core); }, false, apps);
    visitor_ = std::make_unique<Visitor>(
        world_, visitor, mix_seed(seed, 2000),
        std::vector<std::string>{"member-0", "member-1", "master-a", "asker", "guest", "nobody",
                                 "member-2", "mallory"},
        std::vector<RunId>{runs_[0].id, runs_[1].id}, std::set<std::string>{"member-2", "mallory"});
    world_.add_node("visitor", "node", -1, [this](actors::NodeCore&) { visitor_->begin(); }, true,
                    {std::string(bus::feature_asks)});
    if (plan_.asker.open)
        world_.after(milliseconds(rng_.below(1500)), [this] { world_.start(guest); });
}

void Swarm::answer_queries(std::size_t place, actors::NodeCore& core) {
    core.on_query([this, place](const bus::QueryArrived& query, actors::QueryReplier reply) {
        reply(answer_query(query, world_.name(place)));
    });
}

void Swarm::join_questions(actors::Context& context) {
    const actors::Invitation& invitation = context.invitation();
    if (!is_hostile(invitation.owner_name) &&
        invitation.extensions !=
            (plan_.asker.extensions ? open_extensions(invitation.run) : bus::Extensions{}))
        world_.violate("the extensions of the OPEN are not what the owner said");
    context.join_extensions = join_extensions(invitation.extensions, context.node_name());
}

void Swarm::setup_guest(actors::NodeCore& core) {
    actors::ClientApp app;
    app.on_join([this](actors::Context& context) -> Result<> {
        if (context.invitation().agreed == questions) {
            join_questions(context);
            return {};
        }
        if (!plan_.hostile()) world_.violate("the guest was invited");
        return fail(Errc::refused, "the guest only answers questions");
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

/// What strikes it has a draw of its own: the stories of seeds without one stay as they are.
void Swarm::build_arbiter(std::uint64_t seed) {
    if (!has_arbiter()) return;
    world_.add_node("arbiter", "arbiter", -1,
                    [this](actors::NodeCore& core) { setup_arbiter(core); });
    if (plan_.faults == 0) return;
    Rng strikes(mix_seed(seed, 5000));
    for (int i = 0; i < 3; ++i) {
        const Duration at = milliseconds(100 + strikes.below(6'000));
        const Duration back = milliseconds(20 + strikes.below(3'000));
        const bool dies = strikes.below(3) != 0;
        world_.after(at, [this, back, dies] {
            if (healed_ || !world_.running(arbiter)) return;
            ++count(dies ? "arbiter killed" : "arbiter's connection cut");
            if (dies)
                world_.kill(arbiter, back);
            else
                world_.partition(arbiter, back);
        });
    }
}

void Swarm::setup_arbiter(actors::NodeCore& core) {
    actors::ArbiterOptions options;
    options.log = [this](observe::log::Level, const RunId& run, const std::string& text) {
        on_log(run, text);
    };
    const actors::ClientApp opens = actors::make_arbiter_app(std::move(options));
    actors::ClientApp app = opens;
    app.on_join([this, opens](actors::Context& context) -> Result<> {
        if (context.invitation().agreed != questions) return opens.join(context);
        join_questions(context);
        return {};
    });
    app.on_end([opens](const actors::Ending& ending, actors::Context& context) {
        if (context.invitation().agreed != questions) opens.end(ending, context);
    });
    app.on(question,
           [incarnation = world_.incarnation(arbiter)](const Message& m, actors::Context&) {
               return Result<actors::Bytes>(answer_to(m.content, "arbiter", incarnation));
           });
    answer_queries(arbiter, core);
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

void Swarm::setup_member(std::size_t place, actors::NodeCore& core) {
    boot(place);
    const std::string name = world_.name(place);
    stored_[place] = std::make_unique<StoredFirst>(*machines_[place].disk, "runs", name);
    answer_queries(place, core);
    const std::size_t rank = place == twin_member ? 0 : place;
    // a process that is gone may still be heard of; its judge stays
    if (judges_[place] == nullptr)
        judges_[place] = std::make_unique<FirstJudged>(
            [this](const std::string& what) { world_.violate(what); });
    actors::MemberOptions options;
    options.name = name;
    options.judge = judges_[place].get();
    options.tables = judges_[place]->watched(source(table_of(rank)));
    options.env = machines_[place].disk.get();
    options.runs_dir = "runs";
    options.log = [this](observe::log::Level, const RunId& run, const std::string& text) {
        on_log(run, text);
    };
    core.serve(watched(place, std::make_shared<const actors::ClientApp>(
                                  actors::make_member_app(std::move(options)))));
}

Result<> Swarm::join_watched(std::size_t place, std::uint64_t incarnation,
                             const actors::ClientApp& trains, actors::Context& context) {
    const actors::Invitation& invitation = context.invitation();
    Served& served = served_[{place, incarnation, invitation.run, invitation.term}];
    ++served.joins;
    served.last = 0;
    if (invitation.agreed == "not understood")
        world_.violate("an invitation that is not understood reached a member");
    if (invitation.agreed == questions) {
        join_questions(context);
        return {};
    }
    auto joined = trains.join(context);
    judges_[place]->answered();
    std::uint32_t& term = terms_[{place, invitation.run}];
    if (joined && invitation.term < term)
        world_.violate(world_.name(place) + " joined term " + std::to_string(invitation.term) +
                       " after " + std::to_string(term));
    if (joined) term = invitation.term;
    return joined;
}

/// Only a member's own runs, in their own term, from their owner, each request once and in order.
void Swarm::watch_request(std::size_t place, std::uint64_t incarnation, const actors::Message& m,
                          const actors::Context& context) {
    const std::string name = world_.name(place);
    const actors::Invitation& invitation = context.invitation();
    if (m.metadata.run != invitation.run || m.metadata.term != invitation.term)
        world_.violate(name + " was given a request of another run or term");
    if (m.metadata.src_node_id != invitation.owner)
        world_.violate(name + " was given a request of somebody who does not own the run");
    Served& served = served_[{place, incarnation, invitation.run, invitation.term}];
    if (m.metadata.message_id <= served.last)
        world_.violate(name + " was given request " + std::to_string(m.metadata.message_id) +
                       " after " + std::to_string(served.last));
    served.last = m.metadata.message_id;
}

/// Whoever blinds an id again with the secret of another term or run lets them be linked.
void Swarm::watch_points(const Message& request, const actors::Bytes& answer,
                         const actors::Context& context) {
    const auto asked = actors::decode_psi_take(request.content);
    if (!asked || static_cast<std::int64_t>(asked->list) != context.rank() + 1) return;
    ++count("a list of ids is intersected");
    const auto points = actors::decode_points(answer, asked->count);
    if (!points) return world_.violate("an answer with points does not decode");
    for (const privacy::psi::Point& point : *points)
        if (!points_.insert(point).second)
            return world_.violate("an id was blinded twice with the same secret");
}

/// What a member does, watched.
actors::ClientApp Swarm::watched(std::size_t place,
                                 const std::shared_ptr<const actors::ClientApp>& trains) {
    const std::uint64_t incarnation = world_.incarnation(place);
    actors::ClientApp app;
    app.on_join([this, trains, place, incarnation](actors::Context& context) {
        return join_watched(place, incarnation, *trains, context);
    });
    app.on_end([this, trains, place](const actors::Ending& ending, actors::Context& context) {
        // a run that is complete leaves no term behind
        if (ending.code == Errc::ok) terms_.erase({place, context.invitation().run});
        if (context.invitation().agreed != questions) trains->end(ending, context);
    });
    app.on(question, [this, place, incarnation](const Message& m, actors::Context& context) {
        watch_request(place, incarnation, m, context);
        return Result<actors::Bytes>(answer_to(m.content, world_.name(place), incarnation));
    });
    for (actors::MessageType type = 2; type < 64; ++type)
        if (const auto* handler = trains->handler_of(type); handler != nullptr)
            app.on(type, [this, place, incarnation, handler, trains, type](
                             const Message& m, actors::Context& context) {
                watch_request(place, incarnation, m, context);
                auto answer = (*handler)(m, context);
                if (type == actors::message::psi_take && answer) watch_points(m, *answer, context);
                if (type == actors::message::count && answer)
                    watch_count([&] { return (*handler)(m, context); });
                if (type != actors::message::restore) return answer;
                const auto asked = actors::decode_restore_request(m.content);
                if (!answer)
                    ++count("restore refused");
                else if (asked)
                    check(stored_[place]->on_restored(m.metadata.run, asked->step));
                return answer;
            });
    return app;
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
    options.config = configuration(plan_.variant[r], r, 2, plan_);
    options.tables = source(table_of(place));
    options.env = machines_[machine_of(place)].disk.get();
    options.runs_dir = "runs";
    options.log = [this, place](observe::log::Level, const RunId& id, const std::string& text) {
        on_log(id, text);
        std::uint64_t step = 0;
        if (std::sscanf(text.c_str(), "goes on from step %" SCNu64, &step) == 1)
            check(stored_[place]->on_restored(id, step));
    };
    options.observers.push_back(std::make_shared<StepCounter>(run.steps));
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

// -- ends of processes --------------------------------------------------------------------

/// A process whose name was taken, or which is too old, ends; whoever watches it starts it again.
void Swarm::on_fatal(std::size_t place, const Failure& failure) {
    if (place == hostile_member || place == hostile_owner) {
        ++count("hostile process ended: " + std::string(name_of(failure.code)));
        return come_again(place);
    }
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
            return drawn_.contains(FaultKind::hang) || drawn_.contains(FaultKind::slow);
        case Errc::cancelled:
            return drawn_.contains(FaultKind::stop) || drawn_.contains(FaultKind::stop_now);
        case Errc::io:
            return drawn_.contains(FaultKind::disk_full) ||
                   drawn_.contains(FaultKind::death_in_write);
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
    // a fault that began before may go on for a minute, such as a node that works slowly
    const bool calm = healed_ && world_.now() >= world_.calm_from();
    if (calm && ++run.ends_after_healing > (state_hurt_ ? 12 : 4))
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
    if (plan_.hostile()) poll_hostile();
    poll_explorer();
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
        for (std::size_t p = 0; p < present(); ++p)
            if (world_.core(p) != nullptr) world_.tell(world_.describe(p));
        if (i == 2) world_.tell("questions of " + asker_->open_questions());
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
        return runs_[0].over && runs_[1].over && asker_->done &&
               plan_.explores == !figures_.empty();
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
        for (std::size_t place = 0; place < present(); ++place) world_.tell(world_.describe(place));
        world_.tell(asker_->open_questions());
        return world_.violate("not everything came to its end within bounded time");
    }
    end_hostile();
    finish();
}

/// Everybody hears of it, and nothing stays.
void Swarm::finish() {
    const auto quiet = [this] {
        std::size_t left = world_.broker() == nullptr ? 1 : world_.broker()->runs();
        left += visitor_->waits() ? 1 : 0;
        for (std::size_t place = 0; place < present(); ++place)
            if (world_.core(place) != nullptr) left += world_.core(place)->runs();
        return left == 0;
    };
    if (!world_.run_until(quiet, minutes(5)) && world_.violation().empty()) {
        std::string who;
        if (world_.broker() != nullptr && world_.broker()->runs() != 0) who += " at the broker";
        if (visitor_->waits()) who += " at the visitor, who waits for an answer";
        for (std::size_t place = 0; place < present(); ++place)
            if (world_.core(place) != nullptr && world_.core(place)->runs() != 0)
                who += " at " + world_.name(place);
        world_.violate("something of a run is left in memory:" + who);
    }
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
        machines_[place].disk->for_each_file([&](const std::string& path,
                                                 const std::string& content) {
            const bool result = path.ends_with("model.json") || path.ends_with("out_of_fold.csv");
            if (result && path.find(run.hex()) != std::string::npos)
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

namespace {

/// By owner and variant.
const Files& calm_result(std::size_t owner, std::size_t variant) {
    static std::array<std::array<Files, 2>, variants> known;
    auto& of_variant = known[variant];
    if (of_variant[0].empty()) {
        Swarm calm(1, calm_plan(variant), Story::told);
        calm.run();
        of_variant = calm.results();
        // history and three parts of the model; predictions of the folds, if it has any
        if (of_variant[0].size() < 4 || of_variant[1].size() < 4)
            throw std::runtime_error("the undisturbed run does not complete: " +
                                     calm.result(0).violation + "\n" + calm.result(0).story);
    }
    return of_variant[owner];
}

/// What columns tell of the label where nothing happens.
const std::string& calm_figures() {
    static std::string known;
    if (known.empty()) {
        Plan plan = calm_plan(0);
        plan.explores = true;
        Swarm calm(1, plan, Story::told);
        calm.run();
        known = calm.figures();
        if (known.empty())
            throw std::runtime_error("the undisturbed run of features does not complete: " +
                                     calm.result(0).violation + "\n" + calm.result(0).story);
    }
    return known;
}

}  // namespace

void prepare() {
    (void)calm_figures();
    for (std::size_t variant = 0; variant < variants; ++variant) (void)calm_result(0, variant);
}

SeedResult simulate(std::uint64_t seed, Story story) {
    const Plan plan = draw(seed);
    const std::array<Files, 2> calm{calm_result(0, plan.variant[0]),
                                    calm_result(1, plan.variant[1])};
    const MaskWatch masks(seed);
    Swarm swarm(seed, plan, story);
    swarm.run();
    swarm.compare(calm);
    if (plan.explores) swarm.compare_figures(calm_figures());
    SeedResult result = swarm.result(seed);
    if (result.violation.empty()) result.violation = masks.violation();
    return result;
}

}  // namespace vflbus::sim
