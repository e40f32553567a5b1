// Peers with an allowed key that mean no good, beside a training: docs/security.md.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <thread>
#include <zmq.hpp>

#include "bus/keys/key_files.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/frame.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/questions.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

constexpr const char* name = "rival";
constexpr std::size_t garbage_frames = 1'000'000;
constexpr std::size_t garbage_bytes = 64;

/// A DEALER with the key of `rival`, and nothing of ours behind it.
class Attacker {
  public:
    Attacker(const std::string& broker, const std::string& keys)
        : socket_(context_, zmq::socket_type::dealer), directory_(keys_of(keys).directory) {
        const auto own = bus::read_secret_key(bus::secret_key_path(directory_, name));
        const auto theirs = bus::read_public_key(bus::public_key_path(directory_, "broker"));
        if (!own || !theirs) throw std::runtime_error("the attacker has no key");
        const auto set = [&](int option, const auto& bytes) {
            if (zmq_setsockopt(socket_.handle(), option, bytes.data(), bytes.size()) != 0)
                throw std::runtime_error("the attacker cannot use its key");
        };
        set(ZMQ_CURVE_SERVERKEY, theirs->key.bytes);
        set(ZMQ_CURVE_PUBLICKEY, own->pair.public_key.bytes);
        set(ZMQ_CURVE_SECRETKEY, own->pair.secret.bytes);
        socket_.set(zmq::sockopt::linger, 0);
        socket_.set(zmq::sockopt::rcvhwm, 1);
        socket_.set(zmq::sockopt::sndtimeo, 20);
        socket_.connect(broker);
    }

    /// False: nothing goes out at the moment.
    bool send(const bus::Header& header, const bus::Bytes& body) {
        const bus::Frame frame = bus::make_frame(header, body);
        const auto head = frame.header.bytes();
        if (zmq_send(socket_.handle(), head.data(), head.size(), body.empty() ? 0 : ZMQ_SNDMORE) <
            0)
            return false;
        return body.empty() || zmq_send(socket_.handle(), body.data(), body.size(), 0) >= 0;
    }
    bool send_garbage() {
        const char bytes[garbage_bytes] = "this is no frame of any protocol";
        return zmq_send(socket_.handle(), bytes, sizeof bytes, 0) >= 0;
    }
    void hello() {
        bus::Header header;
        header.kind = bus::Kind::hello;
        header.src = node_id_of(name);
        header.request = ++hellos_;
        (void)send(header, bus::encode(bus::Hello{name, "node", -1, 1, 7, "attacker", {"asks"}}));
    }
    /// The next header that comes; nothing within 20 s.
    std::optional<bus::Header> receive() {
        socket_.set(zmq::sockopt::rcvtimeo, 20'000);
        zmq::message_t part;
        bus::Header header;
        while (socket_.recv(part)) {
            const auto* const bytes = part.data<const std::uint8_t>();
            const std::span<const std::uint8_t> head(bytes, part.size());
            const bool good = bus::decode(head, header) == bus::HeaderFault::none;
            while (part.more() && socket_.recv(part)) {
            }
            if (good) return header;
        }
        return {};
    }
    void read_all() {
        zmq::message_t part;
        while (socket_.recv(part, zmq::recv_flags::dontwait)) {
        }
    }

  private:
    zmq::context_t context_;
    zmq::socket_t socket_;
    std::string directory_;
    std::uint64_t hellos_ = 0;
};

/// As fast as they go out. What was on its way when it is cut is lost with the connection.
void send_garbage(Attacker& attacker) {
    for (std::size_t sent = 0; sent < garbage_frames;)
        if (attacker.send_garbage()) ++sent;
}

/// Makes the broker answer, and takes nothing of it.
void never_read(Attacker& attacker) {
    bus::Header ping;
    ping.kind = bus::Kind::ping;
    ping.src = node_id_of(name);
    for (std::uint64_t i = 0;; ++i) {
        if (i % 20'000 == 0) attacker.hello();
        (void)attacker.send(ping, {});
    }
}

/// A thousand questions a second, each of which wants all rows.
void ask(Attacker& attacker) {
    bus::Header query;
    query.kind = bus::Kind::query;
    query.src = node_id_of(name);
    query.type = static_cast<std::uint16_t>(bus::Question::nodes);
    const bus::Bytes all = bus::encode_nodes_query(500);
    auto next = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0;; ++i) {
        if (i % 1'000 == 0) attacker.hello();
        query.request = i + 1;
        (void)attacker.send(query, all);
        attacker.read_all();
        next += std::chrono::milliseconds(1);
        std::this_thread::sleep_until(next);
    }
}

/// Has a session until its key is revoked, and says when it is over.
void await_revocation(Attacker& attacker) {
    attacker.hello();
    for (auto header = attacker.receive(); header; header = attacker.receive()) {
        if (header->kind == bus::Kind::welcome) std::printf("welcome\n");
        if (header->kind == bus::Kind::bye) std::printf("over %.6f\n", now_seconds());
        std::fflush(stdout);
        if (header->kind == bus::Kind::bye) return;
        bus::Header ping;
        ping.kind = bus::Kind::ping;
        ping.src = node_id_of(name);
        (void)attacker.send(ping, {});
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

}  // namespace

int run_attacker(const std::vector<std::string>& arguments) {
    if (arguments.size() != 3) throw std::runtime_error("attacker BROKER KEYS KIND");
    Attacker attacker(arguments[0], arguments[1]);
    std::printf("ready\n");
    std::fflush(stdout);
    if (arguments[2] == "garbage")
        send_garbage(attacker);
    else if (arguments[2] == "deaf")
        never_read(attacker);
    else if (arguments[2] == "questions")
        ask(attacker);
    else if (arguments[2] == "revoked")
        await_revocation(attacker);
    else
        throw std::runtime_error("the attacker does not know " + arguments[2]);
    std::printf("done\n");
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::hours(1));
    return 0;
}

}  // namespace vflbus::bench
