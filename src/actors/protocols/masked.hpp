#pragma once
// Scores under masks that cancel in the sum: the master learns the sum over all members and no
// member's own numbers; residuals travel in the clear.
//
// Before a training, each fold of one and a prediction the members agree on keys with two rounds of
// moment `setup`, which the master passes on (docs/privacy.md says what that is worth against a
// dishonest one):
//   round 0   nonce of the master (32 bytes)           -> the member's new public key (32 bytes)
//   round 1   the public keys of all members, by rank  -> nothing
// Then every tensor of scores is made of integers (privacy/masks/fixed_point.hpp) plus streams that
// two members share (privacy/masks/masks.hpp). The master adds its own scores, as integers as well.

#include <cstdint>
#include <memory>

#include "actors/protocols/protocol.hpp"
#include "privacy/masks/fixed_point.hpp"

namespace vflbus::actors {

std::unique_ptr<MasterProtocol> make_masked_master();
/// The same for scores under `encrypted`, whose residuals do not travel in the clear: the gradients
/// are another matter (training/linear/encrypted.hpp).
std::unique_ptr<MasterProtocol> make_encrypted_master();
/// Likewise, for the scores of evaluations under `arbitered` (training/linear/arbitered.hpp).
std::unique_ptr<MasterProtocol> make_arbitered_master();
/// `members`: how many the run has, by the agreed configuration.
std::unique_ptr<MemberProtocol> make_masked_member(std::uint64_t members);

/// How numbers of a tensor become integers.
privacy::FixedPoint format_of(const Stamp& stamp) noexcept;

}  // namespace vflbus::actors
