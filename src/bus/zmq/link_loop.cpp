#include "bus/zmq/link_loop.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "bus/zmq/address.hpp"
#include "bus/zmq/context_impl.hpp"

namespace vflbus::bus {
namespace {

TimePoint clock_now() {
    return std::chrono::steady_clock::now();
}

class Loop final : public LinkLoop, private LinkTransport {
  public:
    Loop(std::shared_ptr<Context> context, Address address, LinkConfig config)
        : context_(std::move(context)),
          address_(std::move(address)),
          resolve_patience_(config.timings.resolve),
          core_(std::move(config), *this),
          wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    ~Loop() override { ::close(wake_); }

    LinkCore& core() override { return core_; }

    void start() override {
        reconnect();
        core_.start(clock_now());
    }

    void poll(TimePoint until, const StopSignal* stop,
              std::unique_lock<std::mutex>* held) override {
        TimePoint now = clock_now();
        if (!drain(now, burst_messages)) {
            const TimePoint next = std::min(until, core_.next_deadline());
            long wait = -1;
            if (next != TimePoint::max())
                wait = std::max<long>(
                    0, std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
            if (pending_.has_value()) wait = std::min<long>(wait < 0 ? 20 : wait, 20);
            // `drain` has just found nothing: the socket's descriptor says when that changes
            pollfd ready[3] = {};
            nfds_t n = 0;
            ready[n++] = {wake_, POLLIN, 0};
            if (stop != nullptr) ready[n++] = {stop->fd(), POLLIN, 0};
            if (socket_) ready[n++] = {descriptor_, POLLIN, 0};
            if (held != nullptr) held->unlock();
            ::poll(ready, n, static_cast<int>(wait));
            if (held != nullptr) held->lock();
            if ((ready[0].revents & POLLIN) != 0) {
                std::uint64_t count;
                [[maybe_unused]] const ssize_t got = ::read(wake_, &count, sizeof count);
            }
            now = clock_now();
            // what woke us; whether there is more, the next call finds out before it waits. Another
            // thread may have replaced the socket meanwhile, or taken what woke us
            drain(now, 1);
        }
        if (pending_) {
            if (const auto known = pending_->answer())
                finish_connect(*known);
            else if (now >= pending_until_)
                finish_connect(tl::unexpected(pending_->unanswered(resolve_patience_)));
        }
        if (now >= core_.next_deadline()) core_.on_tick(now);
    }

    void wake() noexcept override {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(wake_, &one, sizeof one);
    }

    void close() override {
        if (!socket_) return;
        socket_->set(zmq::sockopt::linger, 3000);
        socket_.reset();
    }

    std::string trouble() const override { return trouble_; }

  private:
    static constexpr int burst_messages = 64;

    /// Feeds what has arrived; true when there was anything.
    bool drain(TimePoint now, int messages_max) {
        bool any = false;
        for (int i = 0; socket_ && i < messages_max; ++i) {
            if (!receive(*socket_, false, in_)) break;
            any = true;
            core_.on_frame(std::move(in_.frame.header), std::move(in_.frame.body), in_.frames, now);
        }
        return any;
    }

    SendResult send(Frame& frame) override {
        if (!socket_) return SendResult::full;
        const bool with_body = !frame.body.empty();
        if (send_part(*socket_, frame.header, with_body) != 0) return SendResult::full;
        // when the connection goes away in between, silence will tell
        if (with_body) send_part(*socket_, frame.body, false);
        return SendResult::ok;
    }

    void reconnect() override {
        socket_.reset();
        if (pending_) return;  // a lookup is under way already
        if (address_.transport != Address::Transport::tcp || address_.numeric)
            return finish_connect(address_.text());
        pending_.emplace(address_);
        pending_until_ = clock_now() + resolve_patience_;
    }

    void finish_connect(const Result<std::string>& numeric) {
        pending_.reset();
        if (!numeric) {
            trouble_ = numeric.error().sentence;
            return;  // the core asks for another connection after a while
        }
        trouble_.clear();
        socket_.emplace(context_->zmq, zmq::socket_type::dealer);
        set_common_options(*socket_);
        socket_->set(zmq::sockopt::immediate,
                     true);  // nothing is queued for a broker that is not there
        socket_->set(zmq::sockopt::reconnect_ivl, 50);
        socket_->set(zmq::sockopt::reconnect_ivl_max, 2000);
        socket_->set(zmq::sockopt::ipv6, true);
        try {
            descriptor_ = descriptor_of(*socket_);
            socket_->connect(*numeric);
        } catch (const zmq::error_t& e) {
            trouble_ = "cannot connect to " + *numeric + ": " + e.what();
            socket_.reset();
        }
    }

    std::shared_ptr<Context> context_;
    Address address_;
    Duration resolve_patience_;
    std::optional<zmq::socket_t> socket_;
    int descriptor_ = -1;  ///< of socket_
    Incoming in_;
    LinkCore core_;
    std::optional<Lookup> pending_;
    TimePoint pending_until_{};
    std::string trouble_;
    int wake_;
};

}  // namespace

Result<std::unique_ptr<LinkLoop>> LinkLoop::create(std::shared_ptr<Context> context,
                                                   const std::string& broker, LinkConfig config) {
    auto address = parse_address(broker);
    if (!address) return tl::unexpected(address.error());
    if (address->host == "*" ||
        (address->transport == Address::Transport::tcp && address->port == 0))
        return fail(Errc::address,
                    "address " + broker + " cannot be connected to; name a host and a port");
    return std::make_unique<Loop>(std::move(context), std::move(*address), std::move(config));
}

}  // namespace vflbus::bus
