#pragma once
// What ZeroMQ does with the connections of a socket: it tells nobody but a monitor. Private to this
// room.

#include <cstdint>
#include <optional>
#include <zmq.hpp>

namespace vflbus::bus {

class Monitor {
  public:
    struct Event {
        std::uint16_t number = 0;  ///< ZMQ_EVENT_...
        std::int32_t value = -1;   ///< a descriptor, an errno or a protocol error, by the event
    };

    /// Watches `events` (ZMQ_EVENT_... together) of `socket`, which must outlive it. Begun before
    /// the socket binds or connects, it misses none. Where no monitor can be had, none ever comes.
    Monitor(zmq::context_t& context, zmq::socket_t& socket, int events);
    ~Monitor();
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    /// The next event that has come; none when nothing is there. Never blocks.
    [[nodiscard]] std::optional<Event> next();
    /// Readable after `next` has found nothing and something came; -1 without a monitor.
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  private:
    zmq::socket_t& socket_;
    zmq::socket_t events_;
    int descriptor_ = -1;
};

}  // namespace vflbus::bus
