#include "apps/wire.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>

#include "base/text.hpp"

namespace vflbus::apps {
namespace {

using bus::Reader;
using bus::Writer;

constexpr bus::DecodeLimits limits{.elements_max = entries_max,
                                   .depth = 8,
                                   .bytes_max = told_bytes_max,
                                   .elements_total_max = 8 * entries_max};

template <class T>
std::span<const std::uint8_t> raw(const std::vector<T>& values) {
    return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T)};
}

template <class T>
std::vector<T> from_raw(Reader& in) {
    const auto bytes = in.bin();
    if (bytes.size() % sizeof(T) != 0 || bytes.size() / sizeof(T) > elements_max) {
        in.fault("a list that is cut off or too long");
        return {};
    }
    std::vector<T> out(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
}

/// Names in rising order, so that none comes twice.
template <class Map>
std::string next_name(Reader& in, const Map& so_far) {
    std::string name = in.str(name_bytes_max);
    if (!so_far.empty() && so_far.rbegin()->first >= name) in.fault("names out of order");
    return name;
}

// [tag, value]; the tag is the alternative's place in app::Metric or app::Value
void put(Writer& out, const app::Metric& metric) {
    out.array(2).u64(metric.index());
    if (const auto* i = std::get_if<std::int64_t>(&metric)) out.i64(*i);
    if (const auto* d = std::get_if<double>(&metric)) out.f64(*d);
    if (const auto* is = std::get_if<std::vector<std::int64_t>>(&metric)) out.bin(raw(*is));
    if (const auto* ds = std::get_if<std::vector<double>>(&metric)) out.bin(raw(*ds));
}

app::Metric take_metric(Reader& in) {
    app::Metric metric;
    in.enter(2);
    switch (in.u64()) {
        case 0:
            metric = in.i64();
            break;
        case 1:
            metric = in.f64();
            break;
        case 2:
            metric = from_raw<std::int64_t>(in);
            break;
        case 3:
            metric = from_raw<double>(in);
            break;
        default:
            in.fault("a metric of an unknown type");
    }
    in.leave();
    return metric;
}

void put(Writer& out, const app::Value& value) {
    out.array(2).u64(value.index());
    if (const auto* b = std::get_if<bool>(&value)) out.boolean(*b);
    if (const auto* i = std::get_if<std::int64_t>(&value)) out.i64(*i);
    if (const auto* d = std::get_if<double>(&value)) out.f64(*d);
    if (const auto* s = std::get_if<std::string>(&value)) out.str(*s);
    if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&value)) out.bin(*bytes);
    if (const auto* is = std::get_if<std::vector<std::int64_t>>(&value)) out.bin(raw(*is));
    if (const auto* ds = std::get_if<std::vector<double>>(&value)) out.bin(raw(*ds));
    if (const auto* strings = std::get_if<std::vector<std::string>>(&value)) out.strs(*strings);
}

app::Value take_value(Reader& in) {
    app::Value value;
    in.enter(2);
    switch (in.u64()) {
        case 0:
            value = in.boolean();
            break;
        case 1:
            value = in.i64();
            break;
        case 2:
            value = in.f64();
            break;
        case 3:
            value = in.str(text_bytes_max);
            break;
        case 4: {
            const auto bytes = in.bin();
            value = std::vector<std::uint8_t>(bytes.begin(), bytes.end());
            break;
        }
        case 5:
            value = from_raw<std::int64_t>(in);
            break;
        case 6:
            value = from_raw<double>(in);
            break;
        case 7:
            value = in.strs();
            break;
        default:
            in.fault("a value of an unknown type");
    }
    in.leave();
    return value;
}

void put(Writer& out, const app::Values& values) {
    out.array(values.size());
    for (const auto& [name, value] : values) {
        out.array(2).str(name);
        put(out, value);
    }
}

app::Values take_values(Reader& in) {
    app::Values values;
    const std::size_t n = in.enter();
    for (std::size_t i = 0; i < n && in.ok(); ++i) {
        in.enter(2);
        std::string name = next_name(in, values);
        values.emplace_hint(values.end(), std::move(name), take_value(in));
        in.leave();
    }
    in.leave();
    return values;
}

}  // namespace

// -- records --------------------------------------------------------------------------

Bytes encode(const app::Record& record) {
    Writer out;
    std::size_t room = 64;
    for (const auto& [name, tensor] : record.tensors)
        room += name.size() + tensor.raw().size() + 64;
    out.reserve(room);
    out.array(3).array(record.tensors.size());
    for (const auto& [name, tensor] : record.tensors) {
        out.array(4).str(name).u64(static_cast<std::uint64_t>(tensor.dtype()));
        out.array(tensor.shape().size());
        for (const std::uint64_t extent : tensor.shape()) out.u64(extent);
        out.bin(tensor.raw());
    }
    out.array(record.metrics.size());
    for (const auto& [name, metric] : record.metrics) {
        out.array(2).str(name);
        put(out, metric);
    }
    put(out, record.config);
    return out.take();
}

Result<app::Record> decode_record(std::span<const std::uint8_t> bytes) {
    app::Record record;
    Reader in("the content of an app's message", bytes, 3, limits);
    std::size_t n = in.enter();
    for (std::size_t i = 0; i < n && in.ok(); ++i) {
        in.enter(4);
        std::string name = next_name(in, record.tensors);
        const std::uint64_t dtype = in.u64(static_cast<std::uint64_t>(app::DType::u8));
        std::vector<std::uint64_t> shape(in.enter());
        for (std::uint64_t& extent : shape) extent = in.u64();
        in.leave();
        const auto values = in.bin();
        in.leave();
        if (!in.ok()) break;
        try {
            record.tensors.emplace_hint(
                record.tensors.end(), std::move(name),
                app::Tensor(static_cast<app::DType>(dtype), std::move(shape),
                            std::vector<std::uint8_t>(values.begin(), values.end())));
        } catch (const std::invalid_argument& e) {
            in.fault(e.what());
        }
    }
    in.leave();
    n = in.enter();
    for (std::size_t i = 0; i < n && in.ok(); ++i) {
        in.enter(2);
        std::string name = next_name(in, record.metrics);
        record.metrics.emplace_hint(record.metrics.end(), std::move(name), take_metric(in));
        in.leave();
    }
    in.leave();
    record.config = take_values(in);
    return finished(in, std::move(record));
}

Bytes encode_values(const app::Values& values) {
    Writer out;
    out.array(1);
    put(out, values);
    return out.take();
}

Result<app::Values> decode_values(std::span<const std::uint8_t> bytes) {
    Reader in("the configuration of an app", bytes, 1, limits);
    app::Values values = take_values(in);
    return finished(in, std::move(values));
}

// -- envelopes ------------------------------------------------------------------------

Bytes encode(const Envelope& envelope) {
    Writer out;
    out.reserve(envelope.record.size() + 256);
    out.array(6)
        .str(envelope.message_id)
        .str(envelope.message_type)
        .str(envelope.group_id)
        .i64(envelope.ttl_ms)
        .i64(envelope.created_us)
        .bin(envelope.record);
    return out.take();
}

Result<Envelope> decode_envelope(std::span<const std::uint8_t> body) {
    Reader in("an app's message", body, 6, limits);
    Envelope envelope;
    envelope.message_id = in.str(name_bytes_max);
    envelope.message_type = in.str(name_bytes_max);
    envelope.group_id = in.str(name_bytes_max);
    envelope.ttl_ms = in.i64();
    envelope.created_us = in.i64();
    envelope.record = in.bin();
    if (envelope.ttl_ms < 0 || envelope.ttl_ms > ttl_ms_max)
        in.fault("a time to live out of range");
    return finished(in, std::move(envelope));
}

Envelope envelope_of(const app::Metadata& metadata) {
    Envelope envelope;
    envelope.message_id = metadata.message_id;
    envelope.message_type = metadata.message_type;
    envelope.group_id = metadata.group_id;
    envelope.ttl_ms = std::clamp<std::int64_t>(metadata.ttl.count(), 0, ttl_ms_max);
    envelope.created_us = std::chrono::duration_cast<std::chrono::microseconds>(
                              metadata.created_at.time_since_epoch())
                              .count();
    return envelope;
}

app::Metadata metadata_of(const Envelope& envelope) {
    app::Metadata metadata;
    metadata.message_id = envelope.message_id;
    metadata.message_type = envelope.message_type;
    metadata.group_id = envelope.group_id;
    metadata.ttl = app::Duration(envelope.ttl_ms);
    metadata.created_at = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::microseconds(envelope.created_us)));
    return metadata;
}

// -- configuration ----------------------------------------------------------------------

namespace {

constexpr std::string_view first_line = "vflbus-app 1\n";

bool is_name(std::string_view text) {
    if (text.empty() || text.size() > 128) return false;
    for (const char c : text)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    return true;
}

std::string escaped(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '\n')
            out += "\\n";
        else if (c == '"' || c == '\\')
            (out += '\\') += c;
        else
            out += c;
    }
    return out + '"';
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size())
            out += text[i];
        else
            out += text[++i] == 'n' ? '\n' : text[i];
    }
    return out;
}

template <class T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || at != text.data() + text.size()) return {};
    return value;
}

app::Value value_of(std::string_view text) {
    if (text == "true") return true;
    if (text == "false") return false;
    if (const auto integer = number<std::int64_t>(text)) return *integer;
    if (const auto real = number<double>(text)) return *real;
    return std::string(text);
}

}  // namespace

std::string agreed_text(const app::Values& run_config) {
    std::string text(first_line);
    for (const auto& [name, value] : run_config) {
        text += name + " = ";
        if (const auto* b = std::get_if<bool>(&value))
            text += *b ? "true" : "false";
        else if (const auto* i = std::get_if<std::int64_t>(&value))
            text += std::to_string(*i);
        else if (const auto* d = std::get_if<double>(&value))
            text += shortest(*d);
        else if (const auto* s = std::get_if<std::string>(&value))
            text += escaped(*s);
        text += '\n';
    }
    return text;
}

std::optional<Result<app::Values>> run_config_of(std::string_view agreed) {
    if (!agreed.starts_with("vflbus-app ")) return {};
    if (!agreed.starts_with(first_line))
        return fail(Errc::unsupported_version,
                    "the run is one of apps of another version than this node's; use the same "
                    "version of vflbus at both");
    app::Values values;
    agreed.remove_prefix(first_line.size());
    while (!agreed.empty()) {
        const std::string_view line = agreed.substr(0, agreed.find('\n'));
        agreed.remove_prefix(std::min(agreed.size(), line.size() + 1));
        const std::size_t at = line.find(" = ");
        if (at == std::string_view::npos || !is_name(line.substr(0, at)))
            return fail(Errc::malformed_message,
                        "the run configuration of the app does not decode");
        const std::string_view text = line.substr(at + 3);
        const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
        values[std::string(line.substr(0, at))] =
            quoted ? app::Value(unescaped(text.substr(1, text.size() - 2))) : value_of(text);
    }
    return values;
}

Result<app::Values> parse_values(const std::vector<std::string>& words, const std::string& flag) {
    app::Values values;
    for (const std::string& word : words) {
        const std::size_t at = word.find('=');
        const std::string name = word.substr(0, at);
        if (at == std::string::npos || !is_name(name))
            return fail(Errc::usage, flag + " " + word +
                                         ": it must be key=value, with a key of letters, digits, "
                                         "dot, dash and underscore");
        if (word.size() > 65'536)
            return fail(Errc::usage, flag + " " + name + ": the value is too long");
        values[name] = value_of(std::string_view(word).substr(at + 1));
    }
    return values;
}

// -- between a node and the process of an app ----------------------------------------------

void put_head(Told kind, std::uint64_t length, std::uint8_t* head) {
    head[0] = static_cast<std::uint8_t>(kind);
    std::memcpy(head + 1, &length, sizeof length);
}

Result<ToldHead> get_head(const std::uint8_t* head) {
    ToldHead out{static_cast<Told>(head[0]), 0};
    std::memcpy(&out.length, head + 1, sizeof out.length);
    if (out.length > told_bytes_max)
        return fail(Errc::malformed_message, "a frame of an app that is too long");
    return out;
}

Bytes encode(const Begin& begin) {
    Writer out;
    out.array(6).str(begin.run_id).u64(begin.node_id).str(begin.node_name).i64(begin.rank);
    put(out, begin.run_config);
    put(out, begin.node_config);
    return out.take();
}

Result<Begin> decode_begin(std::span<const std::uint8_t> body) {
    Reader in("begin", body, 6, limits);
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
    Reader in("nodes", body, 1, limits);
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

Bytes encode_addressed(std::uint64_t node, std::span<const std::uint8_t> envelope) {
    Writer out;
    out.reserve(envelope.size() + 64).array(2).u64(node).bin(envelope);
    return out.take();
}

Result<Addressed> decode_addressed(std::span<const std::uint8_t> body) {
    Reader in("a message of an app", body, 2, limits);
    Addressed addressed;
    addressed.node = in.u64();
    addressed.envelope = in.bin(told_bytes_max);
    return finished(in, std::move(addressed));
}

Bytes encode_replied(std::string_view message_id, std::uint64_t node,
                     std::span<const std::uint8_t> envelope) {
    Writer out;
    out.reserve(envelope.size() + 128).array(3).str(message_id).u64(node).bin(envelope);
    return out.take();
}

Result<Replied> decode_replied(std::span<const std::uint8_t> body) {
    Reader in("a reply to an app", body, 3, limits);
    Replied replied;
    replied.message_id = in.str();
    replied.node = in.u64();
    replied.envelope = in.bin(told_bytes_max);
    return finished(in, std::move(replied));
}

Bytes encode(const FailedMessage& failed) {
    Writer out;
    out.array(4).str(failed.message_id).u64(failed.node).i64(failed.code).str(failed.sentence);
    return out.take();
}

Result<FailedMessage> decode_failed(std::span<const std::uint8_t> body) {
    Reader in("a failed message of an app", body, 4, limits);
    FailedMessage failed;
    failed.message_id = in.str();
    failed.node = in.u64();
    failed.code = static_cast<int>(in.u64(65'535));
    failed.sentence = in.str(text_bytes_max);
    return finished(in, std::move(failed));
}

Bytes encode(const Outcome& outcome) {
    Writer out;
    out.array(2).i64(outcome.code).str(outcome.sentence);
    return out.take();
}

Result<Outcome> decode_outcome(std::span<const std::uint8_t> body) {
    Reader in("the end of an app", body, 2, limits);
    Outcome outcome;
    outcome.code = static_cast<int>(in.u64(65'535));
    outcome.sentence = in.str(text_bytes_max);
    return finished(in, std::move(outcome));
}

Bytes encode(const Metrics& metrics) {
    Writer out;
    out.array(2).u64(metrics.step).array(metrics.values.size());
    for (const auto& [name, value] : metrics.values) out.array(2).str(name).f64(value);
    return out.take();
}

Result<Metrics> decode_metrics(std::span<const std::uint8_t> body) {
    Reader in("metrics of an app", body, 2, limits);
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
    Reader in("a log line of an app", body, 2, limits);
    LogLine line;
    line.level = static_cast<app::Level>(in.u64(static_cast<std::uint64_t>(app::Level::error)));
    line.text = in.str(text_bytes_max);
    return finished(in, std::move(line));
}

}  // namespace vflbus::apps
