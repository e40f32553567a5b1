#include <unistd.h>

#include <filesystem>

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

TEST_CASE("numbers print as the shortest text that reads back") {
    CHECK(shortest(0.1) == "0.1");
    CHECK(shortest(1.0 / 3) == "0.3333333333333333");
}

TEST_CASE("a sentence names who it begins with, not who is further on or in a path") {
    CHECK(begins_with_name("member-1 is gone", "member-1"));
    CHECK(begins_with_name("member-1: cannot read a.csv", "member-1"));
    CHECK(begins_with_name("member-1", "member-1"));
    CHECK_FALSE(begins_with_name("member-10 is gone", "member-1"));
    CHECK_FALSE(begins_with_name("member-1/state/term is damaged", "member-1"));
    CHECK_FALSE(begins_with_name("cannot read runs/member-1/state/term", "member-1"));
    CHECK_FALSE(begins_with_name("member", "member-1"));
    CHECK_FALSE(begins_with_name("", "member-1"));
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
