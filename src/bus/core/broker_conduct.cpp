// Peers that break the protocol, and what one key may have of a broker in all: docs/protocol.md,
// sections 10 and 13.

#include "base/planted.hpp"
#include "base/text.hpp"
#include "bus/core/broker_state.hpp"
#include "bus/core/share.hpp"

namespace vflbus::bus {

/// Under what name conduct is remembered: that of the key, else the address. Empty: nothing is
/// known of the connection, and only it itself can be cut.
std::string BrokerCore::who(const Identity* key, ConnId conn) const {
    if (has_key(key)) return key->name;
    return config_.access == nullptr ? transport_.address_of(conn) : std::string();
}

/// The frame that is being worked on breaks the protocol. Its connection is looked at when that is
/// done, as closing it in the middle would take its node away from those who work with it.
void BrokerCore::note_breach() noexcept {
    breached_ = true;
}

/// Counts the breach, and cuts who has made too many. All connections of the key end, whatever
/// name it used on them.
void BrokerCore::settle_breach(ConnId from, TimePoint now) {
    breached_ = false;
    ++counters_.breaches;
    Connection* const connection = connections_.find(from);  // perhaps forgotten over the frame
    Node* const node = connection == nullptr ? nullptr : connection->node;
    const std::shared_ptr<const Identity> key =
        node != nullptr ? node->key : transport_.identity_of(from);
    const std::string whose = who(key.get(), from);
    const bool too_many = whose.empty()
                              ? connection != nullptr && !connection->breaches.take(1, now)
                              : conduct_.breach(whose, now);
    if (!too_many || VFLBUS_PLANTED(breach_not_cut)) return;
    ++counters_.cuts;
    if (whose.empty()) {
        tell_refusal(
            "cut " + (node == nullptr ? std::string("a stranger") : "name=" + node->hello.name) +
                ": it breaks the protocol again and again",
            now);
        return cut(from, now);
    }
    const double seconds = std::chrono::duration<double>(conduct_.held_off(whose, now)).count();
    tell_refusal("cut and held off name=" + printable(whose) + key_text(key.get()) +
                     " seconds=" + std::to_string(static_cast<long>(seconds + 0.5)) +
                     " times=" + std::to_string(conduct_.cuts(whose)) +
                     ": it breaks the protocol again and again",
                 now);
    std::vector<ConnId> all{from};
    if (has_key(key.get()))
        for (const NodeId id : nodes_of_key(key->name))
            if (const ConnId conn = nodes_.at(id)->conn; conn != 0 && conn != from)
                all.push_back(conn);
    for (const ConnId conn : all) cut(conn, now);
}

/// Closes a connection, and the session that has it with its other one. Those who work with the
/// node hear of it as of a connection that broke: whether it comes back, it decides.
void BrokerCore::cut(ConnId conn, TimePoint now) {
    const Connection* const connection = connections_.find(conn);
    Node* const node = connection == nullptr ? nullptr : connection->node;
    std::vector<ConnId> ends;
    if (node != nullptr)
        for (const ConnId other : {node->conn, node->bulk.conn})
            if (other != 0 && other != conn) ends.push_back(other);
    ends.push_back(conn);
    // Known until they are closed, as what was on its way still comes. Marked before the session
    // ends, since the name goes to whoever waits for it then: that may be a process that has said
    // HELLO on one of these.
    for (const ConnId end : ends)
        if (Connection* const known = connections_.find(end)) known->cut = true;
    if (node != nullptr) disconnect(*node, Ended::session, now);
    for (const ConnId end : ends) transport_.close(end);
}

/// Whether who says HELLO has to wait, as it was cut a moment ago. It was told. `whose`: as `who`
/// says of its connection.
bool BrokerCore::held_off(ConnId from, const std::string& whose, TimePoint now) {
    const Duration left = conduct_.held_off(whose, now);
    if (left <= Duration{} || VFLBUS_PLANTED(hold_off_forgotten)) return false;
    refuse_hello(from, Errc::held_off,
                 whose + " has broken the protocol again and again, was cut " +
                     std::to_string(conduct_.cuts(whose)) + " times" +
                     " for it, and may come again in " +
                     human_seconds(std::chrono::duration<double>(left).count()));
    ended_.push_back(from);
    return true;
}

/// Whether a connection that is no node's may have sent so many bytes more without HELLO: what was
/// under way when its session ended, and nothing at all of who is held off. The bytes are counted.
bool BrokerCore::may_say_nothing(ConnId from, std::size_t bytes, TimePoint now) {
    if (VFLBUS_PLANTED(breach_not_cut)) return true;
    Connection& connection = *connections_.find(from);
    connection.unheard_bytes += bytes;
    const Limits& l = config_.limits;
    if (connection.unheard_bytes > std::max(l.hop_window, l.hop_window_max) +
                                       2 * l.control_allowance + 2 * control_body_bytes_max)
        return false;
    if (conduct_.empty()) return true;
    return conduct_.held_off(who(transport_.identity_of(from).get(), from), now) <= Duration{};
}

// -- what one key may have in all --------------------------------------------------

const std::set<NodeId>& BrokerCore::nodes_of_key(const std::string& name) const {
    static const std::set<NodeId> none;
    const auto found = nodes_of_key_.find(name);
    return found == nodes_of_key_.end() ? none : found->second;
}

void BrokerCore::set_key(Node& node, std::shared_ptr<const Identity> key) {
    if (has_key(node.key.get())) {
        const auto found = nodes_of_key_.find(node.key->name);
        found->second.erase(node.id);
        if (found->second.empty()) nodes_of_key_.erase(found);
    }
    node.key = std::move(key);
    if (has_key(node.key.get())) nodes_of_key_[node.key->name].insert(node.id);
}

/// The sum over all nodes of the node's key, which count as one; over it alone where it has none.
template <class Add>
std::uint64_t BrokerCore::of_account(const Node& node, Add&& add) const {
    if (!has_key(node.key.get())) return add(node);
    std::uint64_t all = 0;
    for (const NodeId id : nodes_of_key(node.key->name)) all += add(*nodes_.at(id));
    return all;
}

/// What waits here for all nodes of a key.
std::uint64_t BrokerCore::queued_for_account(const Node& node) const {
    return of_account(node, [](const Node& one) { return one.queued_cost(); });
}

/// How many of its questions wait for an answer.
std::size_t BrokerCore::questions_of_account(const Node& node) const {
    return of_account(node, [&](const Node& one) {
        return static_cast<std::uint64_t>(std::distance(asked_.lower_bound({one.id, 0}),
                                                        asked_.upper_bound({one.id, UINT64_MAX})));
    });
}

/// Whether a key may have one node more. Precondition: there is a place for one.
bool BrokerCore::may_have_node(const Identity* key) const {
    if (!rights_.asks(key)) return true;
    return may_take_one_more(nodes_of_key(key->name).size(),
                             config_.limits.nodes - nodes_.size() - 1);
}

/// Whether a key has asked, or noted, more than it may. It was told.
bool BrokerCore::asks_too_often(Node& node, const Header& query, TimePoint now) {
    const bool is_note = query.type == static_cast<std::uint16_t>(Question::note);
    if (!asked_for_rights(node) || node.key == nullptr) return false;
    auto& lately = is_note ? noting_ : asking_;
    const AllowanceLimits& limits = is_note ? notes_of_key : questions_of_key;
    if (lately.try_emplace(node.key->name, limits, now).first->second.take(1, now)) return false;
    send_answer(
        node, query, broker_node,
        fail(Errc::too_many, "the key of " + node.hello.name +
                                 (is_note ? " notes runs too often; note them again in a moment"
                                          : " asks too often; ask again in a moment")),
        now);
    return true;
}

}  // namespace vflbus::bus
