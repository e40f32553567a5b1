#pragma once
// How many positive rows each bin of a member's columns has, where the protocol hides the labels.
//
// The problem: weight of evidence needs the labels of the master beside the bins of a member, and
// neither may see the other's. The master encrypts the labels under a lattice key of its own
// (privacy/rlwe/cipher.hpp), one bit for each row; the member multiplies the ciphertexts by the
// marks of its bins, floods what its marks would leave in the noise, and sends back encrypted sums
// with the masks that they are under. So the member sees ciphertexts alone, and the master the
// number of positive rows in bins that have no names.
//
// Both parties make the plan out of what they know: rows, and bins in all.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "data/features.hpp"

namespace vflbus::actors {

/// What the public part of the key is expanded from: nonces of both, so that neither chooses it.
Hash256 counts_seed(Body nonce_of_master, Body nonce_of_member);

/// `count`: labels for a member.
struct CountRequest {
    Body zero;         ///< an encryption of zero: the public part of the key
    Body ciphertexts;  ///< of the labels
};
Bytes encode(const CountRequest& m);
Result<CountRequest> decode_count_request(Body body);

/// How the sums are cut into products, and which sizes their messages have.
class CountPlan;
/// Errors: too_large for more rows than sums have room for, or messages longer than
/// `message_bytes_max`.
Result<std::shared_ptr<const CountPlan>> plan_counts(std::size_t rows, std::size_t bins,
                                                     std::uint64_t message_bytes_max);

/// The master's side of one member. A key is for one request and its answer.
class LabelCounts {
  public:
    LabelCounts(std::shared_ptr<const CountPlan> plan, const Hash256& seed);
    ~LabelCounts();
    LabelCounts(LabelCounts&&) noexcept;
    LabelCounts& operator=(LabelCounts&&) noexcept;

    /// The body of `count`. `positive`: of each row 1 or 0.
    Bytes request(std::span<const std::uint8_t> positive);
    /// Positive rows of each bin. malformed_message when the reply has other sizes.
    Result<std::vector<std::int64_t>> open(Body reply);

  private:
    struct Hidden;
    std::unique_ptr<Hidden> hidden_;
};

/// The member's side: the reply to `count`. `bins`: as data::BinnedTable. malformed_message when
/// the request does not fit the plan.
Result<Bytes> count_positives(const CountPlan& plan, const Hash256& seed,
                              const CountRequest& request, const data::BinnedTable& table);

}  // namespace vflbus::actors
