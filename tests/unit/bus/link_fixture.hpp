#pragma once
// A link by hand: what the broker says goes in, what the link says and tells its user comes out.

#include <deque>
#include <map>
#include <string>
#include <tuple>

#include "bus/core/link_core.hpp"
#include "catch.hpp"

namespace vflbus::bus {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What bodies and credit are counted in.
inline constexpr std::uint64_t MiB = 1u << 20;

class FakeDealer final : public LinkTransport {
  public:
    struct Sent {
        Header header;
        Bytes body;
        Lane lane = Lane::main;
    };
    SendResult send(Frame& frame) override {
        return full ? SendResult::full : take(frame, Lane::main);
    }
    void reconnect() override { ++reconnects; }
    FrameSink* open_bulk() override {
        ++bulk_opened;
        return has_bulk ? &bulk_ : nullptr;
    }
    void close_bulk() override { ++bulk_closed; }

    struct Mark {
        std::uint64_t token = 0;
        std::uint64_t data_bytes = 0;  ///< of REQUEST and REPLY frames before it
        Lane lane = Lane::main;
    };
    std::vector<Mark> marks;
    std::deque<Sent> frames;  ///< of both connections
    bool full = false;
    int reconnects = 0;
    std::uint64_t data_bytes = 0;  ///< what flow control counted, since WELCOME
    bool has_bulk = false;         ///< there is a second connection to be had
    int bulk_opened = 0;
    int bulk_closed = 0;
    std::uint64_t bulk_data_bytes = 0;  ///< the same of the second connection, since BULK
    /// Of the body of a request, or of a reply, that was begun last under a number, by its
    /// destination.
    std::map<std::tuple<NodeId, std::uint64_t, bool>, std::uint64_t> tags;

  private:
    SendResult take(Frame& frame, Lane lane) {
        const Frame taken = std::move(frame);
        Sent sent;
        sent.lane = lane;
        REQUIRE(decode(taken.header.bytes(), sent.header) == HeaderFault::none);
        const auto body = taken.body.bytes();
        sent.body.assign(body.begin(), body.end());
        INFO(name_of(sent.header.kind) << " of the link obeys the rules of its kind");
        CHECK(valid(sent.header, sent.body.size()));
        if (sent.header.kind == Kind::mark) {  // part of every flow, and of no story
            marks.push_back(
                {sent.header.aux, lane == Lane::main ? data_bytes : bulk_data_bytes, lane});
            return SendResult::ok;
        }
        if (is_data(sent.header.kind))
            (lane == Lane::main ? data_bytes : bulk_data_bytes) += header_bytes + sent.body.size();
        if (is_data(sent.header.kind) && sent.header.body_offset == 0)
            tags[{sent.header.dst, sent.header.request, sent.header.kind == Kind::reply}] =
                sent.header.aux;
        frames.push_back(std::move(sent));
        return SendResult::ok;
    }

    struct BulkSink final : FrameSink {
        explicit BulkSink(FakeDealer& all) : dealer(all) {}
        SendResult send(Frame& frame) override { return dealer.take(frame, Lane::bulk); }
        FakeDealer& dealer;
    } bulk_{*this};
};

class LinkFixture {
  public:
    static LinkConfig config() {
        LinkConfig c;
        c.hello = {"member-0", "member", 0, 3, 0xABC, "0.1.0", {}};
        c.seed = 1;
        return c;
    }
    explicit LinkFixture(LinkConfig c = config()) : link(std::move(c), wire) {}

    static RunId run_of(std::uint8_t n) {
        RunId run;
        run.bytes.fill(n);
        return run;
    }

    // -- the broker says -------------------------------------------------------
    void frame(Header header, Bytes body = {}, std::size_t frames = 0, Lane lane = Lane::main) {
        header.body_bytes = std::max<std::uint64_t>(header.body_bytes, body.size());
        if (frames == 0) frames = body.empty() ? 1 : 2;
        const HeaderBytes head = encode(header);
        Payload payload;
        if (!body.empty()) payload = Payload::hold(std::move(body));
        link.on_frame(Payload::copy_of(head), std::move(payload), frames, now, lane);
    }
    void welcome(Extensions extensions = {}) {
        Header header;
        header.kind = Kind::welcome;
        header.request = last_hello;
        header.aux = ++session;
        wire.data_bytes = 0;
        wire.marks.clear();
        frame(header, encode(Welcome{"0.1.0", 1000, 3000, 10000, frame_bytes_max, message_bytes_max,
                                     std::move(extensions)}));
    }
    /// The broker consumes whatever the link has to send.
    void consume_all() {
        std::size_t marks = 0;
        do {
            marks = wire.marks.size();
            window();
        } while (marks != wire.marks.size());
    }
    /// WINDOW: so much of REQUEST and REPLY frames was consumed; it answers the last MARK in it.
    void window(std::uint64_t total = UINT64_MAX, Lane lane = Lane::main) {
        Header header;
        header.kind = Kind::window;
        for (const auto& mark : wire.marks)
            if (mark.lane == lane && mark.data_bytes <= total) header.aux = mark.token;
        if (header.aux != 0) frame(header, {}, 0, lane);
    }
    /// MARK of the broker.
    void mark(std::uint64_t token, Lane lane = Lane::main) {
        Header header;
        header.kind = Kind::mark;
        header.aux = token;
        frame(header, {}, 0, lane);
    }
    void error(Errc code, RunId run = {}, std::uint32_t term = 0, std::uint64_t request = 0,
               NodeId dst = {}) {
        Header header;
        header.kind = Kind::error;
        header.aux = static_cast<std::uint64_t>(code);
        header.run = run;
        header.term = term;
        header.request = request;
        header.dst = dst;
        frame(header, encode_sentence("because"));
    }
    /// The broker answers BULK.
    void bulk_is_up() {
        Header header;
        header.kind = Kind::bulk;
        header.flags = flag::answer;
        header.aux = session;
        wire.bulk_data_bytes = 0;
        frame(header, {}, 0, Lane::bulk);
    }
    /// The peer says how far our body may go; `of_reply`: that of our answer.
    void credit(const std::string& from, std::uint64_t number, std::uint64_t up_to,
                bool of_reply = false) {
        Header header;
        header.kind = Kind::credit;
        header.src = node_id_of(from);
        header.dst = link.id();
        header.run = run_of(1);
        header.term = 1;
        header.request = number;
        header.flags = of_reply ? flag::answer : std::uint8_t{0};
        header.answered_below = wire.tags[{header.src, number, of_reply}];
        header.aux = up_to;
        frame(header);
    }
    void peer_down(const std::string& name, Errc code = Errc::peer_lost) {
        Header header;
        header.kind = Kind::peer_down;
        header.run = run_of(1);
        header.term = 1;
        header.aux = node_id_of(name).value;
        frame(header, encode(PeerDown{name, code, 10000}));
    }
    void bye(Errc code) {
        Header header;
        header.kind = Kind::bye;
        header.aux = static_cast<std::uint64_t>(code);
        frame(header, encode_sentence("because"));
    }
    void open(const std::string& owner, std::uint32_t term = 1, RunId run = run_of(1)) {
        Header header;
        header.kind = Kind::open;
        header.run = run;
        header.term = term;
        header.src = node_id_of(owner);
        frame(header, encode(Open{owner, {{"member-0", "member", 0}}, "agreed"}));
    }
    void opened(RunId run = run_of(1), std::uint32_t term = 1, std::uint64_t asked = 0) {
        Header header;
        header.kind = Kind::open;
        header.flags = flag::answer;
        header.run = run;
        header.term = term;
        header.aux = asked;
        frame(header);
    }
    void close(bool answer, RunId run = run_of(1), std::uint32_t term = 1) {
        Header header;
        header.kind = Kind::close;
        header.run = run;
        header.term = term;
        if (answer) header.flags = flag::answer;
        frame(header, answer ? Bytes{} : encode(Ending{Errc::diverged, "NaN"}));
    }
    void peer_up(const std::string& name, std::uint64_t incarnation = 1, RunId run = run_of(1),
                 std::uint32_t term = 1) {
        Header header;
        header.kind = Kind::peer_up;
        header.run = run;
        header.term = term;
        header.aux = node_id_of(name).value;
        frame(header, encode(PeerUp{name, "member", 1, incarnation}));
    }
    Header data(Kind kind, const std::string& from, std::uint64_t number,
                std::uint64_t answered_below = 1, RunId run = run_of(1), std::uint32_t term = 1) {
        Header header;
        header.kind = kind;
        header.src = node_id_of(from);
        header.dst = link.id();
        header.run = run;
        header.term = term;
        header.request = number;
        if (kind == Kind::request) header.answered_below = answered_below;
        header.type = 300;
        return header;
    }
    void request(const std::string& from, std::uint64_t number, std::uint64_t answered_below = 1,
                 Bytes body = {1}) {
        frame(data(Kind::request, from, number, answered_below), std::move(body));
    }
    void reply(const std::string& from, std::uint64_t number, Bytes body = {2}) {
        frame(data(Kind::reply, from, number), std::move(body));
    }
    /// One chunk of a body of `total` bytes that counts up.
    void chunk(Header header, std::uint64_t total, std::uint64_t index) {
        header.body_bytes = total;
        header.body_offset = index * chunk_bytes;
        // (`pattern` repeats itself, and gigabytes of it are sent)
        static const Bytes counted = [] {
            Bytes bytes(pattern_period + chunk_bytes);
            for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = pattern(i);
            return bytes;
        }();
        const auto part = std::span(counted).subspan(
            static_cast<std::size_t>(header.body_offset % pattern_period),
            static_cast<std::size_t>(
                std::min<std::uint64_t>(chunk_bytes, total - header.body_offset)));
        frame(header, Bytes(part.begin(), part.end()));
    }
    static constexpr std::uint64_t pattern_period = 256 * 512;
    static std::uint8_t pattern(std::uint64_t i) {
        return static_cast<std::uint8_t>(i * 131 + (i >> 9));
    }

    /// Time passes: ticks whenever the link asks for one.
    void pass(Duration d) {
        const TimePoint until = now + d;
        int ticks = 0;
        while (now < until) {
            now = std::max(now + milliseconds(1), std::min(until, link.next_deadline()));
            now = std::min(now, until);
            link.on_tick(now);
            REQUIRE(++ticks < 100000);
        }
    }

    // -- what is expected ------------------------------------------------------
    FakeDealer::Sent expect(Kind kind) {
        INFO("expected " << name_of(kind));
        if (wire.frames.empty()) {
            FAIL_CHECK("there is no frame");
            return {};
        }
        FakeDealer::Sent sent = std::move(wire.frames.front());
        wire.frames.pop_front();
        INFO("found " << name_of(sent.header.kind));
        CHECK(sent.header.kind == kind);
        CHECK(sent.header.src == link.id());
        if (sent.header.kind == Kind::hello) last_hello = sent.header.request;
        return sent;
    }
    FakeDealer::Sent expect_but_window(Kind kind) {
        std::erase_if(wire.frames, [](auto& s) { return s.header.kind == Kind::window; });
        return expect(kind);
    }
    void nothing_sent() {
        for (const auto& sent : wire.frames) {
            INFO("unexpected " << name_of(sent.header.kind));
            CHECK(false);
        }
        wire.frames.clear();
    }
    template <class Event>
    Event event() {
        LinkEvent got;
        if (!link.next_event(got)) {
            FAIL_CHECK("there is no event");
            return {};
        }
        auto* wanted = std::get_if<Event>(&got);
        if (wanted == nullptr) {
            INFO("event " << got.index());
            FAIL_CHECK("another event");
            return {};
        }
        return std::move(*wanted);
    }
    void no_event() {
        LinkEvent got;
        while (link.next_event(got)) {
            INFO("event " << got.index());
            FAIL_CHECK("unexpected event");
        }
    }
    /// Takes the events up to the next of this kind.
    template <class Event>
    Event event_after_others() {
        LinkEvent got;
        while (link.next_event(got))
            if (auto* wanted = std::get_if<Event>(&got)) return std::move(*wanted);
        FAIL_CHECK("there is no such event");
        return {};
    }
    void ping_from_broker() {
        Header header;
        header.kind = Kind::ping;
        frame(header);
    }
    void ignore_frames() {
        for (const auto& sent : wire.frames)
            if (sent.header.kind == Kind::hello) last_hello = sent.header.request;
        wire.frames.clear();
    }
    void ignore() {
        for (const auto& sent : wire.frames)
            if (sent.header.kind == Kind::hello) last_hello = sent.header.request;
        wire.frames.clear();
        LinkEvent got;
        while (link.next_event(got)) {
        }
    }
    bool dead() { return link.next_deadline() == TimePoint::max() && !link.up(); }

    // -- where stories begin ---------------------------------------------------
    void come_up() {
        link.start(now);
        expect(Kind::hello);
        welcome();
        event<LinkUp>();
    }
    void own_run(std::uint32_t term = 1) {
        link.open_run(run_of(1), term,
                      Open{"member-0", {{"member-1", "member", 1}, {"member-2", "member", 2}}, ""},
                      now);
        ignore();
    }
    void joined_run(std::uint32_t term = 1) {
        link.join_run({run_of(1), term, node_id_of("master"), {}},
                      Join{"member-0", "member", 0, 3, {}, "0.1.0", Errc::ok, ""}, now);
        ignore();
    }

    FakeDealer wire;
    LinkCore link;
    TimePoint now{std::chrono::hours(1)};
    std::uint64_t last_hello = 0;
    std::uint64_t session = 0;
};

}  // namespace vflbus::bus
