// Messages of users' apps: what another party's app sends, and what an app's own process says.

#include <vflbus/app.hpp>

#include "apps/child_frame.hpp"
#include "apps/wire.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_apps {
namespace {

using namespace vflbus::apps;

bool try_apps(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 8);
    switch (kind) {
        case 0: {
            const auto envelope = decode_envelope(body);
            if (!envelope) return false;
            require(envelope->record.size() <= body.size(), "a record is longer than its body");
            (void)metadata_of(*envelope);
            return true;
        }
        case 1:
            return round_trip(
                body, [](const auto& bytes) { return decode_record(bytes); },
                [](const app::Record& record) { return encode(record); });
        case 2: {
            if (body.size() < frame_head_bytes) return false;
            const auto head = decode_head(body.first<frame_head_bytes>());
            if (!head) return false;
            require(head->length <= body_bytes_max(head->kind), "a body over its limit is let in");
            require(std::ranges::equal(encode(*head), body.first<frame_head_bytes>()),
                    "a head is written otherwise");
            return true;
        }
        case 3:
            return round_trip(body, decode_begin, encoded_again);
        case 4:
            return round_trip(body, decode_nodes,
                              [](const auto& nodes) { return encode(std::span(nodes)); });
        case 5:
            return round_trip(body, decode_outcome, encoded_again);
        case 6:
            return round_trip(body, decode_metrics, encoded_again);
        default:
            return round_trip(body, decode_log, encoded_again);
    }
}

std::vector<Bytes> apps_seeds() {
    app::Record record;
    record.tensors["weights"] = app::Tensor::of(std::vector<double>{1, 2, 3});
    record.config["rounds"] = std::int64_t{3};
    record.config["name"] = std::string("a");
    const Bytes bytes = encode(record);
    Envelope envelope;
    envelope.message_id = "m-1";
    envelope.message_type = "train";
    envelope.group_id = "1";
    envelope.ttl_ms = 1000;
    envelope.record = bytes;
    Begin begin;
    begin.run_id = "a1b2";
    begin.node_name = "node-a";
    begin.run_config["rounds"] = std::int64_t{3};
    const NodeChange change{7, "node-a", true};
    FrameHead head;
    head.kind = FrameKind::push;
    head.length = 100;
    return {
        seed(0, encode(envelope)),
        seed(1, bytes),
        seed(2, encode(head)),
        seed(3, encode(begin)),
        seed(4, encode(std::span<const NodeChange>(&change, 1))),
        seed(5, encode(Outcome{8, "no such run"})),
        seed(6, encode(Metrics{3, {{"loss", .5}}})),
        seed(7, encode(LogLine{app::Level::info, "a line"})),
    };
}

}  // namespace
}  // namespace of_apps

const Target apps_target{"apps", "messages of apps and frames of their processes",
                         of_apps::try_apps, of_apps::apps_seeds};

}  // namespace vflbus::fuzz
