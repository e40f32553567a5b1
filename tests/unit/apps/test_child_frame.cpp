// Frames between a node and the process of an app.

#include "apps/child_frame.hpp"
#include "apps/wire.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::apps;

TEST_CASE("the head of a frame comes back as it was") {
    for (const FrameHead head :
         {FrameHead{FrameKind::begin, 0, 0, 0, 1 << 20}, FrameHead{FrameKind::cancel},
          FrameHead{FrameKind::push, UINT64_MAX, 7, ttl_ms_max, bus::message_bytes_max},
          FrameHead{FrameKind::log, 0, 0, 0, note_bytes_max}}) {
        const auto back = decode_head(encode(head));
        REQUIRE(back);
        CHECK(back->kind == head.kind);
        CHECK(back->node == head.node);
        CHECK(back->message == head.message);
        CHECK(back->ttl_ms == head.ttl_ms);
        CHECK(back->length == head.length);
    }
}

TEST_CASE("a head that makes no sense is refused") {
    for (const FrameHead head :
         {FrameHead{static_cast<FrameKind>(0)}, FrameHead{static_cast<FrameKind>(8)},
          FrameHead{static_cast<FrameKind>(16)}, FrameHead{static_cast<FrameKind>(24)},
          FrameHead{FrameKind::push, 0, 0, 0, bus::message_bytes_max + 1},
          FrameHead{FrameKind::log, 0, 0, 0, note_bytes_max + 1},
          FrameHead{FrameKind::progress, 0, 0, 0, 1}, FrameHead{FrameKind::push, 0, 0, -1, 1},
          FrameHead{FrameKind::push, 0, 0, ttl_ms_max + 1, 1}})
        CHECK_FALSE(decode_head(encode(head)));
    FrameHeadBytes bytes = encode(FrameHead{FrameKind::push});
    bytes[1] = 1;  // the kind has eight bytes
    CHECK_FALSE(decode_head(bytes));
}

TEST_CASE("a sentence that is too long is cut, and still says how it ended") {
    const auto back = decode_outcome(encode(Outcome{34, std::string(1 << 20, 'x')}));
    REQUIRE(back);
    CHECK(back->code == 34);
    CHECK(back->sentence.size() == bus::sentence_bytes_max);
}

TEST_CASE("metrics come back as they were, and are bounded") {
    const Metrics metrics{7, {{"accuracy", 0.5}, {"loss", -1e300}}};
    const auto back = decode_metrics(encode(metrics));
    REQUIRE(back);
    CHECK(back->step == 7);
    CHECK(back->values == metrics.values);
    Metrics many;
    for (std::size_t i = 0; i <= metrics_max; ++i) many.values[std::to_string(i)] = 1;
    CHECK_FALSE(decode_metrics(encode(many)));
    CHECK_FALSE(decode_metrics(encode(Metrics{1, {{"", 1}}})));
    CHECK_FALSE(decode_metrics(encode(Metrics{1, {{std::string(65, 'x'), 1}}})));
}
