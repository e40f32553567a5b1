#include "masks.hpp"

#include <map>
#include <utility>

#include "base/rng.hpp"
#include "privacy/masks/masks.hpp"

namespace vflbus::sim {
namespace {

/// What a stream was used for: by the member that adds it and by the one that subtracts it.
std::map<std::pair<Hash128, bool>, Hash128> mask_uses;
std::string mask_seen;
Rng mask_bytes(1);

void draw_bytes(std::span<std::uint8_t> out) {
    for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(mask_bytes.below(256));
}

void note_use(const Hash128& stream, bool adds, const Hash128& numbers) {
    const auto [at, fresh] = mask_uses.try_emplace({stream, adds}, numbers);
    if (!fresh && at->second != numbers)
        mask_seen = "a member has used the same mask for two tensors";
}

}  // namespace

MaskWatch::MaskWatch(std::uint64_t seed) {
    mask_uses.clear();
    mask_seen.clear();
    mask_bytes = Rng(mix_seed(seed, 0x6d61736b));
    privacy::use_random_source(draw_bytes);
    privacy::watch_streams(note_use);
}
MaskWatch::~MaskWatch() {
    privacy::use_random_source(nullptr);
    privacy::watch_streams(nullptr);
}
std::string MaskWatch::violation() const {
    return mask_seen;
}
std::uint64_t MaskWatch::streams() const {
    return mask_uses.size();
}

}  // namespace vflbus::sim
