#pragma once
// Inputs of targets that read several kinds: the first byte says which.

#include <algorithm>
#include <string_view>

#include "targets.hpp"

namespace vflbus::fuzz {

/// The kind of an input, and its rest. Kinds beyond the last begin again.
struct Chosen {
    std::size_t kind = 0;
    std::span<const std::uint8_t> body;
};
inline Chosen choose(std::span<const std::uint8_t> input, std::size_t kinds) {
    if (input.empty()) return {};
    return {input[0] % kinds, input.subspan(1)};
}

inline Bytes seed(std::size_t kind, std::span<const std::uint8_t> body) {
    Bytes out(1 + body.size(), static_cast<std::uint8_t>(kind));
    std::ranges::copy(body, out.begin() + 1);
    return out;
}
inline Bytes seed(std::size_t kind, std::string_view body) {
    return seed(kind,
                std::span(static_cast<const std::uint8_t*>(static_cast<const void*>(body.data())),
                          body.size()));
}

inline std::string_view text_of(std::span<const std::uint8_t> bytes) {
    return {static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size()};
}

/// What was decoded can be encoded, and the bytes of that mean the same.
template <class Decode, class Encode>
bool round_trip(std::span<const std::uint8_t> body, Decode&& decode, Encode&& encode) {
    const auto first = decode(body);
    if (!first) return false;
    const auto bytes = encode(*first);
    const auto again = decode(bytes);
    require(again.has_value(), "what was decoded and encoded again cannot be decoded");
    require(encode(*again) == bytes, "what was decoded and encoded again means something else");
    return true;
}

inline const auto encoded_again = [](const auto& message) { return encode(message); };

// The targets of targets_wire.cpp, targets_broker.cpp, targets_link.cpp, targets_training.cpp,
// targets_apps.cpp, targets_files.cpp and targets_keys.cpp. A program may be linked with some of
// these files alone: the targets of the others have no address then.
#define VFLBUS_TARGET extern const Target __attribute__((weak))
VFLBUS_TARGET header_target, control_target, questions_target, sealed_target;
VFLBUS_TARGET broker_target, broker_keys_target, link_target;
VFLBUS_TARGET training_target, psi_target, commit_target, model_target, report_target;
VFLBUS_TARGET apps_target;
VFLBUS_TARGET tables_target, pictures_target, config_target, audit_target, policy_target;
VFLBUS_TARGET allow_list_target, invitation_target;
#undef VFLBUS_TARGET

}  // namespace vflbus::fuzz
