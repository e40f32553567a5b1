#include "bus/zmq/closed_connections.hpp"

#include <atomic>
#include <cstring>
#include <string>

#include "bus/zmq/context_impl.hpp"

namespace vflbus::bus {

ClosedConnections::ClosedConnections(zmq::context_t& context, zmq::socket_t& router)
    : router_(router) {
    static std::atomic<std::uint64_t> count{0};
    const std::string address = "inproc://vflbus-closed-" + std::to_string(count++);
    if (zmq_socket_monitor(router.handle(), address.c_str(), ZMQ_EVENT_DISCONNECTED) != 0) return;
    try {
        monitor_ = zmq::socket_t(context, zmq::socket_type::pair);
        monitor_.set(zmq::sockopt::linger, 0);
        monitor_.set(zmq::sockopt::rcvhwm, 0);  // the I/O thread must never wait for its reader
        monitor_.connect(address);
        descriptor_ = descriptor_of(monitor_);
    } catch (const zmq::error_t&) {
        monitor_ = zmq::socket_t();
        zmq_socket_monitor(router.handle(), nullptr, 0);
    }
}

ClosedConnections::~ClosedConnections() {
    if (descriptor_ >= 0) zmq_socket_monitor(router_.handle(), nullptr, 0);
}

void ClosedConnections::read() {
    if (descriptor_ < 0) return;
    zmq::message_t event;
    // an event is its number and its value, 6 bytes, then the address in a frame of its own
    while (monitor_.recv(event, zmq::recv_flags::dontwait)) {
        const bool whole = event.size() == 6 && event.more();
        std::int32_t fd = -1;
        std::uint16_t number = 0;
        if (whole) {
            std::memcpy(&number, event.data(), sizeof number);
            std::memcpy(&fd, static_cast<const char*>(event.data()) + sizeof number, sizeof fd);
        }
        while (event.more())
            if (!monitor_.recv(event, zmq::recv_flags::dontwait)) break;
        if (!whole || number != ZMQ_EVENT_DISCONNECTED) continue;
        const auto found = connection_of_.find(fd);
        if (found == connection_of_.end()) continue;
        closed_.push_back(found->second);
        connection_of_.erase(found);
    }
}

void ClosedConnections::introduced(std::uint32_t connection, const zmq::message_t& frame) {
    if (descriptor_ < 0) return;
    read();
    const int fd = zmq_msg_get(frame.handle(), ZMQ_SRCFD);
    if (fd >= 0) connection_of_[fd] = connection;
}

}  // namespace vflbus::bus
