// The registry: what it keeps, across restarts too, and what it does with files that are not its
// own. A second connection stands in for a disk that does not keep up.

#include <poll.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "registry/registry.hpp"
#include "registry/store.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using registry::Registry;
using registry::Store;

namespace {

namespace fs = std::filesystem;

RunId run_of(std::uint64_t n) {
    RunId run;
    for (std::size_t i = 0; i < 8; ++i) run.bytes[i] = static_cast<std::uint8_t>(n >> (56 - 8 * i));
    run.bytes[15] = 1;
    return run;
}

RunRow row_of(std::uint64_t n, RunState state = RunState::running) {
    RunRow row;
    row.run = run_of(n);
    row.state = state;
    row.owner = "master";
    row.role = "master";
    row.participants = 2;
    row.names = {"member-0", "member-1"};
    row.created_ms = 1000 + n;
    row.started_ms = state == RunState::starting ? 0 : 2000 + n;
    row.finished_ms = finished(state) ? 3000 + n : 0;
    row.term = 1;
    return row;
}

NodeRow node_of(const std::string& name, std::uint64_t seen, NodeState state = NodeState::up) {
    return {name, "member", 0, state, "0.1.0", {"apps"}, seen, seen + 10, 1, 5, 500};
}

class Directory {
  public:
    Directory() {
        std::string name = fs::temp_directory_path() / "vflbus-registry-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Directory() { fs::remove_all(path); }
    fs::path path;
};

std::unique_ptr<Registry> open(const fs::path& file, std::uint64_t runs_max = 10'000) {
    registry::Options options;
    options.file = file;
    options.runs_max = runs_max;
    auto opened = Registry::open(std::move(options));
    if (!opened) FAIL(opened.error().sentence);
    return std::move(*opened);
}

Ledger::Answer wait_answer(Registry& registry) {
    Ledger::Answer answer;
    while (!registry.next_answer(answer)) {
        pollfd ready{registry.answers_fd(), POLLIN, 0};
        REQUIRE(::poll(&ready, 1, 300'000) == 1);  // a bound on hanging, also where all is slow
    }
    return answer;
}

std::vector<RunRow> runs(Registry& registry, const std::string& status = "",
                         std::uint64_t limit = rows_max) {
    REQUIRE(registry.ask({1, Question::runs, status, limit}));
    const auto answer = wait_answer(registry);
    if (!answer.body) FAIL(answer.body.error().sentence);
    auto rows = decode_run_rows(*answer.body);
    REQUIRE(rows);
    return *rows;
}

std::vector<NodeRow> nodes(Registry& registry) {
    REQUIRE(registry.ask({1, Question::nodes, "", rows_max}));
    const auto answer = wait_answer(registry);
    REQUIRE(answer.body);
    auto rows = decode_node_rows(*answer.body);
    REQUIRE(rows);
    return *rows;
}

std::string refused(const fs::path& file, Errc code = Errc::bad_data) {
    registry::Options options;
    options.file = file;
    const auto opened = Registry::open(std::move(options));
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == code);
    CHECK(opened.error().sentence.find('\n') == std::string::npos);
    CHECK(opened.error().sentence.find(file.string()) != std::string::npos);
    return opened.error().sentence;
}

}  // namespace

TEST_CASE("what was noted is part of the next answer") {
    const auto registry = open({});
    registry->note(row_of(1));
    CHECK(runs(*registry) == std::vector{row_of(1)});
    registry->note(row_of(1, RunState::completed));
    registry->note(row_of(2, RunState::starting));
    registry->note(row_of(3, RunState::failed));
    const auto rows = runs(*registry);
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].run == run_of(2));  // what is on comes first
    CHECK(rows[1].run == run_of(3));  // then the youngest
    CHECK(rows[2] == row_of(1, RunState::completed));
    CHECK(runs(*registry, "failed").size() == 1);
    CHECK(runs(*registry, "finished").size() == 2);
    CHECK(runs(*registry, "", 1).size() == 1);
    REQUIRE(registry->ask({7, Question::runs, "lost", 5}));
    const auto answer = wait_answer(*registry);
    CHECK(answer.token == 7);
    REQUIRE_FALSE(answer.body);
    CHECK(answer.body.error().sentence.find("running") != std::string::npos);
}

TEST_CASE("runs are found by the first digits of their ids") {
    const auto registry = open({});
    for (const std::uint64_t n : {0x1200ULL << 48, 0x12FFULL << 48, 0x3400ULL << 48})
        registry->note(row_of(n));
    const auto with = [&](const std::string& prefix) {
        REQUIRE(registry->ask({1, Question::run, prefix, 20}));
        return decode_run_rows(*wait_answer(*registry).body)->size();
    };
    CHECK(with("12") == 2);
    CHECK(with("12ff") == 1);
    CHECK(with("34000000000000000000000000000001") == 1);
    CHECK(with("35") == 0);
    CHECK(with("") == 3);
}

TEST_CASE("nodes come and go") {
    const auto registry = open({});
    registry->note(node_of("member-1", 100));
    registry->note(node_of("member-0", 100, NodeState::left));
    registry->note(node_of("master", 100));
    auto rows = nodes(*registry);
    REQUIRE(rows.size() == 3);
    CHECK(rows[0] == node_of("master", 100));
    CHECK(rows[2].name == "member-0");
    // it comes back, and its sizes count on
    registry->note(node_of("member-0", 500));
    rows = nodes(*registry);
    CHECK(rows[1].name == "member-0");
    CHECK(rows[1].first_seen_ms == 100);
    CHECK(rows[1].last_seen_ms == 510);
    CHECK(rows[1].messages == 10);
    CHECK(rows[1].bytes == 1000);
    registry->note(node_of("member-0", 500, NodeState::suspect));
    CHECK(nodes(*registry)[1].messages == 10);
}

TEST_CASE("after a restart what ran is unknown, until its owner opens it again") {
    const Directory dir;
    const fs::path file = dir.path / "registry.db";
    {
        const auto registry = open(file);
        RunRow row = row_of(1);
        row.messages = 40;
        row.bytes = 4000;
        registry->note(row);
        registry->note(row_of(2, RunState::completed));
        registry->note(row_of(3, RunState::pending));
        registry->note(node_of("member-0", 100));
    }
    const auto registry = open(file);
    CHECK(runs(*registry, "unknown").size() == 2);
    CHECK(runs(*registry, "completed").size() == 1);
    CHECK(nodes(*registry)[0].state == NodeState::unknown);
    RunRow again = row_of(1);
    again.created_ms = 9000;
    again.messages = 2;
    again.bytes = 200;
    registry->note(again);
    auto rows = runs(*registry, "running");
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].created_ms == 1001);  // it began then
    CHECK(rows[0].messages == 42);
    CHECK(rows[0].bytes == 4200);
    again.state = RunState::completed;
    again.messages = 3;
    registry->note(again);
    rows = runs(*registry, "completed");
    REQUIRE(rows.size() == 2);
    CHECK(std::max(rows[0].messages, rows[1].messages) == 43);
}

TEST_CASE("a run that waited at its master keeps its beginning when it is opened") {
    const auto registry = open({});
    RunRow waiting = row_of(1, RunState::pending);
    waiting.names.clear();
    waiting.created_ms = 500;
    registry->note(waiting);
    RunRow opened = row_of(1);
    opened.owner = "master-1f0c9a33";
    registry->note(opened);
    const auto rows = runs(*registry);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].created_ms == 500);
    CHECK(rows[0].owner == "master-1f0c9a33");
    CHECK(rows[0].names.size() == 2);
}

TEST_CASE("what is known of a run is not rewritten by another owner") {
    const auto registry = open({});
    RunRow mine = row_of(1, RunState::completed);
    mine.owner = "master";
    registry->note(mine);
    RunRow theirs = row_of(1, RunState::failed);
    for (const char* rival : {"rival", "rival-1f0c9a33", "master2", "master-rival"}) {
        theirs.owner = rival;
        registry->note(theirs);
    }
    const auto rows = runs(*registry);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].owner == "master");
    CHECK(rows[0].state == RunState::completed);
}

TEST_CASE("old runs make room, what is on stays") {
    const Directory dir;
    const fs::path file = dir.path / "registry.db";
    {
        const auto registry = open(file, 100);
        registry->note(row_of(0));
        for (std::uint64_t n = 1; n <= 1000; ++n) registry->note(row_of(n, RunState::completed));
        registry->flush();
        const auto rows = runs(*registry);
        CHECK(rows.size() >= 101);
        CHECK(rows.size() < 500);
        CHECK(rows[0].run == run_of(0));
        CHECK(rows[1].run == run_of(1000));
    }
    CHECK(runs(*open(file, 100)).size() == 101 - 1);  // run 0 is unknown now, and the oldest
}

TEST_CASE("ten thousand runs one after another take no more memory than a thousand") {
    const Directory dir;
    const auto registry = open(dir.path / "registry.db", 500);
    const auto some = [&](std::uint64_t from, std::uint64_t to) {
        for (std::uint64_t n = from; n < to; ++n) {
            for (const RunState state :
                 {RunState::starting, RunState::running, RunState::completed})
                registry->note(row_of(n, state));
            if (n % 500 == 0) registry->flush();
        }
        registry->flush();
        CHECK(runs(*registry).size() <= rows_max);
        return sqlite3_memory_used();
    };
    const auto after_a_thousand = some(0, 1000);
    const auto file_then = fs::file_size(dir.path / "registry.db");
    const auto after_ten = some(1000, 10'000);
    CHECK(after_ten < after_a_thousand + 512 * 1024);
    CHECK(fs::file_size(dir.path / "registry.db") < file_then + 1024 * 1024);
    CHECK(registry->dropped() == 0);
}

// -- a disk that does not keep up ----------------------------------------------------

TEST_CASE("a disk that hangs delays answers, and no note") {
    const Directory dir;
    const fs::path file = dir.path / "registry.db";
    const auto registry = open(file);
    registry->note(row_of(0));
    registry->flush();
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
    // all of this returns although nothing can be written
    for (std::uint64_t n = 1; n <= 200'000; ++n) registry->note(row_of(n % 50, RunState::running));
    CHECK(registry->dropped() > 0);
    for (int i = 0; i < 256; ++i) CHECK(registry->ask({1, Question::runs, "", 1}));
    CHECK_FALSE(registry->ask({1, Question::runs, "", 1}));
    REQUIRE(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(other);
    for (int i = 0; i < 256; ++i) CHECK(wait_answer(*registry).body);
    CHECK(runs(*registry).size() == 50);
}

TEST_CASE("what waits for a disk that hangs is bounded in bytes, however long the names are") {
    const Directory dir;
    const fs::path file = dir.path / "registry.db";
    const auto registry = open(file);
    registry->note(row_of(0));
    registry->flush();
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
    RunRow large = row_of(1, RunState::running);
    large.names.assign(256, std::string(128, 'x'));
    constexpr std::uint64_t rows = 4000;  // of 40 kB each
    for (std::uint64_t n = 0; n < rows; ++n) registry->note(large);
    // 32 MiB wait, and as much is being written
    CHECK(rows - registry->dropped() < 2 * (32u << 20) / (256 * 128));
    REQUIRE(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(other);
    registry->flush();
    const std::uint64_t before = registry->dropped();
    registry->note(large);
    registry->flush();
    CHECK(registry->dropped() == before);
}

TEST_CASE("what cannot be written is said once, and again after it could") {
    std::vector<std::string> said;
    const Directory dir;
    registry::Options options;
    options.file = dir.path / "registry.db";
    options.warn = [&](const std::string& text) { said.push_back(text); };
    auto opened = Registry::open(std::move(options));
    REQUIRE(opened);
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open((dir.path / "registry.db").c_str(), &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "DROP TABLE runs", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(other);
    (*opened)->note(row_of(1));
    (*opened)->note(row_of(2));
    (*opened)->flush();
    REQUIRE(said.size() == 1);
    CHECK(said[0].find("registry.db") != std::string::npos);
}

// -- files that are not ours -----------------------------------------------------------

TEST_CASE("a file that is no registry is refused in a sentence") {
    const Directory dir;
    const fs::path file = dir.path / "registry.db";
    SECTION("text") {
        std::ofstream(file) << std::string(5000, 'x');
        CHECK(refused(file).find("no registry") != std::string::npos);
    }
    SECTION("the database of another program") {
        sqlite3* other = nullptr;
        REQUIRE(sqlite3_open(file.c_str(), &other) == SQLITE_OK);
        REQUIRE(sqlite3_exec(other, "CREATE TABLE t(a)", nullptr, nullptr, nullptr) == SQLITE_OK);
        sqlite3_close(other);
        CHECK(refused(file).find("another program") != std::string::npos);
    }
    SECTION("of a later version") {
        open(file)->flush();
        sqlite3* other = nullptr;
        REQUIRE(sqlite3_open(file.c_str(), &other) == SQLITE_OK);
        REQUIRE(sqlite3_exec(other, "PRAGMA user_version = 9", nullptr, nullptr, nullptr) ==
                SQLITE_OK);
        sqlite3_close(other);
        CHECK(refused(file).find("another version") != std::string::npos);
    }
    SECTION("damaged") {
        {
            const auto registry = open(file);
            for (std::uint64_t n = 0; n < 2000; ++n) registry->note(row_of(n));
        }
        std::fstream damage(file, std::ios::in | std::ios::out | std::ios::binary);
        const auto size = fs::file_size(file);
        for (std::uintmax_t at = 8192; at + 2048 < size; at += 4096) {
            damage.seekp(static_cast<std::streamoff>(at));
            damage << std::string(2048, '\x5a');
        }
        damage.close();
        CHECK(refused(file).find("damaged") != std::string::npos);
    }
    SECTION("a directory that is not there") {
        refused(dir.path / "no" / "registry.db", Errc::io);
    }
}
