// Messages that main has pushed: in order, each answered once, and found without a walk.

#include "apps/outbox.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::apps;
using std::chrono::seconds;

namespace {

constexpr NodeId a{1}, b{2};
const TimePoint start{std::chrono::hours(1)};

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
    for (std::uint8_t i = 1; i <= 5; ++i) outbox.add(a, i, start, {i});
    outbox.add(b, 6, start, {6});
    CHECK(outbox.send(a, link.to(a)).empty());
    CHECK(link.sent[a] == std::vector<bus::Bytes>{{1}, {2}});
    CHECK(outbox.send(b, link.to(b)).empty());
    CHECK(link.sent[b].size() == 1);
    CHECK(outbox.answered(a, 2) == 2);  // out of order
    CHECK(outbox.answered(a, 2) == 0);
    CHECK(outbox.answered(a, 17) == 0);
    CHECK(outbox.answered(NodeId{9}, 1) == 0);
    CHECK(outbox.send(a, link.to(a)).empty());
    CHECK(link.sent[a].size() == 3);
    CHECK(outbox.size() == 5);
}

TEST_CASE("what the link refuses has failed, and the next one is tried") {
    Outbox outbox(16);
    outbox.add(a, 1, start, {1});
    outbox.add(a, 2, start, {2});
    const auto failed = outbox.send(a, [](bus::Bytes content) -> Result<std::uint64_t> {
        if (content[0] == 1) return fail(Errc::too_large, "too much");
        return 1;
    });
    REQUIRE(failed.size() == 1);
    CHECK(failed[0].message == 1);
    CHECK(failed[0].failure.code == Errc::too_large);
    CHECK(outbox.answered(a, 1) == 2);
    CHECK(outbox.size() == 0);
    CHECK(outbox.next_expiry() == TimePoint::max());
}

TEST_CASE("messages expire by their time, those that wait and those that are under way") {
    Outbox outbox(1);
    Link link;
    outbox.add(a, 1, start + seconds(3), {1});
    outbox.add(a, 2, start + seconds(1), {2});
    outbox.add(b, 3, start + seconds(2), {3});
    CHECK(outbox.send(a, link.to(a)).empty());
    CHECK(outbox.next_expiry() == start + seconds(1));
    CHECK(outbox.expire(start).empty());
    using Expired = std::vector<std::pair<std::uint64_t, NodeId>>;
    CHECK(outbox.expire(start + seconds(2)) == Expired{{2, a}, {3, b}});
    CHECK(outbox.expire(start + seconds(3)) == Expired{{1, a}});
    CHECK(outbox.next_expiry() == TimePoint::max());
    // the link still holds the first: its place is free when its reply comes, which is for nobody
    outbox.add(a, 4, start + seconds(9), {4});
    CHECK(outbox.send(a, link.to(a)).empty());
    CHECK(link.sent[a].size() == 1);
    CHECK(outbox.answered(a, 1) == 0);
    CHECK(outbox.send(a, link.to(a)).empty());
    CHECK(outbox.answered(a, 2) == 4);
}

TEST_CASE("what a node was asked is given up when it leaves") {
    Outbox outbox(1);
    Link link;
    outbox.add(a, 1, start + seconds(1), {1});
    outbox.add(b, 2, start + seconds(1), {2});
    outbox.add(a, 3, start + seconds(1), {3});
    CHECK(outbox.send(a, link.to(a)).empty());
    CHECK(outbox.give_up(a) == std::vector<std::uint64_t>{1, 3});
    CHECK(outbox.give_up(a).empty());
    CHECK(outbox.give_up(NodeId{9}).empty());
    CHECK(outbox.answered(a, 1) == 0);
    CHECK(outbox.size() == 1);
    CHECK(outbox.expire(start + seconds(1)).size() == 1);
}
