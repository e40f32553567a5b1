#include "actors/run/run.hpp"

#include <algorithm>
#include <utility>

#include "actors/alignment/shared_alignment.hpp"
#include "actors/purpose.hpp"
#include "actors/run/commits.hpp"
#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {
namespace {

namespace fs = std::filesystem;
using observe::log::Level;

RunSpec spec_of(const MasterOptions& options, Purpose purpose) {
    RunSpec spec;
    spec.run = options.run;
    spec.term = options.term;
    for (std::uint64_t rank = 0; rank < options.config.run.world_size; ++rank)
        spec.participants.push_back(
            {config::member_name(rank), "member", static_cast<std::int64_t>(rank)});
    if (needs_arbiter(options.config, purpose))
        spec.participants.push_back({config::arbiter_name, "arbiter", -1});
    const std::string canonical = config::canonical_agreed(options.config);
    OpenText open{purpose, {}, canonical};
    if (options.alignment != nullptr) open.alignment = options.alignment->name();
    spec.agreed = to_text(open);
    spec.config_hash = config::agreed_hash(options.config);
    return spec;
}

/// Several problems of a configuration come one per line.
std::string one_line(std::string text) {
    for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at))
        text.replace(at, 1, "; ");
    return text;
}

}  // namespace

Run::Run(MasterOptions options, Purpose purpose, Program program, std::optional<RunRecord> record)
    : options_(std::move(options)),
      spec_(spec_of(options_, purpose)),
      purpose_(purpose),
      program_(std::move(program)),
      parties_(spec_.participants, place_) {
    if (record) commits_ = std::make_unique<Commits>(*this, std::move(*record));
    report_.run_id = options_.run.hex();
    report_.purpose = name_of(purpose_);
    report_.experiment_label = options_.config.run.experiment_label;
    report_.configuration = config::shown_agreed(options_.config);
    report_.model = config::name_of(options_.config.model.task);
    report_.task = report_.model;
    report_.algorithm = config::name_of(options_.config.model.name);
    report_.protocol = config::name_of(options_.config.run.protocol);
    report_.seed = options_.config.run.seed;
    report_.config_hash = to_hex(spec_.config_hash);
    report_.status = "failed";
    report_.parties.resize(1 + parties_.size());
    report_.parties[0].name = options_.name;
    report_.parties[0].role = "master";
    report_.parties[0].version = options_.version;
    for (std::size_t rank = 0; rank < parties_.size(); ++rank) {
        report_.parties[rank + 1].name = parties_[rank].name;
        report_.parties[rank + 1].role = spec_.participants[rank].role;
        if (rank < parties_.members())
            report_.parties[rank + 1].rank = static_cast<std::uint32_t>(rank);
    }
}

Run::~Run() = default;

// -- the Task -----------------------------------------------------------------------

Run::Gathered Run::gathered() {
    return Gathered(*this);
}

Run::Pause Run::pause() {
    VFLBUS_ASSERT(driver_ != nullptr, "a Task runs within an event");
    slice_due_ = false;
    driver_->set_timer(driver_->now());
    return Pause(*this);
}

void Run::start_program() {
    VFLBUS_ASSERT(!in_task_, "a Task does not begin another term");
    task_ = std::make_unique<Task<>>(program_(*this));
    in_task_ = true;
    task_->start();
    in_task_ = false;
    go_on();
}

void Run::go_on() {
    if (task_ == nullptr) return;
    VFLBUS_ASSERT(!in_task_, "events do not come while the Task runs");
    if (!over() && !task_->done()) {
        in_task_ = true;
        const TimePoint begun = options_.observers.empty() ? TimePoint{} : driver_->now();
        place_.resume_if_ready();
        in_task_ = false;
        for (const auto& observer : options_.observers) observer->on_work(begun, driver_->now());
    }
    if (!over()) {
        if (auto failure = parties_.take_failure())
            fail(std::move(*failure));
        else if (task_->failure() != nullptr)
            fail(*task_->failure());
        else if (task_->done()) {
            task_.reset();
            return release_all();
        }
    }
    if (over()) task_.reset();
}

// -- events -------------------------------------------------------------------------

Result<> Run::on_welcome() {
    return commits_ == nullptr ? Result<>{} : commits_->open_record();
}

void Run::on_opened(Driver& driver) {
    driver_ = &driver;
    parties_.attach(driver);
    if (phase_ != Phase::opening) return;
    opened_ = phase_since_ = gathering_since_ = reported_ = driver.now();
    parties_.wait_from(driver.now());
    if (!only_releases_) report_.started = options_.env->utc_now();
    enter(Phase::gathering);
    log(options_.routine_level,
        "opened the run" + (spec_.term > 1 ? " in term " + std::to_string(spec_.term) : "") +
            ", waits for " + std::to_string(parties_.members()) +
            (parties_.members() == 1 ? " member" : " members") +
            (parties_.arbiter() ? " and the arbiter" : ""));
    start_program();
    if (over()) return;
    arm();
    gather();
}

void Run::on_join(Driver& driver, NodeId node, const bus::Join& join) {
    driver_ = &driver;
    if (over()) return;
    parties_.attach(driver);
    const auto found = parties_.find(node);
    if (!found) return;
    Parties::Peer& peer = parties_.at(*found);
    const bool held = join.code == Errc::held && !started_ever_ && !only_releases_;
    if (held && !peer.held)
        log(Level::info, peer.name + " holds the run until somebody there approves it");
    peer.held = held;
    if (held) return;
    peer.declined = join.code != Errc::ok;
    if (peer.declined) {
        Failure why = of_party(peer.name, {join.code, one_line(join.sentence)});
        if (!only_releases_) {
            why.phase = name_of(phase_);
            return fail(std::move(why));
        }
        log(Level::warn, why.sentence);
        return gather();
    }
    if (join.config_hash != spec_.config_hash)
        return fail({Errc::config_differs,
                     peer.name + " came with another configuration hash; give all parties the "
                                 "same [run], [model] and [data]",
                     peer.name, std::string(name_of(phase_))});
    if (started_) {
        if (phase_ == Phase::releasing) return;
        if (join.incarnation != peer.incarnation) return restarted(peer, join.incarnation);
        return back(peer);
    }
    const bool again = peer.joined;
    if (started_ever_ && peer.incarnation != 0 && join.incarnation != peer.incarnation &&
        !count_restart(peer))
        return;
    peer.joined = peer.up = true;
    peer.down = false;
    peer.incarnation = join.incarnation;
    peer.version = join.version;
    report_.parties[*found + 1].version = join.version;
    if (!again) {
        log(options_.routine_level, peer.name + " has joined");
        if (!options_.version.empty() && join.version != options_.version)
            log(Level::warn,
                peer.name + " runs version " + join.version + ", this is " + options_.version);
    }
    gather();
}

void Run::gather() {
    if (phase_ != Phase::gathering || !parties_.all_joined_or_declined()) return;
    if (const auto names = parties_.not_joined(); !names.empty()) return release_without(names);
    started_ = started_ever_ = true;
    log(options_.routine_level,
        parties_.arbiter() ? "all members and the arbiter have joined" : "all members have joined");
    reported_ = driver_->now();
    parties_.wait_from(driver_->now());
    go_on();
}

void Run::on_reply(Driver& driver, Message&& reply) {
    driver_ = &driver;
    if (over()) return;
    parties_.attach(driver);
    const auto answered = parties_.match(reply);
    if (!answered) return;
    const bool aside = answered->request.exchange == nullptr;
    for (const auto& observer : options_.observers)
        observer->on_answer({answered->party, answered->request.type, answered->request.asked,
                             driver.now(), answered->request.bytes, answered->bytes, aside});
    if (!reply.has_content()) {
        refused(*answered, std::move(reply.error));
    } else if (phase_ == Phase::releasing || !aside) {
        if (!aside) parties_.deliver(*answered, std::move(reply.content));
    } else if (auto taken = answered->request.aside->take(answered->party, reply.content); !taken) {
        const Result<> named = said_by(answered->party, std::move(taken));
        fail(named.error());
    }
    if (over()) return;
    if (phase_ == Phase::releasing) {
        if (!parties_.waiting()) close(Errc::ok, "completed");
        return;
    }
    go_on();
}

void Run::refused(const Parties::Answered& answered, Failure error) {
    Parties::Peer& peer = parties_.at(answered.party);
    error.party.clear();  // it names nobody yet: who sent it does not say whom it is about
    if (phase_ == Phase::releasing) return log(Level::warn, of_party(peer.name, error).sentence);
    if (error.code == Errc::peer_restarted) return restarted(peer, 0);
    // the process is the same one, but it has given up the run in between
    if (recoverable() &&
        (error.code == Errc::unknown_run ||
         (error.code == Errc::state_lost && answered.request.type != message::restore)))
        return restarted(peer, peer.incarnation);
    if (error.code == Errc::peer_lost || error.code == Errc::unreachable)
        return fail(then_again(error.code, peer.name,
                               peer.name + " was lost" + where() + " (" + error.sentence + ")",
                               "see to it"));
    if (error.code == Errc::ok) error.code = Errc::handler_failed;
    const auto& exchange = answered.request.exchange;
    error = of_party(peer.name, std::move(error));
    if (exchange != nullptr && exchange->keeps_refusals)
        return parties_.deliver(answered, tl::unexpected(std::move(error)));
    fail(std::move(error));
}

void Run::on_peer(Driver& driver, const PeerEvent& event) {
    driver_ = &driver;
    if (over()) return;
    parties_.attach(driver);
    const auto found = parties_.find(event.node);
    if (!found) return;
    Parties::Peer& peer = parties_.at(*found);
    switch (event.what) {
        case PeerEvent::What::up: {
            const bool restart = started_ && phase_ != Phase::releasing && event.incarnation != 0 &&
                                 event.incarnation != peer.incarnation;
            if (restart) return restarted(peer, event.incarnation);
            back(peer);
            // it was silent for long and goes on in its session, where it has said JOIN already
            if (started_ || !peer.was_joined || event.incarnation != peer.incarnation) return;
            peer.joined = true;
            return gather();
        }
        case PeerEvent::What::suspect:
            return warn_of(peer, event);
        case PeerEvent::What::down:
            // it is there, and a member that has joined will not join again when it gets on
            if (event.reason == Errc::stalled && phase_ != Phase::releasing)
                return stalled(peer, event.silent);
            return gone(*found, event);
    }
}

void Run::on_timer(Driver& driver) {
    driver_ = &driver;
    if (over() || phase_ == Phase::opening) return;
    parties_.attach(driver);
    if (phase_ == Phase::comparing) {
        slice_due_ = true;
        return go_on();
    }
    tick();
    if (!over()) arm();
}

void Run::on_link(Driver& driver, bool up, const std::string& sentence) {
    driver_ = &driver;
    if (over()) return;
    parties_.attach(driver);
    if (!up && link_up_) link_down_since_ = driver.now();
    // requests are sent again now; nobody was silent while the link was down
    if (up && !link_up_) {
        parties_.excuse_all(driver.now());
        for (std::size_t i = 0; i < parties_.size(); ++i) parties_.at(i).down_since = driver.now();
    }
    // the first connection is no news
    if (up && !link_up_) log(Level::info, "the broker is back");
    if (!up) log(Level::warn, "lost the broker: " + sentence);
    link_up_ = up;
    if (!up) link_sentence_ = sentence;
}

void Run::on_stop(Driver& driver) {
    if (!recoverable()) return ServerApp::on_stop(driver);
    driver_ = &driver;
    if (over() || phase_ == Phase::releasing || stopping_) return;
    parties_.attach(driver);
    stopping_ = true;
    switch (phase_) {
        case Phase::training:
        case Phase::evaluating:
            // the step needs all, and nobody who is gone answers
            if (const Parties::Peer* gone = parties_.first_down()) {
                stopped_without(gone->name);
                return;
            }
            return log(Level::info, "stops after this step");
        case Phase::comparing:
            return go_on();
        case Phase::finishing:
            if (commits_->last_recorded_here() == step_) return fail(commits_->stopped());
            if (const Parties::Peer* gone = parties_.first_down()) stopped_without(gone->name);
            return;
        default: {
            Failure stopped{Errc::cancelled, "stopped" + where()};
            stopped.resumable = commits_->resumable();
            return fail(std::move(stopped));
        }
    }
}

void Run::on_closed(const Ending& ending) {
    if (phase_ == Phase::done) return;
    if (phase_ != Phase::closing) {
        // the broker, the link or the user ended it
        outcome_.code = ending.code == Errc::ok ? Errc::run_ended : ending.code;
        outcome_.sentence = ending.sentence + (started_ ? where() : "");
        outcome_.party = options_.name;
        outcome_.phase = name_of(phase_);
        outcome_.step = step_under_way();
        if (commits_ != nullptr) commits_->add_last_commit(outcome_);
        report_.status = ending.code == Errc::cancelled ? "stopped" : "failed";
        report_.reason = told();
        end_of_run();
        write_report();
    }
    phase_ = Phase::done;
    task_.reset();
    parties_.detach();
    driver_ = nullptr;
    for (const auto& observer : options_.observers) observer->on_end(report_, outcome_);
}

void Run::enter(Phase phase) {
    const bool sliced = phase_ == Phase::comparing;
    if (driver_ != nullptr) count_phase(driver_->now());
    phase_ = phase;
    if (driver_ == nullptr || over()) return;
    for (const auto& observer : options_.observers) observer->on_phase(phase, driver_->now());
    if (sliced || phase == Phase::releasing) {
        parties_.wait_from(driver_->now());
        arm();
    }
}

void Run::count_phase(TimePoint now) {
    if (phase_ == Phase::opening || only_releases_) return;
    const TimePoint since = std::exchange(phase_since_, now);
    const std::string name(name_of(phase_));
    auto& phases = report_.phase_seconds;
    auto found = std::ranges::find(phases, name, &std::pair<std::string, double>::first);
    if (found == phases.end()) found = phases.insert(found, {name, 0});
    found->second += in_seconds(now - since);
}

// -- the one way to fail ------------------------------------------------------------

void Run::fail(Failure failure) {
    VFLBUS_ASSERT(!in_task_, "a Task fails by a failed Result, not over its own head");
    if (over() || outcome_.code != Errc::ok) return;
    outcome_ = completed(std::move(failure));
    report_.status = outcome_.code == Errc::cancelled ? "stopped" : "failed";
    report_.reason = told();
    log(outcome_.code == Errc::cancelled ? options_.routine_level : Level::error, report_.reason);
    // what quotes the master's own table is not for the members
    Failure for_members = outcome_;
    if (!outcome_.for_others.empty()) for_members.sentence = outcome_.for_others;
    close(outcome_.code, explained(for_members, "--resume " + options_.run.hex()));
}

Failure Run::completed(Failure failure) const {
    const bool of_other = !failure.party.empty() && failure.party != options_.name;
    if (failure.phase.empty()) {
        failure.phase = name_of(phase_);
        if (!failure.step) failure.step = step_under_way();
        if (of_other)
            failure.sentence = open_ended(std::move(failure.sentence)) + where();
        else if (failure.code == Errc::diverged)
            failure.sentence = "the training diverged" +
                               (failure.step ? " at step " + std::to_string(*failure.step) +
                                                   " of " + std::to_string(steps_)
                                             : std::string()) +
                               ": " + open_ended(std::move(failure.sentence));
    }
    if (failure.party.empty()) failure.party = options_.name;  // at least who has said it
    if (failure.hint.empty() && of_other && failure.code == Errc::io && phase_ >= Phase::restoring)
        add_room_hint(failure);
    return failure;
}

void Run::add_room_hint(Failure& failure) const {
    // a training whose record could not even be stored has nothing to go on from
    failure.resumable = commits_ != nullptr && commits_->resumable();
    failure.hint =
        failure.resumable ? "make room there" : "make room there, then start the run again";
}

std::string Run::told() const {
    return explained(outcome_, "--resume " + options_.run.hex());
}

Failure Run::then_again(Errc code, std::string party, std::string sentence,
                        const std::string& what) const {
    Failure failure{code, std::move(sentence), std::move(party), std::string(name_of(phase_)),
                    step_under_way()};
    failure.resumable = recoverable();
    failure.hint = failure.resumable ? what : what + ", then start the run again";
    return failure;
}
std::optional<std::uint64_t> Run::step_under_way() const noexcept {
    if (phase_ == Phase::training) return step_held_ ? step_ : step_ + 1;
    if (phase_ == Phase::evaluating && purpose_ == Purpose::train) return step_;
    return {};
}

std::string Run::where() const {
    const auto step = step_under_way();
    const std::string at =
        step ? ", at step " + std::to_string(*step) + " of " + std::to_string(steps_) : "";
    if (phase_ == Phase::training) return at;
    // evaluations come in the course of a training as well
    return at + " (while " + std::string(name_of(phase_)) + ")";
}

Result<> Run::stored(const std::string& what, Result<> done) const {
    if (done) return done;
    Failure failure = std::move(done.error());
    // another process drives the run now, and there is nothing to mend here
    if (failure.code == Errc::superseded) return tl::unexpected(std::move(failure));
    if (failure.party.empty() && !what.empty())
        failure.sentence = options_.name + " cannot store " + what + ": " + failure.sentence;
    failure.party = options_.name;
    add_room_hint(failure);
    return tl::unexpected(std::move(failure));
}

// -- the end ------------------------------------------------------------------------

void Run::release_all() {
    report_.status = "completed";
    report_.reason.clear();
    enter(Phase::releasing);
    const auto send_release = [this] {
        const Bytes body = bus::encode(bus::Ending{Errc::ok, "completed"});
        for (std::size_t i = 0; i < parties_.size(); ++i)
            if (parties_[i].up) parties_.ask(i, message::release, body);
    };
    if (VFLBUS_PLANTED(released_before_stored)) send_release();
    // written before RELEASE: a member forgets its part of the run only when the owner has its own
    write_report();
    if (over()) return;
    if (commits_ != nullptr && !only_releases_)
        if (auto done = commits_->complete(); !done) return fail(std::move(done.error()));
    if (!VFLBUS_PLANTED(released_before_stored)) send_release();
    if (auto failure = parties_.take_failure()) return fail(std::move(*failure));
    if (!parties_.waiting()) close(Errc::ok, "completed");
}

void Run::close(Errc code, const std::string& sentence) {
    end_of_run();
    if (code != Errc::ok) write_report();
    phase_ = Phase::closing;
    parties_.detach();
    driver_->close(code, sentence);
}

void Run::end_of_run() {
    if (commits_ != nullptr) commits_->end_of_run(outcome_);
}

void Run::write_report() {
    if (only_releases_) return;
    if (driver_ != nullptr) {
        const TimePoint now = driver_->now();
        report_.total_seconds = in_seconds(now - opened_);
        count_phase(now);
        const BytesMoved moved = driver_->bytes_moved();
        report_.parties[0].bytes_sent = moved.sent;
        report_.parties[0].bytes_received = moved.received;
        // all traffic of a run has the master at one end
        report_.bytes_sent = report_.bytes_received = moved.sent + moved.received;
    }
    for (std::size_t rank = 0; rank < parties_.size(); ++rank) {
        report_.parties[rank + 1].bytes_sent = parties_[rank].bytes_from;
        report_.parties[rank + 1].bytes_received = parties_[rank].bytes_to;
    }
    report_.finished = options_.env->utc_now();
    for (const std::string& note : options_.notes)
        if (std::ranges::find(report_.notes, note) == report_.notes.end())
            report_.notes.push_back(note);
    if (purpose_ == Purpose::check || purpose_ == Purpose::features) return;
    if (commits_ != nullptr && commits_->may_not_write_files(outcome_.code)) return;
    const fs::path path = directory() / "report.json";
    auto done = options_.env->write_file(path, observe::to_json(report_));
    if (done) return;
    if (phase_ != Phase::releasing)
        return log(Level::warn, "cannot store the report: " + done.error().sentence);
    fail(stored("the report", std::move(done)).error());
}

/// What the report says of a training that begins again.
void Run::reset_results() {
    step_ = 0;
    step_held_ = false;
    first_step_at_ = {};
    report_.steps = 0;
    report_.history.clear();
    report_.folds.clear();
    report_.train.clear();
    report_.test.clear();
    report_.label_holder_alone_train.clear();
    report_.label_holder_alone_test.clear();
}

// -- small things -------------------------------------------------------------------

void Run::note_step(std::uint64_t step, std::uint64_t steps, bool held) noexcept {
    VFLBUS_ASSERT(step <= steps, "no more steps are done than there are");
    step_ = report_.steps = step;
    steps_ = report_.steps_planned = steps;
    step_held_ = held;
}

void Run::training_begins() {
    if (train_began_ == TimePoint{}) train_began_ = now();
    commits_->start_clock();
}

void Run::training_ends() {
    report_.train_seconds = in_seconds(now() - train_began_);
}

/// The first step of a process is not counted: with it comes what is done once.
void Run::estimate(const observe::ProgressState& state) {
    constexpr Duration watched = std::chrono::seconds(2);
    constexpr double long_seconds = 20;
    const TimePoint now = driver_->now();
    if (first_step_at_ == TimePoint{} || state.step < first_step_) {
        first_step_at_ = now;
        first_step_ = state.step;
    }
    const std::uint64_t done = state.step - first_step_;
    if (estimated_ || done == 0 || state.steps <= state.step || now - first_step_at_ < watched)
        return;
    estimated_ = true;
    const double each = in_seconds(now - first_step_at_) / static_cast<double>(done);
    const double left = each * static_cast<double>(state.steps - state.step);
    if (left < long_seconds) return;
    log(Level::info, "will take about " + human_seconds(left) + " for " +
                         std::to_string(state.steps - state.step) + " more steps, as the last " +
                         std::to_string(done) + " took " +
                         human_seconds(in_seconds(now - first_step_at_)) +
                         "; less where it converges or stops early");
}

void Run::report_step(const observe::ProgressState& state) {
    estimate(state);
    for (const auto& observer : options_.observers) observer->on_step(state, driver_->now());
}

void Run::report_job(const observe::JobState& state) {
    for (const auto& observer : options_.observers) observer->on_job(state, driver_->now());
}

void Run::report_metrics(const observe::ProgressState& state, const observe::HistoryEntry& entry) {
    for (const auto& observer : options_.observers)
        observer->on_metrics(state, entry, driver_->now());
}

void Run::log(Level level, const std::string& text) const {
    if (options_.log) options_.log(level, options_.run, text);
}

fs::path Run::directory() const {
    return options_.runs_dir / options_.run.hex();
}

fs::path Run::model_root() const {
    return options_.out_dir.empty() ? directory() : options_.out_dir;
}

}  // namespace vflbus::actors
