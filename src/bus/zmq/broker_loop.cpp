#include "bus/zmq/broker_loop.hpp"

#include <poll.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "bus/core/broker_core.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/connections.hpp"
#include "bus/zmq/context_impl.hpp"
#include "observe/log.hpp"

namespace vflbus::bus {
namespace {

std::string why_not_bound(const zmq::error_t& error) {
    switch (error.num()) {
        case EADDRINUSE:
            return "it is in use by another process; choose another, or stop that one";
        case EADDRNOTAVAIL:
        case ENODEV:
            return "this machine has no such address; `ip address` lists those that it has";
        case EACCES:
            return "this user may not listen there; ports below 1024 are for root";
        default:
            return error.what();
    }
}

// The ROUTER names connections by 0x00 and four bytes of its own choosing; they come back as a
// number.
constexpr std::size_t routing_id_bytes = 5;

class RouterTransport final : public BrokerTransport {
  public:
    RouterTransport(zmq::socket_t& socket, Connections& connections)
        : socket_(socket), connections_(connections) {}

    SendResult send(ConnId to, Frame& frame) override {
        unsigned char id[routing_id_bytes] = {0};
        const auto number = static_cast<std::uint32_t>(to);
        std::memcpy(id + 1, &number, 4);
        for (;;) {
            if (zmq_send(socket_.handle(), id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) break;
            if (errno == EINTR) continue;
            return errno == EAGAIN ? SendResult::full : SendResult::gone;
        }
        // the pipe has taken the routing id, so it takes the rest; when the connection goes away in
        // between, the next frame will say so
        const bool with_body = !frame.body.empty();
        if (send_part(socket_, frame.header, with_body) == 0 && with_body)
            send_part(socket_, frame.body, false);
        return SendResult::ok;
    }

    void close(ConnId conn) override { connections_.cut(static_cast<std::uint32_t>(conn)); }

  private:
    zmq::socket_t& socket_;
    Connections& connections_;
};

class BrokerLoopImpl final : public BrokerLoop {
  public:
    BrokerLoopImpl(std::shared_ptr<Context> context, const Timings& timings, const Limits& limits,
                   Ledger* ledger)
        : context_(std::move(context)),
          socket_(context_->zmq, zmq::socket_type::router),
          connections_(context_->zmq, socket_, bounds_of(timings, limits),
                       [](const std::string& line) { observe::log::warn("{}", line); }),
          transport_(socket_, connections_),
          resolve_patience_(timings.resolve),
          ledger_(ledger),
          core_(config_of(timings, limits, ledger), transport_, clock_now()) {
        set_common_options(socket_);
        socket_.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(limits.frame));
        socket_.set(zmq::sockopt::router_mandatory, true);
        // windows bound data; this bounds the answers to those who ask and never read
        socket_.set(zmq::sockopt::sndhwm, router_messages_max);
    }

    Result<> bind(const std::string& text, bool insecure) {
        auto address = parse_address(text);
        if (!address) return tl::unexpected(address.error());
        if (!address->local_only && !insecure)
            return fail(Errc::insecure,
                        "address " + text +
                            " is open to other hosts and links are in the clear; bind to loopback "
                            "or ipc, or allow it with --insecure on a private network");
        // libzmq would take the path away from whoever listens there
        if (address->transport == Address::Transport::ipc && answers(address->host))
            return fail(Errc::address, "cannot bind " + text +
                                           ": it is in use by another process; choose another, "
                                           "or stop that one");
        const auto numeric = resolve(*address, resolve_patience_);
        if (!numeric) return tl::unexpected(numeric.error());
        try {
            // only where asked for: a v4 address bound by a v6 socket reads ::ffff:127.0.0.1
            socket_.set(zmq::sockopt::ipv6,
                        address->host == "*" || numeric->find('[') != std::string::npos);
            socket_.bind(*numeric);
        } catch (const zmq::error_t& e) {
            return fail(Errc::address, "cannot bind " + text + ": " + why_not_bound(e));
        }
        endpoints_.push_back(socket_.get(zmq::sockopt::last_endpoint));
        return {};
    }

    const std::vector<std::string>& endpoints() const override { return endpoints_; }

    void run(const StopSignal& stop) override {
        // poll ignores those that are not there: -1
        pollfd ready[] = {{descriptor_of(socket_), POLLIN, 0},
                          {stop.fd(), POLLIN, 0},
                          {connections_.descriptor(), POLLIN, 0},
                          {ledger_ == nullptr ? -1 : ledger_->answers_fd(), POLLIN, 0}};
        TimePoint looked{};
        while (!stop.stopped()) {
            const TimePoint now = clock_now();
            const bool idle = !receive_burst(now);
            // a broker that always finds something to receive looks at the rest all the same
            bool sent = false;
            if (idle || now - looked >= looks_at_least_every) {
                looked = now;
                if (!idle) {
                    connections_.read();
                    pass_answers();
                }
                sent = look_around(now, idle);
            }
            if (now >= core_.next_deadline()) {
                core_.on_tick(now);
                sent = true;
            }
            // the descriptor holds only right after a receive that found nothing
            if (!idle || sent) continue;
            const TimePoint until = std::min(core_.next_deadline(), connections_.next_check());
            const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - clock_now());
            if (::poll(ready, std::size(ready), static_cast<int>(std::max<long>(0, wait.count()))) <
                    0 &&
                errno != EINTR)
                break;
            if (ready[2].revents != 0) connections_.read();
            if (ready[3].revents != 0) pass_answers();
        }
        core_.shutdown("the broker has ended");
    }

  private:
    static constexpr int burst_messages = 64;
    static constexpr Duration looks_at_least_every = std::chrono::milliseconds(2);
    static constexpr std::size_t large_frame_bytes = 16u << 10;  ///< costs more than such a look
    static constexpr int router_messages_max = 200'000;  ///< the widest window of 64 B messages

    /// Some messages, then the caller looks at the clock and at all else. False: there are no more.
    bool receive_burst(TimePoint now) {
        for (int i = 0; i < burst_messages; ++i) {
            if (!receive(socket_, true, in_)) {
                connections_.all_heard();
                return false;
            }
            const auto* id = static_cast<const unsigned char*>(in_.routing_id.data());
            // an id that a peer has chosen is none of ours, whatever its length
            if (in_.frames == 0 || in_.routing_id.size() != routing_id_bytes || id[0] != 0)
                continue;
            std::uint32_t number;
            std::memcpy(&number, id + 1, 4);
            connections_.heard(number, *in_.frame.header.get_if<zmq::message_t>(), introduces(in_));
            const bool large = in_.frame.body.size() >= large_frame_bytes;
            core_.on_frame(number, in_.frame, in_.frames, now);
            // a ROUTER that always finds something to receive looks only at every hundredth
            // part for connections that have something again; asked for its events it looks
            if (large) (void)socket_.get(zmq::sockopt::events);
        }
        return true;
    }

    /// Connections that were closed, and those that have to be. True: the core was told something.
    bool look_around(TimePoint now, bool idle) {
        connections_.check(now);
        // what a closed connection had to say is in the ROUTER by now
        if (!idle) (void)socket_.get(zmq::sockopt::events);
        bool told = false;
        for (const std::uint32_t connection : connections_.closed()) {
            core_.on_disconnected(connection, now);
            told = true;
        }
        return told;
    }

    /// It may say whose connection this is.
    static bool introduces(const Incoming& in) {
        const auto head = in.frame.header.bytes();
        return head.size() == header_bytes && (head[5] == static_cast<std::uint8_t>(Kind::hello) ||
                                               head[5] == static_cast<std::uint8_t>(Kind::bulk));
    }

    void pass_answers() {
        if (ledger_ == nullptr) return;
        Ledger::Answer answer;
        while (ledger_->next_answer(answer))
            core_.answer(answer.token, std::move(answer.body), clock_now());
    }

    static Connections::Bounds bounds_of(const Timings& timings, const Limits& limits) {
        Connections::Bounds bounds;
        bounds.unfinished = limits.frame + unfinished_allowance_bytes;
        bounds.unfinished_in_all = unfinished_bytes_max;
        bounds.without_message = timings.without_hello;
        return bounds;
    }

    static BrokerConfig config_of(const Timings& timings, const Limits& limits, Ledger* ledger) {
        BrokerConfig config;
        config.timings = timings;
        config.limits = limits;
        config.version = VFLBUS_VERSION;
        random_bytes(config.secret);
        config.ledger = ledger;
        config.wall_ms = [](TimePoint at) {
            const auto then =
                std::chrono::system_clock::now() +
                std::chrono::duration_cast<std::chrono::system_clock::duration>(at - clock_now());
            return static_cast<std::uint64_t>(std::max<std::int64_t>(
                0, std::chrono::duration_cast<std::chrono::milliseconds>(then.time_since_epoch())
                       .count()));
        };
        config.log = [](const std::string& line) { observe::log::info("{}", line); };
        return config;
    }

    std::shared_ptr<Context> context_;
    zmq::socket_t socket_;
    Connections connections_;
    RouterTransport transport_;
    Duration resolve_patience_;
    Ledger* ledger_;
    BrokerCore core_;
    Incoming in_;
    std::vector<std::string> endpoints_;
};

}  // namespace

Result<std::unique_ptr<BrokerLoop>> BrokerLoop::bind(BrokerOptions options) {
    if (options.bind.empty()) return fail(Errc::address, "the broker has no address to bind");
    auto loop = std::make_unique<BrokerLoopImpl>(options.context, options.timings, options.limits,
                                                 options.ledger);
    for (const std::string& address : options.bind)
        if (auto bound = loop->bind(address, options.insecure); !bound)
            return tl::unexpected(bound.error());
    return loop;
}

}  // namespace vflbus::bus
