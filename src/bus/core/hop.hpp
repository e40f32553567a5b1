#pragma once
// A hop is one ZeroMQ connection between a node and the broker. What both ends of it share.

#include <cstdint>

#include "base/ids.hpp"
#include "bus/wire/payload.hpp"

namespace vflbus::bus {

enum class SendResult : std::uint8_t {
    ok,
    full,  ///< the transport takes no more now; the frame is untouched
    gone,  ///< there is no such connection any more; the frame is untouched
};

/// Where frames of one hop go. Moves from the frame on `ok` only.
class FrameSink {
  public:
    virtual ~FrameSink() = default;
    virtual SendResult send(Frame& frame) = 0;
};

/// Which connection of a node: the one that says HELLO, or the one for the rest of large bodies
/// (docs/protocol.md, section 7).
enum class Lane : std::uint8_t { main, bulk };

/// The connection on which a waiting frame arrived. The broker counts the frame as consumed there
/// when it leaves its queue.
struct Origin {
    NodeId node;
    std::uint64_t session = 0;  ///< 0: nobody has to be told
    Lane lane = Lane::main;
};

}  // namespace vflbus::bus
