// A link and a broker together: what a broker that was slow for a moment does to a session.

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "bus/core/broker_core.hpp"
#include "bus/core/link_core.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using std::chrono::milliseconds;

namespace {

/// Two nodes and a broker, with pipes between them that hold frames until somebody looks.
struct World final : BrokerTransport {
    struct Wire final : LinkTransport {
        SendResult send(Frame& frame) override {
            to_broker.push_back(std::move(frame));
            return SendResult::ok;
        }
        void reconnect() override {}
        std::deque<Frame> to_broker;
        std::deque<Frame> to_link;
    };
    struct Node {
        Node(const std::string& name, std::uint64_t seed)
            : link(LinkConfig{{name, "member", 0, 1, seed, "0.1.0", {}}, {}, seed}, wire) {}
        Wire wire;
        LinkCore link;
    };

    static BrokerConfig config() {
        BrokerConfig c;
        c.version = "0.1.0";
        return c;
    }

    World() : broker(config(), *this, now) {
        for (const char* name : {"master", "member-0"})
            nodes.push_back(std::make_unique<Node>(name, nodes.size() + 1));
    }
    SendResult send(ConnId to, Frame& frame) override {
        nodes[to - 1]->wire.to_link.push_back(std::move(frame));
        return SendResult::ok;
    }
    void broker_reads() {
        for (std::size_t i = 0; i < nodes.size(); ++i)
            for (auto& pipe = nodes[i]->wire.to_broker; !pipe.empty(); pipe.pop_front())
                broker.on_frame(i + 1, std::move(pipe.front().header), std::move(pipe.front().body),
                                2, now);
        broker.on_tick(now);
    }
    /// One frame at a time, so that links speak between the frames that they get.
    bool link_reads(Node& node) {
        if (node.wire.to_link.empty()) return false;
        Frame frame = std::move(node.wire.to_link.front());
        node.wire.to_link.pop_front();
        node.link.on_frame(std::move(frame.header), std::move(frame.body), 2, now);
        return true;
    }
    void pass(Duration d, bool broker_awake = true) {
        for (const TimePoint until = now + d; now < until;) {
            now += milliseconds(5);
            for (auto& node : nodes) {
                while (link_reads(*node)) {
                }
                node->link.on_tick(now);
            }
            if (broker_awake) broker_reads();
        }
    }

    TimePoint now{std::chrono::hours(1)};
    std::vector<std::unique_ptr<Node>> nodes;
    BrokerCore broker;
};

}  // namespace

TEST_CASE("a broker that answers three HELLOs at once neither stops nor kills the node") {
    World world;
    LinkCore& master = world.nodes[0]->link;
    LinkCore& member = world.nodes[1]->link;
    const auto run_of = [](std::uint8_t n) {
        RunId run;
        run.bytes[0] = n;
        return run;
    };
    const NodeId to = node_id_of("member-0");
    const Bytes body(100'000, 7);
    const auto open = [&](const RunId& run) {
        master.open_run(run, 1, Open{"master", {{"member-0", "member", 0}}, ""}, world.now);
        member.join_run({run, 1, node_id_of("master"), {}},
                        Join{"member-0", "member", 0, 1, {}, "", Errc::ok, ""}, world.now);
        for (int i = 0; i < 16; ++i) REQUIRE(master.request(run, to, 300, body, world.now));
    };
    master.start(world.now);
    member.start(world.now);
    open(run_of(1));
    world.pass(milliseconds(1500), false);  // the broker sleeps, HELLOs pile up
    REQUIRE(world.nodes[0]->wire.to_broker.size() >= 3);
    world.broker_reads();
    // what was sent in the first session is given up before the last one begins
    for (bool given_up = false; world.link_reads(*world.nodes[0]);)
        if (master.up() && !std::exchange(given_up, true)) master.forget_run(run_of(1));
    REQUIRE(master.up());
    world.pass(milliseconds(50));
    open(run_of(2));
    int answered = 0;
    for (int i = 0; i < 1000 && answered < 16; ++i) {
        world.pass(milliseconds(5));
        LinkEvent event;
        while (member.next_event(event))
            if (auto* asked = std::get_if<RequestArrived>(&event)) {
                CHECK(asked->body == body);
                member.reply(asked->run, asked->from, asked->number, Bytes{1}, world.now);
            }
        while (master.next_event(event)) {
            CHECK_FALSE(std::holds_alternative<LinkFatal>(event));
            if (std::holds_alternative<ReplyArrived>(event)) ++answered;
        }
    }
    CHECK(answered == 16);
}
