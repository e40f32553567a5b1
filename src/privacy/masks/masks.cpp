#include "privacy/masks/masks.hpp"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/planted.hpp"
#include "privacy/masks/stream.hpp"

namespace vflbus::privacy {
namespace {

/// Steps whose labels are remembered, behind the newest one. A master asks for the scores of a
/// step's rows before and after it, and for nothing older.
constexpr std::uint64_t steps_remembered = 2;

/// Words that are masked at a time: an even number, as a number has up to two.
constexpr std::size_t words_at_a_time = 512;

constexpr std::string_view pair_label = "vflbus masked sums, pair, 1";

std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::string_view text_of(const Key& key) {
    return {reinterpret_cast<const char*>(key.bytes().data()), Key::size};
}
std::string_view text_of(std::span<const std::uint64_t> words) {
    return {reinterpret_cast<const char*>(words.data()), words.size_bytes()};
}

StreamWatch stream_watch = nullptr;

}  // namespace

MaskKeys::MaskKeys() : secret_(random_key()), digest_key_(random_key()) {
    ensure_sodium();
    crypto_scalarmult_base(public_.data(), secret_.bytes().data());
}

Result<> MaskKeys::agree(std::span<const PublicKey> keys, std::span<const std::uint8_t> context) {
    const auto mine = std::ranges::find(keys, public_);
    if (mine == keys.end())
        return fail(Errc::malformed_message, "the keys of all members lack this member's own");
    for (auto at = keys.begin(); at != keys.end(); ++at)
        if (std::find(std::next(at), keys.end(), *at) != keys.end())
            return fail(Errc::malformed_message, "two members have the same key");
    // who takes part is bound into every key: sums over two sets of members share no mask
    std::vector<std::uint8_t> everything(context.begin(), context.end());
    for (const PublicKey& key : keys) everything.insert(everything.end(), key.begin(), key.end());
    const Hash256 salt = hash256(everything);
    std::vector<Pair> pairs;
    for (auto at = keys.begin(); at != keys.end(); ++at) {
        if (at == mine) continue;
        Key shared;
        if (crypto_scalarmult(shared.bytes().data(), secret_.bytes().data(), at->data()) != 0)
            return fail(Errc::malformed_message, "the key of a member is no point of the curve");
        pairs.push_back({derive_key(shared.bytes(), salt, bytes_of(pair_label)), at > mine});
    }
    pairs_ = std::move(pairs);
    members_ = keys.size();
    used_.clear();
    forgotten_ = 0;
    return {};
}

Result<> MaskKeys::note(std::uint64_t step, std::span<const std::uint8_t> label,
                        std::span<const std::uint64_t> words) {
    const Hash128 digest = hash128(text_of(words), text_of(digest_key_));
    if (step < forgotten_)
        return fail(Errc::handler_failed,
                    "a mask of step " + std::to_string(step) + " is asked for after step " +
                        std::to_string(forgotten_ + steps_remembered) + " has begun");
    const auto [at, fresh] = used_.try_emplace({label.begin(), label.end()}, step, digest);
    if (!fresh && at->second.second != digest)
        return fail(Errc::handler_failed,
                    "a mask that was used in step " + std::to_string(step) +
                        " is asked for again, for other numbers: their difference would be in the "
                        "clear");
    if (fresh && step > forgotten_ + steps_remembered) {
        forgotten_ = step - steps_remembered;
        std::erase_if(used_, [&](const auto& use) { return use.second.first < forgotten_; });
    }
    return {};
}

Result<> MaskKeys::mask(std::uint64_t step, std::span<const std::uint8_t> label, FixedPoint format,
                        std::span<std::uint64_t> words) {
    if (!agreed())
        return fail(Errc::handler_failed, "the members have not agreed on keys for their masks");
    if (pairs_.empty()) return {};
    if (auto good = note(step, label, words); !good) return good;
    std::array<std::uint64_t, words_at_a_time> stream;
    const Hash128 numbers = stream_watch == nullptr ? Hash128{} : hash128(text_of(words));
    for (const Pair& pair : pairs_) {
        const Key key = expand_key(pair.key, label);
        if (stream_watch != nullptr) stream_watch(hash128(text_of(key)), pair.adds, numbers);
        AesStream cipher(key);
        for (std::size_t first = 0; first < words.size(); first += stream.size()) {
            const auto part = words.subspan(first, std::min(stream.size(), words.size() - first));
            const std::span mask(stream.data(), part.size());
            cipher.fill(mask);
            if (pair.adds)
                add_fixed(part, mask, format);
            else
                subtract_fixed(part, mask, format);
        }
    }
    wipe(stream.data(), sizeof stream);
    return {};
}

void watch_streams(StreamWatch watch) noexcept {
    stream_watch = watch;
}

}  // namespace vflbus::privacy
