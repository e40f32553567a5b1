#pragma once
// Sealing of bodies from party to party: docs/protocol.md, section 14.
//
// A broker relays what parties say to each other, and its owner must not be able to read or change
// it. So two processes agree on keys that the broker cannot know, from their static keys (those of
// CURVE, which say who they are) and from session keys (made by each process for itself, so that a
// static key that is stolen later opens nothing that was sent before). What is sealed with such a
// key can be opened by the other process only, and only in its place: everything that its receiver
// goes by besides the bytes is associated data.
//
//     agree        root of what two processes share: four agreements of X25519, HKDF
//     derive_key   the key of one direction of one use of it: a run in a term, questions
//     SealStream   one body in place, part after part as it leaves or arrives, and its tag
//
// This knows neither the bus nor files. Who has which key, and which nonce comes next, is the
// matter of src/bus/core/link_seal.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/ids.hpp"

namespace vflbus::privacy {

inline constexpr std::size_t seal_tag_bytes = 16;

using SealTag = std::array<std::uint8_t, seal_tag_bytes>;
/// XChaCha20 takes all of it, AES-GCM the last 12 bytes.
using SealNonce = std::array<std::uint8_t, 24>;
using PublicBytes = std::array<std::uint8_t, 32>;

/// 32 secret bytes, overwritten when they go.
class SealKey {
  public:
    SealKey() = default;
    explicit SealKey(const std::array<std::uint8_t, 32>& from) : bytes(from) {}
    SealKey(const SealKey&) = default;
    SealKey& operator=(const SealKey&) = default;
    ~SealKey();

    std::array<std::uint8_t, 32> bytes{};
};

enum class Cipher : std::uint8_t { aes_256_gcm = 1, xchacha20_poly1305 = 2 };

/// Whether this processor has instructions for AES and for carry-less products: without them
/// AES-GCM is slow, and its time tells of the key.
bool has_aes_unit() noexcept;

// -- agreeing ----------------------------------------------------------------------

/// X25519, or what stands in for it in the simulation, where many processes come and go.
struct KeyAgreement {
    PublicBytes (*public_of)(const SealKey& secret);
    /// Nothing for a public key that leads to the same secret with everybody.
    std::optional<SealKey> (*shared)(const SealKey& secret, const PublicBytes& theirs);
};
const KeyAgreement& x25519() noexcept;

/// What everybody may know of a process: its name, that of its key, the key and its session key.
struct SealIdentity {
    std::string name;
    std::string key_name;
    PublicBytes key{};
    PublicBytes session{};
    friend bool operator==(const SealIdentity&, const SealIdentity&) = default;
};
struct SealSecrets {
    SealKey key;
    SealKey session;
};

/// The root of what two processes share. `first`: this one is the owner of the run, or the one who
/// asks; the other one says false. Nothing for public keys that are none.
std::optional<SealKey> agree(const KeyAgreement& agreement, const SealSecrets& mine,
                             const PublicBytes& their_key, const PublicBytes& their_session,
                             bool first);

/// What a key is for. Two uses that differ in anything have keys that say nothing of each other.
struct SealUse {
    enum class Purpose : std::uint8_t { terms = 1, run = 2, questions = 3 };
    Purpose purpose = Purpose::run;
    Cipher cipher = Cipher::aes_256_gcm;
    RunId run{};
    std::uint32_t term = 0;
    std::uint64_t opening = 0;  ///< which OPEN of the owner's process
    std::uint64_t joining = 0;  ///< which JOIN of the participant's process
    SealIdentity first{};
    SealIdentity second{};
};

/// The key for what the first says to the second (`to_second`), or the other way round.
SealKey derive_key(const SealKey& root, const SealUse& use, bool to_second);

/// HKDF with SHA-256 (RFC 5869).
SealKey hkdf_extract(std::span<const std::uint8_t> salt, std::span<const std::uint8_t> secret);
SealKey hkdf_expand(const SealKey& root, std::span<const std::uint8_t> info);

// -- sealing -------------------------------------------------------------------------

/// Of a number that is used once with a key. `kind`: of what is sealed, as numbers of different
/// kinds are counted apart.
SealNonce nonce_of(std::uint8_t kind, std::uint64_t number) noexcept;

/// One body. Its bytes are changed in place, in order, in parts of any size. What was opened is not
/// to be looked at before `good` has said so.
class SealStream {
  public:
    enum class Way : std::uint8_t { seal, open };
    SealStream(Way way, Cipher cipher, const SealKey& key, const SealNonce& nonce,
               std::span<const std::uint8_t> associated);
    ~SealStream();
    SealStream(SealStream&&) noexcept;
    SealStream& operator=(SealStream&&) noexcept;

    void next(std::span<std::uint8_t> part);
    /// After the last part, once.
    [[nodiscard]] SealTag tag();
    [[nodiscard]] bool good(std::span<const std::uint8_t, seal_tag_bytes> tag);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// For the simulation and for tests: is told of each key and nonce with which something is sealed.
/// Null: nobody is. Never called by the product.
using NonceWatch = void (*)(Cipher cipher, const SealKey& key, const SealNonce& nonce,
                            std::span<const std::uint8_t> associated);
void watch_nonces(NonceWatch watch) noexcept;

}  // namespace vflbus::privacy
