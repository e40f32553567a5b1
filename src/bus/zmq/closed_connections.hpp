#pragma once
// Which connections of a ROUTER were closed, as ZeroMQ's monitor tells it.
//
// The monitor names a connection by its file descriptor, a message by the routing id; a message
// says which descriptor it came from, so that HELLO (or BULK) ties the two. Descriptors are used
// again: the I/O thread tells of a closed one before it closes it, so whoever reads the monitor to
// its end before HELLO is looked at never takes a new connection for the old one of its descriptor.
// inproc has no descriptors, and is not told.
//
// What a connection said before it was closed may still wait in the ROUTER when the monitor speaks:
// a connection counts as closed only when nothing is left to receive.

#include <cstdint>
#include <map>
#include <utility>
#include <vector>
#include <zmq.hpp>

namespace vflbus::bus {

class ClosedConnections {
  public:
    /// Before `router` is bound. Where the monitor cannot be had, nothing is ever told.
    ClosedConnections(zmq::context_t& context, zmq::socket_t& router);
    ~ClosedConnections();
    ClosedConnections(const ClosedConnections&) = delete;
    ClosedConnections& operator=(const ClosedConnections&) = delete;

    /// Reads all that the monitor has to say.
    void read();
    /// A HELLO or BULK has come: ties its connection to its descriptor, after `read`.
    void introduced(std::uint32_t connection, const zmq::message_t& frame);
    /// Those that `read` has found since the last call. Called when the ROUTER had nothing to
    /// receive after that `read`.
    [[nodiscard]] std::vector<std::uint32_t> take() { return std::exchange(closed_, {}); }
    /// Readable when there may be something to read; -1 without a monitor.
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  private:
    zmq::socket_t& router_;
    zmq::socket_t monitor_;
    int descriptor_ = -1;
    std::map<int, std::uint32_t> connection_of_;  ///< by file descriptor
    std::vector<std::uint32_t> closed_;
};

}  // namespace vflbus::bus
