#pragma once
// Places where the simulation plants a bug to show that it would find one (docs/hacking.md). In the
// product each is the constant `false` and leaves no code behind; tests/sim compiles the files that
// hold them a second time, with VFLBUS_PLANTED_BUGS, and then a global chooses one.

#ifdef VFLBUS_PLANTED_BUGS

#include <cstdint>

namespace vflbus {

enum class PlantedBug : std::uint8_t {
    none,
    no_deduplication,
    term_not_checked,
    answers_freed_early,
    duplicate_not_answered,
    torn_body_kept,
    credit_not_extended,
    credit_left_out,
    credit_of_earlier_attempt,
    gap_not_told,
    room_not_passed_on,
    join_not_repeated,
    restart_not_noticed,
    stale_incarnation,
    late_word_believed,
    two_owners,
    routed_without_join,
    open_run_talks,
    app_outlived,
    answer_from_anybody,
    answer_passed_on_twice,
    window_leaked,
    window_believed,
    extension_ignored,
    lag_ignored,
    stall_not_noticed,
    progress_ignored,
    orphan_kept,
    owner_set_back,
    context_kept,
    file_not_synced,
    directory_not_synced,
    new_directory_not_synced,
    term_not_stored,
    term_not_stored_by_owner,
    commit_before_all,
    digest_not_checked,
    commit_removed_early,
    later_commits_kept,
    optimizer_not_restored,
    batch_not_restored,
    solver_not_restored,
    folds_not_restored,
    batch_of_the_process,
    released_before_stored,
    window_not_enforced,
    kept_not_counted,
    request_of_anybody,
    runs_not_shared,
    policy_too_late,
    mask_used_twice,
    mask_seed_used_twice,
    no_encryption_of_zero,
    no_flood,
    no_mask,
    counted_twice,
    noise_used_twice,
    noise_left_out,
    answer_random_kept,
    set_secret_kept,
    session_key_kept,
    breach_not_cut,
    hold_off_forgotten,
    revoked_still_heard,
    right_not_checked,
    associated_left_out,
    ending_forgotten,
    arbiter_mask_left_out,
    arbiter_mask_used_twice,
    pad_left_out,
    pad_used_twice,
};

extern PlantedBug planted_bug;

}  // namespace vflbus

#define VFLBUS_PLANTED(name) (::vflbus::planted_bug == ::vflbus::PlantedBug::name)
#else
#define VFLBUS_PLANTED(name) false
#endif
