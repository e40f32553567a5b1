#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "catch.hpp"

using namespace vflbus;
namespace fs = std::filesystem;

namespace {
struct TemporaryDirectory {
    fs::path path = fs::temp_directory_path() / ("vflbus-base-" + std::to_string(::getpid()));
    TemporaryDirectory() { fs::create_directories(path); }
    ~TemporaryDirectory() { fs::remove_all(path); }
};
}  // namespace

TEST_CASE("splitmix64 gives the published sequence") {
    Rng rng(1234567);
    CHECK(rng.next() == 6457827717110365317ULL);
    CHECK(rng.next() == 3203168211198807973ULL);
}

TEST_CASE("below stays below and reaches every value") {
    Rng rng(1);
    int seen[7] = {};
    for (int i = 0; i < 7000; ++i) ++seen[rng.below(7)];
    for (const int count : seen) CHECK(count > 800);
}

TEST_CASE("node ids derive from names and are stable") {
    CHECK(node_id_of("member-0") == node_id_of("member-0"));
    CHECK(node_id_of("member-0") != node_id_of("member-1"));
    CHECK(node_id_of("master") != broker_node);
}

TEST_CASE("run ids survive their text form and refuse others") {
    const RunId id = random_run_id();
    CHECK(parse_run_id(id.hex()).value() == id);
    CHECK_FALSE(parse_run_id("abc"));
    CHECK_FALSE(parse_run_id(std::string(32, 'g')));
}

TEST_CASE("every error code has a name and a sentence") {
    for (const auto code :
         {Errc::malformed_frame, Errc::diverged, Errc::internal, Errc::owner_lost}) {
        CHECK(name_of(code) != "unknown");
        CHECK_FALSE(meaning_of(code).empty());
    }
    CHECK(name_of(static_cast<Errc>(9999)) == "unknown");
}

TEST_CASE("a written file is whole and leaves no temporary behind") {
    TemporaryDirectory dir;
    REQUIRE(write_file_atomically(dir.path / "sub" / "a", "hello"));
    REQUIRE(write_file_atomically(dir.path / "sub" / "a", "world"));
    CHECK(read_file(dir.path / "sub" / "a").value() == "world");
    CHECK(std::distance(fs::directory_iterator(dir.path / "sub"), fs::directory_iterator{}) == 1);
    CHECK(read_file(dir.path / "none").error().code == Errc::io);
}

TEST_CASE("what killed processes have begun to write is removed, and nothing else") {
    TemporaryDirectory dir;
    const fs::path below = dir.path / "member-0" / "state";
    fs::create_directories(below);
    // a process that is gone, and was reaped
    const pid_t gone = ::fork();
    if (gone == 0) ::_exit(0);
    REQUIRE(::waitpid(gone, nullptr, 0) == gone);
    const auto put = [](const fs::path& file) {
        REQUIRE(write_file_atomically(file, "x").has_value());
        return file;
    };
    const std::string dead = ".tmp-" + std::to_string(gone);
    const fs::path here = put(dir.path / ("run.json" + dead));
    const fs::path deep = put(below / ("commit-7.bin" + dead));
    const fs::path parents = put(dir.path / ("a.tmp-" + std::to_string(::getppid())));
    const fs::path own = put(dir.path / ("b.tmp-" + std::to_string(::getpid())));
    const std::vector<fs::path> others{put(dir.path / "c.tmp-"), put(dir.path / "d.tmp-x1"),
                                       put(dir.path / "e.tmp-12.csv"), put(dir.path / "f.tmp--1"),
                                       put(dir.path / "run.json")};
    SECTION("of one process") {
        remove_unfinished(dir.path, gone);
        CHECK_FALSE(fs::exists(here));
        CHECK_FALSE(fs::exists(deep));
        CHECK(fs::exists(own));
    }
    SECTION("of all that are gone, as deep as is asked for") {
        sweep_unfinished(dir.path, 1);
        CHECK_FALSE(fs::exists(here));
        CHECK_FALSE(fs::exists(own));  // of an earlier process of our number
        CHECK(fs::exists(deep));
        sweep_unfinished(dir.path, 2);
        CHECK_FALSE(fs::exists(deep));
    }
    CHECK(fs::exists(parents));  // it is alive, and may be writing
    for (const fs::path& file : others) CHECK(fs::exists(file));
    sweep_unfinished(dir.path / "not there", 3);
    CHECK(entries_of(dir.path / "not there").empty());
}

TEST_CASE("a directory that cannot be looked into is an error, not an exception") {
    TemporaryDirectory dir;
    const fs::path loop = dir.path / "loop";
    fs::create_symlink(loop, loop);  // ELOOP for whoever looks behind it
    const auto next = next_incarnation(loop / "node", 5);
    REQUIRE_FALSE(next.has_value());
    CHECK(next.error().code == Errc::io);
    CHECK(next.error().sentence.find("loop") != std::string::npos);
}

TEST_CASE("a failure is explained by what happened, what to do and how to go on") {
    Failure failure{Errc::peer_lost, "member-1 is gone"};
    CHECK(explained(failure) == "member-1 is gone");
    CHECK(explained(failure, "--resume 12") == "member-1 is gone");
    failure.resumable = true;
    CHECK(explained(failure) == "member-1 is gone");
    CHECK(explained(failure, "--resume 12") == "member-1 is gone; `--resume 12` continues it");
    failure.hint = "start it again";
    CHECK(explained(failure, "--resume 12") ==
          "member-1 is gone; start it again, then go on with `--resume 12`");
    failure.resumable = false;
    CHECK(explained(failure, "--resume 12") == "member-1 is gone; start it again");
}

TEST_CASE("a code is found by its name") {
    for (std::uint16_t number = 0; number < 128; ++number) {
        const auto code = static_cast<Errc>(number);
        if (name_of(code) == "unknown") continue;
        CHECK(errc_named(name_of(code)) == code);
    }
    CHECK_FALSE(errc_named("unknown").has_value());
    CHECK_FALSE(errc_named("").has_value());
}

TEST_CASE("a directory has one holder, who is named") {
    TemporaryDirectory dir;
    auto first = DirectoryLock::acquire(dir.path / "n");
    REQUIRE(first);
    auto second = DirectoryLock::acquire(dir.path / "n");
    REQUIRE_FALSE(second);
    CHECK(second.error().sentence.find(std::to_string(::getpid())) != std::string::npos);
}

TEST_CASE("incarnations only grow, also over a lost directory and a clock that steps back") {
    TemporaryDirectory dir;
    CHECK(next_incarnation(dir.path, 1000).value() == 1000);
    CHECK(next_incarnation(dir.path, 900).value() == 1001);
    CHECK(next_incarnation(dir.path, 5000).value() == 5000);
}

TEST_CASE("the nearest key is found, a far one is not") {
    const std::vector<std::string> keys{"epochs", "batch_size", "learning_rate"};
    CHECK(nearest("epoch", keys) == "epochs");
    CHECK(nearest("batchsize", keys) == "batch_size");
    CHECK(nearest("zzzzzz", keys).empty());
}

TEST_CASE("a text fits a pattern, or not") {
    CHECK(matches("*", ""));
    CHECK(matches("a*c", "abbc"));
    CHECK(matches("*ab*ab", "xabyabab"));
    CHECK_FALSE(matches("a*c", "abb"));
    CHECK_FALSE(matches("a", "ab"));
    CHECK(matches("a?c", "abc"));
    CHECK_FALSE(matches("a?c", "ac"));
    // no exponential time
    CHECK_FALSE(matches("*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST_CASE("numbers print as the shortest text that reads back") {
    CHECK(shortest(0.1) == "0.1");
    CHECK(shortest(1.0 / 3) == "0.3333333333333333");
}

TEST_CASE("nothing that acts on a terminal is left of a text that is shown") {
    CHECK(printable("K\xc3\xb6ln, 5 \xe2\x82\xac") == "K\xc3\xb6ln, 5 \xe2\x82\xac");
    CHECK(printable("a\x1b[2Jb\n\t\x7f") == "a?[2Jb???");
    CHECK(printable("\xc2\x9b") == "?");                  // CSI in one character
    CHECK(printable("\x9b") == "?");                      // and in one byte
    CHECK(printable("K\xf6ln") == "K?ln");                // Latin-1
    CHECK(printable("\xe2\x80\xae") == "?");              // writes the rest from right to left
    CHECK(printable("\xc0\xaf\xed\xa0\x80") == "?????");  // no UTF-8
    CHECK(printable("\xf0\x9f\x8c\x8d!") == "\xf0\x9f\x8c\x8d!");
}
