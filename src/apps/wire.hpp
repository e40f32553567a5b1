#pragma once
// Records and messages of apps as bytes: docs/apps.md, section 4. Used on both sides of the bus and
// between a node and the processes of its apps; what comes from another party is decoded within
// limits and nowhere else.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>
#include <vflbus/app.hpp>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::apps {

using bus::Bytes;
namespace app = vflbus::app;

inline constexpr std::size_t entries_max = 65'536;    ///< tensors, metrics or values of one record
inline constexpr std::size_t elements_max = 1 << 20;  ///< of one list in a record
inline constexpr std::size_t name_bytes_max = 1024;
inline constexpr std::size_t text_bytes_max = 16 << 20;
inline constexpr std::uint16_t app_message_type = 256;  ///< docs/protocol.md, section 8
inline constexpr std::int64_t ttl_ms_max = 365LL * 24 * 3600 * 1000;

Bytes encode(const app::Record& record);
/// Errors: malformed_message.
Result<app::Record> decode_record(std::span<const std::uint8_t> bytes);
Bytes encode_values(const app::Values& values);
Result<app::Values> decode_values(std::span<const std::uint8_t> bytes);

/// The body of an app's message on the bus, without its content.
struct Envelope {
    std::string message_id;
    std::string message_type;
    std::string group_id;
    std::int64_t ttl_ms = 0;
    std::int64_t created_us = 0;  ///< since 1970, by the clock of who made it
    std::span<const std::uint8_t> record;
};
Bytes encode(const Envelope& envelope);
/// `record` points into `body`.
Result<Envelope> decode_envelope(std::span<const std::uint8_t> body);

Envelope envelope_of(const app::Metadata& metadata);
app::Metadata metadata_of(const Envelope& envelope);

// -- the agreed text of a run of apps -----------------------------------------------------

/// "vflbus-app 1", and the run configuration, one `name = value` in a line.
std::string agreed_text(const app::Values& run_config);
/// Empty when the text is not that of a run of apps.
std::optional<Result<app::Values>> run_config_of(std::string_view agreed);
/// "key=value" as on the command line: true and false, integers, numbers, and text for the rest.
Result<app::Values> parse_values(const std::vector<std::string>& words, const std::string& flag);

// -- between a node and the process of an app ---------------------------------------------

enum class Told : std::uint8_t {
    // node to app
    begin = 1,    ///< [run, node id, name, rank, run config, node config]
    request = 2,  ///< [source, envelope]: a ClientApp's next message
    cancel = 3,   ///< []
    end = 4,      ///< []: nothing more comes, leave
    nodes = 5,    ///< [[[id, name, there], ...]]: a ServerApp's nodes
    reply = 6,    ///< [message id, source, envelope]
    failed = 7,   ///< [message id, source, code, sentence]
    // app to node
    answer = 17,    ///< [envelope]
    refusal = 18,   ///< [code, sentence]
    log = 19,       ///< [level, text]
    push = 20,      ///< [destination, envelope]
    done = 21,      ///< [code, sentence]: how main has ended
    progress = 22,  ///< []: a handler gets on
    metrics = 23,   ///< [step, [[name, value], ...]]: of a ServerApp
};

inline constexpr std::uint64_t told_bytes_max = bus::message_bytes_max + 65'536;

/// A frame on a socket: kind, body length as u64 little-endian, body.
inline constexpr std::size_t told_head_bytes = 9;
void put_head(Told kind, std::uint64_t length, std::uint8_t* head);
struct ToldHead {
    Told kind;
    std::uint64_t length;
};
/// Errors: malformed_message (over the limit).
Result<ToldHead> get_head(const std::uint8_t* head);

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

/// request, reply and push: a node and an envelope.
struct Addressed {
    std::uint64_t node = 0;
    std::span<const std::uint8_t> envelope;  ///< into the body
};
Bytes encode_addressed(std::uint64_t node, std::span<const std::uint8_t> envelope);
Result<Addressed> decode_addressed(std::span<const std::uint8_t> body);

struct Replied {
    std::string message_id;  ///< of the request
    std::uint64_t node = 0;
    std::span<const std::uint8_t> envelope;
};
Bytes encode_replied(std::string_view message_id, std::uint64_t node,
                     std::span<const std::uint8_t> envelope);
Result<Replied> decode_replied(std::span<const std::uint8_t> body);

struct FailedMessage {
    std::string message_id;
    std::uint64_t node = 0;
    int code = 0;
    std::string sentence;
};
Bytes encode(const FailedMessage& failed);
Result<FailedMessage> decode_failed(std::span<const std::uint8_t> body);

/// refusal and done.
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
