// Sources other than plain files: commands, files that change, what is said about them.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "base/location.hpp"
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
    CHECK((*source)->is_counted("x1"));
    CHECK_FALSE((*source)->is_counted("label"));
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
    options.timeout = std::chrono::duration<double>(3.0);
    const auto begin = std::chrono::steady_clock::now();
    const Failure failure = refusal_of(options);
    CHECK_THAT(failure.sentence, Contains("did not end within 3.00 s (source_timeout)"));
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(80));
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

TEST_CASE("others are told a file's name without its directories, and only the kind of others") {
    const auto told = [](const std::string& file) { return Place{"bank", file}.text_for_others(); };
    CHECK(told("data/2026/a.csv") == "bank: a.csv");
    CHECK(told("sqlite:data/shop.db") == "bank: shop.db");
    CHECK(told("-") == "bank: -");
    CHECK(told("exec:cat a.csv") == "bank: the output of its command");
    CHECK(told("postgresql://shop@db/sales") == "bank: its database");
}

// -- databases ---------------------------------------------------------------------------

namespace {

/// A database of what these statements make.
std::string make_database(const Scratch& scratch, const std::string& statements) {
    const std::string path = (scratch.path / "shop.db").string();
    sqlite3* database = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
    const int code = sqlite3_exec(database, statements.c_str(), nullptr, nullptr, nullptr);
    sqlite3_close(database);
    REQUIRE(code == SQLITE_OK);
    return path;
}

ReadOptions query(const std::string& location) {
    ReadOptions options;
    options.location = location;
    options.party = "member-0";
    return options;
}

/// A server that says nothing, or hangs up on everybody.
class FakeServer {
  public:
    explicit FakeServer(bool hangs_up) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(::listen(listener_, 8) == 0);
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        if (hangs_up) hanging_up_ = std::thread([this] { hang_up(); });
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;
    ~FakeServer() {
        ::shutdown(listener_, SHUT_RDWR);
        if (hanging_up_.joinable()) hanging_up_.join();
        ::close(listener_);
    }
    std::string location(const std::string& rest = "?sslmode=disable&query=select 1") const {
        return "postgresql://shop@127.0.0.1:" + std::to_string(port_) + "/sales" + rest;
    }

  private:
    void hang_up() const {
        for (;;) {
            const int one = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (one < 0) return;
            std::array<char, 512> first{};
            [[maybe_unused]] const auto taken = ::read(one, first.data(), first.size());
            ::close(one);
        }
    }

    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::thread hanging_up_;
};

}  // namespace

TEST_CASE("the rows of a query to SQLite are a table") {
    const Scratch scratch;
    const std::string path =
        make_database(scratch,
                      "create table sales (id text, x real, n integer, town text);"
                      "insert into sales values ('a', 0.1, 7, 'Ulm'), "
                      "('b', 1e300, null, 'St. \"X\", south'), ('c', 0.30000000000000004, "
                      "9007199254740993, null)");
    const auto table = data::read(query("sqlite:" + path + "?query=select * from sales"));
    if (!table) FAIL(table.error().sentence);
    REQUIRE(table->rows() == 3);
    CHECK(table->ids[1] == "b");
    REQUIRE(table->features.size() == 3);
    CHECK(table->features[0].numbers[2] == 0.30000000000000004);
    CHECK(table->features[0].numbers[1] == 1e300);
    CHECK(table->features[1].is_missing(1));
    CHECK(table->features[2].text(1) == "St. \"X\", south");
    CHECK(table->features[2].is_missing(2));
    // a question mark may stand in the file's name, and a comment behind the statement
    const std::string asking = scratch.write("") + "?x&y.db";
    std::filesystem::copy_file(path, asking);
    const auto marked =
        data::read(query("sqlite:" + asking + "?query=select id, x from sales; -- all of them"));
    if (!marked) FAIL(marked.error().sentence);
    CHECK(marked->rows() == 3);
    CHECK(path_within("sqlite:" + asking + "?query=select '?query='") == asking);
    // a query without a blank is that of a URL
    const auto encoded =
        data::read(query("sqlite:" + path + "?query=select%20id,x%20from%20sales%20where%20n=7"));
    if (!encoded) FAIL(encoded.error().sentence);
    CHECK(encoded->rows() == 1);
}

TEST_CASE("what is wrong with a query to SQLite is one sentence") {
    const Scratch scratch;
    const std::string path =
        make_database(scratch,
                      "create table sales (id text, x real); create table towns (id text);"
                      "insert into sales values ('a', 1)");
    const auto refused = [&](const std::string& sql) {
        return refusal_of(query("sqlite:" + path + "?query=" + sql));
    };
    Failure failure = refusal_of(query("sqlite:" + path));
    CHECK(failure.code == Errc::bad_config);
    CHECK_THAT(failure.sentence, Contains("needs a query") && Contains("sales and towns"));
    CHECK_THAT(failure.for_others, !Contains("towns") && Contains("member-0: shop.db"));
    CHECK_THAT(refused("select * from nowhere").sentence, Contains("no such table: nowhere"));
    CHECK(refused("select * from nowhere").for_others == "member-0: shop.db refuses the query");
    CHECK_THAT(refused("delete from sales").sentence, Contains("gives no rows"));
    CHECK_THAT(refused("select 1; select 2").sentence, Contains("more than one statement"));
    CHECK_THAT(refused("select id, x'00' as b from sales").sentence, Contains("bytes (BLOB)"));
    CHECK_THAT(refused("select id, 1 as id from sales").sentence, Contains("are called 'id'"));
    failure = refusal_of(query("sqlite:" + path + ".not?query=select 1"));
    CHECK(failure.code == Errc::io);
    CHECK_THAT(failure.sentence, Contains("cannot be opened"));
    CHECK_THAT(
        refusal_of(query("sqlite:" + scratch.write("no database\n") + "?query=select 1")).sentence,
        Contains("is no database of SQLite"));
    CHECK_THAT(refusal_of(query("sqlite:?query=select 1")).sentence, Contains("names no file"));
    CHECK_THAT(refusal_of(query("sqlite:" + path + "?select * from sales")).sentence,
               Contains("a query begins with ?query="));
    // what would take for ever ends when the time is up
    ReadOptions endless = query("sqlite:" + path +
                                "?query=with recursive n(i) as (select 1 union all select i + 1 "
                                "from n) select sum(i) as id from n");
    endless.timeout = std::chrono::milliseconds(200);
    CHECK_THAT(refusal_of(endless).sentence, Contains("did not answer within"));
    CHECK(absolute_location("sqlite:a/../shop.db?query=select 'x/../y'") ==
          "sqlite:" + std::filesystem::absolute("shop.db").string() + "?query=select 'x/../y'");
}

TEST_CASE("a PostgreSQL server that does not answer or hangs up costs one sentence, in time") {
    const FakeServer silent(false);
    ReadOptions options = query(silent.location());
    options.timeout = std::chrono::milliseconds(300);
    Failure failure = refusal_of(options);
    CHECK(failure.code == Errc::io);
    CHECK_THAT(failure.sentence, Contains("postgresql://shop@127.0.0.1") &&
                                     Contains("did not answer within 0.30 s (source_timeout)"));
    CHECK_THAT(failure.for_others, Contains("member-0: its database did not answer"));
    const FakeServer rude(true);
    failure = refusal_of(query(rude.location()));
    CHECK_THAT(failure.sentence, Contains("cannot be reached") && Contains("closed"));
    CHECK(failure.sentence.find('\n') == std::string::npos);
    CHECK(failure.for_others == "member-0: its database cannot be reached");
}

TEST_CASE("the password of a database is refused in its location, and never repeated") {
    const FakeServer silent(false);
    for (const std::string& location :
         {std::string("postgresql://shop:geheim@db/sales?query=select 1"),
          std::string("postgres://shop@db/sales?password=geheim&query=select 1"),
          std::string("postgresql://shop:geheim@db:x/sales?query=select 1"),
          // signs that should have been percent-encoded
          std::string("postgresql://shop:geheim?x@db/sales?query=select 1"),
          std::string("postgresql://shop:x?geheim@db/sales?query=select 1"),
          std::string("postgresql://shop:geheim#a/b@db/sales?query=select 1"),
          std::string("postgresql://shop:geheim/b@db/sales?query=select 1"),
          std::string("postgresql://shop:geheim%zz@db/sales?query=select 1"),
          std::string("postgresql://shop:x@geheim@db/sales?query=select 1"),
          std::string("postgresql://db?password=geheim@x?query=select 1"),
          // what is no such address
          std::string("postgresql:host=db password=geheim?query=select 1"),
          std::string("postgres:shop:geheim@db/sales?query=select 1"),
          std::string("PostgreSQL://shop:geheim@db/sales?query=select 1"),
          std::string("postgressql://shop:geheim@db/sales?query=select 1"),
          std::string("mysql://shop:geheim@db/sales")}) {
        INFO(location);
        const Failure failure = refusal_of(query(location));
        CHECK(failure.code == Errc::bad_config);
        CHECK_THAT(failure.sentence, !Contains("geheim"));
        CHECK_THAT(failure.for_others, !Contains("geheim"));
    }
    CHECK_THAT(refusal_of(query("postgresql://shop:geheim@db/sales?query=select 1")).sentence,
               Contains("postgresql://shop@db/sales has a password in its location") &&
                   Contains(".pgpass"));
    CHECK_THAT(refusal_of(query(silent.location("?sslmode=disable"))).sentence,
               Contains("needs a query at the end"));
    CHECK_THAT(refusal_of(query("mysql://shop@db/sales")).sentence,
               Contains("mysql://...") && Contains("there is no kind of source 'mysql'"));
    CHECK(absolute_location("mysql://shop@db/sales") == "mysql://shop@db/sales");
    CHECK(absolute_location("postgresql://db/sales?query=select 1") ==
          "postgresql://db/sales?query=select 1");
}
