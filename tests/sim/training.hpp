#pragma once
// Trainings on tiny tables in a world: what they are made of, and two masters on the same two
// members for the tests that plan their faults themselves.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/tables.hpp"
#include "config/config.hpp"
#include "disk.hpp"
#include "world.hpp"

namespace vflbus::sim {

// -- parts ---------------------------------------------------------------------------

/// A table of `columns` numbers under ids 0 .. rows - 1, in an order of its own; some ids are
/// missing.
std::shared_ptr<const data::Table> make_table(const std::string& party, std::size_t rows,
                                              std::size_t columns, bool labels, std::uint64_t seed);
/// That table for training, none for testing.
actors::TableSource source(std::shared_ptr<const data::Table> table);
/// From `key=value` texts.
config::Config configure(const std::vector<std::string>& settings);

// -- two trainings -------------------------------------------------------------------

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
    std::size_t states_left = 0;                 ///< files of commits that nobody removed
    std::map<std::string, std::uint64_t> steps;  ///< of each node's disk
    double seconds = 0;
    std::map<std::string, std::uint64_t, std::less<>> coverage;
    std::string violation;
    std::string story;
};

struct Scenario {
    Faults faults;
    /// Set on all parties: [bus] commit_steps.
    std::uint64_t commit_steps = 5;
    bool sequential = false;
    /// The node that dies before the n-th step of its disk (from 1), with its power or alone.
    struct Death {
        std::string node;
        std::uint64_t step = 0;
        bool power = false;
    };
    std::optional<Death> death;
    /// Faults by hand, called once when the world begins.
    std::function<void(World&)> fault;
};

/// Nodes are 0 and 1 (members), 2 and 3 (masters). A master that comes back resumes its run when
/// there is a record of it.
Outcome train(std::uint64_t world_seed, const Scenario& scenario);

}  // namespace vflbus::sim
