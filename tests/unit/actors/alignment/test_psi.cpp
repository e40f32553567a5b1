// Private set intersection as an alignment: the same rows and the same model as with hashes,
// nothing in a message that a hash of an id would be found in, and a member that refuses what the
// protocol does not ask for.

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "actors/alignment/psi_member.hpp"
#include "catch.hpp"
#include "outcome.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;
using privacy::psi::Marks;
using privacy::psi::Point;
using privacy::psi::Tag;

namespace {

World world_of(std::size_t members, std::size_t rows = 130) {
    World world;
    world.members = members;
    world.rows = rows;
    world.features = 2;
    return world;
}

/// Events until the end of the run; -1 never: no event is the one before which `fault` comes.
std::size_t play_with(Play& play, std::size_t at, const std::function<void()>& fault) {
    std::size_t events = 0;
    play.set();
    play.harness->before_event = [&](std::size_t n) {
        events = n;
        if (n == at) fault();
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
    return events;
}

}  // namespace

TEST_CASE("psi comes to the model of hashed, bit for bit") {
    const std::size_t members = GENERATE(1, 2, 3);
    const bool doubled = GENERATE(false, true);
    const std::uint64_t size = GENERATE(0, 40);
    CAPTURE(members, doubled, size);
    std::vector<Outcome> outcomes;
    for (const config::Alignment way : {config::Alignment::hashed, config::Alignment::psi}) {
        Play play(world_of(members));
        play.config.data.alignment = way;
        play.config.data.dataset_size = size;
        if (doubled) double_rows(play, 2);
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        outcomes.emplace_back(play);
    }
    CHECK(outcomes[0] == outcomes[1]);
}

TEST_CASE("test tables are intersected as well, and have other secrets") {
    std::vector<Outcome> outcomes;
    std::set<Bytes> seen;
    for (const config::Alignment way : {config::Alignment::hashed, config::Alignment::psi}) {
        Play play(world_of(2));
        play.config.data.alignment = way;
        play.config.data.test_fraction = 0;
        for (std::size_t p = 0; p <= 2; ++p) {
            std::vector<std::size_t> people;  // the same at all: some of training, too
            for (std::size_t row = 100 + p; row < 160; ++row) people.push_back(row);
            play.tables[p][TableKind::test] =
                std::make_shared<data::Table>(play.world.table(p, people));
        }
        play.set();
        std::map<std::size_t, bool> own;  // asked for the member's own list
        play.harness->on_request = [&](std::size_t member, Message& request) {
            if (const auto take = decode_psi_take(request.content))
                own[member] = take->list == member + 1;
            return true;
        };
        play.harness->on_reply_hook = [&](std::size_t member, Message& reply) {
            if (reply.metadata.message_type != message::psi_take || !own[member]) return true;
            for (auto at = reply.content.end(); at - reply.content.begin() >= 32; at -= 32)
                CHECK(seen.emplace(at - 32, at).second);
            return true;
        };
        REQUIRE(play.play().code == Errc::ok);
        outcomes.emplace_back(play);
    }
    CHECK(outcomes[0] == outcomes[1]);
    CHECK(seen.size() > 100);
}

TEST_CASE("no message of psi holds the hash of an id") {
    Play play(world_of(2, 60));
    play.config.data.alignment = config::Alignment::psi;
    std::vector<Bytes> bodies;
    play.set();
    const auto note = [&](std::size_t, Message& message) {
        bodies.push_back(message.content);
        return true;
    };
    play.harness->on_request = note;
    play.harness->on_reply_hook = note;
    REQUIRE(play.play().code == Errc::ok);
    REQUIRE(bodies.size() > 10);
    for (std::size_t row = 0; row < 60; ++row) {
        const Hash128 id = hash128("u" + std::to_string(row), play.config.data.id_salt);
        for (const Bytes& body : bodies)
            CHECK(std::search(body.begin(), body.end(), id.begin(), id.begin() + 8) == body.end());
    }
}

TEST_CASE("too few common ids: the run fails and no list goes back") {
    Play play(world_of(2, 60));
    play.config.data.alignment = config::Alignment::psi;
    play.config.data.common_min = 50;
    bool undone = false;
    play.set();
    play.harness->on_request = [&](std::size_t, Message& request) {
        undone |= request.metadata.message_type == message::psi_undo ||
                  request.metadata.message_type == message::psi_common;
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find("fewer than data.common_min (50): nobody has learnt which") !=
          std::string::npos);
    CHECK_FALSE(undone);
}

TEST_CASE("a run that is killed within an intersection comes to the same model") {
    const auto play_one = [](std::size_t at, int victim) {
        Play play(world_of(2, 60));
        play.config.data.alignment = config::Alignment::psi;
        play.config.model.epochs = 1;
        const std::size_t events = play_with(play, at, [&] {
            if (victim < 0)
                play.resume_master();
            else
                play.restart_member(static_cast<std::size_t>(victim));
        });
        return std::pair(Outcome(play), events);
    };
    const auto [whole, events] = play_one(SIZE_MAX, 0);
    // an intersection of two members has some thirty events, and the run some ten before it
    REQUIRE(events > 40);
    for (std::size_t at = 6; at < std::min<std::size_t>(events, 50); at += 3)
        for (const int victim : {-1, 0, 1}) {
            CAPTURE(at, victim);
            CHECK(play_one(at, victim).first == whole);
        }
}

// -- a member among strangers --------------------------------------------------------------

namespace {

/// A member with 20 ids in a ring of two, and a master of the test's own.
struct Duel {
    Duel() : world(world_of(1, 24)), party({}, world.config(), source()) {
        REQUIRE(member.begin(party, TableKind::train, random_bytes));
        size = party.local(TableKind::train).ids.size();
        list = std::make_unique<privacy::psi::OwnList>(party.local(TableKind::train).ids);
    }
    /// A master that has only `common` of the member's ids, and others in place of the rest.
    explicit Duel(std::size_t common) : Duel() {
        std::vector<Hash128> ids = party.local(TableKind::train).ids;
        for (std::size_t i = common; i < ids.size(); ++i)
            ids[i] = hash128("a stranger " + std::to_string(i));
        list = std::make_unique<privacy::psi::OwnList>(std::move(ids));
    }
    TableSource source() {
        return [this](TableKind kind) -> Result<TablePtr> {
            if (kind != TableKind::train) return TablePtr{};
            return std::make_shared<data::Table>(world.table(1, world.order(1, 1)));
        };
    }
    Result<Bytes> give(std::uint64_t total, std::uint64_t first, std::uint64_t count) {
        const std::vector<Point> points = list->points(first, count);
        return member.give({TableKind::train,
                            0,
                            total,
                            {reinterpret_cast<const std::uint8_t*>(points.data()),
                             points.size() * sizeof(Point)}});
    }
    /// Both lists have passed, and the master has the tags of the member's.
    void pass() {
        const auto own = member.take({TableKind::train, 1, 0, size});
        REQUIRE(own);
        privacy::psi::PassingList passing;
        REQUIRE(passing.take(list->secret(), decode_points(*own, size).value()));
        REQUIRE(passing.close());
        tags = passing.tags(0, size);
        REQUIRE(give(size, 0, size));
    }
    /// The member hears this digest of the master's tags.
    Result<Bytes> tell(const Hash256& of_the_master) {
        auto digest = member.digest(TableKind::train);
        if (!digest) return digest;
        const Hash256 digests[] = {decode_digest(*digest).value(), of_the_master};
        return member.digests(
            {TableKind::train, {reinterpret_cast<const std::uint8_t*>(digests), sizeof digests}});
    }
    /// The tags of the master's list, which ends at the member.
    Result<Bytes> ask() { return member.take({TableKind::train, 0, 0, size}); }
    Result<Bytes> show(const std::vector<Tag>& which, std::uint64_t of = 1) {
        return member.tags(
            {TableKind::train,
             of,
             {reinterpret_cast<const std::uint8_t*>(which.data()), which.size() * sizeof(Tag)}});
    }
    /// Everything up to the marks.
    void pass_and_show() {
        pass();
        REQUIRE(tell(digest_of_tags(tags)));
        REQUIRE(ask());
        REQUIRE(show(tags));
    }
    [[nodiscard]] Marks marks(std::size_t common) const {
        Marks marks(privacy::psi::marks_bytes(size), 0);
        for (std::size_t i = 0; i < common; ++i)
            marks[i / 8] |= static_cast<std::uint8_t>(1U << (i % 8));
        return marks;
    }

    World world;
    Party party;
    PsiMember member{1, 2, 10};
    std::size_t size = 0;
    std::unique_ptr<privacy::psi::OwnList> list;
    std::vector<Tag> tags;  ///< of the member's list, which ends at the master
};

void check_refused(const Result<Bytes>& answer, std::string_view why) {
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::malformed_message);
    INFO(answer.error().sentence);
    CHECK(answer.error().sentence.find(why) != std::string::npos);
}

}  // namespace

TEST_CASE("a member takes lists in order, and no more than was said") {
    Duel duel;
    REQUIRE(duel.size > 15);
    check_refused(duel.member.take({TableKind::train, 1, 1, 2}), "another order");
    check_refused(duel.member.take({TableKind::train, 1, 0, duel.size + 1}), "another order");
    check_refused(duel.member.take({TableKind::test, 1, 0, 1}), "no list of this table");
    check_refused(duel.member.take({TableKind::train, 2, 0, 1}), "no such list");
    check_refused(duel.member.take({TableKind::train, 0, 0, 1}), "has not come");
    check_refused(duel.give(9, 0, 9), "data.common_min");
    REQUIRE(duel.give(12, 0, 8));
    check_refused(duel.give(13, 8, 1), "more points than it said");
    check_refused(duel.give(12, 8, 5), "more points than it said");
    check_refused(duel.member.take({TableKind::train, 0, 0, 1}), "has not come");
    REQUIRE(duel.give(12, 8, 4));
    check_refused(duel.give(12, 12, 1), "more points than it said");
    check_refused(duel.member.take({TableKind::train, 0, 0, 5}), "before the digests");
    REQUIRE(duel.tell({}));
    REQUIRE(duel.member.take({TableKind::train, 0, 0, 5}));
    check_refused(duel.member.take({TableKind::train, 0, 0, 5}), "another order");
}

TEST_CASE("a member undoes nothing before all lists have passed, below the minimum, or twice") {
    Duel duel;  // all ids of both are common
    const Marks all = duel.marks(duel.size);
    check_refused(duel.member.undo({TableKind::train, 0, all}), "not all lists have passed");
    duel.pass();
    REQUIRE(duel.tell(digest_of_tags(duel.tags)));
    REQUIRE(duel.ask());
    check_refused(duel.member.undo({TableKind::train, 0, all}), "has not seen the tags");
    REQUIRE(duel.show(duel.tags));
    check_refused(duel.member.undo({TableKind::train, 0, duel.marks(9)}),
                  "fewer than data.common_min");
    check_refused(duel.member.undo({TableKind::train, 0, duel.marks(duel.size - 1)}),
                  "another number of ids");
    check_refused(duel.member.undo({TableKind::train, 1, all}), "no such list");
    CHECK_FALSE(duel.member.revealed(TableKind::train));
    REQUIRE(duel.member.undo({TableKind::train, 0, all}));
    CHECK(duel.member.revealed(TableKind::train));
    check_refused(duel.member.undo({TableKind::train, 0, all}), "twice");
    PsiCommonRequest common;
    const Marks fewer = duel.marks(duel.size - 1);
    common.marks = fewer;
    check_refused(duel.member.common(duel.party, common), "another number of ids");
    // the digest of a set that the master cannot know: one answer, and it says nothing
    common.marks = all;
    check_refused(duel.member.common(duel.party, common), "not those that the master has");
    check_refused(duel.member.common(duel.party, common), "no list of this table");
    CHECK_FALSE(duel.member.done(TableKind::train));
}

TEST_CASE("a master with fewer common ids than the minimum learns none by marking others") {
    constexpr std::size_t few = 3;
    // honest about its tags: the member counts for itself
    Duel duel(few);
    duel.pass();
    REQUIRE(duel.tell(digest_of_tags(duel.tags)));
    REQUIRE(duel.ask());
    check_refused(duel.show(duel.tags), "fewer than data.common_min");
    const Marks others = duel.marks(duel.size - few);
    check_refused(duel.member.undo({TableKind::train, 0, others}), "has not seen the tags");

    // tags chosen by those of its own list, which it sees only after it has told a digest
    Duel late(few);
    late.pass();
    check_refused(late.ask(), "before the digests");
    check_refused(late.show(late.tags), "before their digests");
    REQUIRE(late.tell(digest_of_tags(late.tags)));
    const std::vector<Tag> own = decode_tags(late.ask().value(), late.size).value();
    std::vector<Tag> chosen;
    std::ranges::set_difference(own, late.tags, std::back_inserter(chosen));
    REQUIRE(chosen.size() == late.size - few);
    chosen.insert(chosen.end(), few, Tag{});
    std::ranges::sort(chosen);
    for (std::size_t i = 0; i < few; ++i) chosen[i][15] = static_cast<std::uint8_t>(i);
    check_refused(late.show(chosen), "not those whose digest was told");

    // and with enough in common, no others than those
    Duel enough(15);
    enough.pass_and_show();
    check_refused(enough.member.undo({TableKind::train, 0, enough.marks(15)}), "other places");
    CHECK(enough.member.revealed(TableKind::train));
}

TEST_CASE("a member refuses digests and tags that it has not asked for, or that do not fit") {
    Duel duel;
    check_refused(duel.member.digest(TableKind::train), "has not come");
    check_refused(duel.member.digest(TableKind::test), "no list of this table");
    duel.pass();
    const Bytes two(64, 1);
    check_refused(duel.member.digests({TableKind::train, two}), "before its own");
    REQUIRE(duel.member.digest(TableKind::train));
    check_refused(duel.member.digest(TableKind::train), "twice");
    check_refused(duel.member.digests({TableKind::train, Body(two).first(32)}), "as many digests");
    check_refused(duel.member.digests({TableKind::train, two}), "another digest");
    Duel other;
    other.pass();
    REQUIRE(other.tell(digest_of_tags(other.tags)));
    check_refused(other.show(other.tags, 0), "no tags of such a list");
    check_refused(other.show(other.tags, 2), "no tags of such a list");
    std::vector<Tag> tags = other.tags;
    std::swap(tags[0], tags[1]);
    check_refused(other.show(tags), "not ascending");
    tags = other.tags;
    tags.emplace_back().fill(255);
    check_refused(other.show(tags), "more tags than points");
}

TEST_CASE("a member refuses points that are none, and a list with a point twice") {
    Duel duel;
    Bytes zero(32 * 12, 0);
    check_refused(duel.member.give({TableKind::train, 0, 12, zero}), "low order");
    Duel other;
    const std::vector<Point> points = other.list->points(0, 11);
    Bytes twice(32 * 12);
    std::memcpy(twice.data(), points.data(), 32 * 11);
    std::memcpy(twice.data() + 32 * 11, points.data(), 32);
    check_refused(other.member.give({TableKind::train, 0, 12, twice}), "twice");
}

TEST_CASE("changed messages are answered or refused") {
    Rng rng(3);
    std::size_t refused = 0;
    for (int round = 0; round < 60; ++round) {
        Duel duel;
        if (round % 2 == 0) duel.pass_and_show();
        const Marks all = duel.marks(duel.size);
        const std::vector<Point> points = duel.list->points(0, 2);
        const Body some{points[0].data(), 2 * sizeof(Point)};
        const Bytes bodies[] = {encode(PsiTakeRequest{TableKind::train, 1, 0, 3}),
                                encode(PsiGiveRequest{TableKind::train, 0, 12, some}),
                                encode(PsiUndoRequest{TableKind::train, 0, all}),
                                encode(PsiCommonRequest{TableKind::train, all, {}})};
        for (int change = 0; change < 20; ++change)
            for (Bytes body : bodies) {
                body[rng.below(body.size())] = static_cast<std::uint8_t>(rng.below(256));
                if (rng.below(4) == 0) body.resize(rng.below(body.size()));
                const auto take = decode_psi_take(body);
                const auto give = decode_psi_give(body);
                const auto undo = decode_psi_undo(body);
                const auto common = decode_psi_common(body);
                if (take && !duel.member.take(*take)) ++refused;
                if (give && !duel.member.give(*give)) ++refused;
                if (undo && !duel.member.undo(*undo)) ++refused;
                if (common && !duel.member.common(duel.party, *common)) ++refused;
            }
    }
    CHECK(refused > 100);
}

TEST_CASE("with psi a member sends no hashes, and with hashed no points") {
    for (const config::Alignment way : {config::Alignment::hashed, config::Alignment::psi}) {
        Play play(world_of(1, 60));
        play.config.data.alignment = way;
        play.set();
        bool asked = false;
        play.harness->before_event = [&](std::size_t) {
            if (asked || play.phases.empty() || play.phases.back() != Phase::aligning) return;
            asked = true;
            AlignRequest align;
            const bool psi = way == config::Alignment::psi;
            const auto answer =
                play.harness->ask(0, psi ? message::align : message::psi_begin, encode(align));
            REQUIRE_FALSE(answer);
            CHECK(answer.error().sentence.find(psi ? "cannot take align"
                                                   : "cannot take psi_begin") != std::string::npos);
        };
        REQUIRE(play.play().code == Errc::ok);
        CHECK(asked);
    }
}
