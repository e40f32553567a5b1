// Second connections of nodes, for the rest of large bodies: docs/protocol.md, section 7.

#include "bus/core/broker_state.hpp"

namespace vflbus::bus {

/// Ties a connection to the session of a node, for the rest of large bodies (section 7).
void BrokerCore::on_bulk(ConnId from, const Header& header, TimePoint now) {
    const auto found = nodes_.find(header.src);
    Node* const node = found == nodes_.end() ? nullptr : found->second.get();
    const auto key = transport_.identity_of(from);
    const bool same_key = config_.access == nullptr || (node != nullptr && key != nullptr &&
                                                        node->key != nullptr && *key == *node->key);
    if (node != nullptr && !same_key)
        not_allowed(key.get(), "BULK of a session of " + node->hello.name, now);
    if (node == nullptr || node->conn == 0 || node->session != header.aux ||
        node->hello.instance != header.request || !same_key)
        return refuse_hello(from, Errc::not_registered,
                            "BULK of a session that this broker does not know");
    if (node->bulk.conn != from) {
        detach_bulk(*node, Ended::session, now);
        claim(*node, Lane::bulk, from, now);
    }
    node->bulk.heard = now;
    heard(*node, now);
    Header answer;
    answer.kind = Kind::bulk;
    answer.flags = flag::answer;
    answer.aux = node->session;
    send_bulk(*node, answer, now);
}

void BrokerCore::on_bulk_frame(Node& node, const Header& header, Frame& frame, std::size_t bytes,
                               TimePoint now) {
    node.bulk.heard = now;
    switch (header.kind) {
        case Kind::request:
        case Kind::reply:
            if (header.body_offset == 0) break;
            return route(node, Lane::bulk, header, frame, bytes, now);
        case Kind::mark:
            node.bulk.in.marked(header.aux);
            return report_consumed(node, Lane::bulk, now);
        case Kind::window:
            if (!node.bulk.out.consumed(header.aux, now)) count_refused(Errc::malformed_frame);
            if (node.bulk.out.waiting()) flush(node, now);
            return;
        case Kind::ping: {
            if (!node.pings.take(1, now)) return note_breach();
            Header pong;
            pong.kind = Kind::pong;
            pong.request = header.request;
            return send_bulk(node, pong, now);
        }
        case Kind::error:
            return;
        default:
            break;
    }
    send_error(node, header, Errc::malformed_frame,
               std::string(name_of(header.kind)) + " is not for a bulk connection", now);
}

/// Without its second connection the node has none: it may ask for another.
void BrokerCore::detach_bulk(Node& node, Ended what, TimePoint now) {
    if (node.bulk.conn == 0) return;
    release(node, Lane::bulk, what, now);
    credit_back(left_, now);
    node.bulk.in.reset();
}

/// What was in it is lost, so both ends have to begin again: the node says HELLO.
void BrokerCore::lose_bulk(Node& node, Ended what, TimePoint now) {
    detach_bulk(node, what, now);
    if (node.conn == 0) return;
    log("node lost its bulk connection name=" + node.hello.name);
    Header error;
    error.kind = Kind::error;
    error.aux = static_cast<std::uint64_t>(Errc::not_registered);
    send_control(node, Kind::error, error,
                 encode_sentence("the bulk connection is closed: say HELLO again"), now);
}

/// A control frame on the node's bulk connection.
Posted BrokerCore::post_bulk(Node& node, Frame&& frame, TimePoint now) {
    NodeSink sink(transport_, node.bulk.conn);
    const Posted posted = node.bulk.out.control({std::move(frame)}, sink, now);
    if (node.bulk.out.blocked()) blocked_.insert(node.id);
    return posted;
}

/// The same without a body. The session ends with the connection.
void BrokerCore::send_bulk(Node& node, Header header, TimePoint now) {
    header.dst = node.id;
    const Posted posted = post_bulk(node, make_frame(header, Bytes{}), now);
    if (posted == Posted::gone || posted == Posted::over) lose_bulk(node, Ended::connection, now);
}

}  // namespace vflbus::bus
