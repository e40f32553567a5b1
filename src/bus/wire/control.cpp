#include "bus/wire/control.hpp"

namespace vflbus::bus {
namespace {

constexpr DecodeLimits control_limits{array_elements_max, depth_max, control_body_bytes_max};
constexpr std::size_t name_bytes_max = 64;

std::string read_name(Reader& reader) {
    std::string name = reader.str(name_bytes_max);
    if (reader.ok() && !is_valid_node_name(name)) reader.fault("not a node name");
    return name;
}

Errc read_code(Reader& reader) {
    return static_cast<Errc>(reader.u64(UINT16_MAX));
}

}  // namespace

Bytes encode(const Hello& m) {
    Writer w;
    w.array(8)
        .str(m.name)
        .str(m.role)
        .i64(m.rank)
        .u64(m.incarnation)
        .u64(m.instance)
        .str(m.version)
        .strs(m.features);
    write(w, m.extensions);
    return w.take();
}

Result<Hello> decode_hello(std::span<const std::uint8_t> body) {
    Reader r("HELLO", body, 8, control_limits);
    Hello m;
    m.name = read_name(r);
    m.role = r.str(16);
    m.rank = r.i64();
    m.incarnation = r.u64();
    m.instance = r.u64();
    m.version = r.str(64);
    const std::size_t features = r.enter();
    if (features > features_max) r.fault("too many features");
    for (std::size_t i = 0; i < features && r.ok(); ++i)
        m.features.push_back(r.str(feature_bytes_max));
    r.leave();
    m.extensions = read_extensions(r);
    return finished(r, std::move(m));
}

Bytes encode(const Welcome& m) {
    Writer w;
    w.array(7)
        .str(m.version)
        .u64(m.heartbeat_ms)
        .u64(m.suspect_ms)
        .u64(m.lost_ms)
        .u64(m.frame_bytes)
        .u64(m.message_bytes);
    write(w, m.extensions);
    return w.take();
}

Result<Welcome> decode_welcome(std::span<const std::uint8_t> body) {
    Reader r("WELCOME", body, 7, control_limits);
    Welcome m;
    m.version = r.str(64);
    m.heartbeat_ms = r.u64(3'600'000);
    m.suspect_ms = r.u64(86'400'000);
    m.lost_ms = r.u64(86'400'000);
    m.frame_bytes = r.u64();
    m.message_bytes = r.u64();
    m.extensions = read_extensions(r);
    return finished(r, std::move(m));
}

Bytes encode(const Open& m) {
    Writer w;
    w.array(4).str(m.owner).array(m.participants.size());
    for (const Participant& p : m.participants) w.array(3).str(p.name).str(p.role).i64(p.rank);
    w.str(m.agreed);
    write(w, m.extensions);
    return w.take();
}

Result<Open> decode_open(std::span<const std::uint8_t> body) {
    Reader r("OPEN", body, 4, control_limits);
    Open m;
    m.owner = read_name(r);
    m.participants.resize(r.enter());
    for (Participant& p : m.participants) {
        r.enter(3);
        p.name = r.str(name_bytes_max);
        p.role = r.str(16);
        p.rank = r.i64();
        const bool all = m.participants.size() == 1 && p == any_node;
        if (r.ok() && !all && !is_valid_node_name(p.name)) r.fault("not a node name");
        r.leave();
    }
    r.leave();
    m.agreed = r.str(control_body_bytes_max);
    m.extensions = read_extensions(r);
    return finished(r, std::move(m));
}

Bytes encode(const Join& m) {
    Writer w;
    w.array(9)
        .str(m.name)
        .str(m.role)
        .i64(m.rank)
        .u64(m.incarnation)
        .bin(m.config_hash)
        .str(m.version);
    w.u64(static_cast<std::uint64_t>(m.code)).sentence(m.sentence);
    write(w, m.extensions);
    return w.take();
}

Result<Join> decode_join(std::span<const std::uint8_t> body) {
    Reader r("JOIN", body, 9, control_limits);
    Join m;
    m.name = read_name(r);
    m.role = r.str(16);
    m.rank = r.i64();
    m.incarnation = r.u64();
    r.fixed_bin(m.config_hash);
    m.version = r.str(64);
    m.code = read_code(r);
    m.sentence = r.sentence();
    m.extensions = read_extensions(r);
    return finished(r, std::move(m));
}

Bytes encode(const Ending& m) {
    Writer w;
    w.array(2).u64(static_cast<std::uint64_t>(m.code)).sentence(m.sentence);
    return w.take();
}

Result<Ending> decode_ending(std::span<const std::uint8_t> body) {
    Reader r("CLOSE", body, 2, control_limits);
    Ending m;
    m.code = read_code(r);
    m.sentence = r.sentence();
    return finished(r, std::move(m));
}

Bytes encode(const Close& m) {
    if (m.sealed.empty()) return encode(m.ending);
    Writer w;
    w.array(3).u64(static_cast<std::uint64_t>(m.ending.code)).sentence(m.ending.sentence);
    w.array(m.sealed.size());
    for (const auto& [node, sealed] : m.sealed) w.array(2).u64(node.value).bin(sealed);
    return w.take();
}

Result<Close> decode_close(std::span<const std::uint8_t> body) {
    constexpr std::uint8_t array_of_two = 0x92;
    Close m;
    if (!body.empty() && body.front() == array_of_two) {
        auto ending = decode_ending(body);
        if (!ending) return tl::unexpected(ending.error());
        m.ending = std::move(*ending);
        return m;
    }
    Reader r("CLOSE", body, 3, control_limits);
    m.ending.code = read_code(r);
    m.ending.sentence = r.sentence();
    const std::size_t many = r.enter();
    for (std::size_t i = 0; i < many && r.ok(); ++i) {
        r.enter(2);
        const NodeId node{r.u64()};
        const auto sealed = r.bin(sealed_ending_bytes_max);
        if (!m.sealed.empty() && node <= m.sealed.rbegin()->first) r.fault("nodes do not rise");
        m.sealed.emplace_hint(m.sealed.end(), node, Bytes(sealed.begin(), sealed.end()));
        r.leave();
    }
    r.leave();
    if (r.ok() && m.sealed.empty()) r.fault("nothing is sealed");
    return finished(r, std::move(m));
}

Bytes encode(const PeerUp& m) {
    Writer w;
    w.array(4).str(m.name).str(m.role).i64(m.rank).u64(m.incarnation);
    return w.take();
}

Result<PeerUp> decode_peer_up(std::span<const std::uint8_t> body) {
    Reader r("PEER_UP", body, 4, control_limits);
    PeerUp m;
    m.name = read_name(r);
    m.role = r.str(16);
    m.rank = r.i64();
    m.incarnation = r.u64();
    return finished(r, std::move(m));
}

Bytes encode(const PeerSuspect& m) {
    Writer w;
    w.array(3).str(m.name).u64(static_cast<std::uint64_t>(m.code)).u64(m.silent_ms);
    return w.take();
}

Result<PeerSuspect> decode_peer_suspect(std::span<const std::uint8_t> body) {
    Reader r("PEER_SUSPECT", body, 3, control_limits);
    PeerSuspect m;
    m.name = read_name(r);
    m.code = read_code(r);
    m.silent_ms = r.u64();
    return finished(r, std::move(m));
}

Bytes encode(const PeerDown& m) {
    Writer w;
    w.array(3).str(m.name).u64(static_cast<std::uint64_t>(m.code)).u64(m.silent_ms);
    return w.take();
}

Result<PeerDown> decode_peer_down(std::span<const std::uint8_t> body) {
    Reader r("PEER_DOWN", body, 3, control_limits);
    PeerDown m;
    m.name = read_name(r);
    m.code = read_code(r);
    m.silent_ms = r.u64();
    return finished(r, std::move(m));
}

Bytes encode_sentence(std::string_view sentence) {
    Writer w;
    w.array(1).sentence(sentence);
    return w.take();
}

std::string decode_sentence(std::span<const std::uint8_t> body) {
    if (body.empty()) return {};
    Reader r("sentence", body, 1, control_limits);
    std::string sentence = r.sentence();
    return r.finish() ? sentence : std::string{};
}

}  // namespace vflbus::bus
