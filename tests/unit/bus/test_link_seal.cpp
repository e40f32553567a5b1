// Two links and a broker between them that nobody should trust: it reads all, and changes, swaps,
// repeats and makes up what it likes. docs/protocol.md, section 14.

#include <algorithm>
#include <catch.hpp>
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "base/hash.hpp"
#include "bus/core/link_core.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

struct Said {
    Header header;
    Bytes body;
};

/// Knows what a test tells it.
struct Known final : PartyKeys {
    std::map<std::string, PublicKey> keys;
    std::vector<std::string> first_seen;
    Result<> meet(const std::string& name, const PublicKey& key) override {
        const auto found = keys.find(name);
        if (found == keys.end()) {
            keys[name] = key;
            first_seen.push_back(name);
            return {};
        }
        if (found->second == key) return {};
        Failure failure{Errc::refused, "another key is known for " + name + " in /etc/ours/secret"};
        failure.for_others = "another key is known for " + name;
        return tl::unexpected(failure);
    }
    Result<> knows(const std::string& name, const PublicKey& key) override {
        const auto found = keys.find(name);
        if (found != keys.end() && found->second == key) return {};
        return fail(Errc::refused, name + " is not known");
    }
    Result<> agrees(const std::string& name, const PublicKey& key) override {
        return keys.contains(name) ? meet(name, key) : Result<>();
    }
};

struct End final : LinkTransport {
    SendResult send(Frame& frame) override {
        Said said;
        REQUIRE(decode(frame.header.bytes(), said.header) == HeaderFault::none);
        const auto body = frame.body.bytes();
        said.body.assign(body.begin(), body.end());
        sent.push_back(std::move(said));
        frame = Frame{};
        return SendResult::ok;
    }
    void reconnect() override {}
    std::deque<Said> sent;
};

/// A party: its key, and one process of it.
struct Party {
    Party(const std::string& name, const KeyPair& key, std::shared_ptr<Known> known, bool aes,
          std::uint64_t incarnation, bool seals)
        : known_parties(std::move(known)), id(node_id_of(name)) {
        LinkConfig config;
        config.hello.name = name;
        config.hello.role = name == "master" ? "master" : "member";
        config.hello.rank = name == "master" ? -1 : 0;
        config.hello.incarnation = incarnation;
        config.hello.instance = incarnation * 100 + id.value % 7;
        config.hello.version = "0";
        if (seals) {
            auto seal = std::make_shared<SealConfig>();
            seal->key_name = name;
            seal->own = key;
            random_bytes(seal->session.bytes);
            seal->aes = aes;
            seal->parties = known_parties;
            config.seal = seal;
        }
        link = std::make_unique<LinkCore>(std::move(config), end);
    }
    std::shared_ptr<Known> known_parties;
    NodeId id;
    End end;
    std::unique_ptr<LinkCore> link;
    std::deque<LinkEvent> events;
};

struct Between {
    explicit Between(bool aes = true, bool master_seals = true, bool member_seals = true)
        : aes_(aes), member_seals_(member_seals) {
        master = std::make_unique<Party>("master", master_key, master_known, true, 1, master_seals);
        for (std::size_t i = 0; i < run.bytes.size(); ++i) run.bytes[i] = 7;
        member_starts(1);
        master->link->start(now);
        turn();
    }
    void member_starts(std::uint64_t incarnation) {
        member = std::make_unique<Party>("member-0", member_key, member_known, aes_, incarnation,
                                         member_seals_);
        incarnation_ = incarnation;
        member->link->start(now);
        turn();
    }
    void open(const std::string& text = "the agreed text") {
        master->link->open_run(run, 3, Open{"master", {{"member-0", "member", 0}}, text, {}}, now);
        turn();
    }
    /// The member's user says yes.
    void join(Errc code = Errc::ok, const std::string& sentence = {},
              std::uint64_t invitation = 0) {
        Join answer = member->link->own_join();
        answer.code = code;
        answer.sentence = sentence;
        answer.config_hash.fill(9);
        member->link->join_run({run, 3, master->id, {}, {}, invitation}, answer, now);
        turn();
    }
    /// Frames go to and fro until nobody says any more.
    void turn() {
        for (bool more = true; more;) {
            more = false;
            for (Party* from : {master.get(), member.get()}) {
                if (from == nullptr) continue;
                while (!from->end.sent.empty()) {
                    Said said = std::move(from->end.sent.front());
                    from->end.sent.pop_front();
                    more = true;
                    on(*from, std::move(said));
                }
            }
            for (Party* party : {master.get(), member.get()}) {
                if (party == nullptr) continue;
                LinkEvent event;
                while (party->link->next_event(event)) party->events.push_back(std::move(event));
            }
        }
    }
    /// The broker has forgotten the party, which begins another session and asks again.
    void forget(Party& party) {
        Said said;
        said.header.kind = Kind::error;
        said.header.src = broker_node;
        said.header.dst = party.id;
        said.header.aux = static_cast<std::uint64_t>(Errc::not_registered);
        said.body = encode_sentence("not known here");
        deliver(party, said);
    }
    void deliver(Party& to, Said said) {
        if (!is_data(said.header.kind)) said.header.body_bytes = said.body.size();
        to.link->on_frame(Payload::copy_of(encode(said.header)), Payload::copy_of(said.body), 2,
                          now);
    }
    Party& other(const Party& party) { return &party == master.get() ? *member : *master; }

    void on(Party& from, Said said) {
        wire.push_back(said);
        const Header& h = said.header;
        Said back;
        back.header = h;
        back.header.src = broker_node;
        back.header.dst = from.id;
        switch (h.kind) {
            case Kind::hello:
                back.header.kind = Kind::welcome;
                back.header.aux = ++sessions_;
                back.body = encode(Welcome{"0", 1000, 3000, 10000, 2u << 20, 1u << 30, {}});
                return deliver(from, back);
            case Kind::open:
                open_ = said;
                back.header.flags = flag::answer;
                back.body.clear();
                deliver(from, back);
                if (change) change(said);
                return deliver(*member, said);
            case Kind::join: {
                if (change) change(said);
                const auto join = decode_join(said.body);
                if (join && join->code == Errc::ok)
                    for (Party* party : {master.get(), member.get()}) peer_up(*party);
                return deliver(*master, said);
            }
            case Kind::mark:
                back.header.kind = Kind::window;
                return deliver(from, back);
            case Kind::request:
            case Kind::reply:
            case Kind::query:
            case Kind::answer:
            case Kind::credit:
                if (change) change(said);
                return deliver(other(from), said);
            default:
                return;
        }
    }
    void peer_up(Party& to) {
        Said said;
        said.header.kind = Kind::peer_up;
        said.header.run = run;
        said.header.term = 3;
        said.header.aux = other(to).id.value;
        const bool is_master = &other(to) == master.get();
        said.body =
            encode(PeerUp{is_master ? "master" : "member-0", is_master ? "master" : "member",
                          is_master ? -1 : 0, is_master ? 1 : incarnation_});
        deliver(to, said);
    }
    template <class Event>
    std::optional<Event> take(Party& party) {
        turn();
        for (auto at = party.events.begin(); at != party.events.end(); ++at)
            if (auto* found = std::get_if<Event>(&*at)) {
                Event out = std::move(*found);
                party.events.erase(at);
                return out;
            }
        return {};
    }
    /// The run is opened, and the member takes part. What it was invited by.
    RunInvited open_and_join() {
        open();
        const auto invited = take<RunInvited>(*member);
        REQUIRE(invited);
        join(Errc::ok, {}, invited->invitation);
        REQUIRE(take<RunJoined>(*master));
        return *invited;
    }
    std::uint64_t ask(const std::string& text, std::uint16_t type = 300) {
        const auto number =
            master->link->request(run, member->id, type, Bytes(text.begin(), text.end()), now);
        REQUIRE(number);
        turn();
        return *number;
    }
    void answer(std::uint64_t number, const std::string& text) {
        member->link->reply(run, master->id, number, Bytes(text.begin(), text.end()), now);
        turn();
    }
    [[nodiscard]] bool on_wire(const std::string& text) const {
        return std::ranges::any_of(wire, [&](const Said& said) {
            return std::ranges::search(said.body, text).begin() != said.body.end();
        });
    }

    TimePoint now = TimePoint{} + std::chrono::hours(1);
    RunId run;
    KeyPair master_key = make_key_pair();
    KeyPair member_key = make_key_pair();
    std::shared_ptr<Known> master_known = std::make_shared<Known>();
    std::shared_ptr<Known> member_known = std::make_shared<Known>();
    std::unique_ptr<Party> master;
    std::unique_ptr<Party> member;
    std::deque<Said> wire;                ///< all that the broker has seen
    std::function<void(Said&)> change{};  ///< what it makes of what passes
    Said open_;

  private:
    bool aes_;
    bool member_seals_;
    std::uint64_t sessions_ = 0;
    std::uint64_t incarnation_ = 1;
};

bool is_join(const Said& frame) {
    return frame.header.kind == Kind::join;
}

std::string words_in(const Bytes& bytes) {
    return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("the broker sees nothing of text, requests, replies, errors and refusals") {
    for (const bool aes : {true, false}) {
        Between b(aes);
        b.open("MARK of the text");
        const auto invited = b.take<RunInvited>(*b.member);
        REQUIRE(invited);
        CHECK(invited->open.agreed == "MARK of the text");
        CHECK(invited->owner_fingerprint == fingerprint_of(b.master_key.public_key));
        CHECK(b.member_known->first_seen == std::vector<std::string>{"master"});
        b.join();
        const auto joined = b.take<RunJoined>(*b.master);
        REQUIRE(joined);
        CHECK(joined->join.code == Errc::ok);
        CHECK(joined->join.config_hash[0] == 9);
        CHECK(b.master_known->first_seen == std::vector<std::string>{"member-0"});
        const std::uint64_t number = b.ask("MARK of a request");
        const auto request = b.take<RequestArrived>(*b.member);
        REQUIRE(request);
        CHECK(words_in(request->body) == "MARK of a request");
        b.answer(number, "MARK of a reply");
        CHECK(words_in(b.take<ReplyArrived>(*b.master)->body) == "MARK of a reply");
        const std::uint64_t second = b.ask("");
        REQUIRE(b.take<RequestArrived>(*b.member));
        b.member->link->reply_error(b.run, b.master->id, second,
                                    {Errc::bad_data, "MARK of an error"}, b.now);
        CHECK(b.take<ReplyArrived>(*b.master)->error.sentence == "MARK of an error");
        // a large body, in chunks, both ways
        const std::string large = "MARK" + std::string(700'000, 'x') + "MARK";
        const std::uint64_t third = b.ask(large);
        const auto whole = b.take<RequestArrived>(*b.member);
        REQUIRE(whole);
        CHECK(words_in(whole->body) == large);
        b.answer(third, large);
        CHECK(words_in(b.take<ReplyArrived>(*b.master)->body) == large);
        CHECK_FALSE(b.on_wire("MARK"));
        CHECK(b.master->link->broken_seals() + b.member->link->broken_seals() == 0);
    }
}

TEST_CASE("an invitation whose run was closed or opened anew meanwhile is not answered") {
    Between b;
    const auto joins = [&] {
        return std::ranges::count_if(
            b.wire, [](const Said& said) { return said.header.kind == Kind::join; });
    };
    const auto close = [&](Party& party) {
        Said said;
        said.header.kind = Kind::close;
        said.header.run = b.run;
        said.header.term = 3;
        said.header.src = broker_node;
        said.header.dst = party.id;
        said.body = encode(Ending{Errc::owner_lost, "its owner is gone"});
        b.deliver(party, said);
        REQUIRE(b.take<RunClosed>(party));
    };
    b.open();
    const auto first = b.take<RunInvited>(*b.member);
    REQUIRE(first);
    CHECK(first->invitation != 0);
    close(*b.member);
    close(*b.master);
    b.join(Errc::ok, {}, first->invitation);  // its user was busy until now
    auto closed = b.take<RunClosed>(*b.member);
    REQUIRE(closed);
    CHECK(closed->joined);
    CHECK(joins() == 0);

    b.open();
    const auto second = b.take<RunInvited>(*b.member);
    REQUIRE(second);
    CHECK(second->invitation != first->invitation);
    b.join(Errc::ok, {}, first->invitation);
    CHECK(joins() == 0);
    CHECK(b.take<RunClosed>(*b.member));
    b.join(Errc::ok, {}, second->invitation);
    CHECK(joins() == 1);
    const auto joined = b.take<RunJoined>(*b.master);
    REQUIRE(joined);
    CHECK(joined->join.code == Errc::ok);
}

TEST_CASE("who has not joined by then hears how a sealed run ended, and the broker does not") {
    for (const bool aes : {true, false}) {
        Between b(aes);
        const auto close_of_master = [&] {
            b.master->link->close_run(b.run, {Errc::refused, "MARK of the cause"}, b.now);
            b.turn();
            const auto said = std::ranges::find_if(
                b.wire, [](const Said& s) { return s.header.kind == Kind::close; });
            REQUIRE(said != b.wire.end());
            CHECK_FALSE(b.on_wire("MARK"));
            Said close = *said;
            close.header.src = broker_node;
            close.header.dst = b.member->id;
            return close;
        };
        const auto hears = [&](Said close, const std::string& sentence, bool joined) {
            b.deliver(*b.member, std::move(close));
            const auto closed = b.take<RunClosed>(*b.member);
            REQUIRE(closed);
            CHECK(closed->joined == joined);
            CHECK(closed->ending.code == Errc::refused);
            CHECK(closed->ending.sentence == sentence);
        };
        b.open();
        const auto invited = b.take<RunInvited>(*b.member);
        REQUIRE(invited);
        SECTION(aes ? "it still decides (AES)" : "it still decides (XChaCha20)") {
            hears(close_of_master(), "MARK of the cause", false);
            b.join(Errc::ok, {}, invited->invitation);
            const auto closed = b.take<RunClosed>(*b.member);
            REQUIRE(closed);
            CHECK(closed->joined);
            CHECK(closed->ending.sentence == "MARK of the cause");
        }
        SECTION(aes ? "its JOIN is on the way (AES)" : "its JOIN is on the way (XChaCha20)") {
            const Said close = close_of_master();
            b.join(Errc::ok, {}, invited->invitation);
            hears(close, "MARK of the cause", true);
        }
        SECTION(aes ? "its JOIN is here (AES)" : "its JOIN is here (XChaCha20)") {
            b.join(Errc::ok, {}, invited->invitation);
            hears(close_of_master(), "MARK of the cause", true);
        }
        SECTION(aes ? "another process by now (AES)" : "another process by now (XChaCha20)") {
            b.join(Errc::ok, {}, invited->invitation);
            b.member_starts(2);
            b.deliver(*b.member, b.open_);  // as the broker invites whoever comes
            REQUIRE(b.take<RunInvited>(*b.member));
            hears(close_of_master(), "MARK of the cause", false);
        }
        SECTION(aes ? "it has not asked for the terms (AES)"
                    : "it has not asked for the terms (XChaCha20)") {
            const Said close = close_of_master();
            b.member_starts(2);
            b.deliver(*b.member, b.open_);  // which it reads when the owner has closed the run
            CHECK_FALSE(b.take<RunInvited>(*b.member));
            hears(close,
                  std::string(meaning_of(Errc::refused)) +
                      "; master had closed the run before member-0 could ask for its terms, and "
                      "the log of master has the cause",
                  false);
        }
        SECTION(aes ? "changed on the way (AES)" : "changed on the way (XChaCha20)") {
            Said close = close_of_master();
            auto decoded = decode_close(close.body);
            REQUIRE(decoded);
            decoded->sealed.begin()->second.back() ^= 1;
            close.body = encode(*decoded);
            hears(close, std::string(meaning_of(Errc::refused)), false);
            CHECK(b.member->link->broken_seals() == 1);
        }
    }
}

TEST_CASE("a refusal is sealed as well") {
    Between b;
    b.open();
    REQUIRE(b.take<RunInvited>(*b.member));
    b.join(Errc::refused, "MARK: column income is not for you");
    const auto joined = b.take<RunJoined>(*b.master);
    REQUIRE(joined);
    CHECK(joined->join.code == Errc::refused);
    CHECK(joined->join.sentence == "MARK: column income is not for you");
    CHECK_FALSE(b.on_wire("MARK"));
}

TEST_CASE("whatever the broker changes of a request, it is not handled, and the asker is told") {
    using Change = std::function<void(Said&)>;
    const std::pair<const char*, Change> changes[] = {
        {"a bit of the body", [](Said& s) { s.body[3] ^= 1; }},
        {"a bit of the tag", [](Said& s) { s.body.back() ^= 0x80; }},
        {"its end", [](Said& s) { s.body.pop_back(), --s.header.body_bytes; }},
        {"all of it", [](Said& s) { s.body.clear(), s.header.body_bytes = 0; }},
        {"its type", [](Said& s) { ++s.header.type; }},
        {"its seal", [](Said& s) { s.header.flags = 0; }},
        {"one of its own, not sealed",
         [](Said& s) {
             s.header.flags = 0;
             s.body = {1, 2, 3};
             s.header.body_bytes = 3;
         }},
    };
    for (const auto& [what, change] : changes) {
        INFO(what);
        Between b;
        b.open();
        REQUIRE(b.take<RunInvited>(*b.member));
        b.join();
        b.change = [&, done = false](Said& said) mutable {
            if (said.header.kind == Kind::request && !done) change(said), done = true;
        };
        b.ask("step 1");
        CHECK_FALSE(b.take<RequestArrived>(*b.member));
        const auto reply = b.take<ReplyArrived>(*b.master);
        REQUIRE(reply);
        CHECK(reply->error.code == Errc::seal_broken);
        CHECK(b.member->link->broken_seals() == 1);
        b.ask("step 2");  // and all goes on
        CHECK(words_in(b.take<RequestArrived>(*b.member)->body) == "step 2");
    }
}

TEST_CASE("whatever the broker changes of a reply, its asker hears of that alone") {
    using Change = std::function<void(Said&)>;
    const std::pair<const char*, Change> changes[] = {
        {"a bit", [](Said& s) { s.body[0] ^= 1; }},
        {"that it is an error", [](Said& s) { s.header.flags |= flag::error; }},
        {"its type", [](Said& s) { s.header.type = 4; }},
        {"its seal", [](Said& s) { s.header.flags = 0; }},
    };
    for (const auto& [what, change] : changes) {
        INFO(what);
        Between b;
        b.open();
        REQUIRE(b.take<RunInvited>(*b.member));
        b.join();
        b.change = [&](Said& said) {
            if (said.header.kind == Kind::reply) change(said);
        };
        const std::uint64_t number = b.ask("step 1");
        REQUIRE(b.take<RequestArrived>(*b.member));
        b.answer(number, "scores");
        const auto reply = b.take<ReplyArrived>(*b.master);
        REQUIRE(reply);
        CHECK(reply->error.code == Errc::seal_broken);
        CHECK(reply->body.empty());
        CHECK(b.master->link->broken_seals() == 1);
    }
}

TEST_CASE("requests that change places, come again or from another run do not count") {
    Between b;
    b.open();
    REQUIRE(b.take<RunInvited>(*b.member));
    b.join();
    // 2 in the place of 1: each opens in its own place alone
    std::vector<Said> held;
    b.change = [&](Said& said) {
        if (said.header.kind != Kind::request) return;
        held.push_back(said);
        said.header.run = RunId{};  // goes nowhere
    };
    b.ask("one");
    b.ask("two");
    b.change = {};
    REQUIRE(held.size() == 2);
    std::swap(held[0].body, held[1].body);
    for (const Said& said : held) b.deliver(*b.member, said);
    CHECK_FALSE(b.take<RequestArrived>(*b.member));
    CHECK(b.member->link->broken_seals() == 2);
    CHECK(b.take<ReplyArrived>(*b.master)->error.code == Errc::seal_broken);
    CHECK(b.take<ReplyArrived>(*b.master)->error.code == Errc::seal_broken);
    // said once more by the broker: handled once
    const std::uint64_t three = b.ask("three");
    const auto said = std::find_if(b.wire.rbegin(), b.wire.rend(),
                                   [](const Said& s) { return s.header.kind == Kind::request; });
    REQUIRE(b.take<RequestArrived>(*b.member));
    const Said again = *said;
    b.deliver(*b.member, again);
    CHECK_FALSE(b.take<RequestArrived>(*b.member));
    b.answer(three, "done");
    CHECK(b.take<ReplyArrived>(*b.master)->error.code == Errc::ok);
    // the next process of the member does not open what the one before was sent
    b.member_starts(2);
    b.open_.header.dst = b.member->id;
    b.deliver(*b.member, b.open_);
    REQUIRE(b.take<RunInvited>(*b.member));
    b.join();
    b.deliver(*b.member, again);
    CHECK_FALSE(b.take<RequestArrived>(*b.member));
}

TEST_CASE("keys of the broker's own are refused by name") {
    const auto with_key_of = [](Said& said, const KeyPair& stranger) {
        auto open = decode_open(said.body);
        REQUIRE(open);
        auto offer = decode_seal_offer(open->extensions.at(seal_extension), open->owner);
        REQUIRE(offer);
        offer->owner.key = stranger.public_key.bytes;
        open->extensions[seal_extension] = encode(*offer);
        said.body = encode(*open);
        said.header.body_bytes = said.body.size();
    };
    const KeyPair stranger = make_key_pair();
    SECTION("where the key is known") {
        Between b;
        b.member_known->keys["master"] = b.master_key.public_key;
        b.change = [&](Said& said) {
            if (said.header.kind == Kind::open) with_key_of(said, stranger);
        };
        b.open();
        CHECK_FALSE(b.take<RunInvited>(*b.member));
        const auto joined = b.take<RunJoined>(*b.master);
        REQUIRE(joined);
        CHECK(joined->join.code == Errc::refused);
        CHECK(joined->join.sentence.find("another key is known for master") == 0);
        CHECK_FALSE(b.on_wire("/etc"));
    }
    SECTION("where it is seen first, nobody has the text that the master did not give") {
        Between b;
        b.change = [&](Said& said) {
            if (said.header.kind == Kind::open) with_key_of(said, stranger);
        };
        b.open("MARK");
        CHECK_FALSE(b.take<RunInvited>(*b.member));  // the answer is not of the stranger's key
        CHECK_FALSE(b.on_wire("MARK"));
    }
    SECTION("at the owner, for a member that it knows") {
        Between b;
        b.master_known->keys["member-0"] = stranger.public_key;
        b.open("MARK");
        CHECK_FALSE(b.take<RunInvited>(*b.member));
        const auto joined = b.take<RunJoined>(*b.master);
        REQUIRE(joined);
        CHECK(joined->join.code == Errc::refused);
        CHECK(joined->join.sentence.find("another key is known for member-0") == 0);
        CHECK_FALSE(b.on_wire("/etc"));
    }
    SECTION("at the owner, in a JOIN: what the CLOSE will say has no path in it") {
        Between b;
        b.open();
        REQUIRE(b.take<RunInvited>(*b.member));
        b.master_known->keys["member-0"] = stranger.public_key;
        b.join();
        const auto joined = b.take<RunJoined>(*b.master);
        REQUIRE(joined);
        CHECK(joined->join.code == Errc::refused);
        CHECK(joined->join.sentence == "another key is known for member-0");
    }
}

TEST_CASE("an OPEN, its text and a JOIN that were changed do not count") {
    SECTION("who else takes part") {
        Between b;
        b.change = [](Said& said) {
            if (said.header.kind != Kind::open) return;
            auto open = decode_open(said.body);
            open->participants.push_back({"member-9", "member", 9});
            said.body = encode(*open);
            said.header.body_bytes = said.body.size();
        };
        b.open();
        CHECK_FALSE(b.take<RunInvited>(*b.member));
        CHECK(b.member->link->broken_seals() == 1);
        CHECK(b.take<RunJoined>(*b.master)->join.code == Errc::seal_broken);
    }
    SECTION("the rank of a JOIN") {
        Between b;
        b.open();
        REQUIRE(b.take<RunInvited>(*b.member));
        b.change = [](Said& said) {
            if (said.header.kind != Kind::join) return;
            auto join = decode_join(said.body);
            join->rank = 5;
            said.body = encode(*join);
            said.header.body_bytes = said.body.size();
        };
        b.join();
        CHECK(b.take<RunJoined>(*b.master)->join.code == Errc::seal_broken);
        CHECK(b.master->link->broken_seals() == 1);
    }
    SECTION("a JOIN without its seal") {
        Between b;
        b.open();
        REQUIRE(b.take<RunInvited>(*b.member));
        b.change = [](Said& said) {
            if (said.header.kind != Kind::join) return;
            auto join = decode_join(said.body);
            join->extensions.clear();
            said.body = encode(*join);
            said.header.body_bytes = said.body.size();
        };
        b.join();
        CHECK(b.take<RunJoined>(*b.master)->join.code == Errc::refused);
    }
}

TEST_CASE("one end that seals and one that does not take part in no run together") {
    for (const bool master_seals : {true, false}) {
        Between b(true, master_seals, !master_seals);
        b.open("MARK");
        CHECK_FALSE(b.take<RunInvited>(*b.member));
        const auto joined = b.take<RunJoined>(*b.master);
        REQUIRE(joined);
        CHECK(joined->join.code == Errc::refused);
        CHECK(joined->join.sentence.find("bus.seal") != std::string::npos);
        if (master_seals) CHECK_FALSE(b.on_wire("MARK"));
    }
}

TEST_CASE("questions between nodes are sealed, and answered to those alone who are known") {
    Between b;
    b.open();
    REQUIRE(b.take<RunInvited>(*b.member));
    b.join();
    b.member_known->keys["master"] = b.master_key.public_key;
    const auto ask = [&](Party& from, Party& of) {
        (void)from.link->query(of.id, b.run, Question::log, Bytes{'M', 'A', 'R', 'K', '1'},
                               b.now + std::chrono::seconds(5), b.now);
        b.turn();
        QueryArrived query;
        while (of.link->next_query(query)) {
            CHECK(words_in(query.body) == "MARK1");
            CHECK(query.asker == "master");
            of.link->answer(query, Bytes{'M', 'A', 'R', 'K', '2'});
            b.turn();
        }
        AnswerArrived answer;
        REQUIRE(from.link->next_answer(answer));
        return answer;
    };
    CHECK(words_in(ask(*b.master, *b.member).body) == "MARK2");
    CHECK(words_in(ask(*b.master, *b.member).body) == "MARK2");
    // the broker says one that it has seen once more
    const auto seen = std::find_if(b.wire.rbegin(), b.wire.rend(), [](const Said& said) {
        return said.header.kind == Kind::query && (said.header.flags & flag::sealed) != 0;
    });
    REQUIRE(seen != b.wire.rend());
    const std::uint64_t broken = b.member->link->broken_seals();
    b.deliver(*b.member, Said(*seen));
    QueryArrived again;
    CHECK_FALSE(b.member->link->next_query(again));
    CHECK(b.member->link->broken_seals() == broken + 1);
    b.turn();
    CHECK(words_in(ask(*b.master, *b.member).body) == "MARK2");
    // another process of the member: asked for its keys again
    b.member_starts(2);
    CHECK(words_in(ask(*b.master, *b.member).body) == "MARK2");
    // and again, but asked twice by then, as the connection broke meanwhile: of both an error comes
    b.member_starts(3);
    bool forgotten = false;
    b.change = [&](Said& said) {
        if (said.header.kind != Kind::query || (said.header.flags & flag::sealed) == 0) return;
        if (!std::exchange(forgotten, true)) b.forget(*b.master);
    };
    CHECK(words_in(ask(*b.master, *b.member).body) == "MARK2");
    b.change = {};
    // an answer that was changed
    b.change = [](Said& said) {
        if (said.header.kind == Kind::answer && (said.header.flags & flag::sealed) != 0)
            said.body.back() ^= 1;
    };
    CHECK(ask(*b.master, *b.member).error.code == Errc::seal_broken);
    b.change = {};
    // one that is said to be of the broker, or not sealed
    b.change = [](Said& said) {
        if (said.header.kind != Kind::answer || (said.header.flags & flag::sealed) == 0) return;
        said.header.flags = 0;
        said.body = {'e', 'v', 'i', 'l'};
        said.header.body_bytes = 4;
    };
    CHECK(ask(*b.master, *b.member).error.code == Errc::seal_broken);
    b.change = {};
    // who is not known gets nothing
    b.member_known->keys.erase("master");
    const AnswerArrived none = ask(*b.master, *b.member);
    CHECK(none.error.code == Errc::refused);
    CHECK(none.error.sentence.find("is not known") != std::string::npos);
    CHECK_FALSE(b.on_wire("MARK"));
}

TEST_CASE("a JOIN to an earlier process of the owner, in the same term, declines") {
    Between b;
    b.open();
    REQUIRE(b.take<RunInvited>(*b.member));
    b.join();
    REQUIRE(b.take<RunJoined>(*b.master)->join.code == Errc::ok);
    const auto said = std::ranges::find_if(
        b.wire, [](const Said& frame) { return frame.header.kind == Kind::join; });
    REQUIRE(said != b.wire.end());
    const Said kept = *said;  // as the broker keeps it for an owner that comes back

    b.master = std::make_unique<Party>("master", b.master_key, b.master_known, true, 2, true);
    b.master->link->start(b.now);
    b.turn();
    // the member has heard nothing of the earlier process, so it answers as before
    b.change = [&](Said& frame) {
        if (frame.header.kind == Kind::open) frame.header.term = 2;  // not invited again
    };
    b.open();
    b.deliver(*b.master, kept);
    const auto joined = b.take<RunJoined>(*b.master);
    REQUIRE(joined);
    CHECK(joined->join.code == Errc::stale_term);
    CHECK(joined->join.sentence.find("--resume " + b.run.hex()) != std::string::npos);
    CHECK(b.master->link->broken_seals() == 0);
}

TEST_CASE("a process that is back after another one had its name joins anew") {
    Between b;
    const RunInvited first = b.open_and_join();
    const Said kept = *std::ranges::find_if(b.wire, is_join);
    const auto is_up = [&](std::uint64_t incarnation) {
        Said said;
        said.header.kind = Kind::peer_up;
        said.header.run = b.run;
        said.header.term = 3;
        said.header.aux = b.member->id.value;
        said.body = encode(PeerUp{"member-0", "member", 0, incarnation});
        b.deliver(*b.master, said);
    };
    is_up(2);  // another process: the keys of the first one are forgotten
    is_up(1);
    b.deliver(*b.master, kept);
    b.deliver(*b.master, kept);  // asked twice, it joins once
    b.turn();
    const auto closed = b.take<RunClosed>(*b.member);
    REQUIRE(closed);
    CHECK(closed->joined);
    CHECK(closed->invitation == first.invitation);
    const auto second = b.take<RunInvited>(*b.member);
    REQUIRE(second);
    CHECK(second->invitation != first.invitation);
    CHECK(second->open.agreed == "the agreed text");
    CHECK_FALSE(b.take<RunClosed>(*b.member));

    b.join(Errc::ok, {}, second->invitation);
    CHECK(std::ranges::count_if(b.wire, is_join) == 2);
    const std::uint64_t number = b.ask("what it hears");
    const auto request = b.take<RequestArrived>(*b.member);
    REQUIRE(request);
    CHECK(words_in(request->body) == "what it hears");
    b.answer(number, "what it says");
    const auto reply = b.take<ReplyArrived>(*b.master);
    REQUIRE(reply);
    CHECK(reply->number == number);
    CHECK(words_in(reply->body) == "what it says");
    CHECK(b.master->link->broken_seals() == 0);
    CHECK(b.member->link->broken_seals() == 0);

    // not by others than its owner
    Said query;
    query.header.kind = Kind::query;
    query.header.run = b.run;
    query.header.src = node_id_of("rival");
    query.header.dst = b.member->id;
    query.header.type = static_cast<std::uint16_t>(Question::join_again);
    query.body = encode_join_again(2);
    b.deliver(*b.member, query);
    CHECK_FALSE(b.take<RunClosed>(*b.member));
}

// Both have the same incarnation, as with a copied directory, and the broker was gone meanwhile.
TEST_CASE("a process that is back joins anew also where its owner has the keys of another one") {
    Between b;
    b.open_and_join();
    const Said kept = *std::ranges::find_if(b.wire, is_join);

    auto one = std::move(b.member);
    b.member_starts(1);
    b.deliver(*b.member, b.open_);
    const auto invited = b.take<RunInvited>(*b.member);
    REQUIRE(invited);
    b.join(Errc::ok, {}, invited->invitation);
    REQUIRE(b.take<RunJoined>(*b.master));
    const std::uint64_t lost = b.ask("for the second process");
    REQUIRE(b.take<RequestArrived>(*b.member));

    b.member = std::move(one);
    b.deliver(*b.master, kept);
    b.deliver(*b.master, kept);
    const auto failed = b.take<ReplyArrived>(*b.master);
    REQUIRE(failed);
    CHECK(failed->number == lost);
    CHECK(failed->error.code == Errc::peer_restarted);
    const auto second = b.take<RunInvited>(*b.member);
    REQUIRE(second);
    b.join(Errc::ok, {}, second->invitation);
    const std::uint64_t number = b.ask("what it hears");
    const auto request = b.take<RequestArrived>(*b.member);
    REQUIRE(request);
    CHECK(words_in(request->body) == "what it hears");
    b.answer(number, "what it says");
    const auto reply = b.take<ReplyArrived>(*b.master);
    REQUIRE(reply);
    CHECK(words_in(reply->body) == "what it says");
    CHECK(b.member->link->broken_seals() == 0);
}

TEST_CASE("nobody is met, nor told anything, who does not take part") {
    Between b;
    const KeyPair stranger = make_key_pair();
    SealParty eve{"eve", "eve", stranger.public_key.bytes, make_key_pair().public_key.bytes};
    const auto opening = [&] {
        const auto open = decode_open(b.open_.body);
        REQUIRE(open);
        return decode_seal_offer(open->extensions.at(seal_extension), "master")->opening;
    };
    const auto asks = [&](const SealParty& who) {
        Said said;
        said.header.kind = Kind::query;
        said.header.run = b.run;
        said.header.src = node_id_of(who.name);
        said.header.dst = b.master->id;
        said.header.request = 77;
        said.header.type = static_cast<std::uint16_t>(Question::terms);
        said.body = encode(TermsQuery{who, 2, 3, opening()});
        b.deliver(*b.master, said);
        REQUIRE_FALSE(b.master->end.sent.empty());
        const Said answer = b.master->end.sent.back();
        b.master->end.sent.clear();
        CHECK(answer.header.request == 77);
        CHECK(answer.header.dst == node_id_of(who.name));
        return (answer.header.flags & flag::sealed) != 0;
    };
    SECTION("of a run with names") {
        b.open();
        CHECK_FALSE(asks(eve));
        // the broker says that she is there
        Said up;
        up.header.kind = Kind::peer_up;
        up.header.run = b.run;
        up.header.term = 3;
        up.header.aux = node_id_of("eve").value;
        up.body = encode(PeerUp{"eve", "member", 1, 1});
        b.deliver(*b.master, up);
        CHECK_FALSE(asks(eve));
        CHECK(b.master_known->first_seen == std::vector<std::string>{"member-0"});
        // whom the run names is answered
        SealParty named = eve;
        named.name = named.key_name = "member-0";
        named.key = b.member_key.public_key.bytes;
        CHECK(asks(named));
    }
    SECTION("of a run for everybody") {
        b.master->link->open_run(b.run, 3, Open{"master", {any_node}, "text", {}}, b.now);
        b.turn();
        CHECK(asks(eve));
    }
    SECTION("with a JOIN") {
        b.open();
        Said said;
        said.header.kind = Kind::join;
        said.header.run = b.run;
        said.header.term = 3;
        said.header.src = node_id_of("eve");
        said.header.dst = b.master->id;
        Join join = b.member->link->own_join();
        join.name = "eve";
        join.extensions[seal_extension] = encode(SealAccept{eve, 2, opening(), 1, Bytes(40)});
        said.body = encode(join);
        b.deliver(*b.master, said);
        CHECK_FALSE(b.take<RunJoined>(*b.master));
        CHECK(b.master_known->first_seen == std::vector<std::string>{"member-0"});
        CHECK(b.master->link->broken_seals() == 1);
    }
    SECTION("at a node that an OPEN does not name") {
        b.change = [](Said& said) {
            if (said.header.kind != Kind::open) return;
            auto open = decode_open(said.body);
            open->participants[0].name = "member-9";
            said.body = encode(*open);
            said.header.body_bytes = said.body.size();
        };
        b.open();
        CHECK_FALSE(b.take<RunInvited>(*b.member));
        CHECK(b.member_known->first_seen.empty());
        CHECK(b.take<RunJoined>(*b.master)->join.code == Errc::refused);
    }
}

TEST_CASE("a node is held against its own name too, whatever it says that its key is called") {
    auto known = std::make_shared<Known>();
    auto config = std::make_shared<SealConfig>();
    config->key_name = "master";
    config->own = make_key_pair();
    config->parties = known;
    const LinkSeal seal(config, "master");
    const KeyPair right = make_key_pair();
    const KeyPair wrong = make_key_pair();
    const std::string name = "node-00000001";
    known->keys[name] = right.public_key;
    const auto shows = [&](const std::string& key_name, const KeyPair& key) {
        return SealParty{name, key_name, key.public_key.bytes, {}};
    };
    const NodeId node = node_id_of(name);
    CHECK(seal.meet(shows(name, right), node));
    CHECK_FALSE(seal.meet(shows(name, wrong), node));
    CHECK_FALSE(seal.meet(shows("node", wrong), node));  // a name that nobody has met
    CHECK(known->first_seen.empty());
    CHECK(seal.meet(shows("node", right), node));
    CHECK(known->first_seen == std::vector<std::string>{"node"});
}
