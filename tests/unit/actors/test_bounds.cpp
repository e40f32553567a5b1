// What parties claim, and what is too large, is refused before anything is allocated or written.

#include <algorithm>
#include <bit>
#include <functional>

#include "actors/alignment/alignment.hpp"
#include "actors/model_file.hpp"
#include "actors/run/commit_file.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

/// member-1 changes what it says about its ids.
Ending with_claims(Play& play, const std::function<void(AlignReply&, data::LocalIds&)>& lie) {
    play.set().on_reply_hook = [&](std::size_t member, Message& m) {
        if (member != 1 || m.metadata.message_type != message::align) return true;
        auto reply = decode_align_reply(m.content);
        REQUIRE(reply);
        if (!reply->present) return true;
        data::LocalIds ids;
        ids.ids = reply->ids;
        ids.counts = reply->counts;
        ids.shape = reply->shape;
        lie(*reply, ids);
        m.content = encode(*reply, ids);
        return true;
    };
    return play.harness->run();
}

/// Lets everything in, and notes what it is asked about people.
struct Counts final : LetsAllIn {
    std::vector<std::uint64_t> common;
    std::vector<std::uint64_t> batches;
    std::vector<std::string> used;  ///< columns, of all tables
    Result<> columns(const RunId&, const std::string&, std::span<const std::string> names,
                     std::uint64_t) override {
        used.insert(used.end(), names.begin(), names.end());
        return {};
    }
    Result<> rows(const RunId&, std::uint64_t people) override {
        common.push_back(people);
        return {};
    }
    Result<> batch(const RunId&, std::uint64_t people) override {
        batches.push_back(people);
        return {};
    }
};

}  // namespace

TEST_CASE("a policy is asked about people, however often their rows are repeated") {
    const bool full_batch = GENERATE(true, false);
    CAPTURE(full_batch);
    World world;
    world.members = 1;
    Play play{world};
    play.config.data.duplicates = config::Duplicates::all;
    play.config.data.test_fraction = 0;
    play.config.model.batch_size = full_batch ? 0 : 25;
    // the member holds five people once, and the master holds each of them ten times
    std::vector<std::size_t> often;
    for (std::size_t i = 0; i < 50; ++i) often.push_back(i % 5);
    play.tables[0][TableKind::train] = std::make_shared<data::Table>(world.table(0, often));
    play.tables[1][TableKind::train] =
        std::make_shared<data::Table>(world.table(1, {0, 1, 2, 3, 4}));
    Counts counts;
    play.judge = &counts;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(play.master->report().rows_train == 50);
    CHECK(counts.common == std::vector<std::uint64_t>{5});
    // 25 rows may be those of three people, ten of each
    CHECK(counts.batches == std::vector<std::uint64_t>{full_batch ? 5U : 3U});
}

TEST_CASE("a policy is asked about the column of ids that an owner has chosen") {
    const auto is_asked = [](const std::string& chosen, const std::string& own) {
        World world;
        world.members = 1;
        Play play{world};
        Counts counts;
        play.judge = &counts;
        play.config.data.id = chosen;
        play.member_config[0].parties["member-0"].id = own;
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        REQUIRE_FALSE(counts.used.empty());
        return std::ranges::find(counts.used, chosen) != counts.used.end();
    };
    CHECK(is_asked("ssn", "customer_id"));
    // the member has chosen it itself, or there is no such column
    CHECK_FALSE(is_asked("customer_id", "customer_id"));
    CHECK_FALSE(is_asked("@row", "customer_id"));
    CHECK_FALSE(is_asked("", "customer_id"));
}

TEST_CASE("counts that a member claims must fit its rows") {
    Play play{World{}};
    play.config.data.duplicates = config::Duplicates::all;
    const Ending ending = with_claims(play, [](AlignReply&, data::LocalIds& ids) {
        ids.counts.assign(ids.ids.size(), 5'000'000);
    });
    INFO(ending.sentence);
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find("member-1: sent counts of ") == 0);
}

TEST_CASE("counts are for those who may have duplicates") {
    Play play{World{}};
    const Ending ending = with_claims(play, [](AlignReply&, data::LocalIds& ids) {
        ids.counts.assign(ids.ids.size(), 1);
        ids.counts.back() = 2;
    });
    INFO(ending.sentence);
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find("data.duplicates does not allow") != std::string::npos);
}

TEST_CASE("a member that lies about its rows as well makes no more aligned rows than the bound") {
    Play play{World{}};
    play.config.data.duplicates = config::Duplicates::all;
    const Ending ending = with_claims(play, [](AlignReply& reply, data::LocalIds& ids) {
        ids.counts.assign(ids.ids.size(), 5'000);
        reply.rows = 5'000 * ids.ids.size();
    });
    INFO(ending.sentence);
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find("aligned rows") != std::string::npos);
}

TEST_CASE("a master that claims too many rows is refused by a member") {
    Play play{World{}};
    play.config.data.duplicates = config::Duplicates::all;
    auto& harness = play.set();
    harness.on_request = [&](std::size_t member, Message& m) {
        if (member != 1 || m.metadata.message_type != message::select) return true;
        auto request = decode_select_request(m.content);
        REQUIRE(request);
        std::size_t common = 0;
        for (const std::uint8_t byte : request->selection.bitmap)
            common += static_cast<std::size_t>(std::popcount(byte));
        request->selection.outer.assign(common, 1000);
        request->selection.inner.assign(common, 5000);
        SECTION("with the number that its selection makes") {
            request->rows = std::min<std::uint64_t>(common * 5'000'000, UINT32_MAX);
        }
        SECTION("with the number that all others come to") {}
        m.content = encode(*request);
        return true;
    };
    const Ending ending = harness.run();
    INFO(ending.sentence);
    CHECK((ending.code == Errc::bad_data || ending.code == Errc::malformed_message));
    CHECK(ending.sentence.find("member-1: ") == 0);
}

TEST_CASE("the bound on aligned rows") {
    CHECK(aligned_rows_bound(0) == aligned_rows_any);
    CHECK(aligned_rows_bound(10) == aligned_rows_any);
    CHECK(aligned_rows_bound(1'000'000) == 1'000'000 * aligned_rows_per_row_max);
    CHECK(aligned_rows_bound(UINT64_MAX) <= data::aligned_rows_max);
}

TEST_CASE("a state that could not be read back is not written") {
    MemoryEnv env;
    Commit commit;
    commit.step = 4;
    commit.state = std::string(1000, 'x');
    CommitStore small(env, "state", 999);
    const auto refused = small.write(commit);
    REQUIRE(!refused);
    CHECK(refused.error().code == Errc::too_large);
    CHECK(refused.error().sentence.find("more than the 999") != std::string::npos);
    CHECK(env.files.empty());
    CommitStore enough(env, "state", 1000);
    const auto digest = enough.write(commit);
    REQUIRE(digest);
    CHECK(enough.read({4, *digest})->state == commit.state);
}

TEST_CASE("a commit of an earlier version is refused by name, and not taken for a lost one") {
    MemoryEnv env;
    CommitStore store(env, "state");
    env.files["state/commit-4"] = std::string("\x96\x01\xc4\x10 and more", 14);
    const auto listed = store.intact({});
    REQUIRE(!listed);
    CHECK(listed.error().code == Errc::state_lost);
    CHECK(listed.error().sentence.find("state/commit-4 was written by an earlier version") == 0);
}

TEST_CASE("a model part that could not be read back is not written") {
    CHECK(check_model_size(100, 100));
    const auto refused = check_model_size(101, 100);
    REQUIRE(!refused);
    CHECK(refused.error().code == Errc::too_large);
    CHECK(check_model_size(model_bytes_max));
}

TEST_CASE("a batch whose scores fit no message is refused before the first step") {
    Play play{World{}};
    play.config.model.batch_size = 200;
    play.config.bus.message_bytes_max = 1024;
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::too_large);
    CHECK(ending.sentence.find("lower model.batch_size") != std::string::npos);
    CHECK(play.master->report().steps == 0);
}
