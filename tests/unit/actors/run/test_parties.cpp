// Groups of requests: who is asked, what comes back in which order, who is waited for.

#include <algorithm>
#include <map>

#include "actors/run/parties.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::actors;

namespace {

/// Notes what is sent.
class NotingDriver final : public Driver {
  public:
    struct Sent {
        NodeId to;
        std::uint64_t id = 0;
        MessageType type = 0;
        Bytes body;
    };
    TimePoint now() const override { return at; }
    std::vector<NodeId> get_node_ids() const override { return {}; }
    std::string name_of(NodeId) const override { return {}; }
    std::uint64_t asked() const override { return 0; }
    Result<std::uint64_t> push_message(NodeId dst, MessageType type, Bytes content) override {
        if (refuses) return fail(Errc::too_large, "a message of 2 GiB");
        sent.push_back({dst, ++last[dst], type, std::move(content)});
        return last[dst];
    }
    void set_timer(TimePoint) override {}
    void reopen(std::uint32_t) override {}
    void close(Errc, std::string) override {}
    void post(std::function<void()>) override {}
    BytesMoved bytes_moved() const override { return {}; }

    TimePoint at{};
    bool refuses = false;
    std::vector<Sent> sent;
    std::map<NodeId, std::uint64_t> last;
};

struct Fixture {
    WaitingPlace place;
    NotingDriver driver;
    Parties parties;

    Fixture() : parties(participants(), place) { parties.attach(driver); }
    static std::vector<bus::Participant> participants() {
        return {{"member-0", "member", 0},
                {"member-1", "member", 1},
                {"member-2", "member", 2},
                {"arbiter", "arbiter", -1}};
    }
    /// The reply to what was sent n-th; false when it is nobody's.
    bool reply(std::size_t n, Bytes body) {
        Message message;
        message.metadata.src_node_id = driver.sent[n].to;
        message.metadata.message_id = driver.sent[n].id;
        const auto answered = parties.match(message);
        if (!answered) return false;
        parties.deliver(*answered, std::move(body));
        return true;
    }
};

Bytes one(std::uint8_t value) {
    return Bytes(1, value);
}

}  // namespace

TEST_CASE("replies come by rank, whatever the order of arrival") {
    Fixture f;
    Replies replies = f.parties.ask_all(19, one(7));
    REQUIRE(f.driver.sent.size() == 3);  // the members, and not the arbiter
    CHECK(f.parties.not_answered().size() == 3);
    CHECK(f.reply(2, one(2)));
    CHECK(f.reply(0, one(0)));
    CHECK(!replies.ready());
    CHECK(f.parties.first_late(false)->name == "member-1");
    CHECK(!f.reply(0, one(9)));  // twice
    CHECK(f.reply(1, one(1)));
    REQUIRE(replies.ready());
    CHECK(!f.parties.waiting());
    CHECK(replies.await_resume() == std::vector<Bytes>{one(0), one(1), one(2)});
}

TEST_CASE("some of the members, or an arbiter, can be asked") {
    Fixture f;
    REQUIRE(f.parties.members() == 3);
    REQUIRE(f.parties.arbiter() == 3U);
    const std::size_t some[] = {2, 0};
    Replies of_some = f.parties.ask_some(some, 24, one(1));
    Replies of_arbiter = f.parties.ask(*f.parties.arbiter(), 25, one(2));
    REQUIRE(f.driver.sent.size() == 3);
    CHECK(f.driver.sent[0].to == node_id_of("member-2"));
    CHECK(f.driver.sent[1].to == node_id_of("member-0"));
    CHECK(f.driver.sent[2].to == node_id_of("arbiter"));
    CHECK(f.reply(1, one(10)));
    CHECK(f.reply(2, one(30)));
    CHECK(of_arbiter.ready());
    CHECK(!of_some.ready());
    CHECK(f.reply(0, one(12)));
    CHECK(of_some.await_resume() == std::vector<Bytes>{one(12), one(10)});  // as asked
}

TEST_CASE("a request that cannot be sent is a failure, and its replies never come") {
    Fixture f;
    f.driver.refuses = true;
    Replies replies = f.parties.ask_all(19, one(7));
    CHECK(!replies.ready());
    const auto failure = f.parties.take_failure();
    REQUIRE(failure);
    CHECK(failure->party == "member-0");
    CHECK(failure->sentence == "member-0: a message of 2 GiB");
    CHECK(!f.parties.take_failure());
}

TEST_CASE("what was asked in an earlier term is nobody's") {
    Fixture f;
    Replies replies = f.parties.ask_all(19, one(7));
    f.parties.begin_term();
    CHECK(!f.reply(0, one(1)));
    CHECK(!f.parties.waiting());
    CHECK(f.parties.not_joined().size() == 4);
}

TEST_CASE("a run that is over sends nothing") {
    Fixture f;
    f.parties.detach();
    Replies replies = f.parties.ask_all(19, one(7));
    CHECK(f.driver.sent.empty());
    CHECK(!replies.ready());
    CHECK(!f.parties.waiting());
}
