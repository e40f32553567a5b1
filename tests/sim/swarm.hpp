#pragma once
// One seed of the simulation: two trainings and a run of questions, perhaps an open one, at once on
// the same members, a visitor who asks beside them, ten to sixteen faults of the kinds that this
// seed has drawn, then the world heals. What is over before that begins anew, so that each seed has
// 200 steps or more. Everything follows from the seed.
//
// At the end every run is complete with the model of the undisturbed run, bit for bit, or has ended
// with a reason that a fault accounts for; whoever was stopped, or failed by what has healed, was
// resumed like a user would. Nothing of a run is left in any process.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vflbus::sim {

struct SeedResult {
    std::uint64_t seed = 0;
    std::uint64_t trace = 0;
    std::string violation;  ///< empty: all is well
    std::string story;      ///< only when asked for
    std::uint64_t steps = 0;
    std::uint64_t faults = 0;
    std::uint64_t events = 0;
    double seconds = 0;  ///< simulated
    std::map<std::string, std::uint64_t, std::less<>> coverage;
};

/// Computes the models of the undisturbed runs, which all seeds are compared with.
void prepare();

enum class Story : std::uint8_t {
    none,
    told,
    with_frames,  ///< of all that arrive
};
SeedResult simulate(std::uint64_t seed, Story story);

// Coverage of hostile nodes, for the summary of a batch.
inline constexpr const char* hostile_seeds = "seed with hostile nodes";
inline constexpr const char* hostile_pairs = "seed with two hostile nodes";
inline constexpr const char* hostile_lies = "hostile lies";
inline constexpr const char* hostile_changes = "hostile changes";
inline constexpr const char* hostile_lie = "hostile: ";
inline constexpr const char* hostile_change = "hostile change: ";

/// What a batch of a few thousand seeds must have met: kinds of faults, ways of recovery.
std::vector<std::string> expected_coverage();

}  // namespace vflbus::sim
