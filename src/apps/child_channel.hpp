#pragma once
// The app's end of the socket to its node. Private to the child_*.cpp files.

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "apps/wire.hpp"

namespace vflbus::apps {

class ChildChannel final : public app::Host {
  public:
    struct Frame {
        Told kind;
        Bytes body;
    };

    explicit ChildChannel(int socket) : socket_(socket) {}

    /// False when the node is gone.
    bool read(Frame& frame) {
        std::uint8_t head[told_head_bytes];
        if (!read_all(head, sizeof head)) return false;
        const auto told = get_head(head);
        if (!told) return false;
        frame.kind = told->kind;
        frame.body.resize(told->length);
        return read_all(frame.body.data(), frame.body.size());
    }

    /// From any thread. The process ends when the node is gone.
    void write(Told kind, std::span<const std::uint8_t> body) {
        std::uint8_t head[told_head_bytes];
        put_head(kind, body.size(), head);
        const std::lock_guard lock(mutex_);
        if (!write_all(head, body)) ::_exit(0);
    }

    void log(app::Level level, std::string_view text) noexcept override {
        try {
            write(Told::log, encode(LogLine{level, std::string(text.substr(0, 65'536))}));
        } catch (...) {  // a line that cannot be made is lost
        }
    }

    /// Told a few times a second at most.
    void progress() noexcept override {
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        auto due = progress_due_.load(std::memory_order_relaxed);
        constexpr auto pause = std::chrono::steady_clock::duration(std::chrono::milliseconds(250));
        if (now < due || !progress_due_.compare_exchange_strong(due, now + pause.count())) return;
        write(Told::progress, {});
    }

    std::atomic<bool> cancelled{false};

  private:
    bool read_all(std::uint8_t* to, std::size_t n) {
        while (n > 0) {
            const ssize_t got = ::recv(socket_, to, n, 0);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return false;
            to += got;
            n -= static_cast<std::size_t>(got);
        }
        return true;
    }
    /// Both in one call, so that the node wakes up once.
    bool write_all(std::span<const std::uint8_t> head, std::span<const std::uint8_t> body) {
        while (!head.empty() || !body.empty()) {
            iovec parts[] = {{const_cast<std::uint8_t*>(head.data()), head.size()},
                             {const_cast<std::uint8_t*>(body.data()), body.size()}};
            msghdr message{};
            message.msg_iov = parts;
            message.msg_iovlen = 2;
            const ssize_t put = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) return false;
            const auto done = static_cast<std::size_t>(put);
            const std::size_t of_head = std::min(done, head.size());
            head = head.subspan(of_head);
            body = body.subspan(done - of_head);
        }
        return true;
    }

    int socket_;
    std::mutex mutex_;  ///< of writing
    std::atomic<std::chrono::steady_clock::rep> progress_due_{0};
};

}  // namespace vflbus::apps
