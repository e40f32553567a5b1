// Messages that main has pushed: in order, each answered once, and found without a walk.

#include "apps/outbox.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::apps;
using std::chrono::seconds;

namespace {

constexpr NodeId node_a{1}, node_b{2};
const TimePoint begin{std::chrono::hours(1)};

/// A link that takes everything, and numbers per node.
struct Link {
    Outbox::Send to(NodeId node) {
        return [this, node](Bytes content) -> Result<std::uint64_t> {
            sent[node].push_back(std::move(content));
            return sent[node].size();
        };
    }
    using Bytes = bus::Bytes;
    std::map<NodeId, std::vector<Bytes>> sent;
};

}  // namespace

TEST_CASE("messages to a node are sent in order, a few unanswered at a time") {
    Outbox outbox(2);
    Link link;
    for (std::uint8_t i = 1; i <= 5; ++i) outbox.add(node_a, i, begin, {i});
    outbox.add(node_b, 6, begin, {6});
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    CHECK(link.sent[node_a] == std::vector<bus::Bytes>{{1}, {2}});
    CHECK(outbox.send(node_b, link.to(node_b)).empty());
    CHECK(link.sent[node_b].size() == 1);
    CHECK(outbox.answered(node_a, 2) == 2);  // out of order
    CHECK(outbox.answered(node_a, 2) == 0);
    CHECK(outbox.answered(node_a, 17) == 0);
    CHECK(outbox.answered(NodeId{9}, 1) == 0);
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    CHECK(link.sent[node_a].size() == 3);
    CHECK(outbox.size() == 5);
}

TEST_CASE("what the link refuses has failed, and the next one is tried") {
    Outbox outbox(16);
    outbox.add(node_a, 1, begin, {1});
    outbox.add(node_a, 2, begin, {2});
    const auto failed = outbox.send(node_a, [](bus::Bytes content) -> Result<std::uint64_t> {
        if (content[0] == 1) return fail(Errc::too_large, "too much");
        return 1;
    });
    REQUIRE(failed.size() == 1);
    CHECK(failed[0].message == 1);
    CHECK(failed[0].failure.code == Errc::too_large);
    CHECK(outbox.answered(node_a, 1) == 2);
    CHECK(outbox.size() == 0);
    CHECK(outbox.next_expiry() == TimePoint::max());
}

TEST_CASE("messages expire by their time, those that wait and those that are under way") {
    Outbox outbox(1);
    Link link;
    outbox.add(node_a, 1, begin + seconds(3), {1});
    outbox.add(node_a, 2, begin + seconds(1), {2});
    outbox.add(node_b, 3, begin + seconds(2), {3});
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    CHECK(outbox.next_expiry() == begin + seconds(1));
    CHECK(outbox.expire(begin).empty());
    using Expired = std::vector<std::pair<std::uint64_t, NodeId>>;
    CHECK(outbox.expire(begin + seconds(2)) == Expired{{2, node_a}, {3, node_b}});
    CHECK(outbox.expire(begin + seconds(3)) == Expired{{1, node_a}});
    CHECK(outbox.next_expiry() == TimePoint::max());
    // the link still holds the first: its place is free when its reply comes, which is for nobody
    outbox.add(node_a, 4, begin + seconds(9), {4});
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    CHECK(link.sent[node_a].size() == 1);
    CHECK(outbox.answered(node_a, 1) == 0);
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    CHECK(outbox.answered(node_a, 2) == 4);
}

TEST_CASE("a node that has a message is given the patience to say itself that it has expired") {
    Outbox outbox(1, seconds(5));
    Link link;
    outbox.add(node_a, 1, begin + seconds(1), {1});
    outbox.add(node_a, 2, begin + seconds(1), {2});  // waits at the owner
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    using Expired = std::vector<std::pair<std::uint64_t, NodeId>>;
    CHECK(outbox.expire(begin + seconds(1)) == Expired{{2, node_a}});
    CHECK(outbox.next_expiry() == begin + seconds(6));
    SECTION("it says so") {
        CHECK(outbox.answered(node_a, 1) == 1);
        CHECK(outbox.expire(begin + seconds(6)).empty());
    }
    SECTION("it says nothing") {
        CHECK(outbox.expire(begin + seconds(6)) == Expired{{1, node_a}});
        CHECK(outbox.answered(node_a, 1) == 0);
    }
    CHECK(outbox.size() == 0);
    CHECK(outbox.next_expiry() == TimePoint::max());
}

TEST_CASE("what a node was asked is given up when it leaves") {
    Outbox outbox(1);
    Link link;
    outbox.add(node_a, 1, begin + seconds(1), {1});
    outbox.add(node_b, 2, begin + seconds(1), {2});
    outbox.add(node_a, 3, begin + seconds(1), {3});
    CHECK(outbox.send(node_a, link.to(node_a)).empty());
    CHECK(outbox.give_up(node_a) == std::vector<std::uint64_t>{1, 3});
    CHECK(outbox.give_up(node_a).empty());
    CHECK(outbox.give_up(NodeId{9}).empty());
    CHECK(outbox.answered(node_a, 1) == 0);
    CHECK(outbox.size() == 1);
    CHECK(outbox.expire(begin + seconds(1)).size() == 1);
}
