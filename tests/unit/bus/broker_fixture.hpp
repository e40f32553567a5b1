#pragma once
// A broker by hand: frames in, frames out, time as told. Reads like a story:
//
//     hello("member-0");                          a node introduces itself
//     expect(Kind::welcome).to("member-0");       the next frame to that node
//     request("master", "member-0");
//     expect(Kind::request).from("master").to("member-0");
//     nothing_more();
//
// After the manner of the deterministic fixture of the C++ Actor Framework.

#include <deque>
#include <map>
#include <set>
#include <string>

#include "bus/core/broker_core.hpp"
#include "catch.hpp"

namespace vflbus::bus {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline RunId run_of(std::uint8_t n) {
    RunId run;
    run.bytes.fill(n);
    return run;
}

struct SentFrame {
    ConnId to = 0;
    Header header;
    Bytes body;
    const void* held_at = nullptr;  ///< where the broker had the body
};

class FakeRouter final : public BrokerTransport {
  public:
    SendResult send(ConnId to, Frame& frame) override {
        if (gone.count(to) != 0) return SendResult::gone;
        if (full.count(to) != 0) return SendResult::full;
        const Frame taken = std::move(frame);
        SentFrame sent;
        sent.to = to;
        REQUIRE(decode(taken.header.bytes(), sent.header) == HeaderFault::none);
        const auto body = taken.body.bytes();
        sent.body.assign(body.begin(), body.end());
        sent.held_at = body.data();
        INFO(name_of(sent.header.kind) << " of the broker obeys the rules of its kind");
        CHECK(valid(sent.header, sent.body.size()));
        if (sent.header.kind == Kind::mark) {  // part of every flow, and of no story
            marks[to].push_back({sent.header.aux, data_bytes[to]});
            return SendResult::ok;
        }
        if (is_data(sent.header.kind)) data_bytes[to] += header_bytes + sent.body.size();
        frames.push_back(std::move(sent));
        return SendResult::ok;
    }
    void close(ConnId conn) override { closed.push_back(conn); }

    struct Mark {
        std::uint64_t token = 0;
        std::uint64_t data_bytes = 0;  ///< of REQUEST and REPLY frames before it
    };
    std::deque<SentFrame> frames;
    std::set<ConnId> gone;
    std::set<ConnId> full;
    std::map<ConnId, std::vector<Mark>> marks;
    std::map<ConnId, std::uint64_t> data_bytes;
    std::vector<ConnId> closed;  ///< by the broker
};

class BrokerFixture {
  public:
    static Timings default_timings() { return {}; }

    explicit BrokerFixture(BrokerConfig c = config()) : broker(std::move(c), router, start) {}

    static BrokerConfig config() {
        BrokerConfig c;
        c.version = "0.1.0";
        return c;
    }

    // -- what happens ----------------------------------------------------------
    /// `name` is also the name of the connection until `connect` gives it another.
    ConnId conn(const std::string& name) {
        auto& id = conns_[name];
        if (id == 0) id = next_conn_++;
        return id;
    }
    /// The node has a new connection from now on; the old one is named by what is returned.
    ConnId connect(const std::string& name) {
        const ConnId old = conns_[name];
        conns_[name] = next_conn_++;
        return old;
    }

    /// Which name is on which connection; several may be on one.
    std::map<std::string, ConnId>& conns() { return conns_; }

    void frame(ConnId from, const Header& header, Bytes body = {}, std::size_t frames = 0) {
        Header complete = header;
        complete.body_bytes = std::max<std::uint64_t>(complete.body_bytes, body.size());
        raw(from, encode(complete), std::move(body), frames);
    }
    void raw(ConnId from, std::span<const std::uint8_t> head, Bytes body = {},
             std::size_t frames = 0) {
        if (frames == 0) frames = body.empty() ? 1 : 2;
        Payload payload;
        if (!body.empty()) payload = Payload::hold(std::move(body));
        addressed->on_frame(from, Payload::copy_of(head), std::move(payload), frames, now);
    }

    void hello(const std::string& name, std::uint64_t incarnation = 1, std::uint64_t instance = 0,
               const std::string& role = "member", std::vector<std::string> features = {}) {
        Header header;
        header.kind = Kind::hello;
        header.src = node_id_of(name);
        const Hello hello{name,
                          role,
                          -1,
                          incarnation,
                          instance == 0 ? 77 : instance,
                          "0.1.0",
                          std::move(features)};
        frame(conn(name), header, encode(hello));
    }
    /// HELLO and its WELCOME.
    void join_bus(const std::string& name) {
        hello(name);
        expect(Kind::welcome).to(name);
    }
    void send(const std::string& from, Kind kind, Bytes body = {}, RunId run = {},
              std::uint32_t term = 0) {
        Header header;
        header.kind = kind;
        header.src = node_id_of(from);
        header.run = run;
        header.term = term;
        frame(conn(from), header, std::move(body));
    }
    void ping(const std::string& from) { send(from, Kind::ping); }
    /// PING of a node that works on something.
    void busy(const std::string& from, std::uint64_t progress) {
        Header header;
        header.kind = Kind::ping;
        header.flags = flag::busy;
        header.src = node_id_of(from);
        header.aux = progress;
        frame(conn(from), header);
    }
    void bye(const std::string& from) { send(from, Kind::bye); }
    void open(const std::string& owner, const std::vector<std::string>& participants,
              RunId run = run_of(1), std::uint32_t term = 1) {
        Open open{owner, {}, "agreed"};
        for (const auto& name : participants) open.participants.push_back({name, "member", 0});
        send(owner, Kind::open, encode(open), run, term);
    }
    void join(const std::string& name, RunId run = run_of(1), std::uint32_t term = 1,
              Errc code = Errc::ok, const std::string& owner = "master") {
        Header header;
        header.kind = Kind::join;
        header.src = node_id_of(name);
        header.dst = node_id_of(owner);
        header.run = run;
        header.term = term;
        frame(conn(name), header, encode(Join{name, "member", 0, 1, {}, "0.1.0", code, ""}));
    }
    void close(const std::string& owner, RunId run = run_of(1), std::uint32_t term = 1) {
        send(owner, Kind::close, encode(Ending{Errc::ok, "done"}), run, term);
    }
    Header data_header(Kind kind, const std::string& from, const std::string& to,
                       RunId run = run_of(1), std::uint32_t term = 1) {
        Header header;
        header.kind = kind;
        header.src = node_id_of(from);
        header.dst = node_id_of(to);
        header.run = run;
        header.term = term;
        header.request = 1;
        header.answered_below = kind == Kind::request ? 1 : 0;
        header.type = 300;
        return header;
    }
    void request(const std::string& from, const std::string& to, std::size_t bytes = 0,
                 RunId run = run_of(1), std::uint32_t term = 1) {
        frame(conn(from), data_header(Kind::request, from, to, run, term), Bytes(bytes, 5));
    }
    void reply(const std::string& from, const std::string& to, std::size_t bytes = 0,
               RunId run = run_of(1), std::uint32_t term = 1) {
        frame(conn(from), data_header(Kind::reply, from, to, run, term), Bytes(bytes, 6));
    }
    /// WINDOW from a node, on the connection of that name: it has read so much of REQUEST and REPLY
    /// frames, and answers the last MARK in it.
    void window(const std::string& from, std::uint64_t total = UINT64_MAX) {
        const auto& marks = router.marks[conn(from)];
        std::uint64_t token = 0;
        for (const auto& mark : marks)
            if (mark.data_bytes <= total) token = mark.token;
        if (token != 0) answer_mark(from, token);
    }
    void answer_mark(const std::string& from, std::uint64_t token) {
        Header header;
        header.kind = Kind::window;
        header.src = node_id_of(from.substr(0, from.find('/')));
        header.aux = token;
        frame(conn(from), header);
    }
    /// MARK from a node, on the connection of that name.
    void mark(const std::string& from, std::uint64_t token) {
        Header header;
        header.kind = Kind::mark;
        header.src = node_id_of(from.substr(0, from.find('/')));
        header.aux = token;
        frame(conn(from), header);
    }
    /// Time passes in steps of the broker's own ticks.
    void pass(Duration d) {
        const TimePoint until = now + d;
        while (now < until) {
            now = std::min(until, now + Timings{}.check);
            broker.on_tick(now);
        }
    }
    /// Time passes while these say every second that they live; `quiet`: what comes of it is
    /// dropped.
    void pass_alive(Duration d, const std::vector<std::string>& names, bool quiet = true) {
        const TimePoint until = now + d;
        while (now < until) {
            pass(std::chrono::seconds(1));
            for (const std::string& name : names) ping(name);
            std::erase_if(router.frames, [&](const auto& frame) {
                return quiet || frame.header.kind == Kind::pong;
            });
        }
    }
    /// A run of `owner` and participants that have all joined, with all its frames out of the way.
    void run_with(const std::string& owner, const std::vector<std::string>& participants,
                  RunId run = run_of(1), std::uint32_t term = 1) {
        if (known_.insert(owner).second) join_bus(owner);
        for (const auto& name : participants)
            if (known_.insert(name).second) join_bus(name);
        open(owner, participants, run, term);
        for (const auto& name : participants) join(name, run, term, Errc::ok, owner);
        router.frames.clear();
    }

    // -- what is expected ------------------------------------------------------
    class Expectation {
      public:
        Expectation(BrokerFixture& fixture, Kind kind) : fixture_(fixture), kind_(kind) {}
        Expectation& from(const std::string& name) {
            src_ = node_id_of(name);
            return *this;
        }
        Expectation& about(const std::string& name) {
            about_ = node_id_of(name);
            return *this;
        }
        Expectation& code(Errc code) {
            code_ = code;
            return *this;
        }
        SentFrame to(const std::string& name) { return to(fixture_.conn(name)); }
        SentFrame to(ConnId conn) {
            INFO("expected " << name_of(kind_) << " to connection " << conn);
            auto& frames = fixture_.router.frames;
            for (auto it = frames.begin(); it != frames.end(); ++it) {
                if (it->to != conn) continue;
                SentFrame sent = std::move(*it);
                frames.erase(it);
                INFO("found " << name_of(sent.header.kind));
                if (sent.header.kind == Kind::error) INFO(decode_sentence(sent.body));
                CHECK(sent.header.kind == kind_);
                if (src_) CHECK(sent.header.src == *src_);
                if (about_) CHECK(sent.header.aux == about_->value);
                if (code_) CHECK(sent.header.aux == static_cast<std::uint64_t>(*code_));
                return sent;
            }
            FAIL_CHECK("there is no frame");
            return {};
        }

      private:
        BrokerFixture& fixture_;
        Kind kind_;
        std::optional<NodeId> src_;
        std::optional<NodeId> about_;
        std::optional<Errc> code_;
    };
    Expectation expect(Kind kind) { return Expectation(*this, kind); }
    SentFrame expect_error(Errc code, const std::string& name) {
        return expect(Kind::error).code(code).to(name);
    }
    void nothing_more() {
        for (const SentFrame& frame : router.frames) {
            INFO("unexpected " << name_of(frame.header.kind) << " to connection " << frame.to
                               << ": " << decode_sentence(frame.body));
            CHECK(false);
        }
        router.frames.clear();
    }
    void ignore() { router.frames.clear(); }

    const TimePoint start{std::chrono::hours(1)};
    TimePoint now = start;
    FakeRouter router;
    BrokerCore broker;
    BrokerCore* addressed = &broker;  ///< where frames go: a test may have a broker of its own

  private:
    std::map<std::string, ConnId> conns_;
    std::set<std::string> known_;
    ConnId next_conn_ = 1;
};

}  // namespace vflbus::bus
