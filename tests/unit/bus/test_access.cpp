// What keys may do at the broker: a table of attempts, each refused, told in the log, and without
// any change of state. docs/security.md.

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "keyed_broker.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

const std::string alice = "alice-0123456789abcdef";
const std::string bob = "bob-0123456789abcdef";

/// One who tries what it has no right to.
struct Attempt {
    std::string who;  ///< and what, for people
    std::string key;  ///< name of its key
    char letter;      ///< of its fingerprint
    std::function<void(Keyed&)> tries;
};

void hello_attempts(std::vector<Attempt>& all) {
    const auto add = [&](const std::string& key, char letter, const Hello& hello) {
        all.push_back({key + "'s key says HELLO as " + hello.name + ", " + hello.role + " " +
                           std::to_string(hello.rank) +
                           (hello.features.empty() ? "" : " with " + hello.features[0]),
                       key, letter, [hello](Keyed& k) { k.hello_on("intruder", hello); }});
    };
    const auto as = Keyed::as;
    // another's name, in every role that it could have
    for (const char* name : {"master", "member-1", "rival", "alice", "bob", "member-2", "broker"})
        add("member-0", 'A', as(name, "member", 0, {}, 99));
    add("member-0", 'A', as("master", "master", -1, {}, 99));
    add("member-0", 'A', as("master-0123abcd", "master", -1, {}, 99));
    add("member-0", 'A', as(alice, "node", -1, {"asks"}, 99));
    add("member-0", 'A', as("member-00", "member", 0, {}, 99));
    add("member-0", 'A', as("member", "member", 0, {}, 99));
    add("rival", 'R', as("master", "master", -1, {}, 99));
    add("rival", 'R', as("master", "master", -1, {"serve"}, 99));
    add("rival", 'R', as("master-0123abcd", "master", -1, {}, 99));
    add("bob", 'D', as(alice, "node", -1, {"asks"}, 99));
    // its own name, in a role that it does not have
    for (const char* role : {"master", "arbiter", "serverapp", "node", "king", ""})
        add("member-0", 'A', as("member-0", role, -1, {}, 99));
    add("member-0", 'A', as("member-0-0123abcd", "master", -1, {}, 99));
    add("member-0", 'A', as("member-0-0123abcd", "serverapp", -1, {}, 99));
    for (const char* role : {"member", "arbiter", "serverapp", "node"})
        add("rival", 'R', as("rival", role, 0, {}, 99));
    for (const char* role : {"master", "member", "arbiter", "serverapp", "node"})
        add("bob", 'D', as("bob", role, 0, {}, 99));
    // a rank that it does not have
    for (const std::int64_t rank :
         {std::int64_t{1}, std::int64_t{2}, std::int64_t{-1}, std::int64_t{4095}})
        add("member-0", 'A', as("member-0", "member", rank, {}, 99));
    add("member-1", 'B', as("member-1", "member", 0, {}, 99));
    // a member under a name that is made of its own, so that there would be two of one rank
    add("member-0", 'A', as("member-0-0123abcd", "member", 0, {}, 99));
    // what else a node may do
    add("member-0", 'A', as("member-0", "member", 0, {"serve"}, 99));
    add("member-0", 'A', as("member-0", "node", -1, {"asks", "serve"}, 99));
    add("bob", 'D', as("bob", "node", -1, {"apps"}, 99));
    add("bob", 'D', as("bob", "node", -1, {"asks", "apps"}, 99));
    add("bob", 'D', as("bob", "member", -1, {"apps"}, 99));
    add("member-0", 'A', as("member-0", "member", -1, {"apps"}, 99));
    add("apps", 'E', as("apps", "member", 0, {"apps"}, 99));
    add("apps", 'E', as("apps", "member", -1, {}, 99));
    // a key that is not on the list, or has another name there than the gate has said
    add("nobody", 'N', as("nobody", "member", 0, {}, 99));
    add("nobody", 'N', as("member-0", "member", 0, {}, 99));
    add("member-0", 'B', as("member-0", "member", 0, {}, 99));
    add("master", 'A', as("master", "master", -1, {}, 99));
}

Bytes submission() {
    return encode(SubmitQuery{"agreed", "label"});
}

void question_attempts(std::vector<Attempt>& all) {
    const auto add = [&](const std::string& what, const std::string& from, const std::string& to,
                         Question question, Bytes body, RunId run = run_of(1)) {
        all.push_back({from + " asks " + to + " " + what, {}, ' ', [=](Keyed& k) {
                           k.ask(from, to, question, body, run);
                       }});
    };
    for (const std::string& from : {std::string("rival"), std::string("member-1"), bob}) {
        add("to stop", from, "master", Question::stop, encode_sentence("now"));
        add("for its status", from, "master", Question::status, encode_empty());
        add("for metrics", from, "master", Question::metrics, encode_from(0));
        add("for the configuration", from, "master", Question::configuration, encode_empty());
        add("why it ended", from, "master", Question::reason, encode_empty());
        add("for its log", from, "master", Question::log, encode_from(0));
        add("where its time goes", from, "master", Question::timing, encode_empty());
        add("where the time of a member goes", from, "member-0", Question::timing, encode_empty());
        add("for its load", from, "master", Question::load, encode_empty(), RunId{});
        add("for the log of a member", from, "member-0", Question::log, encode_from(0));
        add("to join again", from, "member-0", Question::join_again, encode_join_again(1));
        add("about a run that nobody knows", from, "master", Question::status, encode_empty(),
            run_of(9));
    }
    // a participant sees its run, and does not end it
    add("to stop", "member-0", "master", Question::stop, encode_sentence("now"));
    add("for its log", "member-0", "master", Question::log, encode_from(0));
    add("about its run", "member-0", "rival", Question::status, encode_empty());
    for (const std::string& from : {std::string("member-0"), std::string("master"), bob})
        add("to take a run", from, "rival", Question::submit, submission(), run_of(5));
    add("what no question is", "member-0", "master", static_cast<Question>(99), encode_empty());
    add("who is not there", "member-0", "nobody", Question::status, encode_empty());
}

void frame_attempts(std::vector<Attempt>& all) {
    const auto add = [&](const std::string& what, std::function<void(Keyed&)> tries) {
        all.push_back({what, {}, ' ', std::move(tries)});
    };
    add("a member opens a run", [](Keyed& k) { k.open("member-0", {"member-1"}, run_of(7)); });
    add("a member opens a run that is there",
        [](Keyed& k) { k.open("member-0", {"member-1"}, run_of(1), 2); });
    add("who asks opens a run", [](Keyed& k) { k.open(alice, {"member-1"}, run_of(7)); });
    add("a member joins in another rank", [](Keyed& k) { k.join_as("member-0", "member", 1); });
    add("a member joins in another role", [](Keyed& k) { k.join_as("member-0", "arbiter", 0); });
    const auto bulk = [](Keyed& k, std::uint64_t instance) {
        Header header;
        header.kind = Kind::bulk;
        header.src = node_id_of("master");
        header.request = instance;
        header.aux = 1;  // the first session of this broker
        k.frame(k.conn("intruder"), header);
    };
    all.push_back({"another key takes the bulk connection of master", "member-0", 'A',
                   [bulk](Keyed& k) { bulk(k, 7); }});
    all.push_back(
        {"another key of another owner does", "rival", 'R', [bulk](Keyed& k) { bulk(k, 7); }});
}

}  // namespace

TEST_CASE("what no key has the right to is refused, named in the log, and changes nothing",
          "[access]") {
    std::vector<Attempt> attempts;
    hello_attempts(attempts);
    question_attempts(attempts);
    frame_attempts(attempts);
    CHECK(attempts.size() >= 60);
    for (const Attempt& attempt : attempts) {
        INFO(attempt.who);
        Keyed k;
        k.all_enter();
        if (attempt.letter != ' ') k.key("intruder", attempt.key, attempt.letter);
        const Keyed::State before = k.state();
        const std::uint64_t counted = k.core->counters().not_allowed;
        attempt.tries(k);
        CHECK(k.told() == 1);
        CHECK(k.core->counters().not_allowed == counted + 1);
        CHECK(k.state() == before);
        // one answer, to who tried, and nothing to anybody else
        REQUIRE(k.router.frames.size() == 1);
        const SentFrame& answer = k.router.frames.front();
        const bool error = answer.header.kind == Kind::error;
        const bool refusal =
            answer.header.kind == Kind::answer && (answer.header.flags & flag::error) != 0;
        CHECK((error || refusal));
        // what is there beside its own is not told: neither the owner nor that the run is known
        if (refusal) {
            const auto ending = decode_ending(answer.body);
            REQUIRE(ending.has_value());
            CHECK(ending->code == Errc::not_allowed);
            CHECK(ending->sentence.find(run_of(1).short_hex()) == std::string::npos);
        }
        k.router.frames.clear();
        k.tick(std::chrono::seconds(2));
        CHECK(k.core->nodes() == before.nodes);
    }
}

TEST_CASE("what a key has the right to is done", "[access]") {
    Keyed k;
    k.all_enter();
    CHECK(k.told() == 0);
    const auto passed = [&](const std::string& to) {
        const SentFrame sent = k.expect(Kind::query).to(to);
        k.nothing_more();
        return sent;
    };
    for (const auto question :
         {Question::stop, Question::status, Question::timing, Question::log}) {
        k.ask(alice, "master", question,
              question == Question::stop  ? encode_sentence("now")
              : question != Question::log ? encode_empty()
                                          : encode_from(0));
        passed("master");
    }
    CHECK(std::count_if(k.lines.begin(), k.lines.end(), [](const std::string& line) {
              return line.find("stop asked for run=") != std::string::npos &&
                     line.find("by=alice key=" + fingerprint('C')) != std::string::npos;
          }) == 1);
    k.ask(alice, "rival", Question::submit, submission(), run_of(5));
    passed("rival");
    // the owner asks about its own run, from a process beside the one that drives it
    k.enter("master-0123456789abcdef", 'M', "node", -1, {"asks"});
    k.ask("master-0123456789abcdef", "master", Question::stop, encode_sentence("now"));
    passed("master");
    k.ask("master-0123456789abcdef", "member-0", Question::log, encode_from(0));
    passed("member-0");
    // a participant asks its owner
    k.ask("member-0", "master", Question::status, encode_empty());
    passed("master");
    // nodes that serve apps have no rank, and names that are made of that of their key
    k.enter("apps-0123abcd", 'E', "member", -1, {"apps"});
    // the process of a submitted run
    k.enter("rival-0123abcd", 'R', "master");
    k.open_as("rival-0123abcd", {{"member-1", "member", 1}}, run_of(6));
    CHECK(k.core->runs() == 2);
    CHECK(k.told() == 0);
    CHECK(std::count_if(k.lines.begin(), k.lines.end(), [](const std::string& line) {
              return line.find("run opened") != std::string::npos &&
                     line.find("key=" + fingerprint('R')) != std::string::npos;
          }) == 1);
}

TEST_CASE("what a node says of itself adds no pair to a line of the log", "[access]") {
    Keyed k;
    k.key("rival", "rival", 'R');
    Hello hello = Keyed::as("rival", "master");
    hello.version = "0.1.0 key=" + fingerprint('M') + " \"";
    k.hello_on("rival", hello);
    (void)k.expect(Kind::welcome).to("rival");
    REQUIRE_FALSE(k.lines.empty());
    CHECK(k.lines.back() == "node up name=rival role=master version=\"0.1.0 key=" +
                                fingerprint('M') + " \\\"\" key=" + fingerprint('R'));
}

TEST_CASE("runs and nodes that a key may not see are not named", "[access]") {
    Keyed k;
    k.all_enter();
    const auto runs_of = [&](const std::string& from, const std::string& prefix = "") {
        if (prefix.empty())
            k.ask(from, "", Question::runs, encode(RunsQuery{"", 50}), {});
        else
            k.ask(from, "", Question::run, encode_run_query(prefix), {});
        const SentFrame sent = k.expect(Kind::answer).to(from);
        return decode_run_rows(sent.body)->size();
    };
    const auto nodes_of = [&](const std::string& from) {
        k.ask(from, "", Question::nodes, encode_nodes_query(50), {});
        std::set<std::string> names;
        const SentFrame sent = k.expect(Kind::answer).to(from);
        const auto rows = decode_node_rows(sent.body);
        REQUIRE(rows.has_value());
        for (const NodeRow& row : *rows) names.insert(row.name);
        return names;
    };
    const std::string digits = run_of(1).hex().substr(0, 4);
    for (const std::string& sees : {alice, std::string("master"), std::string("member-0")}) {
        CHECK(runs_of(sees) == 1);
        CHECK(runs_of(sees, digits) == 1);
    }
    for (const std::string& blind : {bob, std::string("rival"), std::string("member-1")}) {
        CHECK(runs_of(blind) == 0);
        CHECK(runs_of(blind, digits) == 0);
    }
    CHECK(nodes_of(alice).size() == 4);
    CHECK(nodes_of("master") == std::set<std::string>{"master", "member-0"});
    CHECK(nodes_of("member-0") == std::set<std::string>{"master", "member-0"});
    CHECK(nodes_of("member-1") == std::set<std::string>{"member-1"});
    CHECK(nodes_of(bob).empty());
}

TEST_CASE("a key that counts no longer is heard no longer", "[access]") {
    const auto gone = [](Keyed& k) {
        k.core->on_access_changed(k.now);
        CHECK(k.expect(Kind::bye).code(Errc::not_allowed).to("member-0").header.aux ==
              static_cast<std::uint64_t>(Errc::not_allowed));
        // who works with it hears so at once
        (void)k.expect(Kind::peer_down).to("master");
        k.router.frames.clear();
        const auto before = k.state();
        k.request("member-0", "master", 100);
        CHECK(k.state() == before);
        (void)k.expect_error(Errc::not_registered, "member-0");
        k.hello_on("member-0", Keyed::as("member-0", "member", 0));
        (void)k.expect_error(Errc::not_allowed, "member-0");
        k.tick(std::chrono::seconds(1));
        CHECK(k.router.closed == std::vector<ConnId>{k.conn("member-0")});
        CHECK(std::count_if(k.lines.begin(), k.lines.end(), [](const std::string& line) {
                  return line.find("session ended name=member-0 key=" + fingerprint('A')) !=
                         std::string::npos;
              }) == 1);
    };
    SECTION("revoked") {
        Keyed k;
        k.all_enter();
        k.access.entries.erase(fingerprint('A'));
        gone(k);
        // its other key is good
        k.key("again", "member-0", 'Z');
        Hello again = Keyed::as("member-0", "member", 0, {}, 8);
        again.incarnation = 2;
        k.hello_on("again", again);
        (void)k.expect(Kind::welcome).to("again");
    }
    SECTION("expired, without anybody saying so") {
        Keyed k;
        k.all_enter();
        k.access.entries[fingerprint('A')].expires = k.access.now;
        k.tick(std::chrono::seconds(1));
        (void)k.expect(Kind::bye).to("member-0");
    }
    SECTION("its rank is another one") {
        Keyed k;
        k.all_enter();
        k.access.entries[fingerprint('A')].ranks = {3};
        gone(k);
    }
    SECTION("an owner: its right to open runs is gone") {
        Keyed k;
        k.all_enter();
        k.access.entries[fingerprint('M')].roles = {"serverapp"};
        k.core->on_access_changed(k.now);
        (void)k.expect(Kind::bye).to("master");
    }
    SECTION("others stay") {
        Keyed k;
        k.all_enter();
        k.access.entries.erase(fingerprint('B'));
        k.core->on_access_changed(k.now);
        (void)k.expect(Kind::bye).to("member-1");
        k.router.frames.clear();
        k.request("member-0", "master", 100);
        (void)k.expect(Kind::request).to("master");
    }
}

TEST_CASE("about a run that is not theirs, all hear the same as of one that is not there",
          "[access]") {
    using Heard = std::vector<std::pair<Kind, std::uint64_t>>;
    const auto say = [](const std::string& who, Kind kind, std::uint8_t run) {
        Keyed k;
        k.all_enter();
        // until nobody may come back any more with a run of an earlier broker
        for (int second = 0; second < 40; ++second) {
            k.tick(std::chrono::seconds(1));
            for (const std::string& name : {std::string("master"), std::string("member-0"),
                                            std::string("member-1"), std::string("rival"), alice})
                k.ping(name);
        }
        REQUIRE(k.core->runs() == 1);
        k.router.frames.clear();
        const Keyed::State before = k.state();
        Header header = k.data_header(kind, who, "member-0", run_of(run), 1);
        Bytes body;
        if (kind == Kind::close) body = encode(Ending{Errc::ok, "done"});
        if (kind == Kind::join)
            body = encode(Join{who,
                               who == "rival" ? "master" : "member",
                               who == "rival" ? -1 : 1,
                               1,
                               {},
                               "0.1.0",
                               Errc::ok,
                               ""});
        if (kind == Kind::close || kind == Kind::join || kind == Kind::credit) {
            header = Header{};
            header.kind = kind;
            header.src = node_id_of(who);
            header.run = run_of(run);
            header.term = 1;
            if (kind == Kind::credit) {
                header.dst = node_id_of("member-0");
                header.request = 1;
                header.aux = 1'000'000;
            }
        }
        k.frame(k.conn(who), header, std::move(body));
        CHECK(k.state() == before);
        Heard heard;
        for (const SentFrame& sent : k.router.frames) {
            CHECK(sent.to == k.conn(who));
            heard.emplace_back(sent.header.kind, sent.header.aux);
        }
        return heard;
    };
    int attempts = 0;
    for (const std::string& who : {std::string("rival"), std::string("member-1"), alice})
        for (const Kind kind :
             {Kind::request, Kind::reply, Kind::credit, Kind::close, Kind::join}) {
            CAPTURE(who, name_of(kind));
            CHECK(say(who, kind, 1) == say(who, kind, 9));
            ++attempts;
        }
    CHECK(attempts == 15);
}

TEST_CASE("who is refused without end costs a bounded number of lines", "[access]") {
    Keyed k;
    k.all_enter();
    for (int i = 0; i < 5000; ++i) {
        k.key("i" + std::to_string(i), "member-0", 'A');
        k.hello_on("i" + std::to_string(i), Keyed::as("master", "master", -1, {}, 99));
    }
    CHECK(k.core->counters().not_allowed == 5000);
    CHECK(k.told() <= 300);
    CHECK(k.told() > 0);
}

TEST_CASE("a connection that needs no key, as ipc in a private directory, is asked for none",
          "[access]") {
    Keyed k;
    k.keyed.keys[k.conn("member-1")] = no_key_needed();
    k.hello("member-1");
    (void)k.expect(Kind::welcome).to("member-1");
    k.open("member-1", {"member-0"});
    CHECK(k.core->runs() == 1);
    CHECK(k.told() == 0);
}

TEST_CASE("a connection of which the transport knows nothing may do nothing", "[access]") {
    Keyed k;
    k.all_enter();
    k.hello_on("intruder", Keyed::as("member-2", "member", 2));
    (void)k.expect_error(Errc::not_allowed, "intruder");
    CHECK(k.told() == 1);
    Header bulk;
    bulk.kind = Kind::bulk;
    bulk.src = node_id_of("master");
    bulk.request = 7;
    bulk.aux = 1;
    k.frame(k.conn("intruder"), bulk);
    (void)k.expect_error(Errc::not_registered, "intruder");
}

namespace {

/// Strangers who have said something and no HELLO, as many as a broker remembers.
void crowd(Keyed& k) {
    Header ping;
    ping.kind = Kind::ping;
    for (std::size_t i = 0; i <= anonymous_connections_max; ++i)
        k.frame(k.conn("stranger-" + std::to_string(i)), ping);
    k.router.frames.clear();
}

/// A younger process of member-0 waits for its name, with the second key.
void newcomer_waits(Keyed& k) {
    k.key("younger", "member-0", 'Z');
    Hello younger = Keyed::as("member-0", "member", 0, {}, 8);
    younger.incarnation = 2;
    k.hello_on("younger", younger);
    (void)k.expect(Kind::ping).to("member-0");
}

}  // namespace

TEST_CASE("who gets its name by waiting among many strangers keeps its key", "[access]") {
    Keyed k;
    k.all_enter();
    crowd(k);
    newcomer_waits(k);
    k.tick(std::chrono::seconds(5));
    (void)k.expect(Kind::welcome).to("younger");
    k.router.frames.clear();
    Header open;
    open.kind = Kind::open;
    open.src = node_id_of("member-0");
    open.run = run_of(7);
    open.term = 1;
    k.frame(k.conn("younger"), open, encode(Open{"member-0", {{"member-1", "member", 1}}, "a"}));
    CHECK(k.core->runs() == 1);
    (void)k.expect_error(Errc::not_allowed, "younger");
    k.router.frames.clear();
    k.access.entries.erase(fingerprint('Z'));
    k.core->on_access_changed(k.now);
    CHECK(k.expect(Kind::bye).to("younger").header.aux ==
          static_cast<std::uint64_t>(Errc::not_allowed));
}

TEST_CASE("a key that is revoked while it waits for its name does not get in", "[access]") {
    Keyed k;
    k.all_enter();
    if (GENERATE(false, true)) crowd(k);
    newcomer_waits(k);
    k.access.entries.erase(fingerprint('Z'));
    SECTION("the process before it is silent") {
        k.tick(std::chrono::seconds(5));
    }
    SECTION("the process before it leaves") {
        Header bye;
        bye.kind = Kind::bye;
        bye.src = node_id_of("member-0");
        k.frame(k.conn("member-0"), bye);
    }
    SECTION("the connection before it breaks") {
        k.core->on_disconnected(k.conn("member-0"), k.now);
    }
    bool told = false;
    for (const SentFrame& sent : k.router.frames) {
        if (sent.to != k.conn("younger")) continue;
        CHECK(sent.header.kind == Kind::error);
        told = told || sent.header.aux == static_cast<std::uint64_t>(Errc::not_allowed);
    }
    CHECK(told);
}

TEST_CASE("an owner that names a key in a role or rank that it has not gives it no part",
          "[access]") {
    Keyed k;
    k.all_enter();
    const std::string carol = "carol";
    k.access.allow("carol " + fingerprint('F') + " role=member rank=4,5");
    k.access.allow("dave " + fingerprint('G'));
    k.enter(carol, 'F', "member", 4);
    k.enter("dave", 'G', "node", -1, {"asks"});
    k.router.frames.clear();
    const auto invited = [&](const std::string& name) {
        return std::count_if(k.router.frames.begin(), k.router.frames.end(),
                             [&](const SentFrame& sent) {
                                 return sent.to == k.conn(name) && sent.header.kind == Kind::open;
                             });
    };
    const auto joins = [&](const std::string& name, const std::string& role, std::int64_t rank) {
        k.router.frames.clear();
        k.send(name, Kind::join, encode(Join{name, role, rank, 1, {}, "0.1.0", Errc::ok, ""}),
               run_of(7), 1);
        return std::none_of(
            k.router.frames.begin(), k.router.frames.end(), [&](const SentFrame& sent) {
                return sent.to == k.conn(name) && sent.header.kind == Kind::error &&
                       sent.header.aux == static_cast<std::uint64_t>(Errc::not_allowed);
            });
    };
    SECTION("another rank, another role, no role at all") {
        k.open_as("master",
                  {{"member-1", "member", 0}, {carol, "arbiter", -1}, {"dave", "node", -1}},
                  run_of(7));
        for (const std::string name : {"member-1", "carol", "dave"}) CHECK(invited(name) == 0);
        CHECK_FALSE(joins("member-1", "member", 1));
        CHECK_FALSE(joins(carol, "member", 4));
        CHECK_FALSE(joins("dave", "node", -1));
        CHECK(k.told() == 3);
    }
    SECTION("who only asks takes part in nothing, whatever its key has") {
        k.access.allow("erin " + fingerprint('H') + " role=node");
        k.enter("erin", 'H', "node", -1, {"asks"});
        k.router.frames.clear();
        k.open_as("master", {{"erin", "node", -1}}, run_of(7));
        CHECK(invited("erin") == 0);
        CHECK_FALSE(joins("erin", "node", -1));
    }
    SECTION("who comes later is not invited either") {
        k.open_as("master", {{"member-1", "member", 0}, {carol, "member", 4}}, run_of(7));
        CHECK(invited(carol) == 1);
        k.router.frames.clear();
        k.hello_on("member-1", Keyed::as("member-1", "member", 1));
        k.hello_on(carol, Keyed::as(carol, "member", 4));
        CHECK(invited("member-1") == 0);
        CHECK(invited(carol) == 1);
        CHECK(joins(carol, "member", 4));
    }
}

TEST_CASE("a run that waits at a master is opened by that master alone", "[access]") {
    struct NoLedger final : Ledger {
        void note(RunRow row) override { rows.push_back(std::move(row)); }
        void note(NodeRow) override {}
        bool ask(LedgerQuestion) override { return true; }
        bool next_answer(Answer&) override { return false; }
        int answers_fd() const override { return -1; }
        std::vector<RunRow> rows;
    } ledger;
    Keyed k(&ledger);
    k.all_enter();
    k.note("rival", RunState::pending, run_of(8));
    (void)k.expect(Kind::answer).to("rival");
    k.router.frames.clear();
    k.open_as("master", {{"member-0", "member", 0}}, run_of(8));
    (void)k.expect_error(Errc::not_owner, "master");
    CHECK(k.core->runs() == 1);
    CHECK(k.told() == 1);
    CHECK(ledger.rows.back().owner == "rival");
    k.enter("rival-0123abcd", 'R', "master");
    k.open_as("rival-0123abcd", {{"member-0", "member", 0}}, run_of(8));
    CHECK(k.core->runs() == 2);
}

TEST_CASE("of a run of others a key hears as of one that is not there", "[access]") {
    // each of the two: what is said about the run of master, and about one that nobody knows
    for (const auto kind : {Kind::close, Kind::join, Kind::request}) {
        std::vector<SentFrame> answers;
        for (const RunId& run : {run_of(1), run_of(9)}) {
            Keyed k;
            k.all_enter();
            Header header;
            header.kind = kind;
            header.src = node_id_of("member-1");
            header.run = run;
            header.term = 1;
            if (kind == Kind::request) {
                header.dst = node_id_of("master");
                header.request = 1;
                header.type = 1;
            }
            Bytes body{1, 2, 3};
            if (kind == Kind::close) body = encode(Ending{Errc::ok, ""});
            if (kind == Kind::join)
                body = encode(Join{"member-1", "member", 1, 1, {}, "0.1.0", Errc::ok, ""});
            k.frame(k.conn("member-1"), header, std::move(body));
            REQUIRE(k.router.frames.size() == 1);
            answers.push_back(k.router.frames.front());
            CHECK(k.core->runs() == 1);
        }
        INFO(name_of(kind));
        CHECK(answers[0].header.kind == answers[1].header.kind);
        CHECK(answers[0].header.aux == answers[1].header.aux);
        CHECK(answers[0].body.size() == answers[1].body.size());
    }
}
