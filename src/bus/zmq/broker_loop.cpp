#include "bus/zmq/broker_loop.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "bus/core/broker_core.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/wire/frame.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/bell.hpp"
#include "bus/zmq/connections.hpp"
#include "bus/zmq/context_impl.hpp"
#include "bus/zmq/gate.hpp"
#include "bus/zmq/handshake.hpp"
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
    /// `gate`: null at a broker without keys.
    RouterTransport(zmq::socket_t& socket, Connections& connections, const Gate* gate)
        : socket_(socket), connections_(connections), gate_(gate) {}

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

    /// As the gate has said it of the connection, in the frame of the header: that of the routing
    /// id may be without. A peer in the clear may send any property of its own with its handshake,
    /// so that only those count which have the gate's word beside them.
    std::shared_ptr<const Identity> identity_of(ConnId) override {
        if (gate_ == nullptr) return no_key_needed();
        if (arrived_ == nullptr) return nullptr;
        const char* const name = zmq_msg_gets(arrived_, "User-Id");
        const char* const key = zmq_msg_gets(arrived_, Gate::key_property);
        const char* const word = zmq_msg_gets(arrived_, Gate::word_property);
        // tcp is bound with the gate alone, so what it has not seen came over ipc or inproc
        if (word == nullptr || gate_->word() != word) return open_ways_ ? no_key_needed() : nullptr;
        if (name == nullptr || key == nullptr) return nullptr;
        return std::make_shared<const Identity>(Identity{name, key});
    }
    /// Of another machine. Everybody on this one has the same address, and nobody of them is to
    /// be held off for what another one does.
    std::string address_of(ConnId) override {
        if (arrived_ == nullptr) return {};
        const char* const address = zmq_msg_gets(arrived_, "Peer-Address");
        if (address == nullptr) return {};
        const std::string_view text = address;
        const bool here = text.empty() || text.starts_with("127.") || text.starts_with("::1") ||
                          text.starts_with("::ffff:127.") || text.starts_with("localhost");
        return here ? std::string() : std::string(text);
    }
    /// An address was bound whose connections need no key.
    void has_open_ways() noexcept { open_ways_ = true; }
    /// The header of the frame that the core is given now.
    void arrived(const zmq::message_t* head) noexcept {
        arrived_ = head == nullptr ? nullptr : head->handle();
    }

  private:
    zmq::socket_t& socket_;
    Connections& connections_;
    const Gate* gate_;
    bool open_ways_ = false;
    const zmq_msg_t* arrived_ = nullptr;
};

/// Where another thread asks the loop for a sample, and waits for it.
class SampleDesk {
  public:
    std::optional<BrokerSample> ask() {
        std::unique_lock lock(mutex_);
        const std::uint64_t number = ++asked_;
        pending_ = true;
        wake_.ring();
        if (!given_.wait_for(lock, patience, [&] { return answered_ >= number; })) return {};
        return sample_;
    }

    [[nodiscard]] int descriptor() const noexcept { return wake_.fd(); }
    [[nodiscard]] bool pending() const noexcept { return pending_; }
    void give(BrokerSample sample) {
        (void)wake_.rung();
        const std::lock_guard lock(mutex_);
        pending_ = false;
        sample_ = std::move(sample);
        answered_ = asked_;
        given_.notify_all();
    }

  private:
    static constexpr auto patience = std::chrono::seconds(1);
    Bell wake_;
    std::atomic<bool> pending_{false};
    std::mutex mutex_;
    std::condition_variable given_;
    std::uint64_t asked_ = 0;
    std::uint64_t answered_ = 0;
    BrokerSample sample_;
};

class BrokerLoopImpl final : public BrokerLoop {
  public:
    BrokerLoopImpl(std::shared_ptr<Context> context, const Timings& timings, const Limits& limits,
                   Ledger* ledger, std::unique_ptr<Gate> gate, std::optional<KeyPair> keys,
                   bool private_sockets)
        : context_(std::move(context)),
          gate_(std::move(gate)),
          keys_(std::move(keys)),
          private_sockets_(private_sockets),
          socket_(context_->zmq, zmq::socket_type::router),
          connections_(
              context_->zmq, socket_, bounds_of(timings, limits),
              [](const std::string& line) { observe::log::warn({.part = "bus"}, "{}", line); }),
          transport_(socket_, connections_, gate_.get()),
          resolve_patience_(timings.resolve),
          ledger_(ledger),
          core_(config_of(timings, limits, ledger, gate_.get()), transport_, clock_now()) {
        set_common_options(socket_);
        socket_.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(limits.frame));
        socket_.set(zmq::sockopt::router_mandatory, true);
        // windows bound data; this bounds the answers to those who ask and never read
        socket_.set(zmq::sockopt::sndhwm, router_messages_max);
    }

    Result<> bind(const std::string& text, bool insecure) {
        auto address = parse_address(text);
        if (!address) return tl::unexpected(address.error());
        const bool tcp = address->transport == Address::Transport::tcp;
        if (!address->local_only && !keys_ && !insecure)
            return fail(Errc::insecure,
                        "address " + text +
                            " is open to other hosts and links are in the clear: give the broker "
                            "keys with --certificates DIR, or allow it with --insecure");
        if (!address->local_only && !keys_)
            observe::log::warn(
                "{} is in the clear: everybody who reaches it is believed who it "
                "says it is; use --certificates",
                text);
        if (const auto safe = private_socket(*address); !safe) return safe;
        // options count for what is bound after them: ipc in the clear, tcp with keys
        if (tcp && keys_) set_broker_keys(socket_, *keys_);
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
            // (a signal that comes in the middle of it is no reason to end)
            while (zmq_bind(socket_.handle(), numeric->c_str()) != 0)
                if (errno != EINTR) throw zmq::error_t();
        } catch (const zmq::error_t& e) {
            return fail(Errc::address, "cannot bind " + text + ": " + why_not_bound(e));
        }
        if (!tcp) transport_.has_open_ways();
        endpoints_.push_back(socket_.get(zmq::sockopt::last_endpoint));
        return {};
    }

    void read_allow_list_again() noexcept override {
        if (gate_ != nullptr) gate_->read_again();
    }

    std::optional<BrokerSample> sample() override { return samples_.ask(); }

    [[nodiscard]] bool has_keys() const noexcept { return keys_.has_value(); }

    const std::vector<std::string>& endpoints() const override { return endpoints_; }

    void run(const StopSignal& stop) override {
        // poll ignores those that are not there: -1
        pollfd ready[] = {{descriptor_of(socket_), POLLIN, 0},
                          {stop.fd(), POLLIN, 0},
                          {connections_.descriptor(), POLLIN, 0},
                          {ledger_ == nullptr ? -1 : ledger_->answers_fd(), POLLIN, 0},
                          {gate_ == nullptr ? -1 : gate_->descriptor(), POLLIN, 0},
                          {samples_.descriptor(), POLLIN, 0}};
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
                if (gate_ != nullptr && gate_->changed()) {
                    core_.on_access_changed(now);
                    answer_enrolments(now);
                }
                if (samples_.pending()) samples_.give(core_.sample(now));
                sent = look_around(now, idle);
                note_conduct(now);
            }
            if (now >= core_.next_deadline()) {
                core_.on_tick(now);
                sent = true;
            }
            // the descriptor holds only right after a receive that found nothing
            if (!idle || sent) continue;
            TimePoint until = std::min(core_.next_deadline(), connections_.next_check());
            if (!enrolled_.empty()) until = std::min(until, enrolled_.front().second);
            const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - clock_now());
            if (::poll(ready, std::size(ready), static_cast<int>(std::max<long>(0, wait.count()))) <
                    0 &&
                errno != EINTR)
                break;
            if (ready[2].revents != 0) connections_.read();
            if (ready[3].revents != 0) pass_answers();
        }
        core_.shutdown("the broker has ended");
        conduct_noted_at_ = {};
        note_conduct(clock_now());
    }

  private:
    static constexpr int burst_messages = 64;
    static constexpr std::size_t kind_at_byte = 5;  ///< of a header
    static constexpr Duration closed_after_enrolment = std::chrono::seconds(2);
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
            const auto* const head = in_.frame.header.get_if<zmq::message_t>();
            const bool introduced = introduces(in_);
            connections_.heard(number, *head, introduced);
            const bool large = in_.frame.body.size() >= large_frame_bytes;
            // (the core takes a header only to pass it on, and asks only about others)
            transport_.arrived(head);
            if (!introduced || !take_enrolment(number))
                core_.on_frame(number, in_.frame, in_.frames, now);
            transport_.arrived(nullptr);
            // a ROUTER that always finds something to receive looks only at every hundredth
            // part for connections that have something again; asked for its events it looks
            if (large) look_at_commands(socket_);
        }
        return true;
    }

    /// Connections that were closed, and those that have to be. True: the core was told something.
    bool look_around(TimePoint now, bool idle) {
        connections_.check(now);
        for (; !enrolled_.empty() && enrolled_.front().second <= now; enrolled_.pop_front())
            connections_.cut(enrolled_.front().first);
        // what a closed connection had to say is in the ROUTER by now
        if (!idle) look_at_commands(socket_);
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
        if (head.size() != header_bytes) return false;
        const auto kind = static_cast<Kind>(head[kind_at_byte]);
        return kind == Kind::hello || kind == Kind::bulk || kind == Kind::enrol;
    }

    /// ENROL of a party that was invited: the gate answers it, and the core, for which such a
    /// connection is a stranger's, does not see it. False: it is something else.
    bool take_enrolment(std::uint32_t number) {
        const auto head = in_.frame.header.bytes();
        if (gate_ == nullptr || head[kind_at_byte] != static_cast<std::uint8_t>(Kind::enrol))
            return false;
        EnrolFrame frame;
        const auto who = transport_.identity_of(number);
        if (who == nullptr || who->needs_no_key || !gate_->may_enrol(who->fingerprint))
            return false;
        if (decode(head, frame.header) != HeaderFault::none || in_.frames > frames_max ||
            !valid(frame.header, in_.frame.body.size()) || frame.header.flags != 0)
            return false;
        frame.connection = number;
        frame.shown = who->fingerprint;
        const auto body = in_.frame.body.bytes();
        frame.body.assign(body.begin(), body.end());
        gate_->enrol(std::move(frame));
        return true;
    }

    void answer_enrolments(TimePoint now) {
        for (EnrolFrame& answer : gate_->enrol_answers()) {
            Frame frame = make_frame(answer.header, std::move(answer.body));
            (void)transport_.send(answer.connection, frame);
            enrolled_.emplace_back(answer.connection, now + closed_after_enrolment);
        }
    }

    /// Once a second, when there is something new.
    void note_conduct(TimePoint now) {
        if (gate_ == nullptr || core_.conduct().changes() == conduct_noted_ ||
            now - conduct_noted_at_ < std::chrono::seconds(1))
            return;
        conduct_noted_ = core_.conduct().changes();
        conduct_noted_at_ = now;
        gate_->note_conduct(core_.held_against());
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

    /// Whoever may enter the directory of an ipc socket is not asked for a key, so at a broker with
    /// keys nobody else may.
    Result<> private_socket(const Address& address) const {
        if (address.transport != Address::Transport::ipc || !private_sockets_) return {};
        if (address.host.front() == '@')
            return fail(Errc::insecure,
                        "cannot bind " + address.text() +
                            ": a broker with keys has no socket in the abstract namespace, which "
                            "every process of this machine may enter; name a file");
        struct stat found{};
        std::error_code ec;
        const std::filesystem::path directory =
            std::filesystem::absolute(address.host, ec).parent_path();
        if (ec || ::stat(directory.c_str(), &found) != 0)
            return fail(Errc::insecure, "cannot bind " + address.text() +
                                            ": nobody can say who may enter " + directory.string() +
                                            ": " + (ec ? ec.message() : std::strerror(errno)));
        if (found.st_uid != ::geteuid())
            return fail(Errc::insecure, "cannot bind " + address.text() + ": " +
                                            directory.string() +
                                            " belongs to another user, who may enter it, and ipc "
                                            "is in the clear; choose another directory");
        if ((found.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
        return fail(Errc::insecure, "cannot bind " + address.text() + ": others may enter " +
                                        directory.string() +
                                        ", and ipc is in the clear; chmod 700 it, or choose "
                                        "another directory");
    }

    static BrokerConfig config_of(const Timings& timings, const Limits& limits, Ledger* ledger,
                                  const Gate* gate) {
        BrokerConfig config;
        config.timings = timings;
        config.limits = limits;
        config.version = VFLBUS_VERSION;
        random_bytes(config.secret);
        config.ledger = ledger;
        config.access = gate;
        if (gate != nullptr) config.conduct = gate->conduct_before();
        config.tells_clock = true;
        config.wall_ms = [](TimePoint at) {
            const auto then =
                std::chrono::system_clock::now() +
                std::chrono::duration_cast<std::chrono::system_clock::duration>(at - clock_now());
            return static_cast<std::uint64_t>(std::max<std::int64_t>(
                0, std::chrono::duration_cast<std::chrono::milliseconds>(then.time_since_epoch())
                       .count()));
        };
        config.log = [](const std::string& line) {
            observe::log::info({.part = "bus"}, "{}", line);
        };
        return config;
    }

    std::shared_ptr<Context> context_;
    std::unique_ptr<Gate> gate_;  ///< ends after the ROUTER that asks it
    std::optional<KeyPair> keys_;
    bool private_sockets_;  ///< it is a broker with keys, also where it has no tcp address
    zmq::socket_t socket_;
    Connections connections_;
    RouterTransport transport_;
    Duration resolve_patience_;
    Ledger* ledger_;
    BrokerCore core_;
    Incoming in_;
    /// Connections that were answered ENROL, and when they are closed: they have nothing more to
    /// say.
    std::deque<std::pair<std::uint32_t, TimePoint>> enrolled_;
    std::uint64_t conduct_noted_ = 0;
    TimePoint conduct_noted_at_{};
    SampleDesk samples_;
    std::vector<std::string> endpoints_;
};

Result<SecretKeyFile> read_own_key(const std::filesystem::path& directory) {
    if (const auto found = find_secret_key(directory, broker_key_name); !found)
        return tl::unexpected(found.error());
    auto own = read_secret_key(secret_key_path(directory, broker_key_name));
    if (!own) return own;
    const Seconds now = wall_seconds();
    const std::string text = expiry_warning("the broker's key", own->expires, now);
    if (own->expires <= now) return fail(Errc::not_allowed, text);
    if (!text.empty()) observe::log::warn({.part = "bus"}, "{}", text);
    return own;
}

}  // namespace

Result<std::unique_ptr<BrokerLoop>> BrokerLoop::bind(BrokerOptions options) {
    if (options.bind.empty()) return fail(Errc::address, "the broker has no address to bind");
    std::unique_ptr<Gate> gate;
    std::optional<KeyPair> keys;
    const auto is_tcp = [](const std::string& address) { return address.starts_with("tcp://"); };
    const bool tcp = std::any_of(options.bind.begin(), options.bind.end(), is_tcp);
    if (tcp && !options.certificates.empty()) {
        auto own = read_own_key(options.certificates);
        if (!own) return tl::unexpected(own.error());
        keys = std::move(own->pair);
        auto opened = Gate::open(options.context, options.certificates, *keys, own->expires);
        if (!opened) return tl::unexpected(opened.error());
        gate = std::move(*opened);
    }
    auto loop = std::make_unique<BrokerLoopImpl>(options.context, options.timings, options.limits,
                                                 options.ledger, std::move(gate), std::move(keys),
                                                 !options.certificates.empty());
    std::vector<std::string> addresses;
    // at a broker with keys those in the clear come first, as they take no key
    for (const bool with_key : {false, true})
        for (const std::string& address : options.bind)
            if ((loop->has_keys() && is_tcp(address)) == with_key) addresses.push_back(address);
    for (const std::string& address : addresses)
        if (auto bound = loop->bind(address, options.insecure); !bound)
            return tl::unexpected(bound.error());
    return loop;
}

}  // namespace vflbus::bus
