// What a broker makes of connections that come, go and are used again, over real sockets; and many
// of them at once.

#include <filesystem>
#include <thread>

#include "base/clock.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "catch.hpp"
#include "light_node.hpp"

using namespace vflbus;
using namespace vflbus::bus;
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

RunId run_of(std::uint8_t n) {
    RunId run;
    run.bytes.fill(n);
    return run;
}

class Broker {
  public:
    explicit Broker(const std::string& address, Timings timings = {}) {
        BrokerOptions options;
        options.context = make_context();
        options.bind = {address};
        options.timings = timings;
        auto bound = BrokerLoop::bind(std::move(options));
        REQUIRE(bound);
        loop_ = std::move(*bound);
        endpoint = loop_->endpoints()[0];
        thread_ = std::thread([this] { loop_->run(stop_); });
    }
    ~Broker() {
        stop_.stop();
        thread_.join();
    }
    std::string endpoint;

  private:
    std::unique_ptr<BrokerLoop> loop_;
    StopSignal stop_;
    std::thread thread_;
};

struct Directory {
    fs::path path;
    Directory() {
        std::string text = (fs::temp_directory_path() / "vflbus-XXXXXX").string();
        REQUIRE(::mkdtemp(text.data()) != nullptr);
        path = text;
    }
    ~Directory() { fs::remove_all(path); }
};

/// A bound on hanging, not on speed.
template <class Until>
bool work(std::vector<LightNode*> nodes, Until&& until) {
    const TimePoint end = clock_now() + seconds(60);
    while (!until() && clock_now() < end)
        for (LightNode* node : nodes) node->poll(clock_now() + milliseconds(1));
    return until();
}

void open_to_all(LightNode& owner, const RunId& run) {
    owner.core().open_run(run, 1, Open{owner.name(), {any_node}, ""}, clock_now());
}

}  // namespace

TEST_CASE("a server app whose process is gone ends its run before it is lost") {
    const Directory dir;
    for (const std::string& address :
         {std::string("tcp://127.0.0.1:0"), "ipc://" + (dir.path / "b").string()}) {
        INFO(address);
        Timings timings;
        timings.lost = seconds(3600);  // silence alone would take until then
        const Broker broker(address, timings);
        const auto context = make_context();
        LightNode node(context, broker.endpoint, "n-0");
        auto server = std::make_unique<LightNode>(make_context(), broker.endpoint, "server",
                                                  "serverapp", std::vector<std::string>{});
        open_to_all(*server, run_of(1));
        REQUIRE(work({&node, server.get()}, [&] { return server->joined() == 1; }));
        server.reset();  // as when it is killed: no BYE
        REQUIRE(work({&node}, [&] { return !node.endings.empty(); }));
        CHECK(node.endings[0].code == Errc::owner_lost);
        CHECK(node.endings[0].sentence.find("server") != std::string::npos);
    }
}

TEST_CASE("descriptors that are used again belong to who said HELLO last") {
    const Broker broker("tcp://127.0.0.1:0");
    const auto context = make_context();
    LightNode stays(context, broker.endpoint, "n-0");
    LightNode server(context, broker.endpoint, "server", "serverapp", {});
    open_to_all(server, run_of(1));
    REQUIRE(work({&stays, &server}, [&] { return server.joined() == 1; }));
    // connections that come and go take each other's descriptors, and none of those that stay
    for (int i = 0; i < 60; ++i) {
        LightNode passing(make_context(), broker.endpoint, "p-" + std::to_string(i), "member", {});
        REQUIRE(work({&stays, &server, &passing}, [&] { return passing.core().up(); }));
    }
    const std::size_t before = server.replies;
    REQUIRE(server.core().request(run_of(1), stays.id(), 300, Bytes{1}, clock_now()));
    REQUIRE(work({&stays, &server}, [&] { return server.replies == before + 1; }));
    CHECK(stays.endings.empty());
    CHECK(server.endings.empty());
}

TEST_CASE("a process that takes over a name need not wait for a connection that was closed") {
    const Broker broker("tcp://127.0.0.1:0");
    auto first = std::make_unique<LightNode>(make_context(), broker.endpoint, "n-0");
    REQUIRE(work({first.get()}, [&] { return first->core().up(); }));
    first.reset();
    LightNode second(make_context(), broker.endpoint, "n-0", "member", {}, {}, 2);
    REQUIRE(work({&second}, [&] { return second.core().up(); }));
}

TEST_CASE("many nodes in one open run answer one message each") {
    const Broker broker("tcp://127.0.0.1:0");
    const auto context = make_context();
    const std::size_t count = 100;
    std::vector<std::unique_ptr<LightNode>> nodes;
    std::vector<LightNode*> all;
    LightNode server(make_context(), broker.endpoint, "server", "serverapp", {});
    all.push_back(&server);
    for (std::size_t i = 0; i < count; ++i) {
        nodes.push_back(
            std::make_unique<LightNode>(context, broker.endpoint, "n-" + std::to_string(i)));
        all.push_back(nodes.back().get());
    }
    open_to_all(server, run_of(1));
    REQUIRE(work(all, [&] { return server.joined() == count; }));
    for (const auto& node : nodes)
        REQUIRE(server.core().request(run_of(1), node->id(), 300, Bytes(1000), clock_now()));
    REQUIRE(work(all, [&] { return server.replies == count; }));
    CHECK(server.failures.empty());
}
