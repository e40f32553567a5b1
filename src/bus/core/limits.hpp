#pragma once
// The bounds that a configuration may narrow (docs/configuration.md, section [bus]); those that
// nobody may pass are in wire/limits.hpp.

#include <algorithm>

#include "bus/wire/limits.hpp"

namespace vflbus::bus {

struct Limits {
    /// Bodies are sent in pieces of this size; a broker that takes smaller frames gets smaller
    /// ones.
    std::size_t chunk = chunk_bytes;
    /// The largest frame that a broker takes; it says so in WELCOME.
    std::size_t frame = frame_bytes_max;
    /// The largest body that a link sends or takes, and a broker passes on.
    std::uint64_t message = message_bytes_max;
    /// What may be under way on a hop at the start, and always.
    std::uint64_t hop_window = hop_window_bytes_min;
    /// A receiver's memory for bodies under way (section 7), besides one that is larger than this.
    std::uint64_t body_budget = body_budget_bytes;
    /// A receiver's memory for bodies that are here without having asked for room (section 7).
    std::uint64_t unasked_budget = unasked_budget_bytes;
    /// A node's memory for the answers that it keeps until those who asked have them (section 6),
    /// besides one answer that is larger than this.
    std::uint64_t reply_budget = body_budget_bytes;
    /// Requests that are under way to one node of a run at a time; more of them wait in the link.
    std::size_t outstanding = outstanding_requests_max;
    std::size_t nodes = nodes_max;
    std::size_t runs = runs_max;
    /// What a broker keeps of the OPEN and JOIN frames of one node (with keys, of all nodes of one
    /// key), and of all OPEN.
    std::uint64_t kept_of_one = kept_of_one_bytes_max;
    std::uint64_t kept_opens = kept_opens_bytes_max;

    // -- the same everywhere; the simulation makes them small, so that small bodies are like large
    std::uint64_t hop_window_max = hop_window_bytes_max;
    std::uint64_t mark_every = mark_every_bytes;
    std::uint64_t control_allowance = control_allowance_bytes;
    /// What waits at a broker for one node before those who send to it are held back.
    std::uint64_t broker_queue = broker_queue_bytes_max;
    std::uint64_t credit_first = credit_first_bytes;
    std::uint64_t bulk_lead = bulk_lead_bytes;
    std::uint64_t credit_share_min = credit_share_bytes_min;
    std::uint64_t credit_share_max = credit_share_bytes_max;
    std::uint64_t credit_total = credit_total_bytes;
};

/// What has to hold among them, or a body would stop on its way.
constexpr bool consistent(const Limits& l) noexcept {
    return chunk_bytes_min <= l.chunk && l.chunk <= chunk_bytes &&
           // a window has a MARK before it is used up
           l.mark_every * 2 <= l.hop_window && l.hop_window < l.broker_queue &&
           // two ends that both wait for WINDOW never wait for each other: the MARKs that a sender
           // can have unanswered (its window, and twice a frame that crosses a line) are answered
           // within what is kept for that
           (std::max(l.hop_window, l.hop_window_max) + l.control_allowance +
            2 * control_body_bytes_max) /
                   std::min<std::uint64_t>(l.mark_every, bulk_chunk_bytes) * header_bytes <=
               report_allowance_bytes &&
           // credit is extended while half a share is left, and a sender waits for a smallest chunk
           chunk_bytes_min <= l.credit_first && chunk_bytes_min <= l.bulk_lead &&
           l.bulk_lead <= l.credit_first && 2 * chunk_bytes_min <= l.credit_share_min &&
           l.credit_share_min <= l.credit_share_max && l.credit_share_max <= l.credit_total &&
           l.credit_total < l.broker_queue &&
           // a first part finds room when nobody else has any
           l.credit_first + unasked_overhead_bytes <= l.unasked_budget;
}
static_assert(consistent(Limits{}));

}  // namespace vflbus::bus
