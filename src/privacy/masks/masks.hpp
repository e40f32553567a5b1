#pragma once
// Masks between the members of a run, which cancel in the sum over all of them.
//
// The problem: the master needs the sum of the members' numbers and should not see any member's
// own. Every two members share a key that nobody else knows; for a tensor, one of them adds a
// stream made of it and the other one subtracts the same stream. What a single member sends is
// then uniformly random to the master, and the sum over all members is exact.
//
// A stream is never used for two different tensors: its key is derived from the label of the tensor
// (its stamp), and a member remembers the labels that it has used. A label that comes again is only
// answered when the numbers are the same, since then the message is the same too. After a new
// agreement all keys are new, so labels of an earlier one say nothing.

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "base/hash.hpp"
#include "privacy/masks/fixed_point.hpp"
#include "privacy/masks/secret.hpp"

namespace vflbus::privacy {

using PublicKey = std::array<std::uint8_t, 32>;  ///< of X25519
using Nonce = std::array<std::uint8_t, 32>;

/// One member's keys for one agreement.
class MaskKeys {
  public:
    /// A new key pair, made of random bytes; the pairs are made by `agree`.
    MaskKeys();

    [[nodiscard]] const PublicKey& public_key() const noexcept { return public_; }
    /// `keys`: those of all members by rank, this one's among them. `context`: bound into every
    /// key, and the same at all members (the run's nonce, the term). malformed_message when a key
    /// comes twice, is no point that makes a secret, or this member's own is missing.
    Result<> agree(std::span<const PublicKey> keys, std::span<const std::uint8_t> context);
    [[nodiscard]] bool agreed() const noexcept { return members_ != 0; }
    [[nodiscard]] std::size_t members() const noexcept { return members_; }

    /// Adds this member's masks for the tensor that `label` names to its words. With one member
    /// there is nobody to share a mask with, and the numbers stay as they are. Errors:
    /// handler_failed before agree(), and for a label that was used for other numbers.
    Result<> mask(std::uint64_t step, std::span<const std::uint8_t> label, FixedPoint format,
                  std::span<std::uint64_t> words);

  private:
    struct Pair {
        Key key;
        bool adds = false;  ///< this member adds the stream; the other one subtracts it
    };
    Result<> note(std::uint64_t step, std::span<const std::uint8_t> label,
                  std::span<const std::uint64_t> words);

    Key secret_;
    PublicKey public_{};
    std::size_t members_ = 0;
    std::vector<Pair> pairs_;
    Key digest_key_;
    /// Labels of the last steps and digests of the numbers that went under them.
    std::map<std::vector<std::uint8_t>, std::pair<std::uint64_t, Hash128>> used_;
    std::uint64_t forgotten_ = 0;  ///< labels of steps below are refused
};

/// Told of every use of a stream: a digest of its key, whether it was added, and a digest of the
/// numbers that it hides. For the simulation, which keeps all of them; null in the product.
using StreamWatch = void (*)(const Hash128& stream, bool adds, const Hash128& numbers);
void watch_streams(StreamWatch watch) noexcept;

}  // namespace vflbus::privacy
