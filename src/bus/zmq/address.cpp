#include "bus/zmq/address.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "base/text.hpp"

namespace vflbus::bus {
namespace {

bool is_number(const std::string& host) {
    unsigned char scratch[sizeof(in6_addr)];
    return ::inet_pton(AF_INET, host.c_str(), scratch) == 1 ||
           ::inet_pton(AF_INET6, host.c_str(), scratch) == 1;
}

bool is_loopback(const std::string& host) {
    in_addr v4;
    if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    return host == "::1" || host == "localhost";
}

std::string numeric_text(const std::string& host, std::uint16_t port) {
    const bool v6 = host.find(':') != std::string::npos;
    return "tcp://" + (v6 ? "[" + host + "]" : host) + ":" +
           (port == 0 ? "*" : std::to_string(port));
}

}  // namespace

std::string Address::text() const {
    switch (transport) {
        case Transport::ipc:
            return "ipc://" + host;
        case Transport::inproc:
            return "inproc://" + host;
        case Transport::tcp:
            break;
    }
    return numeric_text(host, port);
}

Result<Address> parse_address(std::string_view text) {
    const auto bad = [&](const std::string& why) {
        return fail(Errc::address, "address \"" + std::string(text) + "\" " + why +
                                       "; write tcp://HOST:PORT, ipc://PATH or inproc://NAME");
    };
    Address address;
    const auto after = [&](std::string_view scheme) {
        return std::string(text.substr(scheme.size()));
    };
    if (text.starts_with("ipc://") || text.starts_with("inproc://")) {
        const bool ipc = text.starts_with("ipc://");
        address.transport = ipc ? Address::Transport::ipc : Address::Transport::inproc;
        address.host = after(ipc ? "ipc://" : "inproc://");
        if (address.host.empty()) return bad("has no name");
        if (ipc && address.host.size() >= sizeof(sockaddr_un::sun_path))
            return bad("is longer than the " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                       " bytes that the system allows for a socket's path");
        return address;
    }
    if (!text.starts_with("tcp://")) return bad("has no transport");
    const std::string rest = after("tcp://");
    const auto colon = rest.rfind(':');
    if (colon == std::string::npos) return bad("has no port");
    address.host = rest.substr(0, colon);
    if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
        address.host = address.host.substr(1, address.host.size() - 2);
    if (address.host.empty()) return bad("has no host");
    const std::string port = rest.substr(colon + 1);
    if (port != "*") {
        unsigned value = 0;
        const auto parsed = std::from_chars(port.data(), port.data() + port.size(), value);
        if (parsed.ec != std::errc{} || parsed.ptr != port.data() + port.size() || value > 65535)
            return bad("has no port between 0 and 65535");
        address.port = static_cast<std::uint16_t>(value);
    }
    address.numeric = address.host == "*" || is_number(address.host);
    address.local_only = is_loopback(address.host);
    return address;
}

bool answers(const std::string& ipc_path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (ipc_path.empty() || ipc_path.size() >= sizeof name.sun_path) return false;
    std::memcpy(name.sun_path, ipc_path.data(), ipc_path.size());
    auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + ipc_path.size());
    if (ipc_path.front() == '@')
        name.sun_path[0] = '\0';
    else
        ++length;
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    const void* address = &name;
    const int rc = ::connect(fd, static_cast<const sockaddr*>(address), length);
    // a full queue of connections is an answer as well
    const bool there = rc == 0 || errno == EAGAIN || errno == EINPROGRESS;
    ::close(fd);
    return there;
}

Result<std::string> resolve(const Address& address, Duration patience) {
    return Lookup(address).wait(patience);
}

struct Lookup::Shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::string number;
    std::string error;
};

Lookup::Lookup(Address address)
    : address_(std::move(address)), shared_(std::make_shared<Shared>()) {
    if (address_.transport != Address::Transport::tcp || address_.numeric) {
        shared_->done = true;
        shared_->number = address_.host;
        return;
    }
    std::thread([shared = shared_, host = address_.host] {
        addrinfo hints{};
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* found = nullptr;
        const int rc = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
        std::string number;
        const addrinfo* best = nullptr;
        for (const addrinfo* a = found; rc == 0 && a != nullptr; a = a->ai_next)
            if (best == nullptr || (a->ai_family == AF_INET && best->ai_family != AF_INET))
                best = a;
        if (best != nullptr) {
            char text[NI_MAXHOST];
            if (::getnameinfo(best->ai_addr, best->ai_addrlen, text, sizeof text, nullptr, 0,
                              NI_NUMERICHOST) == 0)
                number = text;
        }
        if (found != nullptr) ::freeaddrinfo(found);
        const std::lock_guard lock(shared->mutex);
        shared->done = true;
        shared->number = number;
        shared->error = rc != 0 ? ::gai_strerror(rc) : "no address";
        shared->changed.notify_all();
    }).detach();
}

std::optional<Result<std::string>> Lookup::answer() const {
    const std::lock_guard lock(shared_->mutex);
    if (!shared_->done) return std::nullopt;
    if (address_.transport != Address::Transport::tcp || address_.numeric) return address_.text();
    if (shared_->number.empty())
        return fail(Errc::address,
                    "host \"" + address_.host + "\" could not be resolved: " + shared_->error);
    return numeric_text(shared_->number, address_.port);
}

Result<std::string> Lookup::wait(Duration patience) const {
    {
        std::unique_lock lock(shared_->mutex);
        shared_->changed.wait_for(lock, patience, [&] { return shared_->done; });
    }
    if (auto known = answer()) return std::move(*known);
    return tl::unexpected(unanswered(patience));
}

Failure Lookup::unanswered(Duration patience) const {
    return {Errc::address, "host \"" + address_.host + "\" could not be resolved in " +
                               human_seconds(std::chrono::duration<double>(patience).count()) +
                               ": the name server does not answer"};
}

}  // namespace vflbus::bus
