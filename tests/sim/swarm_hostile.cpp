// Hostile nodes of a seed: a member of a training of its own and of open runs, and one that owns
// runs and visits. What honest nodes do beside them is held to the same promises as without them.

#include "actors/member.hpp"
#include "actors/run/run_record.hpp"
#include "swarm_state.hpp"

namespace vflbus::sim {

using actors::Message;
using std::chrono::milliseconds;

void Swarm::build_hostile(std::uint64_t seed) {
    const bool apps = hostile_rng_.below(4) != 0;
    std::vector<std::string> serves, notes;
    if (apps) serves.emplace_back(bus::feature_apps);
    if (hostile_rng_.below(2) == 0) notes.emplace_back(bus::feature_serve);
    world_.add_node(
        "member-2", "member", 2, [this](actors::NodeCore& core) { setup_hostile_member(core); },
        false, serves);
    const char* const roles[] = {"node", "master", "serverapp"};
    world_.add_node(
        "mallory", roles[hostile_rng_.below(3)], -1,
        [this](actors::NodeCore& core) { setup_hostile_owner(core); }, false, notes);
    world_.add_node(
        "master-c", "master", -1, [this](actors::NodeCore& core) { setup_victim(core); }, false);
    if (!plan_.hostile()) return;
    ++count(hostile_seeds);
    if (plan_.hostile_member && plan_.hostile_owner) ++count(hostile_pairs);
    LiarPlan plan{plan_.changed,
                  plan_.lies_per_s,
                  {"member-0", "member-1", "master-a", "master-b", "asker", "guest", "visitor",
                   "master-c", "member-2", "mallory", "nobody"},
                  {}};
    const std::size_t first_places[] = {hostile_member, hostile_owner};
    for (std::size_t i = 0; i < 2; ++i) {
        const std::size_t place = first_places[i];
        if (!(i == 0 ? plan_.hostile_member : plan_.hostile_owner)) continue;
        if (plan_.hostile_member && plan_.hostile_owner)
            plan.accomplice = i == 0 ? "mallory" : "member-2";
        liars_[i] = std::make_unique<Liar>(world_, place, mix_seed(seed, 3000 + i), plan);
        world_.make_hostile(place, liars_[i]->hooks());
        world_.start(place);
        liars_[i]->begin([this] { return !hostile_over_; });
    }
    if (plan_.hostile_member) world_.start(victim);
    // draws of their own, so that other stories stay as they are
    Rng asks(mix_seed(seed, 4100));
    if (plan_.hostile_member && asks.below(4) == 0)
        for (int i = 0; i < 8; ++i)
            world_.after(milliseconds(300 + asks.below(10'000)), [this] {
                if (hostile_over_ || !world_.running(hostile_member)) return;
                ++count("a participant asks others");
                liars_[0]->ask_participants();
            });
    // its owner notices in the end
    Rng revoked(mix_seed(seed, 4000));
    if (plan_.world.keys && plan_.hostile_owner && revoked.below(2) == 0)
        world_.after(milliseconds(300 + revoked.below(5'000)), [this] {
            ++count("a key is revoked");
            world_.revoke("mallory");
        });
}

void Swarm::setup_hostile_member(actors::NodeCore& core) {
    boot(hostile_member);
    actors::MemberOptions options;
    options.name = world_.name(hostile_member);
    options.tables = source(table_of(hostile_member));
    options.env = machines_[hostile_member].disk.get();
    options.runs_dir = "runs";
    const auto trains =
        std::make_shared<const actors::ClientApp>(actors::make_member_app(std::move(options)));
    actors::ClientApp app;
    app.on_join([trains](actors::Context& context) -> Result<> {
        return context.invitation().agreed == questions ? Result<>{} : trains->join(context);
    });
    app.on_end([trains](const actors::Ending& ending, actors::Context& context) {
        if (context.invitation().agreed != questions) trains->end(ending, context);
    });
    app.on(question, [](const Message& m, actors::Context&) {
        return Result<actors::Bytes>(answer_to(m.content, "member-2", 1));
    });
    for (actors::MessageType type = 2; type < 64; ++type)
        if (const auto* handler = trains->handler_of(type); handler != nullptr)
            app.on(type, [handler, trains](const Message& m, actors::Context& context) {
                return (*handler)(m, context);
            });
    answer_queries(hostile_member, core);
    core.serve(std::move(app));
}

/// A training with lies in it, a run of anything, or none: then it only visits.
void Swarm::setup_hostile_owner(actors::NodeCore& core) {
    hostile_run_.reset();
    hostile_master_.reset();
    hostile_settled_ = false;
    answer_queries(hostile_owner, core);
    const std::vector<bus::Participant> members{{"member-0", "member", 0},
                                                {"member-1", "member", 1}};
    const std::vector<bus::Participant> accomplice{{"member-2", "member", 2}};
    const std::uint64_t draw = hostile_rng_.below(plan_.hostile_member ? 8 : 6);
    if (draw == 0) return;
    if (draw < 3 || draw > 5) {
        hostile_run_ = std::make_unique<HostileOwner>(
            world_, hostile_rng_.next(),
            draw == 1  ? members
            : draw > 5 ? accomplice
                       : std::vector<bus::Participant>{bus::any_node},
            std::string(questions));
        return core.drive(*hostile_run_);
    }
    boot(hostile_owner);
    actors::MasterOptions options;
    for (std::uint8_t& byte : options.run.bytes)
        byte = static_cast<std::uint8_t>(hostile_rng_.next());
    options.name = world_.name(hostile_owner);
    options.config = configuration(hostile_rng_.below(drawn_variants), 0, 2, plan_);
    options.tables = source(table_of(master_a));
    options.env = machines_[hostile_owner].disk.get();
    options.runs_dir = "runs";
    auto master = actors::make_train_master(std::move(options));
    if (!master) return;
    hostile_master_ = std::move(*master);
    core.drive(*hostile_master_);
}

/// An honest master with one member that is not.
void Swarm::setup_victim(actors::NodeCore& core) {
    boot(victim);
    answer_queries(victim, core);
    for (std::uint8_t& byte : victim_run_.bytes)
        byte = static_cast<std::uint8_t>(hostile_rng_.next());
    actors::MasterOptions options;
    options.run = victim_run_;
    options.name = world_.name(victim);
    options.config = configuration(hostile_rng_.below(drawn_variants), 2, 3, plan_);
    options.tables = source(table_of(victim));
    options.env = machines_[victim].disk.get();
    options.runs_dir = "runs";
    options.log = [this](observe::log::Level, const RunId& run, const std::string& text) {
        world_.tell(run.short_hex() + " " + text);
    };
    victim_settled_ = false;
    auto master = actors::make_train_master(std::move(options));
    if (!master) return world_.violate("master-c does not start: " + master.error().sentence);
    victim_ = std::move(*master);
    core.drive(*victim_);
}

/// Its process ends, and another one comes, while there is something to disturb.
void Swarm::come_again(std::size_t place) {
    world_.after(milliseconds(1), [this, place, life = world_.incarnation(place)] {
        if (world_.incarnation(place) != life || !world_.running(place)) return;
        world_.leave(place);
        world_.after(milliseconds(100 + hostile_rng_.below(2000)), [this, place] {
            if (!hostile_over_ && !world_.running(place)) world_.start(place);
        });
    });
}

void Swarm::poll_hostile() {
    if (hostile_over_) return;
    poll_victim();
    const bool run_over =
        (hostile_run_ && hostile_run_->over()) || (hostile_master_ && hostile_master_->done());
    if (!run_over || hostile_settled_ || !world_.running(hostile_owner)) return;
    hostile_settled_ = true;
    come_again(hostile_owner);
}

void Swarm::poll_victim() {
    if (victim_settled_ || !victim_ || !victim_->done() || !world_.running(victim)) return;
    victim_settled_ = true;
    const Failure outcome = victim_->outcome();
    const std::string status = victim_->report().status;
    const auto says = [&](const char* part) {
        return outcome.sentence.find(part) != std::string::npos;
    };
    // which of several members has other rows than it said at first, its owner cannot tell
    const bool names_it = says("member-2") || says("the table of another party was changed");
    const std::string what = "the run of master-c with a hostile member ended (" +
                             std::string(name_of(outcome.code)) + "): " + outcome.sentence;
    world_.tell(what);
    if (status == "completed")
        ++count("run with a hostile member completed");
    else if (names_it)
        ++count("run with a hostile member failed and names it");
    // scores that are no numbers may be anybody's
    else if (outcome.code != Errc::diverged && !excusable(outcome.code))
        world_.violate("without a fault or the hostile member to explain it, " + what);
    if (!enough()) come_again(victim);
}

/// All that is honest has come to its end beside them; now they go.
void Swarm::end_hostile() {
    hostile_over_ = true;
    for (const std::size_t place : {hostile_member, hostile_owner, victim})
        if (world_.running(place)) world_.leave(place);
}

}  // namespace vflbus::sim
