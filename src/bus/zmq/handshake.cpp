#include "bus/zmq/handshake.hpp"

#include <atomic>
#include <cstring>

#include "bus/zmq/context_impl.hpp"
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
    return "the broker there has another key than broker.pub says, or is none";
}

}  // namespace

void set_link_keys(zmq::socket_t& socket, const LinkKeys& keys) {
    set_bytes(socket, ZMQ_CURVE_SERVERKEY, keys.broker.key.bytes);
    set_bytes(socket, ZMQ_CURVE_PUBLICKEY, keys.own.pair.open.bytes);
    set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys.own.pair.secret.bytes);
}

void set_broker_keys(zmq::socket_t& socket, const KeyPair& keys) {
    socket.set(zmq::sockopt::curve_server, true);
    set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys.secret.bytes);
    socket.set(zmq::sockopt::zap_domain, Gate::domain);
}

Handshakes::Handshakes(zmq::context_t& context, zmq::socket_t& socket, bool with_keys)
    : socket_(socket), with_keys_(with_keys) {
    static std::atomic<std::uint64_t> count{0};
    const std::string address = "inproc://vflbus-handshakes-" + std::to_string(count++);
    if (zmq_socket_monitor(socket.handle(), address.c_str(), watched_events) != 0) return;
    try {
        monitor_ = zmq::socket_t(context, zmq::socket_type::pair);
        monitor_.set(zmq::sockopt::linger, 0);
        monitor_.connect(address);
        descriptor_ = descriptor_of(monitor_);
    } catch (const zmq::error_t&) {
        monitor_ = zmq::socket_t();
        zmq_socket_monitor(socket.handle(), nullptr, 0);
    }
}

Handshakes::~Handshakes() {
    if (descriptor_ >= 0) zmq_socket_monitor(socket_.handle(), nullptr, 0);
}

const std::string& Handshakes::read() {
    if (descriptor_ < 0) return trouble_;
    zmq::message_t event;
    // an event is its number and its value, 6 bytes, then the address in a frame of its own
    while (receive_part(monitor_, event)) {
        std::uint16_t number = 0;
        std::int32_t value = 0;
        const bool whole = event.size() == 6;
        if (whole) {
            std::memcpy(&number, event.data(), sizeof number);
            std::memcpy(&value, static_cast<const char*>(event.data()) + sizeof number,
                        sizeof value);
        }
        while (event.more())
            if (!receive_part(monitor_, event)) break;
        if (!whole) continue;
        if (number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            trouble_.clear();
        else
            trouble_ = why(number, value, with_keys_);
    }
    return trouble_;
}

}  // namespace vflbus::bus
