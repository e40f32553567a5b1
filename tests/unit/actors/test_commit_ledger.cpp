// The owner's book of commits: when one is due, when all have it, which one a new term goes back
// to, how often who was restarted, and what of that survives the owner.

#include <chrono>
#include <initializer_list>
#include <map>

#include "actors/run/commit_ledger.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::actors;

namespace {

namespace chrono = std::chrono;

RunId some_run() {
    RunId run;
    run.bytes[0] = 0xcd;
    return run;
}

RunRecord fresh() {
    RunRecord record;
    record.run = some_run();
    record.owner = "master";
    record.members = {"member-0", "member-1"};
    return record;
}

/// Differs by party and step, as the files of commits do.
Hash256 digest(const std::string& party, std::uint64_t step) {
    return hash256(party + " at " + std::to_string(step));
}

StoredCommit commit(const std::string& party, std::uint64_t step) {
    return {step, digest(party, step)};
}

struct Book {
    MemoryEnv env;
    CommitLedger ledger{env, "runs", fresh()};

    /// All parties store `step`.
    void commit_all(std::uint64_t step, TimePoint now = {}) {
        ledger.begin(step, digest("master", step));
        REQUIRE(ledger.reported("member-1", commit("member-1", step)) == false);
        REQUIRE(ledger.reported("member-0", commit("member-0", step)) == true);
        REQUIRE(ledger.record(now));
    }
    void held(const std::string& party, std::initializer_list<std::uint64_t> steps) {
        std::vector<StoredCommit> commits;
        for (const std::uint64_t step : steps) commits.push_back(commit(party, step));
        ledger.held_by(party, std::move(commits));
    }
    /// What a process that resumes the run would read.
    [[nodiscard]] RunRecord stored() {
        auto record = read_run_record(env, "runs", some_run());
        REQUIRE(record);
        return *record;
    }
    [[nodiscard]] std::vector<std::uint64_t> stored_steps() {
        std::vector<std::uint64_t> steps;
        for (const RecordedCommit& of : stored().commits) steps.push_back(of.step);
        return steps;
    }
};

}  // namespace

// -- making commits -----------------------------------------------------------------

TEST_CASE("a commit is recorded when all have reported it, with the digest of each") {
    Book book;
    book.ledger.begin(4, digest("master", 4));
    CHECK(book.ledger.under_way());
    CHECK(book.ledger.reported("member-1", commit("member-1", 4)) == false);
    CHECK(book.ledger.reported("member-1", commit("member-1", 4)) == false);  // the same one again
    CHECK(book.env.files.empty());
    CHECK(book.ledger.last() == 0);
    CHECK(book.ledger.reported("member-0", commit("member-0", 4)) == true);
    REQUIRE(book.ledger.record({}));
    CHECK_FALSE(book.ledger.under_way());
    CHECK(book.ledger.last() == 4);
    const RunRecord stored = book.stored();
    REQUIRE(stored.commits.size() == 1);
    CHECK(stored.commits[0].step == 4);
    CHECK(stored.commits[0].digests ==
          std::map<std::string, Hash256>{{"master", digest("master", 4)},
                                         {"member-0", digest("member-0", 4)},
                                         {"member-1", digest("member-1", 4)}});
}

TEST_CASE("an answer for a commit that is not under way") {
    Book book;
    const auto none = book.ledger.reported("member-0", commit("member-0", 2));
    REQUIRE(!none);
    CHECK(none.error().code == Errc::malformed_message);
    book.ledger.begin(4, digest("master", 4));
    const auto other = book.ledger.reported("member-0", commit("member-0", 2));
    REQUIRE(!other);
    CHECK(other.error().sentence == "answers for commit 2");
}

TEST_CASE("the last two commits are recorded, and none of a course that was given up") {
    Book book;
    for (const std::uint64_t step : {2, 4, 6}) book.commit_all(step);
    CHECK(book.stored_steps() == std::vector<std::uint64_t>{4, 6});
    REQUIRE(book.ledger.begin_term(2));
    book.ledger.restored(4);
    book.commit_all(5);
    CHECK(book.stored_steps() == std::vector<std::uint64_t>{4, 5});
}

TEST_CASE("when a commit is due") {
    Book book;
    config::BusConfig bus;
    bus.commit_interval = 0;
    bus.commit_steps = 3;
    const TimePoint now{};
    book.ledger.start_clock(now);
    CHECK_FALSE(book.ledger.due(2, false, now, bus));
    CHECK(book.ledger.due(3, false, now, bus));
    CHECK(book.ledger.due(2, true, now, bus));
    CHECK_FALSE(book.ledger.due(2, false, now + chrono::seconds(99), bus));  // never by time

    book.ledger.begin(3, digest("master", 3));
    CHECK_FALSE(book.ledger.due(6, true, now, bus));  // one at a time
    CHECK_FALSE(book.ledger.holds_back(2, 3));
    CHECK(book.ledger.holds_back(3, 3));
    CHECK_FALSE(book.ledger.holds_back(30, 0));
    for (const std::string member : {"member-0", "member-1"})
        REQUIRE(book.ledger.reported(member, commit(member, 3)));
    REQUIRE(book.ledger.record(now));
    CHECK_FALSE(book.ledger.holds_back(9, 3));
    CHECK_FALSE(book.ledger.due(3, true, now, bus));  // it is there already
    CHECK_FALSE(book.ledger.due(5, false, now, bus));
    CHECK(book.ledger.due(6, false, now, bus));

    bus.commit_steps = 0;
    bus.commit_interval = 10;
    book.commit_all(7, now + chrono::seconds(5));
    CHECK_FALSE(book.ledger.due(8, false, now + chrono::seconds(14), bus));
    CHECK(book.ledger.due(8, false, now + chrono::seconds(15), bus));
}

// -- going back to one --------------------------------------------------------------

TEST_CASE("the highest commit that all hold with the recorded digests is chosen") {
    Book book;
    book.commit_all(4);
    book.commit_all(6);
    for (const std::string party : {"master", "member-0", "member-1"}) book.held(party, {4, 6});
    CommitChoice choice = book.ledger.choose();
    REQUIRE(choice.commit);
    CHECK(choice.commit->step == 6);
    CHECK(choice.commit->digests.at("member-1") == digest("member-1", 6));
    CHECK(choice.lost.empty());

    SECTION("one that a member has lost is not") {
        book.held("member-1", {4});
        choice = book.ledger.choose();
        REQUIRE(choice.commit);
        CHECK(choice.commit->step == 4);
        CHECK(choice.lost == std::vector<std::string>{"member-1 has lost commit 6 of this run"});
    }
    SECTION("nor one that the owner has lost") {
        book.held("master", {4});
        choice = book.ledger.choose();
        REQUIRE(choice.commit);
        CHECK(choice.commit->step == 4);
        CHECK(choice.lost == std::vector<std::string>{"master has lost commit 6 of this run"});
    }
    SECTION("nor one with another digest") {
        book.ledger.held_by("member-0", {commit("member-0", 4), {6, digest("another run", 6)}});
        choice = book.ledger.choose();
        REQUIRE(choice.commit);
        CHECK(choice.commit->step == 4);
        CHECK(choice.lost.size() == 1);
    }
    SECTION("nor one that was not recorded, though all have it") {
        for (const std::string party : {"master", "member-0", "member-1"})
            book.held(party, {4, 6, 8});
        CHECK(book.ledger.choose().commit->step == 6);
    }
    SECTION("all that is lost is told, the owner first, then by rank") {
        book.held("member-1", {});
        book.held("master", {4});
        choice = book.ledger.choose();
        CHECK_FALSE(choice.commit);
        CHECK(choice.lost ==
              std::vector<std::string>{"master and member-1 have lost commit 6 of this run",
                                       "member-1 has lost commit 4 of this run"});
        REQUIRE(book.ledger.forget_commits());
        CHECK(book.ledger.empty());
        CHECK(book.stored_steps().empty());
    }
    SECTION("what was held in an earlier term does not count") {
        REQUIRE(book.ledger.begin_term(2));
        CHECK_FALSE(book.ledger.choose().commit);
    }
}

TEST_CASE("a new term keeps what is recorded and forgets what was under way") {
    Book book;
    book.commit_all(4);
    book.ledger.begin(6, digest("master", 6));
    REQUIRE(book.ledger.begin_term(2));
    CHECK(book.stored().term == 2);
    CHECK(book.stored_steps() == std::vector<std::uint64_t>{4});
    CHECK_FALSE(book.ledger.under_way());
    CHECK(book.ledger.last() == 0);
    CHECK_FALSE(book.ledger.reported("member-0", commit("member-0", 6)));
}

// -- restarts -----------------------------------------------------------------------

TEST_CASE("restarts are counted by party until a commit is recorded") {
    Book book;
    CHECK(book.ledger.count_restart("member-0") == 1);
    CHECK(book.ledger.count_restart("member-1") == 1);
    CHECK(book.ledger.count_restart("member-0") == 2);
    REQUIRE(book.ledger.begin_term(2));
    CHECK(book.stored().restarts ==
          std::map<std::string, std::uint64_t>{{"member-0", 2}, {"member-1", 1}});
    book.commit_all(2);
    CHECK(book.stored().restarts.empty());
    CHECK(book.ledger.count_restart("member-0") == 1);
}

TEST_CASE("a run that ends with a reason forgets its restarts") {
    Book book;
    REQUIRE(book.ledger.forget_restarts());
    CHECK(book.env.files.empty());  // nothing to write
    book.ledger.count_restart("member-0");
    REQUIRE(book.ledger.begin_term(2));
    REQUIRE(book.ledger.forget_restarts());
    CHECK(book.stored().restarts.empty());
    CHECK(book.ledger.count_restart("member-0") == 1);
}

// -- the record ---------------------------------------------------------------------

TEST_CASE("the end of a run is stored") {
    Book book;
    REQUIRE(book.ledger.begin_term(2));
    CHECK(book.stored().phase == RunRecord::Phase::running);
    REQUIRE(book.ledger.finish());
    CHECK(book.stored().phase == RunRecord::Phase::finished);
}

TEST_CASE("nothing is stored once another process has the run") {
    Book book;
    book.commit_all(2);
    CHECK(book.ledger.still_ours());
    CommitLedger second(book.env, "runs", book.stored());
    REQUIRE(second.begin_term(2));
    const auto files = book.env.files;

    CHECK(book.ledger.superseded());
    CHECK_FALSE(second.superseded());
    CHECK(book.ledger.begin_term(2).error().code == Errc::superseded);
    book.ledger.begin(4, digest("master", 4));
    CHECK(book.ledger.record({}).error().code == Errc::superseded);
    CHECK(book.ledger.forget_commits().error().code == Errc::superseded);
    CHECK(book.ledger.finish().error().code == Errc::superseded);
    CHECK(book.env.files == files);
}

TEST_CASE("a record that cannot be stored") {
    Book book;
    book.env.write_failure = {Errc::io, "runs/cd/run.json: the disk is full"};
    const auto done = book.ledger.begin_term(2);
    REQUIRE(!done);
    CHECK(done.error().code == Errc::io);
    CHECK(done.error().sentence ==
          "master cannot store the record of the run: runs/cd/run.json: the disk is full");
}
