#include "base/errc.hpp"

namespace vflbus {
namespace {

struct Row {
    Errc code;
    std::string_view name;
    std::string_view meaning;
};

constexpr Row rows[] = {
    {Errc::ok, "ok", "no error"},
    {Errc::malformed_frame, "malformed_frame", "a frame is not what docs/protocol.md says"},
    {Errc::unsupported_version, "unsupported_version", "the peer speaks another protocol number"},
    {Errc::not_registered, "not_registered", "a frame came before HELLO; say HELLO and send again"},
    {Errc::name_taken, "name_taken", "another live process uses this node name"},
    {Errc::stale_incarnation, "stale_incarnation", "a younger process of this name is known"},
    {Errc::superseded, "superseded", "a younger process of this name has taken over"},
    {Errc::wrong_source, "wrong_source", "the frame claims a node that the connection is not"},
    {Errc::unknown_run, "unknown_run", "no such run here"},
    {Errc::retry, "retry", "not known yet; ask again after the rejoin grace"},
    {Errc::not_a_participant, "not_a_participant",
     "source or destination takes no part in the run"},
    {Errc::not_owner, "not_owner", "only the owner of a run may do this"},
    {Errc::stale_term, "stale_term", "the frame belongs to an earlier term of the run"},
    {Errc::too_large, "too_large", "a frame or message exceeds its limit"},
    {Errc::too_many, "too_many", "a count exceeds its limit"},
    {Errc::unknown_message, "unknown_message", "no handler for this message type"},
    {Errc::malformed_message, "malformed_message", "the body of a message does not decode"},
    {Errc::peer_restarted, "peer_restarted", "the destination restarted; the request is void"},
    {Errc::peer_lost, "peer_lost", "the destination was silent for too long"},
    {Errc::unreachable, "unreachable", "the destination is not connected"},
    {Errc::not_allowed, "not_allowed", "the key has no right to this"},
    {Errc::seal_broken, "seal_broken", "what came does not open with the key of its sender"},
    {Errc::held_off, "held_off", "it has broken the protocol, and may come again later"},
    {Errc::refused, "refused", "a party declined to take part"},
    {Errc::config_differs, "config_differs", "the agreed halves of two configurations differ"},
    {Errc::handler_failed, "handler_failed", "a handler ended with an error"},
    {Errc::timed_out, "timed_out", "a wait reached its bound"},
    {Errc::cancelled, "cancelled", "stopped by a user"},
    {Errc::expired, "expired", "the message outlived its time to live"},
    {Errc::diverged, "diverged", "loss or weights are no longer finite"},
    {Errc::run_ended, "run_ended", "the run is over"},
    {Errc::owner_lost, "owner_lost", "the owner of the run is gone"},
    {Errc::state_lost, "state_lost", "a party no longer has the commit that the run needs"},
    {Errc::too_many_restarts, "too_many_restarts",
     "a party restarts again and again without getting on"},
    {Errc::stalled, "stalled", "a worker is busy and does not get on"},
    {Errc::held, "held", "a party waits for somebody there to approve the run"},
    {Errc::usage, "usage", "a command line that makes no sense"},
    {Errc::bad_config, "bad_config", "a configuration key, type or value is wrong"},
    {Errc::bad_data, "bad_data", "a table, cell, label or id is unusable"},
    {Errc::io, "io", "a file or directory cannot be read or written"},
    {Errc::address, "address", "an address cannot be bound, resolved or used"},
    {Errc::insecure, "insecure", "refused without an explicit --insecure"},
    {Errc::internal, "internal", "a bug of ours"},
};

}  // namespace

std::string_view name_of(Errc code) noexcept {
    for (const Row& row : rows)
        if (row.code == code) return row.name;
    return "unknown";
}

std::string_view meaning_of(Errc code) noexcept {
    for (const Row& row : rows)
        if (row.code == code) return row.meaning;
    return "an error code this version does not know";
}

std::optional<Errc> errc_named(std::string_view name) noexcept {
    for (const Row& row : rows)
        if (row.name == name) return row.code;
    return std::nullopt;
}

std::string explained(const Failure& failure, std::string_view resume) {
    std::string text = failure.sentence;
    if (!failure.hint.empty()) text += "; " + failure.hint;
    if (!failure.resumable || resume.empty()) return text;
    const std::string command = "`" + std::string(resume) + "`";
    return text + (failure.hint.empty() ? "; " + command + " continues it"
                                        : ", then go on with " + command);
}

ExitCode exit_code(Errc code) noexcept {
    switch (code) {
        case Errc::ok:
            return ExitCode::ok;
        case Errc::usage:
        case Errc::bad_config:
        case Errc::insecure:
            return ExitCode::usage;
        case Errc::bad_data:
        case Errc::io:
            return ExitCode::bad_data;
        case Errc::timed_out:
        case Errc::unreachable:
            return ExitCode::party_missing;
        case Errc::diverged:
            return ExitCode::diverged;
        case Errc::address:
        case Errc::unsupported_version:
        case Errc::name_taken:
        case Errc::not_allowed:
        case Errc::held_off:
            return ExitCode::network;
        case Errc::config_differs:
            return ExitCode::config_differs;
        case Errc::superseded:
        case Errc::stale_incarnation:
            return ExitCode::superseded;
        case Errc::cancelled:
            return ExitCode::interrupted;
        case Errc::internal:
            return ExitCode::internal;
        default:
            return ExitCode::run_failed;
    }
}

}  // namespace vflbus
