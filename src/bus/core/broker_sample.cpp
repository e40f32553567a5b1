// What the broker is doing at this moment, for those who watch.

#include <algorithm>

#include "bus/core/broker_state.hpp"

namespace vflbus::bus {

BrokerSample BrokerCore::sample(TimePoint now) const {
    BrokerSample out;
    out.nodes.reserve(nodes_.size());
    for (const auto& [id, node] : nodes_) {
        BrokerSample::Node& row = out.nodes.emplace_back();
        row.name = node->hello.name;
        row.role = node->hello.role;
        row.state = state_of(*node);
        row.connected = node->conn != 0;
        row.silent = std::max(Duration{}, now - node->last_heard);
        row.queued_bytes = node->queued_bytes();
        const std::uint64_t window = node->out.window_bytes();
        row.credit_bytes = window - std::min(window, node->out.in_flight_bytes());
        row.messages = node->messages;
        row.bytes = node->bytes;
        row.sessions = node->sessions;
    }
    std::vector<const Run*> youngest;
    youngest.reserve(runs_.size());
    for (const auto& [id, run] : runs_.all()) {
        ++out.runs_by_state[run->state];
        youngest.push_back(run.get());
    }
    const std::size_t kept = std::min(youngest.size(), sampled_runs_max);
    std::partial_sort(youngest.begin(), youngest.begin() + static_cast<std::ptrdiff_t>(kept),
                      youngest.end(), [](const Run* a, const Run* b) {
                          return a->created != b->created ? a->created > b->created : a->id < b->id;
                      });
    youngest.resize(kept);
    std::ranges::sort(youngest, {}, &Run::id);
    for (const Run* run : youngest)
        out.runs.push_back(
            {run->id, run->state, run->created, run->members().size(), run->messages, run->bytes});
    out.refused = refused_;
    out.frames_in = counters_.frames_in;
    out.frames_routed = counters_.frames_routed;
    out.bytes_routed = counters_.bytes_routed;
    out.strangers = counters_.strangers;
    out.not_allowed = counters_.not_allowed;
    out.breaches = counters_.breaches;
    out.cuts = counters_.cuts;
    for (const ConductRow& row : conduct_.rows(now))
        if (row.held_off > Duration{}) ++out.held_off;
    out.connections = connections_.size();
    out.queued_controls = queued_controls();
    return out;
}

}  // namespace vflbus::bus
