// Broker and nodes over real sockets, as processes use them: threads of this one, loopback only.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <thread>
#include <zmq.hpp>

#include "actors/node/node.hpp"
#include "base/clock.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"
#include "bus/wire/header.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "bus/zmq/link_loop.hpp"
#include "catch.hpp"
#include "light_node.hpp"
#include "no_descriptors.hpp"

using namespace vflbus;
using namespace vflbus::actors;
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr MessageType echo_type = 1;
constexpr MessageType slow_type = 300;

struct Directory {
    fs::path path;
    Directory() {
        std::string text = (fs::temp_directory_path() / "vflbus-XXXXXX").string();
        REQUIRE(::mkdtemp(text.data()) != nullptr);
        path = text;
    }
    ~Directory() { fs::remove_all(path); }
};

/// inproc, but not under ThreadSanitizer: libzmq hands messages from thread to thread in place, by
/// means that it does not see, and every byte of them would be a report.
#if defined(__SANITIZE_THREAD__)
constexpr bool inproc_too = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool inproc_too = false;
#else
constexpr bool inproc_too = true;
#endif
#else
constexpr bool inproc_too = true;
#endif
std::string local_address(const Directory& dir) {
    return inproc_too ? "inproc://b" : "ipc://" + (dir.path / "broker.ipc").string();
}

bus::Timings quick() {
    bus::Timings t;
    t.heartbeat = milliseconds(100);
    t.suspect = milliseconds(400);
    t.lost = milliseconds(900);
    t.check = milliseconds(50);
    t.name_probe = milliseconds(200);
    return t;
}

/// The same, for a broker that is not to take a node for lost which gets no processor for a while.
bus::Timings patient() {
    bus::Timings t = quick();
    t.suspect = seconds(30);
    t.lost = seconds(60);
    return t;
}

/// A broker in a thread.
class Broker {
  public:
    Broker(std::shared_ptr<bus::Context> context, const std::string& address,
           bus::Timings timings = {}) {
        bus::BrokerOptions options;
        options.context = std::move(context);
        options.bind = {address};
        options.timings = timings;
        // an address that was closed a moment ago may take a moment to be free
        for (int i = 0; i < 100; ++i) {
            auto bound = bus::BrokerLoop::bind(options);
            if (bound) {
                loop_ = std::move(*bound);
                break;
            }
            std::this_thread::sleep_for(milliseconds(20));
        }
        REQUIRE(loop_ != nullptr);
        endpoint = loop_->endpoints()[0];
        thread_ = std::thread([this] { loop_->run(stop_); });
    }
    ~Broker() {
        stop_.stop();
        thread_.join();
    }
    std::string endpoint;

  private:
    std::unique_ptr<bus::BrokerLoop> loop_;
    bus::StopSignal stop_;
    std::thread thread_;
};

NodeOptions options_of(std::shared_ptr<bus::Context> context, const std::string& broker,
                       const std::string& name, const fs::path& state, bus::Timings timings = {}) {
    NodeOptions options;
    options.context = std::move(context);
    options.broker = broker;
    options.name = name;
    options.role = name == "master" ? "master" : "member";
    options.state_dir = state;
    options.timings = timings;
    options.connect_timeout = seconds(20);
    return options;
}

/// A node that serves in a thread; `result` once `wait` has returned.
class Serving {
  public:
    Serving(NodeOptions options, ClientApp app, bool once = true)
        : thread_([this, options = std::move(options), app = std::move(app), once]() mutable {
              auto node = Node::create(std::move(options));
              if (!node)
                  result = tl::unexpected(node.error());
              else
                  result = (*node)->serve(std::move(app), stop_, once);
          }) {}
    ~Serving() {
        stop_.stop();
        wait();
    }
    void wait() {
        if (thread_.joinable()) thread_.join();
    }
    void stop() { stop_.stop(); }
    Result<Ending> result = Ending{Errc::internal, "still serving"};

  private:
    bus::StopSignal stop_;
    std::thread thread_;
};

/// Sends `total` echoes to each participant, a few at a time, and counts the answers to each.
class EchoOwner : public ServerApp {
  public:
    EchoOwner(const std::vector<std::string>& names, int total_count, std::size_t bytes_each)
        : total(total_count), bytes(bytes_each) {
        spec_.run = random_run_id();
        for (const auto& name : names) spec_.participants.push_back({name, "member", 0});
    }
    const RunSpec& spec() const override { return spec_; }
    void on_opened(Driver& driver) override { driver.set_timer(driver.now() + seconds(200)); }
    void on_join(Driver& driver, NodeId node, const bus::Join& join) override {
        if (join.code != Errc::ok || !pushed_.emplace(node, 0).second) return;
        for (int i = 0; i < 8; ++i) push(driver, node);
    }
    void push(Driver& driver, NodeId node) {
        if (pushed_[node] == total) return;
        Bytes body(bytes, static_cast<std::uint8_t>(pushed_[node]++));
        const auto number = driver.push_message(node, echo_type, body);
        if (!number) return fault(number.error().sentence);
        open_[{node, *number}] = std::move(body);
    }
    void on_reply(Driver& driver, Message&& reply) override {
        const auto at = open_.find({reply.metadata.src_node_id, reply.metadata.message_id});
        if (at == open_.end()) return fault("a reply to nothing, or a second one");
        if (reply.content != at->second) fault("an echo that differs: " + reply.error.sentence);
        open_.erase(at);
        answered.fetch_add(1);
        push(driver, reply.metadata.src_node_id);
        if (answered == total * static_cast<int>(spec_.participants.size()))
            driver.close(Errc::ok, "done");
    }
    void on_peer(Driver&, const PeerEvent& event) override {
        if (event.what != PeerEvent::What::up) ++troubles;
    }
    void on_timer(Driver& driver) override {
        fault("too late");
        driver.close(Errc::timed_out, "too late");
    }
    void on_link(Driver&, bool up, const std::string&) override { (up ? ups : downs)++; }
    void on_closed(const Ending&) override {}
    void fault(const std::string& sentence) { faults.push_back(sentence); }

    int total;
    std::size_t bytes;
    std::atomic<int> answered{0};
    std::vector<std::string> faults;
    int ups = 0, downs = 0, troubles = 0;

  protected:
    RunSpec spec_;
    std::map<NodeId, int> pushed_;
    std::map<std::pair<NodeId, std::uint64_t>, Bytes> open_;
};

Result<Ending> drive(NodeOptions options, ServerApp& app) {
    auto node = Node::create(std::move(options));
    if (!node) return tl::unexpected(node.error());
    const bus::StopSignal stop;
    return (*node)->drive(app, stop);
}

void check_echoes(const EchoOwner& app, const Result<Ending>& ending) {
    REQUIRE(ending);
    INFO(ending->sentence);
    CHECK(ending->code == Errc::ok);
    for (const auto& fault : app.faults) {
        INFO(fault);
        CHECK(false);
    }
    CHECK(app.answered == app.total * static_cast<int>(app.spec().participants.size()));
}

/// A plain TCP connection to where a broker listens.
class Tcp {
  public:
    explicit Tcp(const std::string& endpoint) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port =
            htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
        connected = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    }
    ~Tcp() { ::close(fd_); }
    void send(std::string_view bytes) {
        (void)::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    bool connected = false;

  private:
    int fd_;
};

}  // namespace

TEST_CASE("two nodes echo over tcp, ipc and inproc") {
    for (const std::string transport : {"tcp", "ipc", "inproc"}) {
        INFO(transport);
        if (transport == "inproc" && !inproc_too) continue;
        Directory dir;
        const auto context = bus::make_context();
        const std::string address = transport == "tcp"   ? "tcp://127.0.0.1:*"
                                    : transport == "ipc" ? "ipc://" + (dir.path / "b").string()
                                                         : "inproc://broker";
        Broker broker(context, address);
        Serving a(options_of(context, broker.endpoint, "member-0", dir.path / "a"), ClientApp{});
        Serving b(options_of(context, broker.endpoint, "member-1", dir.path / "b0"), ClientApp{});
        EchoOwner app({"member-0", "member-1"}, 100, 20'000);
        check_echoes(app,
                     drive(options_of(context, broker.endpoint, "master", dir.path / "m"), app));
        a.wait();
        b.wait();
        REQUIRE(a.result);
        CHECK(a.result->sentence == "done");
        CHECK(b.result);
    }
}

TEST_CASE("bodies larger than a window go through in chunks") {
    // with as many I/O threads as nodes have, and with one for both connections
    for (const int io_threads : {bus::node_io_threads, 1})
        for (const std::string transport : {"tcp", "ipc", "inproc"}) {
            INFO(transport << ", " << io_threads << " I/O threads");
            if (transport == "inproc" && !inproc_too) continue;
            Directory dir;
            const auto context = bus::make_context(io_threads);
            const std::string address = transport == "tcp"   ? "tcp://127.0.0.1:*"
                                        : transport == "ipc" ? "ipc://" + (dir.path / "b").string()
                                                             : "inproc://broker";
            Broker broker(context, address);
            Serving a(options_of(context, broker.endpoint, "member-0", dir.path / "a"),
                      ClientApp{});
            EchoOwner app({"member-0"}, 10, (3u << 20) + 17);
            check_echoes(
                app, drive(options_of(context, broker.endpoint, "master", dir.path / "m"), app));
            CHECK(app.ups == 1);
        }
}

TEST_CASE("a node that asks and never reads does not stop the others") {
    Directory dir;
    const auto context = bus::make_context();
    Broker broker(context, "tcp://127.0.0.1:*");
    Serving a(options_of(context, broker.endpoint, "member-0", dir.path / "a"), ClientApp{});
    zmq::context_t other;
    zmq::socket_t deaf(other, zmq::socket_type::dealer);
    deaf.set(zmq::sockopt::linger, 0);
    deaf.set(zmq::sockopt::rcvhwm, 1);
    deaf.set(zmq::sockopt::rcvbuf, 4096);
    deaf.set(zmq::sockopt::sndtimeo, 2000);
    deaf.connect(broker.endpoint);
    bus::Header ping;
    ping.kind = bus::Kind::ping;
    const bus::HeaderBytes head = bus::encode(ping);
    for (int i = 0; i < 20'000; ++i)
        if (!deaf.send(zmq::buffer(head), zmq::send_flags::none)) break;
    EchoOwner app({"member-0"}, 200, 100);
    check_echoes(app, drive(options_of(context, broker.endpoint, "master", dir.path / "m"), app));
}

namespace {

void restart_broker_under(int total, std::size_t bytes, int first, int second) {
    Directory dir;
    const auto context = bus::make_context();
    const std::string address = "ipc://" + (dir.path / "broker").string();
    auto broker = std::make_unique<Broker>(context, address, patient());
    Serving a(options_of(context, address, "member-0", dir.path / "a", quick()), ClientApp{});
    Serving b(options_of(context, address, "member-1", dir.path / "b", quick()), ClientApp{});
    EchoOwner app({"member-0", "member-1"}, total, bytes);
    std::atomic<bool> over{false};
    std::thread restarts([&] {
        for (const int when : {first, second}) {
            while (app.answered < when && !over) std::this_thread::sleep_for(milliseconds(1));
            broker.reset();
            broker = std::make_unique<Broker>(context, address, patient());
        }
    });
    const auto ending = drive(options_of(context, address, "master", dir.path / "m", quick()), app);
    over = true;
    restarts.join();
    check_echoes(app, ending);
    CHECK(app.ups >= 2);
}

}  // namespace

TEST_CASE("a broker that is restarted in the middle of traffic: every request is answered once") {
    restart_broker_under(1500, 30'000, 100, 1200);
}

TEST_CASE("a broker that is restarted under bodies that travel on two connections") {
    // (a few of them where ThreadSanitizer looks at every byte)
    restart_broker_under(inproc_too ? 40 : 10, 1'500'000, 5, 12);
}

TEST_CASE("addresses that cannot be bound") {
    Directory dir;
    const auto context = bus::make_context();
    const auto error_of = [&](std::vector<std::string> addresses, bool insecure = false) {
        bus::BrokerOptions options;
        options.context = context;
        options.bind = std::move(addresses);
        options.insecure = insecure;
        auto bound = bus::BrokerLoop::bind(options);
        return bound ? Failure{Errc::ok, {}} : bound.error();
    };
    Broker broker(context, "tcp://127.0.0.1:*");
    const Failure in_use = error_of({broker.endpoint});
    CHECK(in_use.code == Errc::address);
    CHECK(in_use.sentence.find("in use") != std::string::npos);
    {
        // libzmq would take the path away from the first broker, and its nodes with it
        const std::string path = "ipc://" + (dir.path / "broker").string();
        {
            Broker first(context, path);
            const Failure taken = error_of({path});
            CHECK(taken.code == Errc::address);
            CHECK(taken.sentence.find(path) != std::string::npos);
            CHECK(taken.sentence.find("in use") != std::string::npos);
        }
        // what a dead one left behind is in nobody's way; libzmq closes it from a thread of its own
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        Failure again = error_of({path});
        while (again.code != Errc::ok && std::chrono::steady_clock::now() < until) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            again = error_of({path});
        }
        CHECK(again.code == Errc::ok);
        const std::string name = "ipc://@vflbus-test-" + std::to_string(::getpid());
        Broker abstract(context, name);
        CHECK(error_of({name}).code == Errc::address);
    }
    CHECK(in_use.sentence.find(broker.endpoint) != std::string::npos);
    for (const std::string wide : {"tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*"}) {
        INFO(wide);
        const Failure refused = error_of({wide});
        CHECK(refused.code == Errc::insecure);
        CHECK(refused.sentence.find("--insecure") != std::string::npos);
    }
    CHECK(error_of({"tcp://0.0.0.0:*"}, true).code == Errc::ok);
    CHECK(error_of({"tcp://127.0.0.1:*", "ipc://" + (dir.path / "x").string()}).code == Errc::ok);
    for (const std::string bad : {"", "127.0.0.1:5", "tcp://127.0.0.1", "tcp://127.0.0.1:70000",
                                  "tcp://:5", "udp://127.0.0.1:5", "ipc://", "inproc://"}) {
        INFO(bad);
        CHECK(error_of({bad}).code == Errc::address);
    }
    CHECK(error_of({}).code == Errc::address);
    CHECK(error_of({"ipc://" + std::string(200, 'x')}).code == Errc::address);
}

TEST_CASE("a second node of one name is refused while the first lives") {
    Directory dir;
    const auto context = bus::make_context();
    bus::Timings timings = patient();
    timings.name_probe = seconds(5);  // who lives answers at once
    Broker broker(context, local_address(dir), timings);
    Serving first(options_of(context, broker.endpoint, "member-0", dir.path / "a", quick()),
                  ClientApp{}, false);
    EchoOwner app({"member-0"}, 1, 1);
    check_echoes(
        app, drive(options_of(context, broker.endpoint, "master", dir.path / "m", quick()), app));
    // a state directory of its own: a later clock, a higher incarnation
    Serving second(options_of(context, broker.endpoint, "member-0", dir.path / "b", quick()),
                   ClientApp{});
    second.wait();
    REQUIRE_FALSE(second.result);
    CHECK(second.result.error().code == Errc::name_taken);
    CHECK(second.result.error().sentence.find("member-0") != std::string::npos);
    // and one in the same directory before it says anything
    auto same = Node::create(options_of(context, broker.endpoint, "member-0", dir.path / "a"));
    CHECK_FALSE(same);
    EchoOwner again({"member-0"}, 5, 10);  // the first was not disturbed
    check_echoes(
        again,
        drive(options_of(context, broker.endpoint, "master", dir.path / "m", quick()), again));
}

TEST_CASE("a node that disappeared gives its name to the next incarnation at once") {
    Directory dir;
    const auto context = bus::make_context();
    Broker broker(context, "tcp://127.0.0.1:*");  // default times: suspect only after 3 s
    bus::LinkConfig config;
    config.hello = {"member-0", "member", 0, 1, 99, "0.1.0", {}};
    {
        auto gone = bus::LinkLoop::create(bus::make_context(), broker.endpoint, config);
        REQUIRE(gone);
        (*gone)->start();
        const TimePoint until = std::chrono::steady_clock::now() + seconds(60);
        while (!(*gone)->core().up() && std::chrono::steady_clock::now() < until)
            (*gone)->poll(std::chrono::steady_clock::now() + milliseconds(50), nullptr);
        REQUIRE((*gone)->core().up());
    }  // its socket is closed without BYE, as after SIGKILL
    Serving next(options_of(context, broker.endpoint, "member-0", dir.path / "a"), ClientApp{});
    EchoOwner app({"member-0"}, 1, 1);
    check_echoes(app, drive(options_of(context, broker.endpoint, "master", dir.path / "m"), app));
    CHECK(app.troubles == 0);
}

TEST_CASE("garbage at the port while traffic goes on") {
    Directory dir;
    const auto context = bus::make_context();
    Broker broker(context, "tcp://127.0.0.1:*", patient());
    Serving member(options_of(context, broker.endpoint, "member-0", dir.path / "a"), ClientApp{});
    EchoOwner app({"member-0"}, 2000, 2'000);
    std::atomic<bool> over{false};
    std::atomic<int> rounds{0};
    std::thread vandal([&] {
        Rng rng(7);
        zmq::context_t other;
        while (!over) {
            {
                Tcp http(broker.endpoint);
                http.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
                Tcp silent(broker.endpoint);
                Tcp noise(broker.endpoint);
                std::string bytes(1 + rng.below(300), '\0');
                for (char& c : bytes) c = static_cast<char>(rng.next());
                noise.send(bytes);
                // a ZMTP greeting that goes wrong afterwards
                Tcp zmtp(broker.endpoint);
                std::string greeting = std::string("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL", 16);
                greeting.resize(64);
                zmtp.send(greeting + bytes);
            }
            zmq::socket_t dealer(other, zmq::socket_type::dealer);
            dealer.set(zmq::sockopt::linger, 50);
            dealer.set(zmq::sockopt::sndtimeo, 500);
            dealer.connect(broker.endpoint);
            const auto send = [&](std::vector<std::size_t> sizes) {
                for (std::size_t i = 0; i < sizes.size(); ++i) {
                    zmq::message_t part(sizes[i]);
                    auto* at = static_cast<std::uint8_t*>(part.data());
                    for (std::size_t k = 0; k < std::min<std::size_t>(sizes[i], 200); ++k)
                        at[k] = static_cast<std::uint8_t>(rng.next());
                    if (!dealer.send(part, i + 1 < sizes.size() ? zmq::send_flags::sndmore
                                                                : zmq::send_flags::none))
                        return;
                }
            };
            send({0});
            send({97});
            send({97, 10});
            send({1, 1, 1});
            send({0, 0, 0, 0, 0, 0});
            // headers of ours with wild fields, as a stranger and with stolen names
            for (int i = 0; i < 50; ++i) {
                bus::Header header;
                header.kind = static_cast<bus::Kind>(rng.below(20));
                header.flags = static_cast<std::uint8_t>(rng.below(16));
                header.term = static_cast<std::uint32_t>(rng.below(3));
                header.src = rng.below(2) ? node_id_of("master") : NodeId{rng.next()};
                header.dst = node_id_of("member-0");
                if (rng.below(2)) header.run = app.spec().run;
                header.request = rng.below(3);
                header.body_bytes = rng.below(2) ? 10 : rng.next();
                const bus::HeaderBytes head = bus::encode(header);
                dealer.send(zmq::buffer(head), zmq::send_flags::sndmore);
                dealer.send(zmq::buffer(std::string(10, '\x90')), zmq::send_flags::none);
            }
            send({3u << 20});  // beyond the largest frame: the broker hangs up on this one
            rounds.fetch_add(1);
            std::this_thread::sleep_for(milliseconds(5));
        }
    });
    const auto ending = drive(options_of(context, broker.endpoint, "master", dir.path / "m"), app);
    over = true;
    vandal.join();
    check_echoes(app, ending);
    CHECK(rounds > 0);
    CHECK(app.troubles == 0);
    CHECK(app.downs == 0);
}

namespace {

/// Asks for one slow thing; may close the run while it is being done.
class SlowOwner final : public EchoOwner {
  public:
    explicit SlowOwner(Duration close_after) : EchoOwner({"member-0"}, 0, 0), wait_(close_after) {}
    void on_opened(Driver&) override {}
    void on_join(Driver& driver, NodeId node, const bus::Join&) override {
        if (pushed_.emplace(node, 0).second) {
            (void)driver.push_message(node, slow_type, {});
            driver.set_timer(driver.now() + wait_);
        }
    }
    void on_reply(Driver& driver, Message&& reply) override {
        answered.fetch_add(1);
        if (!reply.has_content()) fault(reply.error.sentence);
        driver.close(Errc::ok, "done");
    }
    void on_timer(Driver& driver) override { driver.close(Errc::cancelled, "enough"); }

  private:
    Duration wait_;
};

}  // namespace

namespace {

/// A broker by hand: a ROUTER that says what it is told to.
class RawRouter {
  public:
    RawRouter() : socket_(context_, zmq::socket_type::router) {
        socket_.set(zmq::sockopt::linger, 0);
        socket_.set(zmq::sockopt::sndhwm, 0);
        socket_.set(zmq::sockopt::rcvhwm, 0);
        socket_.bind("tcp://127.0.0.1:*");
        endpoint = socket_.get(zmq::sockopt::last_endpoint);
    }
    void say(const std::string& to, bus::Header header, const Bytes& body = {}) {
        header.body_bytes = std::max<std::uint64_t>(header.body_bytes, body.size());
        const bus::HeaderBytes head = bus::encode(header);
        socket_.send(zmq::buffer(to), zmq::send_flags::sndmore);
        socket_.send(zmq::buffer(head),
                     body.empty() ? zmq::send_flags::none : zmq::send_flags::sndmore);
        if (!body.empty()) socket_.send(zmq::buffer(body), zmq::send_flags::none);
    }
    /// The next message: who from, and its header.
    bool hear(std::string& from, bus::Header& header) {
        zmq::message_t part;
        if (!socket_.recv(part, zmq::recv_flags::dontwait)) return false;
        from = part.to_string();
        bool first = true;
        while (part.more()) {
            (void)socket_.recv(part);
            if (first)
                REQUIRE(bus::decode({part.data<std::uint8_t>(), part.size()}, header) ==
                        bus::HeaderFault::none);
            first = false;
        }
        return true;
    }
    std::string endpoint;

  private:
    zmq::context_t context_;
    zmq::socket_t socket_;
};

}  // namespace

TEST_CASE("bulk is read where small messages never end") {
    RawRouter broker;
    bus::LightNode node(bus::make_context(), broker.endpoint, "member-0");
    const RunId run = random_run_id();
    const NodeId master = node_id_of("master");
    std::string main;
    std::string bulk;
    std::string from;
    bus::Header heard;
    bus::Header said;
    const auto clock = [] { return std::chrono::steady_clock::now(); };
    const TimePoint end = clock() + seconds(60);
    const auto until = [&](bus::Kind kind) {  // that kind was heard; a bound on hanging
        while (clock() < end) {
            node.poll(clock() + milliseconds(1));
            while (broker.hear(from, heard))
                if (heard.kind == kind) return true;
        }
        return false;
    };
    const auto of_run = [&](bus::Kind kind) {
        bus::Header header;
        header.kind = kind;
        header.run = run;
        header.term = 1;
        header.src = master;
        header.dst = node.id();
        return header;
    };
    REQUIRE(until(bus::Kind::hello));
    main = from;
    said.kind = bus::Kind::welcome;
    said.request = heard.request;
    said.aux = 7;
    broker.say(main, said,
               bus::encode(bus::Welcome{"test", 3'600'000, 3'600'000, 3'600'000,
                                        bus::frame_bytes_max, bus::message_bytes_max}));
    broker.say(main, of_run(bus::Kind::open),
               bus::encode(bus::Open{"master", {{"member-0", "member", 0}}, ""}));
    REQUIRE(until(bus::Kind::join));
    // the first chunk of a body whose rest travels on bulk connections
    bus::Header chunk = of_run(bus::Kind::request);
    chunk.request = 1;
    chunk.answered_below = 1;
    chunk.type = slow_type;
    chunk.body_bytes = 4u << 20;
    chunk.aux = 99;
    broker.say(main, chunk, Bytes(bus::bulk_lead_bytes, 1));
    REQUIRE(until(bus::Kind::bulk));
    bulk = from;
    CHECK(bulk != main);
    said = {};
    said.kind = bus::Kind::bulk;
    said.flags = bus::flag::answer;
    said.aux = 7;
    broker.say(bulk, said);
    REQUIRE(until(bus::Kind::credit));  // so its answer was read

    // it answers each of these, and the MARK on bulk with WINDOW there
    constexpr int many = 20'000;
    said = {};
    said.kind = bus::Kind::ping;
    for (int i = 0; i < many; ++i) broker.say(main, said);
    chunk.body_offset = bus::bulk_lead_bytes;
    broker.say(bulk, chunk, Bytes(bus::bulk_chunk_bytes, 2));
    said = {};
    said.kind = bus::Kind::mark;
    said.aux = 5;
    broker.say(bulk, said);
    int pongs = 0;
    bool window = false;
    while (!window && pongs < many && clock() < end) {
        // what a poll takes has come again before the next one: it never finds nothing
        std::this_thread::sleep_for(milliseconds(pongs == 0 ? 100 : 3));
        node.poll();
        while (broker.hear(from, heard)) {
            if (from == main && heard.kind == bus::Kind::pong) ++pongs;
            if (from == bulk && heard.kind == bus::Kind::window) window = true;
        }
    }
    CHECK(window);
    CHECK(pongs < many);
}

TEST_CASE("who chooses a routing id of the right length is a stranger all the same") {
    Directory dir;
    Broker broker(bus::make_context(), "tcp://127.0.0.1:*");
    zmq::context_t other;
    const auto hello = [&](zmq::socket_t& socket, std::uint64_t incarnation) {
        socket.set(zmq::sockopt::linger, 0);
        socket.connect(broker.endpoint);
        bus::Header header;
        header.kind = bus::Kind::hello;
        header.src = node_id_of("member-0");
        const Bytes body =
            bus::encode(bus::Hello{"member-0", "member", 0, incarnation, incarnation, "test", {}});
        header.body_bytes = body.size();
        const bus::HeaderBytes head = bus::encode(header);
        socket.send(zmq::buffer(head), zmq::send_flags::sndmore);
        socket.send(zmq::buffer(body), zmq::send_flags::none);
    };
    zmq::socket_t stranger(other, zmq::socket_type::dealer);
    stranger.set(zmq::sockopt::routing_id,
                 "\x01"
                 "abcd");
    hello(stranger, 9);
    std::this_thread::sleep_for(milliseconds(200));  // a broker that heeds it has done so by then
    // else it would have the name, at a connection that is perhaps somebody else's
    zmq::socket_t member(other, zmq::socket_type::dealer);
    member.set(zmq::sockopt::rcvtimeo, 20'000);
    hello(member, 1);
    zmq::message_t part;
    REQUIRE(member.recv(part));
    bus::Header header;
    REQUIRE(bus::decode({part.data<std::uint8_t>(), part.size()}, header) ==
            bus::HeaderFault::none);
    CHECK(header.kind == bus::Kind::welcome);
}

TEST_CASE("a handler that takes long does not make its node suspect") {
    Directory dir;
    const auto context = bus::make_context();
    bus::Timings timings = quick();
    timings.suspect = seconds(1);
    timings.lost = milliseconds(1500);
    Broker broker(context, "ipc://" + (dir.path / "b").string(), timings);
    ClientApp app;
    app.on(slow_type, [](const Message&, Context&) -> Result<Bytes> {
        std::this_thread::sleep_for(seconds(3));  // twice the time after which a node is lost
        return Bytes{1};
    });
    Serving member(options_of(context, broker.endpoint, "member-0", dir.path / "a", timings),
                   std::move(app));
    SlowOwner owner(seconds(20));
    const auto ending =
        drive(options_of(context, broker.endpoint, "master", dir.path / "m", timings), owner);
    REQUIRE(ending);
    CHECK(ending->code == Errc::ok);
    CHECK(owner.answered == 1);
    CHECK(owner.faults.empty());
    CHECK(owner.troubles == 0);
}

TEST_CASE("CLOSE cancels a handler that is still at work") {
    Directory dir;
    const auto context = bus::make_context();
    Broker broker(context, local_address(dir));
    std::atomic<bool> cancelled{false};
    ClientApp app;
    app.on(slow_type, [&](const Message&, Context& run) -> Result<Bytes> {
        for (int i = 0; i < 2000 && !run.cancelled(); ++i)
            std::this_thread::sleep_for(milliseconds(5));
        cancelled = run.cancelled();
        return fail(Errc::cancelled, "as asked");
    });
    Serving member(options_of(context, broker.endpoint, "member-0", dir.path / "a"),
                   std::move(app));
    SlowOwner owner(milliseconds(100));
    const auto ending =
        drive(options_of(context, broker.endpoint, "master", dir.path / "m"), owner);
    member.wait();
    REQUIRE(ending);
    CHECK(ending->code == Errc::cancelled);
    CHECK(cancelled);
    REQUIRE(member.result);
    CHECK(member.result->code == Errc::cancelled);
}

TEST_CASE("a link that nobody could wake is refused with a sentence, and made later") {
    const Directory dir;
    const auto context = bus::make_context();
    const auto make = [&] {
        bus::LinkConfig config;
        config.hello.name = "member-0";
        return bus::LinkLoop::create(context, "ipc://" + (dir.path / "bus").string(),
                                     std::move(config));
    };
    {
        const NoDescriptors none;
        const auto loop = make();
        REQUIRE_FALSE(loop);
        CHECK(loop.error().code == Errc::io);
        CHECK(loop.error().sentence.find("cannot make an eventfd: Too many open files") == 0);
        CHECK_THROWS_AS(bus::StopSignal(), std::runtime_error);
    }
    CHECK(make());
}

TEST_CASE("a node without descriptors says why it does not connect, and does when it has some") {
    const Directory dir;
    const auto context = bus::make_context();
    const Broker broker(context, "ipc://" + (dir.path / "bus").string());
    bus::LinkConfig config;
    config.hello = {"member-0", "member", 0, 1, 1, "0.1.0", {}};
    config.timings = quick();
    auto made = bus::LinkLoop::create(context, broker.endpoint, std::move(config));
    REQUIRE(made);
    bus::LinkLoop& loop = **made;
    {
        const NoDescriptors none;
        loop.start();
        CHECK(loop.trouble().find("cannot connect to ") == 0);
        loop.poll(clock_now(), nullptr, nullptr);  // and it can be waited for all the same
        CHECK_FALSE(loop.core().up());
    }
    for (int i = 0; i < 60'000 && !loop.core().up(); ++i)
        loop.poll(clock_now() + milliseconds(1), nullptr, nullptr);
    CHECK(loop.core().up());
    CHECK(loop.trouble().empty());
}

TEST_CASE("a node that finds no broker gives up with a sentence") {
    Directory dir;
    auto options = options_of(bus::make_context(), "ipc://" + (dir.path / "nobody").string(),
                              "member-0", dir.path / "a");
    options.connect_timeout = milliseconds(200);
    auto node = Node::create(options);
    REQUIRE(node);
    const bus::StopSignal stop;
    const auto result = (*node)->serve(ClientApp{}, stop, true);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Errc::unreachable);
    CHECK(result.error().sentence.find("member-0") != std::string::npos);
}
