// Writing durably, method: a file system that only takes down what it is asked for.

#include <set>
#include <string>
#include <vector>

#include "base/durable.hpp"
#include "catch.hpp"

using namespace vflbus;
namespace fs = std::filesystem;

namespace {

struct Steps final : FileSteps {
    std::vector<std::string> done;
    std::set<std::string> directories;
    std::set<std::string> durable;
    std::string fails_at;
    Errc fails_with = Errc::io;

    Result<> step(const std::string& what) {
        done.push_back(what);
        if (what == fails_at) return fail(fails_with, "no space left on device");
        return {};
    }
    bool is_directory(const fs::path& path) override {
        return path == "." || directories.contains(path.string());
    }
    Result<> make_directory(const fs::path& path) override {
        directories.insert(path.string());
        return step("make " + path.string());
    }
    Result<> write(const fs::path& path, std::string_view content) override {
        return step("write " + path.string() + " " + std::string(content));
    }
    Result<> sync(const fs::path& path) override { return step("sync " + path.string()); }
    Result<> rename(const fs::path& from, const fs::path& to) override {
        return step("rename " + from.string() + " " + to.string());
    }
    Result<> sync_directory(const fs::path& path) override {
        return step("sync names of " + path.string());
    }
    bool is_durable(const fs::path& path) override {
        return path == "." || durable.contains(path.string());
    }
    void note_durable(const fs::path& path) override { durable.insert(path.string()); }
    void discard(const fs::path& path) noexcept override {
        done.push_back("discard " + path.string());
    }
};

using Story = std::vector<std::string>;

}  // namespace

TEST_CASE("a file is synced before its name, and a new directory into the one above") {
    Steps steps;
    REQUIRE(write_durably(steps, "a/b/file", "a/b/tmp", "text"));
    CHECK(steps.done == Story{"make a", "sync names of .", "make a/b", "sync names of a",
                              "write a/b/tmp text", "sync a/b/tmp", "rename a/b/tmp a/b/file",
                              "sync names of a/b"});
    steps.done.clear();
    REQUIRE(write_durably(steps, "a/b/file", "a/b/tmp", "more"));
    CHECK(steps.done == Story{"write a/b/tmp more", "sync a/b/tmp", "rename a/b/tmp a/b/file",
                              "sync names of a/b"});
}

TEST_CASE("a directory that an earlier process made may not be on the disk yet") {
    Steps steps;
    steps.directories = {"a"};
    REQUIRE(write_durably(steps, "a/file", "a/tmp", "text"));
    CHECK(steps.done.front() == "sync names of .");
    // above it may be what is not ours to open
    Steps strange;
    strange.directories = {"a"};
    strange.fails_at = "sync names of .";
    strange.fails_with = Errc::refused;
    CHECK(write_durably(strange, "a/file", "a/tmp", "text"));
}

TEST_CASE("a directory whose name could not be stored is not taken for stored the next time") {
    Steps steps;
    steps.fails_at = "sync names of .";
    CHECK(!write_durably(steps, "a/file", "a/tmp", "text"));
    CHECK(!write_durably(steps, "a/file", "a/tmp", "text"));  // it is there by now
    steps.fails_at.clear();
    steps.done.clear();
    CHECK(write_durably(steps, "a/file", "a/tmp", "text"));
    CHECK(steps.done.front() == "sync names of .");
}

TEST_CASE("what fails is told, and leaves no temporary file") {
    for (const char* at : {"write a/tmp text", "sync a/tmp", "rename a/tmp a/file"}) {
        Steps steps;
        steps.fails_at = at;
        const auto done = write_durably(steps, "a/file", "a/tmp", "text");
        REQUIRE(!done);
        CHECK(done.error().code == Errc::io);
        CHECK(steps.done.back() == "discard a/tmp");
    }
    for (const char* at : {"make a", "sync names of .", "sync names of a"}) {
        Steps steps;
        steps.fails_at = at;
        CHECK(!write_durably(steps, "a/file", "a/tmp", "text"));
        CHECK(steps.done.back() == at);
    }
}
