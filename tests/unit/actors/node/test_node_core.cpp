// What a node does with what its link tells it: runs it serves, the run it drives.

#include <chrono>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include "actors/node/node_core.hpp"
#include "bus/wire/extensions.hpp"
#include "link_fixture.hpp"
#include "observe/console.hpp"
#include "observe/log.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using bus::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// Says whether it is held, so that handlers can tell.
struct CountingLock final : NodeLock {
    void lock() override { ++held; }
    void unlock() override { --held; }
    int held = 1;
};

class NodeFixture : public bus::LinkFixture {
  public:
    NodeFixture() : core(node_config(), link, lock) {
        link.start(now);
        expect(Kind::hello);
        welcome();
        core.pump();
        CHECK(core.was_up());
    }
    /// The node is invited to run 1 and joins.
    void take_part(std::uint32_t term = 1) {
        open("master", term);
        core.pump();
        CHECK(bus::decode_join(expect(Kind::join).body)->code == Errc::ok);
    }
    /// The broker has confirmed the run that the app drives.
    void drive_opened(ServerApp& app) {
        core.drive(app);
        core.pump();
        expect(Kind::open);
        opened();
        core.pump();
    }
    bus::Ending error_reply() {
        const auto sent = expect(Kind::reply);
        CHECK(sent.header.flags == bus::flag::error);
        const auto ending = bus::decode_ending(sent.body);
        return ending ? *ending : bus::Ending{};
    }
    void typed_request(std::uint64_t number, MessageType type, Bytes body = {1}) {
        auto header = data(Kind::request, "master", number);
        header.type = type;
        frame(header, std::move(body));
        core.pump();
    }

    CountingLock lock;
    std::vector<std::string> lines;  ///< for the log
    NodeCore core;

  private:
    NodeCoreConfig node_config() {
        NodeCoreConfig config{"member-0", 0, [this] { return now; }};
        config.say = [this](const std::string& line) { lines.push_back(line); };
        return config;
    }
};

/// Writes down what it is told.
class Recorder final : public ServerApp {
  public:
    Recorder() {
        spec_.run = bus::LinkFixture::run_of(1);
        spec_.participants = {{"member-2", "member", 2}, {"member-1", "member", 1}};
    }
    const RunSpec& spec() const override { return spec_; }
    Result<> on_welcome() override { return welcomed ? welcomed() : Result<>{}; }
    void on_opened(Driver& driver) override {
        said.push_back("opened");
        driver_ = &driver;
    }
    void on_join(Driver&, NodeId, const bus::Join& join) override {
        said.push_back("join " + join.name);
    }
    void on_reply(Driver&, Message&& reply) override {
        said.push_back(reply.has_content() ? "reply" : std::string(name_of(reply.error.code)));
    }
    void on_peer(Driver&, const PeerEvent& event) override { said.push_back("peer " + event.name); }
    void on_timer(Driver&) override {
        said.push_back("timer");
        if (meanwhile) meanwhile();
    }
    void on_link(Driver&, bool up, const std::string&) override {
        said.push_back(up ? "up" : "down");
    }
    void on_closed(const Ending& ending) override {
        said.push_back("closed " + std::string(name_of(ending.code)));
    }
    RunSpec spec_;
    std::vector<std::string> said;
    Driver* driver_ = nullptr;
    std::function<Result<>()> welcomed;
    std::function<void()> meanwhile;  ///< what arrives while the timer's handler is at work
};

}  // namespace

TEST_CASE_METHOD(NodeFixture, "an invitation reaches the app, and its answer the owner") {
    ClientApp app;
    app.on_join([&](actors::Context& context) -> Result<> {
        CHECK(lock.held == 0);  // handlers run with the lock released
        CHECK(context.invitation().agreed == "agreed");
        CHECK(context.invitation().owner_name == "master");
        CHECK(context.node_name() == "member-0");
        CHECK(context.rank() == 0);
        context.config_hash[0] = 42;
        return {};
    });
    core.serve(std::move(app));
    open("master");
    core.pump();
    const auto join = bus::decode_join(expect(Kind::join).body);
    REQUIRE(join);
    CHECK(join->code == Errc::ok);
    CHECK(join->config_hash[0] == 42);
    CHECK(join->incarnation == 3);
    CHECK(core.runs() == 1);
    CHECK(lock.held == 1);
}

TEST_CASE_METHOD(NodeFixture, "an app sees the extensions of OPEN, and its own travel with JOIN") {
    ClientApp app;
    app.on_join([](actors::Context& context) -> Result<> {
        CHECK(context.invitation().extensions == bus::Extensions{{3, {1, 2}}});
        context.join_extensions = {{5, {6}}};
        return {};
    });
    core.serve(std::move(app));
    bus::Header header;
    header.kind = Kind::open;
    header.run = run_of(1);
    header.term = 1;
    header.src = node_id_of("master");
    frame(header,
          encode(bus::Open{"master", {{"member-0", "member", 0}}, "agreed", {{3, {1, 2}}}}));
    core.pump();
    CHECK(bus::decode_join(expect(Kind::join).body)->extensions == bus::Extensions{{5, {6}}});
}

TEST_CASE_METHOD(NodeFixture, "a driven run says its extensions, and those of each new term") {
    Recorder app;
    app.spec_.extensions = {{7, {1}}};
    core.drive(app);
    core.pump();
    CHECK(bus::decode_open(expect(Kind::open).body)->extensions == bus::Extensions{{7, {1}}});
    opened();
    core.pump();
    app.spec_.extensions = {{7, {2}}};
    app.driver_->reopen(2);
    CHECK(bus::decode_open(expect(Kind::open).body)->extensions == bus::Extensions{{7, {2}}});
}

TEST_CASE_METHOD(NodeFixture,
                 "a refusal says why, and is the end of it for a node that serves once") {
    ClientApp app;
    SECTION("by the app") {
        app.on_join([](actors::Context&) -> Result<> {
            return fail(Errc::config_differs, "run.seed differs");
        });
        core.serve(std::move(app));
    }
    SECTION("by an exception") {
        app.on_join([](actors::Context&) -> Result<> { throw std::runtime_error("no disk"); });
        core.serve(std::move(app));
    }
    SECTION("by something that is no exception") {
        app.on_join([](actors::Context&) -> Result<> { throw 7; });
        core.serve(std::move(app));
    }
    SECTION("by a node that serves nobody") {}
    open("master");
    core.pump();
    const auto join = bus::decode_join(expect(Kind::join).body);
    REQUIRE(join);
    CHECK(join->code != Errc::ok);
    CHECK_FALSE(join->sentence.empty());
    CHECK(core.runs() == 0);
    REQUIRE(core.first_served_ending());
    CHECK(core.first_served_ending()->code == join->code);
    CHECK(lock.held == 1);
}

TEST_CASE_METHOD(NodeFixture, "requests: echo, handled, unknown, failed, thrown") {
    ClientApp app;
    app.on(300, [&](const Message& message, actors::Context& context) -> Result<Bytes> {
        CHECK(lock.held == 0);
        CHECK(message.metadata.src_node_id == node_id_of("master"));
        CHECK(message.metadata.dst_node_id == link.id());
        CHECK(message.metadata.term == 1);
        auto state = std::make_shared<int>(context.state<int>() ? *context.state<int>() + 1 : 1);
        context.set_state(state);
        return Bytes{static_cast<std::uint8_t>(*state)};
    });
    app.on(301, [](const Message&, actors::Context&) -> Result<Bytes> {
        return fail(Errc::diverged, "NaN");
    });
    app.on(302, [](const Message&, actors::Context&) -> Result<Bytes> {
        throw std::runtime_error("oops");
    });
    app.on(303, [](const Message&, actors::Context&) -> Result<Bytes> { throw 7; });
    core.serve(std::move(app));
    take_part();
    typed_request(1, 1, Bytes{9, 8});
    CHECK(expect(Kind::reply).body == Bytes{9, 8});
    typed_request(2, 300);
    CHECK(expect(Kind::reply).body == Bytes{1});
    typed_request(3, 300);
    CHECK(expect(Kind::reply).body == Bytes{2});
    typed_request(4, 999);
    const auto unknown = error_reply();
    CHECK(unknown.code == Errc::unknown_message);
    CHECK(unknown.sentence.find("999") != std::string::npos);
    typed_request(5, 301);
    CHECK(error_reply().code == Errc::diverged);
    typed_request(6, 302);
    const auto thrown = error_reply();
    CHECK(thrown.code == Errc::handler_failed);
    CHECK(thrown.sentence.find("oops") != std::string::npos);
    typed_request(7, 303);
    CHECK(error_reply().code == Errc::handler_failed);
    CHECK(core.handled() == 7);
    CHECK(lock.held == 1);
}

TEST_CASE_METHOD(NodeFixture, "another participant of a run has no work done") {
    int handled = 0;
    ClientApp app;
    app.on(300, [&](const Message&, actors::Context&) -> Result<Bytes> {
        ++handled;
        return Bytes{};
    });
    app.on_deferred(301, [&](Message&&, actors::Context&, const actors::Replier& reply) {
        ++handled;
        reply(Bytes{});
    });
    core.serve(std::move(app));
    take_part();
    const auto from_a_peer = [&](std::uint64_t number, MessageType type) {
        auto header = data(Kind::request, "member-9", number);
        header.type = type;
        frame(header, Bytes{1});
        core.pump();
    };
    from_a_peer(1, 300);
    CHECK(error_reply().code == Errc::not_owner);
    from_a_peer(2, 301);
    const auto refused = error_reply();
    CHECK(refused.code == Errc::not_owner);
    CHECK(refused.sentence.find("master") != std::string::npos);
    from_a_peer(3, 1);  // every node answers an echo
    CHECK(expect(Kind::reply).body == Bytes{1});
    CHECK(handled == 0);
    typed_request(1, 300);
    expect(Kind::reply);
    CHECK(handled == 1);
}

TEST_CASE_METHOD(NodeFixture, "the end of a run reaches the app, also when its handler throws") {
    ClientApp app;
    int ended = 0;
    app.on_end([&](const Ending& ending, actors::Context& context) {
        ++ended;
        CHECK(ending.code == Errc::diverged);
        CHECK(context.cancelled());
        throw std::runtime_error("late");
    });
    core.serve(std::move(app));
    take_part();
    CHECK_FALSE(core.first_served_ending());
    close(false);
    core.pump();
    CHECK(ended == 1);
    CHECK(core.runs() == 0);
    REQUIRE(core.first_served_ending());
    CHECK(core.first_served_ending()->code == Errc::diverged);
    typed_request(1, 300);  // of a run that is over
    nothing_sent();
}

TEST_CASE_METHOD(NodeFixture,
                 "who serves a run says that it has lost the broker, and has it back") {
    const auto lose_broker = [&] {
        bye(Errc::ok);
        core.pump();
    };
    const auto find_broker = [&] {
        pass(seconds(1));
        ignore_frames();
        welcome();
        core.pump();
    };
    ClientApp app;
    app.on_join([](actors::Context&) -> Result<> { return {}; });
    core.serve(std::move(app));
    lose_broker();
    find_broker();
    CHECK(lines.empty());  // no run waits for it
    take_part();
    lose_broker();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].starts_with("lost the broker: the broker has ended; the runs here wait "));
    find_broker();
    REQUIRE(lines.size() == 2);
    CHECK(lines[1] == "the broker is back");
}

TEST_CASE_METHOD(NodeFixture, "an invitation that waits for its judge goes with its run") {
    ClientApp app;
    int joins = 0;
    app.on_join([&](actors::Context&) -> Result<> {
        ++joins;
        return fail(Errc::held, "waits for a word of its administrator");
    });
    core.serve(std::move(app));
    const auto asked_again = [&] {
        core.reconsider(run_of(1));
        core.pump();
        return joins;
    };
    open("master");
    core.pump();
    CHECK(bus::decode_join(expect(Kind::join).body)->code == Errc::held);
    CHECK(asked_again() == 2);
    CHECK(bus::decode_join(expect(Kind::join).body)->code == Errc::held);
    close(false);
    core.pump();
    CHECK(asked_again() == 2);  // nobody asks for it any more
    nothing_sent();
}

TEST_CASE_METHOD(NodeFixture, "a newer term begins with a new context, and asks the app once") {
    ClientApp app;
    int joins = 0;
    std::vector<Errc> endings;
    app.on_join([&](actors::Context&) -> Result<> {
        ++joins;
        return {};
    });
    app.on_end([&](const Ending& ending, actors::Context&) { endings.push_back(ending.code); });
    core.serve(std::move(app));
    take_part();
    open("master", 2);
    open("master", 2);  // again, before the node has looked
    core.pump();
    CHECK(joins == 2);
    CHECK(endings == std::vector<Errc>{Errc::stale_term});
    CHECK(core.runs() == 1);
    CHECK(expect(Kind::join).header.term == 2);
    CHECK_FALSE(core.first_served_ending());
}

TEST_CASE_METHOD(NodeFixture, "whoever keeps the link cancels handlers whose run is over") {
    ClientApp app;
    bool cancelled = false;
    SECTION("closed") {
        app.on(300, [&](const Message&, actors::Context& context) -> Result<Bytes> {
            CHECK_FALSE(context.cancelled());
            close(false);
            core.pump();  // as another thread, which finds the strand busy
            cancelled = context.cancelled();
            return Bytes{};
        });
    }
    SECTION("begun anew") {
        app.on(300, [&](const Message&, actors::Context& context) -> Result<Bytes> {
            open("master", 2);
            core.pump();  // as another thread, which finds the strand busy
            cancelled = context.cancelled();
            return Bytes{};
        });
    }
    SECTION("the link is over") {
        app.on(300, [&](const Message&, actors::Context& context) -> Result<Bytes> {
            bye(Errc::superseded);
            core.pump();  // as another thread, which finds the strand busy
            cancelled = context.cancelled();
            return Bytes{};
        });
    }
    core.serve(std::move(app));
    take_part();
    typed_request(1, 300);
    CHECK(cancelled);
    for (const auto& sent : wire.frames) CHECK(sent.header.kind != Kind::reply);
}

TEST_CASE_METHOD(NodeFixture, "the link's end is the end of all runs") {
    ClientApp app;
    int ended = 0;
    app.on_end([&](const Ending& ending, actors::Context&) {
        ++ended;
        CHECK(ending.code == Errc::superseded);
    });
    core.serve(std::move(app));
    take_part();
    bye(Errc::superseded);
    core.pump();
    CHECK(ended == 1);
    REQUIRE(core.fatal());
    CHECK(core.fatal()->code == Errc::superseded);
}

TEST_CASE_METHOD(NodeFixture, "a driven run from OPEN to its end") {
    Recorder app;
    drive_opened(app);
    REQUIRE(app.driver_ != nullptr);
    Driver& driver = *app.driver_;
    CHECK(driver.get_node_ids().empty());
    const auto join_of = [&](const std::string& name, Errc code) {
        bus::Header header;
        header.kind = Kind::join;
        header.run = run_of(1);
        header.term = 1;
        header.src = node_id_of(name);
        frame(header, bus::encode(bus::Join{name, "member", 0, 1, {}, "", code, ""}));
        core.pump();
    };
    join_of("member-1", Errc::ok);
    join_of("member-2", Errc::ok);
    // in the order of the RunSpec
    CHECK(driver.get_node_ids() ==
          std::vector<NodeId>{node_id_of("member-2"), node_id_of("member-1")});
    CHECK(driver.name_of(node_id_of("member-1")) == "member-1");
    join_of("member-2", Errc::refused);
    CHECK(driver.get_node_ids().size() == 1);
    REQUIRE(driver.push_message(node_id_of("member-1"), 300, Bytes{1}));
    expect(Kind::request);
    reply("member-1", 1);
    core.pump();
    CHECK(driver.bytes_moved().sent == bus::header_bytes + 1);
    CHECK(driver.bytes_moved().received == bus::header_bytes + 1);
    // a participant asks the owner: it answers echo alone
    typed_request(1, 1, Bytes{5});
    CHECK(expect(Kind::reply).body == Bytes{5});
    typed_request(2, 300);
    CHECK(error_reply().code == Errc::unknown_message);
    driver.set_timer(now + seconds(1));
    driver.set_timer(now + seconds(2));  // the last call counts
    CHECK(core.next_deadline() == now + seconds(2));
    now += seconds(2);
    core.pump();
    core.pump();
    peer_up("member-1");
    core.pump();
    app.said.push_back("--");
    driver.set_timer(now);
    driver.close(Errc::ok, "done");
    const auto moved = driver.bytes_moved();
    CHECK(core.next_deadline() == TimePoint::max());
    peer_up("member-1");  // nothing else arrives after close
    reply("member-1", 1);
    core.pump();
    close(true);
    core.pump();
    CHECK(driver.bytes_moved().sent == moved.sent);
    CHECK(app.said == std::vector<std::string>{"opened", "join member-1", "join member-2",
                                               "join member-2", "reply", "timer", "peer member-1",
                                               "--", "closed ok"});
    REQUIRE(core.driven_ending());
    CHECK(core.driven_ending()->code == Errc::ok);
    CHECK(lock.held == 1);
}

TEST_CASE_METHOD(NodeFixture, "a driven run that others end") {
    Recorder app;
    core.drive(app);
    SECTION("cancelled before it was announced") {
        core.stop_driven(true);
        core.pump();
        CHECK(core.driven_ending()->code == Errc::cancelled);
        for (const auto& sent : wire.frames) CHECK(sent.header.kind != Kind::open);
    }
    SECTION("abandoned") {
        core.abandon_driven({Errc::cancelled, "it is over"});
        CHECK(core.driven_ending()->code == Errc::cancelled);
        core.abandon_driven({Errc::internal, "again"});  // nothing to end any more
        CHECK(core.driven_ending()->code == Errc::cancelled);
    }
    if (!core.driven_ending()) core.pump();
    SECTION("cancelled") {
        core.stop_driven(true);
        pass(seconds(6));  // nobody confirms
        core.pump();
        CHECK(core.driven_ending()->code == Errc::cancelled);
        core.stop_driven(true);  // nothing to stop any more
    }
    SECTION("by the broker") {
        error(Errc::not_owner, run_of(1), 1);
        core.pump();
        CHECK(core.driven_ending()->code == Errc::not_owner);
    }
    SECTION("by the link") {
        bye(Errc::superseded);
        core.pump();
        CHECK(core.driven_ending()->code == Errc::superseded);
    }
    CHECK(app.said.back().starts_with("closed"));
}

TEST_CASE_METHOD(NodeFixture,
                 "a request in a run that others have just ended is no failure of its own") {
    Recorder app;
    drive_opened(app);
    REQUIRE(app.driver_ != nullptr);
    close(false);  // the app is in a handler, and does not know yet
    CHECK(app.driver_->push_message(node_id_of("member-1"), 300, Bytes{1}));
    core.pump();
    CHECK(app.said.back() == "closed diverged");
    REQUIRE(core.driven_ending());
    CHECK(core.driven_ending()->sentence == "NaN");
    for (const auto& sent : wire.frames) CHECK(sent.header.kind != Kind::request);
}

TEST_CASE_METHOD(NodeFixture, "what a driven run has to store is stored before it is announced") {
    Recorder app;
    SECTION("and may raise the term") {
        app.welcomed = [&]() -> Result<> {
            for (const auto& sent : wire.frames) CHECK(sent.header.kind != Kind::open);
            app.spec_.term = 7;
            return {};
        };
        core.drive(app);
        CHECK(app.spec_.term == 1);
        core.pump();
        CHECK(expect(Kind::open).header.term == 7);
        CHECK(lock.held == 1);
        core.pump();
        CHECK(!core.driven_ending());
    }
    SECTION("or it is not announced at all") {
        app.welcomed = [] { return fail(Errc::io, "no space left"); };
        core.drive(app);
        core.pump();
        for (const auto& sent : wire.frames) CHECK(sent.header.kind != Kind::open);
        REQUIRE(core.driven_ending());
        CHECK(core.driven_ending()->code == Errc::io);
        CHECK(app.said == std::vector<std::string>{"closed io"});
    }
    SECTION("stopped over its head meanwhile") {
        app.welcomed = [&]() -> Result<> {
            core.stop_driven(true);
            return {};
        };
        core.drive(app);
        core.pump();
        for (const auto& sent : wire.frames) CHECK(sent.header.kind != Kind::open);
        REQUIRE(core.driven_ending());
        CHECK(core.driven_ending()->code == Errc::cancelled);
    }
}

TEST_CASE_METHOD(NodeFixture,
                 "what arrives while the timer is handled does not wait for the next frame") {
    Recorder app;
    core.drive(app);
    core.pump();
    opened();
    core.pump();
    app.meanwhile = [this] { peer_up("member-1"); };
    app.driver_->set_timer(now);
    core.pump();
    CHECK(app.said.back() == "peer member-1");
}

// -- handlers that throw -------------------------------------------------------------

namespace {

/// Throws in one of its handlers.
class Thrower final : public ServerApp {
  public:
    explicit Thrower(std::string where) : where_(std::move(where)) {
        spec_.run = bus::LinkFixture::run_of(1);
        spec_.participants = {{"member-1", "member", 1}};
    }
    const RunSpec& spec() const override { return spec_; }
    Result<> on_welcome() override {
        here("welcome");
        return {};
    }
    void on_opened(Driver& driver) override {
        driver_ = &driver;
        here("opened");
    }
    void on_join(Driver& driver, NodeId node, const bus::Join&) override {
        here("join");
        (void)driver.push_message(node, 300, Bytes{1});
    }
    void on_reply(Driver&, Message&&) override { here("reply"); }
    void on_peer(Driver&, const PeerEvent&) override { here("peer"); }
    void on_timer(Driver&) override { here("timer"); }
    void on_stop(Driver&) override { here("stop"); }
    void on_link(Driver&, bool up, const std::string&) override { here(up ? "up" : "down"); }
    void on_closed(const Ending& ending) override {
        closed = ending;
        here("closed");
    }
    Driver* driver_ = nullptr;
    std::optional<Ending> closed;

  private:
    void here(const std::string& name) const {
        if (name == where_) throw std::bad_alloc();
    }
    RunSpec spec_;
    std::string where_;
};

}  // namespace

TEST_CASE_METHOD(NodeFixture, "a handler of a driven app that throws has its run closed") {
    const std::string where =
        GENERATE("opened", "join", "reply", "peer", "timer", "stop", "down", "posted");
    Thrower app(where);
    drive_opened(app);
    const auto member = node_id_of("member-1");
    if (where != "opened") {
        bus::Header join;
        join.kind = Kind::join;
        join.run = run_of(1);
        join.term = 1;
        join.src = member;
        frame(join, bus::encode(bus::Join{"member-1", "member", 1, 1, {}, "0.1.0", Errc::ok, ""}));
        core.pump();
    }
    if (where != "opened" && where != "join") expect(Kind::request);
    if (where == "reply") reply("member-1", 1);
    if (where == "peer") peer_down("member-1");
    if (where == "timer") app.driver_->set_timer(now);
    if (where == "stop") core.stop_driven(false);
    if (where == "down") {
        pass(seconds(30));
        ignore_frames();
    }
    if (where == "posted") app.driver_->post([] { throw std::bad_alloc(); });
    core.pump();
    CHECK_FALSE(app.closed);
    if (where == "down") {  // the end of the run is told when there is somebody to tell it
        pass(seconds(10));
        core.pump();
    } else {
        const auto told = bus::decode_ending(expect(Kind::close).body);
        REQUIRE(told);
        CHECK(told->code == Errc::handler_failed);
        CHECK(told->sentence == "member-0 failed: out of memory");
        close(true);
        core.pump();
    }
    REQUIRE(app.closed);
    CHECK(app.closed->code == Errc::handler_failed);
    REQUIRE(core.driven_ending());
    CHECK(core.driven_ending()->code == Errc::handler_failed);
    CHECK(core.busy() == 0);
}

TEST_CASE_METHOD(NodeFixture, "a driven app that throws before its run is known ends without it") {
    Thrower app("welcome");
    core.drive(app);
    core.pump();
    nothing_sent();
    REQUIRE(core.driven_ending());
    CHECK(core.driven_ending()->code == Errc::handler_failed);
}

TEST_CASE_METHOD(NodeFixture, "a driven app that throws at the end of its run has failed") {
    Thrower app("closed");
    drive_opened(app);
    app.driver_->close(Errc::ok, "done");
    expect(Kind::close);
    close(true);
    core.pump();
    REQUIRE(core.driven_ending());
    CHECK(core.driven_ending()->code == Errc::handler_failed);
    CHECK(core.driven_ending()->sentence == "member-0 failed: out of memory");
}

TEST_CASE_METHOD(NodeFixture, "a question whose handler throws is answered with the cause") {
    core.on_query([](const bus::QueryArrived&, actors::QueryReplier) { throw std::bad_alloc(); });
    bus::Header query;
    query.kind = Kind::query;
    query.src = node_id_of("asker");
    query.dst = link.id();
    query.request = 7;
    query.type = 16;
    frame(query, Bytes{0x90});
    core.pump();
    const auto answer = expect(Kind::answer);
    CHECK(answer.header.flags == bus::flag::error);
    CHECK(bus::decode_ending(answer.body)->sentence == "member-0: out of memory");
}

// -- its clock -----------------------------------------------------------------------

TEST_CASE_METHOD(NodeFixture, "a node whose clock is not the broker's says so, once") {
    std::string log;
    observe::Console console({[&log](std::string_view text) { log += text; }, false, {}, false});
    observe::log::set_console(&console);
    const auto told_of_a_broker_behind_by = [&](std::chrono::milliseconds apart) {
        bye(Errc::ok);
        core.pump();
        pass(seconds(1));
        ignore_frames();
        log.clear();
        const auto clock = std::chrono::system_clock::now().time_since_epoch() - apart;
        welcome({{bus::extension_clock,
                  bus::encode_clock(static_cast<std::uint64_t>(
                      std::chrono::duration_cast<milliseconds>(clock).count()))}});
        core.pump();
        return log;
    };
    SECTION("an hour ahead") {
        const std::string told = told_of_a_broker_behind_by(std::chrono::hours(1));
        CHECK(told.find(" ahead of the broker's") != std::string::npos);
        CHECK(told_of_a_broker_behind_by(std::chrono::hours(1)).find("ahead") == std::string::npos);
    }
    SECTION("an hour behind") {
        const std::string told = told_of_a_broker_behind_by(-std::chrono::hours(1));
        CHECK(told.find(" behind the broker's") != std::string::npos);
    }
    SECTION("the same, but for the way between them") {
        CHECK(told_of_a_broker_behind_by(milliseconds(0)).find("the broker's") ==
              std::string::npos);
    }
    observe::log::set_console(nullptr);
}

// -- room ----------------------------------------------------------------------------

TEST_CASE_METHOD(NodeFixture, "the room of a deferred request is held until it is answered") {
    std::vector<std::pair<Message, Replier>> held;
    ClientApp app;
    app.on_deferred(300, [&](Message&& message, actors::Context&, Replier reply) {
        held.emplace_back(std::move(message), std::move(reply));
    });
    core.serve(std::move(app));
    take_part();
    constexpr std::uint64_t large = 256 << 10;
    const auto send = [this](std::uint64_t number) {
        for (std::uint64_t i = 0; i * bus::chunk_bytes < large; ++i)
            chunk(data(Kind::request, "master", number), large, i);
        core.pump();
        ignore_frames();
    };
    send(1);
    REQUIRE(held.size() == 1);
    CHECK(link.reserved_bytes() == large);
    SECTION("and its content is destroyed") {
        held[0].second(Bytes{1});
        core.pump();
        CHECK(link.reserved_bytes() == large);  // the content is still in memory
        held.clear();
        core.pump();
        CHECK(link.reserved_bytes() == 0);
    }
    SECTION("also when its content is destroyed before") {
        held[0].first = Message{};
        core.pump();
        CHECK(link.reserved_bytes() == large);
        held[0].second(Bytes{1});
        core.pump();
        CHECK(link.reserved_bytes() == 0);
    }
    SECTION("or its run has ended") {
        close(false);
        core.pump();
        CHECK(link.reserved_bytes() == large);
        held.clear();
        core.pump();
        CHECK(link.reserved_bytes() == 0);
    }
    SECTION("or nobody will ever answer it") {
        held.clear();
        core.pump();
        CHECK(link.reserved_bytes() == 0);
    }
}

TEST_CASE_METHOD(NodeFixture,
                 "a small request has memory of the link until its handler has returned") {
    std::vector<std::pair<Message, Replier>> held;
    ClientApp app;
    app.on_deferred(300, [&](Message&& message, actors::Context&, Replier reply) {
        CHECK(link.unasked_bytes() > 0);
        held.emplace_back(std::move(message), std::move(reply));
    });
    core.serve(std::move(app));
    take_part();
    request("master", 1);
    CHECK(link.unasked_bytes() > 0);
    core.pump();
    REQUIRE(held.size() == 1);
    CHECK_FALSE(held[0].first.room);  // whoever keeps it bounds it (see ClientHost)
    CHECK(link.unasked_bytes() == 0);
}

TEST_CASE_METHOD(NodeFixture, "the room of a reply is held as long as the driven app keeps it") {
    struct Keeper final : ServerApp {
        Keeper() {
            spec_.run = run_of(1);
            spec_.participants = {{"member-1", "member", 1}};
        }
        const RunSpec& spec() const override { return spec_; }
        void on_opened(Driver& driver) override {
            (void)driver.push_message(node_id_of("member-1"), 300, Bytes{1});
        }
        void on_join(Driver&, NodeId, const bus::Join&) override {}
        void on_reply(Driver&, Message&& reply) override { kept = std::move(reply); }
        void on_peer(Driver&, const PeerEvent&) override {}
        void on_timer(Driver&) override {}
        void on_link(Driver&, bool, const std::string&) override {}
        void on_closed(const Ending&) override {}
        RunSpec spec_;
        std::optional<Message> kept;
    } app;
    drive_opened(app);
    expect(Kind::request);
    constexpr std::uint64_t large = 256 << 10;
    for (std::uint64_t i = 0; i * bus::chunk_bytes < large; ++i)
        chunk(data(Kind::reply, "member-1", 1), large, i);
    core.pump();
    REQUIRE(app.kept);
    CHECK(app.kept->content.size() == large);
    CHECK(link.reserved_bytes() == large);
    app.kept.reset();
    core.pump();
    CHECK(link.reserved_bytes() == 0);
}
