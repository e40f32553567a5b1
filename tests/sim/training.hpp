#pragma once
// Two masters that train on the same two members in one world: what the simulated trainings share.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "disk.hpp"
#include "world.hpp"

namespace vflbus::sim {

struct Training {
    std::string status;
    std::string reason;
    std::string models;       ///< of all parties, one after another
    std::uint64_t lives = 0;  ///< of the master
};

struct Outcome {
    std::vector<Training> runs;
    bool ended = false;
    std::uint64_t trace = 0;
    std::size_t contexts_left = 0;
    std::size_t states_left = 0;                  ///< files of commits that nobody removed
    std::map<std::string, std::uint64_t> writes;  ///< per node
    double seconds = 0;
    std::map<std::string, std::uint64_t> coverage;
    std::string violation;
    std::string story;
};

struct Scenario {
    Faults faults;
    /// Set on all parties: [bus] commit_steps.
    std::uint64_t commit_steps = 5;
    bool sequential = false;
    /// The node that dies in its n-th write (from 1), before or after it.
    struct Death {
        std::string node;
        std::uint64_t write = 0;
        bool after = false;
    };
    std::optional<Death> death;
    /// Share of writes in which a process dies, while faults are on.
    double deaths_per_write = 0;
    /// Faults by hand, called once when the world begins.
    std::function<void(World&)> fault;
};

/// Nodes are 0 and 1 (members), 2 and 3 (masters). A master that comes back resumes its run when
/// there is a record of it.
Outcome train(std::uint64_t world_seed, const Scenario& scenario);

/// VFLBUS_SIM_SEED: that seed alone; VFLBUS_SIM_SEEDS: 1 to so many; otherwise 1 to `otherwise`.
struct Seeds {
    std::uint64_t first = 1;
    std::uint64_t last = 1;
    bool one = false;
};
Seeds seeds(std::uint64_t otherwise);

}  // namespace vflbus::sim
