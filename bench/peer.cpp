#include "peer.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "bus/core/timings.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/header.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "bus/zmq/context_impl.hpp"
#include "figures.hpp"
#include "observe/log.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

using bus::Header;
using bus::Kind;

constexpr std::uint16_t type_data = 256;
constexpr std::uint16_t type_end = 257;
constexpr std::size_t copy_below_bytes = 2048;  // larger bodies are sent from where they lie

std::string name_of_slot(int slot) {
    return "peer-" + std::to_string(slot);
}

/// The sending side of a hop: what docs/protocol.md, section 7, asks of a node.
class HopWindow {
  public:
    [[nodiscard]] bool open() noexcept {
        const bool yes = sent_ - consumed_ < window_;
        if (!yes) limited_ = true;
        return yes;
    }
    void count(std::size_t bytes) {
        if (probe_until_ == 0) {
            limited_ = false;
            probe_start_ = now_seconds();
            probe_from_ = consumed_;
            probe_until_ = sent_ + bytes;
        }
        sent_ += bytes;
    }
    [[nodiscard]] bool mark_due() const noexcept {
        return sent_ - marked_ >= bus::mark_every_bytes;
    }
    /// MARK was sent with the position as its token.
    std::uint64_t mark() noexcept { return marked_ = sent_; }
    void consumed(std::uint64_t total) {
        consumed_ = total;
        if (probe_until_ == 0 || total < probe_until_) return;
        const double seconds = now_seconds() - probe_start_;
        const double rate = static_cast<double>(total - probe_from_) / seconds;
        probe_until_ = 0;
        rtt_min_ = rtt_min_ == 0 ? seconds : std::min(rtt_min_, seconds);
        rates_[next_++ % rates_.size()] = rate;
        if (limited_)
            window_ =
                std::clamp(static_cast<std::uint64_t>(
                               2 * *std::max_element(rates_.begin(), rates_.end()) * rtt_min_),
                           bus::hop_window_bytes_min, bus::hop_window_bytes_max);
    }

  private:
    std::uint64_t sent_ = 0;
    std::uint64_t consumed_ = 0;
    std::uint64_t marked_ = 0;
    std::uint64_t window_ = bus::hop_window_bytes_min;
    bool limited_ = false;
    std::uint64_t probe_until_ = 0;
    std::uint64_t probe_from_ = 0;
    double probe_start_ = 0;
    double rtt_min_ = 0;
    std::array<double, 8> rates_{};
    std::size_t next_ = 0;
};

class Peer {
  public:
    Peer(bool broker, const std::string& endpoint, int slot, int peers)
        : broker_(broker), slot_(slot), peers_(peers), socket_(context_, zmq::socket_type::dealer) {
        bus::set_common_options(socket_);
        socket_.set(zmq::sockopt::immediate, true);
        socket_.connect(endpoint);
        run_.bytes.fill(7);
        join();
    }

    void produce(double seconds, std::size_t body, std::uint64_t credit) {
        std::uint64_t sent = 0;
        std::uint64_t messages = 0;
        credited_ = 0;
        const NodeId to = id_of(2);
        const std::size_t chunks =
            std::max<std::size_t>(1, (body + bus::chunk_bytes - 1) / bus::chunk_bytes);
        const double until = now_seconds() + seconds;
        const auto pass = [&] {
            while (receive(false)) {
            }
            while (sent - credited_ >= credit || !hop_open()) receive(true);
        };
        for (;; ++messages) {
            if (messages % 32 == 0 || body >= copy_below_bytes) {
                while (receive(false)) {
                }
                if (now_seconds() >= until) break;
            }
            for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
                const std::size_t offset = chunk * bus::chunk_bytes;
                const std::size_t part = std::min(bus::chunk_bytes, body - offset);
                if (sent - credited_ >= credit || !hop_open()) pass();
                sent += send(Kind::request, to, type_data, part, body, offset);
            }
        }
        sent += send(Kind::request, to, type_end, 0, 0, 0);
        while (credited_ < sent) receive(true);
        std::printf("done %llu\n", static_cast<unsigned long long>(messages));
    }

    void consume() {
        std::uint64_t total = 0;
        std::uint64_t reported = 0;
        std::uint64_t messages = 0;
        double begin = 0;
        const NodeId to = id_of(1);
        for (;;) {
            if (!receive(true) || last_.kind != Kind::request) continue;
            if (total == 0) begin = now_seconds();
            total += last_bytes_;
            const bool end = last_.type == type_end;
            if (!end && last_.body_offset + last_part_ == last_.body_bytes) ++messages;
            if (total - reported >= bus::mark_every_bytes || end) {
                reported = total;
                aux_ = total;
                send(Kind::reply, to, type_data, 0, 0, 0);
                aux_ = 0;
            }
            if (end) break;
        }
        std::printf("done %llu %llu %.9f\n", static_cast<unsigned long long>(messages),
                    static_cast<unsigned long long>(total), now_seconds() - begin);
    }

    void ping(int count, std::size_t body) {
        std::vector<double> times;
        double sum = 0;
        const NodeId to = id_of(2);
        for (int i = 0; i < count; ++i) {
            const double begin = now_seconds();
            send(Kind::request, to, type_data, body, body, 0);
            await_reply();
            times.push_back(now_seconds() - begin);
            sum += times.back();
        }
        send(Kind::request, to, type_end, 0, 0, 0);
        std::printf("done %.9f %.9f %.9f\n", quantile(times, 0.5), quantile(times, 0.99),
                    sum / count);
    }

    void scatter(int count, std::size_t body) {
        const double begin = now_seconds();
        for (int i = 0; i < count; ++i) {
            for (int slot = 2; slot <= peers_; ++slot)
                send(Kind::request, id_of(slot), type_data, body, body, 0);
            for (int slot = 2; slot <= peers_; ++slot) await_reply();
        }
        const double seconds = now_seconds() - begin;
        for (int slot = 2; slot <= peers_; ++slot)
            send(Kind::request, id_of(slot), type_end, 0, 0, 0);
        std::printf("done %.9f\n", seconds);
    }

    void serve(std::size_t body) {
        for (;;) {
            if (!receive(true) || last_.kind != Kind::request) continue;
            if (last_.type == type_end) break;
            send(Kind::reply, last_.src, type_data, body, body, 0);
        }
        std::printf("done\n");
    }

  private:
    [[nodiscard]] NodeId id_of(int slot) const {
        return broker_ ? ids_[static_cast<std::size_t>(slot)]
                       : NodeId{static_cast<std::uint64_t>(slot)};
    }
    [[nodiscard]] bool hop_open() noexcept { return !broker_ || hop_.open(); }

    void join() {
        for (int slot = 0; slot <= peers_; ++slot) ids_.push_back(node_id_of(name_of_slot(slot)));
        if (!broker_) {
            control(Kind::hello, {}, 0, {});  // to slot 0: comes back
            while (last_.kind != Kind::hello) receive(true);
            return;
        }
        bus::Hello hello;
        hello.name = name_of_slot(slot_);
        hello.role = "node";
        hello.incarnation = 1;
        hello.instance = static_cast<std::uint64_t>(slot_);
        control(Kind::hello, {}, 0, encode(hello));
        await(Kind::welcome);
        if (slot_ == 1) {
            bus::Open open;
            open.owner = hello.name;
            for (int slot = 2; slot <= peers_; ++slot)
                open.participants.push_back({name_of_slot(slot), "node", -1});
            control(Kind::open, run_, 1, encode(open));
            for (int slot = 2; slot <= peers_; ++slot) await(Kind::join);
        } else {
            await(Kind::open);
            bus::Join join;
            join.name = hello.name;
            join.role = hello.role;
            join.incarnation = 1;
            control(Kind::join, run_, 1, encode(join));
        }
    }

    void await(Kind kind) {
        for (;;)
            if (receive(true) && last_.kind == kind) return;
    }
    void await_reply() { await(Kind::reply); }

    void control(Kind kind, const RunId& run, std::uint32_t term, const bus::Bytes& body) {
        Header header;
        header.kind = kind;
        header.run = run;
        header.term = term;
        header.src = id_of(slot_);
        header.body_bytes = body.size();
        push(header, body.data(), body.size());
    }

    std::size_t send(Kind kind, NodeId to, std::uint16_t type, std::size_t part, std::size_t body,
                     std::size_t offset) {
        Header header;
        header.kind = kind;
        header.run = run_;
        header.term = 1;
        header.src = id_of(slot_);
        header.dst = to;
        header.request = ++number_;
        header.answered_below = number_;
        header.body_bytes = body;
        header.body_offset = offset;
        header.type = type;
        header.aux = aux_;
        if (content_.size() < part) content_.resize(part, 0x5a);
        push(header, content_.data(), part);
        if (broker_) hop_.count(bus::header_bytes + part);
        if (broker_ && hop_.mark_due()) {
            Header mark;
            mark.kind = Kind::mark;
            mark.src = id_of(slot_);
            mark.aux = hop_.mark();
            push(mark, nullptr, 0);
        }
        return bus::header_bytes + part;
    }

    void push(const Header& header, const std::uint8_t* body, std::size_t bytes) {
        zmq_msg_t message;
        zmq_msg_init_size(&message, bus::header_bytes);
        encode(header, std::span<std::uint8_t, bus::header_bytes>(
                           static_cast<std::uint8_t*>(zmq_msg_data(&message)), bus::header_bytes));
        if (zmq_msg_send(&message, socket_.handle(), bytes > 0 ? ZMQ_SNDMORE : 0) < 0)
            throw std::runtime_error("send failed");
        if (bytes == 0) return;
        if (bytes < copy_below_bytes) {
            zmq_msg_init_size(&message, bytes);
            std::memcpy(zmq_msg_data(&message), body, bytes);
        } else {
            // the bytes never change and outlive the socket
            zmq_msg_init_data(
                &message, const_cast<std::uint8_t*>(body), bytes, [](void*, void*) {}, nullptr);
        }
        if (zmq_msg_send(&message, socket_.handle(), 0) < 0)
            throw std::runtime_error("send failed");
    }

    /// One message, its header in last_. False when none is there (or none that counts).
    bool receive(bool wait) {
        zmq::message_t head;
        if (!socket_.recv(head, wait ? zmq::recv_flags::none : zmq::recv_flags::dontwait))
            return false;
        last_part_ = 0;
        if (head.more()) {
            zmq::message_t body;
            (void)socket_.recv(body, zmq::recv_flags::none);
            last_part_ = body.size();
        }
        last_bytes_ = head.size() + last_part_;
        if (decode({static_cast<const std::uint8_t*>(head.data()), head.size()}, last_) !=
            bus::HeaderFault::none)
            return false;
        if (last_.kind == Kind::error)
            throw std::runtime_error("the broker answered with error " + std::to_string(last_.aux));
        if (last_.kind == Kind::window) hop_.consumed(last_.aux);
        if (last_.kind == Kind::mark) {
            Header window;
            window.kind = Kind::window;
            window.src = id_of(slot_);
            window.aux = last_.aux;
            push(window, nullptr, 0);
        }
        if (is_data(last_.kind)) {
            if (last_.kind == Kind::reply && last_.aux != 0) credited_ = last_.aux;
        }
        return true;
    }

    bool broker_;
    int slot_;
    int peers_;
    std::vector<std::uint8_t> content_ = std::vector<std::uint8_t>(bus::chunk_bytes, 0x5a);
    zmq::context_t context_{1};
    zmq::socket_t socket_;
    RunId run_;
    std::vector<NodeId> ids_;
    HopWindow hop_;
    std::uint64_t number_ = 0;
    std::uint64_t aux_ = 0;
    std::uint64_t credited_ = 0;
    Header last_;
    std::size_t last_bytes_ = 0;
    std::size_t last_part_ = 0;
};

}  // namespace

int run_peer(const std::vector<std::string>& arguments) {
    if (arguments.size() != 4) throw std::runtime_error("peer SYSTEM ENDPOINT SLOT PEERS");
    Peer peer(arguments[0] == "broker", arguments[1], std::stoi(arguments[2]),
              std::stoi(arguments[3]));
    std::printf("ready\n");
    std::fflush(stdout);
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string verb;
        double first = 0;
        std::size_t second = 0;
        std::uint64_t third = 0;
        words >> verb >> first >> second >> third;
        if (verb == "produce")
            peer.produce(first / 1000, second, third);
        else if (verb == "consume")
            peer.consume();
        else if (verb == "ping")
            peer.ping(static_cast<int>(first), second);
        else if (verb == "scatter")
            peer.scatter(static_cast<int>(first), second);
        else if (verb == "serve")
            peer.serve(static_cast<std::size_t>(first));
        else
            throw std::runtime_error("peer does not know " + line);
        std::fflush(stdout);
    }
    return 0;
}

int run_broker(const std::vector<std::string>& arguments) {
    if (arguments.empty() || arguments.size() > 2)
        throw std::runtime_error("broker ENDPOINT [CERTIFICATES]");
    observe::log::set_level(observe::log::Level::warn);
    bus::BrokerOptions options;
    options.bind = {arguments[0]};
    if (arguments.size() == 2) options.certificates = arguments[1];
    options.context = bus::make_context(bus::broker_io_threads(options));
    // raw peers are silent while others are measured
    options.timings.suspect = options.timings.lost = std::chrono::hours(1);
    auto broker = bus::BrokerLoop::bind(options);
    if (!broker) throw std::runtime_error(broker.error().sentence);
    std::printf("%s\n", (*broker)->endpoints().front().c_str());
    std::fflush(stdout);
    const bus::StopSignal never;
    (*broker)->run(never);
    return 0;
}

}  // namespace vflbus::bench
