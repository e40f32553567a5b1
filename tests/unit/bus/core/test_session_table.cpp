// Which node speaks on which connection of a broker, and how many strangers there may be.

#include "bus/core/broker_state.hpp"
#include "bus/core/session_table.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using namespace std::chrono_literals;

namespace {

struct ConnectionsFixture {
    TimePoint now{1h};
    MarkTokens tokens{MarkTokens::Secret{}};
    BrokerNode node{NodeId{7}, Limits{}, tokens, pings_of_node({}), {}};
    SessionTable table;

    SessionTable::Sender sender(ConnId conn) {
        const auto found = table.sender_of(conn, true, now);
        REQUIRE(found);
        return *found;
    }
};

}  // namespace

TEST_CASE_METHOD(ConnectionsFixture, "a connection is a stranger's, a node's, and a stranger's") {
    CHECK(sender(1).node == nullptr);
    CHECK(table.of_nodes() == 0);
    CHECK(table.claim(1, node, Lane::main, now) == nullptr);
    CHECK(table.claim(2, node, Lane::bulk, now) == nullptr);
    for (int times = 0; times < 2; ++times) {
        CHECK(sender(1).node == &node);
        CHECK(sender(2).lane == Lane::bulk);
    }
    CHECK(table.of_nodes() == 2);

    UnderWay under_way{Limits{}};
    under_way.sent(500, now);
    CHECK(table.release(1, under_way, now));
    CHECK(sender(1).node == nullptr);
    CHECK(table.of_nodes() == 1);
    // what was not read is the next session's
    const auto kept = table.claim(1, node, Lane::main, now);
    REQUIRE(kept != nullptr);
    CHECK(kept->bytes() == 500);
    CHECK(table.find(1)->under_way == nullptr);

    table.forget(1);
    CHECK(table.find(1) == nullptr);
    CHECK(sender(1).node == nullptr);
    CHECK(table.size() == 2);
}

TEST_CASE_METHOD(ConnectionsFixture, "strangers are forgotten after a while, nodes are not") {
    for (const ConnId conn : {5, 3, 4}) (void)sender(conn);
    (void)table.claim(4, node, Lane::main, now);
    now += 30s;
    (void)sender(9);
    CHECK(table.forget_strangers(now, 30s).empty());
    now += 1s;
    CHECK(table.forget_strangers(now, 30s) == std::vector<ConnId>{3, 5});
    CHECK(table.size() == 2);
    now += 1min;
    CHECK(table.forget_strangers(now, 30s) == std::vector<ConnId>{9});
    CHECK(table.forget_strangers(now, 30s).empty());
    CHECK(table.of_nodes() == 1);
}

TEST_CASE_METHOD(ConnectionsFixture, "too many strangers keep out nobody who says HELLO") {
    for (ConnId conn = 1; conn <= anonymous_connections_max; ++conn) (void)sender(conn);
    const ConnId late = anonymous_connections_max + 1;
    CHECK_FALSE(table.sender_of(late, false, now));
    CHECK(table.find(late) == nullptr);
    const auto crowded = table.sender_of(late, true, now);
    REQUIRE(crowded);
    CHECK(crowded->crowded);
    (void)table.claim(late, node, Lane::main, now);
    // and a session that ends does not make one more
    CHECK_FALSE(table.release(late, UnderWay{Limits{}}, now));
    CHECK(table.find(late) == nullptr);
    CHECK(table.size() == anonymous_connections_max);
}
