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
//
// Packed answers: of the N coefficients of a product m features are wanted, and on a slow line the
// others are most of what travels. With S a power of two, the wanted coefficients of several
// products are moved into gaps of one of them (packing.hpp), so that an answer has up to N wanted
// coefficients. That takes time at the member, and keys of some 570 KB each, so a plan packs where
// the line is so slow that this pays.

#include <cstddef>
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
    /// Of these, so many go under one key.
    std::uint64_t products_per_key = 1;
    /// How slow the line is, as line_of() says it; 0: not known, and answers are not packed.
    std::uint32_t line = 0;
};

/// Bytes of a key for one key switch as it travels: three digits modulo four primes.
[[nodiscard]] std::size_t switch_key_bytes() noexcept;

/// The largest `line`.
inline constexpr std::uint32_t line_max = 40;
/// A byte on a line `line` takes as long as so many transforms of a polynomial modulo one prime.
/// Both parties have to make the same plan, so what the one has measured is told to the other in
/// this form.
[[nodiscard]] double transforms_of_byte(std::uint32_t line) noexcept;
/// The other way round, to the nearest `line` from 1 on.
[[nodiscard]] std::uint32_t line_of(double ms_of_byte, double ms_of_transform) noexcept;

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
    // -- packing: 2^(input_levels + tree_levels) products in an answer, at most
    bool packed = false;
    std::uint32_t input_levels = 0;
    std::uint32_t tree_levels = 0;
    std::size_t leaves_per_answer = 1;

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
    /// Sums of products of polynomials: each has the results of a group of features for a group of
    /// outputs.
    [[nodiscard]] std::size_t products() const noexcept {
        return feature_groups() * output_groups();
    }
    /// 2^input_levels products of a group of outputs are a leaf of the tree that packs them.
    [[nodiscard]] std::size_t leaf_products() const noexcept {
        return std::size_t{1} << input_levels;
    }
    [[nodiscard]] std::size_t leaves_per_output_group() const noexcept {
        return (feature_groups() + leaf_products() - 1) / leaf_products();
    }
    [[nodiscard]] std::size_t leaves() const noexcept {
        return output_groups() * leaves_per_output_group();
    }
    [[nodiscard]] std::size_t answers() const noexcept {
        return packed ? (leaves() + leaves_per_answer - 1) / leaves_per_answer : products();
    }
    [[nodiscard]] std::uint32_t levels() const noexcept { return input_levels + tree_levels; }
    /// All wanted coefficients of an answer are multiples of this.
    [[nodiscard]] std::size_t spacing() const noexcept { return block_rows >> levels(); }
    /// Key switches of the member for all answers.
    [[nodiscard]] std::size_t switches() const noexcept {
        return packed ? ciphertexts() * (leaf_products() - 1) + leaves() - answers() : 0;
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

    /// The wanted coefficients of an answer in the order in which they travel, and where each
    /// number belongs in features x outputs, column-major. Of a packed one leaf by leaf, product by
    /// product.
    struct Numbers {
        std::vector<std::size_t> powers;
        std::vector<std::size_t> results;
    };
    [[nodiscard]] Numbers numbers_of(std::size_t answer) const;
    /// The same of one leaf, as its powers are before the tree moves them.
    [[nodiscard]] Numbers numbers_of_leaf(std::size_t leaf) const;
    /// How far the tree and the input levels move the coefficients of product `index` of an answer.
    [[nodiscard]] std::size_t offset_of(std::size_t index) const noexcept;

    friend bool operator==(const Plan& a, const Plan& b) noexcept {
        return a.residual_bits == b.residual_bits && a.plain_bits == b.plain_bits &&
               a.flood_bits == b.flood_bits && a.block_rows == b.block_rows &&
               a.output_group == b.output_group && a.feature_group == b.feature_group &&
               a.packed == b.packed && a.input_levels == b.input_levels &&
               a.tree_levels == b.tree_levels && a.leaves_per_answer == b.leaves_per_answer &&
               a.shape.rows == b.shape.rows && a.shape.features == b.shape.features &&
               a.shape.outputs == b.shape.outputs && a.shape.parties == b.shape.parties;
    }
};

/// The plan with the least time (measured costs of the steps, and of bytes on the line that the
/// shape names, or on one of 1 Gbit/s). Why these parameters: N = 8192 and q of 141 bits with
/// ternary keys and errors of deviation 3.24 have 128-bit security (Homomorphic Encryption Standard
/// 2018: up to 218 bits; Bossuat et al. 2024, eprint 2024/463, table 5.2: up to 214, and 161
/// against quantum computers); t holds every sum of products exactly; what is left of q floods the
/// noise. Packed answers have 188 bits with the prime of their key switches: 128-bit security by
/// the first two tables, and less than that against quantum computers. Errors: too_large when a sum
/// could leave t, or the flood would hide less than flood_bits_min.
Result<Plan> make_plan(const Shape& shape);
/// The same layout for another number of columns: a sum of several parties' ciphertexts is
/// multiplied by the columns of each. Errors as of make_plan, for the flood.
Result<Plan> for_features(Plan plan, std::size_t features);
/// log2 of a bound on what a wanted coefficient of an answer has beside its result before the flood
/// is added, exceeded with probability 2^-64.
[[nodiscard]] double noise_bits(const Plan& plan) noexcept;
/// What a step takes on the line of the plan's shape, in milliseconds of a machine whose transform
/// takes `ms_of_transform`.
[[nodiscard]] double step_ms(const Plan& plan, double ms_of_transform) noexcept;
/// What of that is calculation, on both sides.
[[nodiscard]] double compute_ms(const Plan& plan, double ms_of_transform) noexcept;
/// In one line, for the log.
std::string describe(const Plan& plan);

}  // namespace vflbus::privacy::rlwe
