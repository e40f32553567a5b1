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
    answers_freed_early,
    duplicate_not_answered,
    file_not_synced,
    directory_not_synced,
    new_directory_not_synced,
    stale_incarnation,
    term_not_checked,
    term_not_stored,
    window_leaked,
    commit_before_all,
    digest_not_checked,
    commit_removed_early,
    torn_body_kept,
    not_sent_again_after_peer_up,
    not_sent_again_after_welcome,
    restart_not_noticed,
    lag_ignored,
    context_kept,
    two_owners,
    batch_of_the_process,
    later_commits_kept,
    join_not_repeated,
    optimizer_not_restored,
    released_before_stored,
    routed_without_join,
    count,
};

extern PlantedBug planted_bug;

}  // namespace vflbus

#define VFLBUS_PLANTED(name) (::vflbus::planted_bug == ::vflbus::PlantedBug::name)
#else
#define VFLBUS_PLANTED(name) false
#endif
