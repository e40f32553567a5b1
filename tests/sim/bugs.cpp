#include "bugs.hpp"

#include <algorithm>

#include "base/planted.hpp"

#ifdef VFLBUS_PLANTED_BUGS
namespace vflbus {
PlantedBug planted_bug = PlantedBug::none;
}  // namespace vflbus
#endif

namespace vflbus::sim {

#ifdef VFLBUS_PLANTED_BUGS

namespace {

constexpr Bug bug(PlantedBug number, std::string_view name, std::uint64_t seed,
                  std::string_view sentence) {
    return {name, sentence, static_cast<std::uint64_t>(number), seed};
}
#define VFLBUS_BUG(name, ...) bug(PlantedBug::name, #name, __VA_ARGS__)

constexpr Bug all[] = {
    VFLBUS_BUG(no_deduplication, 3, "a request that arrives again is handled again"),
    VFLBUS_BUG(term_not_checked, 28, "broker, links and members go on in an earlier term"),
    VFLBUS_BUG(answers_freed_early, 0,
               "the oldest answer is forgotten before the asker says that it has it"),
    VFLBUS_BUG(duplicate_not_answered, 3, "a request that arrives again is not answered again"),
    VFLBUS_BUG(torn_body_kept, 5, "a body that begins again is added to what was there of it"),
    VFLBUS_BUG(credit_not_extended, 0, "a receiver grants the first share of a large body alone"),
    VFLBUS_BUG(credit_left_out, 1,
               "a receiver grants a body that came whole nothing, whatever else its sender has"),
    VFLBUS_BUG(credit_of_earlier_attempt, 14,
               "CREDIT for an earlier attempt of a body lets the rest of a later one go"),
    VFLBUS_BUG(gap_not_told, 930,
               "a receiver that has lost its memory waits for requests answered before that"),
    VFLBUS_BUG(room_not_passed_on, 0, "a body that waits for room gets none when some comes free"),
    VFLBUS_BUG(join_not_repeated, 25,
               "a member does not say JOIN again in a new session with the broker"),
    VFLBUS_BUG(restart_not_noticed, 6,
               "the link takes another incarnation of a peer for the same process"),
    VFLBUS_BUG(stale_incarnation, 35, "the broker lets an earlier incarnation take over a name"),
    VFLBUS_BUG(late_word_believed, 12,
               "the broker takes what a process said before it ended for a sign that it lives"),
    VFLBUS_BUG(two_owners, 23, "the broker lets another node open a run that has an owner"),
    VFLBUS_BUG(request_of_anybody, 102,
               "a member does what another participant of its run asks for"),
    VFLBUS_BUG(runs_not_shared, 24, "one owner may have all runs that the broker takes"),
    VFLBUS_BUG(routed_without_join, 28,
               "the broker passes on requests of those who take no part in the run"),
    VFLBUS_BUG(open_run_talks, 14, "participants of an open run reach each other past its owner"),
    VFLBUS_BUG(app_outlived, 61, "the broker keeps the run of a server app that is gone"),
    VFLBUS_BUG(answer_from_anybody, 1,
               "the broker passes on the answer of a node that was not asked"),
    VFLBUS_BUG(answer_passed_on_twice, 10, "the broker passes on a second answer to one question"),
    VFLBUS_BUG(window_leaked, 29,
               "bytes of frames that the broker refuses are never reported consumed"),
    VFLBUS_BUG(window_believed, 2,
               "who says WINDOW is believed to have read all, whatever token it says"),
    VFLBUS_BUG(extension_ignored, 5,
               "broker, links and owners ignore an extension that they have to understand"),
    VFLBUS_BUG(lag_ignored, 29,
               "the broker counts time that it slept itself as silence of the nodes"),
    VFLBUS_BUG(stall_not_noticed, 32, "the broker says nothing of a worker that hangs"),
    VFLBUS_BUG(progress_ignored, 150, "the broker does not see that a busy worker gets on"),
    VFLBUS_BUG(orphan_kept, 19,
               "the broker keeps a run whose owner is back and says nothing of it"),
    VFLBUS_BUG(owner_set_back, 69,
               "a member goes on with an owner whose disk was set back within the term"),
    VFLBUS_BUG(context_kept, 0, "a member keeps what it holds of a run that has ended"),
    VFLBUS_BUG(file_not_synced, 0, "a file is renamed before its content is synced"),
    VFLBUS_BUG(directory_not_synced, 0, "the directory of a renamed file is not synced"),
    VFLBUS_BUG(new_directory_not_synced, 0, "a new directory is not synced into the one above"),
    VFLBUS_BUG(term_not_stored, 0, "a member joins a term before it has stored it"),
    VFLBUS_BUG(term_not_stored_by_owner, 0, "the owner opens a new term before it has stored it"),
    VFLBUS_BUG(commit_before_all, 0,
               "the owner records a commit when the first member has reported it"),
    VFLBUS_BUG(digest_not_checked, 41, "a damaged commit is restored"),
    VFLBUS_BUG(commit_removed_early, 9, "writing a commit removes the one before it at once"),
    VFLBUS_BUG(later_commits_kept, 2,
               "restoring a commit leaves later ones of the course that was given up"),
    VFLBUS_BUG(optimizer_not_restored, 1, "restoring a commit leaves the optimizer as it began"),
    VFLBUS_BUG(batch_not_restored, 54,
               "a restored member of a network goes on with the numbers of its first batch"),
    VFLBUS_BUG(folds_not_restored, 48,
               "restoring a commit forgets what earlier folds have predicted"),
    VFLBUS_BUG(solver_not_restored, 18, "restoring a commit leaves a member's solver as it began"),
    VFLBUS_BUG(batch_of_the_process, 1,
               "batches follow how often the process drew, not (seed, epoch)"),
    VFLBUS_BUG(released_before_stored, 0,
               "members are released before the owner has stored that all is written"),
    VFLBUS_BUG(window_not_enforced, 14,
               "the broker queues what a node sends beyond its window to one that is behind"),
    VFLBUS_BUG(kept_not_counted, 357, "the broker keeps whatever one node says in OPEN and JOIN"),
    VFLBUS_BUG(session_key_kept, 3,
               "a process seals with the session key of the process before it, so nonces repeat"),
    VFLBUS_BUG(breach_not_cut, 7, "the broker goes on to hear who breaks the protocol"),
    VFLBUS_BUG(hold_off_forgotten, 48, "who was cut for that comes again at once"),
    VFLBUS_BUG(revoked_still_heard, 89, "a session goes on although its key was revoked"),
    VFLBUS_BUG(right_not_checked, 16, "a question is passed on whatever rights its key has"),
    VFLBUS_BUG(associated_left_out, 1,
               "a body is sealed without the header fields that its receiver acts on"),
    VFLBUS_BUG(ending_forgotten, 33, "the broker forgets how a run ended"),
    VFLBUS_BUG(arbiter_mask_left_out, 11, "a party sends the arbiter a gradient without masks"),
    VFLBUS_BUG(arbiter_mask_used_twice, 11,
               "a party hides all its gradients under the same random numbers"),
    VFLBUS_BUG(policy_too_late, 0, "a member reads its table before it lets the run in"),
    VFLBUS_BUG(mask_used_twice, 2, "a mask covers the scores of one step and of the next"),
    VFLBUS_BUG(mask_seed_used_twice, 16,
               "a member keeps its keys when a new fold agrees on masks, whose stamps come again"),
    VFLBUS_BUG(no_encryption_of_zero, 15,
               "a member adds no encryption of zero to an answer, so the master divides"),
    VFLBUS_BUG(no_flood, 15, "a member adds nothing to the noise of an answer"),
    VFLBUS_BUG(no_mask, 15, "a member sends its gradient without a mask"),
    VFLBUS_BUG(pad_left_out, 15, "the master sends a member the residual without its pad"),
    VFLBUS_BUG(pad_used_twice, 15, "the master takes the same pad for two steps of a member"),
    VFLBUS_BUG(counted_twice, 17, "a member counts for labels as often as it is asked"),
    VFLBUS_BUG(noise_used_twice, 9, "a party hides two releases with the same noise"),
    VFLBUS_BUG(noise_left_out, 9, "a party counts the noise of a release and adds none"),
    VFLBUS_BUG(answer_random_kept, 15,
               "a restored member hides its answers with the random numbers of earlier ones"),
    VFLBUS_BUG(set_secret_kept, 4, "a member blinds its ids with the same secret in every term"),
};

}  // namespace

const bool bugs_built = true;
std::span<const Bug> bugs() {
    return all;
}
void plant(const Bug* chosen) {
    planted_bug = chosen == nullptr ? PlantedBug::none : static_cast<PlantedBug>(chosen->number);
}

#else

const bool bugs_built = false;
std::span<const Bug> bugs() {
    return {};
}
void plant(const Bug*) {}

#endif

const Bug* find_bug(std::string_view name) {
    const auto all_of_them = bugs();
    const auto found = std::ranges::find(all_of_them, name, &Bug::name);
    return found == all_of_them.end() ? nullptr : &*found;
}

}  // namespace vflbus::sim
