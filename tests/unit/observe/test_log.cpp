#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <thread>

#include "base/files.hpp"
#include "base/json.hpp"
#include "base/text.hpp"
#include "catch.hpp"
#include "observe/log.hpp"
#include "observe/log_files.hpp"
#include "recorder.hpp"

using namespace vflbus;
using namespace vflbus::observe;
namespace fs = std::filesystem;

namespace {

/// A recorded console and default levels, put back at the end.
struct Fixture {
    Recorder recorder;
    Console console{recorder.output(false)};
    fs::path directory = fs::temp_directory_path() / ("vflbus-log-" + std::to_string(::getpid()));
    RunId run{};

    Fixture() {
        run.bytes = {0x1f, 0x0c, 0x9a, 0x33};
        log::set_console(&console);
        log::set_identity("member-0");
    }
    ~Fixture() {
        log::set_console(nullptr);
        log::set_identity("");
        log::set_level(log::Level::info);
        log::set_file_level(log::Level::debug);
        log::set_format(log::Format::text);
        CHECK(log::set_part_levels(""));
        log::set_own_file({});
        fs::remove_all(directory);
    }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    /// What was written since the last call, without time stamps.
    std::vector<std::string> lines() { return without_stamps(std::exchange(recorder.text, {})); }

    static std::vector<std::string> without_stamps(const std::string& text) {
        std::vector<std::string> out;
        for (const std::string& line : split(text, '\n')) {
            if (line.empty()) continue;
            REQUIRE(line.size() > 25);
            CHECK(line[4] == '-');
            CHECK(line[10] == 'T');
            CHECK(line.substr(23, 2) == "Z ");
            out.push_back(line.substr(25));
        }
        return out;
    }
    std::vector<std::string> file(const fs::path& path) {
        const auto content = read_file(path);
        REQUIRE(content);
        return without_stamps(*content);
    }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a line says level, node, run, step and text") {
    Fixture f;
    log::info("joined role={} rank={}", "member", 0);
    log::warn({f.run}, "slow peer={}", "member-1");
    log::error({f.run, 120}, "diverged loss={}", 1.5);
    log::info({.node = "broker"}, "listening");
    CHECK(f.lines() == Lines{"info node=member-0 joined role=member rank=0",
                             "warn node=member-0 run=1f0c9a33 slow peer=member-1",
                             "error node=member-0 run=1f0c9a33 step=120 diverged loss=1.5",
                             "info node=broker listening"});
}

TEST_CASE("at a terminal lines have the time of its zone, in files that of UTC") {
    Fixture fixture;
    Console terminal(fixture.recorder.output(true));
    log::set_console(&terminal);
    const char* const before = std::getenv("TZ");
    const std::string zone = before == nullptr ? "" : before;
    ::setenv("TZ", "ABC-13", 1);  // thirteen hours east
    ::tzset();
    const fs::path file = fixture.directory / "log";
    REQUIRE(log::attach_run(fixture.run, "member-0", file));
    const std::time_t first = std::time(nullptr);
    log::info({fixture.run}, "text");
    std::vector<std::string> possible;
    for (std::time_t t = first; t <= std::time(nullptr); ++t) {
        std::tm tm{};
        const std::time_t there = t + 13 * 3600;
        ::gmtime_r(&there, &tm);
        char stamp[32];
        std::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S info ", &tm);
        possible.emplace_back(stamp);
    }
    if (before == nullptr)
        ::unsetenv("TZ");
    else
        ::setenv("TZ", zone.c_str(), 1);
    ::tzset();
    log::detach_run(fixture.run, "member-0");
    CHECK(std::ranges::any_of(possible, [&](const std::string& stamp) {
        return fixture.recorder.text.find(stamp) != std::string::npos;
    }));
    CHECK(fixture.file(file).size() == 1);  // which looks at the stamp
}

TEST_CASE("lines below the level are not formatted") {
    Fixture f;
    CHECK(log::enabled(log::Level::info));
    CHECK_FALSE(log::enabled(log::Level::debug));
    log::debug("hidden");
    log::set_level(log::Level::warn);
    log::info("hidden");
    log::warn("shown");
    log::set_level(log::Level::trace);
    log::trace("shown too");
    log::set_level(log::Level::off);
    log::error("hidden");
    CHECK_FALSE(log::enabled(log::Level::error));
    CHECK(f.lines() == Lines{"warn node=member-0 shown", "trace node=member-0 shown too"});
}

TEST_CASE("level names read back, and others are refused with the names there are") {
    for (const char* name : {"trace", "debug", "info", "warn", "error", "off"})
        CHECK(log::name_of(log::parse_level(name).value()) == name);
    const auto wrong = log::parse_level("loud");
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == Errc::bad_config);
    CHECK(wrong.error().sentence.find("\"loud\"") != std::string::npos);
    CHECK(wrong.error().sentence.find("trace, debug") != std::string::npos);
}

TEST_CASE("nobody forges a line") {
    Fixture f;
    log::info("peer name={}", "x\n2026 error node=master");
    log::info("peer name={}", "\x1b[2J\r");
    CHECK(f.lines() == Lines{"info node=member-0 peer name=x\\n2026 error node=master",
                             "info node=member-0 peer name=\\x1b[2J\\x0d"});
    CHECK(log::value("plain-1.5") == "plain-1.5");
    CHECK(log::value("two words") == "\"two words\"");
    CHECK(log::value("a\"b") == "\"a\\\"b\"");
    CHECK(log::value("a=b") == "\"a=b\"");
    CHECK(log::value("") == "\"\"");
}

TEST_CASE("a run's lines go to its party's file until it is detached") {
    Fixture f;
    const fs::path file = f.directory / "runs" / f.run.hex() / "member-0" / "log";
    REQUIRE(log::attach_run(f.run, "member-0", file));
    log::set_level(log::Level::warn);
    RunId other = f.run;
    other.bytes[15] = 1;
    log::info({f.run, 7}, "kept");
    log::debug({f.run}, "kept as well");
    log::trace({f.run}, "too fine");
    log::info({other}, "another run");
    log::info({.run = f.run, .node = "member-1"}, "another party");
    log::info("no run");
    log::warn({f.run}, "both");
    log::detach_run(f.run, "member-0");
    log::info({f.run}, "late");
    CHECK(f.file(file) == Lines{"info node=member-0 run=1f0c9a33 step=7 kept",
                                "debug node=member-0 run=1f0c9a33 kept as well",
                                "warn node=member-0 run=1f0c9a33 both"});
    CHECK(f.lines() == Lines{"warn node=member-0 run=1f0c9a33 both"});
    CHECK_FALSE(log::enabled(log::Level::debug));
}

TEST_CASE("a run that comes back appends to its log") {
    Fixture f;
    const fs::path file = f.directory / "log";
    for (const char* text : {"first", "second"}) {
        REQUIRE(log::attach_run(f.run, "member-0", file));
        log::info({f.run}, "{}", text);
        log::detach_run(f.run, "member-0");
    }
    CHECK(f.file(file).size() == 2);
}

TEST_CASE("a log file that cannot be made is an error with its path") {
    Fixture f;
    fs::create_directories(f.directory);
    REQUIRE(write_file_atomically(f.directory / "file", "x"));
    const auto inside_a_file = log::attach_run(f.run, "member-0", f.directory / "file" / "log");
    REQUIRE_FALSE(inside_a_file);
    CHECK(inside_a_file.error().code == Errc::io);
    CHECK(inside_a_file.error().sentence.find((f.directory / "file").string()) !=
          std::string::npos);
    const auto a_directory = log::attach_run(f.run, "member-0", f.directory);
    REQUIRE_FALSE(a_directory);
    CHECK(a_directory.error().sentence.find(f.directory.string()) != std::string::npos);
}

TEST_CASE("parties that share a process have names and files of their own, and whole lines") {
    Fixture f;
    constexpr int parties = 4;
    constexpr int lines_each = 50;
    const auto file = [&](int party) { return f.directory / std::to_string(party) / "log"; };
    std::vector<std::thread> threads;
    for (int party = 0; party < parties; ++party)
        threads.emplace_back([&, party] {
            const std::string name = "party-" + std::to_string(party);
            log::set_thread_identity(name);
            (void)log::attach_run(f.run, name, file(party));
            for (int i = 0; i < lines_each; ++i) log::info({f.run}, "line={}", i);
            log::detach_run(f.run, name);
        });
    for (std::thread& thread : threads) thread.join();
    for (int party = 0; party < parties; ++party) {
        const auto lines = f.file(file(party));
        REQUIRE(lines.size() == lines_each);
        for (int i = 0; i < lines_each; ++i)
            CHECK(lines[static_cast<std::size_t>(i)] ==
                  "info node=party-" + std::to_string(party) +
                      " run=1f0c9a33 line=" + std::to_string(i));
    }
    CHECK(f.lines().size() == parties * lines_each);
    log::info("main thread");
    CHECK(f.lines() == Lines{"info node=member-0 main thread"});
}

TEST_CASE("lines of a run's file are in the order of their times, whoever writes them") {
    Fixture f;
    const fs::path file = f.directory / "log";
    REQUIRE(log::attach_run(f.run, "member-0", file));
    constexpr int writers = 4;
    constexpr int lines_each = 1000;
    std::vector<std::thread> threads;
    for (int writer = 0; writer < writers; ++writer)
        threads.emplace_back([&] {
            for (int i = 0; i < lines_each; ++i) log::debug({f.run}, "line={}", i);
        });
    for (std::thread& thread : threads) thread.join();
    log::settle_run(f.run, "member-0");
    const auto content = read_file(file);
    log::detach_run(f.run, "member-0");
    REQUIRE(content.has_value());
    std::vector<std::string> times;
    for (const std::string& line : split(*content, '\n'))
        if (!line.empty()) times.push_back(line.substr(0, line.find(' ')));
    CHECK(times.size() == writers * lines_each);
    CHECK(std::ranges::is_sorted(times));
}

TEST_CASE("lines as JSON read back whole, whatever a peer's name is") {
    Fixture f;
    log::set_format(log::Format::json);
    log::info({f.run, 120, {}, "bus"}, "joined name={}", "a\"b\n{}");
    log::warn("plain");
    const std::vector<std::string> lines = split(std::exchange(f.recorder.text, {}), '\n');
    REQUIRE(lines.size() >= 2);
    const Json first = Json::parse(lines[0]);
    CHECK(first["level"] == "info");
    CHECK(first["part"] == "bus");
    CHECK(first["node"] == "member-0");
    CHECK(first["run"] == f.run.hex());
    CHECK(first["step"] == 120);
    CHECK(first["text"] == "joined name=a\"b\n{}");
    CHECK(first["time"].get<std::string>().size() == sizeof "2026-02-03T04:05:06.789Z" - 1);
    const Json second = Json::parse(lines[1]);
    CHECK(second["part"] == "run");
    CHECK_FALSE(second.contains("run"));
}

TEST_CASE("parts have levels of their own") {
    Fixture f;
    REQUIRE(log::set_part_levels("bus=debug, policy=off"));
    log::debug({.part = "bus"}, "shown");
    log::debug({.part = "serve"}, "hidden");
    log::error({.part = "policy"}, "hidden");
    log::info({.part = "serve"}, "shown too");
    CHECK(f.lines() == Lines{"debug node=member-0 shown", "info node=member-0 shown too"});
    REQUIRE(log::set_part_levels(""));
    CHECK_FALSE(log::enabled(log::Level::debug));
    for (const char* wrong : {"bus", "bus=loud", "nobody=info", "=info"}) {
        const auto refused = log::set_part_levels(wrong);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::bad_config);
    }
}

TEST_CASE("the file of a process is of bounded size and number") {
    Fixture f;
    log::set_own_file({f.directory, 1000, 3});
    for (int i = 0; i < 100; ++i) log::info("line {} of a hundred, which are too many for it", i);
    std::size_t files = 0;
    for (const auto& entry : fs::directory_iterator(f.directory)) {
        ++files;
        CHECK(fs::file_size(entry.path()) <= 1000);
    }
    CHECK(files == 3);
    const auto last = read_file(f.directory / "member-0.log");
    REQUIRE(last);
    CHECK(last->find("line 99 of a hundred") != std::string::npos);
    CHECK(read_file(f.directory / "member-0.2.log")->find("line 99 ") == std::string::npos);
    // without a name there is no file
    log::set_identity("");
    log::info("nobody");
    CHECK_FALSE(fs::exists(f.directory / ".log"));
}

TEST_CASE("a file of the process that cannot be written is said once, and costs no other line") {
    Fixture f;
    REQUIRE(write_file_atomically(f.directory, "a file where the directory should be"));
    log::set_own_file({f.directory / "logs", 1000, 3});
    log::info("one");
    log::info("two");
    const Lines lines = f.lines();
    REQUIRE(lines.size() == 3);
    CHECK(lines[0] == "info node=member-0 one");
    CHECK(lines[1].starts_with("warn node=member-0 no log lines are kept in "));
    CHECK(lines[1].find("logs (output.log_dir): ") != std::string::npos);
    CHECK(lines[2] == "info node=member-0 two");
    // as soon as it is told of another place it writes there
    log::set_own_file({f.directory.string() + "-other", 1000, 3});
    log::info("three");
    CHECK(f.lines() == Lines{"info node=member-0 three"});
    CHECK(read_file(fs::path(f.directory.string() + "-other") / "member-0.log").has_value());
    fs::remove_all(f.directory.string() + "-other");
}

TEST_CASE("the log of a run is of bounded size and number, and positions in it stay right") {
    Fixture f;
    log::set_own_file({{}, 1000, 3});
    const fs::path file = f.directory / "log";
    REQUIRE(log::attach_run(f.run, "member-0", file));
    std::string heard;
    std::uint64_t position = 0;
    const auto follow = [&] {
        for (;;) {
            const LogText read = read_log(file, position, 300);
            CHECK(read.from == position);
            heard += read.text;
            if (read.from + read.text.size() == position) return;
            position = read.from + read.text.size();
        }
    };
    for (int i = 0; i < 100; ++i) {
        log::info({f.run}, "line {} of a hundred, which are too many for it", i);
        if (i % 5 == 0) follow();
    }
    follow();
    const Lines lines = Fixture::without_stamps(heard);
    REQUIRE(lines.size() == 100);
    for (std::size_t i = 0; i < lines.size(); ++i)
        CHECK(lines[i].find("line " + std::to_string(i) + " of a hundred") != std::string::npos);
    std::size_t files = 0;
    for (const auto& entry : fs::directory_iterator(f.directory)) {
        ++files;
        CHECK(fs::file_size(entry.path()) <= 1000);
    }
    CHECK(files == 3);
    const std::string left = whole_log(file);
    CHECK(heard.ends_with(left));
    // who comes later than the oldest lines were removed begins with what is there
    const LogText late = read_log(file, 0, 1 << 20);
    CHECK(late.from == heard.size() - left.size());
    CHECK(left.starts_with(late.text));
    CHECK(late.more);
    // and another process goes on where this one has ended
    log::detach_run(f.run, "member-0");
    REQUIRE(log::attach_run(f.run, "member-0", file));
    log::info({f.run}, "again");
    CHECK(read_log(file, position, 300).text.ends_with("again\n"));
}

TEST_CASE("the log of a run is written as JSON where lines are") {
    Fixture f;
    log::set_format(log::Format::json);
    REQUIRE(log::attach_run(f.run, "member-0", f.directory / "log"));
    log::info({f.run, 7}, "committed");
    const auto line = read_file(f.directory / "log");
    REQUIRE(line);
    CHECK(Json::parse(*line)["text"] == "committed");
    CHECK(Json::parse(*line)["step"] == 7);
    CHECK(*line == f.recorder.text);
}
