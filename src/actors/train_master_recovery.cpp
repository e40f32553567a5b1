#include <string>
#include <utility>

#include "actors/train_master.hpp"

namespace vflbus::actors {

using observe::log::Level;

// -- commits -------------------------------------------------------------------------

void TrainMaster::begin_commit() {
    if (auto ours = ledger_.still_ours(); !ours) return fail_run(ours.error());
    Commit commit{options_.run, step_, own_->alignment(), own_->state(), MasterCommit{}};
    commit.master->head = head_->state();
    commit.master->loss = work_.loss;
    // the evaluation at this step is done again when it is restored
    for (const observe::HistoryEntry& entry : report_.history)
        if (entry.step < step_) commit.master->history.push_back(entry);
    const auto digest = store_.write(commit);
    if (!digest)
        return fail_run(room_first(options_.name + " cannot store its commit: ", digest.error()));
    ledger_.begin(step_, *digest);
    for (std::size_t i = 0; i < members_.size(); ++i)
        send_aside(i, message::commit, encode_commit(step_));
}

Result<> TrainMaster::on_commit(std::size_t member, const StoredCommit& reply) {
    const auto by_all = ledger_.reported(members_[member].name, reply);
    if (!by_all) return tl::unexpected(by_all.error());
    if (*by_all) on_committed();
    return {};
}

void TrainMaster::on_committed() {
    if (auto done = advised(ledger_.record(driver_->now())); !done) return fail_run(done.error());
    // the last one was due while this one was under way
    if ((step_ == steps_ || halted_) && ledger_.last() != step_) return begin_commit();
    if (halted_) return stop_here();
    if (step_held_) return next_step();
    if (finish_held_) finish();
}

Result<> TrainMaster::advised(Result<> stored) const {
    if (!stored && stored.error().code != Errc::superseded)
        stored.error() = room_first({}, stored.error());
    return stored;
}

// -- stopping ------------------------------------------------------------------------

void TrainMaster::on_stop(Driver& driver) {
    driver_ = &driver;
    if (over() || phase() == Phase::releasing || stopping_) return;
    stopping_ = true;
    switch (phase()) {
        case Phase::training:
        case Phase::evaluating:
            // the step needs all, and nobody who is gone answers
            if (const Member* gone = first_down()) {
                stopped_without(gone->name);
                return;
            }
            log(Level::info, "stops after this step");
            return;
        case Phase::comparing:
            enter(Phase::finishing);
            [[fallthrough]];
        case Phase::finishing:
            return stop_here();
        default:
            fail_run(stopped("stopped" + where()));
    }
}

/// Told by the broker that another process has its name, this one may look before that one has
/// stored its term.
bool TrainMaster::files_are_others() {
    const bool name_lost = outcome_.code == Errc::superseded || outcome_.code == Errc::name_taken ||
                           outcome_.code == Errc::stale_incarnation;
    return !begun_ || name_lost || ledger_.superseded();
}

Failure TrainMaster::stopped(std::string sentence) const {
    Failure failure{Errc::cancelled, std::move(sentence)};
    failure.resumable = begun_ || options_.resume;
    return failure;
}

void TrainMaster::stop_here() {
    halted_ = true;
    if (ledger_.last() != step_)
        if (const Member* gone = first_down()) {
            stopped_without(gone->name);
            return;
        }
    if (ledger_.under_way()) return;
    if (ledger_.last() != step_) return begin_commit();
    fail_run(stopped("stopped at step " + std::to_string(step_) + " of " + std::to_string(steps_)));
}

bool TrainMaster::stopped_without(const std::string& party) {
    if (!stopping_) return false;
    fail_run(stopped("stopped" + where() + ", without " + party + ", which is gone" +
                     last_commit_sentence()));
    return true;
}

std::string TrainMaster::last_commit_sentence() const {
    return ledger_.empty()
               ? std::string("; nothing is committed yet")
               : "; the last commit is that of step " + std::to_string(ledger_.last_recorded());
}

void TrainMaster::add_resume_hint(Failure& failure) const {
    // another process goes on with it, and must not be taken its run away
    if (failure.code == Errc::superseded || failure.code == Errc::name_taken ||
        failure.code == Errc::stale_term)
        return;
    failure.sentence += last_commit_sentence();
    failure.resumable = begun_ || options_.resume;
}

// -- recovery ------------------------------------------------------------------------

std::uint64_t TrainMaster::count_restart(const std::string& party) {
    return ledger_.count_restart(party);
}

Result<> TrainMaster::on_new_term(std::uint32_t term) {
    if (auto done = advised(ledger_.begin_term(term)); !done) return done;
    auto protocol =
        make_master_protocol(config::name_of(options_.config.run.protocol), members_.size());
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    protocol_ = std::move(*protocol);
    sequential_.reset();
    alone_.reset();
    head_.reset();
    in_round_ = holding_ = step_held_ = finish_held_ = halted_ = false;
    step_ = alone_step_ = 0;
    work_ = {};
    parts_.clear();
    sides_.clear();
    evaluation_ = {};
    refusal_ = {Errc::ok, {}};
    report_.steps = 0;
    report_.history.clear();
    report_.train.clear();
    report_.test.clear();
    report_.label_holder_alone_train.clear();
    report_.label_holder_alone_test.clear();
    return {};
}

void TrainMaster::ask_commits() {
    if (ledger_.empty()) return start_training();
    enter(Phase::restoring);
    choosing_ = true;
    send_all(message::commits, encode_empty());
}

void TrainMaster::choose_commit() {
    choosing_ = false;
    auto own = store_.intact(options_.run);
    if (!own) return fail_run(own.error());
    ledger_.held_by(options_.name, std::move(*own));
    const CommitChoice choice = ledger_.choose();
    for (const std::string& sentence : choice.lost) log(Level::warn, sentence);
    if (choice.commit) return restore(*choice.commit);
    begin_without(choice);
}

void TrainMaster::begin_without(const CommitChoice& choice) {
    if (options_.config.bus.on_state_lost == config::StateLost::fail)
        return fail_run(Errc::state_lost,
                        choice.lost.front() +
                            ", and no earlier one is left: put the state directory back, or "
                            "set bus.on_state_lost to \"restart\" to train from the first "
                            "step");
    log(Level::warn, "no commit is left: trains from the first step");
    if (auto done = advised(ledger_.forget_commits()); !done) return fail_run(done.error());
    start_training();
}

void TrainMaster::restore(const RecordedCommit& recorded) {
    auto commit = store_.read({recorded.step, recorded.digests.at(options_.name)});
    if (!commit) return fail_run(commit.error());
    if (!commit->master || commit->step > steps_)
        return fail_run(Errc::state_lost, options_.name + " has a commit of another party");
    if (auto same = same_alignment(options_.name, *commit, *own_); !same) {
        if (same.error().code == Errc::bad_data) return fail_run(same.error());
        // the rows differ because of another party's table: its refusal will name it
        refusal_ = same.error();
        return ask_restore(recorded);
    }
    if (auto done = restore_own(std::move(*commit)); !done) return fail_run(done.error());
    ask_restore(recorded);
}

Result<> TrainMaster::restore_own(Commit commit) {
    if (auto done = own_->restore(std::move(commit.party)); !done) return done;
    if (auto done = store_.forget_after(commit.step); !done) return done;
    if (auto done = head_->set_state(std::move(commit.master->head)); !done) return done;
    step_ = report_.steps = commit.step;
    ledger_.restored(commit.step);
    work_.loss = commit.master->loss;
    report_.history = std::move(commit.master->history);
    for (const observe::HistoryEntry& entry : report_.history)
        (entry.split == "train" ? report_.train : report_.test) = entry.metrics;
    return next_own_scores(step_);
}

void TrainMaster::ask_restore(const RecordedCommit& recorded) {
    log(Level::info,
        "goes on from step " + std::to_string(recorded.step) + " of " + std::to_string(steps_));
    for (std::size_t i = 0; i < members_.size(); ++i)
        send(i, message::restore,
             encode(StoredCommit{recorded.step, recorded.digests.at(members_[i].name)}));
}

bool TrainMaster::on_refused(const Pending& request, const Failure& error) {
    if (request.type != message::restore) return false;
    if (refusal_.code == Errc::ok || error.code == Errc::bad_data) refusal_ = error;
    return true;
}

Result<> TrainMaster::on_restored(std::size_t member, const RestoreReply& reply) {
    if (refusal_.code != Errc::ok) return {};
    if (reply.step != step_)
        return fail(Errc::malformed_message, "is at step " + std::to_string(reply.step) +
                                                 " where " + std::to_string(step_) +
                                                 " was to be restored");
    return take_scores(step_, member, reply.scores);
}

void TrainMaster::on_all_restored() {
    if (choosing_) return choose_commit();
    if (refusal_.code != Errc::ok) return fail_run(refusal_);
    start_training();
}

}  // namespace vflbus::actors
