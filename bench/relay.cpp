// The smallest possible ROUTER relay, a process of its own: what a broker is measured against.
//
// Frames are those of the bus (routing id, header of 97 bytes, body) with the socket options of the
// bus. The relay looks at two bytes of the header: the lowest of the source and of the destination,
// which index a table of routing ids. A frame to destination 0 registers its source and is sent
// back. Nothing is checked, counted, queued or timed.

#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

#include "bus/wire/limits.hpp"
#include "bus/zmq/context_impl.hpp"

namespace {

constexpr std::size_t routing_id_bytes = 5;
constexpr std::size_t at_source = 39;       // lowest byte of the source node
constexpr std::size_t at_destination = 48;  // lowest byte of the destination node

void relay(void* router) {
    unsigned char table[256][routing_id_bytes] = {};
    zmq_msg_t id, header, body;
    zmq_msg_init(&id);
    zmq_msg_init(&header);
    zmq_msg_init(&body);
    for (;;) {
        if (zmq_msg_recv(&id, router, 0) < 0) return;
        if (!zmq_msg_more(&id)) continue;
        zmq_msg_recv(&header, router, 0);
        const bool with_body = zmq_msg_more(&header);
        if (with_body) zmq_msg_recv(&body, router, 0);
        if (zmq_msg_size(&header) != vflbus::bus::header_bytes) continue;
        const auto* bytes = static_cast<const unsigned char*>(zmq_msg_data(&header));
        unsigned char slot = bytes[at_destination];
        if (slot == 0) {
            slot = bytes[at_source];
            std::memcpy(table[slot], zmq_msg_data(&id), routing_id_bytes);
        }
        zmq_send(router, table[slot], routing_id_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT);
        zmq_msg_send(&header, router, ZMQ_DONTWAIT | (with_body ? ZMQ_SNDMORE : 0));
        if (with_body) zmq_msg_send(&body, router, ZMQ_DONTWAIT);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: vflbus-relay ENDPOINT\n", stderr);
        return 2;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no relay outlives its bench
    try {
        zmq::context_t context(1);
        zmq::socket_t router(context, zmq::socket_type::router);
        vflbus::bus::set_common_options(router);
        router.set(zmq::sockopt::router_mandatory, true);
        router.bind(argv[1]);
        std::printf("%s\n", router.get(zmq::sockopt::last_endpoint).c_str());
        std::fflush(stdout);
        relay(router.handle());
    } catch (const std::exception& e) {
        std::fprintf(stderr, "vflbus-relay: %s\n", e.what());
        return 1;
    }
    return 0;
}
