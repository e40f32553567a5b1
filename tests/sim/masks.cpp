#include "masks.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "actors/training/linear/arbitered.hpp"
#include "actors/training/linear/padded.hpp"
#include "base/rng.hpp"
#include "privacy/masks/masks.hpp"
#include "privacy/noise/discrete_gaussian.hpp"
#include "privacy/rlwe/cipher.hpp"

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

std::set<Hash128> answer_masks;
std::uint64_t opened_numbers = 0;
std::uint64_t far_numbers = 0;

void note_hidden(std::span<const std::uint8_t> sent, std::span<const std::uint8_t> bare,
                 std::span<const std::uint64_t> masks) {
    if (std::ranges::equal(sent, bare))
        mask_seen = "an encrypted answer is the master's own polynomial times columns";
    // (a member whose columns are all left out sends no answers)
    if (std::ranges::all_of(masks, [](std::uint64_t mask) { return mask == 0; }))
        mask_seen = "an encrypted answer has gradients without masks";
    const std::string_view bytes(reinterpret_cast<const char*>(masks.data()), masks.size_bytes());
    if (!answer_masks.insert(hash128(bytes)).second)
        mask_seen = "two encrypted answers have the same masks";
}

/// A flooded number is further than a quarter of the half step from a plaintext in half of the
/// cases, and never without a flood: 12 deviations of rounding are twice that.
void note_opened(std::span<const std::int64_t> errors) {
    constexpr std::int64_t far = std::int64_t{1} << (privacy::rlwe::answer_extra_bits - 3);
    for (const std::int64_t error : errors) far_numbers += std::abs(error) > far ? 1 : 0;
    opened_numbers += errors.size();
    // (fewer than one of sixteen: a probability below 2^-45)
    if (opened_numbers >= 64 && far_numbers < opened_numbers / 16)
        mask_seen = "nothing floods the noise of encrypted answers";
}

/// What an arbiter has opened of each party last.
std::map<std::size_t, std::vector<std::uint64_t>> arbiter_read;

/// Sums over a batch are below 2^50: numbers under masks, and differences of two that are under
/// different masks, are so small with a probability of 2^-13 each.
bool all_small(const std::vector<std::uint64_t>& numbers) {
    return std::ranges::all_of(numbers, [](std::uint64_t number) {
        return std::abs(static_cast<std::int64_t>(number)) <= std::int64_t{1} << 50;
    });
}

void note_opened_by_arbiter(std::size_t party, std::span<const std::uint64_t> opened) {
    if (opened.size() < 3) return;  // too few to tell
    const std::vector<std::uint64_t> numbers(opened.begin(), opened.end());
    if (all_small(numbers)) mask_seen = "the arbiter reads a gradient";
    const std::vector<std::uint64_t> last = std::exchange(arbiter_read[party], numbers);
    if (last.size() != numbers.size()) return;
    std::vector<std::uint64_t> apart(numbers);
    for (std::size_t i = 0; i < apart.size(); ++i) apart[i] -= last[i];
    if (all_small(apart)) mask_seen = "the arbiter reads how a gradient has changed";
}

/// What each member has read of a residual last.
std::map<std::size_t, std::vector<std::uint64_t>> padded_read;

/// Residuals are below 2^21: numbers under pads, and differences of two that are under different
/// pads, are so small with a probability of 2^-20 each.
bool all_residuals(const std::vector<std::uint64_t>& words, std::uint32_t bits) {
    return std::ranges::all_of(words, [bits](std::uint64_t word) {
        return std::abs(static_cast<std::int64_t>(word << (64 - bits)) >> (64 - bits)) <=
               std::int64_t{1} << 21;
    });
}

void note_padded(std::size_t rank, std::span<const std::uint64_t> sent, std::uint32_t bits) {
    if (sent.size() < 3) return;  // too few to tell
    const std::vector<std::uint64_t> words(sent.begin(), sent.end());
    if (all_residuals(words, bits)) mask_seen = "a member reads a residual";
    const std::vector<std::uint64_t> last = std::exchange(padded_read[rank], words);
    if (last.size() != words.size()) return;
    std::vector<std::uint64_t> apart(words);
    for (std::size_t i = 0; i < apart.size(); ++i) apart[i] -= last[i];
    if (all_residuals(apart, bits)) mask_seen = "a member reads how residuals differ";
}

/// What the noise of a release was added to.
std::map<std::uint64_t, std::uint64_t> noise_uses;

void note_noise(std::uint64_t stream, std::uint64_t numbers, bool noised) {
    if (!noised) mask_seen = "a release of numbers went without noise";
    const auto [at, fresh] = noise_uses.try_emplace(stream, numbers);
    if (!fresh && at->second != numbers)
        mask_seen = "a party has used the same noise for two releases";
}

constexpr privacy::rlwe::Watch answer_watch{note_hidden, note_opened};

}  // namespace

MaskWatch::MaskWatch(std::uint64_t seed) {
    mask_uses.clear();
    mask_seen.clear();
    answer_masks.clear();
    noise_uses.clear();
    opened_numbers = far_numbers = 0;
    arbiter_read.clear();
    padded_read.clear();
    actors::linear::watch_padded(note_padded);
    actors::linear::watch_opened(note_opened_by_arbiter);
    mask_bytes = Rng(mix_seed(seed, 0x6d61736b));
    privacy::use_random_source(draw_bytes);
    privacy::watch_streams(note_use);
    privacy::rlwe::watch_answers(&answer_watch);
    privacy::watch_noise(note_noise);
}
MaskWatch::~MaskWatch() {
    privacy::use_random_source(nullptr);
    privacy::watch_streams(nullptr);
    privacy::rlwe::watch_answers(nullptr);
    actors::linear::watch_opened(nullptr);
    actors::linear::watch_padded(nullptr);
    privacy::watch_noise(nullptr);
}
std::string MaskWatch::violation() const {
    return mask_seen;
}
std::uint64_t MaskWatch::streams() const {
    return mask_uses.size();
}

}  // namespace vflbus::sim
