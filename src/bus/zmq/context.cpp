#include "bus/zmq/context.hpp"

#include <malloc.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "bus/wire/limits.hpp"
#include "bus/zmq/context_impl.hpp"

namespace vflbus::bus {
namespace {

// Below this a copy costs less than an owner with a reference count.
constexpr std::size_t share_from_bytes = 2048;

// Free memory that stays with the process (of each of glibc's arenas), and blocks that come from
// the system and go back to it one by one.
constexpr int kept_when_free_bytes = 16 << 20;
constexpr int mapped_from_bytes = 4 << 20;

void free_payload(void*, void* hint) {
    delete static_cast<Payload*>(hint);
}

}  // namespace

std::shared_ptr<Context> make_context(int io_threads) {
    // By default every chunk that was sent gives its memory back to the system, and the next one
    // costs the page faults again: a fifth of the throughput of 64 KiB messages.
    ::mallopt(M_TRIM_THRESHOLD, kept_when_free_bytes);
    ::mallopt(M_MMAP_THRESHOLD, mapped_from_bytes);
    return std::make_shared<Context>(io_threads);
}

StopSignal::StopSignal() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::runtime_error(std::string("eventfd: ") + std::strerror(errno));
}

StopSignal::~StopSignal() {
    ::close(fd_);
}

void StopSignal::stop() noexcept {
    calls_.fetch_add(1, std::memory_order_acq_rel);
    const std::uint64_t one = 1;
    const int saved = errno;
    [[maybe_unused]] const ssize_t n = ::write(fd_, &one, sizeof one);
    errno = saved;
}

void set_common_options(zmq::socket_t& socket) {
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::sndhwm, 0);  // our own windows bound what is under way
    socket.set(zmq::sockopt::rcvhwm, 1000);
    socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(frame_bytes_max));
    socket.set(zmq::sockopt::handshake_ivl, 5000);
    // reaps half-open connections; far above the time of one frame (docs: hosts that freeze)
    socket.set(zmq::sockopt::heartbeat_ivl, 5000);
    socket.set(zmq::sockopt::heartbeat_timeout, 15000);
    socket.set(zmq::sockopt::heartbeat_ttl, 20000);
}

zmq::message_t to_message(Payload&& payload) {
    if (auto* own = payload.get_if<zmq::message_t>()) return std::move(*own);
    const auto bytes = payload.bytes();
    if (bytes.size() < share_from_bytes) return zmq::message_t(bytes.data(), bytes.size());
    auto owner = std::make_unique<Payload>(std::move(payload));
    const auto held = owner->bytes();
    zmq::message_t message(const_cast<std::uint8_t*>(held.data()), held.size(), free_payload,
                           owner.get());
    (void)owner.release();  // free_payload has it now
    return message;
}

int send_part(zmq::socket_t& socket, Payload& payload, bool more) {
    const int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
    auto* own = payload.get_if<zmq::message_t>();
    if (own == nullptr) {
        payload = Payload::hold(to_message(std::move(payload)));
        own = payload.get_if<zmq::message_t>();
    }
    while (zmq_msg_send(own->handle(), socket.handle(), flags) < 0)
        if (errno != EINTR) return errno;
    return 0;
}

namespace {

/// The message inside a payload, to receive into; a payload that holds something else gets one.
zmq::message_t& message_in(Payload& payload) {
    if (auto* own = payload.get_if<zmq::message_t>()) return *own;
    payload = Payload::hold(zmq::message_t());
    return *payload.get_if<zmq::message_t>();
}

}  // namespace

bool receive_part(zmq::socket_t& socket, zmq::message_t& part) {
    for (;;) {
        if (zmq_msg_recv(part.handle(), socket.handle(), ZMQ_DONTWAIT) >= 0) return true;
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return false;
        throw zmq::error_t();
    }
}

void look_at_commands(zmq::socket_t& socket) {
    int events = 0;
    std::size_t size = sizeof events;
    while (zmq_getsockopt(socket.handle(), ZMQ_EVENTS, &events, &size) != 0)
        if (errno != EINTR) throw zmq::error_t();
}

bool receive(zmq::socket_t& socket, bool with_routing_id, Incoming& out) {
    out.frames = 0;
    if (with_routing_id) {
        if (!receive_part(socket, out.routing_id)) return false;
        if (!out.routing_id.more()) return true;  // a peer that sends nothing at all
    }
    zmq::message_t& head = message_in(out.frame.header);
    if (!receive_part(socket, head)) return with_routing_id;
    out.frames = 1;
    if (!head.more()) {
        out.frame.body.reset();
        return true;
    }
    zmq::message_t& body = message_in(out.frame.body);
    if (!receive_part(socket, body)) return true;  // parts of one message arrive together
    out.frames = 2;
    bool more = body.more();
    while (more) {
        zmq::message_t rest;
        if (!receive_part(socket, rest)) break;
        more = rest.more();
        ++out.frames;
    }
    return true;
}

int descriptor_of(zmq::socket_t& socket) {
    return socket.get(zmq::sockopt::fd);
}

std::string zmq_version() {
    int major = 0;
    int minor = 0;
    int patch = 0;
    ::zmq_version(&major, &minor, &patch);
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace vflbus::bus
