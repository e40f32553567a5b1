#pragma once
// BLAKE2b and SHA-256 (libsodium), and random bytes from the operating system.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.hpp"

namespace vflbus {

using Hash128 = std::array<std::uint8_t, 16>;
using Hash256 = std::array<std::uint8_t, 32>;

/// BLAKE2b-128 of `bytes` under `key` (0 to 64 bytes; longer keys are hashed first).
Hash128 hash128(std::string_view bytes, std::string_view key = {});
/// BLAKE2b-256, for digests of configurations, models and files.
Hash256 hash256(std::span<const std::uint8_t> bytes);
Hash256 hash256(std::string_view bytes);

/// SHA-256, where others are to check a digest with the tools that every system has.
Hash256 sha256(std::string_view bytes);

std::string to_hex(std::span<const std::uint8_t> bytes);

/// From the operating system; for run ids and instances, never inside a core.
void random_bytes(std::span<std::uint8_t> out);
RunId random_run_id();
std::uint64_t random_u64();

/// Before anything else of libsodium. Throws when it cannot be initialised.
void ensure_sodium();
/// Of the library that is linked, e.g. "1.0.18".
std::string sodium_version();

}  // namespace vflbus
