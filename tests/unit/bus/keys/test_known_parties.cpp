#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/keys/known_parties.hpp"

using namespace vflbus;
using namespace vflbus::bus;
namespace fs = std::filesystem;

namespace {

struct Fixture {
    Fixture() {
        path = fs::temp_directory_path() / ("known-" + std::to_string(random_u64()));
        fs::create_directories(path);
    }
    ~Fixture() { fs::remove_all(path); }
    KnownParties known(FirstUse first_use = FirstUse::take) {
        return {path, path / known_parties_name, first_use,
                [this](const std::string& line) { told.push_back(line); }};
    }
    void line(const std::string& text) {
        std::ofstream(path / known_parties_name, std::ios::app) << text << "\n";
    }
    static std::string why(const Result<>& result) {
        return result ? std::string() : result.error().sentence;
    }
    static bool has(const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    }

    fs::path path;
    std::vector<std::string> told;
    const PublicKey one = make_key_pair().public_key;
    const PublicKey two = make_key_pair().public_key;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "the first key of a name is noted and told, and no other one counts") {
    CHECK(known().meet("member-0", one));
    REQUIRE(told.size() == 1);
    CHECK(has(told[0], fingerprint_of(one)));
    CHECK(has(told[0], "member-0"));
    CHECK(known().meet("member-0", one));  // in another process
    CHECK(told.size() == 1);
    const std::string no = why(known().meet("member-0", two));
    CHECK(has(no, fingerprint_of(one)));
    CHECK(has(no, fingerprint_of(two)));
    CHECK(has(no, "known-parties"));
    CHECK(known().meet("member-1", two));  // another name
    CHECK((fs::status(path / known_parties_name).permissions() & fs::perms::others_all) ==
          fs::perms::none);
}

TEST_CASE_METHOD(Fixture, "a .pub file and lines by hand count, also two of them") {
    const auto made = make_key_files(path, "bank", wall_seconds() + 1000);
    REQUIRE(made);
    CHECK(known().meet("bank", made->pair.public_key));
    CHECK_FALSE(known().meet("bank", one));
    line("# the new key of the bank");
    line("bank " + fingerprint_of(one));
    line("shop " + text_of(two) + "  # by its whole key");
    CHECK(known().meet("bank", one));
    CHECK(known().meet("bank", made->pair.public_key));
    CHECK(known().meet("shop", two));
    CHECK_FALSE(known().meet("shop", one));
    CHECK(told.empty());
}

TEST_CASE_METHOD(Fixture, "who asks has to be known, and the broker's key is that of no party") {
    const std::string no = why(known().knows("alice", one));
    CHECK(has(no, "alice " + fingerprint_of(one)));  // the line to write
    CHECK_FALSE(fs::exists(path / known_parties_name));
    line("alice " + fingerprint_of(one));
    CHECK(known().knows("alice", one));
    CHECK_FALSE(known().knows("alice", two));
    const auto broker = make_key_files(path, "broker", wall_seconds() + 1000);
    REQUIRE(broker);
    CHECK_FALSE(known().knows("broker", broker->pair.public_key));
    CHECK_FALSE(known().knows("../alice", one));
    CHECK_FALSE(known().meet("two words", one));
}

TEST_CASE_METHOD(Fixture, "a key that cannot be noted is refused, and so is all by a broken file") {
    KnownParties nowhere(path, "/proc/missing/file", FirstUse::take,
                         [this](const std::string& line) { told.push_back(line); });
    const auto refused = nowhere.meet("member-0", one);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::refused);
    CHECK(has(refused.error().sentence, "cannot note"));
    CHECK(has(refused.error().sentence, "member-0"));
    CHECK_FALSE(has(refused.error().for_others, "/proc"));  // it leaves the process
    CHECK_FALSE(refused.error().for_others.empty());
    CHECK(told.empty());
    // a directory of runs that is not made yet
    KnownParties later(path, path / "runs" / "file", FirstUse::take,
                       [this](const std::string& line) { told.push_back(line); });
    CHECK(later.meet("member-0", one));
    CHECK_FALSE(later.meet("member-0", two));
    line(std::string(10'000, 'x'));
    CHECK_FALSE(known().meet("member-1", one));
    CHECK_FALSE(fs::file_size(path / known_parties_name) > 10'100);
}

TEST_CASE_METHOD(Fixture, "a line without a key that is one is told with its number") {
    line("# by hand");
    line(GENERATE(as<std::string>(), "member-0", "member-0 OKOQ-V5DL"));
    const std::string sentence = why(known().meet("member-0", one));
    INFO(sentence);
    CHECK(has(sentence, "line 2 of " + (path / known_parties_name).string()));
    CHECK_FALSE(has(sentence, "stands between"));
    CHECK(known().meet("member-1", one));
}

TEST_CASE_METHOD(Fixture, "what is there and cannot be looked at is not a first time") {
    line("member-0 " + fingerprint_of(one));
    SECTION("the file leads nowhere") {
        fs::remove(path / known_parties_name);
        fs::create_symlink(known_parties_name, path / known_parties_name);  // ELOOP
        CHECK(has(why(known().meet("member-0", two)), "cannot open"));
    }
    SECTION("the file is none") {
        fs::remove(path / known_parties_name);
        fs::create_directory(path / known_parties_name);
        CHECK(has(why(known().meet("member-0", two)), "cannot read"));
    }
    SECTION("a .pub file leads nowhere") {
        fs::create_symlink("member-1.pub", path / "member-1.pub");
        CHECK(has(why(known().meet("member-1", two)), "cannot read"));
        fs::create_symlink("gone", path / "member-2.pub");
        CHECK(has(why(known().meet("member-2", two)), "cannot read"));
    }
    SECTION("a directory on the way is none") {
        KnownParties below(path, path / known_parties_name / "x", FirstUse::take, [](auto&) {});
        CHECK(has(why(below.meet("member-0", two)), "cannot open"));
        KnownParties pub(path / known_parties_name, path / "other", FirstUse::take, [](auto&) {});
        CHECK(has(why(pub.meet("member-0", two)), "cannot look at"));
    }
    SECTION("a directory that may not be entered") {
        if (::geteuid() == 0) return;  // who may enter all; the sections above have the same error
        const fs::path closed = path / "closed";
        fs::create_directory(closed);
        std::ofstream(closed / known_parties_name) << "member-0 " + fingerprint_of(one) + "\n";
        fs::permissions(closed, fs::perms::none);
        KnownParties shut(path, closed / known_parties_name, FirstUse::take, [](auto&) {});
        CHECK(has(why(shut.meet("member-0", two)), "cannot open"));
        fs::permissions(closed, fs::perms::owner_all);
    }
    CHECK(told.empty());
}

TEST_CASE_METHOD(Fixture, "a line without its end stays as it is when one more is noted") {
    std::ofstream(path / known_parties_name) << "alice " + fingerprint_of(one);
    CHECK(known().meet("member-0", two));
    CHECK(known().meet("alice", one));
    CHECK_FALSE(known().meet("alice", two));
    CHECK_FALSE(known().meet("member-0", one));
}

TEST_CASE_METHOD(Fixture, "two processes do not note two keys of one name") {
    const fs::path file = path / known_parties_name;
    for (int round = 0; round < 20; ++round) {
        const std::string name = "member-" + std::to_string(round);
        int go[2];
        REQUIRE(::pipe(go) == 0);
        pid_t children[2];
        for (int child = 0; child < 2; ++child) {
            children[child] = ::fork();
            REQUIRE(children[child] >= 0);
            if (children[child] != 0) continue;
            ::close(go[1]);
            char byte = 0;
            (void)!::read(go[0], &byte, 1);  // until both are there
            KnownParties mine(path, file, FirstUse::take, [](auto&) {});
            ::_exit(mine.meet(name, child == 0 ? one : two) ? 0 : 1);
        }
        ::close(go[0]);
        ::close(go[1]);
        int taken = 0;
        for (const pid_t child : children) {
            int status = 0;
            REQUIRE(::waitpid(child, &status, 0) == child);
            REQUIRE(WIFEXITED(status));
            taken += WEXITSTATUS(status) == 0 ? 1 : 0;
        }
        CHECK(taken == 1);
    }
}

TEST_CASE_METHOD(Fixture, "a name that is made of a known one has the key of that") {
    const std::string made = "master-0123456789abcdef";
    SECTION("which was handed out") {
        const auto handed = make_key_files(path, "master", wall_seconds() + 1000);
        REQUIRE(handed);
        const std::string no = why(known().meet(made, two));
        CHECK(has(no, fingerprint_of(two)));
        CHECK(has(no, "master.pub"));
        CHECK_FALSE(known().knows(made, two));
        CHECK(known().meet(made, handed->pair.public_key));
        // nor when the name was noted before the file came
        line(made + " " + fingerprint_of(two));
        CHECK_FALSE(known().meet(made, two));
        CHECK_FALSE(known().knows(made, two));
    }
    SECTION("which was seen first") {
        CHECK(known().meet("master", one));
        CHECK_FALSE(known().meet(made, two));
        CHECK(known().meet(made, one));
        CHECK(known().knows(made, one));
        CHECK(told.size() == 1);
    }
    SECTION("and who has a line of the longer name is held against that") {
        line(made + " " + fingerprint_of(one));
        CHECK(known().agrees(made, one));
        CHECK_FALSE(known().agrees(made, two));
        CHECK(known().agrees("other-01234567", two));  // nothing is known of it
        CHECK(told.empty());
    }
    SECTION("and one of a name that nobody knows is like any other, up to a number") {
        CHECK(known().meet(made, two));
        CHECK_FALSE(known().meet(made, one));
        for (int i = 1; i < 64; ++i)
            CHECK(known().meet("master-" + std::to_string(10'000'000 + i), two));
        CHECK(has(why(known().meet("master-20000000", two)), "many names"));
        CHECK(known().meet("member-0", one));
    }
}

TEST_CASE_METHOD(Fixture, "bus.first_use = refuse takes no key but known ones") {
    const auto strict = [this] { return known(FirstUse::refuse); };
    const auto no = strict().meet("eve", two);
    REQUIRE_FALSE(no);
    CHECK(no.error().code == Errc::refused);
    CHECK(has(no.error().sentence, "eve " + fingerprint_of(two)));  // the line to write
    CHECK_FALSE(has(no.error().for_others, path.string()));
    CHECK_FALSE(fs::exists(path / known_parties_name));
    line("eve " + fingerprint_of(two));
    CHECK(strict().meet("eve", two));
    CHECK_FALSE(strict().meet("eve", one));
    const auto handed = make_key_files(path, "bank", wall_seconds() + 1000);
    REQUIRE(handed);
    CHECK(strict().meet("bank", handed->pair.public_key));
    CHECK(told.empty());
}

TEST_CASE_METHOD(Fixture, "a file that others may write is told, once") {
    line("member-0 " + fingerprint_of(one));
    REQUIRE(::chmod((path / known_parties_name).c_str(), 0620) == 0);
    KnownParties parties = known();
    CHECK(parties.meet("member-0", one));
    CHECK(parties.meet("member-0", one));
    REQUIRE(told.size() == 1);
    CHECK(has(told[0], "others may write"));
}
