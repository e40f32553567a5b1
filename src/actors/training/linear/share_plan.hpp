#pragma once
// The plan of a training under protocol `arbitered` (arbitered.hpp): how wide shares and their sums
// are, how they are packed into ciphertexts, and what does not fit.
//
// The problem: all parties and the arbiter need the same layout, and nobody may choose it for
// others. So each computes it by itself from the agreed configuration and public counts.

#include <cstdint>

#include "base/errc.hpp"
#include "config/config.hpp"
#include "privacy/rlwe/plan.hpp"

namespace vflbus::actors::linear {

/// A sum over the rows of columns times residuals stays below 2^49 in magnitude.
inline constexpr std::uint32_t product_bits = 49;

/// Weights of rows have so many bits where there are any: 2^weight_bits for the largest.
inline constexpr std::uint32_t weight_bits_max = 10;

/// What all parties know of the numbers of a training, each by itself.
struct SharePlan {
    config::Encryption encryption = config::Encryption::paillier;
    std::uint32_t key_bits = 0;
    std::size_t rows = 0;  ///< of a batch, at most
    std::size_t outputs = 0;
    std::size_t parties = 0;          ///< that have shares: the master and the members
    std::uint32_t residual_bits = 0;  ///< of a sum of shares, beside its sign
    std::uint32_t slot_bits = 0;      ///< of a result in a plaintext of Paillier's
    double share_most = 0;            ///< no integer of a share is larger
    privacy::rlwe::Plan lattice;      ///< the layout for all parties, whatever their columns

    /// Paillier: outputs in one ciphertext of a row, and how many such ciphertexts a row has.
    [[nodiscard]] std::size_t output_group() const;
    [[nodiscard]] std::size_t output_groups() const;
    /// Outputs of group `group`.
    [[nodiscard]] std::size_t outputs_in(std::size_t group) const;
    /// Features whose results share one ciphertext of an answer.
    [[nodiscard]] std::size_t features_together(std::size_t group) const;
    /// Ciphertexts of an answer for so many features.
    [[nodiscard]] std::size_t answer_ciphertexts(std::size_t features) const;
    /// Words of the ciphertexts of so many rows.
    [[nodiscard]] std::size_t words(std::size_t batch_rows) const;
    /// Bytes of an answer; 0 where so many columns are too many.
    [[nodiscard]] std::size_t answer_bytes(std::size_t features) const;
};

/// What a plan is made for.
struct ShareShape {
    std::size_t rows = 0;  ///< of a batch, at most
    std::size_t outputs = 0;
    std::uint64_t steps = 0;  ///< of one training of the run
    bool weighted = false;    ///< the master weights rows, whose weights nobody else knows
};

/// Errors: too_large when sums over the rows do not fit, or a message of `message_bytes_max` does
/// not hold the shares of a batch; bad_config for weights with lattices.
Result<SharePlan> plan_shares(const config::AgreedHalf& agreed, const ShareShape& shape,
                              std::uint64_t message_bytes_max);

/// Columns of one party, at most: an answer for more does not fit into a message.
inline constexpr std::size_t share_columns_max = std::size_t{1} << 20;
/// That a party may have so many columns. Errors: too_large.
Result<> check_columns(const SharePlan& plan, std::size_t features);

}  // namespace vflbus::actors::linear
