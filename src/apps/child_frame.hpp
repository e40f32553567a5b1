#pragma once
// Frames between a node and the process of an app (docs/apps.md, section 6). A message of an app
// passes the node as it is: all that the node has to know of it is in a head of fixed size, so that
// a gigabyte is neither decoded nor copied on its way from the bus to the app or back.

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>
#include <vflbus/app.hpp>

#include "base/errc.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::apps {

using bus::Bytes;
namespace app = vflbus::app;

enum class FrameKind : std::uint8_t {
    // node to app
    begin = 1,    ///< [run, node id, name, rank, run config, node config]
    request = 2,  ///< envelope: a ClientApp's next message
    cancel = 3,   ///< no body: return soon
    end = 4,      ///< no body: nothing more comes, leave
    nodes = 5,    ///< [[[id, name, there], ...]]: a ServerApp's nodes
    reply = 6,    ///< envelope: the answer to a push
    failed = 7,   ///< [code, sentence]: why a push has no answer
    // app to node
    answer = 17,    ///< envelope: to the request
    refusal = 18,   ///< [code, sentence]: why the request has no answer
    log = 19,       ///< [level, text]
    push = 20,      ///< envelope: a ServerApp's message to a node
    done = 21,      ///< [code, sentence]: how main has ended
    progress = 22,  ///< no body: a handler is at work and not stuck
    metrics = 23,   ///< [step, [[name, value], ...]]: of a ServerApp
};

/// How large the body of a frame may be. Those that an app sends but for its messages are small.
std::uint64_t body_bytes_max(FrameKind kind) noexcept;
inline constexpr std::uint64_t note_bytes_max = 128 << 10;
inline constexpr std::size_t log_text_bytes_max = 64 << 10;

struct FrameHead {
    FrameKind kind = FrameKind::end;
    std::uint64_t node = 0;  ///< push: its destination; request, reply, failed: whom it is from
    /// push: which one of this main, counted from 1; reply and failed: of the push they answer.
    std::uint64_t message = 0;
    std::int64_t ttl_ms = 0;   ///< push: its time to live
    std::uint64_t length = 0;  ///< bytes of the body that follows
};
/// kind, node, message, ttl, length: u64 each, little-endian.
inline constexpr std::size_t frame_head_bytes = 40;
using FrameHeadBytes = std::array<std::uint8_t, frame_head_bytes>;
FrameHeadBytes encode(const FrameHead& head);
/// Errors: malformed_message (unknown kind, a body over its limit, a time to live out of range).
Result<FrameHead> decode_head(std::span<const std::uint8_t, frame_head_bytes> bytes);

struct ChildFrame {
    FrameHead head;
    Bytes body;
};

// -- bodies ------------------------------------------------------------------------------------

struct Begin {
    std::string run_id;
    std::uint64_t node_id = 0;
    std::string node_name;
    std::int64_t rank = -1;
    app::Values run_config;
    app::Values node_config;
};
Bytes encode(const Begin& begin);
Result<Begin> decode_begin(std::span<const std::uint8_t> body);

struct NodeChange {
    std::uint64_t id = 0;
    std::string name;
    bool there = false;
};
Bytes encode(std::span<const NodeChange> changes);
Result<std::vector<NodeChange>> decode_nodes(std::span<const std::uint8_t> body);

/// failed, refusal and done. A sentence that is too long is cut.
struct Outcome {
    int code = 0;
    std::string sentence;
};
Bytes encode(const Outcome& outcome);
Result<Outcome> decode_outcome(std::span<const std::uint8_t> body);

struct Metrics {
    std::uint64_t step = 0;
    std::map<std::string, double> values;
};
inline constexpr std::size_t metrics_max = 64;            ///< of one step
inline constexpr std::size_t metric_name_bytes_max = 64;  ///< docs/protocol.md, section 12
Bytes encode(const Metrics& metrics);
Result<Metrics> decode_metrics(std::span<const std::uint8_t> body);

struct LogLine {
    app::Level level = app::Level::info;
    std::string text;
};
Bytes encode(const LogLine& line);
Result<LogLine> decode_log(std::span<const std::uint8_t> body);

}  // namespace vflbus::apps
