#include "apps/child_frame.hpp"

#include <bit>
#include <cstring>

#include "apps/wire.hpp"

namespace vflbus::apps {
namespace {

using bus::Reader;
using bus::Writer;

constexpr bus::DecodeLimits frame_limits{entries_max, 8, bus::message_bytes_max,
                                         elements_total_max};

/// Node to app: a configuration of up to a MiB, twice, or the names of all nodes.
constexpr std::uint64_t told_bytes_max = 16 << 20;

static_assert(std::endian::native == std::endian::little, "the head is little-endian");

}  // namespace

std::uint64_t body_bytes_max(FrameKind kind) noexcept {
    switch (kind) {
        case FrameKind::request:
        case FrameKind::reply:
        case FrameKind::answer:
        case FrameKind::push:
            return bus::message_bytes_max;
        case FrameKind::begin:
        case FrameKind::nodes:
            return told_bytes_max;
        case FrameKind::failed:
        case FrameKind::refusal:
        case FrameKind::log:
        case FrameKind::done:
        case FrameKind::metrics:
            return note_bytes_max;
        case FrameKind::cancel:
        case FrameKind::end:
        case FrameKind::progress:
            return 0;
    }
    return 0;
}

namespace {

bool known(std::uint64_t kind) {
    return (kind >= static_cast<std::uint64_t>(FrameKind::begin) &&
            kind <= static_cast<std::uint64_t>(FrameKind::failed)) ||
           (kind >= static_cast<std::uint64_t>(FrameKind::answer) &&
            kind <= static_cast<std::uint64_t>(FrameKind::metrics));
}

}  // namespace

FrameHeadBytes encode(const FrameHead& head) {
    const std::array<std::uint64_t, 5> words{static_cast<std::uint64_t>(head.kind), head.node,
                                             head.message, static_cast<std::uint64_t>(head.ttl_ms),
                                             head.length};
    FrameHeadBytes bytes;
    static_assert(sizeof words == sizeof bytes);
    std::memcpy(bytes.data(), words.data(), sizeof words);
    return bytes;
}

Result<FrameHead> decode_head(std::span<const std::uint8_t, frame_head_bytes> bytes) {
    std::array<std::uint64_t, 5> words;
    std::memcpy(words.data(), bytes.data(), sizeof words);
    if (!known(words[0])) return fail(Errc::malformed_message, "a frame of an unknown kind");
    const FrameHead head{static_cast<FrameKind>(words[0]), words[1], words[2],
                         static_cast<std::int64_t>(words[3]), words[4]};
    if (head.length > body_bytes_max(head.kind))
        return fail(Errc::malformed_message, "a frame that is too long");
    if (head.ttl_ms < 0 || head.ttl_ms > ttl_ms_max)
        return fail(Errc::malformed_message, "a time to live out of range");
    return head;
}

Bytes encode(const Begin& begin) {
    Writer out;
    out.array(6).str(begin.run_id).u64(begin.node_id).str(begin.node_name).i64(begin.rank);
    put(out, begin.run_config);
    put(out, begin.node_config);
    return out.take();
}

Result<Begin> decode_begin(std::span<const std::uint8_t> body) {
    Reader in("begin", body, 6, frame_limits);
    Begin begin;
    begin.run_id = in.str();
    begin.node_id = in.u64();
    begin.node_name = in.str();
    begin.rank = in.i64();
    begin.run_config = take_values(in);
    begin.node_config = take_values(in);
    return finished(in, std::move(begin));
}

Bytes encode(std::span<const NodeChange> changes) {
    Writer out;
    out.array(1).array(changes.size());
    for (const NodeChange& change : changes)
        out.array(3).u64(change.id).str(change.name).boolean(change.there);
    return out.take();
}

Result<std::vector<NodeChange>> decode_nodes(std::span<const std::uint8_t> body) {
    Reader in("nodes", body, 1, frame_limits);
    std::vector<NodeChange> changes(in.enter());
    for (NodeChange& change : changes) {
        in.enter(3);
        change.id = in.u64();
        change.name = in.str();
        change.there = in.boolean();
        in.leave();
    }
    in.leave();
    return finished(in, std::move(changes));
}

Bytes encode(const Outcome& outcome) {
    Writer out;
    out.array(2).i64(outcome.code).sentence(outcome.sentence);
    return out.take();
}

Result<Outcome> decode_outcome(std::span<const std::uint8_t> body) {
    Reader in("the end of an app", body, 2, frame_limits);
    Outcome outcome;
    outcome.code = static_cast<int>(in.u64(65'535));
    outcome.sentence = in.sentence();
    return finished(in, std::move(outcome));
}

Bytes encode(const Metrics& metrics) {
    Writer out;
    out.array(2).u64(metrics.step).array(metrics.values.size());
    for (const auto& [name, value] : metrics.values) out.array(2).str(name).f64(value);
    return out.take();
}

Result<Metrics> decode_metrics(std::span<const std::uint8_t> body) {
    Reader in("metrics of an app", body, 2, frame_limits);
    Metrics metrics;
    metrics.step = in.u64();
    const std::size_t n = in.enter();
    if (n > metrics_max) in.fault("too many metrics");
    for (std::size_t i = 0; i < n && in.ok(); ++i) {
        in.enter(2);
        std::string name = next_name(in, metrics.values);
        if (name.empty() || name.size() > metric_name_bytes_max) in.fault("a name out of range");
        metrics.values.emplace_hint(metrics.values.end(), std::move(name), in.f64());
        in.leave();
    }
    in.leave();
    return finished(in, std::move(metrics));
}

Bytes encode(const LogLine& line) {
    Writer out;
    out.array(2).u64(static_cast<std::uint64_t>(line.level)).str(line.text);
    return out.take();
}

Result<LogLine> decode_log(std::span<const std::uint8_t> body) {
    Reader in("a log line of an app", body, 2, frame_limits);
    LogLine line;
    line.level = static_cast<app::Level>(in.u64(static_cast<std::uint64_t>(app::Level::error)));
    line.text = in.str(log_text_bytes_max);
    return finished(in, std::move(line));
}

}  // namespace vflbus::apps
