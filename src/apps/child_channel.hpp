#pragma once
// The app's end of the socket to its node. Private to the child_*.cpp files.

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "apps/child_frame.hpp"
#include "apps/wire.hpp"

namespace vflbus::apps {

/// Memory for a body as it comes from the node, which is believed in what it says of its length.
/// Tensors of a record point into it and keep it.
struct SharedBody {
    std::shared_ptr<const std::uint8_t[]> memory;
    std::size_t length = 0;
    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
        return {memory.get(), length};
    }
};

class ChildChannel final : public app::Host {
  public:
    struct Frame {
        FrameHead head;
        SharedBody body;
    };

    explicit ChildChannel(int socket) : socket_(socket) {}

    /// False when the node is gone.
    bool read(Frame& frame) {
        FrameHeadBytes bytes;
        if (!read_all(bytes.data(), bytes.size())) return false;
        const auto head = decode_head(bytes);
        if (!head) return false;
        frame.head = *head;
        // not filled with zeros first: a large body would be written twice
        std::shared_ptr<std::uint8_t[]> memory(new std::uint8_t[head->length]);
        if (!read_all(memory.get(), head->length)) return false;
        frame.body = {std::move(memory), head->length};
        return true;
    }

    /// From any thread. The process ends when the node is gone.
    void write(FrameHead head, std::span<const std::span<const std::uint8_t>> body) {
        head.length = 0;
        for (const auto piece : body) head.length += piece.size();
        const FrameHeadBytes bytes = encode(head);
        std::vector<iovec> parts{iovec_of(bytes)};
        for (const auto piece : body) parts.push_back(iovec_of(piece));
        const std::lock_guard lock(mutex_);
        if (!write_all(parts)) ::_exit(0);
    }
    void write(const FrameHead& head, std::span<const std::uint8_t> body = {}) {
        write(head, std::span<const std::span<const std::uint8_t>>(&body, body.empty() ? 0 : 1));
    }

    void log(app::Level level, std::string_view text) noexcept override {
        try {
            write({FrameKind::log},
                  encode(LogLine{level, std::string(text.substr(0, log_text_bytes_max))}));
        } catch (...) {  // a line that cannot be made is lost
        }
    }

    /// Told a few times a second at most.
    void progress() noexcept override {
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        auto due = progress_due_.load(std::memory_order_relaxed);
        constexpr auto pause = std::chrono::steady_clock::duration(std::chrono::milliseconds(250));
        if (now < due || !progress_due_.compare_exchange_strong(due, now + pause.count())) return;
        try {
            write({FrameKind::progress});
        } catch (...) {  // the next one will do
        }
    }

    std::atomic<bool> cancelled{false};

  private:
    static iovec iovec_of(std::span<const std::uint8_t> bytes) {
        return {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    }
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
    /// As much as the kernel takes in one call, so that the node wakes up once.
    bool write_all(std::vector<iovec>& parts) {
        constexpr std::size_t parts_max = 256;
        for (std::size_t at = 0; at < parts.size();) {
            msghdr message{};
            message.msg_iov = parts.data() + at;
            message.msg_iovlen = std::min(parts.size() - at, parts_max);
            const ssize_t put = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) return false;
            auto done = static_cast<std::size_t>(put);
            while (at < parts.size() && done >= parts[at].iov_len) done -= parts[at++].iov_len;
            if (done == 0) continue;
            parts[at].iov_base = static_cast<std::uint8_t*>(parts[at].iov_base) + done;
            parts[at].iov_len -= done;
        }
        return true;
    }

    int socket_;
    std::mutex mutex_;  ///< of writing
    std::atomic<std::chrono::steady_clock::rep> progress_due_{0};
};

}  // namespace vflbus::apps
