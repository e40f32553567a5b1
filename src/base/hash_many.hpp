#pragma once
// hash128 of many short texts at once.
//
// The problem: a table of a million ids is hashed before anything else can be done with it, and one
// BLAKE2b after another keeps most of a processor's width idle. Here eight texts are hashed side by
// side, a lane each; the hashes are those of hash128.

#include <span>
#include <string_view>

#include "base/hash.hpp"

namespace vflbus {

/// out[i] = hash128(texts[i], key). `out` is as long as `texts`.
void hash128_each(std::span<const std::string_view> texts, std::string_view key,
                  std::span<Hash128> out);

}  // namespace vflbus
