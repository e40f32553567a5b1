#include "privacy/rlwe/plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/sampling.hpp"

namespace vflbus::privacy::rlwe {
namespace {

constexpr std::uint32_t modulus_bits = prime_count * prime_bits;
/// For N = 8192 and 128 bits: eprint 2024/463, table 5.2.
constexpr std::uint32_t modulus_bits_max = 214;
static_assert(modulus_bits <= modulus_bits_max, "the modulus is too large for 128-bit security");

/// An answer travels in words of 64 bits, and its rounding keeps 4 bits below them.
constexpr std::uint32_t plain_bits_max = 50;

// Milliseconds on one core, measured (bench/privacy.cpp).
constexpr double encrypt_ms = 0.18;  ///< of a ciphertext, with parsing it
constexpr double column_ms = 0.03;   ///< of one transform of columns, and its products
constexpr double answer_ms = 0.16;   ///< of one answer, with decrypting it
constexpr double byte_ms = 8e-6;     ///< 1 Gbit/s

double cost_of(const Plan& plan) {
    const auto ciphertexts = static_cast<double>(plan.ciphertexts());
    const auto answers = static_cast<double>(plan.answers());
    const double down = static_cast<double>(packed_bytes(ring_size * prime_count, prime_bits));
    const double up = static_cast<double>(packed_bytes(ring_size, plan.answer_bits()));
    return ciphertexts * (encrypt_ms + down * byte_ms) + answers * (answer_ms + up * byte_ms) +
           static_cast<double>(plan.feature_groups() * plan.blocks()) * column_ms *
               (1 + .3 * static_cast<double>(plan.output_groups()));
}

/// log2 of a bound on what a coefficient of an answer has beside the result before it is flooded.
/// It is a sum of independent numbers, each of mean 0 and subgaussian with the variance of an error
/// (10.5, and 1/4 of rounding the message), times columns of at most 2^15 or the ternary numbers of
/// the fresh encryption of zero: at most 9.5 deviations but with probability 2^-64.
double error_bits(const Plan& plan) {
    const double entries = static_cast<double>(plan.blocks() * plan.block_rows *
                                               std::min(plan.feature_group, plan.shape.features));
    const double of_zero = 2 * 10.5 * static_cast<double>(ring_size);
    // what the public key adds is no sum of independent numbers any more: one bit for that
    const double of_sum = plan.shape.parties == 0
                              ? 10.75
                              : 4 * static_cast<double>(plan.shape.parties) * (of_zero + 10.75);
    const double of_products = of_sum * std::ldexp(entries, 2 * column_bits);
    return std::log2(9.5 * std::sqrt(of_products + of_zero));
}

}  // namespace

Plan::Place Plan::place_of(std::size_t row, std::size_t output) const noexcept {
    const std::size_t block = row / block_rows;
    const std::size_t group = output / output_group;
    return {block * output_groups() + group,
            (output % output_group) * block_rows + row % block_rows};
}

std::vector<std::size_t> Plan::wanted(std::size_t feature_group_index,
                                      std::size_t output_group_index) const {
    const std::size_t features =
        std::min(feature_group, shape.features - feature_group_index * feature_group);
    const std::size_t outputs =
        std::min(output_group, shape.outputs - output_group_index * output_group);
    std::vector<std::size_t> out;
    out.reserve(features * outputs);
    for (std::size_t j = 0; j < features; ++j)
        for (std::size_t k = 0; k < outputs; ++k)
            out.push_back((j * output_group + k) * block_rows);
    return out;
}

std::size_t Plan::result_of(std::size_t feature_group_index, std::size_t output_group_index,
                            std::size_t at) const noexcept {
    const std::size_t outputs =
        std::min(output_group, shape.outputs - output_group_index * output_group);
    return (output_group_index * output_group + at % outputs) * shape.features +
           feature_group_index * feature_group + at / outputs;
}

Result<Plan> make_plan(const Shape& shape) {
    if (shape.rows == 0 || shape.outputs == 0)
        return fail(Errc::too_large, "there is nothing to encrypt: no rows or no outputs");
    Plan plan;
    plan.shape = shape;
    // a sum of rows x d lies in (-t/2, t/2)
    std::uint32_t row_bits = 0;
    while ((std::uint64_t{1} << row_bits) <= shape.rows + shape.noise_rows) ++row_bits;
    const std::uint32_t others = 1 + column_bits + row_bits;
    if (others + residual_bits_min > plain_bits_max)
        return fail(Errc::too_large,
                    "sums over " + std::to_string(shape.rows) + " rows of numbers of " +
                        std::to_string(column_bits + 1) + " and " +
                        std::to_string(residual_bits_min + 1) + " bits need " +
                        std::to_string(others + residual_bits_min) +
                        " bits, and encrypted ones have " + std::to_string(plain_bits_max) +
                        ": take fewer rows in a batch");
    plan.residual_bits =
        std::min({residual_bits_max, shape.residual_most, plain_bits_max - others});
    plan.plain_bits = others + plan.residual_bits;
    plan.flood_bits = modulus_bits - 2 - plan.plain_bits;  // a quarter of q / t to each side
    Plan best;
    double best_cost = std::numeric_limits<double>::infinity();
    for (std::size_t group = 1; group <= shape.outputs; ++group) {
        const std::size_t rows_max = ring_size / group;
        if (rows_max == 0) break;
        for (std::size_t blocks = (shape.rows + rows_max - 1) / rows_max;
             blocks <= std::min<std::size_t>(shape.rows, 256); ++blocks) {
            plan.output_group = group;
            plan.block_rows = (shape.rows + blocks - 1) / blocks;
            plan.feature_group = ring_size / (group * plan.block_rows);
            const double cost = cost_of(plan);
            if (cost >= best_cost) continue;
            best = plan;
            best_cost = cost;
        }
    }
    if (best_cost == std::numeric_limits<double>::infinity())
        return fail(Errc::too_large, std::to_string(shape.rows) + " rows of " +
                                         std::to_string(shape.outputs) +
                                         " outputs do not fit into encrypted messages");
    return for_features(best, shape.features);
}

Result<Plan> for_features(Plan best, std::size_t features) {
    best.shape.features = features;
    const Shape& shape = best.shape;
    const double numbers = static_cast<double>(shape.products) *
                           static_cast<double>(std::max<std::size_t>(1, shape.features)) *
                           static_cast<double>(shape.outputs);
    best.hiding_bits = best.flood_bits + 1 - error_bits(best) - std::log2(std::max(1.0, numbers));
    if (best.hiding_bits < flood_bits_min)
        return fail(Errc::too_large,
                    "over the whole training the noise of answers would be hidden by " +
                        std::to_string(static_cast<int>(best.hiding_bits)) + " bits only, where " +
                        std::to_string(static_cast<int>(flood_bits_min)) +
                        " are asked for: take fewer rows in a batch, or fewer epochs");
    return best;
}

std::string describe(const Plan& plan) {
    return "N = " + std::to_string(ring_size) + ", q of " + std::to_string(modulus_bits) +
           " bits (128-bit security allows " + std::to_string(modulus_bits_max) + "), t = 2^" +
           std::to_string(plan.plain_bits) + " for sums over " + std::to_string(plan.shape.rows) +
           " rows, noise hidden by " + std::to_string(static_cast<int>(plan.hiding_bits)) +
           " bits over the run; " + std::to_string(plan.ciphertexts()) + " ciphertexts down, " +
           std::to_string(plan.answers()) + " answers up in a step";
}

}  // namespace vflbus::privacy::rlwe
