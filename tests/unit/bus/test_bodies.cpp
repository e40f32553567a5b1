// One body on its way out, and one that comes in, without a link around them.

#include "bus/core/incoming_body.hpp"
#include "bus/core/outgoing_body.hpp"
#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

constexpr NodeId sender{7};

Header part_of(std::uint64_t total, std::uint64_t offset, std::uint64_t tag) {
    Header header;
    header.body_bytes = total;
    header.body_offset = offset;
    header.aux = tag;
    header.type = 300;
    return header;
}

OutgoingBody outgoing(std::size_t bytes) {
    OutgoingBody body;
    body.carry(Bytes(bytes), {});
    return body;
}

}  // namespace

TEST_CASE("a body goes out in parts, as far as it may") {
    OutgoingBody body = outgoing(1'000'000);
    CHECK(body.large());
    body.begin(500'000, 4);
    CHECK(body.next(300'000)->bytes == 300'000);
    const auto second = body.next(300'000);
    CHECK(second->offset == 300'000);
    CHECK(second->bytes == 200'000);
    CHECK_FALSE(body.may_go_on());
    CHECK_FALSE(body.grant(400'000));  // says nothing new
    CHECK(body.grant(502'000));
    CHECK_FALSE(body.next(300'000));  // 2,000 bytes are not worth a frame
    CHECK(body.grant(UINT64_MAX - 1));
    CHECK(body.next(1'000'000)->bytes == 500'000);
    CHECK_FALSE(body.may_go_on());
    body.begin(600'000, 6);  // another attempt goes no further than it may itself
    CHECK(body.tag() == 6);
    CHECK(body.next(1'000'000)->bytes == 600'000);
    body.stop();
    CHECK_FALSE(body.may_go_on());
}

TEST_CASE("a body without bytes is one part without bytes") {
    OutgoingBody body = outgoing(0);
    body.begin(0, 0);
    REQUIRE(body.next(1000));
    CHECK_FALSE(body.may_go_on());
}

TEST_CASE("a sealed body is the same bytes in one part, in several, and when it is sent again") {
    privacy::SealKey key;
    key.bytes.fill(9);
    const auto stream = [&] {
        return privacy::SealStream(privacy::SealStream::Way::seal,
                                   privacy::Cipher::xchacha20_poly1305, key,
                                   privacy::nonce_of(1, 2), key.bytes);
    };
    Bytes content(20'000, 7);
    Bytes expected = content;
    privacy::SealStream reference = stream();
    reference.next(expected);
    const privacy::SealTag tag = reference.tag();
    expected.insert(expected.end(), tag.begin(), tag.end());
    std::vector<std::uint64_t> chunks{1'000'000, 20'008, 20'000, 7'000};
    for (std::size_t first = 0; first < chunks.size(); ++first) {
        OutgoingBody body;
        body.carry(content, {});
        body.seal(stream());
        std::vector<Payload> kept;  // as a connection may
        Bytes all;
        for (std::size_t attempt = 0; attempt < chunks.size(); ++attempt) {
            body.begin(1'000'000, attempt);
            Bytes sent;
            while (body.may_go_on()) {
                kept.push_back(body.payload(*body.next(chunks[(first + attempt) % chunks.size()])));
                const auto part = kept.back().bytes();
                sent.insert(sent.end(), part.begin(), part.end());
            }
            CHECK(sent == expected);
            all.insert(all.end(), sent.begin(), sent.end());
        }
        Bytes again;
        for (const Payload& part : kept)
            again.insert(again.end(), part.bytes().begin(), part.bytes().end());
        CHECK(again == all);
    }
}

TEST_CASE("what a receiver has room for is forgotten with the connection") {
    OutgoingBody body = outgoing(100'000);
    body.wait();
    body.note_room();
    CHECK(body.state() == OutgoingBody::State::queued);
    CHECK(body.has_room());
    body.rest();
    CHECK(body.state() == OutgoingBody::State::idle);
    CHECK_FALSE(body.has_room());
}

TEST_CASE("a body comes in, and only what goes on where it is counts") {
    BodyBudget unasked(4 * MiB), budget(4 * MiB);
    IncomingBody body;
    CHECK_FALSE(body.continues(part_of(100'000, 0, 2)));  // it has not begun
    body.begin(part_of(2 * MiB, 0, 2));
    CHECK_FALSE(body.has_room());
    REQUIRE(body.keep_unasked(sender, unasked, MiB));
    CHECK(unasked.used_bytes() == MiB + unasked_overhead_bytes);
    body.add(Bytes(100'000));
    CHECK(body.continues(part_of(2 * MiB, 100'000, 2)));
    CHECK_FALSE(body.continues(part_of(2 * MiB, 100'000, 4)));      // another attempt
    CHECK_FALSE(body.continues(part_of(2 * MiB, 100'001, 2)));      // a gap
    CHECK_FALSE(body.continues(part_of(2 * MiB, 90'000, 2)));       // said twice
    CHECK_FALSE(body.continues(part_of(2 * MiB + 1, 100'000, 2)));  // of another length
    CHECK(body.may_grow(MiB - 100'000, MiB));
    CHECK_FALSE(body.may_grow(MiB - 99'999, MiB));
    body.take_room(budget.take(sender, body.total()));
    CHECK(unasked.used_bytes() == 0);
    body.grant_first(body.here(), MiB);
    CHECK(body.granted() == MiB + 100'000);
    CHECK_FALSE(body.grant_more(MiB));  // more than half a share is left
    body.add(Bytes(MiB / 2));
    CHECK(body.grant_more(MiB));
    CHECK(body.granted() == 100'000 + MiB / 2 + MiB);
    CHECK_FALSE(body.complete());
    body.add(Bytes(2 * MiB - body.here()));
    CHECK(body.complete());
    CHECK_FALSE(body.continues(part_of(2 * MiB, 2 * MiB, 2)));
    CHECK(body.take_memory() != nullptr);
    CHECK(budget.used_bytes() == 0);
}

TEST_CASE("a body that begins again keeps its room, if it is as long as before") {
    BodyBudget budget(4 * MiB);
    const std::uint64_t again = GENERATE(2 * MiB, 3 * MiB);
    IncomingBody body;
    body.begin(part_of(2 * MiB, 0, 2));
    body.take_room(budget.take(sender, 2 * MiB));
    body.waits = true;
    body.add(Bytes(1000));
    body.begin(part_of(again, 0, 4));
    CHECK(body.here() == 0);
    CHECK(body.tag() == 4);
    CHECK(body.waits);
    CHECK(body.has_room() == (again == 2 * MiB));
    CHECK(budget.used_bytes() == (again == 2 * MiB ? again : 0));
    body.refuse();
    CHECK(body.complete());
    CHECK(budget.used_bytes() == 0);
}

TEST_CASE("a body for which there is no memory is as if it had not begun") {
    BodyBudget unasked(4 * MiB);
    const BodyRoom others = unasked.take(NodeId{8}, 4 * MiB);
    IncomingBody body;
    body.begin(part_of(10, 0, 0));
    CHECK_FALSE(body.keep_unasked(sender, unasked, MiB));
    CHECK_FALSE(body.whole());
    CHECK_FALSE(body.continues(part_of(10, 0, 0)));
}

TEST_CASE("senders share a budget: who holds room leaves as much to others") {
    BodyBudget budget(100);
    const BodyRoom first = budget.take(NodeId{1}, 40);
    REQUIRE(first != nullptr);
    CHECK(budget.take(NodeId{1}, 11) == nullptr);  // it would hold 51, and leave 49
    CHECK(budget.over_share(NodeId{1}, 11));
    const BodyRoom half = budget.take(NodeId{1}, 10);
    CHECK(half != nullptr);
    CHECK_FALSE(budget.over_share(NodeId{2}, 51));  // what is lacking is not its share
    CHECK(budget.take(NodeId{2}, 51) == nullptr);
    BodyRoom second = budget.take(NodeId{2}, 50);  // who holds nothing gets what fits
    CHECK(second != nullptr);
    second.reset();
    CHECK(budget.freed());
    CHECK_FALSE(budget.over_share(NodeId{2}, 50));
    // of those that are larger than all of it, one at a time
    const BodyRoom large = budget.take(NodeId{1}, 101);
    CHECK(large != nullptr);
    CHECK(budget.take(NodeId{2}, 102) == nullptr);
}

// -- answers that are kept -------------------------------------------------------------

namespace {

struct SmallReplies : LinkFixture {
    static LinkConfig small() {
        LinkConfig c = config();
        c.limits.reply_budget = MiB;
        return c;
    }
    SmallReplies() : LinkFixture(small()) {
        come_up();
        joined_run();
    }
    /// Asks under this number, of which all below `below` were answered, and answers at once.
    FakeDealer::Sent ask(const std::string& asker, std::uint64_t number, std::uint64_t below,
                         std::size_t bytes) {
        consume_all();
        request(asker, number, below);
        event<RequestArrived>();
        link.reply(run_of(1), node_id_of(asker), number, Bytes(bytes), now);
        return expect(Kind::reply);
    }
};

}  // namespace

TEST_CASE_METHOD(SmallReplies, "answers that an asker never says it has are kept within a budget") {
    CHECK((ask("master", 1, 1, 60'000).header.flags & flag::error) == 0);
    std::uint64_t number = 1;
    std::size_t refused = 0;
    while (number < 16) {
        const auto sent = ask("master", ++number, 1, 60'000);
        if ((sent.header.flags & flag::error) == 0) continue;
        ++refused;
        CHECK(decode_ending(sent.body)->code == Errc::too_many);
    }
    // alone it gets half of the budget
    CHECK(link.kept_reply_bytes() == 8 * 60'000);
    CHECK(refused == 8);
    // the answer to a repeated request is what it was
    request("master", 16, 1);
    CHECK((expect(Kind::reply).header.flags & flag::error) != 0);
    // and it gets answers again when it says which it has
    CHECK((ask("master", 17, 10, 60'000).header.flags & flag::error) == 0);
    CHECK(link.kept_reply_bytes() == 60'000);
}

TEST_CASE_METHOD(SmallReplies, "an answer that is larger than the budget is kept, one at a time") {
    request("master", 1);
    event<RequestArrived>();
    link.reply(run_of(1), node_id_of("master"), 1, Bytes(3 * MiB), now);
    CHECK((expect(Kind::reply).header.flags & flag::error) == 0);
    request("master", 2);
    event<RequestArrived>();
    link.reply(run_of(1), node_id_of("master"), 2, Bytes(3 * MiB), now);
    CHECK(link.kept_reply_bytes() == 3 * MiB);
    request("master", 3, 3);
    event<RequestArrived>();
    CHECK(link.kept_reply_bytes() == 0);
}
