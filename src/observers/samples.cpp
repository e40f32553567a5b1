#include "observers/samples.hpp"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "base/files.hpp"

namespace vflbus::observers {
namespace {

using Type = Family::Type;

Family one(std::string name, std::string help, Type type, double value) {
    return {std::move(name), std::move(help), type, {{Labels{}, value}}};
}

template <class T>
Family counter(std::string name, std::string help, T value) {
    return one(std::move(name), std::move(help), Type::counter, static_cast<double>(value));
}
template <class T>
Family gauge(std::string name, std::string help, T value) {
    return one(std::move(name), std::move(help), Type::gauge, static_cast<double>(value));
}

template <class Rows, class Value>
Family by(std::string name, std::string help, Type type, const Rows& rows, const char* label,
          const std::vector<std::string>& names, Value&& value) {
    Family family{std::move(name), std::move(help), type, {}};
    family.values.reserve(rows.size());
    std::size_t i = 0;
    for (const auto& row : rows)
        family.values.push_back({{{label, names[i++]}}, static_cast<double>(value(row))});
    return family;
}

void add_broker_nodes(const bus::BrokerSample& sample, std::vector<Family>& out) {
    using Node = bus::BrokerSample::Node;
    std::vector<std::string> names;
    for (const Node& node : sample.nodes) names.push_back(node.name);
    const auto add = [&](const char* name, const char* help, Type type, auto value) {
        out.push_back(by(name, help, type, sample.nodes, "peer", names, value));
    };
    add("vflbus_broker_node_queued_bytes", "Bytes that wait at the broker for this node.",
        Type::gauge, [](const Node& node) { return node.queued_bytes; });
    add("vflbus_broker_node_credit_bytes", "Bytes that may be sent to this node at once.",
        Type::gauge, [](const Node& node) { return node.credit_bytes; });
    add("vflbus_broker_node_silent_seconds", "Time since the last frame of this node.", Type::gauge,
        [](const Node& node) { return in_seconds(node.silent); });
    add("vflbus_broker_node_sessions_total",
        "Sessions of this node; all but the first of a process are reconnects.", Type::counter,
        [](const Node& node) { return node.sessions; });
    add("vflbus_broker_node_routed_messages_total", "Frames of this node that were routed.",
        Type::counter, [](const Node& node) { return node.messages; });
    add("vflbus_broker_node_routed_bytes_total", "Bytes of this node that were routed.",
        Type::counter, [](const Node& node) { return node.bytes; });
}

void add_broker_states(const bus::BrokerSample& sample, std::vector<Family>& out) {
    std::map<bus::NodeState, std::uint64_t> nodes{{bus::NodeState::up, 0},
                                                  {bus::NodeState::suspect, 0},
                                                  {bus::NodeState::lost, 0},
                                                  {bus::NodeState::left, 0}};
    std::uint64_t agents = 0;
    for (const auto& node : sample.nodes) {
        ++nodes[node.state];
        if (node.connected && node.role == "member") ++agents;
    }
    out.push_back(gauge("vflbus_connected_agents", "Members that are connected.", agents));
    Family states{"vflbus_broker_nodes", "Nodes that the broker knows, by state.", Type::gauge, {}};
    for (const auto& [state, count] : nodes)
        states.values.push_back(
            {{{"state", std::string(name_of(state))}}, static_cast<double>(count)});
    out.push_back(std::move(states));
    Family runs{
        "vflbus_broker_runs", "Runs that the broker routes for, by state.", Type::gauge, {}};
    std::map<bus::RunState, std::uint64_t> of_runs = sample.runs_by_state;
    for (const auto state : {bus::RunState::starting, bus::RunState::running}) of_runs[state] += 0;
    for (const auto& [state, count] : of_runs)
        runs.values.push_back(
            {{{"state", std::string(name_of(state))}}, static_cast<double>(count)});
    out.push_back(std::move(runs));
    Family refused{"vflbus_broker_refused_frames_total",
                   "Frames that were answered with an error, by reason.",
                   Type::counter,
                   {}};
    std::map<Errc, std::uint64_t> reasons = sample.refused;
    // the metric is there before the first refusal, so that a rate over it sees the rise from 0
    reasons[Errc::malformed_frame] += 0;
    for (const auto& [reason, count] : reasons)
        refused.values.push_back(
            {{{"reason", std::string(name_of(reason))}}, static_cast<double>(count)});
    out.push_back(std::move(refused));
}

}  // namespace

std::vector<Family> families_of(const bus::BrokerSample& sample) {
    std::vector<Family> out;
    add_broker_states(sample, out);
    out.push_back(counter("vflbus_broker_received_frames_total", "Frames that have come in.",
                          sample.frames_in));
    out.push_back(counter("vflbus_broker_routed_frames_total", "Frames that were passed on.",
                          sample.frames_routed));
    out.push_back(counter("vflbus_broker_routed_bytes_total", "Bytes that were passed on.",
                          sample.bytes_routed));
    out.push_back(counter("vflbus_broker_strange_frames_total",
                          "Frames of something that does not speak the protocol.",
                          sample.strangers));
    out.push_back(counter("vflbus_broker_denied_total",
                          "What keys have tried without the right to it.", sample.not_allowed));
    out.push_back(counter("vflbus_broker_breaches_total", "Frames that break the protocol.",
                          sample.breaches));
    out.push_back(counter("vflbus_broker_cuts_total",
                          "How often a peer was cut for frames that break the protocol.",
                          sample.cuts));
    out.push_back(gauge("vflbus_broker_held_off",
                        "Keys and addresses that may not come for a while, as they were cut.",
                        sample.held_off));
    out.push_back(gauge("vflbus_broker_connections", "Connections, those of strangers as well.",
                        sample.connections));
    out.push_back(gauge("vflbus_broker_waiting_control_frames",
                        "Control frames for connections that take no more.",
                        sample.queued_controls));
    add_broker_nodes(sample, out);
    using Run = bus::BrokerSample::Run;
    std::vector<std::string> runs;
    for (const Run& run : sample.runs) runs.push_back(run.run.hex());
    out.push_back(by("vflbus_broker_run_routed_bytes_total",
                     "Bytes that were routed for this run; the last 100 runs.", Type::counter,
                     sample.runs, "run", runs, [](const Run& run) { return run.bytes; }));
    out.push_back(by("vflbus_broker_run_routed_messages_total",
                     "Frames that were routed for this run; the last 100 runs.", Type::counter,
                     sample.runs, "run", runs, [](const Run& run) { return run.messages; }));
    return out;
}

namespace {

void add_peers(const bus::LinkSample& sample, const std::map<NodeId, std::string>& names,
               std::vector<Family>& out) {
    using Peer = bus::LinkSample::Peer;
    std::vector<Peer> shown = sample.peers;
    if (shown.size() > parties_max) shown.resize(parties_max);
    std::vector<std::string> labels;
    for (const Peer& peer : shown) {
        const auto known = names.find(peer.node);
        labels.push_back(known == names.end() ? fmt::format("{:016x}", peer.node.value)
                                              : known->second);
    }
    const auto add = [&](const char* name, const char* help, auto value) {
        out.push_back(by(name, help, Type::gauge, shown, "peer", labels, value));
    };
    add("vflbus_peer_queued_bytes", "Bytes of messages to this peer that are not sent yet.",
        [](const Peer& peer) { return peer.queued_bytes; });
    add("vflbus_peer_credit_bytes", "Bytes of these that may be sent without asking.",
        [](const Peer& peer) { return peer.credit_bytes; });
    add("vflbus_peer_open_requests", "Requests that this peer has not answered.",
        [](const Peer& peer) { return peer.open_requests; });
}

}  // namespace

std::vector<Family> families_of(const bus::LinkSample& sample,
                                const std::map<NodeId, std::string>& names) {
    const bus::LinkCounters& c = sample.counters;
    std::vector<Family> out;
    out.push_back(gauge("vflbus_link_up", "1: connected to the broker.", sample.up ? 1 : 0));
    out.push_back(counter("vflbus_link_reconnects_total", "Sessions after the first one.",
                          c.sessions > 0 ? c.sessions - 1 : 0));
    out.push_back(
        counter("vflbus_link_resends_total", "Messages that were begun again.", c.repeated));
    out.push_back(counter("vflbus_link_requests_total", "Requests to others.", c.requests));
    out.push_back(
        counter("vflbus_link_sent_bytes_total", "Bytes of messages, sent.", c.sent_bytes));
    out.push_back(counter("vflbus_link_received_bytes_total", "Bytes of messages, received.",
                          c.received_bytes));
    out.push_back(counter("vflbus_link_sent_messages_total", "Messages that were sent whole.",
                          c.sent_bodies));
    out.push_back(counter("vflbus_link_send_seconds_total",
                          "From handing over each of these to its last byte.",
                          in_seconds(c.sending)));
    out.push_back(gauge("vflbus_link_heartbeat_seconds",
                        "From the last PING to the broker to its PONG.", in_seconds(c.heartbeat)));
    out.push_back(gauge("vflbus_link_queued_bytes", "Bytes that wait for the connection.",
                        sample.queued_bytes));
    out.push_back(gauge("vflbus_link_in_flight_bytes",
                        "Bytes that the broker has not confirmed to have read.",
                        sample.in_flight_bytes));
    out.push_back(gauge("vflbus_link_window_bytes", "Bytes that may be on their way at once.",
                        sample.window_bytes));
    out.push_back(gauge("vflbus_link_reserved_bytes", "Memory held for messages that arrive.",
                        sample.reserved_bytes));
    out.push_back(gauge("vflbus_link_waiting_messages",
                        "Messages that have begun to arrive and wait for memory.",
                        sample.waiting_bodies));
    out.push_back(gauge("vflbus_link_runs", "Runs that this node takes part in.", sample.runs));
    add_peers(sample, names, out);
    return out;
}

// -- the process ----------------------------------------------------------------------

namespace {

/// The fields of /proc/self/stat behind the name of the program, which may contain anything.
std::vector<std::string> stat_fields() {
    std::ifstream file("/proc/self/stat");
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    const std::size_t behind_name = text.rfind(')');
    if (behind_name == std::string::npos) return {};
    std::istringstream rest(text.substr(behind_name + 1));
    return {std::istream_iterator<std::string>(rest), std::istream_iterator<std::string>()};
}

double boot_seconds() {
    timespec wall{};
    timespec since_boot{};
    ::clock_gettime(CLOCK_REALTIME, &wall);
    ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
    return static_cast<double>(wall.tv_sec - since_boot.tv_sec) +
           1e-9 * static_cast<double>(wall.tv_nsec - since_boot.tv_nsec);
}

}  // namespace

std::vector<Family> process_families() {
    // as proc(5) counts them from 1, with the state being the third
    constexpr std::size_t start_time = 22 - 3;
    constexpr std::size_t virtual_bytes = 23 - 3;
    constexpr std::size_t resident_pages = 24 - 3;
    std::vector<Family> out;
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    out.push_back(counter("process_cpu_seconds_total", "User and system time.",
                          of(usage.ru_utime) + of(usage.ru_stime)));
    if (const auto fields = stat_fields(); fields.size() > resident_pages) {
        const auto number = [&](std::size_t field) { return std::stod(fields[field]); };
        out.push_back(
            gauge("process_virtual_memory_bytes", "Virtual memory.", number(virtual_bytes)));
        out.push_back(gauge("process_resident_memory_bytes", "Resident memory.",
                            number(resident_pages) * static_cast<double>(::sysconf(_SC_PAGESIZE))));
        out.push_back(gauge(
            "process_start_time_seconds", "Start of the process, since 1970.",
            boot_seconds() + number(start_time) / static_cast<double>(::sysconf(_SC_CLK_TCK))));
    }
    out.push_back(
        gauge("process_open_fds", "Open descriptors.", entries_of("/proc/self/fd").size()));
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out.push_back(gauge("process_max_fds", "Descriptors that it may have.", limit.rlim_cur));
    return out;
}

}  // namespace vflbus::observers
