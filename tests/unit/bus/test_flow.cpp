// Hop windows and the queues behind them: docs/protocol.md, section 7.

#include <chrono>
#include <map>

#include "bus/core/flow.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using std::chrono::milliseconds;

namespace {

RunId run_number(std::uint8_t n) {
    RunId run;
    run.bytes[0] = n;
    return run;
}

/// A frame that can be told from others: its first byte, and its size.
Frame frame_of(std::uint8_t mark, std::size_t bytes) {
    Frame frame;
    frame.header = Payload::hold(std::vector<std::uint8_t>(bytes, mark));
    return frame;
}

struct Sink final : FrameSink {
    SendResult send(Frame& frame) override {
        if (answer == SendResult::ok && room == 0) return SendResult::full;
        if (answer != SendResult::ok) return answer;
        --room;
        const Frame taken = std::move(frame);
        marks.push_back(taken.header.bytes()[0]);
        bytes += taken.size();
        bytes_of[marks.back()] += taken.size();
        return SendResult::ok;
    }
    SendResult answer = SendResult::ok;
    std::size_t room = SIZE_MAX;
    std::vector<int> marks;
    std::uint64_t bytes = 0;
    std::map<int, std::uint64_t> bytes_of;
};

struct Hop {
    HopSender sender;
    Sink sink;
    std::vector<HopSender::Left> left;
    TimePoint now{std::chrono::seconds(1000)};

    SendResult data(std::uint8_t mark, std::size_t bytes, Origin origin = {}) {
        return sender.data(run_number(mark), frame_of(mark, bytes), origin, sink, now);
    }
    void flush() { sender.flush(sink, now, left); }
    /// The other side takes everything that is under way.
    void drain() {
        sender.consumed(sink.bytes, now);
        flush();
    }
};

constexpr Origin alice{NodeId{1}, 7};
constexpr Origin bob{NodeId{2}, 8};

}  // namespace

TEST_CASE("no more than a window is under way, and the frame that crosses the line") {
    Hop hop;
    for (int i = 0; i < 100; ++i) hop.data(1, 100'000);
    CHECK(hop.sender.in_flight_bytes() == 600'000);
    CHECK(hop.sink.bytes == 600'000);
    CHECK(hop.sender.queued_bytes() == 9'400'000);
    CHECK(hop.sender.waiting());
    CHECK_FALSE(hop.sender.blocked());  // the window holds it back, not the transport
    hop.sender.consumed(200'000, hop.now);
    hop.flush();
    CHECK(hop.sender.in_flight_bytes() <= hop.sender.window_bytes() + 100'000);
    CHECK(hop.sink.bytes == 800'000);
}

TEST_CASE("nothing overtakes what waits in its own run") {
    Hop hop;
    for (int i = 0; i < 20; ++i) hop.data(1, 100'000);
    hop.sender.consumed(hop.sink.bytes, hop.now);
    // the window is open again, but older frames wait
    CHECK(hop.data(2, 10) == SendResult::full);
    CHECK(hop.sink.marks.back() == 1);
}

TEST_CASE("control passes a closed window and waits only for the transport") {
    Hop hop;
    for (int i = 0; i < 20; ++i) hop.data(1, 100'000);
    CHECK(hop.sender.control(frame_of(9, 97), hop.sink) == SendResult::ok);
    CHECK(hop.sink.marks.back() == 9);
    CHECK(hop.sender.in_flight_bytes() == 600'000);  // control does not count

    hop.sink.room = 0;
    CHECK(hop.sender.control(frame_of(9, 97), hop.sink) == SendResult::full);
    CHECK(hop.sender.blocked());
    hop.sender.consumed(600'000, hop.now);
    hop.sink.room = 1;
    hop.flush();
    CHECK(hop.sink.marks.back() == 9);  // control first
    CHECK(hop.sender.blocked());
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.sink.marks.back() == 1);
    CHECK_FALSE(hop.sender.blocked());
}

TEST_CASE("control frames keep their order when the transport was full") {
    Hop hop;
    hop.sink.room = 0;
    for (std::uint8_t i = 1; i <= 3; ++i) hop.sender.control(frame_of(i, 97), hop.sink);
    hop.sink.room = SIZE_MAX;
    hop.sender.control(frame_of(4, 97), hop.sink);
    hop.flush();
    CHECK(hop.sink.marks == std::vector<int>{1, 2, 3, 4});
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
    CHECK(other.sender.control(frame_of(1, 97), other.sink) == SendResult::gone);
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
    CHECK(hop.sink.bytes_of[1] + hop.sink.bytes_of[2] == 200'000);
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
    for (int i = 0; i < 6; ++i) hop.data(1, 100'000, alice);  // go at once: nobody waits
    hop.flush();
    CHECK(hop.left.empty());
    hop.data(1, 100, alice);
    hop.data(1, 200, bob);
    hop.data(1, 300);  // nobody to be told
    hop.drain();
    REQUIRE(hop.left.size() == 2);
    CHECK(hop.left[0].origin.node == alice.node);
    CHECK(hop.left[0].bytes == 100);
    CHECK(hop.left[1].origin.session == bob.session);
    CHECK(hop.left[1].bytes == 200);
}

TEST_CASE("reset and drop_run tell those whose frames they drop") {
    Hop hop;
    for (int i = 0; i < 6; ++i) hop.data(1, 100'000);
    hop.data(1, 100, alice);
    hop.data(2, 200, bob);
    hop.data(2, 300, bob);
    hop.sender.drop_run(run_number(2), hop.left);
    CHECK(hop.left.size() == 2);
    CHECK(hop.sender.queued_bytes() == 100);
    hop.sender.drop_run(run_number(2), hop.left);
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
            hop.sender.drop_all(hop.left);
        else
            hop.sender.drop_run(run_number(1), hop.left);
        CHECK(!hop.sender.blocked());
        CHECK(!hop.sender.waiting());
    }
}

TEST_CASE("control frames wait within bounds, in frames and in bytes") {
    Hop hop;
    const auto control = [&](std::size_t bytes) {
        return hop.sender.control(frame_of(1, bytes), hop.sink, 10, 1000);
    };
    hop.sink.room = 0;
    for (int i = 0; i < 10; ++i) CHECK(control(50) == SendResult::full);
    CHECK(control(50) == SendResult::gone);
    CHECK(hop.sender.queued_controls() == 10);
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(hop.sink.bytes == 500);
    hop.sink.room = 0;
    CHECK(control(1000) == SendResult::full);
    CHECK(control(1) == SendResult::gone);
    hop.sender.reset(hop.left);
    CHECK(control(1000) == SendResult::full);
    hop.sink.room = SIZE_MAX;
    hop.flush();
    CHECK(control(5000) == SendResult::ok);  // the bound is on what waits
}

TEST_CASE("WINDOW totals that cannot be are ignored") {
    Hop hop;
    hop.data(1, 1000);
    CHECK_FALSE(hop.sender.consumed(1001, hop.now));  // more than was sent
    CHECK(hop.sender.consumed(600, hop.now));
    CHECK_FALSE(hop.sender.consumed(599, hop.now));  // backwards
    CHECK(hop.sender.consumed(600, hop.now));        // the same again
    CHECK(hop.sender.in_flight_bytes() == 400);
}

TEST_CASE("the window grows to twice the bandwidth-delay product, and not beyond") {
    const auto settle = [](double bytes_per_second, double rtt_seconds) {
        // a pipe with a rate and a delay, simulated: the receiver reports every 128 KiB
        Hop hop;
        const Duration delay(static_cast<std::int64_t>(rtt_seconds * 1e9));
        std::map<TimePoint, std::uint64_t> reports;  // arrival of WINDOW, total
        TimePoint free_at = hop.now;
        std::uint64_t seen = 0;
        std::uint64_t reported = 0;
        std::uint64_t largest = 0;
        for (int step = 0; step < 3000; ++step) {
            while (hop.sender.queued_bytes() < (32u << 20)) hop.data(1, 65'536);
            while (seen < hop.sink.bytes) {
                seen += 65'536;
                free_at = std::max(free_at, hop.now) +
                          Duration(static_cast<std::int64_t>(65'536 / bytes_per_second * 1e9));
                if (seen - reported >= window_report_bytes) {
                    reported = seen;
                    reports[free_at + delay] = seen;
                }
            }
            REQUIRE_FALSE(reports.empty());
            hop.now = std::max(hop.now, reports.begin()->first);
            hop.sender.consumed(reports.begin()->second, hop.now);
            reports.erase(reports.begin());
            hop.flush();
            largest = std::max(largest, hop.sender.window_bytes());
            CHECK(hop.sender.in_flight_bytes() < hop.sender.window_bytes() + 65'536);
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
        hop.sender.consumed(hop.sink.bytes, hop.now);
    }
    CHECK(hop.sender.window_bytes() == hop_window_bytes_min);
}

TEST_CASE("the receiving side reports every 128 KiB, and begins again with a session") {
    HopReceiver in;
    CHECK_FALSE(in.consume(window_report_bytes - 1));
    CHECK(in.consume(1));
    CHECK(in.report() == window_report_bytes);
    CHECK_FALSE(in.consume(window_report_bytes - 1));
    CHECK(in.consume(10));
    CHECK(in.report() == 2 * window_report_bytes + 9);
    in.reset();
    CHECK(in.report() == 0);
}
