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
    KnownParties known() {
        return {path, path / known_parties_name,
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

TEST_CASE_METHOD(Fixture, "a file that cannot be written is told, one that is no text refuses") {
    KnownParties nowhere(path, path / "missing" / "file",
                         [this](const std::string& line) { told.push_back(line); });
    CHECK(nowhere.meet("member-0", one));
    REQUIRE(told.size() == 1);
    CHECK(has(told[0], "cannot be noted"));
    line(std::string(10'000, 'x'));
    CHECK_FALSE(known().meet("member-1", one));
    CHECK_FALSE(fs::file_size(path / known_parties_name) > 10'100);
}
