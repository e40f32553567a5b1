#include "bus/zmq/monitor.hpp"

#include <atomic>
#include <cstring>
#include <string>

#include "bus/zmq/context_impl.hpp"

namespace vflbus::bus {

Monitor::Monitor(zmq::context_t& context, zmq::socket_t& socket, int events) : socket_(socket) {
    static std::atomic<std::uint64_t> count{0};
    const std::string address = "inproc://vflbus-monitor-" + std::to_string(count++);
    if (zmq_socket_monitor(socket.handle(), address.c_str(), events) != 0) return;
    try {
        events_ = zmq::socket_t(context, zmq::socket_type::pair);
        events_.set(zmq::sockopt::linger, 0);
        events_.set(zmq::sockopt::rcvhwm, 0);  // the I/O thread must never wait for its reader
        events_.connect(address);
        descriptor_ = descriptor_of(events_);
    } catch (const zmq::error_t&) {
        events_ = zmq::socket_t();
        zmq_socket_monitor(socket.handle(), nullptr, 0);
    }
}

Monitor::~Monitor() {
    if (descriptor_ >= 0) zmq_socket_monitor(socket_.handle(), nullptr, 0);
}

std::optional<Monitor::Event> Monitor::next() {
    if (descriptor_ < 0) return {};
    zmq::message_t part;
    // an event is its number and its value, 6 bytes, then the address in a frame of its own
    while (receive_part(events_, part)) {
        const bool whole = part.size() == 6 && part.more();
        Event event;
        if (whole) {
            std::memcpy(&event.number, part.data(), sizeof event.number);
            std::memcpy(&event.value, static_cast<const char*>(part.data()) + sizeof event.number,
                        sizeof event.value);
        }
        while (part.more())
            if (!receive_part(events_, part)) break;
        if (whole) return event;
    }
    return {};
}

}  // namespace vflbus::bus
