#pragma once
// Private to this room: what a Context is, and how frames become ZeroMQ messages.

#include <zmq.hpp>

#include "bus/core/flow.hpp"
#include "bus/wire/payload.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {

class Context {
  public:
    explicit Context(int io_threads) : zmq(io_threads) { zmq.set(zmq::ctxopt::blocky, 0); }
    zmq::context_t zmq;
};

/// Options that every socket of ours has. `peer_is_many`: a ROUTER.
void set_common_options(zmq::socket_t& socket);

/// A payload as a message: its own when it is one, shared when large, copied when small.
zmq::message_t to_message(Payload&& payload);

/// One incoming multipart message. `frames` counts those after the routing id; only two are kept.
struct Incoming {
    zmq::message_t routing_id;
    Payload head;
    Payload body;
    std::size_t frames = 0;
};
/// False when nothing is there. Never blocks.
bool receive(zmq::socket_t& socket, bool with_routing_id, Incoming& out);

}  // namespace vflbus::bus
