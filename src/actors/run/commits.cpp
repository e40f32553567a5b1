#include "actors/run/commits.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "actors/folds.hpp"
#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "actors/run/run.hpp"
#include "actors/training/algorithm.hpp"
#include "base/assert.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {

using observe::log::Level;

// -- records ------------------------------------------------------------------------

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
    return record;
}

namespace {

/// Of a run that is complete.
Result<observe::RunReport> stored_report(const MasterOptions& options) {
    const auto text = options.env->read_file(options.runs_dir / options.run.hex() / "report.json");
    if (!text) return tl::unexpected(text.error());
    return observe::from_json(*text);
}

}  // namespace

Commits::Commits(Run& run, RunRecord record)
    : run_(&run),
      ledger_(run.env(), run.options().runs_dir, std::move(record)),
      store_(run.env(), run.directory() / run.options().name / "state") {}

Result<> Commits::open_record() {
    const MasterOptions& options = run_->options();
    if (!options.resume && options.env->exists(run_record_path(options.runs_dir, options.run)))
        return fail(Errc::usage, "there is a run " + options.run.hex() + " in " +
                                     options.runs_dir.string() +
                                     " already, which is never overwritten; go on with it by "
                                     "--resume, or choose another --run-id");
    Result<RunRecord> record = options.resume ? next_record(options) : new_record(options);
    if (!record) return tl::unexpected(std::move(record.error()));
    if (record->phase == RunRecord::Phase::finished) {
        auto report = stored_report(options);
        if (!report) return tl::unexpected(std::move(report.error()));
        run_->report_ = std::move(*report);
        run_->only_releases_ = true;
    } else if (options.resume) {
        if (auto good = count_own_restart(*record); !good) return good;
    }
    run_->spec_.term = record->term;
    if (auto done = run_->stored({}, ledger_.open(std::move(*record))); !done) return done;
    begun_ = true;
    return {};
}

/// The next restart after one too many is looked at as the first. Once it may even where nobody is
/// started again: a user has said so.
Result<> Commits::count_own_restart(RunRecord& record) const {
    const MasterOptions& options = run_->options();
    const std::uint64_t restarts = ++record.restarts[options.name];
    if (restarts <= std::max<std::uint64_t>(1, options.config.bus.restarts_max)) return {};
    RunRecord forgotten = record;
    forgotten.restarts.clear();
    --forgotten.term;
    if (auto done = write_run_record(*options.env, options.runs_dir, forgotten); !done) return done;
    Failure failure{Errc::too_many_restarts,
                    options.name + " was restarted " + std::to_string(restarts) +
                        " times without a newer commit",
                    options.name};
    failure.hint = "see its log, or raise bus.restarts_max";
    failure.resumable = true;
    return tl::unexpected(std::move(failure));
}

Result<> Commits::begin_term(std::uint32_t term) {
    own_ = nullptr;
    model_ = nullptr;
    folds_ = nullptr;
    loss_ = 0;
    wanted_.reset();
    return run_->stored({}, ledger_.begin_term(term));
}

Result<> Commits::complete() {
    return run_->stored({}, ledger_.finish());
}

void Commits::end_of_run(const Failure& outcome) {
    if (outcome.code == Errc::ok) {
        if (auto done = store_.remove(); !done)
            run_->log(Level::warn, "cannot remove the commits: " + done.error().sentence);
        return;
    }
    if (may_not_write_files(outcome.code)) return;
    // who resumes the run has seen to what made it fail; the full disk may be a member's, and of
    // its own there is a sentence already
    auto done = run_->stored({}, ledger_.forget_restarts());
    if (done || outcome.code == Errc::io) return;
    run_->log(Level::warn, explained(done.error(), "--resume " + run_->options().run.hex()));
}

/// Told by the broker that another process has its name, this one may look before that one has
/// stored its term.
bool Commits::may_not_write_files(Errc outcome) const {
    const bool name_lost = outcome == Errc::superseded || outcome == Errc::name_taken ||
                           outcome == Errc::stale_incarnation;
    return !begun_ || name_lost || ledger_.superseded();
}

// -- making commits -----------------------------------------------------------------

void Commits::start_clock() {
    ledger_.start_clock(run_->now());
}

Result<> Commits::after(std::uint64_t step, double loss) {
    loss_ = loss;
    curve_.add(step, loss);
    const bool last = model_->done(step);
    // the last one is made while metrics are computed, as soon as the one under way is recorded
    if (last) wanted_ = step;
    if (!ledger_.due(step, last, run_->now(), run_->config().bus)) return {};
    return begin(step);
}

Commit Commits::commit_of(std::uint64_t step) const {
    VFLBUS_ASSERT(own_ != nullptr && model_ != nullptr, "a commit is made of a model on its rows");
    VFLBUS_ASSERT(step == run_->step_, "what is stored is the state between two steps");
    Commit commit;
    commit.run = run_->options().run;
    commit.step = step;
    commit.alignment = own_->alignment();
    commit.algorithm = model_->format();
    commit.state = model_->save();
    commit.master.emplace();
    commit.master->loss = loss_;
    commit.master->losses = curve_.sum();
    // the evaluation at this step is done again when it is restored
    for (const observe::HistoryEntry& entry : run_->report_.history)
        if (entry.step < step) commit.master->history.push_back(entry);
    if (folds_->any()) commit.master->folds = folds_->save();
    return commit;
}

Result<> Commits::begin(std::uint64_t step) {
    VFLBUS_ASSERT(model_ != nullptr, "a commit is made of a model");
    if (auto ours = ledger_.still_ours(); !ours) return ours;
    const auto digest = store_.write(commit_of(step));
    if (!digest) return run_->stored("its commit", tl::unexpected(digest.error()));
    ledger_.begin(step, *digest);
    const Bytes body = encode_commit(step);
    for (std::size_t i = 0; i < run_->parties().members(); ++i)
        run_->parties().ask_aside(i, message::commit, body, *this);
    return {};
}

Result<> Commits::take(std::size_t party, Body reply) {
    const auto stored = decode_commit_reply(reply);
    if (!stored) return tl::unexpected(stored.error());
    const auto by_all = ledger_.reported(run_->parties()[party].name, *stored);
    if (!by_all) return tl::unexpected(by_all.error());
    if (!*by_all) return {};
    if (auto done = run_->stored({}, ledger_.record(run_->now())); !done) return done;
    if (wanted_ && ledger_.last() != *wanted_) return begin(*wanted_);
    return {};
}

/// Until no commit is under way.
class Commits::Recorded final : public Wait {
  public:
    Recorded(WaitingPlace& place, const CommitLedger& ledger) : Wait(place), ledger_(&ledger) {}
    [[nodiscard]] bool ready() const noexcept override { return !ledger_->under_way(); }

  private:
    const CommitLedger* ledger_;
};

Task<> Commits::room_after(std::uint64_t step) {
    if (!ledger_.holds_back(step, run_->config().bus.commit_steps)) co_return;
    run_->note_step(step, run_->steps_, true);
    Recorded next(run_->place(), ledger_);
    co_await next;
    run_->note_step(step, run_->steps_);
}

Task<> Commits::recorded(std::uint64_t step) {
    wanted_ = step;
    if (!ledger_.under_way() && ledger_.last() != step) co_await begin(step);
    Recorded next(run_->place(), ledger_);
    co_await next;
    VFLBUS_ASSERT(ledger_.last() == step, "the commit that was wanted is the last one recorded");
}

// -- going back to one --------------------------------------------------------------

void Commits::bind(const Party& own, MasterHalf& model, const Folds& folds) {
    VFLBUS_ASSERT(!ledger_.under_way(), "a commit is recorded before another training begins");
    own_ = &own;
    model_ = &model;
    folds_ = &folds;
    wanted_.reset();
    curve_.begin(folds.first(), model.converges() ? folds.first() : model.steps());
}

Task<std::optional<RecordedCommit>> Commits::choose() {
    if (ledger_.empty()) co_return std::nullopt;
    run_->enter(Phase::restoring);
    Replies asked = run_->parties().ask_all(message::commits, encode_empty());
    const std::vector<Bytes> listed = co_await asked;
    for (std::size_t i = 0; i < listed.size(); ++i) {
        auto held = co_await run_->said_by(i, decode_commits_reply(listed[i]));
        ledger_.held_by(run_->parties()[i].name, std::move(held));
    }
    auto own_commits = co_await store_.intact(run_->options().run);
    ledger_.held_by(run_->options().name, std::move(own_commits));
    const CommitChoice choice = ledger_.choose();
    for (const std::string& sentence : choice.lost) run_->log(Level::warn, sentence);
    if (!choice.commit) co_await begin_without(choice);
    co_return choice.commit;
}

std::optional<FoldsCommit> Commits::folds_of(const RecordedCommit& commit) {
    const auto digest = commit.digests.find(run_->options().name);
    if (digest == commit.digests.end()) return {};
    auto stored = store_.read({commit.step, digest->second});
    if (!stored || !stored->master) return {};
    return std::move(stored->master->folds);
}

std::optional<FoldsCommit> Commits::newest_folds() {
    const std::vector<RecordedCommit>& commits = ledger_.recorded();
    for (auto commit = commits.rbegin(); commit != commits.rend(); ++commit)
        if (auto folds = folds_of(*commit)) return folds;
    return {};
}

Task<std::uint64_t> Commits::restore(const RecordedCommit& commit) {
    MasterHalf& model = *model_;
    run_->enter(Phase::restoring);
    const std::uint64_t step = commit.step;
    const Result<> by_own = restore_own(commit);
    // when the rows differ because of another party's table, its refusal will name it
    if (!by_own && by_own.error().code != Errc::handler_failed) co_await by_own;
    run_->log(Level::info,
              "goes on from step " + std::to_string(step) + " of " + std::to_string(model.steps()));
    std::vector<Bytes> requests;
    for (const Parties::Peer& peer : run_->parties().all().first(run_->parties().members()))
        requests.push_back(encode(StoredCommit{step, commit.digests.at(peer.name)}));
    Answers restoring = run_->parties().try_each(message::restore, std::move(requests));
    const std::vector<Result<Bytes>> restored = co_await restoring;
    // whose own table has changed is told from those who only see that some table has
    const Result<Bytes>* refusal = nullptr;
    for (const Result<Bytes>& reply : restored)
        if (!reply && (refusal == nullptr || reply.error().code == Errc::bad_data))
            if (refusal == nullptr || refusal->error().code != Errc::bad_data) refusal = &reply;
    if (!by_own && (refusal == nullptr || refusal->error().code != Errc::bad_data)) co_await by_own;
    if (refusal != nullptr) co_await *refusal;
    for (std::size_t i = 0; i < restored.size(); ++i)
        co_await run_->said_by(i, model.restored(step, i, *restored[i]));
    co_return step;
}

Result<> Commits::begin_without(const CommitChoice& choice) {
    if (run_->config().bus.on_state_lost == config::StateLost::fail)
        return fail(Errc::state_lost,
                    choice.lost.front() +
                        ", and no earlier one is left: put the state directory back, or "
                        "set bus.on_state_lost to \"restart\" to train from the first "
                        "step");
    run_->log(Level::warn, "no commit is left: trains from the first step");
    return run_->stored({}, ledger_.forget_commits());
}

Result<> Commits::restore_own(const RecordedCommit& recorded) {
    const std::string& name = run_->options().name;
    auto commit = store_.read({recorded.step, recorded.digests.at(name)});
    if (!commit) return tl::unexpected(std::move(commit.error()));
    if (!commit->master || commit->step > model_->steps())
        return fail(Errc::state_lost, name + " has a commit of another party");
    if (auto same = same_alignment(*commit, own_->alignment()); !same)
        return tl::unexpected(of_party(name, std::move(same.error())));
    if (auto fits = same_algorithm(*commit, model_->format()); !fits)
        return tl::unexpected(of_party(name, std::move(fits.error())));
    if (auto done = model_->restore(recorded.step, commit->state); !done) return done;
    if (auto done = store_.forget_after(recorded.step); !done) return done;
    ledger_.restored(recorded.step);
    loss_ = commit->master->loss;
    curve_.restore(recorded.step, commit->master->losses);
    observe::RunReport& report = run_->report_;
    report.history = std::move(commit->master->history);
    for (const observe::HistoryEntry& entry : report.history) {
        if (entry.split == "train") report.train = entry.metrics;
        if (entry.split == "test") report.test = entry.metrics;
    }
    return {};
}

// -- how the run goes on ------------------------------------------------------------

Failure Commits::stopped() const {
    Failure stopped{Errc::cancelled, "stopped at step " + std::to_string(run_->step_) + " of " +
                                         std::to_string(run_->steps_)};
    stopped.step = run_->step_;
    stopped.resumable = resumable();
    return stopped;
}

bool Commits::resumable() const {
    return begun_ || run_->options().resume;
}

void Commits::add_last_commit(Failure& failure) const {
    // another process goes on with it, and must not be taken its run away
    if (failure.code == Errc::superseded || failure.code == Errc::name_taken ||
        failure.code == Errc::stale_term)
        return;
    failure.sentence += ledger_.empty() ? std::string("; nothing is committed yet")
                                        : "; the last commit is that of step " +
                                              std::to_string(ledger_.last_recorded());
    failure.resumable = resumable();
}

}  // namespace vflbus::actors
