// QUERY and ANSWER at broker and link: docs/protocol.md, section 12.

#include "broker_fixture.hpp"
#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

class FakeLedger final : public Ledger {
  public:
    void note(RunRow row) override { runs.push_back(std::move(row)); }
    void note(NodeRow row) override { nodes.push_back(std::move(row)); }
    bool ask(LedgerQuestion question) override {
        if (full) return false;
        asked.push_back(std::move(question));
        return true;
    }
    std::vector<RunRow> runs;
    std::vector<NodeRow> nodes;
    std::vector<LedgerQuestion> asked;
    bool full = false;
};

class Questions : public BrokerFixture {
  public:
    void ask(const std::string& from, const std::string& to, Question question, Bytes body,
             std::uint64_t number = 1, RunId run = {}) {
        frame(conn(from), header_of(Kind::query, from, to, question, number, run), std::move(body));
    }
    void say(const std::string& from, const std::string& to, Question question, Bytes body,
             std::uint64_t number = 1, RunId run = {}) {
        frame(conn(from), header_of(Kind::answer, from, to, question, number, run),
              std::move(body));
    }
    static Header header_of(Kind kind, const std::string& from, const std::string& to,
                            Question question, std::uint64_t number, RunId run) {
        Header header;
        header.kind = kind;
        header.src = node_id_of(from);
        if (!to.empty()) header.dst = node_id_of(to);
        header.run = run;
        header.request = number;
        header.type = static_cast<std::uint16_t>(question);
        return header;
    }
    Ending refused(const std::string& name) {
        const SentFrame sent = expect(Kind::answer).to(name);
        CHECK((sent.header.flags & flag::error) != 0);
        CHECK(sent.header.src == broker_node);
        const auto ending = decode_ending(sent.body);
        REQUIRE(ending);
        return *ending;
    }
};

struct LedgerFixture : Questions {
    LedgerFixture() : with_ledger(config_with(ledger), router, start) { addressed = &with_ledger; }
    static BrokerConfig config_with(FakeLedger& ledger) {
        BrokerConfig c = config();
        c.ledger = &ledger;
        return c;
    }
    void hello_of(const std::string& name, std::vector<std::string> features = {},
                  std::uint64_t incarnation = 1) {
        send(name, Kind::hello,
             encode(Hello{name, "member", -1, incarnation, 76 + incarnation, "0.1.0",
                          std::move(features)}));
    }
    void note(const std::string& from, RunState state, Errc code = Errc::ok,
              const std::string& sentence = {}) {
        Header header = header_of(Kind::query, from, "", Question::note, 1, run_of(1));
        Bytes body = encode(NoteQuery{state, code, sentence});
        header.body_bytes = body.size();
        with_ledger.on_frame(conn(from), Payload::copy_of(encode(header)),
                             Payload::hold(std::move(body)), 2, now);
    }
    /// Time in which these nodes speak.
    void pass_with(Duration duration, const std::vector<std::string>& names) {
        for (Duration done{}; done < duration; done += seconds(1)) {
            now += seconds(1);
            for (const std::string& name : names) send(name, Kind::ping, {});
            with_ledger.on_tick(now);
        }
        ignore();
    }
    FakeLedger ledger;
    BrokerCore with_ledger;
};

}  // namespace

TEST_CASE_METHOD(Questions, "the broker answers what is there without a ledger") {
    run_with("master", {"member-0", "member-1"});
    request("master", "member-0", 900);
    ignore();
    join_bus("me");
    ask("me", "", Question::runs, encode(RunsQuery{"", 20}), 7);
    const SentFrame answer = expect(Kind::answer).to("me");
    CHECK(answer.header.request == 7);
    CHECK(answer.header.type == 1);
    CHECK(answer.header.src == broker_node);
    const auto rows = decode_run_rows(answer.body);
    REQUIRE(rows);
    REQUIRE(rows->size() == 1);
    const RunRow& row = rows->front();
    CHECK(row.run == run_of(1));
    CHECK(row.state == RunState::running);
    CHECK(row.owner == "master");
    CHECK(row.participants == 2);
    CHECK(row.names == std::vector<std::string>{"member-0", "member-1"});
    CHECK(row.messages == 1);
    CHECK(row.bytes == 900 + header_bytes);

    ask("me", "", Question::run, encode_run_query("0101"));
    CHECK(decode_run_rows(expect(Kind::answer).to("me").body)->size() == 1);
    ask("me", "", Question::run, encode_run_query("02"));
    CHECK(decode_run_rows(expect(Kind::answer).to("me").body)->empty());
    ask("me", "", Question::runs, encode(RunsQuery{"failed", 20}));
    CHECK(decode_run_rows(expect(Kind::answer).to("me").body)->empty());
    ask("me", "", Question::nodes, encode_nodes_query(20));
    const auto nodes = decode_node_rows(expect(Kind::answer).to("me").body);
    REQUIRE(nodes);
    CHECK(nodes->size() == 4);
    CHECK(nodes->front().name == "master");
    CHECK(nodes->front().messages == 1);
    nothing_more();
}

TEST_CASE_METHOD(Questions, "a question that is none is refused by name") {
    join_bus("me");
    ask("me", "", static_cast<Question>(999), {});
    CHECK(refused("me").code == Errc::unknown_message);
    ask("me", "", Question::runs, {1, 2, 3});
    CHECK(refused("me").code == Errc::malformed_message);
    ask("me", "", Question::note, encode(NoteQuery{}), 1, run_of(1));
    CHECK(refused("me").code == Errc::refused);  // no serving master
    ask("me", "nobody", Question::status, encode_empty());
    CHECK(refused("me").code == Errc::unreachable);
    nothing_more();
}

TEST_CASE_METHOD(Questions,
                 "questions go through to whom they are for, answers to who asked, once") {
    run_with("master", {"member-0"});
    join_bus("me");
    join_bus("you");
    ask("me", "member-0", Question::log, encode_from(5), 3, run_of(1));
    const SentFrame passed = expect(Kind::query).from("me").to("member-0");
    CHECK(passed.header.run == run_of(1));
    CHECK(passed.header.request == 3);
    CHECK(*decode_from(passed.body) == 5);
    // others cannot answer in its place, nor it another question
    say("you", "me", Question::log, encode(LogAnswer{}), 3, run_of(1));
    say("member-0", "you", Question::log, encode(LogAnswer{}), 3, run_of(1));
    say("member-0", "me", Question::log, encode(LogAnswer{}), 4, run_of(1));
    say("member-0", "me", Question::status, encode(LogAnswer{}), 3, run_of(1));
    say("member-0", "me", Question::log, encode(LogAnswer{}), 3, run_of(2));
    nothing_more();
    say("member-0", "me", Question::log, encode(LogAnswer{5, 9, true, "line"}), 3, run_of(1));
    const SentFrame answer = expect(Kind::answer).from("member-0").to("me");
    CHECK(decode_log(answer.body)->text == "line");
    say("member-0", "me", Question::log, encode(LogAnswer{}), 3, run_of(1));
    nothing_more();
}

TEST_CASE_METHOD(Questions, "who asks and asks is told to wait, until the broker forgets") {
    join_bus("member-0");
    join_bus("me");
    for (std::uint64_t i = 1; i <= queries_max; ++i)
        ask("me", "member-0", Question::status, encode_empty(), i);
    ask("me", "member-0", Question::status, encode_empty(), 1);  // again is not one more
    ignore();
    ask("me", "member-0", Question::status, encode_empty(), 99);
    CHECK(refused("me").code == Errc::too_many);
    for (int i = 0; i <= query_memory_s; ++i) {
        pass(seconds(1));
        ping("member-0");
        ping("me");
    }
    ignore();
    ask("me", "member-0", Question::status, encode_empty(), 99);
    expect(Kind::query).to("member-0");
    nothing_more();
}

TEST_CASE_METHOD(LedgerFixture, "one asker has its share of the questions that wait") {
    join_bus("mallory");
    join_bus("me");
    for (std::uint64_t n = 1; n <= 40; ++n)
        ask("mallory", "", Question::runs, encode(RunsQuery{"", 20}), n);
    CHECK(ledger.asked.size() == queries_max);
    CHECK(router.frames.size() == 40 - queries_max);
    for (std::size_t n = queries_max; n < 40; ++n) CHECK(refused("mallory").code == Errc::too_many);
    ask("me", "", Question::runs, encode(RunsQuery{"", 20}), 1);
    CHECK(ledger.asked.size() == queries_max + 1);
    // what is answered makes place for the next one
    with_ledger.answer(ledger.asked.front().token, encode_empty(), now);
    (void)expect(Kind::answer).to("mallory");
    ask("mallory", "", Question::runs, encode(RunsQuery{"", 20}), 50);
    CHECK(ledger.asked.size() == queries_max + 2);
}

TEST_CASE_METHOD(LedgerFixture, "times of the wall have what the loop has slept until then") {
    const auto of_wall = [](TimePoint at) {
        return static_cast<std::uint64_t>(
            std::chrono::duration_cast<milliseconds>(at.time_since_epoch()).count());
    };
    hello_of("early");
    const std::uint64_t before = of_wall(now);
    REQUIRE(ledger.nodes.size() == 1);
    CHECK(ledger.nodes.back().first_seen_ms == before);
    const auto pause = [&](int times) {
        for (; times > 0; --times) {
            now += seconds(60);
            addressed->on_tick(now);
        }
    };
    pause(3);
    send("early", Kind::bye, encode_sentence("done"));
    CHECK(ledger.nodes.back().name == "early");
    CHECK(ledger.nodes.back().last_seen_ms == of_wall(now));
    CHECK(ledger.nodes.back().first_seen_ms == before);
    pause(80);  // more than are remembered one by one
    hello_of("late");
    CHECK(ledger.nodes.back().name == "late");
    CHECK(ledger.nodes.back().first_seen_ms == of_wall(now));
}

TEST_CASE_METHOD(LedgerFixture, "runs and nodes are noted when they change, and not per message") {
    hello_of("master");
    hello_of("member-0");
    hello_of("me", {"asks"});
    CHECK(ledger.nodes.size() == 2);  // who asks is no news
    send("master", Kind::open, encode(Open{"master", {{"member-0", "member", 0}}, ""}), run_of(1),
         1);
    REQUIRE(ledger.runs.size() == 1);
    CHECK(ledger.runs.back().state == RunState::starting);
    send("member-0", Kind::join, encode(Join{"member-0", "member", 0, 1, {}, "", Errc::ok, ""}),
         run_of(1), 1);
    REQUIRE(ledger.runs.size() == 2);
    CHECK(ledger.runs.back().state == RunState::running);
    CHECK(ledger.runs.back().started_ms != 0);
    for (int i = 0; i < 100; ++i) {
        Header h = data_header(Kind::request, "master", "member-0");
        h.request = static_cast<std::uint64_t>(i + 1);
        with_ledger.on_frame(conn("master"), Payload::copy_of(encode(h)), Payload{}, 1, now);
    }
    CHECK(ledger.runs.size() == 2);
    now += seconds(11);
    with_ledger.on_tick(now);  // sizes, now and then
    CHECK(ledger.runs.back().messages == 100);
    send("master", Kind::close, encode(Ending{Errc::cancelled, "enough"}), run_of(1), 1);
    CHECK(ledger.runs.back().state == RunState::stopped);
    CHECK(ledger.runs.back().reason == "enough");
    CHECK(ledger.runs.back().finished_ms != 0);
    ignore();

    // a question waits for the ledger's answer
    Header query = header_of(Kind::query, "me", "", Question::runs, 8, {});
    const Bytes body = encode(RunsQuery{"failed", 100000});
    query.body_bytes = body.size();
    const auto ask_it = [&] {
        with_ledger.on_frame(conn("me"), Payload::copy_of(encode(query)), Payload::copy_of(body), 2,
                             now);
    };
    ask_it();
    nothing_more();
    REQUIRE(ledger.asked.size() == 1);
    CHECK(ledger.asked[0].text == "failed");
    CHECK(ledger.asked[0].limit == rows_max);
    with_ledger.answer(ledger.asked[0].token, encode(std::span<const RunRow>{}), now);
    const SentFrame answer = expect(Kind::answer).to("me");
    CHECK(answer.header.request == 8);
    CHECK(decode_run_rows(answer.body)->empty());
    with_ledger.answer(ledger.asked[0].token, encode(std::span<const RunRow>{}), now);
    nothing_more();
    ledger.full = true;
    ask_it();
    CHECK(refused("me").code == Errc::too_many);
}

TEST_CASE_METHOD(LedgerFixture, "a run that waits at a master is over when the master is gone") {
    hello_of("master", {"serve"});
    hello_of("me");
    ignore();
    note("master", RunState::pending);
    CHECK((expect(Kind::answer).to("master").header.flags & flag::error) == 0);
    REQUIRE(ledger.runs.size() == 1);
    CHECK(ledger.runs.back().state == RunState::pending);
    CHECK(ledger.runs.back().owner == "master");
    for (const auto& [state, code] : {std::pair{RunState::pending, Errc::io},
                                      {RunState::failed, Errc::ok},
                                      {RunState::failed, Errc::cancelled},
                                      {RunState::stopped, Errc::io},
                                      {RunState::completed, Errc::ok},
                                      {RunState::running, Errc::ok}}) {
        note("master", state, code);
        CHECK(refused("master").code == Errc::refused);
    }
    pass_with(seconds(200), {"master", "me"});
    CHECK(ledger.runs.size() == 1);  // it waits as long as its master is there
    SECTION("silent") {
        pass_with(seconds(10), {"me"});
        CHECK(ledger.runs.size() == 1);
        pass_with(seconds(200), {"me"});
        REQUIRE(ledger.runs.size() == 2);
        CHECK(ledger.runs.back().state == RunState::failed);
        CHECK(ledger.runs.back().code == Errc::owner_lost);
        CHECK(ledger.runs.back().finished_ms != 0);
        hello_of("master", {"serve"});  // and comes back after all
        note("master", RunState::pending);
        CHECK(ledger.runs.back().state == RunState::pending);
    }
    SECTION("in order, having said nothing") {
        send("master", Kind::bye, {});
        pass_with(seconds(200), {"me"});
        REQUIRE(ledger.runs.size() == 2);
        CHECK(ledger.runs.back().code == Errc::owner_lost);
    }
    SECTION("back, without this run") {
        with_ledger.on_disconnected(conn("master"), now);
        pass_with(seconds(5), {"me"});
        hello_of("master", {"serve"}, 2);
        pass_with(seconds(200), {"master", "me"});
        REQUIRE(ledger.runs.size() == 2);
        CHECK(ledger.runs.back().code == Errc::owner_lost);
    }
    SECTION("back, with this run") {
        with_ledger.on_disconnected(conn("master"), now);
        pass_with(seconds(5), {"me"});
        hello_of("master", {"serve"}, 2);
        note("master", RunState::starting);
        pass_with(seconds(200), {"master", "me"});
        CHECK(ledger.runs.size() == 2);
        CHECK(ledger.runs.back().state == RunState::starting);
    }
    SECTION("it says how it ended") {
        note("master", RunState::failed, Errc::bad_data, "no rows");
        pass_with(seconds(200), {"me"});
        REQUIRE(ledger.runs.size() == 2);
        CHECK(ledger.runs.back().code == Errc::bad_data);
        CHECK(ledger.runs.back().reason == "no rows");
    }
    SECTION("it was opened") {
        send("me", Kind::open, encode(Open{"me", {{"member-0", "member", 0}}, ""}), run_of(1), 1);
        pass_with(seconds(200), {"me"});
        CHECK(ledger.runs.back().state == RunState::starting);
        CHECK(ledger.runs.back().owner == "me");
    }
}

TEST_CASE_METHOD(LedgerFixture,
                 "a serving master closes the run of a process of its own, and no other") {
    const std::string child = "master-" + run_of(1).short_hex();
    hello_of("master", {"serve"});
    hello_of("other", {"serve"});
    hello_of(child);
    hello_of("member-0");
    send(child, Kind::open, encode(Open{child, {{"member-0", "member", 0}}, ""}), run_of(1), 1);
    ignore();
    note("other", RunState::failed, Errc::io, "not mine");
    note("master", RunState::starting);
    CHECK(ledger.runs.back().state == RunState::starting);
    CHECK(ledger.runs.back().owner == child);
    ignore();
    note("master", RunState::failed, Errc::too_many_restarts, "again and again");
    CHECK(ledger.runs.back().state == RunState::failed);
    CHECK(ledger.runs.back().code == Errc::too_many_restarts);
    CHECK(ledger.runs.back().names == std::vector<std::string>{"member-0"});
    const auto closed = decode_ending(expect(Kind::close).to("member-0").body);
    REQUIRE(closed);
    CHECK(closed->sentence == "again and again");
}

// -- the link ------------------------------------------------------------------------

TEST_CASE("an answer to an earlier process of the name is not taken for one's own") {
    const auto first_number = [](std::uint64_t instance) {
        LinkConfig config = LinkFixture::config();
        config.hello.instance = instance;
        LinkFixture process(config);
        return process.link.query(broker_node, {}, Question::nodes, encode_nodes_query(1),
                                  process.now + seconds(1), process.now);
    };
    for (const std::uint64_t instance : {std::uint64_t{0}, std::uint64_t{1000}, UINT64_MAX}) {
        CHECK(first_number(instance) != 0);
        CHECK(first_number(instance) != first_number(instance / 2 + 7));
    }
}

TEST_CASE_METHOD(LinkFixture, "a link asks, and again after a reconnect, until its deadline") {
    come_up();
    const RunId run = run_of(4);
    const auto number = link.query(node_id_of("master"), run, Question::status, encode_empty(),
                                   now + seconds(20), now);
    const auto sent = expect(Kind::query);
    CHECK(sent.header.request == number);
    CHECK(sent.header.run == run);
    CHECK(sent.header.dst == node_id_of("master"));
    error(Errc::not_registered);
    expect(Kind::hello);
    welcome();
    CHECK(expect(Kind::query).header.request == number);
    AnswerArrived answer;
    SECTION("the answer") {
        Header header;
        header.kind = Kind::answer;
        header.src = node_id_of("master");
        header.run = run;
        header.request = number;
        header.type = static_cast<std::uint16_t>(Question::metrics);
        frame(header, encode(RunStatus{}));  // to another question
        CHECK_FALSE(link.next_answer(answer));
        header.type = static_cast<std::uint16_t>(Question::status);
        frame(header, encode(RunStatus{"training", 1, 2, 3, 4, 0.5}));
        REQUIRE(link.next_answer(answer));
        CHECK(answer.error.code == Errc::ok);
        CHECK(decode_status(answer.body)->phase == "training");
        frame(header, encode(RunStatus{}));
        CHECK_FALSE(link.next_answer(answer));
    }
    SECTION("an error of the broker") {
        Header header;
        header.kind = Kind::answer;
        header.flags = flag::error;
        header.run = run;
        header.request = number;
        header.type = static_cast<std::uint16_t>(Question::status);
        frame(header, encode(Ending{Errc::unreachable, "master is not connected"}));
        REQUIRE(link.next_answer(answer));
        CHECK(answer.error.code == Errc::unreachable);
    }
    SECTION("none") {
        for (int i = 0; i < 10; ++i) {
            pass(seconds(2));
            Header pong;
            pong.kind = Kind::pong;
            frame(pong);
        }
        REQUIRE(link.next_answer(answer));
        CHECK(answer.number == number);
        CHECK(answer.error.code == Errc::timed_out);
    }
}

TEST_CASE_METHOD(LinkFixture, "a link is asked, answers, and says when it is asked too much") {
    come_up();
    Header header;
    header.kind = Kind::query;
    header.src = node_id_of("me");
    header.dst = link.id();
    header.run = run_of(4);
    header.request = 12;
    header.type = static_cast<std::uint16_t>(Question::log);
    frame(header, encode_from(0));
    QueryArrived query;
    REQUIRE(link.next_query(query));
    CHECK(query.from == node_id_of("me"));
    link.answer(query, encode(LogAnswer{0, 4, true, "line"}));
    auto sent = expect(Kind::answer);
    CHECK(sent.header.dst == node_id_of("me"));
    CHECK(sent.header.request == 12);
    CHECK(sent.header.run == run_of(4));
    link.answer(query, Bytes(answer_body_bytes_max + 1));
    sent = expect(Kind::answer);
    CHECK(sent.header.flags == flag::error);
    CHECK(decode_ending(sent.body)->code == Errc::too_large);
    for (int i = 0; i < 64; ++i) frame(header, encode_from(0));
    nothing_sent();
    frame(header, encode_from(0));
    CHECK(decode_ending(expect(Kind::answer).body)->code == Errc::too_many);
}

TEST_CASE_METHOD(Questions, "an answer is for the process that asked, in whatever session") {
    for (const char* name : {"me", "master"}) join_bus(name);
    ask("me", "master", Question::status, encode_empty(), 5);
    expect(Kind::query).to("master");
    SECTION("the same one again") {
        hello("me");
        ignore();
        say("master", "me", Question::status, encode_empty(), 5);
        expect(Kind::answer).from("master").to("me");
    }
    SECTION("another one of the name") {
        bye("me");
        hello("me", 2, 78);
        expect(Kind::welcome).to("me");
        say("master", "me", Question::status, encode_empty(), 5);
    }
    nothing_more();
}

TEST_CASE_METHOD(Questions, "a question that waits is passed on once, however often it is said") {
    for (const char* name : {"me", "master"}) join_bus(name);
    const auto passed_on = [&] {
        const auto n =
            std::count_if(router.frames.begin(), router.frames.end(),
                          [&](const SentFrame& sent) { return sent.header.kind == Kind::query; });
        std::erase_if(router.frames,
                      [](const SentFrame& sent) { return sent.header.kind == Kind::query; });
        return n;
    };
    const auto again = [&](int times) {
        for (int i = 0; i < times; ++i) ask("me", "master", Question::status, encode_empty(), 5);
    };
    again(100);
    CHECK(passed_on() == 1);
    nothing_more();
    // nor another one under its number
    ask("me", "master", Question::metrics, encode_from(0), 5);
    CHECK(refused("me").code == Errc::too_many);
    SECTION("again after a second") {
        pass_alive(seconds(1), {"me", "master"});
        again(100);
        CHECK(passed_on() == 1);
    }
    SECTION("again to a node that begins anew") {
        hello("master");
        ignore();
        again(100);
        CHECK(passed_on() == 1);
    }
    SECTION("again from a node that begins anew") {
        hello("me");
        ignore();
        again(100);
        CHECK(passed_on() == 1);
    }
    SECTION("a number that was answered is free") {
        say("master", "me", Question::status, encode_empty(), 5);
        expect(Kind::answer).from("master").to("me");
        ask("me", "master", Question::metrics, encode_from(0), 5);
        CHECK(passed_on() == 1);
    }
    nothing_more();
}

TEST_CASE_METHOD(LedgerFixture, "an owner that says much about its end hides no runs") {
    hello_of("master");
    send("master", Kind::open, encode(Open{"master", {{"member-0", "member", 0}}, ""}), run_of(1),
         1);
    Writer w;  // one that knows no bound
    w.array(2).u64(static_cast<std::uint64_t>(Errc::handler_failed)).str(std::string(20'000, 'x'));
    send("master", Kind::close, w.take(), run_of(1), 1);
    CHECK(with_ledger.runs() == 0);
    REQUIRE_FALSE(ledger.runs.empty());
    const RunRow noted = ledger.runs.back();
    CHECK(noted.state == RunState::failed);
    CHECK(noted.reason.size() == sentence_bytes_max);
    const auto rows = decode_run_rows(encode(std::span<const RunRow>(std::vector{noted})));
    REQUIRE(rows);
    CHECK(rows->front().reason == noted.reason);
    ignore();
}
