#include "actors/train_master.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/text.hpp"

namespace vflbus::actors {

using observe::log::Level;

// -- events --------------------------------------------------------------------------

Result<> TrainMaster::on_answer(std::size_t member, const Pending& request, Bytes&& body) {
    switch (request.type) {
        case message::align:
            return take_ids(member, request, body);
        case message::select:
            return take_selected(member, request, body);
        case message::round:
            return decode_round_reply(body).and_then([&](const RoundReply& reply) {
                return protocol_->on_round(moment_, step_, round_, member, reply.payload);
            });
        case message::begin:
            return decode_begin_reply(body).and_then(
                [&](const BeginReply& reply) { return on_begun(member, reply); });
        case message::commit:
            return decode_commit_reply(body).and_then(
                [&](const StoredCommit& reply) { return on_commit(member, reply); });
        case message::commits:
            return decode_commits_reply(body).map([&](std::vector<StoredCommit> reply) {
                ledger_.held_by(members_[member].name, std::move(reply));
            });
        case message::restore:
            return decode_restore_reply(body).and_then(
                [&](const RestoreReply& reply) { return on_restored(member, reply); });
        case message::step:
            return decode_step_reply(body).and_then([&](const StepReply& reply) {
                return take_scores(step_ + 1, member, reply.scores);
            });
        case message::solve:
            return decode_solve_reply(body).and_then(
                [&](const SolveReply& reply) { return on_solved(member, reply); });
        case message::evaluate:
            return decode_evaluate_reply(body).and_then([&](const EvaluateReply& reply) {
                return protocol_->add(evaluation_.request().first, member, reply.scores);
            });
        case message::finish:
            return decode_finish_reply(body).map([&](const FinishReply& reply) {
                log(Level::info, members_[member].name + " has written its model part (" +
                                     human_bytes(reply.bytes) + ")");
            });
        default:
            return {};
    }
}

void TrainMaster::on_all_answered() {
    switch (phase()) {
        case Phase::aligning:
            return on_aligned();
        case Phase::selecting:
            return on_selected();
        case Phase::beginning:
            return in_round_ ? run_rounds(Moment::setup, round_ + 1) : ask_commits();
        case Phase::restoring:
            return on_all_restored();
        case Phase::training:
            if (sequential()) return next_turn();
            return run_rounds(Moment::step, in_round_ ? round_ + 1 : 0);
        case Phase::evaluating:
            return on_part();
        case Phase::finishing:
            return on_finished();
        default:
            return;
    }
}

std::string TrainMaster::where() const {
    const auto at = [this](std::uint64_t step) {
        return ", at step " + std::to_string(step) + " of " + std::to_string(steps_);
    };
    if (phase() == Phase::training) return at(step_held_ ? step_ : step_ + 1);
    // in the course of a training as well
    if (phase() == Phase::evaluating) return at(step_) + RunMaster::where();
    return RunMaster::where();
}

void TrainMaster::add_advice(Failure& failure) const {
    if (failure.code == Errc::io && phase() >= Phase::restoring) failure = room_first({}, failure);
    // the models room says itself which key to change
    if (failure.code != Errc::diverged || failure.sentence.find("model.") != std::string::npos)
        return;
    failure.hint = sequential()
                       ? "raise model.reg_lambda (now " + shortest(model().reg_lambda)
                       : "lower model.learning_rate (now " + shortest(model().learning_rate);
    failure.hint += ")";
}

// -- extra rounds of the protocol ----------------------------------------------------

void TrainMaster::run_rounds(Moment moment, std::uint64_t round) {
    moment_ = moment;
    round_ = round;
    auto bodies = protocol_->rounds(moment, step_, round);
    if (!bodies) return fail_run(bodies.error());
    in_round_ = !bodies->empty();
    if (!in_round_) return moment == Moment::setup ? begin() : on_step_done();
    if (bodies->size() != members_.size())
        return fail_run(Errc::internal, "a round of the protocol leaves members out");
    for (std::size_t i = 0; i < members_.size(); ++i)
        send(i, message::round, encode(RoundRequest{moment, step_, round, (*bodies)[i]}));
}

// -- training ------------------------------------------------------------------------

void TrainMaster::start_training() {
    enter(Phase::training);
    for (std::size_t p = 0; p < report_.parties.size(); ++p)
        if (report_.parties[p].features == 0)
            log(p == 0 ? Level::info : Level::warn,
                report_.parties[p].name + " has no features in the model");
    if (train_began_ == TimePoint{}) train_began_ = driver_->now();
    ledger_.start_clock(driver_->now());
    if (sequential()) sequential_.emplace(*head_, sequence().size());
    if (step_ == 0) return next_step();
    if (step_ == steps_) train_ended_ = driver_->now();
    settle();
}

void TrainMaster::next_step() {
    if (stopping_) return stop_here();
    if (step_ == steps_) {  // no steps at all
        train_ended_ = driver_->now();
        return on_evaluated();
    }
    step_held_ = ledger_.holds_back(step_, options_.config.bus.commit_steps);
    if (step_held_) return;
    if (sequential()) return begin_sequential();
    const auto sum = batch_sum();
    if (!sum) return fail_run(sum.error());
    const auto rows = own_->schedule().rows(step_);
    if (auto done = head_->forward_backward(*sum, rows, work_); !done)
        return diverged(done.error());
    const auto outgoing = protocol_->outgoing(step_, work_.residual);
    if (!outgoing) return fail_run(outgoing.error());
    send_all(message::step, encode_step(step_, *outgoing));
    if (over()) return;
    // while the members are at it
    if (auto done = own_->update(work_.residual); !done) return diverged(done.error());
    if (auto done = next_own_scores(step_ + 1); !done) return fail_run(done.error());
}

Result<models::ConstMatrixView> TrainMaster::batch_sum() {
    if (std::exchange(holding_, false)) return models::ConstMatrixView(held_);
    return protocol_->sum(step_);
}

void TrainMaster::on_step_done() {
    ++step_;
    report_.steps = step_;
    if (step_ == steps_) train_ended_ = driver_->now();
    settle();
}

void TrainMaster::settle() {
    const bool last = step_ == steps_;
    if (ledger_.due(step_, last, driver_->now(), options_.config.bus)) begin_commit();
    if (over()) return;
    sides_ = due_sides();
    tell(work_.loss, {}, std::numeric_limits<double>::quiet_NaN());
    if (sides_.empty()) return next_step();
    // the sum of the next batch waits while the protocol is used for the evaluation
    if (!last && !sequential()) {
        const auto sum = protocol_->sum(step_);
        if (!sum) return fail_run(sum.error());
        held_ = models::Matrix(*sum);
        holding_ = true;
    }
    next_side();
}

Result<> TrainMaster::next_own_scores(std::uint64_t step) {
    if (auto done = own_->batch_scores(step, own_scores_); !done) return done;
    if (!sequential()) return protocol_->start(step, own_scores_);
    parts_.resize(members_.size() + 1);
    parts_[0] = own_scores_;
    return {};
}

Result<> TrainMaster::take_scores(std::uint64_t step, std::size_t member,
                                  const TensorView& scores) {
    if (!sequential()) return protocol_->add(step, member, scores);
    if (auto done = check_shape(scores, own_->schedule().batch_rows(step)); !done) return done;
    copy_tensor(scores, parts_[member + 1]);
    return {};
}

Result<> TrainMaster::check_shape(const TensorView& scores, std::size_t rows) const {
    if (scores.rows == rows && scores.cols == head_->outputs()) return {};
    return fail(Errc::malformed_message, "scores of " + std::to_string(scores.rows) + " x " +
                                             std::to_string(scores.cols) + " where " +
                                             std::to_string(rows) + " x " +
                                             std::to_string(head_->outputs()) + " belong");
}

void TrainMaster::tell(double loss, std::string metric_name, double metric) {
    if (!options_.progress) return;
    observe::ProgressState state;
    state.epochs = own_->schedule().epochs();
    state.epoch = std::min(own_->schedule().epoch_of(step_) + 1, state.epochs);
    state.step = step_;
    state.steps = steps_;
    state.loss = loss;
    state.report = !metric_name.empty();
    state.metric_name = std::move(metric_name);
    state.metric = metric;
    options_.progress(state, driver_->now());
}

void TrainMaster::diverged(const Failure& failure) {
    if (failure.code != Errc::diverged) return fail_run(failure);
    std::string why = failure.sentence;
    if (why.ends_with('.')) why.pop_back();
    Failure told{Errc::diverged, "the training diverged at step " + std::to_string(step_ + 1) +
                                     " of " + std::to_string(steps_) + ": " + why};
    add_advice(told);
    fail_run(std::move(told));
}

// -- sequential ----------------------------------------------------------------------

std::vector<std::size_t> TrainMaster::sequence() const {
    std::vector<std::size_t> turns;
    if (own_->features() != 0) turns.push_back(0);
    for (std::size_t i = 0; i < members_.size(); ++i) turns.push_back(i + 1);
    return turns;
}

void TrainMaster::begin_sequential() {
    const auto turns = sequence();
    std::vector<models::Matrix> scores;
    for (const std::size_t part : turns) scores.push_back(parts_[part]);
    if (auto done = sequential_->begin(scores, own_->schedule().rows(step_)); !done)
        return diverged(done.error());
    turn_ = 0;
    next_turn();
}

void TrainMaster::next_turn() {
    const auto turns = sequence();
    if (turn_ == turns.size()) return end_sequential();
    const auto target = sequential_->target(turn_);
    if (!target) return diverged(target.error());
    if (turns[turn_] != 0)
        return send(turns[turn_] - 1, message::solve, encode_step(step_, *target));
    if (auto done = own_->solve(*target, own_scores_); !done) return diverged(done.error());
    if (auto done = sequential_->accept(turn_, own_scores_); !done) return diverged(done.error());
    ++turn_;
    next_turn();
}

Result<> TrainMaster::on_solved(std::size_t member, const SolveReply& reply) {
    if (auto done = check_shape(reply.scores, own_->schedule().batch_rows(step_)); !done)
        return done;
    copy_tensor(reply.scores, solved_);
    if (auto done = take_scores(step_ + 1, member, reply.next); !done) return done;
    if (auto done = sequential_->accept(turn_, solved_); !done) return done;
    ++turn_;
    return {};
}

void TrainMaster::end_sequential() {
    const auto loss = sequential_->finish();
    if (!loss) return diverged(loss.error());
    work_.loss = *loss;
    // keeps what the members sent for the next batch
    if (auto done = next_own_scores(step_ + 1); !done) return fail_run(done.error());
    on_step_done();
}

// -- finishing -----------------------------------------------------------------------

void TrainMaster::finish() {
    enter(Phase::finishing);
    finish_held_ = ledger_.last() != steps_;
    if (finish_held_) return;
    send_all(message::finish, encode_empty());
}

void TrainMaster::on_finished() {
    ModelPart part = own_->part();
    part.run = options_.run;
    part.role = "master";
    part.agreed = spec().config_hash;
    part.intercept.assign(head_->intercept().begin(), head_->intercept().end());
    part.labels = coding_;
    const auto path = model_root() / options_.name / "model.json";
    if (auto done = options_.env->write_file(path, to_json(part)); !done)
        return fail_run(room_first(options_.name + " cannot store its model part: ", done.error()));
    report_.model_dir = model_root().string();
    release_all();
}

/// Before RELEASE: a master that dies from here on has nothing left to do but that.
Result<> TrainMaster::on_complete() {
    if (only_releases()) return {};
    return advised(ledger_.finish());
}

void TrainMaster::on_ending() {
    if (outcome_.code == Errc::ok) {
        if (auto done = store_.remove(); !done)
            log(Level::warn, "cannot remove the commits: " + done.error().sentence);
        return;
    }
    if (files_are_others()) return;
    // who resumes the run has seen to what made it fail; the full disk may be a member's, and of
    // its own there is a sentence already
    if (auto done = advised(ledger_.forget_restarts()); !done && outcome_.code != Errc::io)
        log(Level::warn, explained(done.error(), "--resume " + options_.run.hex()));
}

}  // namespace vflbus::actors
