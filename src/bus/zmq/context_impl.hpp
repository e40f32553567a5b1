#pragma once
// Private to this room: what a Context is, and how frames become ZeroMQ messages.

#include <zmq.hpp>

#include "bus/core/hop.hpp"
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

/// Sends a payload as one part: its own message when it is one, otherwise `to_message` of it. 0, or
/// the errno of a failure, which leaves the payload as it was in content.
int send_part(zmq::socket_t& socket, Payload& payload, bool more);

/// One incoming multipart message. `frames` counts those after the routing id; only two are kept.
/// Reused from message to message: what its payloads hold is received into in place.
struct Incoming {
    zmq::message_t routing_id;
    Frame frame;
    std::size_t frames = 0;
};
/// False when nothing is there. Never blocks. After false the socket's descriptor (ZMQ_FD) becomes
/// readable when there is something again, until the next call on the socket.
bool receive(zmq::socket_t& socket, bool with_routing_id, Incoming& out);

/// One part of a message. False when nothing is there. Never blocks. A signal is no error: ZeroMQ
/// looks at commands of its threads in every call, and gives up when a signal comes meanwhile.
bool receive_part(zmq::socket_t& socket, zmq::message_t& part);
/// Lets a socket do what its threads have asked of it, whatever signals come.
void look_at_commands(zmq::socket_t& socket);

/// The descriptor of a socket, for poll(2) right after a `receive` that found nothing.
int descriptor_of(zmq::socket_t& socket);

}  // namespace vflbus::bus
