#pragma once
// Error codes. Their numbers travel in ERROR frames (docs/protocol.md, section 9) and must never
// change; new codes are appended.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace vflbus {

enum class Errc : std::uint16_t {
    ok = 0,
    // -- the wire -------------------------------------------------------------
    malformed_frame = 1,      ///< a frame is not what docs/protocol.md says
    unsupported_version = 2,  ///< the peer speaks another protocol number
    not_registered = 3,       ///< a frame came before HELLO; say HELLO and send again
    name_taken = 4,           ///< another live process uses this node name
    stale_incarnation = 5,    ///< a younger process of this name is known
    superseded = 6,           ///< a younger process of this name has taken over
    wrong_source = 7,         ///< the frame claims a node that the connection is not
    unknown_run = 8,          ///< no such run here
    retry = 9,                ///< not known yet; ask again after the rejoin grace
    not_a_participant = 10,   ///< source or destination takes no part in the run
    not_owner = 11,           ///< only the owner of a run may do this
    stale_term = 12,          ///< the frame belongs to an earlier term of the run
    too_large = 13,           ///< a frame or message exceeds its limit
    too_many = 14,            ///< a count exceeds its limit
    unknown_message = 15,     ///< no handler for this message type
    malformed_message = 16,   ///< the body of a message does not decode
    peer_restarted = 17,      ///< the destination restarted; the request is void
    peer_lost = 18,           ///< the destination was silent for too long
    unreachable = 19,         ///< the destination is not connected
    not_allowed = 20,         ///< the key has no right to this
    seal_broken = 21,         ///< what came does not open with the key of its sender
    held_off = 22,            ///< it broke the protocol, and may come again later
    // -- runs -----------------------------------------------------------------
    refused = 32,            ///< a party declined to take part
    config_differs = 33,     ///< the agreed halves of two configurations differ
    handler_failed = 34,     ///< a handler ended with an error
    timed_out = 35,          ///< a wait reached its bound
    cancelled = 36,          ///< stopped by a user
    expired = 37,            ///< the message outlived its time to live
    diverged = 38,           ///< loss or weights are no longer finite
    run_ended = 39,          ///< the run is over
    owner_lost = 40,         ///< the owner of the run is gone
    state_lost = 41,         ///< a party no longer has the commit that the run needs
    too_many_restarts = 42,  ///< a party restarts again and again without getting on
    stalled = 43,            ///< a worker is busy and does not get on
    held = 44,               ///< a party waits for somebody there to approve the run
    // -- the program ----------------------------------------------------------
    usage = 64,       ///< a command line that makes no sense
    bad_config = 65,  ///< a configuration key, type or value is wrong
    bad_data = 66,    ///< a table, cell, label or id is unusable
    io = 67,          ///< a file or directory cannot be read or written
    address = 68,     ///< an address cannot be bound, resolved or used
    insecure = 69,    ///< refused without an explicit --insecure
    internal = 70,    ///< a bug of ours
};

/// What the process exits with (docs/operating.md lists them one by one).
enum class ExitCode : int {
    ok = 0,
    internal = 1,
    usage = 2,
    bad_data = 3,
    party_missing = 4,
    run_failed = 5,
    diverged = 6,
    network = 7,
    config_differs = 8,
    superseded = 9,  ///< no supervisor restarts this one
    interrupted = 130,
};

/// Short stable name, e.g. "name_taken"; "unknown" for a number not listed.
std::string_view name_of(Errc code) noexcept;
/// One sentence that says what the code means.
std::string_view meaning_of(Errc code) noexcept;
/// The code of that short name; none for a name that is not listed.
std::optional<Errc> errc_named(std::string_view name) noexcept;
ExitCode exit_code(Errc code) noexcept;

/// Why something did not succeed. Programs decide by the code and the fields; people read the
/// sentence, which names the party, the file or key. Nothing decides by searching in a sentence.
struct Failure {
    Errc code = Errc::internal;
    std::string sentence;  ///< what happened
    /// Whose fault it is, or who has said it. Then the sentence can stand alone; when it is empty,
    /// whoever passes the failure on names the party in front of the sentence.
    std::string party = {};
    std::string phase = {};  ///< of the run: "aligning", "training"; empty: no run yet
    std::optional<std::uint64_t> step = {};  ///< of the training, counted from 1
    std::string hint = {};   ///< what to do about it; empty when the sentence says it
    bool resumable = false;  ///< the run can go on from its last commit, by --resume
    /// What other parties may be told instead of the sentence, which quotes cells, ids or column
    /// names of one party's table; empty: they may read the sentence.
    std::string for_others = {};
};

/// The whole failure for people: what happened, then what to do about it and, when the run can go
/// on, the command that goes on with it. `resume` is that command, as it can be typed; a party that
/// knows it only in part says "--resume 1f0c9a33...".
///   member-1 is gone, silent for 30 s; start it again, then go on with `--resume 1f0c9a33`
///   stopped at step 12 of 240; `--resume 1f0c9a33` continues it
std::string explained(const Failure& failure, std::string_view resume = {});

template <class T = void>
using Result = tl::expected<T, Failure>;

[[nodiscard]] inline tl::unexpected<Failure> fail(Errc code, std::string sentence) {
    return tl::unexpected<Failure>(Failure{code, std::move(sentence)});
}

}  // namespace vflbus
