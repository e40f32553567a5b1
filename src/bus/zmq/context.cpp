#include "bus/zmq/context.hpp"

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

void free_payload(void*, void* hint) {
    delete static_cast<Payload*>(hint);
}

}  // namespace

std::shared_ptr<Context> make_context(int io_threads) {
    return std::make_shared<Context>(io_threads);
}

StopSignal::StopSignal() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::runtime_error(std::string("eventfd: ") + std::strerror(errno));
}

StopSignal::~StopSignal() {
    ::close(fd_);
}

void StopSignal::stop() noexcept {
    stopped_.store(true, std::memory_order_release);
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

bool receive(zmq::socket_t& socket, bool with_routing_id, Incoming& out) {
    out.frames = 0;
    zmq::message_t part;
    const auto next = [&](zmq::message_t& into) {
        for (;;) {
            try {
                return socket.recv(into, zmq::recv_flags::dontwait).has_value();
            } catch (const zmq::error_t& e) {
                if (e.num() != EINTR) throw;
            }
        }
    };
    if (with_routing_id) {
        if (!next(out.routing_id)) return false;
        if (!out.routing_id.more()) return true;  // a peer that sends nothing at all
    }
    if (!next(part)) return with_routing_id;
    out.frames = 1;
    bool more = part.more();
    out.head = Payload::hold(std::move(part));
    out.body.reset();
    while (more) {
        zmq::message_t rest;
        if (!next(rest)) break;  // parts of one message arrive together
        more = rest.more();
        if (++out.frames == 2) out.body = Payload::hold(std::move(rest));
    }
    return true;
}

}  // namespace vflbus::bus
