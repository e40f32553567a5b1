#include "bus/zmq/handshake.hpp"

#include "bus/zmq/gate.hpp"

namespace vflbus::bus {
namespace {

constexpr int watched_events = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_SUCCEEDED;

void set_bytes(zmq::socket_t& socket, int option, const std::array<std::uint8_t, key_bytes>& key) {
    if (zmq_setsockopt(socket.handle(), option, key.data(), key.size()) != 0) throw zmq::error_t();
}

std::string why(std::uint16_t event, std::int32_t value, bool with_keys) {
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        return "the broker does not let this key in: it is not on its allow-list, was revoked or "
               "has expired";
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL &&
        value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        return with_keys ? "the broker speaks in the clear, and this party has keys"
                         : "the broker wants keys: start this party with --certificates DIR";
    if (!with_keys) return "what answers there is no broker, or wants keys: --certificates DIR";
    // (also where a broker in the clear has hung up before its greeting was read)
    return "the broker there has another key than broker.pub says, speaks in the clear, or is none";
}

}  // namespace

void set_link_keys(zmq::socket_t& socket, const LinkKeys& keys) {
    set_bytes(socket, ZMQ_CURVE_SERVERKEY, keys.broker.key.bytes);
    set_bytes(socket, ZMQ_CURVE_PUBLICKEY, keys.own.pair.public_key.bytes);
    set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys.own.pair.secret.bytes);
}

void set_broker_keys(zmq::socket_t& socket, const KeyPair& keys) {
    socket.set(zmq::sockopt::curve_server, true);
    set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys.secret.bytes);
    socket.set(zmq::sockopt::zap_domain, Gate::domain);
}

Handshakes::Handshakes(zmq::context_t& context, zmq::socket_t& socket, bool with_keys)
    : monitor_(context, socket, watched_events), with_keys_(with_keys) {}

const std::string& Handshakes::read() {
    while (const auto event = monitor_.next()) {
        if (event->number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            trouble_.clear();
            not_let_in_ = false;
            ever_in_ = true;
            continue;
        }
        if (event->number == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) not_let_in_ = true;
        // an end without a reason, of the same or the next attempt, says less than a reason
        if (event->number != ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || trouble_.empty())
            trouble_ = why(event->number, event->value, with_keys_);
    }
    return trouble_;
}

}  // namespace vflbus::bus
