#include "proxy.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <stdexcept>
#include <utility>
#include <vector>

namespace proc {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t held_max = 1U << 18U;  // bytes under way per connection and direction
constexpr std::size_t piece = 1U << 14U;
constexpr double burst = 1U << 14U;

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

bool would_block() {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

/// One direction of a connection.
struct Proxy::Lane {
    struct Piece {
        SteadyClock::time_point due;
        std::string bytes;
    };
    int from = -1;
    int to = -1;
    std::deque<Piece> pieces;
    std::size_t held = 0;
    bool ended = false;   ///< nothing more comes
    bool closed = false;  ///< and that was passed on
    std::string tail;     ///< of what came last, in which a text that is watched for may begin
};

struct Proxy::Connection {
    std::array<Lane, 2> lanes;
};

Proxy::Proxy(const std::string& target)
    : target_(static_cast<std::uint16_t>(std::stoul(target.substr(target.rfind(':') + 1)))),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (listener_ < 0 || wake_ < 0 || ::bind(listener_, any, size) != 0 ||
        ::listen(listener_, 64) != 0 || ::getsockname(listener_, any, &size) != 0)
        throw std::runtime_error("the proxy cannot listen");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
}

Proxy::~Proxy() {
    stop_ = true;
    wake();
    thread_.join();
    for (const Connection& connection : open_)
        for (const Lane& lane : connection.lanes) ::close(lane.from);
    ::close(listener_);
    ::close(wake_);
}

std::string Proxy::endpoint() const {
    return "tcp://127.0.0.1:" + std::to_string(port_);
}

void Proxy::set(Direction direction, const Condition& condition) {
    {
        const std::lock_guard lock(mutex_);
        conditions_[static_cast<std::size_t>(direction)] = condition;
    }
    wake();
}

void Proxy::set(const Condition& condition) {
    set(Direction::out, condition);
    set(Direction::back, condition);
}

void Proxy::cut(Cut how) {
    {
        const std::lock_guard lock(mutex_);
        cut_wanted_ = true;
        cut_ = how;
    }
    wake();
}

std::uint64_t Proxy::bytes(Direction direction) const {
    return bytes_[static_cast<std::size_t>(direction)];
}

void Proxy::wake() const {
    const std::uint64_t one = 1;
    if (::write(wake_, &one, sizeof one) < 0) return;  // it is awake
}

// -- the thread -----------------------------------------------------------------------

void Proxy::serve() {
    auto last = SteadyClock::now();
    while (!stop_) {
        std::vector<pollfd> fds{{wake_, POLLIN, 0}};
        const bool hole = now_[0].hole || now_[1].hole;
        if (!hole) fds.push_back({listener_, POLLIN, 0});
        int patience_ms = -1;
        for (const Connection& connection : open_)
            for (std::size_t d = 0; d < 2; ++d) {
                const Lane& lane = connection.lanes[d];
                if (now_[d].hole) continue;
                if (!lane.ended && lane.held < held_max) fds.push_back({lane.from, POLLIN, 0});
                if (lane.pieces.empty()) continue;
                const bool later = lane.pieces.front().due > SteadyClock::now() || credit_[d] <= 0;
                if (later)
                    patience_ms = 1;
                else
                    fds.push_back({lane.to, POLLOUT, 0});
            }
        ::poll(fds.data(), static_cast<nfds_t>(fds.size()), patience_ms);
        std::uint64_t ignored = 0;
        if (::read(wake_, &ignored, sizeof ignored) < 0) ignored = 0;
        bool cut = false;
        Cut how{};
        {
            const std::lock_guard lock(mutex_);
            now_ = conditions_;
            cut = std::exchange(cut_wanted_, false);
            how = cut_;
        }
        const auto now = SteadyClock::now();
        const std::chrono::duration<double> passed = now - last;
        last = now;
        for (std::size_t d = 0; d < 2; ++d)
            credit_[d] =
                now_[d].bytes_per_second == 0
                    ? burst
                    : std::min(burst, credit_[d] + passed.count() * now_[d].bytes_per_second);
        if (cut) {
            for (const Connection& connection : open_)
                for (const Lane& lane : connection.lanes) {
                    const linger at_once{1, 0};
                    if (how == Cut::rst)
                        ::setsockopt(lane.from, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
                    ::close(lane.from);
                }
            open_.clear();
        }
        if (!now_[0].hole && !now_[1].hole) accept_one();
        for (auto at = open_.begin(); at != open_.end();) {
            if (move(*at)) {
                ++at;
                continue;
            }
            for (const Lane& lane : at->lanes) ::close(lane.from);
            at = open_.erase(at);
        }
    }
}

void Proxy::accept_one() {
    const int near = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (near < 0) return;
    // loopback answers at once, also that nobody listens
    const int far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(target_);
    if (far < 0 ||
        ::connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        ::close(near);
        if (far >= 0) ::close(far);
        return;
    }
    const int on = 1;
    for (const int fd : {near, far}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection connection;
    connection.lanes[0].from = connection.lanes[1].to = near;
    connection.lanes[0].to = connection.lanes[1].from = far;
    open_.push_back(std::move(connection));
    ++connections_;
}

bool Proxy::move(Connection& connection) {
    for (std::size_t d = 0; d < 2; ++d) {
        Lane& lane = connection.lanes[d];
        if (now_[d].hole) continue;
        if (!read(lane)) return false;
        if (!lane.pieces.empty() && lane.pieces.back().due == SteadyClock::time_point::max())
            for (auto& waiting : lane.pieces)
                if (waiting.due == SteadyClock::time_point::max())
                    waiting.due = SteadyClock::now() + now_[d].delay;
        if (!write(lane, d)) return false;
        if (lane.ended && lane.pieces.empty() && !lane.closed) {
            ::shutdown(lane.to, SHUT_WR);
            lane.closed = true;
        }
    }
    return !connection.lanes[0].closed || !connection.lanes[1].closed;
}

bool Proxy::read(Lane& lane) {
    while (!lane.ended && lane.held < held_max) {
        std::string bytes(piece, '\0');
        const ssize_t n = ::recv(lane.from, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (n < 0) return would_block();
        if (n == 0) {
            lane.ended = true;
            break;
        }
        bytes.resize(static_cast<std::size_t>(n));
        lane.held += bytes.size();
        look_into(lane, bytes);
        lane.pieces.push_back({SteadyClock::time_point::max(), std::move(bytes)});
    }
    return true;
}

void Proxy::watch_for(std::vector<std::string> texts) {
    const std::lock_guard held(mutex_);
    watched_ = std::move(texts);
}

std::map<std::string, std::size_t> Proxy::seen() const {
    const std::lock_guard held(mutex_);
    return seen_;
}

void Proxy::look_into(Lane& lane, const std::string& bytes) {
    const std::lock_guard held(mutex_);
    if (watched_.empty()) return;
    const std::string all = lane.tail + bytes;
    std::size_t longest = 1;
    for (const std::string& text : watched_) {
        longest = std::max(longest, text.size());
        // one that ends in the tail was counted with the piece before
        const std::size_t first =
            lane.tail.size() < text.size() ? 0 : lane.tail.size() - text.size() + 1;
        for (std::size_t at = all.find(text, first); at != std::string::npos;
             at = all.find(text, at + 1))
            ++seen_[text];
    }
    lane.tail = all.size() < longest ? all : all.substr(all.size() - longest + 1);
}

bool Proxy::write(Lane& lane, std::size_t direction) {
    while (!lane.pieces.empty() && lane.pieces.front().due <= SteadyClock::now() &&
           credit_[direction] > 0) {
        Lane::Piece& first = lane.pieces.front();
        const ssize_t n =
            ::send(lane.to, first.bytes.data(), first.bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) return would_block();
        const auto sent = static_cast<std::size_t>(n);
        bytes_[direction] += sent;
        lane.held -= sent;
        if (now_[direction].bytes_per_second != 0) credit_[direction] -= static_cast<double>(sent);
        if (sent < first.bytes.size())
            first.bytes.erase(0, sent);
        else
            lane.pieces.pop_front();
    }
    return true;
}

}  // namespace proc
