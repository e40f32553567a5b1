#pragma once
// Types for what must not be swapped: runs, nodes, terms, request numbers.

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus {

/// Monotonic time. The cores take it as an argument; only the loops read a clock.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
using Duration = std::chrono::nanoseconds;

/// 64 bits derived from a node's name; 0 is the broker itself.
struct NodeId {
    std::uint64_t value = 0;
    friend constexpr auto operator<=>(NodeId, NodeId) = default;
};
inline constexpr NodeId broker_node{0};

/// BLAKE2b-64 of "vflbus-node:" followed by the name, little-endian; never 0.
NodeId node_id_of(std::string_view name);

/// 128 random bits chosen by the owner of a run; all zero means "no run".
struct RunId {
    std::array<std::uint8_t, 16> bytes{};
    friend constexpr auto operator<=>(const RunId&, const RunId&) = default;
    [[nodiscard]] constexpr bool none() const noexcept { return *this == RunId{}; }
    [[nodiscard]] std::string hex() const;        ///< 32 hexadecimal digits
    [[nodiscard]] std::string short_hex() const;  ///< the first 8, as shown to people
};

Result<RunId> parse_run_id(std::string_view hex);

/// A node name: 1 to 64 of [A-Za-z0-9._-], not starting with a dot or a dash.
bool is_valid_node_name(std::string_view name) noexcept;

}  // namespace vflbus

template <>
struct std::hash<vflbus::NodeId> {
    std::size_t operator()(vflbus::NodeId id) const noexcept { return id.value; }
};
template <>
struct std::hash<vflbus::RunId> {
    std::size_t operator()(const vflbus::RunId& id) const noexcept {
        std::uint64_t word;
        std::memcpy(&word, id.bytes.data(), sizeof word);
        return word;
    }
};
