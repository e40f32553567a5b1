// Several trainings over one alignment: the models are those of trainings that align for
// themselves, bit for bit, and a member goes on from what it has kept only where everything is as
// it was.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "actors/alignment/kept_alignment.hpp"
#include "actors/alignment/shared_alignment.hpp"
#include "catch.hpp"
#include "outcome.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

RunId id_of(std::uint8_t byte) {
    RunId id;
    id.bytes[0] = byte;
    return id;
}

World small_world() {
    World world;
    world.rows = 130;
    world.features = 2;
    return world;
}

/// Members that serve one run after another, and what each run has asked them for.
struct Search {
    explicit Search(const World& world, policy::Judge* judge = nullptr) : play(world) {
        play.judge = judge;
        for (std::size_t rank = 0; rank < world.members; ++rank) apps.push_back(play.member(rank));
    }

    /// One training with the same members.
    Ending train(std::uint8_t number) {
        play.run = id_of(number);
        auto options = play.master_options();
        options.alignment = shared;
        auto made = make_train_master(std::move(options));
        REQUIRE(made);
        Harness& harness = play.set(std::move(*made));
        for (std::size_t rank = 0; rank < apps.size(); ++rank)
            harness.serve(rank, ClientApp(apps[rank]));
        asked.clear();
        harness.on_request = [this](std::size_t, Message& request) {
            ++asked[request.metadata.message_type];
            return !on_request || on_request(request);
        };
        if (before_event) harness.before_event = before_event;
        return play.play();
    }
    bool aligned_anew() { return asked[message::align] + asked[message::psi_begin] != 0; }

    Play play;
    std::vector<ClientApp> apps;
    std::shared_ptr<SharedAlignment> shared =
        std::make_shared<SharedAlignment>(id_of(0x77), std::set<RunId>{});
    std::map<MessageType, int> asked;
    std::function<bool(const Message&)> on_request;
    std::function<void(std::size_t)> before_event;
};

/// The training that aligns for itself.
std::vector<std::string> alone(const Search& search, std::uint8_t number) {
    Play play(search.play.world);
    play.config = search.play.config;
    play.tables = search.play.tables;
    play.run = id_of(number);
    REQUIRE(play.play().code == Errc::ok);
    return play.files();
}

}  // namespace

TEST_CASE("a run goes on from the alignment that one before it has made") {
    Search search(small_world());
    const int which = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(which);
    if (which == 1) search.play.config.data.alignment = config::Alignment::psi;
    if (which == 2) search.play.config.data.join = config::Join::left;
    if (which == 3) double_rows(search.play, 1);
    if (which == 4) search.play.config.data.dataset_size = 60;
    REQUIRE(search.train(1).code == Errc::ok);
    CHECK(search.aligned_anew());
    CHECK(search.play.files() == alone(search, 1));
    // what is done with the rows may be something else
    search.play.config.model.learning_rate = 0.1;
    search.play.config.data.standardize = false;
    search.play.config.data.test_fraction = 0.3;
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK_FALSE(search.aligned_anew());
    CHECK(search.asked[message::select] == 0);
    CHECK(search.asked[message::recall] == 4);
    CHECK(search.play.files() == alone(search, 2));
    CHECK(search.play.master->report().rows_common > 0);
    CHECK(search.play.master->report().parties[1].rows_matched > 0);
}

TEST_CASE("test tables are kept beside training tables") {
    Search search(small_world());
    search.play.config.data.test_fraction = 0;
    for (std::size_t p = 0; p <= search.play.world.members; ++p)
        search.play.tables[p][TableKind::test] = std::make_shared<data::Table>(
            search.play.world.table(p, search.play.world.order(p, 9)));
    REQUIRE(search.train(1).code == Errc::ok);
    const auto test = search.play.master->report().test;
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK_FALSE(search.aligned_anew());
    CHECK(search.play.master->report().test == test);
    CHECK(search.play.files() == alone(search, 2));
    // one that wants test rows twice is refused as ever
    search.play.config.data.test_fraction = 0.2;
    CHECK(search.train(3).code == Errc::bad_config);
}

TEST_CASE("where a member has kept nothing, or other words were agreed, all align anew") {
    Search search(small_world());
    REQUIRE(search.train(1).code == Errc::ok);
    SECTION("the member's process is another one") {
        search.apps[1] = search.play.member(1);
    }
    SECTION("other rows are wanted") {
        search.play.config.data.dataset_size = 50;
    }
    SECTION("ids are hashed under another salt") {
        search.play.config.data.id_salt = "another";
    }
    SECTION("another search") {
        search.shared = std::make_shared<SharedAlignment>(id_of(0x78), std::set<RunId>{});
    }
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK(search.aligned_anew());
    CHECK(search.play.files() == alone(search, 2));
    // and that one is kept
    REQUIRE(search.train(3).code == Errc::ok);
    CHECK_FALSE(search.aligned_anew());
    CHECK(search.play.files() == alone(search, 3));
}

TEST_CASE("a member that dies within a run aligns anew with all others, to the same model") {
    Search search(small_world());
    REQUIRE(search.train(1).code == Errc::ok);
    const std::size_t at = GENERATE(5, 20, 40, 60);
    CAPTURE(at);
    search.before_event = [&](std::size_t n) {
        if (n == at) search.play.restart_member(1);
    };
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK(search.aligned_anew());
    CHECK(search.play.files() == alone(search, 2));
}

TEST_CASE("the last run of a search tells the members to forget") {
    Search search(small_world());
    const std::set<RunId> runs{id_of(1), id_of(2)};
    search.shared = std::make_shared<SharedAlignment>(id_of(0x79), runs);
    REQUIRE(search.train(1).code == Errc::ok);
    CHECK(search.asked[message::forget] == 0);
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK_FALSE(search.aligned_anew());
    CHECK(search.asked[message::forget] == 2);
    // what is asked for later has to be made again
    REQUIRE(search.train(3).code == Errc::ok);
    CHECK(search.aligned_anew());
    CHECK(search.asked[message::forget] == 0);
    // a run that has failed is none that is waited for
    SharedAlignment other(id_of(1), runs);
    other.ended(id_of(1), false);
    CHECK(other.is_last(id_of(2)));
    CHECK_FALSE(other.is_last(id_of(2)));
}

TEST_CASE("a policy is asked about the rows and columns of a kept alignment as of new ones") {
    struct Counts final : LetsAllIn {
        Result<> columns(const RunId&, const std::string&, std::span<const std::string> names,
                         std::uint64_t) override {
            columns_asked += names.size();
            return {};
        }
        Result<> rows(const RunId&, std::uint64_t people) override {
            rows_asked.push_back(people);
            if (refuses) return fail(Errc::refused, "too few rows");
            return {};
        }
        std::size_t columns_asked = 0;
        std::vector<std::uint64_t> rows_asked;
        bool refuses = false;
    } judge;
    Search search(small_world(), &judge);
    REQUIRE(search.train(1).code == Errc::ok);
    REQUIRE(judge.rows_asked.size() == 2);
    const std::size_t columns = judge.columns_asked;
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK_FALSE(search.aligned_anew());
    CHECK(judge.columns_asked == 2 * columns);
    REQUIRE(judge.rows_asked.size() == 4);
    CHECK(judge.rows_asked[3] == judge.rows_asked[0]);
    judge.refuses = true;
    CHECK(search.train(3).code == Errc::refused);
}

TEST_CASE("an alignment is recalled where it has a name and before anything is aligned") {
    World world = small_world();
    Search search(world);
    int at_align = 0;
    SECTION("not in a run without one") {
        search.shared = nullptr;
        search.on_request = [&](const Message& request) {
            if (request.metadata.message_type != message::begin) return true;
            const auto answer = search.play.harness->ask(
                0, message::recall, encode(RecallRequest{true, {id_of(1), 1}}));
            CHECK(answer.error().code == Errc::handler_failed);
            return true;
        };
    }
    SECTION("not of a run in which nothing was kept, nor behind select") {
        search.on_request = [&](const Message& request) {
            const MessageType type = request.metadata.message_type;
            if (type != message::align && type != message::begin) return true;
            if (type == message::align && at_align++ != 0) return true;
            const auto answer = search.play.harness->ask(
                0, message::recall, encode(RecallRequest{true, {id_of(1), 1}}));
            REQUIRE_FALSE(answer);
            CHECK(answer.error().code == Errc::handler_failed);
            return true;
        };
    }
    REQUIRE(search.train(1).code == Errc::ok);
    CHECK(search.play.files() == alone(search, 1));
}

TEST_CASE("nothing is recalled once the ids of any table are on their way") {
    Search search(small_world());
    search.play.config.data.alignment = config::Alignment::psi;
    search.play.config.data.test_fraction = 0;
    for (std::size_t p = 0; p <= search.play.world.members; ++p)
        search.play.tables[p][TableKind::test] = std::make_shared<data::Table>(
            search.play.world.table(p, search.play.world.order(p, 9)));
    REQUIRE(search.train(1).code == Errc::ok);
    // the second run aligns anew, as the owner asks for its kept alignment too late
    search.shared = std::make_shared<SharedAlignment>(id_of(0x77), std::set<RunId>{});
    bool asked = false;
    search.on_request = [&](const Message& request) {
        if (request.metadata.message_type != message::psi_take || asked) return true;
        asked = true;
        const auto answer = search.play.harness->ask(0, message::recall,
                                                     encode(RecallRequest{true, {id_of(1), 1}}));
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == Errc::handler_failed);
        return true;
    };
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK(asked);
    CHECK(search.play.files() == alone(search, 2));
}

TEST_CASE("an alignment of the same name that was made in another run or term is another one") {
    Search search(small_world());
    REQUIRE(search.train(1).code == Errc::ok);
    MadeAlignment before = *search.shared->made();
    CHECK(before.made_in == MadeIn{id_of(1), 1});
    if (GENERATE(false, true))
        before.made_in.term = 2;
    else
        before.made_in.run = id_of(9);
    search.shared->keep(before);
    REQUIRE(search.train(2).code == Errc::ok);
    CHECK(search.aligned_anew());
    CHECK(search.play.files() == alone(search, 2));
    REQUIRE(search.train(3).code == Errc::ok);
    CHECK_FALSE(search.aligned_anew());
}

TEST_CASE("rows are wholly aligned when they are selected of each table there is") {
    const World world = small_world();
    Play play(world);
    play.tables[1][TableKind::test] = play.tables[1][TableKind::train];
    const bool with_test = GENERATE(false, true);
    if (!with_test) play.tables[1].erase(TableKind::test);
    Party party("", play.config, play.source(1));
    CHECK_FALSE(party.wholly_aligned());
    for (const TableKind kind : {TableKind::train, TableKind::test}) REQUIRE(party.align(kind));
    data::Selection all;
    const std::size_t ids = party.local(TableKind::train).ids.size();
    all.bitmap.assign((ids + 7) / 8, 0);
    for (std::size_t i = 0; i < ids; ++i)
        all.bitmap[i / 8] = static_cast<std::uint8_t>(all.bitmap[i / 8] | (1U << (i % 8)));
    REQUIRE(party.select(TableKind::train, all, ids));
    CHECK(party.wholly_aligned() != with_test);
    if (!with_test) return;
    REQUIRE(party.select(TableKind::test, all, ids));
    CHECK(party.wholly_aligned());
}

TEST_CASE("alignments are kept by owner, parties and words, the newest ones of all") {
    AlignmentKey key;
    key.name = id_of(1);
    key.owner_fingerprint = "ab";
    key.participants = {{"member-0", "member", 0}};
    KeptAlignments kept;
    const auto keep = [&](const AlignmentKey& of) {
        kept.keep(std::make_shared<const KeptAlignment>(KeptAlignment{of, {}, {}, 7}));
    };
    keep(key);
    REQUIRE(kept.find(key) != nullptr);
    AlignmentKey other = key;
    SECTION("of an owner of another name") {
        other.owner = "somebody";
    }
    SECTION("of another owner") {
        other.owner_fingerprint = "cd";
    }
    SECTION("with another party") {
        other.participants.push_back({"member-1", "member", 1});
    }
    SECTION("of another search") {
        other.name = id_of(2);
    }
    SECTION("of other columns") {
        other.agreed.data.select = "x information>=0.1";
    }
    CHECK(kept.find(other) == nullptr);
    for (std::uint8_t i = 10; i < 10 + KeptAlignments::kept_max - 1; ++i) {
        other.name = id_of(i);
        keep(other);
        CHECK(kept.find(key) != nullptr);  // which is used, and stays
    }
    other.name = id_of(99);
    keep(other);
    CHECK(kept.find(key) != nullptr);
    other.name = id_of(10);
    CHECK(kept.find(other) == nullptr);
}

TEST_CASE("one owner leaves room for the alignments of others") {
    KeptAlignments kept;
    const auto key = [](const char* owner, std::uint8_t name) {
        AlignmentKey of;
        of.name = id_of(name);
        of.owner = owner;
        return of;
    };
    const auto keep = [&](const AlignmentKey& of) {
        kept.keep(std::make_shared<const KeptAlignment>(KeptAlignment{of, {}, {}, 7}));
    };
    keep(key("bank", 1));
    for (std::uint8_t name = 1; name <= 9; ++name) keep(key("shop", name));
    CHECK(kept.find(key("bank", 1)) != nullptr);
    CHECK(kept.find(key("shop", 9)) != nullptr);
    CHECK(kept.find(key("shop", 8)) != nullptr);
    CHECK(kept.find(key("shop", 7)) == nullptr);
}
