// Sources other than plain files: commands, files that change, what is said about them.

#include <unistd.h>

#include <chrono>

#include "data/counted_columns.hpp"
#include "data/source.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {

ReadOptions command(const std::string& text) {
    ReadOptions options;
    options.location = "exec:" + text;
    options.party = "member-0";
    return options;
}

Failure refusal_of(const ReadOptions& options) {
    const auto table = data::read(options);
    if (table) return {Errc::ok, "accepted"};
    return table.error();
}

}  // namespace

TEST_CASE("a command's standard output is a table") {
    const auto table = data::read(command("printf 'id;x\\na;1,5\\nb;2,5\\n'"));
    REQUIRE(table);
    CHECK(table->rows() == 2);
    CHECK(table->features[0].numbers[1] == 2.5);
    CHECK(table->place_of(1).line == 3);
}

TEST_CASE("a column of a LIBSVM text or a matrix can be left out, the label too") {
    const Scratch scratch;
    ReadOptions options;
    options.location = scratch.write("1 1:0.5 3:2\n0 2:7\n1 1:4\n", "a.svm");
    options.id = std::string(row_number_id);
    options.exclude = {"label", "x2"};
    const auto table = data::read(options);
    REQUIRE(table);
    REQUIRE(table->features.size() == 2);
    CHECK(table->features[0].name == "x1");
    CHECK(table->features[0].numbers[2] == 4);
    CHECK(table->features[1].numbers[0] == 2);
    const auto source = open_source(options);
    REQUIRE(source);
    const auto* const counted = dynamic_cast<const CountedColumns*>(source->get());
    REQUIRE(counted != nullptr);
    CHECK(counted->is_counted("x1"));
    CHECK_FALSE(counted->is_counted("label"));
}

TEST_CASE("a command's end is minded, and others are not told what it said") {
    Failure failure = refusal_of(command("echo id,x; echo no such table secret >&2; exit 3"));
    CHECK(failure.code == Errc::io);
    CHECK_THAT(failure.sentence, Contains("ended with code 3: no such table secret"));
    CHECK(failure.for_others == "member-0: the output of its command ended with code 3");
    failure = refusal_of(command("no-such-program-here"));
    CHECK_THAT(failure.sentence, Contains("was not found (code 127)"));
    failure = refusal_of(command("kill -9 $$"));
    CHECK_THAT(failure.sentence, Contains("was killed by signal 9"));
    failure = refusal_of(command("true"));
    CHECK_THAT(failure.sentence, Contains("wrote nothing to its standard output"));
    failure = refusal_of(command("printf 'id,x\\na,1,2\\n'"));
    CHECK_THAT(failure.sentence, Contains("line 2: the row has 3 or more cells"));
    CHECK_THAT(failure.for_others, Contains("member-0: the output of its command, line 2"));
}

TEST_CASE("a command has a time limit, and nothing of it is left behind") {
    const Scratch scratch;
    const std::string pid_file = (scratch.path / "pid").string();
    ReadOptions options = command("sleep 100 & echo $! >" + pid_file + "; echo id,x; sleep 100");
    options.timeout = std::chrono::duration<double>(0.3);
    const auto begin = std::chrono::steady_clock::now();
    const Failure failure = refusal_of(options);
    CHECK_THAT(failure.sentence, Contains("did not end within 0.30 s (source_timeout)"));
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
    int pid = 0;
    std::ifstream(pid_file) >> pid;
    REQUIRE(pid > 0);
    bool gone = false;
    for (int i = 0; i < 1'000 && !gone; ++i) {
        // a process that was killed is nobody's child here: it may be a zombie for a moment
        std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
        std::string word, state;
        stat >> word >> word >> state;
        gone = !stat || state == "Z";
        if (!gone) ::usleep(10'000);
    }
    CHECK(gone);
}

TEST_CASE("what a command starts does not hold the files of this process") {
    const Scratch scratch;
    std::ofstream open(scratch.path / "open");
    const auto table = data::read(command("printf 'id,x\\n'; ls /proc/self/fd | sed 's/$/,1/'"));
    REQUIRE(table);
    for (std::size_t row = 0; row < table->rows(); ++row)
        CHECK(std::stoi(std::string(table->ids[row])) < 5);
}
