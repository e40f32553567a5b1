#include "actors/run/commit_ledger.hpp"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"

namespace vflbus::actors {
namespace {

/// A commit is kept until two newer ones are recorded, as parties keep their files.
constexpr std::size_t recorded_max = 2;

std::string who_lost(std::span<const std::string> parties, std::uint64_t step) {
    return join_and(parties) + (parties.size() == 1 ? " has" : " have") + " lost commit " +
           std::to_string(step) + " of this run";
}

}  // namespace

// -- the run ------------------------------------------------------------------------

bool CommitLedger::superseded() const {
    const std::filesystem::path path = run_record_path(runs_dir_, record_.run);
    const auto text = env_->read_file(path);
    if (!text || *text == written_) return false;
    const auto stored = parse_run_record(*text, path.string());
    return stored && stored->run == record_.run && stored->term > record_.term;
}

Result<> CommitLedger::still_ours() const {
    if (!superseded()) return {};
    return fail(Errc::superseded, "another process of " + record_.owner + " has taken over run " +
                                      record_.run.short_hex());
}

Result<> CommitLedger::store() {
    if (auto ours = still_ours(); !ours) return ours;
    std::string text = to_json(record_);
    auto done = env_->write_file(run_record_path(runs_dir_, record_.run), text);
    if (done) {
        written_ = std::move(text);
        return {};
    }
    Failure failure = std::move(done.error());
    failure.sentence = record_.owner + " cannot store the record of the run: " + failure.sentence;
    failure.party = record_.owner;
    return tl::unexpected(std::move(failure));
}

Result<> CommitLedger::open(RunRecord record) {
    record_ = std::move(record);
    return store();
}

Result<> CommitLedger::begin_term(std::uint32_t term) {
    // before the term is raised, which would hide that another process has raised it
    if (auto ours = still_ours(); !ours) return ours;
    record_.term = term;
    committing_.reset();
    recorded_ = 0;
    held_.clear();
    if (VFLBUS_PLANTED(term_not_stored_by_owner)) return {};
    return store();
}

Result<> CommitLedger::finish() {
    record_.phase = RunRecord::Phase::finished;
    return store();
}

Result<> CommitLedger::forget_restarts() {
    if (record_.restarts.empty()) return {};
    record_.restarts.clear();
    return store();
}

// -- making commits -----------------------------------------------------------------

bool CommitLedger::due(std::uint64_t step, bool last, TimePoint now,
                       const config::BusConfig& bus) const {
    if (committing_ || recorded_ == step) return false;
    if (last || (bus.commit_steps != 0 && step - recorded_ >= bus.commit_steps)) return true;
    const std::chrono::duration<double> since = now - recorded_at_;
    return bus.commit_interval > 0 && since.count() >= bus.commit_interval;
}

void CommitLedger::begin(std::uint64_t step, const Hash256& own) {
    VFLBUS_ASSERT(!committing_, "one commit is under way at a time");
    committing_.emplace();
    committing_->step = step;
    committing_->digests[record_.owner] = own;
}

Result<bool> CommitLedger::reported(const std::string& party, const StoredCommit& stored) {
    if (!committing_ || stored.step != committing_->step)
        return fail(Errc::malformed_message, "answers for commit " + std::to_string(stored.step));
    committing_->digests[party] = stored.digest;
    return committing_->digests.size() == record_.members.size() + 1 ||
           VFLBUS_PLANTED(commit_before_all);
}

Result<> CommitLedger::record(TimePoint now) {
    VFLBUS_ASSERT(committing_.has_value(), "the commit that is recorded is under way");
    recorded_ = committing_->step;
    recorded_at_ = now;
    auto& commits = record_.commits;
    std::erase_if(commits, [&](const RecordedCommit& commit) { return commit.step >= recorded_; });
    commits.push_back(std::move(*committing_));
    committing_.reset();
    while (commits.size() > recorded_max) commits.erase(commits.begin());
    record_.restarts.clear();
    return store();
}

// -- going back to one --------------------------------------------------------------

bool CommitLedger::holds(const std::string& party, const RecordedCommit& commit) const {
    const auto held = held_.find(party);
    if (held == held_.end()) return false;
    const auto& commits = held->second;
    if (VFLBUS_PLANTED(digest_not_checked))
        return std::ranges::find(commits, commit.step, &StoredCommit::step) != commits.end();
    const auto digest = commit.digests.find(party);
    return digest != commit.digests.end() &&
           std::ranges::find(commits, StoredCommit{commit.step, digest->second}) != commits.end();
}

CommitChoice CommitLedger::choose() const {
    CommitChoice choice;
    for (auto commit = record_.commits.rbegin(); commit != record_.commits.rend(); ++commit) {
        std::vector<std::string> lack;
        if (!holds(record_.owner, *commit)) lack.push_back(record_.owner);
        for (const std::string& member : record_.members)
            if (!holds(member, *commit)) lack.push_back(member);
        if (lack.empty()) {
            choice.commit = *commit;
            break;
        }
        choice.lost.push_back(who_lost(lack, commit->step));
    }
    return choice;
}

Result<> CommitLedger::forget_commits() {
    record_.commits.clear();
    return store();
}

}  // namespace vflbus::actors
