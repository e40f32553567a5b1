// The two ends of a hop: windows, MARKs and what waits behind them: docs/protocol.md, section 7.

#include <chrono>
#include <map>
#include <set>

#include "bus/core/hop_receiver.hpp"
#include "bus/core/hop_sender.hpp"
#include "catch.hpp"
#include "numbered_run.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using std::chrono::milliseconds;

namespace {

/// A frame that can be told from others: its first byte, and its size.
Frame frame_of(std::uint8_t tag, std::size_t bytes) {
    Frame frame;
    frame.header = Payload::hold(std::vector<std::uint8_t>(bytes, tag));
    return frame;
}

struct Sink final : FrameSink {
    struct Mark {
        std::uint64_t token = 0;
        std::uint64_t position = 0;  ///< bytes of all frames so far, its own included
    };

    SendResult send(Frame& frame) override {
        if (answer == SendResult::ok && room == 0) return SendResult::full;
        if (answer != SendResult::ok) return answer;
        --room;
        const Frame taken = std::move(frame);
        total += taken.size();
        Header header;
        if (decode(taken.header.bytes(), header) == HeaderFault::none) {
            CHECK(valid(header, 0));
            if (header.kind == Kind::mark) marks.push_back({header.aux, total});
            if (header.kind == Kind::window) reports.push_back(header.aux);
            return SendResult::ok;
        }
        tags.push_back(taken.header.bytes()[0]);
        bytes += taken.size();
        bytes_of[tags.back()] += taken.size();
        return SendResult::ok;
    }
    SendResult answer = SendResult::ok;
    std::size_t room = SIZE_MAX;
    std::vector<int> tags;
    std::vector<Mark> marks;
    std::vector<std::uint64_t> reports;  ///< tokens of WINDOW frames
    std::uint64_t total = 0;             ///< bytes of all frames
    std::uint64_t bytes = 0;             ///< of frames that are no MARK and no WINDOW
    std::map<int, std::uint64_t> bytes_of;
};

struct Hop {
    MarkTokens tokens{MarkTokens::Secret{1}};
    Limits limits;
    HopSender sender{
        tokens, {NodeId{5}, NodeId{6}}, limits, limits.mark_every, {.frames = 10, .bytes = 10'000}};
    Sink sink;
    std::vector<HopSender::Left> left;
    TimePoint now{std::chrono::seconds(1000)};

    SendResult data(std::uint8_t tag, std::size_t bytes, Origin origin = {}) {
        return sender.data(numbered_run(tag), frame_of(tag, bytes), origin, sink, now);
    }
    Posted control(std::uint8_t tag, std::size_t bytes) {
        return sender.control({frame_of(tag, bytes)}, sink, now);
    }
    void flush() { sender.flush(sink, now, left); }
    /// The other side has read what came before the last MARK in the first `total` bytes.
    bool read(std::uint64_t total) {
        std::uint64_t token = 0;
        for (const Sink::Mark& mark : sink.marks)
            if (mark.position <= total) token = mark.token;
        return token != 0 && sender.consumed(token, now);
    }
    /// The other side takes everything that is under way.
    void drain() {
        read(sink.total);
        flush();
    }
};

constexpr Origin hop_alice{NodeId{1}, 7};
constexpr Origin hop_bob{NodeId{2}, 8};
/// After so many bytes there is a MARK at the latest.
constexpr std::uint64_t unmarked = mark_every_bytes;

}  // namespace

TEST_CASE("no more than a window is under way, and the frame that crosses the line") {
    Hop hop;
    for (int i = 0; i < 100; ++i) hop.data(1, 100'000);
    CHECK(hop.sink.bytes == 600'000);
    CHECK(hop.sender.in_flight_bytes() == hop.sink.total);
    CHECK(hop.sender.queued_bytes() == 9'400'000);
    CHECK(hop.sender.waiting());
    CHECK_FALSE(hop.sender.blocked());  // the window holds it back, not the transport
    CHECK(hop.read(400'000));           // 300,000 of them stand before a MARK
    hop.flush();
    CHECK(hop.sender.in_flight_bytes() < hop.sender.window_bytes() + 100'000 + 2 * header_bytes);
    CHECK(hop.sink.bytes == 900'000);
}

TEST_CASE("a MARK follows within 256 KiB, and has a number of its own") {
    Hop hop;
    std::set<std::uint64_t> tokens;
    for (int i = 0; i < 5000; ++i) {
        hop.data(1, 1000);
        hop.drain();
        const std::uint64_t last = hop.sink.marks.empty() ? 0 : hop.sink.marks.back().position;
        REQUIRE(hop.sink.total - last < unmarked);
    }
    for (const Sink::Mark& mark : hop.sink.marks) {
        CHECK(mark.token != 0);
        CHECK(tokens.insert(mark.token).second);
    }
    CHECK(tokens.size() > 15);
    CHECK(tokens.size() <= 5'000'000 / unmarked);
    // another secret, other numbers: nobody can tell them who has not read them
    MarkTokens one(MarkTokens::Secret{1});
    MarkTokens other(MarkTokens::Secret{2});
    CHECK(one.next() != other.next());
}

TEST_CASE("who says to have read what it has not is not believed") {
    Hop hop;
    for (int i = 0; i < 100; ++i) hop.data(1, 100'000);
    const std::uint64_t under_way = hop.sender.in_flight_bytes();
    for (const std::uint64_t token :
         {std::uint64_t{1}, hop.sink.total, ~std::uint64_t{0}, hop.sink.marks.back().token + 1})
        CHECK_FALSE(hop.sender.consumed(token, hop.now));
    CHECK(hop.sender.in_flight_bytes() == under_way);
    hop.flush();
    CHECK(hop.sink.bytes == 600'000);
    // a MARK is answered once: the second time it proves nothing
    const std::uint64_t first = hop.sink.marks.front().token;
    CHECK(hop.sender.consumed(first, hop.now));
    CHECK_FALSE(hop.sender.consumed(first, hop.now));
    // and a later answer says what the earlier ones would have said
    hop.flush();
    const std::uint64_t earlier = hop.sink.marks[1].token;
    CHECK(hop.sender.consumed(hop.sink.marks[2].token, hop.now));
    CHECK_FALSE(hop.sender.consumed(earlier, hop.now));
}

TEST_CASE("all that is sent on a connection is bounded, whatever kind it is") {
    Hop hop;  // its other end reads nothing
    std::uint64_t dropped = 0;
    for (int i = 0; i < 100'000; ++i) {
        hop.data(1, 1000);
        if (hop.control(2, 500) == Posted::over) ++dropped;
        hop.sender.report(static_cast<std::uint64_t>(i) + 1, hop.sink, hop.now);
    }
    CHECK(dropped > 90'000);
    CHECK(hop.sink.total < hop_window_bytes_min + control_allowance_bytes + report_allowance_bytes +
                               mark_every_bytes + 1000 + 40 * header_bytes);
    // of reports that wait the last one alone is kept
    const std::size_t reports = hop.sink.reports.size();
    hop.drain();
    CHECK(hop.sink.reports.size() == reports + 1);
    CHECK(hop.sink.reports.back() == 100'000);
}

TEST_CASE("a report passes what holds control frames back") {
    // or two ends, each with too much under way, would wait for each other for ever
    Hop hop;
    while (hop.control(1, 5000) != Posted::waits) {
    }
    CHECK(hop.sender.report(77, hop.sink, hop.now) == SendResult::ok);
    CHECK(hop.sink.reports == std::vector<std::uint64_t>{77});
}

TEST_CASE("two ends that have read everything always tell each other so") {
    Hop one;
    Hop other;
    const auto both = [&](auto what) {
        what(one);
        what(other);
    };
    SECTION("although a large control frame has crossed the line") {
        both([](Hop& hop) {
            for (int i = 0; i < 3; ++i) hop.control(1, control_body_bytes_max);
        });
    }
    SECTION("although the window has become smaller than what is under way") {
        both([](Hop& hop) {
            // a quick line, whose window grows as far as it may
            for (int round = 0; round < 100; ++round) {
                for (int i = 0; i < 200; ++i) hop.data(1, 100'000);
                hop.now += milliseconds(10);
                hop.drain();
            }
            const std::uint64_t widest = hop.sender.window_bytes();
            REQUIRE(widest > 8 * hop_window_bytes_min);
            // and then a slow one
            std::uint64_t read = hop.sink.total - hop.sender.in_flight_bytes();
            for (int round = 0; round < 5000 && hop.sender.window_bytes() == widest; ++round) {
                for (int i = 0; i < 4; ++i) hop.data(1, 100'000);
                hop.now += std::chrono::seconds(5);
                hop.read(read += 400'000);
                hop.flush();
            }
            REQUIRE(hop.sender.in_flight_bytes() >
                    hop.sender.window_bytes() + control_allowance_bytes + report_allowance_bytes);
        });
    }
    // each end answers the newest MARK of the other one, and hears the answer
    REQUIRE(one.sender.report(other.sink.marks.back().token, one.sink, one.now) == SendResult::ok);
    REQUIRE(other.sender.report(one.sink.marks.back().token, other.sink, other.now) ==
            SendResult::ok);
    REQUIRE_FALSE(one.sink.reports.empty());
    REQUIRE_FALSE(other.sink.reports.empty());
    CHECK(one.sender.consumed(other.sink.reports.back(), one.now));
    CHECK(other.sender.consumed(one.sink.reports.back(), other.now));
    both([](Hop& hop) { CHECK(hop.sender.in_flight_bytes() < 2 * mark_every_bytes); });
}

TEST_CASE("a new session on a connection does not make what is under way on it disappear") {
    Hop hop;
    for (int i = 0; i < 100; ++i) hop.data(1, 100'000);
    for (int session = 0; session < 50; ++session) {
        hop.sender.begin_session(hop.left);
        CHECK_FALSE(hop.sender.waiting());
        for (int i = 0; i < 100; ++i) hop.data(1, 100'000);
    }
    CHECK(hop.sink.bytes == 600'000);
    hop.drain();  // answers of the earlier session count
    CHECK(hop.sink.bytes > 600'000);
    hop.sender.reset(hop.left);  // a new connection
    CHECK(hop.sender.in_flight_bytes() == 0);
    CHECK_FALSE(hop.sender.consumed(hop.sink.marks.back().token, hop.now));
}

TEST_CASE("a MARK that the transport did not take is sent as soon as it takes something") {
    Hop hop;
    hop.sink.room = 1;
    CHECK(hop.data(1, 300'000) == SendResult::ok);
    CHECK(hop.sink.marks.empty());
    CHECK(hop.sender.blocked());
    CHECK(hop.sender.waiting());
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.sink.marks.size() == 1);
    CHECK_FALSE(hop.sender.waiting());
}

TEST_CASE("nothing overtakes what waits in its own run") {
    Hop hop;
    for (int i = 0; i < 20; ++i) hop.data(1, 100'000);
    hop.read(hop.sink.total);
    // the window is open again, but older frames wait
    CHECK(hop.data(2, 10) == SendResult::full);
    CHECK(hop.sink.tags.back() == 1);
}

TEST_CASE("control passes a closed window and waits only for the transport") {
    Hop hop;
    for (int i = 0; i < 20; ++i) hop.data(1, 100'000);
    CHECK(hop.control(9, 98) == Posted::sent);
    CHECK(hop.sink.tags.back() == 9);

    hop.sink.room = 0;
    CHECK(hop.control(9, 98) == Posted::waits);
    CHECK(hop.sender.blocked());
    hop.read(hop.sink.total);
    hop.sink.room = 1;
    hop.flush();
    CHECK(hop.sink.tags.back() == 9);  // control first
    CHECK(hop.sender.blocked());
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.sink.tags.back() == 1);
    CHECK_FALSE(hop.sender.blocked());
}

TEST_CASE("control frames keep their order when the transport was full") {
    Hop hop;
    hop.sink.room = 0;
    for (std::uint8_t i = 1; i <= 3; ++i) hop.control(i, 98);
    hop.sink.room = SIZE_MAX;
    hop.control(4, 98);
    hop.flush();
    CHECK(hop.sink.tags == std::vector<int>{1, 2, 3, 4});
    CHECK_FALSE(hop.sender.waiting());
}

TEST_CASE("a transport that is full keeps the frame, one that is gone drops it") {
    Hop hop;
    hop.sink.room = 0;
    CHECK(hop.data(1, 1000) == SendResult::full);
    CHECK(hop.sender.blocked());
    CHECK(hop.sender.queued_bytes() == 1000);
    CHECK(hop.sender.in_flight_bytes() == 0);
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.sink.bytes == 1000);

    Hop other;
    other.sink.answer = SendResult::gone;
    CHECK(other.data(1, 1000) == SendResult::gone);
    CHECK(other.control(1, 98) == Posted::gone);
    CHECK_FALSE(other.sender.waiting());
}

TEST_CASE("two runs share the hop, whatever the size of their frames") {
    Hop hop;
    for (int i = 0; i < 80; ++i) hop.data(1, chunk_bytes);  // large chunks
    for (int i = 0; i < 10000; ++i) hop.data(2, 4'000);     // small messages
    hop.sink.bytes_of.clear();
    for (int i = 0; i < 40 && hop.sender.queued_bytes() > (20u << 20); ++i) {
        hop.now += milliseconds(1);
        hop.drain();
    }
    const auto large = static_cast<double>(hop.sink.bytes_of[1]);
    const auto small = static_cast<double>(hop.sink.bytes_of[2]);
    INFO(large << " against " << small);
    REQUIRE(hop.sender.queued_bytes() > 0);
    CHECK(large / small > 0.7);
    CHECK(large / small < 1.4);
}

TEST_CASE("they share it as well while the transport is full again and again") {
    Hop hop;
    hop.sink.room = 0;
    for (int i = 0; i < 400; ++i) hop.data(1, 1'000);
    for (int i = 0; i < 400; ++i) hop.data(2, 1'000);
    for (int i = 0; i < 200; ++i) {
        hop.sink.room = 0;
        hop.flush();  // a try that fails must not count as a turn
        hop.sink.room = 1;
        hop.flush();
    }
    // a MARK has a turn as well
    CHECK(hop.sink.bytes_of[1] + hop.sink.bytes_of[2] == 1000 * (200 - hop.sink.marks.size()));
    CHECK(hop.sink.bytes_of[1] >= 64'000);
    CHECK(hop.sink.bytes_of[2] >= 64'000);
}

TEST_CASE("a small run is not held up behind a large one") {
    Hop hop;
    for (int i = 0; i < 40; ++i) hop.data(1, chunk_bytes);
    hop.data(2, 100);
    hop.drain();
    CHECK(hop.sink.bytes_of[2] == 100);
}

TEST_CASE("whoever waits is told when its frames leave, once") {
    Hop hop;
    for (int i = 0; i < 6; ++i) hop.data(1, 100'000, hop_alice);  // go at once: nobody waits
    hop.flush();
    CHECK(hop.left.empty());
    hop.data(1, 100, hop_alice);
    hop.data(1, 200, hop_bob);
    hop.data(1, 300);  // nobody to be told
    hop.drain();
    REQUIRE(hop.left.size() == 2);
    CHECK(hop.left[0].origin.node == hop_alice.node);
    CHECK(hop.left[0].bytes == 100);
    CHECK(hop.left[1].origin.session == hop_bob.session);
    CHECK(hop.left[1].bytes == 200);
}

TEST_CASE("reset and drop_run tell those whose frames they drop") {
    Hop hop;
    for (int i = 0; i < 6; ++i) hop.data(1, 100'000);
    hop.data(1, 100, hop_alice);
    hop.data(2, 200, hop_bob);
    hop.data(2, 300, hop_bob);
    hop.sender.drop_run(numbered_run(2), hop.left);
    CHECK(hop.left.size() == 2);
    CHECK(hop.sender.queued_bytes() == 100);
    hop.sender.drop_run(numbered_run(2), hop.left);
    CHECK(hop.left.size() == 2);
    hop.sender.reset(hop.left);
    CHECK(hop.left.size() == 3);
    CHECK_FALSE(hop.sender.waiting());
    CHECK(hop.sender.in_flight_bytes() == 0);
    CHECK(hop.sender.window_bytes() == hop_window_bytes_min);
}

TEST_CASE("a sender whose frames were all dropped waits for no transport") {
    for (const bool all : {false, true}) {
        Hop hop;
        hop.sink.room = 0;
        hop.data(1, 100);
        REQUIRE(hop.sender.blocked());
        if (all)
            hop.sender.drop_data(hop.left);
        else
            hop.sender.drop_run(numbered_run(1), hop.left);
        CHECK(!hop.sender.blocked());
        CHECK(!hop.sender.waiting());
    }
}

TEST_CASE("control frames wait within bounds, in frames and in bytes") {
    Hop hop;
    hop.sink.room = 0;
    for (int i = 0; i < 10; ++i) CHECK(hop.control(1, 98) == Posted::waits);
    CHECK(hop.control(1, 98) == Posted::over);
    CHECK(hop.sender.queued_controls() == 10);
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.sink.bytes == 980);
    hop.sink.room = 0;
    CHECK(hop.control(1, 9'000) == Posted::waits);
    CHECK(hop.control(1, 800) == Posted::over);
    hop.sender.reset(hop.left);
    CHECK(hop.control(1, 9'000) == Posted::waits);
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.control(1, 50'000) == Posted::sent);  // the bound is on what waits
}

TEST_CASE("the window grows to twice the bandwidth-delay product, and not beyond") {
    const auto settle = [](double bytes_per_second, double rtt_seconds) {
        // a pipe with a rate and a delay, simulated: the receiver answers every MARK
        Hop hop;
        const Duration delay(static_cast<std::int64_t>(rtt_seconds * 1e9));
        std::map<TimePoint, std::uint64_t> reports;  // arrival of WINDOW, token
        TimePoint free_at = hop.now;
        std::size_t seen = 0;    // marks
        std::uint64_t read = 0;  // bytes
        std::uint64_t largest = 0;
        for (int step = 0; step < 3000; ++step) {
            while (hop.sender.queued_bytes() < (32u << 20)) hop.data(1, 65'536);
            for (; seen < hop.sink.marks.size(); ++seen) {
                const Sink::Mark& mark = hop.sink.marks[seen];
                const auto bytes = static_cast<double>(mark.position - read);
                free_at = std::max(free_at, hop.now) +
                          Duration(static_cast<std::int64_t>(bytes / bytes_per_second * 1e9));
                read = mark.position;
                reports[free_at + delay] = mark.token;
            }
            REQUIRE_FALSE(reports.empty());
            hop.now = std::max(hop.now, reports.begin()->first);
            hop.sender.consumed(reports.begin()->second, hop.now);
            reports.erase(reports.begin());
            hop.flush();
            largest = std::max(largest, hop.sender.window_bytes());
            CHECK(hop.sender.in_flight_bytes() <
                  hop.sender.window_bytes() + 65'536 + 2 * header_bytes);
        }
        return largest;
    };
    CHECK(settle(1e9, 1e-5) <= 2 * hop_window_bytes_min);  // a local hop: no need to grow far
    const auto far = settle(1e9, 4e-3);                    // product: 4 MB
    CHECK(far > 4'000'000);
    CHECK(far < 12'000'000);
    CHECK(settle(1e10, 0.1) == hop_window_bytes_max);
}

TEST_CASE("a slow sender does not widen the window") {
    Hop hop;
    for (int i = 0; i < 1000; ++i) {
        hop.data(1, 1000);
        hop.now += milliseconds(1);
        hop.read(hop.sink.total);
    }
    CHECK(hop.sender.window_bytes() == hop_window_bytes_min);
}

TEST_CASE("a MARK is answered when all before it is consumed") {
    HopReceiver in;
    in.received(1000);
    in.marked(11);
    CHECK(in.due() == 11);
    CHECK(in.due() == 0);
    in.received(500);
    in.hold(500);  // waits in a queue
    in.marked(12);
    CHECK(in.due() == 0);
    in.received(100);
    in.marked(13);
    CHECK(in.due() == 0);  // no more than what came later is consumed
    in.release(500);
    CHECK(in.due() == 13);  // says what 12 would have said
    CHECK(in.held_bytes() == 0);
    in.received(10);
    in.hold(10);
    in.marked(14);
    in.reset();
    CHECK(in.held_bytes() == 0);
    CHECK(in.due() == 0);
}

TEST_CASE("a flood of MARKs while something waits takes no memory without end") {
    HopReceiver in;
    in.received(1000);
    in.hold(1000);
    for (std::uint64_t token = 1; token <= 100'000; ++token) in.marked(token);
    in.release(1000);
    CHECK(in.due() == 100'000);
    CHECK(in.due() == 0);
}
