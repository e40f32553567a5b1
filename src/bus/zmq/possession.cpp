#include "bus/zmq/possession.hpp"

#include "base/hash.hpp"
#include "privacy/seal/seal.hpp"

namespace vflbus::bus {

std::optional<Bytes> proof_of(const Possession& what, const SecretKey& mine,
                              const PublicKey& theirs) {
    privacy::SealKey secret;
    secret.bytes = mine.bytes;
    const auto agreed = privacy::x25519().shared(secret, theirs.bytes);
    if (!agreed) return {};
    constexpr std::string_view begin = "vflbus-possession:";
    Bytes text(begin.begin(), begin.end());
    const auto add = [&](const auto& bytes) {
        text.insert(text.end(), bytes.begin(), bytes.end());
    };
    add(agreed->bytes);
    add(what.fresh.bytes);
    add(what.broker.bytes);
    add(what.shown);
    text.push_back(',');
    add(what.name);
    const Hash256 proof = hash256(std::span<const std::uint8_t>(text));
    return Bytes(proof.begin(), proof.end());
}

}  // namespace vflbus::bus
