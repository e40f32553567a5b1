#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "actors/commit_file.hpp"
#include "actors/evaluation.hpp"
#include "actors/master.hpp"
#include "actors/master_labels.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"
#include "config/agreed.hpp"
#include "models/local_trainer.hpp"
#include "models/metrics.hpp"
#include "models/sequential.hpp"

namespace vflbus::actors {
namespace {

using observe::log::Level;

/// Rows that the comparison takes in between two looks at the bus.
constexpr std::size_t slice_rows = 16384;

class TrainMaster final : public RunMaster {
  public:
    TrainMaster(MasterOptions options, std::unique_ptr<MasterProtocol> protocol, RunRecord record)
        : RunMaster(std::move(options), Purpose::train),
          protocol_(std::move(protocol)),
          record_(std::move(record)),
          store_(*options_.env, run_dir() / options_.name / "state") {}

    /// The run is complete: `report` is what was stored at its end.
    void only_release(observe::RunReport report) {
        RunMaster::only_release();
        report_ = std::move(report);
    }

    /// The step under way ends, all commit, then the run is closed.
    void on_stop(Driver& driver) override {
        driver_ = &driver;
        if (over() || phase() == Phase::releasing || stopping_) return;
        stopping_ = true;
        switch (phase()) {
            case Phase::training:
            case Phase::evaluating:
                log(Level::info, "stops after this step");
                return;
            case Phase::comparing:
                enter(Phase::finishing);
                [[fallthrough]];
            case Phase::finishing:
                return stop_here();
            default:
                fail_run(Errc::cancelled, "stopped" + where() + continued());
        }
    }

  private:
    const config::ModelConfig& model() const { return options_.config.model; }
    bool sequential() const { return model().sequential; }

    // -- aligning -------------------------------------------------------------------
    void on_gathered() override {
        if (only_releases()) return release_all();
        log(Level::warn, protocol_->notice());
        const auto path = run_dir() / "agreed.txt";
        if (auto done = options_.env->write_file(path, config::canonical_agreed(options_.config));
            !done)
            return fail_run(done.error().code, options_.name +
                                                   " cannot store the agreed "
                                                   "configuration: " +
                                                   done.error().sentence);
        enter(Phase::aligning);
        ask_ids(TableKind::train);
        ask_ids(TableKind::test);
        for (const TableKind kind : {TableKind::train, TableKind::test})
            if (const auto aligned = own_->align(kind); !aligned) return fail_run(aligned.error());
    }

    void on_aligned() {
        const auto test = present(TableKind::test);
        if (!test) return fail_run(test.error());
        if (const auto train = present(TableKind::train); !train) return fail_run(train.error());
        if (*test && options_.config.data.test_fraction > 0)
            return fail_run(Errc::bad_config,
                            "all parties have a test table and data.test_fraction is " +
                                shortest(options_.config.data.test_fraction) +
                                ": use one of the two");
        enter(Phase::selecting);
        if (auto done = select_common(TableKind::train); !done) return fail_run(done.error());
        if (*test)
            if (auto done = select_common(TableKind::test); !done) return fail_run(done.error());
    }

    // -- beginning ------------------------------------------------------------------
    void on_selected() {
        if (auto done = prepare_own(); !done) return fail_run(done.error());
        enter(Phase::beginning);
        run_rounds(Moment::setup, 0);
    }

    Result<> prepare_own() {
        if (auto done = own_->split(); !done) return done;
        const bool separate = own_->selected(TableKind::test);
        const data::Table& train = *own_->table(TableKind::train);
        const data::Table& test = separate ? *own_->table(TableKind::test) : train;
        const auto train_rows = own_->rows(TableKind::train);
        const auto test_rows = own_->rows(TableKind::test);

        std::vector<std::uint32_t> fitted(train_rows.begin(), train_rows.end());
        if (!separate) fitted.insert(fitted.end(), test_rows.begin(), test_rows.end());
        auto coding = data::fit_labels(train, data_task(model().task), fitted);
        if (!coding) return tl::unexpected(std::move(coding.error()));
        coding_ = std::move(*coding);

        auto labels = labels_of(train, coding_, train_rows);
        if (!labels) return tl::unexpected(std::move(labels.error()));
        auto test_labels = labels_of(test, coding_, test_rows);
        if (!test_labels) return tl::unexpected(std::move(test_labels.error()));
        test_labels_ = std::move(*test_labels);
        auto head = models::Head::create(*labels, head_config(model()));
        if (!head) return tl::unexpected(std::move(head.error()));
        head_.emplace(std::move(*head));

        if (auto done = own_->build(head_->outputs()); !done) return done;
        own_->drop_tables();
        if (model().label_holder_alone) {
            models::LocalConfig local;
            local.head = head_config(model());
            local.optimizer = optimizer_of(model());
            local.sequential = sequential();
            local.reg_lambda = model().reg_lambda;
            auto alone = models::LocalTrainer::create(own_->design(TableKind::train),
                                                      std::move(*labels), local);
            if (!alone) return tl::unexpected(std::move(alone.error()));
            alone_.emplace(std::move(*alone));
        }
        report_.rows_train = train_rows.size();
        report_.rows_test = test_rows.size();
        report_.epochs = model().epochs;
        auto& party = report_.parties[0];
        party.features = own_->features();
        party.missing_cells = own_->prepared().filled_cells;
        party.left_out.clear();
        for (const auto& column : own_->prepared().removed)
            party.left_out.push_back({column.name, column.reason});
        steps_ = own_->schedule().steps();
        return {};
    }

    void begin() {
        if (auto done = next_own_scores(0); !done) return fail_run(done.error());
        send_all(message::begin, encode(BeginRequest{head_->outputs()}));
    }

    /// Own scores of batch `step`, which start its sum (sequential: kept by themselves).
    Result<> next_own_scores(std::uint64_t step) {
        if (auto done = own_->batch_scores(step, own_scores_); !done) return done;
        if (!sequential()) return protocol_->start(step, own_scores_);
        parts_.resize(members_.size() + 1);
        parts_[0] = own_scores_;
        return {};
    }

    Result<> on_begun(std::size_t member, const BeginReply& reply) {
        if (reply.train_rows != report_.rows_train || reply.test_rows != report_.rows_test)
            return fail(Errc::malformed_message, "splits into " + std::to_string(reply.train_rows) +
                                                     " and " + std::to_string(reply.test_rows) +
                                                     " rows, the master into " +
                                                     std::to_string(report_.rows_train) + " and " +
                                                     std::to_string(report_.rows_test));
        auto& party = report_.parties[member + 1];
        party.features = reply.features;
        party.missing_cells = reply.filled_cells;
        party.left_out.clear();
        for (const auto& [column, reason] : reply.left_out)
            party.left_out.push_back({column, reason});
        return take_scores(0, member, reply.scores);
    }

    Result<> take_scores(std::uint64_t step, std::size_t member, const TensorView& scores) {
        if (!sequential()) return protocol_->add(step, member, scores);
        if (auto done = check_shape(scores, own_->schedule().batch_rows(step)); !done) return done;
        copy_tensor(scores, parts_[member + 1]);
        return {};
    }

    Result<> check_shape(const TensorView& scores, std::size_t rows) const {
        if (scores.rows == rows && scores.cols == head_->outputs()) return {};
        return fail(Errc::malformed_message, "scores of " + std::to_string(scores.rows) + " x " +
                                                 std::to_string(scores.cols) + " where " +
                                                 std::to_string(rows) + " x " +
                                                 std::to_string(head_->outputs()) + " belong");
    }

    // -- extra rounds of the protocol -------------------------------------------------
    void run_rounds(Moment moment, std::uint64_t round) {
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

    // -- training -------------------------------------------------------------------
    void start_training() {
        enter(Phase::training);
        for (std::size_t p = 0; p < report_.parties.size(); ++p)
            if (report_.parties[p].features == 0)
                log(p == 0 ? Level::info : Level::warn,
                    report_.parties[p].name + " has no features in the model");
        if (train_began_ == TimePoint{}) train_began_ = driver_->now();
        committed_at_ = driver_->now();
        if (sequential()) sequential_.emplace(*head_, sequence().size());
        if (step_ == 0) return next_step();
        if (step_ == steps_) train_ended_ = driver_->now();
        settle();
    }

    void next_step() {
        if (stopping_) return stop_here();
        if (step_ == steps_) return on_trained();
        // or more than commit_steps steps would have to be done again
        const std::uint64_t most = options_.config.bus.commit_steps;
        step_held_ = committing_ && most != 0 && step_ - committed_ >= most;
        if (step_held_) return;
        if (sequential()) return begin_sequential();
        auto sum = holding_ ? models::ConstMatrixView(held_) : models::ConstMatrixView{};
        if (!holding_) {
            const auto summed = protocol_->sum(step_);
            if (!summed) return fail_run(summed.error());
            sum = *summed;
        }
        holding_ = false;
        const auto rows = own_->schedule().rows(step_);
        if (auto done = head_->forward_backward(sum, rows, work_); !done)
            return diverged(done.error());
        const auto outgoing = protocol_->outgoing(step_, work_.residual);
        if (!outgoing) return fail_run(outgoing.error());
        send_all(message::step, encode_step(step_, *outgoing));
        if (over()) return;
        // while the members are at it
        if (auto done = own_->update(work_.residual); !done) return diverged(done.error());
        if (auto done = next_own_scores(step_ + 1); !done) return fail_run(done.error());
    }

    void on_step_done() {
        ++step_;
        report_.steps = step_;
        if (step_ == steps_) train_ended_ = driver_->now();
        settle();
    }

    /// After a step, or when its commit was restored: what is due before the next one.
    void settle() {
        if (commit_due()) begin_commit();
        if (over()) return;
        const bool last = step_ == steps_;
        const auto due = [&](std::uint64_t every) { return every != 0 && step_ % every == 0; };
        if (last || due(model().report_train_metrics_iteration)) sides_.push_back(TableKind::train);
        if (report_.rows_test != 0 && (last || due(model().report_test_metrics_iteration)))
            sides_.push_back(TableKind::test);
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

    void tell(double loss, std::string name, double metric) {
        if (!options_.progress) return;
        observe::ProgressState state;
        state.epochs = own_->schedule().epochs();
        state.epoch = std::min(own_->schedule().epoch_of(step_) + 1, state.epochs);
        state.step = step_;
        state.steps = steps_;
        state.loss = loss;
        state.report = !name.empty();
        state.metric_name = std::move(name);
        state.metric = metric;
        options_.progress(state, driver_->now());
    }

    void diverged(const Failure& failure) {
        if (failure.code != Errc::diverged) return fail_run(failure);
        std::string why = failure.sentence;
        if (why.ends_with('.')) why.pop_back();
        fail_run(Errc::diverged, "the training diverged at step " + std::to_string(step_ + 1) +
                                     " of " + std::to_string(steps_) + ": " + why +
                                     advice(failure));
    }

    // -- sequential -----------------------------------------------------------------
    /// Who takes a turn, as indices into parts_: the master if it has features, then all members.
    std::vector<std::size_t> sequence() const {
        std::vector<std::size_t> turns;
        if (own_->features() != 0) turns.push_back(0);
        for (std::size_t i = 0; i < members_.size(); ++i) turns.push_back(i + 1);
        return turns;
    }

    void begin_sequential() {
        const auto turns = sequence();
        std::vector<models::Matrix> scores;
        for (const std::size_t part : turns) scores.push_back(parts_[part]);
        if (auto done = sequential_->begin(scores, own_->schedule().rows(step_)); !done)
            return diverged(done.error());
        turn_ = 0;
        next_turn();
    }

    void next_turn() {
        const auto turns = sequence();
        if (turn_ == turns.size()) return end_sequential();
        const auto target = sequential_->target(turn_);
        if (!target) return diverged(target.error());
        if (turns[turn_] != 0)
            return send(turns[turn_] - 1, message::solve, encode_step(step_, *target));
        if (auto done = own_->solve(*target, own_scores_); !done) return diverged(done.error());
        if (auto done = sequential_->accept(turn_, own_scores_); !done)
            return diverged(done.error());
        ++turn_;
        next_turn();
    }

    Result<> on_solved(std::size_t member, const SolveReply& reply) {
        if (auto done = check_shape(reply.scores, own_->schedule().batch_rows(step_)); !done)
            return done;
        copy_tensor(reply.scores, solved_);
        if (auto done = take_scores(step_ + 1, member, reply.next); !done) return done;
        if (auto done = sequential_->accept(turn_, solved_); !done) return done;
        ++turn_;
        return {};
    }

    void end_sequential() {
        const auto loss = sequential_->finish();
        if (!loss) return diverged(loss.error());
        work_.loss = *loss;
        // keeps what the members sent for the next batch
        if (auto done = next_own_scores(step_ + 1); !done) return fail_run(done.error());
        on_step_done();
    }

    // -- evaluating -----------------------------------------------------------------
    void next_side() {
        if (sides_.empty()) {
            if (step_ == steps_) return on_evaluated();
            enter(Phase::training);
            return next_step();
        }
        enter(Phase::evaluating);
        evaluation_.begin(sides_.front(), *own_);
        next_part();
    }

    void next_part() {
        send_all(message::evaluate, encode(evaluation_.request()));
        if (over()) return;
        if (auto done = evaluation_.start(*own_, *protocol_); !done) fail_run(done.error());
    }

    void on_part() {
        const auto more = evaluation_.take(*protocol_);
        if (!more) return fail_run(more.error());
        if (*more) return next_part();
        const bool train = evaluation_.kind() == TableKind::train;
        sides_.pop_front();
        if (!models::all_finite(evaluation_.scores().span()))
            return diverged({Errc::diverged, "scores are no longer finite"});
        const auto& labels = train ? head_->labels() : test_labels_;
        const auto metrics = models::metrics_for(labels, head_->predict(evaluation_.scores()));
        (train ? report_.train : report_.test) = metrics.entries();
        observe::HistoryEntry entry;
        entry.step = step_;
        entry.epoch = own_->schedule().epoch_of(step_ - 1) + 1;
        entry.split = train ? "train" : "test";
        entry.loss = metrics.get("loss");
        entry.metrics = metrics.entries();
        report_.history.push_back(std::move(entry));
        tell(work_.loss, (train ? "train " : "test ") + metrics.headline(),
             metrics.headline_value());
        next_side();
    }

    void on_trained() {  // no steps at all
        train_ended_ = driver_->now();
        on_evaluated();
    }

    // -- commits --------------------------------------------------------------------
    bool commit_due() const {
        if (committing_ || committed_ == step_) return false;
        const auto& bus = options_.config.bus;
        if (step_ == steps_ || (bus.commit_steps != 0 && step_ - committed_ >= bus.commit_steps))
            return true;
        const Duration since = driver_->now() - committed_at_;
        return bus.commit_interval > 0 &&
               std::chrono::duration<double>(since).count() >= bus.commit_interval;
    }

    /// All parties store their state after `step_` steps; the training goes on meanwhile.
    void begin_commit() {
        if (auto ours = still_ours(); !ours) return fail_run(ours.error());
        Commit commit{options_.run, step_, own_->alignment(), own_->state(), MasterCommit{}};
        commit.master->head = head_->state();
        commit.master->loss = work_.loss;
        // the evaluation at this step is done again when it is restored
        for (const observe::HistoryEntry& entry : report_.history)
            if (entry.step < step_) commit.master->history.push_back(entry);
        const auto digest = store_.write(commit);
        if (!digest)
            return fail_run(digest.error().code, options_.name + " cannot store its commit: " +
                                                     digest.error().sentence + room_first());
        committing_.emplace();
        committing_->step = step_;
        committing_->digests[options_.name] = *digest;
        for (std::size_t i = 0; i < members_.size(); ++i)
            send_aside(i, message::commit, encode_commit(step_));
    }

    Result<> on_commit(std::size_t member, const StoredCommit& reply) {
        if (!committing_ || reply.step != committing_->step)
            return fail(Errc::malformed_message,
                        "answers for commit " + std::to_string(reply.step));
        committing_->digests[members_[member].name] = reply.digest;
        if (committing_->digests.size() == members_.size() + 1 || VFLBUS_PLANTED(commit_before_all))
            record_commit();
        return {};
    }

    /// All parties have it: from here on the run goes back no further.
    void record_commit() {
        committed_ = committing_->step;
        committed_at_ = driver_->now();
        std::erase_if(record_.commits, [&](const RecordedCommit& commit) {
            return commit.step >= committing_->step;
        });
        record_.commits.push_back(std::move(*committing_));
        committing_.reset();
        while (record_.commits.size() > 2) record_.commits.erase(record_.commits.begin());
        record_.restarts.clear();
        if (auto done = store_record(); !done) return fail_run(done.error());
        // the last one was due while this one was under way
        if ((step_ == steps_ || halted_) && committed_ != step_) return begin_commit();
        if (halted_) return stop_here();
        if (step_held_) return next_step();
        if (finish_held_) finish();
    }

    /// A second process has resumed the run from the same files, as the term in them says. What
    /// this one would write now belongs to a course that was given up, like a commit that pushes
    /// out one that counts.
    bool superseded() override {
        const auto stored = read_run_record(*options_.env, options_.runs_dir, options_.run);
        return stored && stored->term > record_.term;
    }
    Result<> still_ours() {
        if (!superseded()) return {};
        return fail(Errc::superseded, "another process of " + options_.name +
                                          " has taken over run " + options_.run.short_hex());
    }

    Result<> store_record() {
        if (auto ours = still_ours(); !ours) return ours;
        const auto path = run_record_path(options_.runs_dir, options_.run);
        if (auto done = options_.env->write_file(path, to_json(record_)); !done)
            return fail(done.error().code, options_.name + " cannot store the record of the run: " +
                                               done.error().sentence + room_first());
        return {};
    }

    /// What to do about a file that could not be written.
    std::string room_first() const { return then_again("make room there"); }

    // -- stopping -------------------------------------------------------------------
    std::string continued() const { return "; `--resume " + options_.run.hex() + "` continues it"; }

    /// Between two steps: commits unless that is done, then closes the run.
    void stop_here() {
        halted_ = true;
        if (committing_) return;
        if (committed_ != step_) return begin_commit();
        fail_run(Errc::cancelled, "stopped at step " + std::to_string(step_) + " of " +
                                      std::to_string(steps_) + continued());
    }

    bool stopped_without(const std::string& party) override {
        if (!stopping_) return false;
        fail_run(Errc::cancelled, "stopped" + where() + ", without " + party +
                                      ", which is gone; the last commit is that of step " +
                                      std::to_string(committed_) + continued());
        return true;
    }

    bool halted() const override { return halted_; }

    // -- recovery -------------------------------------------------------------------
    bool recoverable() const override { return true; }

    std::uint64_t count_restart(const std::string& party) override {
        return ++record_.restarts[party];
    }

    Result<> on_new_term(std::uint32_t term) override {
        if (auto ours = still_ours(); !ours) return ours;
        record_.term = term;
        if (!VFLBUS_PLANTED(term_not_stored_by_owner))
            if (auto done = store_record(); !done) return done;
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
        committing_.reset();
        committed_ = 0;
        held_commits_.clear();
        refusal_ = {Errc::ok, {}};
        report_.steps = 0;
        report_.history.clear();
        report_.train.clear();
        report_.test.clear();
        report_.label_holder_alone_train.clear();
        report_.label_holder_alone_test.clear();
        return {};
    }

    void ask_commits() {
        if (record_.commits.empty()) return start_training();
        enter(Phase::restoring);
        held_commits_.assign(members_.size(), {});
        choosing_ = true;
        send_all(message::commits, encode_empty());
    }

    static bool holds(std::span<const StoredCommit> held, const RecordedCommit& commit,
                      const std::string& party) {
        const auto digest = commit.digests.find(party);
        if (VFLBUS_PLANTED(digest_not_checked))
            return std::ranges::find(held, commit.step, &StoredCommit::step) != held.end();
        return digest != commit.digests.end() &&
               std::ranges::find(held, StoredCommit{commit.step, digest->second}) != held.end();
    }

    /// The highest recorded commit that all parties hold.
    void choose_commit() {
        choosing_ = false;
        const auto own = store_.intact(options_.run);
        if (!own) return fail_run(own.error());
        std::vector<std::string> without;
        for (auto commit = record_.commits.rbegin(); commit != record_.commits.rend(); ++commit) {
            std::vector<std::string> lack;
            if (!holds(*own, *commit, options_.name)) lack.push_back(options_.name);
            for (std::size_t i = 0; i < members_.size(); ++i)
                if (!holds(held_commits_[i], *commit, members_[i].name))
                    lack.push_back(members_[i].name);
            if (lack.empty()) return restore(*commit);
            const std::string what = join_and(lack) + (lack.size() == 1 ? " has" : " have") +
                                     " lost commit " + std::to_string(commit->step) +
                                     " of this run";
            log(Level::warn, what);
            if (without.empty()) without.push_back(what);
        }
        if (options_.config.bus.on_state_lost == config::StateLost::fail)
            return fail_run(Errc::state_lost,
                            without.front() +
                                ", and no earlier one is left: put the state directory back, or "
                                "set bus.on_state_lost to \"restart\" to train from the first "
                                "step");
        log(Level::warn, "no commit is left: trains from the first step");
        record_.commits.clear();
        if (auto done = store_record(); !done) return fail_run(done.error());
        start_training();
    }

    void restore(const RecordedCommit& recorded) {
        auto commit = store_.read({recorded.step, recorded.digests.at(options_.name)});
        if (!commit) return fail_run(commit.error());
        if (!commit->master || commit->step > steps_)
            return fail_run(Errc::state_lost, options_.name + " has a commit of another party");
        if (auto same = same_alignment(options_.name, *commit, *own_); !same)
            return hold_or_fail(recorded, same.error());
        if (auto done = own_->restore(std::move(commit->party)); !done)
            return fail_run(done.error());
        if (auto done = store_.forget_after(recorded.step); !done) return fail_run(done.error());
        if (auto done = head_->set_state(std::move(commit->master->head)); !done)
            return fail_run(done.error());
        step_ = committed_ = report_.steps = commit->step;
        work_.loss = commit->master->loss;
        report_.history = std::move(commit->master->history);
        for (const observe::HistoryEntry& entry : report_.history)
            (entry.split == "train" ? report_.train : report_.test) = entry.metrics;
        if (auto done = next_own_scores(step_); !done) return fail_run(done.error());
        ask_restore(recorded);
    }

    void ask_restore(const RecordedCommit& recorded) {
        log(Level::info,
            "goes on from step " + std::to_string(recorded.step) + " of " + std::to_string(steps_));
        for (std::size_t i = 0; i < members_.size(); ++i)
            send(i, message::restore,
                 encode(StoredCommit{recorded.step, recorded.digests.at(members_[i].name)}));
    }

    /// When the rows differ because of another party's table, that party is to be named.
    void hold_or_fail(const RecordedCommit& recorded, const Failure& failure) {
        if (failure.code == Errc::bad_data) return fail_run(failure);
        refusal_ = failure;
        ask_restore(recorded);
    }

    bool on_refused(const Pending& request, const Failure& error) override {
        if (request.type != message::restore) return false;
        if (refusal_.code == Errc::ok || error.code == Errc::bad_data) refusal_ = error;
        return true;
    }

    Result<> on_restored(std::size_t member, const RestoreReply& reply) {
        if (refusal_.code != Errc::ok) return {};
        if (reply.step != step_)
            return fail(Errc::malformed_message, "is at step " + std::to_string(reply.step) +
                                                     " where " + std::to_string(step_) +
                                                     " was to be restored");
        return take_scores(step_, member, reply.scores);
    }

    void on_all_restored() {
        if (choosing_) return choose_commit();
        if (refusal_.code != Errc::ok) return fail_run(refusal_);
        start_training();
    }

    /// Before RELEASE: a master that dies from here on has nothing left to do but that.
    Result<> on_complete() override {
        if (only_releases()) return {};
        record_.phase = RunRecord::Phase::finished;
        return store_record();
    }

    void on_ending() override {
        if (outcome_.code == Errc::ok) {
            if (auto done = store_.remove(); !done)
                log(Level::warn, "cannot remove the commits: " + done.error().sentence);
            return;
        }
        // who resumes the run has seen to what made it fail
        if (record_.restarts.empty() || outcome_.code == Errc::io) return;
        record_.restarts.clear();
        if (auto done = store_record(); !done) log(Level::warn, done.error().sentence);
    }

    // -- comparing ------------------------------------------------------------------
    void on_evaluated() {
        report_.train_seconds = std::chrono::duration<double>(train_ended_ - train_began_).count();
        if (stopping_) {
            enter(Phase::finishing);
            return stop_here();
        }
        if (!alone_) return finish();
        alone_step_ = 0;
        enter(Phase::comparing);
    }

    void on_slice() override {
        // without features the constant predictor stays where the labels put it
        const bool constant = own_->features() == 0;
        std::size_t rows = 0;
        while (!constant && alone_step_ < steps_ && rows < slice_rows) {
            const auto batch = own_->schedule().rows(alone_step_++);
            rows += batch.size();
            if (const auto loss = alone_->step(batch); !loss) {
                log(Level::warn, "the label holder alone diverged: " + loss.error().sentence);
                alone_step_ = steps_;
            }
        }
        if (!constant && alone_step_ < steps_) return slice_soon();
        const auto design = own_->design(TableKind::train);
        const auto train = models::metrics_for(head_->labels(), alone_->predict(design));
        report_.label_holder_alone_train = train.entries();
        if (report_.rows_test != 0) {
            const auto test =
                models::metrics_for(test_labels_, alone_->predict(own_->design(TableKind::test)));
            report_.label_holder_alone_test = test.entries();
        }
        finish();
    }

    // -- finishing ------------------------------------------------------------------
    void finish() {
        enter(Phase::finishing);
        finish_held_ = committed_ != steps_;
        if (finish_held_) return;
        send_all(message::finish, encode_empty());
    }

    void on_finished() {
        ModelPart part = own_->part();
        part.run = options_.run;
        part.role = "master";
        part.agreed = spec().config_hash;
        part.intercept.assign(head_->intercept().begin(), head_->intercept().end());
        part.labels = coding_;
        const auto path = model_root() / options_.name / "model.json";
        if (auto done = options_.env->write_file(path, to_json(part)); !done)
            return fail_run(done.error().code, options_.name + " cannot store its model part: " +
                                                   done.error().sentence + room_first());
        report_.model_dir = model_root().string();
        release_all();
    }

    // -- events ---------------------------------------------------------------------
    Result<> on_answer(std::size_t member, const Pending& request, Bytes&& body) override {
        switch (request.type) {
            case message::align:
                return take_ids(member, request, body);
            case message::select:
                return take_selected(member, request, body);
            case message::round: {
                const auto reply = decode_round_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return protocol_->on_round(moment_, step_, round_, member, reply->payload);
            }
            case message::begin: {
                const auto reply = decode_begin_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return on_begun(member, *reply);
            }
            case message::commit: {
                const auto reply = decode_commit_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return on_commit(member, *reply);
            }
            case message::commits: {
                auto reply = decode_commits_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                held_commits_[member] = std::move(*reply);
                return {};
            }
            case message::restore: {
                const auto reply = decode_restore_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return on_restored(member, *reply);
            }
            case message::step: {
                const auto reply = decode_step_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return take_scores(step_ + 1, member, reply->scores);
            }
            case message::solve: {
                const auto reply = decode_solve_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return on_solved(member, *reply);
            }
            case message::evaluate: {
                const auto reply = decode_evaluate_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return protocol_->add(evaluation_.request().first, member, reply->scores);
            }
            case message::finish: {
                const auto reply = decode_finish_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                log(Level::info, members_[member].name + " has written its model part (" +
                                     human_bytes(reply->bytes) + ")");
                return {};
            }
            default:
                return {};
        }
    }

    void on_all_answered() override {
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

    std::string where() const override {
        if (phase() == Phase::training)
            return ", at step " + std::to_string(step_held_ ? step_ : step_ + 1) + " of " +
                   std::to_string(steps_);
        return RunMaster::where();
    }

    std::string advice(const Failure& failure) const override {
        if (failure.code == Errc::io && phase() >= Phase::restoring) return room_first();
        // the models room says itself which key to change
        if (failure.code != Errc::diverged || failure.sentence.find("model.") != std::string::npos)
            return {};
        if (sequential())
            return "; raise model.reg_lambda (now " + shortest(model().reg_lambda) + ")";
        return "; lower model.learning_rate (now " + shortest(model().learning_rate) + ")";
    }

    std::unique_ptr<MasterProtocol> protocol_;
    data::LabelCoding coding_;
    models::Labels test_labels_;
    std::optional<models::Head> head_;
    std::optional<models::LocalTrainer> alone_;
    std::optional<models::SequentialMaster> sequential_;
    Moment moment_ = Moment::setup;
    std::uint64_t round_ = 0;
    bool in_round_ = false;
    bool holding_ = false;    ///< held_ is the sum of the next batch
    std::uint64_t step_ = 0;  ///< steps done
    std::uint64_t steps_ = 0;
    std::uint64_t alone_step_ = 0;
    std::size_t turn_ = 0;
    TimePoint train_began_{};
    TimePoint train_ended_{};
    models::HeadStep work_;
    models::Matrix own_scores_;
    models::Matrix held_;
    models::Matrix solved_;
    std::vector<models::Matrix> parts_;  ///< sequential: scores of the next batch, own first
    std::deque<TableKind> sides_;        ///< still to evaluate
    Evaluation evaluation_;

    RunRecord record_;
    CommitStore store_;
    std::optional<RecordedCommit> committing_;  ///< asked for, not reported by all
    std::uint64_t committed_ = 0;               ///< the step of the last recorded one
    TimePoint committed_at_{};
    bool stopping_ = false;     ///< the user wants to stop
    bool halted_ = false;       ///< ... and the step under way has ended
    bool step_held_ = false;    ///< the next step waits for the commit under way
    bool finish_held_ = false;  ///< finishing waits for the last commit
    bool choosing_ = false;     ///< restoring: commits is asked, restore is not
    std::vector<std::vector<StoredCommit>> held_commits_;
    Failure refusal_{Errc::ok, {}};  ///< of a restore, until all have answered
};

RunRecord new_record(const MasterOptions& options) {
    RunRecord record;
    record.run = options.run;
    record.owner = options.name;
    record.term = options.term;
    for (std::uint64_t rank = 0; rank < options.config.run.world_size; ++rank)
        record.members.push_back(config::member_name(rank));
    record.agreed = config::canonical_agreed(options.config);
    return record;
}

/// The record of the run that is resumed, in its next term. What makes the two configurations
/// differ is named.
Result<RunRecord> next_record(const MasterOptions& options) {
    auto record = read_run_record(*options.env, options.runs_dir, options.run);
    if (!record) return record;
    if (record->owner != options.name)
        return fail(Errc::not_owner, "run " + options.run.short_hex() + " is owned by " +
                                         record->owner + ", not by " + options.name);
    const auto then = config::parse_canonical(record->agreed);
    if (!then) return tl::unexpected(then.error());
    if (const auto differing = config::differing_keys(options.config, *then, "its start");
        !differing.empty())
        return fail(Errc::config_differs,
                    "run " + options.run.short_hex() + " cannot be resumed with another " +
                        "configuration: it differs in " + join_and(differing) +
                        "; make them equal, or begin a new run");
    if (record->term == UINT32_MAX)
        return fail(Errc::too_many, "run " + options.run.short_hex() + " has used up its terms");
    ++record->term;
    if (record->phase == RunRecord::Phase::finished) return record;
    const std::uint64_t restarts = ++record->restarts[options.name];
    if (restarts > options.config.bus.restarts_max) {
        record->restarts.clear();
        --record->term;
        if (auto done = options.env->write_file(run_record_path(options.runs_dir, options.run),
                                                to_json(*record));
            !done)
            return tl::unexpected(done.error());
        return fail(Errc::too_many_restarts,
                    options.name + " was restarted " + std::to_string(restarts) +
                        " times without a newer commit: see its log, or raise bus.restarts_max; "
                        "then go on with `--resume " +
                        options.run.hex() + "`");
    }
    return record;
}

}  // namespace

Result<std::unique_ptr<RunMaster>> make_train_master(MasterOptions options) {
    const auto& config = options.config;
    if (config.run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    auto protocol = make_master_protocol(config::name_of(config.run.protocol),
                                         static_cast<std::size_t>(config.run.world_size));
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    if (auto sound = config::check(config); !sound) return tl::unexpected(std::move(sound.error()));
    Result<RunRecord> record = options.resume ? next_record(options) : new_record(options);
    if (!record) return tl::unexpected(std::move(record.error()));
    options.term = record->term;
    const bool finished = record->phase == RunRecord::Phase::finished;
    std::optional<observe::RunReport> report;
    if (finished) {
        const auto path = options.runs_dir / options.run.hex() / "report.json";
        const auto text = options.env->read_file(path);
        if (!text) return tl::unexpected(text.error());
        auto read = observe::from_json(*text);
        if (!read) return tl::unexpected(std::move(read.error()));
        report = std::move(*read);
    }
    // before the OPEN of this term
    if (auto done = options.env->write_file(run_record_path(options.runs_dir, options.run),
                                            to_json(*record));
        !done)
        return fail(done.error().code,
                    options.name + " cannot store the record of the run: " + done.error().sentence);
    auto master =
        std::make_unique<TrainMaster>(std::move(options), std::move(*protocol), std::move(*record));
    if (report) master->only_release(std::move(*report));
    return master;
}

}  // namespace vflbus::actors
