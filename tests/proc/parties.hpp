#pragma once
// Trainings of the example that last long enough for something to happen to them.

#include <memory>

#include "support.hpp"

namespace proc {

using Models = std::map<std::string, std::string>;

/// Some thousand steps, so that a training takes some seconds, and some 20 commits.
inline const Words long_enough{"--set", "model.epochs=500",     "--set", "bus.commit_steps=150",
                               "--set", "bus.commit_interval=0"};

/// Silence is found out sooner than by default.
inline const Words impatient{"--set", "bus.heartbeat_interval=0.3",
                             "--set", "bus.suspect_after=1",
                             "--set", "bus.disconnect_idle_client_time=3",
                             "--set", "bus.time_between_idle_connections_checks=0.2",
                             "--set", "bus.rejoin_grace=2"};

Words with(Words words, const Words& more);

/// `vflbus launch --local` on the example in `dir`; results go to `dir`/`runs`.
Words launch(const TempDir& dir, const std::string& runs, const Words& more = {});
Words resume(const TempDir& dir, const std::string& runs, const Words& more = {});
fs::path run_dir(const TempDir& dir, const std::string& runs);

/// Of the training that nothing happens to; each made once, as it only depends on the example and
/// these words.
const Models& undisturbed(const Words& more = {});

/// Until the run has stored a commit above `step`. False when it ended before.
bool commits_beyond(Process& process, const fs::path& run, std::uint64_t step);

/// A broker, a master and two members as one would start them by hand; results go to `dir`/runs.
struct ByHand {
    struct Party {
        Words words;           ///< in addition
        std::string broker;    ///< when not the broker's own address
        Words prefix;          ///< the command that starts it, e.g. in another namespace
        std::string runs_dir;  ///< when not `dir`/runs
    };
    ByHand(const TempDir& in, const Words& for_all,
           const std::map<std::string, Party>& for_parties = {}, bool tcp = false);

    /// Starts "master" or "member-K", again when it was there.
    void start(const std::string& who, const Words& more = {});
    /// Both members, then the master with a new run.
    void start_all();
    /// The broker at the address that it had.
    void restart_broker();

    const TempDir& dir;
    Words more;
    std::map<std::string, Party> parties;
    std::string endpoint;
    std::unique_ptr<Process> broker;
    std::vector<std::unique_ptr<Process>> members;
    std::unique_ptr<Process> master;
};

/// The last sentence of a process on standard error.
std::string sentence_of(const Finished& finished);

}  // namespace proc
