// CURVE, the gate and identity over real sockets, broker and nodes in threads of one process.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <optional>
#include <thread>

#include "base/clock.hpp"
#include "base/files.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/wire/enrolment.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "bus/zmq/conduct_file.hpp"
#include "bus/zmq/context_impl.hpp"
#include "bus/zmq/gate.hpp"
#include "bus/zmq/handshake.hpp"
#include "bus/zmq/possession.hpp"
#include "bus/zmq/probe.hpp"
#include "catch.hpp"
#include "light_node.hpp"

using namespace vflbus;
using namespace vflbus::bus;
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr Duration enough = seconds(60);

/// A broker with keys, in a thread, and the keys of all in one directory.
class KeyedBroker {
  public:
    KeyedBroker() {
        std::string text = (fs::temp_directory_path() / "vflbus-gate-XXXXXX").string();
        REQUIRE(::mkdtemp(text.data()) != nullptr);
        path = text;
        make("broker");
        BrokerOptions options;
        options.context = make_context(1);
        options.bind = {"tcp://127.0.0.1:0", "ipc://" + (path / "bus").string()};
        options.certificates = path;
        auto bound = BrokerLoop::bind(std::move(options));
        REQUIRE(bound);
        loop_ = std::move(*bound);
        for (const std::string& address : loop_->endpoints())
            (address.starts_with("tcp://") ? tcp : ipc) = address;
        thread_ = std::thread([this] { loop_->run(stop_); });
    }
    ~KeyedBroker() {
        stop_.stop();
        thread_.join();
        loop_.reset();
        fs::remove_all(path);
    }
    void make(const std::string& name) {
        REQUIRE(make_key_files(path, name, wall_seconds() + 1'000'000));
    }
    void allow(const std::string& name, const std::string& rights) {
        make(name);
        const auto key = read_public_key(public_key_path(path, name));
        REQUIRE(key);
        change([&](const std::string& text) {
            return text + name + " " + text_of(key->key) + " " + rights + " expires=2099-01-01\n";
        });
    }
    void revoke(const std::string& name) {
        change([&](const std::string& text) {
            std::vector<std::string> faults;
            std::vector<std::size_t> lines;
            const AllowList list = AllowList::parse(text, faults);
            for (const Allowed& entry : list.entries())
                if (entry.name == name) lines.push_back(entry.line);
            return without_lines(text, lines);
        });
    }
    /// A signal to the broker's own thread.
    void interrupt() { ::pthread_kill(thread_.native_handle(), SIGHUP); }
    void hang_up() { loop_->read_allow_list_again(); }

    fs::path path;
    std::string tcp;
    std::string ipc;

  private:
    template <class Change>
    void change(Change&& change) {
        REQUIRE(change_allow_list(
            path, [&](const std::string& text) { return Result<std::string>(change(text)); }));
    }
    std::unique_ptr<BrokerLoop> loop_;
    StopSignal stop_;
    std::thread thread_;
};

std::unique_ptr<LightNode> node_of(const KeyedBroker& broker, const std::string& name,
                                   const std::string& role, const std::string& key = {}) {
    return std::make_unique<LightNode>(make_context(), broker.tcp, name, role,
                                       std::vector<std::string>{}, Timings{}, 1,
                                       KeySource{broker.path, key});
}

template <class Done>
bool poll_until(const std::vector<LightNode*>& nodes, Done&& done) {
    const TimePoint end = clock_now() + enough;
    while (!done()) {
        if (clock_now() >= end) return false;
        for (LightNode* const node : nodes) node->poll(clock_now() + milliseconds(2));
    }
    return true;
}

}  // namespace

TEST_CASE("a keyed link carries small and large bodies, and ends with its key", "[gate]") {
    KeyedBroker broker;
    broker.allow("owner", "role=master");
    broker.allow("member", "role=member");
    auto owner = node_of(broker, "owner", "master");
    auto member = node_of(broker, "member", "member");
    REQUIRE(poll_until({owner.get(), member.get()},
                       [&] { return owner->core().up() && member->core().up(); }));
    RunId run;
    run.bytes.fill(1);
    owner->core().open_run(run, 1, Open{"owner", {{"member", "member", -1}}, ""}, clock_now());
    REQUIRE(poll_until({owner.get(), member.get()}, [&] { return owner->joined() == 1; }));
    // the second one has its rest on bulk connections, which are encrypted as well
    for (const std::size_t bytes : {std::size_t{100}, std::size_t{5} << 20})
        REQUIRE(owner->core().request(run, member->id(), 300, Bytes(bytes, 7), clock_now()));
    REQUIRE(poll_until({owner.get(), member.get()}, [&] { return owner->replies == 2; }));

    broker.revoke("member");
    broker.hang_up();
    REQUIRE(poll_until({owner.get(), member.get()}, [&] { return !member->core().up(); }));
    CHECK(owner->core().up());
}

namespace {

Result<std::unique_ptr<BrokerLoop>> bind_beside_keys(const fs::path& keys,
                                                     const std::string& address) {
    BrokerOptions options;
    options.context = make_context(1);
    options.bind = {"tcp://127.0.0.1:0", address};
    options.certificates = keys;
    return BrokerLoop::bind(std::move(options));
}

}  // namespace

TEST_CASE("ipc that others may enter is not bound beside keys", "[gate]") {
    KeyedBroker broker;
    const auto refused = [&](const std::string& address) {
        const auto bound = bind_beside_keys(broker.path, address);
        return !bound && bound.error().code == Errc::insecure;
    };
    const fs::path inner = broker.path / "inner";
    fs::create_directory(inner);
    CHECK(refused("ipc://@vflbus-gate-" + std::to_string(::getpid())));
    CHECK(refused("ipc://" + (broker.path / "nowhere" / "bus").string()));
    REQUIRE(::chmod(inner.c_str(), 0710) == 0);
    CHECK(refused("ipc://" + (inner / "bus").string()));
    REQUIRE(::chmod(inner.c_str(), 0700) == 0);
    CHECK(bind_beside_keys(broker.path, "ipc://" + (inner / "bus").string()).has_value());
    if (::geteuid() != 0) return;
    REQUIRE(::chown(inner.c_str(), 12345, 12345) == 0);
    CHECK(refused("ipc://" + (inner / "bus").string()));
}

TEST_CASE("signals that interrupt ZeroMQ end nothing", "[gate]") {
    struct sigaction act{};
    act.sa_handler = [](int) {};  // without SA_RESTART, as that of the broker
    struct sigaction before{};
    REQUIRE(::sigaction(SIGHUP, &act, &before) == 0);
    {
        KeyedBroker broker;
        broker.allow("member", "role=member");
        std::atomic<bool> done{false};
        std::thread storm([&] {
            while (!done) {
                broker.interrupt();
                ::kill(::getpid(), SIGHUP);
            }
        });
        for (std::uint64_t process = 1; process <= 10; ++process) {
            LightNode member(make_context(), broker.tcp, "member", "member", {}, Timings{}, process,
                             KeySource{broker.path, {}});
            CHECK(poll_until({&member}, [&] { return member.core().up(); }));
        }
        done = true;
        storm.join();
    }
    ::sigaction(SIGHUP, &before, nullptr);
}

TEST_CASE("ipc of a keyed broker is in the clear, and tcp is not", "[gate]") {
    KeyedBroker broker;
    broker.allow("member", "role=member");
    LightNode local(make_context(), broker.ipc, "anybody", "member", {});
    REQUIRE(poll_until({&local}, [&] { return local.core().up(); }));
    LightNode clear(make_context(), broker.tcp, "other", "member", {});
    auto keyed = node_of(broker, "member", "member");
    REQUIRE(poll_until({&clear, keyed.get()}, [&] { return keyed->core().up(); }));
    // it has tried, and was not let in
    REQUIRE(poll_until({&clear, keyed.get()}, [&] { return !clear.trouble().empty(); }));
    CHECK_FALSE(clear.core().up());
    // whether it is there is told to everybody
    CHECK(probe_broker(make_context(), broker.tcp, seconds(20)));
}

TEST_CASE("connections that never shake hands keep nobody out", "[gate]") {
    KeyedBroker broker;
    broker.allow("member", "role=member");
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port =
        htons(static_cast<std::uint16_t>(std::stoi(broker.tcp.substr(broker.tcp.rfind(':') + 1))));
    std::vector<int> silent;
    for (int i = 0; i < 200; ++i) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
        // some begin a greeting, and stay there
        if (i % 2 == 0) CHECK(::send(fd, "\xff\0\0\0", 4, MSG_NOSIGNAL) == 4);
        silent.push_back(fd);
    }
    auto member = node_of(broker, "member", "member");
    CHECK(poll_until({member.get()}, [&] { return member->core().up(); }));
    for (const int fd : silent) ::close(fd);
}

TEST_CASE("one key that says ENROL again and again keeps no others from joining", "[gate]") {
    std::string text = (fs::temp_directory_path() / "vflbus-enrol-XXXXXX").string();
    REQUIRE(::mkdtemp(text.data()) != nullptr);
    const fs::path path = text;
    const KeyPair own = make_key_pair();
    const auto gate = Gate::open(make_context(1), path, own, wall_seconds() + 1000);
    REQUIRE(gate);
    const auto say = [&](const std::string& shown) {
        EnrolFrame frame;
        frame.shown = shown;
        frame.body = encode(EnrolRequest{"member-0", {}, 1, "0.1.0", {}});
        (*gate)->enrol(std::move(frame));
    };
    const TimePoint begin = clock_now();
    for (int i = 0; i < 40; ++i) say("greedy");
    // they are answered in their order
    say("modest");
    const auto earned = std::chrono::duration_cast<seconds>(clock_now() - begin).count() / 2 + 1;
    std::map<std::string, std::int64_t> answers;
    const TimePoint end = clock_now() + enough;
    while (answers["modest"] == 0 && clock_now() < end) {
        std::this_thread::sleep_for(milliseconds(2));
        for (const EnrolFrame& answer : (*gate)->enrol_answers()) ++answers[answer.shown];
    }
    CHECK(answers["modest"] == 1);
    CHECK(answers["greedy"] >= 4);
    CHECK(answers["greedy"] <= 4 + earned);  // one more in 2 s
    fs::remove_all(path);
}

TEST_CASE("a key is put on the list only by who has its secret", "[gate]") {
    std::string text = (fs::temp_directory_path() / "vflbus-enrol-XXXXXX").string();
    REQUIRE(::mkdtemp(text.data()) != nullptr);
    const fs::path path = text;
    const KeyPair broker = make_key_pair();
    const KeyPair member = make_key_pair();
    const KeyPair fresh = make_key_pair();
    const std::string shown = fingerprint_of(member.public_key);
    REQUIRE(write_file_atomically(allow_list_path(path),
                                  "member-0 " + shown + " role=member expires=2090-01-01\n"));
    // each at a gate of its own: one key is heard only so often
    const auto answer = [&](const Extensions& extensions) {
        const auto gate = Gate::open(make_context(1), path, broker, wall_seconds() + 1000);
        REQUIRE(gate);
        EnrolFrame frame;
        frame.shown = shown;
        frame.header.kind = Kind::enrol;
        frame.body = encode(
            EnrolRequest{"member-0", fresh.public_key.bytes, 4'000'000'000, "0.1.0", extensions});
        (*gate)->enrol(std::move(frame));
        const TimePoint end = clock_now() + enough;
        while (clock_now() < end) {
            for (EnrolFrame& said : (*gate)->enrol_answers()) return said;
            std::this_thread::sleep_for(milliseconds(2));
        }
        FAIL("no answer");
        return EnrolFrame{};
    };
    const auto listed = [&] {
        const auto list = read_file(allow_list_path(path));
        return list && list->find(text_of(fresh.public_key)) != std::string::npos;
    };
    const Possession what{fresh.public_key, broker.public_key, shown, "member-0"};
    const auto proved = [&](const Possession& of, const SecretKey& mine, const PublicKey& theirs) {
        const auto proof = proof_of(of, mine, theirs);
        REQUIRE(proof);
        return Extensions{{extension_possession, *proof}};
    };
    // who has the secret of another key, or proves something else
    for (const Extensions& wrong :
         {Extensions{}, Extensions{{extension_possession, Bytes(32, 0)}},
          Extensions{{extension_possession, {}}}, proved(what, member.secret, broker.public_key),
          proved({fresh.public_key, broker.public_key, shown, "member-1"}, fresh.secret,
                 broker.public_key),
          proved({member.public_key, broker.public_key, shown, "member-0"}, fresh.secret,
                 broker.public_key),
          proved({fresh.public_key, broker.public_key, "AAAA", "member-0"}, fresh.secret,
                 broker.public_key)}) {
        const EnrolFrame said = answer(wrong);
        CHECK(said.header.kind == Kind::error);
        CHECK(static_cast<Errc>(said.header.aux) == Errc::not_allowed);
        CHECK_FALSE(listed());
    }
    const EnrolFrame good = answer(proved(what, fresh.secret, broker.public_key));
    CHECK(good.header.kind == Kind::enrol);
    CHECK(listed());
    fs::remove_all(path);
}

TEST_CASE("what one gate has noted about keys the next one begins with", "[gate]") {
    std::string text = (fs::temp_directory_path() / "vflbus-conduct-XXXXXX").string();
    REQUIRE(::mkdtemp(text.data()) != nullptr);
    const fs::path path = text;
    const KeyPair own = make_key_pair();
    const auto open = [&] { return Gate::open(make_context(1), path, own, wall_seconds() + 1000); };
    {
        const auto gate = open();
        REQUIRE(gate);
        CHECK((*gate)->conduct_before().empty());
        // (it is written when the gate ends, at the latest)
        (*gate)->note_conduct({{"member-0", 195, 3, seconds(300), seconds(2)},
                               {"member-1", 7, 0, {}, seconds(1800)}});
    }
    const auto gate = open();
    REQUIRE(gate);
    const auto rows = (*gate)->conduct_before();
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].who == "member-0");
    CHECK(rows[0].breaches == 195);
    CHECK(rows[0].cuts == 3);
    // whole seconds, and those that the test has taken
    CHECK(rows[0].held_off <= seconds(301));
    CHECK(rows[0].held_off > seconds(0));
    CHECK(rows[1].held_off == seconds(0));
    CHECK(rows[1].quiet >= seconds(1800));
    CHECK(rows[1].quiet < seconds(3600));
    fs::remove_all(path);
}

TEST_CASE("lines about conduct that somebody has written by hand", "[gate]") {
    const Seconds now = 1'800'000'000;
    for (const char* line :
         {"", "# none\n", "\n\n\n", "member-0", "member-0 cut=3\n", "member-0 breaches=x cut=y\n"})
        CHECK(parse_conduct(line).empty());
    const auto rows = rows_of(
        parse_conduct("a breaches=1 cut=99 last=9999-01-01 until=9999-01-01\nb breaches=2\n"), now);
    REQUIRE(rows.size() == 2);
    Conduct conduct;
    conduct.restore(rows, TimePoint{} + seconds(100'000));
    CHECK(conduct.held_off("a", TimePoint{} + seconds(100'000)) == longest_hold_off);
    CHECK(conduct.cuts("b") == 0);  // of which nobody knows when: long ago
}

TEST_CASE("a key that breaks the protocol is cut, held off, shown, and may come again", "[gate]") {
    KeyedBroker broker;
    broker.allow("hostile", "role=node");
    broker.allow("honest", "role=node");
    auto honest = node_of(broker, "honest", "node");
    REQUIRE(poll_until({honest.get()}, [&] { return honest->core().up(); }));
    const auto keys = load_link_keys(KeySource{broker.path, "hostile"}, "hostile", wall_seconds());
    REQUIRE(keys);
    const auto context = make_context(1);
    zmq::socket_t socket(context->zmq, zmq::socket_type::dealer);
    set_common_options(socket);
    set_link_keys(socket, *keys);
    socket.set(zmq::sockopt::sndtimeo, 100);
    socket.connect(broker.tcp);
    // what is held against it is in a file for `vflbus members`, whenever the broker gets to it
    const auto noted = [&]() -> std::optional<NotedConduct> {
        const auto text = read_file(conduct_path(broker.path));
        if (!text) return {};
        for (NotedConduct& one : parse_conduct(*text))
            if (one.name == "hostile" && one.cuts > 0) return one;
        return {};
    };
    REQUIRE(poll_until({honest.get()}, [&] {
        (void)socket.send(zmq::str_buffer("no frame"), zmq::send_flags::dontwait);
        return noted().has_value();
    }));
    CHECK(noted()->breaches > static_cast<std::uint64_t>(breaches_borne.most));
    CHECK(honest->core().up());
    socket.close();
    // once it keeps to the protocol it gets in again
    auto hostile = node_of(broker, "hostile", "node");
    REQUIRE(poll_until({honest.get()}, [&] {
        hostile->poll(clock_now() + milliseconds(2));
        if (hostile->fatal) {
            CHECK(hostile->fatal->code == Errc::held_off);
            std::this_thread::sleep_for(milliseconds(20));
            hostile = node_of(broker, "hostile", "node");
        }
        return hostile->core().up();
    }));
    CHECK(honest->core().up());
}
