// Runs side by side on one node: each in order, none in the way of another, up to the number of
// workers.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include "actors/node/node.hpp"
#include "actors/node/node_core.hpp"
#include "base/hash.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "bus/zmq/link_loop.hpp"
#include "gate.hpp"
#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::actors;
namespace fs = std::filesystem;
using bus::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

class StrandFixture : public bus::LinkFixture {
  public:
    explicit StrandFixture(std::size_t workers = 2) : core(core_config(workers), link, lock) {
        link.start(now);
        expect(Kind::hello);
        welcome();
        core.pump();
    }
    void take_part(std::uint8_t n, std::uint32_t term = 1) {
        open("master", term, run_of(n));
        core.pump();
        expect(Kind::join);
    }
    void ask(std::uint8_t n, std::uint64_t number, MessageType type, std::uint32_t term = 1) {
        auto header = data(Kind::request, "master", number, 1, run_of(n), term);
        header.type = type;
        frame(header, Bytes{n});
    }

    NodeLock lock;
    NodeCore core;
    int wakes = 0;

  private:
    NodeCoreConfig core_config(std::size_t workers) {
        NodeCoreConfig c;
        c.name = "member-0";
        c.rank = 0;
        c.now = [this] { return now; };
        c.workers = workers;
        c.wake = [this] { ++wakes; };
        return c;
    }
};

struct OneWorker : StrandFixture {
    OneWorker() : StrandFixture(1) {}
};

}  // namespace

// -- the core, with a handler that looks what others may do meanwhile -------------------

TEST_CASE_METHOD(StrandFixture, "while a run is worked on, others go on and its own waits") {
    std::vector<std::string> story;
    ClientApp app;
    app.on(block_type, [&](const Message&, actors::Context&) -> Result<Bytes> {
        story.push_back("begin");
        ask(1, 2, note_type);
        ask(2, 1, note_type);
        ask(2, 2, note_type);
        CHECK(core.busy() == 1);
        core.pump();  // as another thread
        story.push_back("end");
        return Bytes{};
    });
    app.on(note_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        story.push_back("run " + std::to_string(message.content[0]) + " message " +
                        std::to_string(message.metadata.message_id));
        return message.content;
    });
    core.serve(std::move(app));
    take_part(1);
    take_part(2);
    ask(1, 1, block_type);
    core.pump();
    CHECK(story == std::vector<std::string>{"begin", "run 2 message 1", "run 2 message 2", "end",
                                            "run 1 message 2"});
    CHECK(core.busy() == 0);
    CHECK(core.queued() == 0);
    CHECK(expect(Kind::reply).header.run == run_of(2));
    CHECK(expect(Kind::reply).header.run == run_of(2));
    CHECK(expect(Kind::reply).header.request == 1);
    CHECK(expect(Kind::reply).header.request == 2);
}

TEST_CASE_METHOD(OneWorker, "a node at its limit queues, and can say so") {
    std::vector<std::string> story;
    ClientApp app;
    app.on(block_type, [&](const Message&, actors::Context&) -> Result<Bytes> {
        ask(2, 1, note_type);
        core.pump();
        CHECK(core.queued() == 1);
        CHECK(core.busy() == 1);
        story.push_back("first");
        return Bytes{};
    });
    app.on(note_type, [&](const Message&, actors::Context&) -> Result<Bytes> {
        story.push_back("second");
        return Bytes{};
    });
    core.serve(std::move(app));
    take_part(1);
    take_part(2);
    ask(1, 1, block_type);
    core.pump();
    CHECK(story == std::vector<std::string>{"first", "second"});
    CHECK(core.queued() == 0);
}

TEST_CASE_METHOD(StrandFixture, "work that is done elsewhere can say that it makes progress") {
    std::vector<Replier> repliers;
    ClientApp app;
    app.on_deferred(block_type, [&](actors::Message&&, actors::Context&, Replier reply) {
        repliers.push_back(std::move(reply));
    });
    core.serve(std::move(app));
    take_part(1);
    ask(1, 1, block_type);
    ask(1, 2, block_type);
    core.pump();
    REQUIRE(repliers.size() == 2);
    const auto number = [this] {
        CHECK(link.progress().busy);
        return link.progress().number;
    };
    const auto first = number();
    core.pump();
    CHECK(number() == first);
    repliers[1].progress();  // the oldest is still where it was
    core.pump();
    CHECK(number() == first);
    repliers[0].progress();
    core.pump();
    const auto second = number();
    CHECK(second != first);
    repliers[0](Bytes{});
    core.pump();
    repliers[0].progress();  // too late
    core.pump();
    CHECK(number() == second);
    repliers[1](Bytes{});
    core.pump();
    CHECK_FALSE(link.progress().busy);
}

TEST_CASE_METHOD(StrandFixture, "runs with much to do take turns") {
    std::string order;
    ClientApp app;
    app.on(note_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        order += static_cast<char>('0' + message.content[0]);
        return Bytes{};
    });
    core.serve(std::move(app));
    take_part(1);
    take_part(2);
    for (std::uint64_t i = 1; i <= 3; ++i) ask(1, i, note_type);
    for (std::uint64_t i = 1; i <= 3; ++i) ask(2, i, note_type);
    core.pump();
    CHECK(order == "121212");
}

TEST_CASE_METHOD(StrandFixture, "a run whose handler is at work ends when it has returned") {
    std::vector<std::string> story;
    ClientApp app;
    app.on(block_type, [&](const Message&, actors::Context& context) -> Result<Bytes> {
        close(false);
        core.pump();
        CHECK(context.cancelled());
        CHECK(core.runs() == 1);  // its state is not taken away under its feet
        story.push_back("returned");
        return Bytes{};
    });
    app.on_end([&](const Ending&, actors::Context&) { story.push_back("ended"); });
    core.serve(std::move(app));
    take_part(1);
    ask(1, 1, block_type);
    core.pump();
    CHECK(story == std::vector<std::string>{"returned", "ended"});
    CHECK(core.runs() == 0);
}

TEST_CASE_METHOD(StrandFixture, "the node's end waits for handlers that are at work") {
    ClientApp app;
    int ended = 0;
    app.on(block_type, [&](const Message&, actors::Context& context) -> Result<Bytes> {
        bye(Errc::superseded);
        core.pump();
        CHECK(context.cancelled());
        CHECK(ended == 1);  // of the other run
        CHECK_FALSE(core.fatal());
        return Bytes{};
    });
    app.on_end([&](const Ending& ending, actors::Context&) {
        ++ended;
        CHECK(ending.code == Errc::superseded);
    });
    core.serve(std::move(app));
    take_part(1);
    take_part(2);
    ask(1, 1, block_type);
    core.pump();
    CHECK(ended == 2);
    CHECK(core.fatal());
}

// -- answers that come later -------------------------------------------------------------

TEST_CASE_METHOD(StrandFixture, "an answer may come later, once, and not after the run") {
    std::vector<Replier> open;
    ClientApp app;
    app.on_deferred(block_type,
                    [&](Message&&, actors::Context&, Replier reply) { open.push_back(reply); });
    core.serve(std::move(app));
    take_part(1);
    ask(1, 1, block_type);
    ask(1, 2, block_type);
    core.pump();
    REQUIRE(open.size() == 2);
    nothing_sent();
    SECTION("in any order") {
        open[1](Bytes{22});
        open[0](fail(Errc::handler_failed, "oops"));
        CHECK(wakes == 2);
        open[0](Bytes{1});
        const Replier copy = open[1];
        copy(Bytes{1});
        CHECK(wakes == 2);
        core.pump();
        CHECK(expect(Kind::reply).body == Bytes{22});
        const auto failed = expect(Kind::reply);
        CHECK(failed.header.request == 1);
        CHECK(failed.header.flags == bus::flag::error);
        CHECK(core.handled() == 2);
    }
    SECTION("the run is over") {
        close(false);
        core.pump();
        open[0](Bytes{1});
        core.pump();
    }
    SECTION("a newer term has a request of the same number") {
        open.erase(open.begin() + 1);
        LinkFixture::open("master", 2);
        core.pump();
        expect(Kind::join);
        ask(1, 1, block_type, 2);
        core.pump();
        REQUIRE(open.size() == 2);
        open[0](Bytes{1});  // of the first term
        core.pump();
        nothing_sent();
        open[1](Bytes{2});
        core.pump();
        CHECK(expect(Kind::reply).body == Bytes{2});
    }
    nothing_sent();
}

TEST_CASE("an answer after the end of the node does nothing") {
    std::optional<Replier> open;
    {
        StrandFixture node;
        ClientApp app;
        app.on_deferred(block_type,
                        [&](Message&&, actors::Context&, Replier reply) { open = reply; });
        node.core.serve(std::move(app));
        node.take_part(1);
        node.ask(1, 1, block_type);
        node.core.pump();
    }
    REQUIRE(open);
    (*open)(Bytes{1});
}

// -- threads -----------------------------------------------------------------------------

namespace {

/// Opens a run with member-0 and sends it `total` messages of a type, one after another.
class Asker final : public ServerApp {
  public:
    Asker(MessageType type, int total) : type_(type), left_(total) {
        spec_.run = random_run_id();
        spec_.participants = {{"member-0", "member", 0}};
    }
    const RunSpec& spec() const override { return spec_; }
    void on_opened(Driver& driver) override { driver.set_timer(driver.now() + seconds(250)); }
    void on_join(Driver& driver, NodeId node, const bus::Join&) override { next(driver, node); }
    void on_reply(Driver& driver, Message&& reply) override {
        if (!reply.has_content()) return driver.close(reply.error.code, reply.error.sentence);
        next(driver, reply.metadata.src_node_id);
    }
    void on_peer(Driver&, const PeerEvent&) override {}
    void on_timer(Driver& driver) override { driver.close(Errc::timed_out, "too late"); }
    void on_link(Driver&, bool, const std::string&) override {}
    void on_closed(const Ending&) override {}

  private:
    void next(Driver& driver, NodeId node) {
        if (left_-- == 0) return driver.close(Errc::ok, "done");
        (void)driver.push_message(node, type_, Bytes{7});
    }
    RunSpec spec_;
    MessageType type_;
    int left_;
};

struct Party {
    fs::path dir;
    std::shared_ptr<bus::Context> context = bus::make_context();
    std::string address;

    Party() {
        std::string text = (fs::temp_directory_path() / "vflbus-XXXXXX").string();
        REQUIRE(::mkdtemp(text.data()) != nullptr);
        dir = text;
        address = "ipc://" + (dir / "bus").string();
        start_broker();
    }
    ~Party() {
        end_broker();
        fs::remove_all(dir);
    }
    void start_broker() {
        bus::BrokerOptions options;
        options.context = context;
        options.bind = {address};
        auto bound = bus::BrokerLoop::bind(std::move(options));
        REQUIRE(bound);
        broker = std::move(*bound);
        stop_broker = std::make_unique<bus::StopSignal>();
        thread = std::thread([this] { broker->run(*stop_broker); });
    }
    void end_broker() {
        stop_broker->stop();
        thread.join();
        broker.reset();
    }
    std::unique_ptr<Node> node(const std::string& name, std::size_t workers = 0,
                               std::function<void(const std::string&)> on_waiting = {}) {
        auto made = Node::create(options_of(name, workers, std::move(on_waiting)));
        REQUIRE(made);
        return std::move(*made);
    }
    NodeOptions options_of(const std::string& name, std::size_t workers = 0,
                           std::function<void(const std::string&)> on_waiting = {}) const {
        NodeOptions options;
        options.context = context;
        options.broker = address;
        options.name = name;
        options.role = name == "member-0" ? "member" : "master";
        options.state_dir = dir / name;
        options.connect_timeout = seconds(20);
        options.workers = workers;
        options.on_waiting = std::move(on_waiting);
        return options;
    }
    Errc drive(const std::string& name, MessageType type, int total) {
        Asker asker(type, total);
        const bus::StopSignal stop;
        const auto ending = node(name)->drive(asker, stop);
        return ending ? ending->code : ending.error().code;
    }

    std::unique_ptr<bus::BrokerLoop> broker;
    std::unique_ptr<bus::StopSignal> stop_broker;
    std::thread thread;
};

}  // namespace

TEST_CASE("a run is served while the handlers of others compute") {
    Party party;
    Gate gate;
    std::atomic<int> inside{0};
    ClientApp app;
    app.on(block_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        ++inside;
        const bool in_time = gate.wait();
        --inside;
        return in_time ? Result<Bytes>(message.content) : fail(Errc::timed_out, "nobody came");
    });
    app.on(note_type, [](const Message& message, actors::Context&) -> Result<Bytes> {
        return message.content;
    });
    auto member = party.node("member-0", 3);
    bus::StopSignal stop;
    std::thread serving([&] { (void)member->serve(std::move(app), stop, false); });
    Errc first = Errc::internal, second = Errc::internal;
    std::thread slow([&] { first = party.drive("master-a", block_type, 1); });
    std::thread slow_too([&] { second = party.drive("master-b", block_type, 1); });
    while (inside < 2) std::this_thread::sleep_for(milliseconds(1));
    CHECK(party.drive("master-c", note_type, 300) == Errc::ok);
    CHECK(party.drive("master-d", note_type, 3) == Errc::ok);
    CHECK(inside == 2);
    gate.open();
    slow.join();
    slow_too.join();
    CHECK(first == Errc::ok);
    CHECK(second == Errc::ok);
    // and when all is quiet again
    CHECK(party.drive("master-e", note_type, 3) == Errc::ok);
    stop.stop();
    serving.join();
}

TEST_CASE("runs beyond the number of workers wait, and the node says so") {
    Party party;
    Gate gate;
    Gate said;
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    ClientApp app;
    app.on(block_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        const int now = ++inside;
        for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
        }
        const bool in_time = gate.wait();
        --inside;
        return in_time ? Result<Bytes>(message.content) : fail(Errc::timed_out, "nobody came");
    });
    auto member = party.node("member-0", 2, [&](const std::string& line) {
        if (line.find("works on 2 runs at once") != std::string::npos) said.open();
    });
    bus::StopSignal stop;
    std::thread serving([&] { (void)member->serve(std::move(app), stop, false); });
    std::vector<Errc> endings(4, Errc::internal);
    std::vector<std::thread> owners;
    for (std::size_t i = 0; i < endings.size(); ++i)
        owners.emplace_back(
            [&, i] { endings[i] = party.drive("master-" + std::to_string(i), block_type, 2); });
    CHECK(said.wait());
    gate.open();
    for (std::thread& owner : owners) owner.join();
    CHECK(endings == std::vector<Errc>(4, Errc::ok));
    CHECK(most == 2);
    stop.stop();
    serving.join();
}

TEST_CASE("a node that is stopped waits for handlers in all of its threads") {
    Party party;
    std::atomic<int> begun{0};
    std::atomic<int> returned{0};
    ClientApp app;
    app.on(block_type, [&](const Message&, actors::Context& context) -> Result<Bytes> {
        ++begun;
        for (int i = 0; i < 6000 && !context.cancelled(); ++i)
            std::this_thread::sleep_for(milliseconds(5));
        ++returned;
        return fail(Errc::cancelled, "as asked");
    });
    auto member = party.node("member-0", 4);
    bus::StopSignal stop;
    std::thread serving([&] { (void)member->serve(std::move(app), stop, false); });
    std::vector<std::thread> owners;
    bus::StopSignal stop_owners;
    for (int i = 0; i < 3; ++i)
        owners.emplace_back([&, i] {
            Asker asker(block_type, 1);
            (void)party.node("master-" + std::to_string(i))->drive(asker, stop_owners);
        });
    while (begun < 3) std::this_thread::sleep_for(milliseconds(1));
    stop.stop();
    serving.join();
    CHECK(returned == 3);
    stop_owners.stop();
    stop_owners.stop();  // at once
    for (std::thread& owner : owners) owner.join();
}

// -- a process without descriptors -------------------------------------------------------

namespace {

/// All descriptors of this process are taken while it lives.
class NoDescriptors {
  public:
    NoDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const rlimit few{std::min<rlim_t>(before_.rlim_cur, 512), before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
        for (int fd = ::dup(STDERR_FILENO); fd >= 0; fd = ::dup(STDERR_FILENO))
            taken_.push_back(fd);
        REQUIRE(errno == EMFILE);
    }
    ~NoDescriptors() {
        for (const int fd : taken_) ::close(fd);
        ::setrlimit(RLIMIT_NOFILE, &before_);
    }

  private:
    rlimit before_{};
    std::vector<int> taken_;
};

}  // namespace

TEST_CASE("a node that nobody could wake is not made") {
    const Party party;
    auto options = party.options_of("member-0");
    Result<std::unique_ptr<bus::LinkLoop>> loop = [&] {
        const NoDescriptors none;
        return bus::LinkLoop::create(options.context, options.broker, {});
    }();
    REQUIRE_FALSE(loop);
    CHECK(loop.error().code == Errc::io);
    CHECK(loop.error().sentence.find("Too many open files") != std::string::npos);
}

TEST_CASE("a node that has no descriptor for a new connection tries again") {
    Party party;
    auto options = party.options_of("member-0");
    options.timings.heartbeat = milliseconds(50);
    options.timings.suspect = milliseconds(150);
    options.timings.lost = milliseconds(300);
    options.timings.hello_retry_max = milliseconds(500);
    auto member = Node::create(std::move(options));
    REQUIRE(member);
    ClientApp app;
    app.on(note_type, [](const Message& message, actors::Context&) -> Result<Bytes> {
        return message.content;
    });
    bus::StopSignal stop;
    std::atomic<bool> ended{false};
    std::thread serving([&] {
        (void)(*member)->serve(std::move(app), stop, false);
        ended = true;
    });
    CHECK(party.drive("master-a", note_type, 3) == Errc::ok);
    party.end_broker();
    {
        const NoDescriptors none;  // the node opens several connections in this time, in vain
        std::this_thread::sleep_for(seconds(2));
    }
    CHECK_FALSE(ended);
    party.start_broker();
    CHECK(party.drive("master-b", note_type, 3) == Errc::ok);
    stop.stop();
    serving.join();
}
