#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "catch.hpp"
#include "observe/audit.hpp"

using namespace vflbus;
using namespace vflbus::observe;

namespace {

namespace fs = std::filesystem;

class Place {
  public:
    Place() : path_(fs::temp_directory_path() / ("vflbus-audit-" + std::to_string(random_u64()))) {
        fs::create_directories(path_);
    }
    ~Place() { fs::remove_all(path_); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    [[nodiscard]] fs::path log() const { return audit_file(path_ / "audit"); }
    [[nodiscard]] fs::path directory() const { return path_ / "audit"; }

  private:
    fs::path path_;
};

std::string slurped(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}
void spit(const fs::path& file, const std::string& text) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
}
std::vector<std::string> lines_of(const fs::path& file) {
    std::vector<std::string> lines;
    std::istringstream in(slurped(file));
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}
std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

/// A log with signatures in its middle and at its end.
void make_log(const Place& place, int events = 7) {
    AuditOptions options;
    options.sign_after_lines = 3;
    auto log = AuditLog::open(place.directory(), options);
    INFO((log ? std::string() : log.error().sentence));
    REQUIRE(log);
    for (int i = 0; i < events; ++i)
        REQUIRE(
            (*log)->append("decision", Json{{"run", std::to_string(i)}, {"let_in", i % 2 == 0}}));
}

/// What the command of somebody at the node does, `vflbus grant` for instance.
Result<> add_by_command(const Place& place) {
    auto log = AuditLog::open(place.directory(), {.says_started = false});
    if (!log) return tl::unexpected(log.error());
    return (*log)->append("grant", Json{{"by", "somebody"}});
}

std::vector<std::string> events_of(const fs::path& file) {
    std::vector<std::string> events;
    for (const std::string& line : lines_of(file))
        events.push_back(Json::parse(line).at("event").get<std::string>());
    return events;
}

/// The first line that is a signature, at this number or behind it.
std::size_t lines_to_signature(const std::vector<std::string>& lines, std::size_t at_least) {
    for (std::size_t n = at_least; n <= lines.size(); ++n)
        if (Json::parse(lines[n - 1]).at("event") == "signature") return n;
    return 0;
}

bool good(const Place& place) {
    const auto verdict = verify_audit(place.log(), {});
    if (!verdict) UNSCOPED_INFO(verdict.error().sentence);
    return verdict.has_value();
}

}  // namespace

TEST_CASE("a log is whole over restarts", "[audit]") {
    const Place place;
    make_log(place);
    make_log(place);
    std::uint64_t events = 0;
    const auto verdict =
        verify_audit(place.log(), {}, [&](std::uint64_t line, const Json& content) {
            CHECK(content.at("n").get<std::uint64_t>() == line);
            if (content.at("event") == "decision") ++events;
        });
    REQUIRE(verdict);
    CHECK(events == 14);
    CHECK(verdict->signed_lines == verdict->lines);
    CHECK(verdict->note.empty());
    CHECK(verdict->torn == 0);
    CHECK(lines_of(place.log()).size() == verdict->lines);
    // the format, by hand
    const auto lines = lines_of(place.log());
    CHECK(Json::parse(lines[0]).at("prev") == std::string(64, '0'));
    for (std::size_t i = 1; i < lines.size(); ++i)
        CHECK(Json::parse(lines[i]).at("prev") == to_hex(sha256(lines[i - 1])));
    CHECK((fs::status(audit_key_file(place.directory())).permissions() & fs::perms::all) ==
          (fs::perms::owner_read | fs::perms::owner_write));
    // what was written down elsewhere holds of the longer log too
    AuditExpected expected;
    expected.head = verdict->head;
    expected.public_key = verdict->public_key;
    make_log(place);
    CHECK(verify_audit(place.log(), expected));
    expected.head = "3:" + std::string(64, 'a');
    CHECK_FALSE(verify_audit(place.log(), expected));
    expected.head.clear();
    expected.public_key = std::string(64, 'a');
    CHECK_FALSE(verify_audit(place.log(), expected));
}

TEST_CASE("every change of every line shows", "[audit]") {
    const Place place;
    make_log(place);
    const std::vector<std::string> lines = lines_of(place.log());
    REQUIRE(lines.size() >= 10);
    REQUIRE(good(place));
    const auto shows = [&](const std::vector<std::string>& changed) {
        spit(place.log(), joined(changed));
        const auto verdict = verify_audit(place.log(), {});
        const bool seen = !verdict && verdict.error().code == Errc::bad_data;
        spit(place.log(), joined(lines));
        return seen;
    };
    for (std::size_t i = 0; i < lines.size(); ++i) {
        INFO("line " << i + 1 << " of " << lines.size() << ": " << lines[i]);
        // each byte, were it another one
        for (std::size_t at = 0; at < lines[i].size(); at += at < 200 ? 7 : 13) {
            auto changed = lines;
            changed[i][at] = changed[i][at] == 'x' ? 'y' : 'x';
            CHECK(shows(changed));
        }
        auto changed = lines;
        changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
        CHECK(shows(changed));
        changed = lines;
        changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
        CHECK(shows(changed));
        changed = lines;
        changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), "");
        CHECK(shows(changed));
        for (std::size_t j = i + 1; j < lines.size(); ++j) {
            changed = lines;
            std::swap(changed[i], changed[j]);
            CHECK(shows(changed));
        }
        changed = lines;
        changed.resize(i);
        CHECK(shows(changed));
    }
}

TEST_CASE("a chain that was computed anew has no signature", "[audit]") {
    const Place place;
    make_log(place);
    auto lines = lines_of(place.log());
    for (std::size_t from = 0; from < lines.size(); ++from) {
        auto forged = lines;
        auto content = Json::parse(forged[from]);
        content["event"] = "nothing";
        forged[from] = content.dump();
        for (std::size_t i = from + 1; i < forged.size(); ++i) {
            auto line = Json::parse(forged[i]);
            line["prev"] = to_hex(sha256(forged[i - 1]));
            forged[i] = line.dump();
        }
        INFO("from line " << from + 1);
        spit(place.log(), joined(forged));
        CHECK_FALSE(verify_audit(place.log(), {}));
    }
}

TEST_CASE("without the last signature beside it a log may have been cut", "[audit]") {
    const Place place;
    make_log(place);
    fs::remove(audit_head_file(place.directory()));
    CHECK_FALSE(verify_audit(place.log(), {}));
    AuditExpected expected;
    expected.head_file = false;
    CHECK(verify_audit(place.log(), expected));
}

TEST_CASE("a line that a crash has cut off is told of by the next one", "[audit]") {
    const Place place;
    make_log(place);
    const std::string whole = slurped(place.log());
    const std::string last = lines_of(place.log()).back() + "\n";
    const std::string next = R"({"n":99,"time":"2026-01-01T00:00:00.000Z","prev":"00)";
    // what a killed process may have left: pieces of its next line, at whatever byte
    for (std::size_t bytes = 1; bytes <= next.size(); bytes += 5) {
        INFO(bytes << " bytes");
        const Place copy;
        fs::copy(place.directory(), copy.directory());
        spit(copy.log(), whole + next.substr(0, bytes));
        const auto before = verify_audit(copy.log(), {});
        REQUIRE(before);
        CHECK(before->note.find("has no end") != std::string::npos);
        make_log(copy, 1);
        const auto verdict = verify_audit(copy.log(), {});
        REQUIRE(verdict);
        CHECK(verdict->torn == 1);
        // and again, while it told of that
        const std::string text = slurped(copy.log());
        const std::size_t told = text.find("\"torn\"");
        REQUIRE(told != std::string::npos);
        for (const std::size_t cut : {told + 3, text.rfind('\n', told) + 1}) {
            spit(copy.log(), text.substr(0, cut));
            spit(audit_head_file(copy.directory()), slurped(audit_head_file(place.directory())));
            make_log(copy, 1);
            CHECK(good(copy));
        }
    }
    // a whole line that lacks its end alone lacks nothing
    const Place copy;
    fs::copy(place.directory(), copy.directory());
    spit(copy.log(), whole.substr(0, whole.size() - 1));
    make_log(copy, 1);
    const auto verdict = verify_audit(copy.log(), {});
    REQUIRE(verdict);
    CHECK(verdict->torn == 0);
}

TEST_CASE("nothing is added to a log that was changed", "[audit]") {
    const Place place;
    make_log(place);
    const auto lines = lines_of(place.log());
    SECTION("its end was cut off") {
        spit(place.log(), joined({lines.begin(), lines.end() - 2}));
        const auto opened = AuditLog::open(place.directory());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == Errc::bad_data);
        CHECK(opened.error().sentence.find("cut off") != std::string::npos);
    }
    SECTION("its key is gone") {
        fs::remove(audit_key_file(place.directory()));
        const auto opened = AuditLog::open(place.directory());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().sentence.find("another key") != std::string::npos);
    }
    SECTION("others may read its key") {
        fs::permissions(audit_key_file(place.directory()), fs::perms::group_read,
                        fs::perm_options::add);
        const auto opened = AuditLog::open(place.directory());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == Errc::insecure);
    }
    SECTION("its end was written anew, as long as it was") {
        // a chain needs no key, only signatures do; the head file is as the node left it
        const std::size_t kept = lines_to_signature(lines, 4);
        REQUIRE(kept + 2 < lines.size());
        std::vector<std::string> forged(lines.begin(),
                                        lines.begin() + static_cast<std::ptrdiff_t>(kept));
        while (forged.size() < lines.size() + 3)
            forged.push_back(Json{{"n", forged.size() + 1},
                                  {"time", ""},
                                  {"prev", to_hex(sha256(forged.back()))},
                                  {"event", "nothing"}}
                                 .dump());
        spit(place.log(), joined(forged));
        REQUIRE_FALSE(verify_audit(place.log(), {}));
        const auto opened = AuditLog::open(place.directory());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().sentence.find("written anew") != std::string::npos);
        CHECK_FALSE(add_by_command(place));
        CHECK_FALSE(verify_audit(place.log(), {}));
    }
    SECTION("what stands behind its last line is no line, and too long") {
        for (const std::size_t zeros : {std::size_t{audit_line_bytes_max}, std::size_t{300'000}}) {
            INFO(zeros << " zeros");
            spit(place.log(), joined(lines) + std::string(zeros, '\0'));
            const auto verdict = verify_audit(place.log(), {});
            REQUIRE_FALSE(verdict);
            CHECK(verdict.error().code == Errc::bad_data);
            CHECK(verdict.error().sentence.find("longer than any line") != std::string::npos);
            const auto opened = AuditLog::open(place.directory());
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code == Errc::bad_data);
        }
        // a piece that a line of the node may have left
        spit(place.log(), joined(lines) + std::string(audit_line_bytes_max - 1, '\0'));
        CHECK(verify_audit(place.log(), {}));
        CHECK(AuditLog::open(place.directory()));
        CHECK(good(place));
    }
}

TEST_CASE("nothing is added to a log that is changed while it is open", "[audit]") {
    const Place place;
    make_log(place);
    const auto lines = lines_of(place.log());
    auto log = AuditLog::open(place.directory());
    REQUIRE(log);
    const std::string whole = slurped(place.log());
    const auto refused = [&](const std::string& how) {
        const auto added = (*log)->append("decision", Json::object());
        REQUIRE_FALSE(added);
        CHECK(added.error().code == Errc::bad_data);
        INFO(added.error().sentence);
        CHECK(added.error().sentence.find(how) != std::string::npos);
        CHECK(added.error().sentence.find("a new log begins") != std::string::npos);
        CHECK_FALSE((*log)->append("decision", Json::object()));  // and so is every later one
    };
    SECTION("it became shorter") {
        spit(place.log(), joined({lines.begin(), lines.begin() + 2}));
        refused("shorter");
    }
    SECTION("it became longer by what is no line") {
        spit(place.log(), whole + std::string(300'000, '\0'));
        refused("no node writes");
    }
    SECTION("it was removed") {
        fs::remove(place.log());
        refused("was removed");
    }
    SECTION("it was moved away") {
        fs::rename(place.log(), place.directory() / "log.1");
        refused("was removed");
        CHECK(slurped(place.directory() / "log.1") == whole);
    }
    SECTION("it was replaced by a copy of itself") {
        fs::copy(place.log(), place.directory() / "copy");
        fs::rename(place.directory() / "copy", place.log());
        refused("was replaced");
        log->reset();
        CHECK(slurped(place.log()) == whole);
    }
    SECTION("its end was written anew, and is longer") {
        auto forged = lines_of(place.log());
        forged.resize(forged.size() - 3);
        while (joined(forged).size() <= whole.size() + 200)
            forged.push_back(Json{{"n", forged.size() + 1},
                                  {"time", ""},
                                  {"prev", to_hex(sha256(forged.back()))},
                                  {"event", "nothing"}}
                                 .dump());
        spit(place.log(), joined(forged));
        refused("was changed");
    }
}

TEST_CASE("a log that was cut and lost its head file says so for ever", "[audit]") {
    const Place place;
    make_log(place, 12);
    const auto lines = lines_of(place.log());
    const bool emptied = GENERATE(true, false);
    const bool by_command = GENERATE(true, false);
    const std::size_t kept = GENERATE(3, 0, 4);  // 0: at a signature
    INFO("emptied " << emptied << ", by command " << by_command << ", kept " << kept);
    const std::size_t cut = kept == 0 ? lines_to_signature(lines, 5) : kept;
    REQUIRE(cut < lines.size());
    spit(place.log(), joined({lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(cut)}));
    if (emptied)
        spit(audit_head_file(place.directory()), "");
    else
        fs::remove(audit_head_file(place.directory()));
    CHECK_FALSE(verify_audit(place.log(), {}));
    if (by_command)
        REQUIRE(add_by_command(place));
    else
        make_log(place, 1);
    make_log(place, 5);
    const auto after = lines_of(place.log());
    CHECK(Json::parse(after[cut]).at("event") == "head missing");
    CHECK(Json::parse(after[cut]).at("head") == (emptied ? "no signature" : "absent"));
    CHECK(Json::parse(after[cut + 1]).at("event") == "signature");

    const auto verdict = verify_audit(place.log(), {});
    REQUIRE_FALSE(verdict);
    CHECK(verdict.error().code == Errc::bad_data);
    const std::string told = "line " + std::to_string(cut + 1) + " tells that the head file";
    CHECK(verdict.error().sentence.find(told) != std::string::npos);
    // to take that line out again breaks the chain
    auto without = after;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(cut));
    spit(place.log(), joined(without));
    CHECK_FALSE(verify_audit(place.log(), {.head_file = false}));
    spit(place.log(), joined(after));
    // who asks for no head file is told; a signature from before does not settle it, a later does
    const auto noted = verify_audit(place.log(), {.head_file = false});
    REQUIRE(noted);
    CHECK(noted->head_missing == cut + 1);
    CHECK(noted->note.find(told) == 0);
    CHECK_FALSE(verify_audit(place.log(), {.head = "1:" + to_hex(sha256(after[0]))}));
    const auto later = verify_audit(place.log(), {.head = noted->head});
    REQUIRE(later);
    CHECK(later->note.find(told) == 0);
}

TEST_CASE("a head file that the node did not write is as good as none", "[audit]") {
    const Place place;
    make_log(place);
    const fs::path head = audit_head_file(place.directory());
    auto content = Json::parse(lines_of(head).at(0));
    const std::size_t before = lines_of(place.log()).size();
    SECTION("a signature that is none") {
        content["n"] = 1;
        spit(head, content.dump() + "\n");
    }
    SECTION("a line without a signature") {
        spit(head, lines_of(place.log()).at(1) + "\n");
        REQUIRE(events_of(head).at(0) != "signature");
    }
    SECTION("zeros") {
        spit(head, std::string(500, '\0'));
    }
    REQUIRE(add_by_command(place));
    CHECK(events_of(place.log()).at(before) == "head missing");
    CHECK_FALSE(verify_audit(place.log(), {}));
}

TEST_CASE("a log and a head file that were emptied together", "[audit]") {
    const Place place;
    make_log(place);
    spit(place.log(), "");
    CHECK_FALSE(AuditLog::open(place.directory()));  // the head file holds a later line
    spit(audit_head_file(place.directory()), "");
    make_log(place);
    CHECK(events_of(place.log()).at(0) == "head missing");
    CHECK_FALSE(verify_audit(place.log(), {}));
}

TEST_CASE("a node that was killed at any byte goes on with a whole log", "[audit]") {
    // log and head file after each step that a node makes, as a kill there leaves them
    const Place place;
    {
        auto log = AuditLog::open(place.directory(), {.sign_after_lines = 3});
        REQUIRE(log);
        for (int i = 0; i < 4; ++i) REQUIRE((*log)->append("decision", Json{{"run", i}}));
    }
    const auto lines = lines_of(place.log());
    CHECK(events_of(place.log()) == std::vector<std::string>{"signature", "started", "signature",
                                                             "decision", "decision", "decision",
                                                             "signature", "decision", "signature"});
    const auto goes_on = [&](const std::string& log, const std::string& head, bool by_command) {
        const Place copy;
        fs::copy(place.directory(), copy.directory());
        spit(copy.log(), log);
        spit(audit_head_file(copy.directory()), head);
        if (by_command)
            REQUIRE(add_by_command(copy));
        else
            make_log(copy, 1);
        CHECK(good(copy));
        CHECK(slurped(copy.log()).find("head missing") == std::string::npos);
    };
    std::string log;
    std::string head = lines[0] + "\n";  // the first one is there before the log has it
    for (const std::string& line : lines) {
        for (std::size_t bytes = 0; bytes <= line.size(); bytes += bytes < 2 ? 1 : 113) {
            INFO("line " << line << " of which " << bytes << " bytes were written");
            goes_on(log + line.substr(0, bytes), head, bytes % 2 == 0);
        }
        log += line + "\n";
        goes_on(log, head, false);  // and before a signature is in the head file
        goes_on(log, head, true);
        if (line.find("\"signature\"") != std::string::npos) head = line + "\n";
    }
    // before it had a head file there was no line
    const Place fresh;
    fs::create_directories(fresh.directory());
    fs::copy(audit_key_file(place.directory()), audit_key_file(fresh.directory()));
    spit(fresh.log(), "");
    make_log(fresh, 1);
    CHECK(good(fresh));
}

TEST_CASE("two processes add to one log", "[audit]") {
    const Place place;
    auto a = AuditLog::open(place.directory());
    REQUIRE(a);
    AuditOptions options;
    options.says_started = false;
    auto b = AuditLog::open(place.directory(), options);
    REQUIRE(b);
    for (int i = 0; i < 5; ++i) {
        REQUIRE((*a)->append("decision", Json{{"by", "a"}}));
        REQUIRE((*b)->append("grant", Json{{"by", "b"}}));
    }
    a->reset();
    b->reset();
    CHECK(good(place));
}

TEST_CASE("the last signature is found far from the end of a log", "[audit]") {
    const Place place;
    const Place copy;
    {
        auto log = AuditLog::open(place.directory(), {.sign_after_lines = 1000});
        REQUIRE(log);
        const Json wide{{"names", std::string(audit_line_bytes_max - 1000, 'n')}};
        for (int i = 0; i < 8; ++i) REQUIRE((*log)->append("table", wide));
        fs::copy(place.directory(), copy.directory());  // as a kill leaves it
    }
    REQUIRE(events_of(copy.log()).back() == "table");
    make_log(copy, 1);
    CHECK(good(copy));
    // a log of the same node that has other lines
    make_log(place, 7);
    spit(copy.log(), slurped(place.log()));
    const auto opened = AuditLog::open(copy.directory());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Errc::bad_data);
    CHECK(opened.error().sentence.find("written anew") != std::string::npos);
}

TEST_CASE("a full disk loses no line silently", "[audit]") {
    const Place place;
    make_log(place, 2);
    // a file that may not grow is the nearest that there is to a full disk; in a process of its
    // own, as the limit is one of the process
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGXFSZ, SIG_IGN);
        const auto size = fs::file_size(place.log());
        auto log = AuditLog::open(place.directory(), {.says_started = false});
        if (!log) ::_exit(1);
        const rlimit limit{size + 100, RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const auto full = (*log)->append("decision", Json{{"run", std::string(200, 'r')}});
        if (full || full.error().code != Errc::io) ::_exit(2);
        const auto again = (*log)->append("decision", Json{{"run", "still"}});
        if (again) ::_exit(3);
        const rlimit free{RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &free);
        if (!(*log)->append("decision", Json{{"run", "after"}})) ::_exit(4);
        log->reset();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    const auto verdict = verify_audit(place.log(), {});
    REQUIRE(verdict);
    CHECK(verdict->torn == 1);
    CHECK(slurped(place.log()).find("\"after\"") != std::string::npos);
}
