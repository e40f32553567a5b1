#include "apps/wire.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <utility>

namespace vflbus::apps {
namespace {

using bus::Reader;
using bus::Writer;

constexpr bus::DecodeLimits message_limits{entries_max, 8, bus::message_bytes_max,
                                           elements_total_max};

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

}  // namespace

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

// -- pieces ---------------------------------------------------------------------------

void Scattered::close() {
    if (small_.size() != 0) blocks_.push_back({small_.take(), {}});
    small_ = {};
}

void Scattered::refer(std::span<const std::uint8_t> bytes) {
    blocks_.push_back({small_.take(), bytes});
    small_ = {};
}

void Scattered::append(Scattered&& other) {
    close();
    other.close();
    std::move(other.blocks_.begin(), other.blocks_.end(), std::back_inserter(blocks_));
    other.blocks_.clear();
}

std::uint64_t Scattered::bytes() const noexcept {
    std::uint64_t n = small_.size();
    for (const Block& block : blocks_) n += block.small.size() + block.large.size();
    return n;
}

std::vector<std::span<const std::uint8_t>> Scattered::pieces() {
    close();
    std::vector<std::span<const std::uint8_t>> pieces;
    for (const Block& block : blocks_)
        for (const auto piece : {std::span<const std::uint8_t>(block.small), block.large})
            if (!piece.empty()) pieces.push_back(piece);
    return pieces;
}

Bytes Scattered::gather() {
    Bytes whole;
    whole.reserve(bytes());
    for (const auto piece : pieces()) whole.insert(whole.end(), piece.begin(), piece.end());
    return whole;
}

// -- records --------------------------------------------------------------------------

Scattered scatter(const app::Record& record) {
    Scattered out;
    out.small().array(3).array(record.tensors.size());
    for (const auto& [name, tensor] : record.tensors) {
        out.small().array(4).str(name).u64(static_cast<std::uint64_t>(tensor.dtype()));
        out.small().array(tensor.shape().size());
        for (const std::uint64_t extent : tensor.shape()) out.small().u64(extent);
        const std::size_t bytes = tensor.raw().size();
        if (bytes < share_from_bytes) {
            out.small().bin(tensor.raw());
        } else {
            out.small().bin_head(std::min<std::size_t>(bytes, UINT32_MAX));
            out.refer(tensor.raw());
        }
    }
    out.small().array(record.metrics.size());
    for (const auto& [name, metric] : record.metrics) {
        out.small().array(2).str(name);
        put(out.small(), metric);
    }
    put(out.small(), record.config);
    return out;
}

Bytes encode(const app::Record& record) {
    return scatter(record).gather();
}

namespace {

app::Tensor take_tensor(Reader& in, const std::shared_ptr<const void>& owner) {
    const auto dtype = static_cast<app::DType>(in.u64(static_cast<std::uint64_t>(app::DType::u8)));
    std::vector<std::uint64_t> shape(in.enter());
    for (std::uint64_t& extent : shape) extent = in.u64();
    in.leave();
    const auto raw = in.bin();
    if (!in.ok()) return {};
    try {
        if (owner != nullptr && raw.size() >= share_from_bytes)
            return {dtype, std::move(shape), raw, owner};
        return {dtype, std::move(shape), std::vector<std::uint8_t>(raw.begin(), raw.end())};
    } catch (const std::invalid_argument& e) {
        in.fault(e.what());
        return {};
    }
}

}  // namespace

Result<app::Record> decode_record(std::span<const std::uint8_t> bytes,
                                  const std::shared_ptr<const void>& owner) {
    app::Record record;
    Reader in("the content of an app's message", bytes, 3, message_limits);
    std::size_t n = in.enter();
    for (std::size_t i = 0; i < n && in.ok(); ++i) {
        in.enter(4);
        std::string name = next_name(in, record.tensors);
        record.tensors.emplace_hint(record.tensors.end(), std::move(name), take_tensor(in, owner));
        in.leave();
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

// -- envelopes ------------------------------------------------------------------------

namespace {

void put_heading(Writer& out, const Envelope& envelope) {
    out.array(6)
        .str(envelope.message_id)
        .str(envelope.message_type)
        .str(envelope.group_id)
        .i64(envelope.ttl_ms)
        .i64(envelope.created_us);
}

}  // namespace

Bytes encode(const Envelope& envelope) {
    Writer out;
    out.reserve(envelope.record.size() + 256);
    put_heading(out, envelope);
    out.bin(envelope.record);
    return out.take();
}

Scattered scatter(const Envelope& envelope, const app::Record& record) {
    Scattered content = scatter(record);
    Scattered out;
    put_heading(out.small(), envelope);
    // a message over 4 GiB has no encoding; its size says to the caller that it is too large
    out.small().bin_head(std::min<std::uint64_t>(content.bytes(), UINT32_MAX));
    out.append(std::move(content));
    return out;
}

Result<Envelope> decode_envelope(std::span<const std::uint8_t> body) {
    Reader in("an app's message", body, 6, message_limits);
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

}  // namespace vflbus::apps
