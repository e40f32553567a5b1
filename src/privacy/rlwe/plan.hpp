#pragma once
// What a training needs of the lattice encryption, and how its numbers lie in polynomials. Both
// parties make the same Plan out of what they know themselves, so no size, count or place is ever
// taken from a message.
//
// The problem: G = X' D, with rows x features integers X at the member and rows x outputs integers
// D that are encrypted. One product of polynomials makes N sums of N products, and only those are
// wanted that are inner products of a column of X with a column of D.
//
// The layout: the rows are cut into blocks of S. Of a block, output k of m lies in the ciphertext
// at the powers k S + i (row i), and feature j in the member's polynomial at j m S - i. Then the
// coefficient of (j m + k) S of their product is the inner product, for N / (m S) features at once;
// modulo X^N + 1 a negative power -i is -X^(N - i). Products of all blocks are added up before they
// are sent back.

#include <cstdint>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe {

/// Bits that an answer has below a step of the plaintext: of the 2^10 steps a quarter on each side
/// is the flood's and a quarter that of rounding (12 deviations).
inline constexpr std::uint32_t answer_extra_bits = 10;
/// So wide is the flood at least beside everything that it hides, over all numbers of a training.
inline constexpr double flood_bits_min = 40;
/// Numbers of columns of X have so many bits beside their sign.
inline constexpr std::uint32_t column_bits = 15;
/// Those of D have as many as fit, and between these.
inline constexpr std::uint32_t residual_bits_max = 20;
inline constexpr std::uint32_t residual_bits_min = 12;

struct Shape {
    std::size_t rows = 0;  ///< of one product, at most
    std::size_t features = 0;
    std::size_t outputs = 0;
    std::uint64_t products = 1;  ///< in the whole training
    /// Ciphertexts are sums of so many, each made with the public key; 0: by the key's owner.
    std::size_t parties = 0;
    /// D has no more bits than these, which leaves more for the flood.
    std::uint32_t residual_most = residual_bits_max;
    /// What the master adds to opened numbers takes as much room as the sums over so many rows
    /// more.
    std::size_t noise_rows = 0;
};

struct Plan {
    Shape shape;
    std::uint32_t residual_bits = 0;  ///< of D, beside their sign
    std::uint32_t plain_bits = 0;     ///< t = 2^plain_bits
    std::uint32_t flood_bits = 0;     ///< w: the flood is uniform in [-2^w, 2^w)
    double hiding_bits = 0;           ///< what the flood hides over the whole training
    // -- layout
    std::size_t block_rows = 1;     ///< S
    std::size_t output_group = 1;   ///< m: outputs in one ciphertext
    std::size_t feature_group = 1;  ///< features in one product

    [[nodiscard]] std::size_t blocks() const noexcept {
        return (shape.rows + block_rows - 1) / block_rows;
    }
    [[nodiscard]] std::size_t output_groups() const noexcept {
        return (shape.outputs + output_group - 1) / output_group;
    }
    [[nodiscard]] std::size_t feature_groups() const noexcept {
        return (shape.features + feature_group - 1) / feature_group;
    }
    [[nodiscard]] std::size_t ciphertexts() const noexcept { return blocks() * output_groups(); }
    [[nodiscard]] std::size_t answers() const noexcept {
        return feature_groups() * output_groups();
    }
    [[nodiscard]] std::uint32_t answer_bits() const noexcept {
        return plain_bits + answer_extra_bits;
    }
    /// Where output `output` of row `row` lies: its ciphertext, and the power in it.
    struct Place {
        std::size_t polynomial = 0;
        std::size_t power = 0;
    };
    [[nodiscard]] Place place_of(std::size_t row, std::size_t output) const noexcept;
    /// The wanted coefficients of answer `feature group, output group`, features first.
    [[nodiscard]] std::vector<std::size_t> wanted(std::size_t feature_group_index,
                                                  std::size_t output_group_index) const;
    /// Where number `at` of these belongs in features x outputs, column-major.
    [[nodiscard]] std::size_t result_of(std::size_t feature_group_index,
                                        std::size_t output_group_index,
                                        std::size_t at) const noexcept;

    friend bool operator==(const Plan& a, const Plan& b) noexcept {
        return a.residual_bits == b.residual_bits && a.plain_bits == b.plain_bits &&
               a.flood_bits == b.flood_bits && a.block_rows == b.block_rows &&
               a.output_group == b.output_group && a.feature_group == b.feature_group &&
               a.shape.rows == b.shape.rows && a.shape.features == b.shape.features &&
               a.shape.outputs == b.shape.outputs && a.shape.parties == b.shape.parties;
    }
};

/// The plan with the least time (measured costs of the steps, and of bytes on a line of 1 Gbit/s).
/// Why these parameters: N = 8192 and q of 141 bits with ternary keys and errors of deviation 3.24
/// have 128-bit security (Homomorphic Encryption Standard 2018: up to 218 bits; Bossuat et al.
/// 2024, eprint 2024/463, table 5.2: up to 214, and 161 against quantum computers); t holds every
/// sum of products exactly; what is left of q floods the noise. Errors: too_large when a sum could
/// leave t, or the flood would hide less than flood_bits_min.
Result<Plan> make_plan(const Shape& shape);
/// The same layout for another number of columns: a sum of several parties' ciphertexts is
/// multiplied by the columns of each. Errors as of make_plan, for the flood.
Result<Plan> for_features(Plan plan, std::size_t features);
/// In one line, for the log.
std::string describe(const Plan& plan);

}  // namespace vflbus::privacy::rlwe
