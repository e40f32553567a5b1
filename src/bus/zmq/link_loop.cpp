#include "bus/zmq/link_loop.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "bus/core/allowance.hpp"
#include "bus/keys/file_mark.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/keys/known_parties.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/context_impl.hpp"
#include "bus/zmq/handshake.hpp"
#include "observe/log.hpp"

namespace vflbus::bus {
namespace {

class LinkLoopImpl final : public LinkLoop, private LinkTransport {
  public:
    LinkLoopImpl(std::shared_ptr<Context> context, Address address, LinkConfig config,
                 KeySource keys, int wake)
        : context_(std::move(context)),
          address_(std::move(address)),
          resolve_patience_(config.timings.resolve),
          keys_(std::move(keys)),
          node_(config.hello.name),
          core_(std::move(config), *this),
          wake_(wake) {}

    ~LinkLoopImpl() override { ::close(wake_); }

    LinkCore& core() override { return core_; }

    void start() override {
        reconnect();
        core_.start(clock_now());
    }

    void poll(TimePoint until, const StopSignal* stop,
              std::unique_lock<std::mutex>* held) override {
        TimePoint now = clock_now();
        if (!drain(now)) {
            const TimePoint next = std::min(until, core_.next_deadline());
            long wait = -1;
            if (next != TimePoint::max())
                wait = std::max<long>(
                    0, std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
            if (pending_.has_value()) wait = std::min<long>(wait < 0 ? 20 : wait, 20);
            // `drain` has just found nothing: the socket's descriptor says when that changes
            pollfd ready[5] = {};
            nfds_t n = 0;
            ready[n++] = {wake_, POLLIN, 0};
            if (stop != nullptr) ready[n++] = {stop->fd(), POLLIN, 0};
            if (socket_) ready[n++] = {descriptor_, POLLIN, 0};
            if (handshakes_ && handshakes_->descriptor() >= 0)
                ready[n++] = {handshakes_->descriptor(), POLLIN, 0};
            if (bulk_.socket) ready[n++] = {bulk_.descriptor, POLLIN, 0};
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
            if (!receive_one(now)) receive_bulk(now);
        }
        if (handshakes_ && !core_.up()) {
            trouble_ = handshakes_->read();
            turned_away_ = !trouble_.empty();
        }
        if (handshakes_ && core_.up()) handshakes_.reset();  // it got in
        if (pending_) {
            if (const auto known = pending_->answer())
                finish_connect(*known);
            else if (now >= pending_until_)
                finish_connect(tl::unexpected(pending_->unanswered(resolve_patience_)));
        }
        look_at_keys(now);
        if (now >= core_.next_deadline()) core_.on_tick(now);
    }

    void wake() noexcept override {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(wake_, &one, sizeof one);
    }

    void close() override {
        handshakes_.reset();
        for (auto* const socket : {&bulk_.socket, &socket_}) {
            if (!*socket) continue;
            (*socket)->set(zmq::sockopt::linger, 3000);
            socket->reset();
        }
    }

    std::string trouble() const override { return trouble_; }
    bool turned_away() const override { return turned_away_; }

  private:
    static constexpr int burst_messages = 64;
    static constexpr Duration keys_looked_at_every = std::chrono::seconds(1);

    /// Feeds what has arrived; true when there was anything. A part of a large body costs as much
    /// as hundreds of small messages, so those pass it.
    bool drain(TimePoint now) {
        int got = 0;
        while (got < burst_messages && receive_one(now)) ++got;
        // also where small messages never end: bulk that is not read would be taken for dead
        return receive_bulk(now) || got > 0;
    }
    bool receive_one(TimePoint now) {
        if (!socket_ || !receive(*socket_, false, in_)) return false;
        core_.on_frame(std::move(in_.frame.header), std::move(in_.frame.body), in_.frames, now);
        return true;
    }
    bool receive_bulk(TimePoint now) {
        if (!bulk_.socket || !receive(*bulk_.socket, false, in_)) return false;
        core_.on_frame(std::move(in_.frame.header), std::move(in_.frame.body), in_.frames, now,
                       Lane::bulk);
        return true;
    }

    SendResult send(Frame& frame) override {
        return socket_ ? send_on(*socket_, frame) : SendResult::full;
    }
    static SendResult send_on(zmq::socket_t& socket, Frame& frame) {
        const bool with_body = !frame.body.empty();
        if (send_part(socket, frame.header, with_body) != 0) return SendResult::full;
        // when the connection goes away in between, silence will tell
        if (with_body) send_part(socket, frame.body, false);
        return SendResult::ok;
    }

    /// To the address that the first connection has found.
    FrameSink* open_bulk() override {
        if (!socket_) return nullptr;
        try {
            bulk_.socket.emplace(context_->zmq, zmq::socket_type::dealer);
            set_dealer_options(*bulk_.socket, Lane::bulk);
            if (link_keys_) set_link_keys(*bulk_.socket, *link_keys_);
            bulk_.descriptor = descriptor_of(*bulk_.socket);
            bulk_.socket->connect(endpoint_);
        } catch (const zmq::error_t&) {  // no more sockets: it goes without
            bulk_.socket.reset();
            return nullptr;
        }
        return &bulk_;
    }
    void close_bulk() override { bulk_.socket.reset(); }

    void reconnect() override {
        close_bulk();
        handshakes_.reset();
        socket_.reset();
        if (pending_) return;  // a lookup is under way already
        if (address_.transport != Address::Transport::tcp || address_.numeric)
            return finish_connect(address_.text());
        try {
            pending_.emplace(address_);
            pending_until_ = clock_now() + resolve_patience_;
        } catch (const std::exception& e) {  // no more threads
            trouble_ = "cannot look up " + address_.text() + ": " + e.what();
        }
    }

    void finish_connect(const Result<std::string>& numeric) {
        pending_.reset();
        if (!numeric) {
            trouble_ = numeric.error().sentence;
            return;  // the core asks for another connection after a while
        }
        trouble_.clear();
        endpoint_ = *numeric;
        try {  // a process without descriptors has no socket to be had: it asks again later
            socket_.emplace(context_->zmq, zmq::socket_type::dealer);
            set_dealer_options(*socket_, Lane::main);
            const bool tcp = address_.transport == Address::Transport::tcp;
            if (tcp && keys_.given() && !read_keys()) return socket_.reset();
            if (tcp && link_keys_) set_link_keys(*socket_, *link_keys_);
            if (tcp) handshakes_.emplace(context_->zmq, *socket_, link_keys_.has_value());
            descriptor_ = descriptor_of(*socket_);
            socket_->connect(*numeric);
        } catch (const zmq::error_t& e) {
            trouble_ = "cannot connect to " + *numeric + ": " + e.what();
            handshakes_.reset();
            socket_.reset();
        }
    }

    /// Whether the key file is another one than that of the session, once a second. A session keeps
    /// the key with which it began: with a new key, `vflbus keys rotate` has written it, the link
    /// goes over to a new session before the old key ends.
    void look_at_keys(TimePoint now) {
        if (!link_keys_ || !core_.up() || now < keys_looked_at_ + keys_looked_at_every) return;
        keys_looked_at_ = now;
        const FileMark mark = mark_of_key();
        if (!mark.there || mark == key_mark_) return;
        key_mark_ = mark;
        const auto keys = load_link_keys(keys_, node_, wall_seconds());
        if (!keys || keys->own.pair.public_key == link_keys_->own.pair.public_key) return;
        observe::log::info({.part = "bus"}, "{} has a new key {}, and begins a new session with it",
                           node_, fingerprint_of(keys->own.pair.public_key));
        core_.begin_again(now);
    }

    [[nodiscard]] FileMark mark_of_key() const {
        return mark_of(secret_key_path(keys_.directory, link_keys_->own.name));
    }

    /// With each connection anew: keys are exchanged while the process goes on.
    bool read_keys() {
        auto keys = load_link_keys(keys_, node_, wall_seconds());
        if (keys) {
            link_keys_.emplace(std::move(*keys));
            key_mark_ = mark_of_key();
            return true;
        }
        trouble_ = keys.error().sentence;
        return false;
    }

    void set_dealer_options(zmq::socket_t& socket, Lane lane) {
        set_common_options(socket);
        // an I/O thread that moves a gigabyte has no time for others
        if (context_->zmq.get(zmq::ctxopt::io_threads) >= node_io_threads)
            socket.set(zmq::sockopt::affinity, std::uint64_t{lane == Lane::main ? 1u : 2u});
        socket.set(zmq::sockopt::immediate,
                   true);  // nothing is queued for a broker that is not there
        socket.set(zmq::sockopt::reconnect_ivl, 50);
        socket.set(zmq::sockopt::reconnect_ivl_max, 2000);
        socket.set(zmq::sockopt::ipv6, true);
    }

    struct BulkSocket final : FrameSink {
        SendResult send(Frame& frame) override {
            return socket ? send_on(*socket, frame) : SendResult::full;
        }
        std::optional<zmq::socket_t> socket;
        int descriptor = -1;
    };

    std::shared_ptr<Context> context_;
    Address address_;
    Duration resolve_patience_;
    KeySource keys_;
    std::string node_;  ///< this one's name
    std::optional<LinkKeys> link_keys_;
    FileMark key_mark_;  ///< of the file that they were read from
    TimePoint keys_looked_at_{};
    std::optional<zmq::socket_t> socket_;
    std::optional<Handshakes> handshakes_;  ///< of socket_, until it is up
    int descriptor_ = -1;                   ///< of socket_
    std::string endpoint_;                  ///< that it connects to, in numbers
    BulkSocket bulk_;
    Incoming in_;
    LinkCore core_;
    std::optional<Lookup> pending_;
    TimePoint pending_until_{};
    std::string trouble_;
    bool turned_away_ = false;
    int wake_;
};

}  // namespace

std::string clear_link_warning(const std::string& broker, const KeySource& keys) {
    const auto address = parse_address(broker);
    if (!address || address->local_only || keys.given()) return {};
    return "the link to " + address->text() +
           " is in the clear: everybody on the way can read and change what is sent; use "
           "--certificates";
}

namespace {

/// Says at once what a person would otherwise find out after minutes of waiting.
Result<> check_keys(const Address& address, const KeySource& keys, const std::string& node) {
    if (!keys.given()) {
        if (const std::string text = clear_link_warning(address.text(), keys); !text.empty())
            observe::log::warn("{}", text);
        return {};
    }
    const Seconds now = wall_seconds();
    const auto loaded = load_link_keys(keys, node, now);
    if (!loaded) return tl::unexpected(loaded.error());
    for (const std::string& text :
         {expiry_warning("the key of " + loaded->own.name, loaded->own.expires, now),
          expiry_warning("the broker's key", loaded->broker.expires, now)})
        if (!text.empty()) observe::log::warn({.part = "bus"}, "{}", text);
    return {};
}

/// Lines about sealing: others can make a party write them.
constexpr AllowanceLimits seal_lines{.most = 30, .per_second = 0.5};

/// Says what people have to know of sealing, with a bound.
std::function<void(const std::string&)> seal_log() {
    return [lines = std::make_shared<LineAllowance>(seal_lines, clock_now())](
               const std::string& sentence) {
        if (const auto ending = lines->take(clock_now()))
            observe::log::warn({.part = "bus"}, "{}{}", sentence, *ending);
    };
}

/// With which keys this node seals; null: it does not. Errors: those of `load_link_keys`.
Result<std::shared_ptr<const SealConfig>> sealing(const Address& address, const KeySource& keys,
                                                  const std::string& node) {
    const bool tcp = address.transport == Address::Transport::tcp;
    if (keys.seal == SealMode::off || (keys.seal == SealMode::automatic && (!tcp || !keys.given())))
        return std::shared_ptr<const SealConfig>();
    if (!keys.given())
        return fail(Errc::usage, "bus.seal is on, which needs keys: bus.certificates");
    auto loaded = load_link_keys(keys, node, wall_seconds());
    if (!loaded) return tl::unexpected(loaded.error());
    auto config = std::make_shared<SealConfig>();
    config->key_name = loaded->own.name;
    config->own = loaded->own.pair;
    random_bytes(config->session.bytes);
    config->aes = privacy::has_aes_unit();
    config->log = seal_log();
    const auto file =
        keys.known_parties.empty() ? keys.directory / known_parties_name : keys.known_parties;
    config->parties =
        std::make_shared<KnownParties>(keys.directory, file, keys.first_use, config->log);
    return std::shared_ptr<const SealConfig>(std::move(config));
}

}  // namespace

Result<std::unique_ptr<LinkLoop>> LinkLoop::create(std::shared_ptr<Context> context,
                                                   const std::string& broker, LinkConfig config,
                                                   KeySource keys) {
    auto address = parse_address(broker);
    if (!address) return tl::unexpected(address.error());
    if (address->host == "*" ||
        (address->transport == Address::Transport::tcp && address->port == 0))
        return fail(Errc::address,
                    "address " + broker + " cannot be connected to; name a host and a port");
    if (address->transport == Address::Transport::tcp) {
        if (const auto good = check_keys(*address, keys, config.hello.name); !good)
            return tl::unexpected(good.error());
    }
    config.names_of_keys = address->transport == Address::Transport::tcp && keys.given();
    auto seal = sealing(*address, keys, config.hello.name);
    if (!seal) return tl::unexpected(seal.error());
    config.seal = std::move(*seal);
    const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0)  // nobody could wake such a loop
        return fail(Errc::io, std::string("cannot make an eventfd: ") + std::strerror(errno));
    return std::make_unique<LinkLoopImpl>(std::move(context), std::move(*address),
                                          std::move(config), std::move(keys), wake);
}

}  // namespace vflbus::bus
