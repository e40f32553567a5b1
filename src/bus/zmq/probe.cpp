#include "bus/zmq/probe.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "bus/wire/header.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/context_impl.hpp"

namespace vflbus::bus {
namespace {

constexpr std::size_t greeting_bytes = 64;
constexpr std::size_t mechanism_at_byte = 12;
constexpr std::size_t mechanism_bytes = 20;

/// A greeting of ZMTP 3.0 (RFC 23): signature, version and mechanism.
std::string greeting(std::string_view mechanism) {
    std::string bytes(greeting_bytes, '\0');
    bytes[0] = static_cast<char>(0xff);
    bytes[9] = 0x7f;
    bytes[10] = 3;
    std::copy(mechanism.begin(), mechanism.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(mechanism_at_byte));
    return bytes;
}

int milliseconds_until(TimePoint until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock_now()).count();
    return static_cast<int>(std::clamp<long>(left, 0, 60'000));
}

/// Closes its socket at the end of its life.
struct Socket {
    explicit Socket(int family) : fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
    ~Socket() {
        if (fd >= 0) ::close(fd);
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    int fd;
};

/// What the ZeroMQ socket at a numeric tcp address speaks: "NULL", "CURVE"; nothing where none
/// says so in time. It tells this to everybody, before it asks for a key.
std::optional<std::string> mechanism_at(const std::string& numeric, TimePoint until) {
    const auto address = parse_address(numeric);
    if (!address) return std::nullopt;
    sockaddr_in6 v6{};
    sockaddr_in v4{};
    v6.sin6_family = AF_INET6;
    v4.sin_family = AF_INET;
    v6.sin6_port = v4.sin_port = htons(address->port);
    const bool is_v4 = ::inet_pton(AF_INET, address->host.c_str(), &v4.sin_addr) == 1;
    if (!is_v4 && ::inet_pton(AF_INET6, address->host.c_str(), &v6.sin6_addr) != 1)
        return std::nullopt;
    const Socket socket(is_v4 ? AF_INET : AF_INET6);
    if (socket.fd < 0) return std::nullopt;
    ::fcntl(socket.fd, F_SETFL, O_NONBLOCK);
    const auto* const to =
        is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
    if (::connect(socket.fd, to, is_v4 ? sizeof v4 : sizeof v6) != 0 && errno != EINPROGRESS)
        return std::nullopt;
    pollfd ready{socket.fd, POLLOUT, 0};
    if (::poll(&ready, 1, milliseconds_until(until)) <= 0) return std::nullopt;
    const std::string ours = greeting("CURVE");
    if (::send(socket.fd, ours.data(), ours.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(ours.size()))
        return std::nullopt;
    std::string theirs;
    while (theirs.size() < greeting_bytes) {
        ready.events = POLLIN;
        char buffer[greeting_bytes];
        if (::poll(&ready, 1, milliseconds_until(until)) <= 0) return std::nullopt;
        const ssize_t n = ::recv(socket.fd, buffer, sizeof buffer - theirs.size(), 0);
        if (n <= 0) return std::nullopt;
        theirs.append(buffer, static_cast<std::size_t>(n));
    }
    if (theirs.front() != static_cast<char>(0xff)) return std::nullopt;
    const std::string mechanism = theirs.substr(mechanism_at_byte, mechanism_bytes);
    return mechanism.substr(0, mechanism.find('\0'));
}

}  // namespace

Result<Duration> probe_broker(const std::shared_ptr<Context>& context, const std::string& text,
                              Duration patience) {
    const TimePoint begin = clock_now();
    const TimePoint until = begin + patience;
    const auto address = parse_address(text);
    if (!address) return tl::unexpected(address.error());
    const auto numeric = resolve(*address, patience);
    if (!numeric) return tl::unexpected(numeric.error());

    if (address->transport == Address::Transport::tcp) {
        const auto mechanism = mechanism_at(*numeric, until);
        if (mechanism && mechanism->starts_with("CURVE")) return clock_now() - begin;
    }
    zmq::socket_t socket(context->zmq, zmq::socket_type::dealer);
    set_common_options(socket);
    socket.set(zmq::sockopt::ipv6, true);
    socket.set(zmq::sockopt::reconnect_ivl, 50);
    try {
        socket.connect(*numeric);
    } catch (const zmq::error_t& e) {
        return fail(Errc::address, "cannot connect to " + text + ": " + e.what());
    }
    // before HELLO a broker answers everything with ERROR not_registered (docs/protocol.md,
    // section 4); whatever it says, it is there
    Header ping;
    ping.kind = Kind::ping;
    const HeaderBytes bytes = encode(ping);
    socket.send(zmq::const_buffer(bytes.data(), bytes.size()), zmq::send_flags::none);

    Incoming in;
    for (;;) {
        while (receive(socket, false, in)) {
            Header header;
            const HeaderFault fault = decode(in.frame.header.bytes(), header);
            if (fault == HeaderFault::none) return clock_now() - begin;
            if (fault == HeaderFault::other_version)
                return fail(Errc::unsupported_version,
                            "the broker at " + text + " speaks another version of the protocol");
        }
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock_now());
        if (left.count() <= 0)
            return fail(Errc::timed_out,
                        "no broker answers at " + text + " within " +
                            human_seconds(std::chrono::duration<double>(patience).count()));
        pollfd ready{descriptor_of(socket), POLLIN, 0};
        ::poll(&ready, 1, static_cast<int>(left.count()));
    }
}

}  // namespace vflbus::bus
