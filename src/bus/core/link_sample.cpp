// What a link is doing at this moment, for those who watch.

#include "bus/core/link_state.hpp"

namespace vflbus::bus {

LinkSample LinkCore::sample() const {
    LinkSample out;
    out.up = up();
    out.counters = counters_;
    out.runs = runs_.size();
    out.queued_bytes = queued_bytes();
    out.in_flight_bytes = out_.in_flight_bytes() + bulk_.out.in_flight_bytes();
    out.window_bytes = out_.window_bytes() + bulk_.out.window_bytes();
    out.reserved_bytes = reserved_bytes();
    out.waiting_bodies = waiting_bodies();
    std::map<NodeId, LinkSample::Peer> peers;
    for (const auto& [id, run] : runs_)
        for (const auto& [node, peer] : run.peers) {
            LinkSample::Peer& row = peers[node];
            row.node = node;
            row.open_requests += peer.pending.size();
            const auto add = [&row](const OutgoingBody& body) {
                if (!body.exists() || body.sent() >= body.size()) return;
                row.queued_bytes += body.size() - body.sent();
                row.credit_bytes += body.credit_left();
            };
            for (const auto& [number, pending] : peer.pending) add(pending.out);
            for (const auto& [number, answer] : peer.answers) add(answer.out);
        }
    out.peers.reserve(peers.size());
    for (const auto& [node, row] : peers) out.peers.push_back(row);
    return out;
}

}  // namespace vflbus::bus
