// What a batch of seeds must have met.

#include "hostile.hpp"
#include "swarm.hpp"

namespace vflbus::sim {

namespace {

/// Every lie and every change of a frame, by the names that hostile.cpp counts them under.
std::vector<std::string> of_hostile_nodes() {
    std::vector<std::string> names{hostile_seeds,
                                   hostile_pairs,
                                   hostile_lies,
                                   hostile_changes,
                                   "an honest node joined a hostile owner",
                                   "run with a hostile member completed",
                                   "run with a hostile member failed and names it",
                                   "hostile process ended: name_taken",
                                   "hostile process ended: superseded"};
    for (std::size_t lie = 0; lie < lies; ++lie)
        names.push_back(hostile_lie + std::string(name_of(static_cast<Lie>(lie))));
    for (std::size_t change = 0; change < changes; ++change)
        names.push_back(hostile_change + std::string(name_of(static_cast<Change>(change))));
    return names;
}

}  // namespace

std::vector<std::string> expected_coverage() {
    std::vector<std::string> names{
        // faults
        "another training begins",
        "another run of questions begins",
        "cut told to both sides",
        "cut told to the node",
        "cut told to the broker",
        "cut told to nobody",
        "bulk cut told to both sides",
        "bulk cut told to the node",
        "bulk cut told to the broker",
        "bulk cut told to nobody",
        "cut inside a body",
        "partition",
        "pause",
        "kill",
        "an owner sleeps until its run is closed",
        "restarted while the broker is stopped",
        "power lost",
        "unsynced writes lost",
        "death in a write",
        "power lost in a write",
        "broker restarted",
        "broker stopped for a while",
        "clock leaps",
        "broker's clock leaps",
        "slow worker",
        "hung worker",
        "full pipes",
        "garbage",
        "a run is claimed by another owner",
        "a request from outside of the run",
        "a request past the owner of an open run",
        "an extension that is not understood",
        "a node lies about what it has read",
        "HELLO refused for an extension",
        "run declined for an extension",
        "an answer is forged",
        "an answer is repeated",
        "a second process of a member",
        "a second process of a master",
        "disk full for a while",
        "write to a full disk",
        "stopped in order",
        "a list of ids is intersected",
        "stopped at once",
        "a commit is damaged",
        "a member's disk is lost",
        "a master's disk is set back",
        // ways of recovery
        "welcome to the same process again",
        "welcome to another process of the name",
        "broker told of a closed connection",
        "link reconnected by itself",
        "owner's link came back",
        "request sent again",
        "answer sent again",
        "duplicate of a request arrived",
        "credit",
        "a body waits for room",
        "frames wait for the window",
        "frame on a bulk connection",
        "peer lost by silence",
        "given up as stalled",
        "a hung worker was noticed in time",
        "came back within the grace",
        "term raised",
        "resumed",
        "resumed to release the members",
        "restored the last commit",
        "restored the commit before the last",
        "began again at the first step",
        "run lost with its state",
        "a part written, unconfirmed",
        "question failed: peer_restarted",
        "open run of questions ended: ok",
        "run of questions ended: ok",
        "run of a dead app closed",
        "query answered by a node",
        "query answered by the broker",
        "query failed: unreachable",
        "query failed: too_many",
        "query failed: timed_out",
        "error not_a_participant",
        "error retry",
        "error unreachable",
        "error stale_term",
        "process ended: name_taken",
        "process ended: stale_incarnation",
        "run ended: peer_lost",
        "run ended: cancelled",
        "run ended: io",
        "run ended: too_many_restarts",
        "run ended: timed_out",
        "run ended: state_lost",
        "run ended: stalled",
    };
    for (std::string& name : of_hostile_nodes()) names.push_back(std::move(name));
    return names;
}

}  // namespace vflbus::sim
