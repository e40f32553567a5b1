// What is looked at whenever an actor starts, with planted sizes and files.

#include <sys/stat.h>

#include <fstream>

#include "quick_look.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::cli;

namespace {

struct Started {
    Started() {
        config.output.runs_dir = scratch.path / "runs";
        std::filesystem::create_directory(config.output.runs_dir);
        config::PartyConfig& party = config.parties["member-0"];
        party.data = file("table.csv");
        party.policy = file("policy.toml");
    }
    std::string file(const std::string& name) {
        const std::filesystem::path path = scratch.path / name;
        std::ofstream(path) << "x";
        set(path, 0644);
        return path;
    }
    static void set(const std::filesystem::path& path, mode_t mode) {
        REQUIRE(::chmod(path.c_str(), mode) == 0);
    }
    [[nodiscard]] std::vector<std::string> warnings(const std::string& party = "member-0") const {
        return quick_warnings(config, party, [this](const config::Config&) { return free; });
    }

    testing::Scratch scratch;
    config::Config config;
    std::optional<std::uint64_t> free = std::uint64_t{1} << 40;
};

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a start with all in order says nothing", "[preflight]") {
    Started s;
    CHECK(s.warnings().empty());
    CHECK(s.warnings("").empty());
    s.free.reset();  // nobody can say
    CHECK(s.warnings().empty());
    s.free = disk_needed;
    CHECK(s.warnings().empty());
}

TEST_CASE("a start warns when a run could not commit", "[preflight]") {
    Started s;
    s.free = disk_needed - 1;
    REQUIRE(s.warnings().size() == 1);
    CHECK(has(s.warnings()[0], s.config.output.runs_dir));
    CHECK(has(s.warnings()[0], "make room"));
}

TEST_CASE("a start warns of each file that every user may write", "[preflight]") {
    Started s;
    const auto path = GENERATE(0, 1, 2);
    const std::string what[] = {s.config.output.runs_dir, s.config.parties["member-0"].policy,
                                s.config.parties["member-0"].data};
    const std::string& chosen = what[path];
    Started::set(chosen, 0777);
    REQUIRE(s.warnings().size() == 1);
    CHECK(has(s.warnings()[0], chosen));
    CHECK(has(s.warnings()[0], "chmod o-w"));
    Started::set(chosen, 0770);  // its group is for its owner to choose
    CHECK(s.warnings().empty());
}

TEST_CASE("a directory in which all may write, and only owners remove, is meant so",
          "[preflight]") {
    Started s;
    Started::set(s.config.output.runs_dir, 01777);
    CHECK(s.warnings().empty());
    // a file has no such protection
    Started::set(s.config.parties["member-0"].data, 01666);
    CHECK(s.warnings().size() == 1);
}

TEST_CASE("what is not there yet is no reason to warn", "[preflight]") {
    Started s;
    s.config.output.runs_dir = s.scratch.path / "not" / "there";
    s.config.parties["member-0"].policy.clear();
    s.config.parties["member-0"].data = s.scratch.path / "nor-this";
    CHECK(s.warnings().empty());
    // the disk that counts is that of the directory in which it will be made
    REQUIRE(free_for_runs(s.config));
    CHECK(*free_for_runs(s.config) > 0);
}

TEST_CASE("whose process it is says which files count", "[preflight]") {
    Started s;
    Started::set(s.config.parties["member-0"].data, 0666);
    CHECK(s.warnings("").empty());
    CHECK(s.warnings("member-1").empty());
    CHECK(s.warnings().size() == 1);
}
