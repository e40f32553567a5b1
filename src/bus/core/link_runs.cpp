// Runs that this node owns or takes part in: docs/protocol.md, section 5.

#include <algorithm>

#include "base/assert.hpp"
#include "base/hash.hpp"
#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

constexpr Duration close_patience = std::chrono::seconds(5);
/// Invitations that were closed before this node has answered them, which takes it as long as its
/// user needs to decide.
constexpr std::size_t closed_runs_max = 64;

}  // namespace

void LinkCore::open_run(const RunId& run, std::uint32_t term, Open open, TimePoint now) {
    VFLBUS_ASSERT(within_limits(open.extensions), "extensions of an OPEN are within the limits");
    time_ = now;
    Run& entry = runs_[run];
    drop_frames(run);
    forget_deadlines(entry);
    const LinkBytes moved = entry.bytes;  // of earlier terms
    entry = Run{};
    reclaim();
    entry.bytes = moved;
    entry.id = run;
    entry.term = term;
    entry.owner = id_;
    entry.ours = true;
    if (seal_) seal_open(entry, open);
    entry.announcement = encode(open);
    if (seal_) entry.open_digest = hash256(entry.announcement);
    for (const Participant& participant : open.participants)
        (void)peer_of(entry, node_id_of(participant.name), participant.name);
    announce(entry, now);
}

void LinkCore::join_run(const RunInvited& invited, Join join, TimePoint now) {
    VFLBUS_ASSERT(within_limits(join.extensions), "extensions of a JOIN are within the limits");
    time_ = now;
    const RunId& run = invited.run;
    const auto closed = std::ranges::find_if(closed_, [&](const ClosedRun& known) {
        return known.run == run && known.term >= invited.term;
    });
    if (join.code == Errc::ok && closed != closed_.end()) {
        events_.push_back(RunClosed{run, closed->ending, false, true, invited.invitation});
        return;
    }
    // a JOIN without the keys of the present OPEN would be a refusal to its owner
    if (join.code == Errc::ok && invited.invitation != 0 &&
        !is_present_invitation(run, invited.invitation)) {
        events_.push_back(RunClosed{
            run, {Errc::run_ended, "the run was closed"}, false, true, invited.invitation});
        return;
    }
    if (Run* const known = find(run)) forget_deadlines(*known);
    if (join.code != Errc::ok) {
        runs_.erase(run);
        if (state_ != State::up) return;
        if (seal_) seal_join(run, invited.term, join, nullptr);
        Header header;
        header.run = run;
        header.term = invited.term;
        header.dst = invited.owner;
        return send_control(Kind::join, header, encode(join));
    }
    Run& entry = runs_[run];
    entry = Run{};
    reclaim();
    entry.id = run;
    entry.term = invited.term;
    entry.owner = invited.owner;
    if (seal_) seal_join(run, invited.term, join, &entry);
    entry.announcement = encode(join);
    announce(entry, now);
}

void LinkCore::close_run(const RunId& run, Ending ending, TimePoint now) {
    Run* entry = find(run);
    if (entry == nullptr || entry->closing) return;
    time_ = now;
    entry->closing = std::move(ending);
    entry->close = close_of(*entry);
    entry->close_until = now + close_patience;
    runs_due_.no_later(run, entry->close_until, entry->look_at);
    for (auto& [node, peer] : entry->peers) {  // requests and replies of others are void
        peer.requests.clear();
        peer.replies.clear();
    }
    reclaim();
    drop_frames(run);
    announce(*entry, now);
}

void LinkCore::forget_run(const RunId& run) {
    drop_frames(run);
    if (Run* const known = find(run)) forget_deadlines(*known);
    runs_.erase(run);
    reclaim();
}

/// The user is told at once; it may be about to answer the OPEN, and hears it again then.
void LinkCore::keep_ending(const Header& header, Ending ending) {
    std::erase_if(closed_, [&](const ClosedRun& known) { return known.run == header.run; });
    if (closed_.size() >= closed_runs_max) closed_.pop_front();
    closed_.push_back({header.run, header.term, ending});
    events_.push_back(RunClosed{header.run, std::move(ending), false, false});
}

/// Drops frames of the run that wait for the window: they are of a term that is over.
void LinkCore::drop_frames(const RunId& run) {
    out_.drop_run(run, left_);
    bulk_.out.drop_run(run, left_);
    left_.clear();
}

LinkBytes LinkCore::bytes_of(const RunId& run) const {
    const auto found = runs_.find(run);
    return found == runs_.end() ? LinkBytes{} : found->second.bytes;
}

}  // namespace vflbus::bus
