#pragma once
// Inputs that say what happens to a state machine, step by step.

#include <algorithm>
#include <array>
#include <string_view>

#include "bus/wire/header.hpp"
#include "targets.hpp"

namespace vflbus::fuzz {

inline constexpr std::array<std::string_view, 3> node_names{"master", "member-0", "member-1"};
/// The id of one of them: a hash, which is made once only.
inline NodeId node_of(std::size_t name) {
    static const std::array<NodeId, 3> ids{node_id_of(node_names[0]), node_id_of(node_names[1]),
                                           node_id_of(node_names[2])};
    return ids[name % ids.size()];
}

/// Takes numbers from an input; zeros behind its end.
class Script {
  public:
    explicit Script(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
    [[nodiscard]] bool over() const noexcept { return at_ >= bytes_.size(); }
    std::uint8_t byte() { return over() ? 0 : bytes_[at_++]; }
    /// One byte for what is small, or eight for any.
    std::uint64_t number() {
        const std::uint8_t first = byte();
        if (first < 0xF0) return first;
        std::uint64_t out = 0;
        for (int i = 0; i < 8; ++i) out = out << 8 | byte();
        return out;
    }
    Bytes some(std::size_t count) {
        Bytes out(std::min(count, bytes_.size() - std::min(at_, bytes_.size())));
        for (std::uint8_t& b : out) b = byte();
        return out;
    }

  private:
    std::span<const std::uint8_t> bytes_;
    std::size_t at_ = 0;
};

/// The frame of any kind that a script describes: small numbers mostly, so that runs, nodes and
/// requests are those that are there.
struct AnyFrame {
    bus::Header header;
    Bytes body;
};
inline AnyFrame any_frame(Script& script) {
    AnyFrame frame;
    bus::Header& header = frame.header;
    header.kind = static_cast<bus::Kind>(script.byte() % 24);
    header.src = node_of(script.byte());
    header.flags = script.byte();
    header.run.bytes.fill(static_cast<std::uint8_t>(1 + script.byte() % 4));
    header.term = static_cast<std::uint32_t>(script.number());
    header.dst = node_of(script.byte());
    header.request = script.number();
    header.answered_below = script.number();
    header.body_offset = script.number();
    header.type = static_cast<std::uint16_t>(script.number());
    header.aux = script.number();
    frame.body = script.some(script.byte());
    header.body_bytes = script.byte() % 2 == 0 ? frame.body.size() : script.number();
    return frame;
}

}  // namespace vflbus::fuzz
