#include "privacy/rlwe/plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/sampling.hpp"

namespace vflbus::privacy::rlwe {
namespace {

constexpr std::uint32_t modulus_bits = prime_count * prime_bits;
/// For N = 8192 and 128 bits: eprint 2024/463, table 5.2.
constexpr std::uint32_t modulus_bits_max = 214;
static_assert(modulus_bits + prime_bits <= modulus_bits_max,
              "the modulus with that of key switching is too large for 128-bit security");

/// An answer travels in words of 64 bits, and its rounding keeps 4 bits below them.
constexpr std::uint32_t plain_bits_max = 50;

// In units of a transform of a polynomial modulo one prime, measured (bench/privacy.cpp): 9 us with
// AVX-512 IFMA. All parts get slower in much the same way without.
constexpr double transform_ms = .009;
constexpr double encrypt_cost = 20;         ///< of a ciphertext, with parsing it
constexpr double column_cost = 3.3;         ///< of columns as a polynomial, and its products
constexpr double packed_column_cost = 2.8;  ///< the same where products are packed ...
constexpr double combine_cost = .45;        ///< ... and for each input level beside that
constexpr double answer_cost = 18;          ///< of one answer, with decrypting it
constexpr double product_cost = 1.1;        ///< of the wanted numbers of a packed product
constexpr double switch_cost = 22;          ///< of a key switch
constexpr double switch_key_cost = 145;     ///< of making one key for it, and parsing it
constexpr double image_cost = 1.5;          ///< of a ciphertext under an automorphism
constexpr double byte_cost_unknown = 8e-6 / transform_ms;  ///< 1 Gbit/s

/// The images of ciphertexts under automorphisms take memory at the member: so many at most.
constexpr std::size_t images_max = 96;
constexpr std::uint32_t input_levels_max = 5;
/// The leaves of an answer's trees wait for each other there, 448 KiB each.
constexpr std::size_t leaves_max = 256;

/// Of a step, in transforms, where a byte takes as long as `byte` of them.
double cost_of(const Plan& plan, double byte) {
    const auto ciphertexts = static_cast<double>(plan.ciphertexts());
    const auto answers = static_cast<double>(plan.answers());
    const auto polynomial = static_cast<double>(packed_bytes(ring_size * prime_count, prime_bits));
    const double up = static_cast<double>(packed_bytes(ring_size, plan.answer_bits()));
    const double both_ways =
        ciphertexts * (encrypt_cost + polynomial * byte) + answers * (answer_cost + up * byte);
    const auto columns = static_cast<double>(plan.feature_groups() * plan.blocks());
    const auto outputs = static_cast<double>(plan.output_groups());
    if (!plan.packed) return both_ways + columns * column_cost * (1 + .3 * outputs);
    // the keys of the switches serve for several steps
    const double key = switch_key_cost + byte * static_cast<double>(switch_key_bytes());
    return both_ways +
           columns * (packed_column_cost + combine_cost * plan.input_levels + 1.1 * outputs) +
           static_cast<double>(plan.products()) * product_cost +
           ciphertexts * static_cast<double>(plan.leaf_products()) * image_cost +
           static_cast<double>(plan.switches()) * switch_cost +
           plan.levels() * key /
               static_cast<double>(std::max<std::uint64_t>(1, plan.shape.products_per_key));
}

double cost_of(const Plan& plan) {
    return cost_of(plan,
                   plan.shape.line == 0 ? byte_cost_unknown : transforms_of_byte(plan.shape.line));
}

/// What key switches add to the variance of a wanted coefficient (packing.hpp). Three digits below
/// q_i / 2 in magnitude, uniform, times errors, divided by P; and the rounding of that division,
/// times the key:
///     v = 3 N / 12 (q_i / P)^2 10.5 + (2 N / 3 + 1) / 12
/// A switch in the tree is doubled by each level above it: v (4^tree - 1) / 3. The noise of the
/// images of ciphertexts is multiplied by combined columns y. Their squares add up to at most
/// 4^input times those of N columns' numbers for each block, as |u + v|^2 + |u - v|^2 is
/// 2 |u|^2 + 2 |v|^2; noise of level h is in 2^(input - 1 - h) images, whose sum has at most as
/// many times the sum of their squares: v blocks N x^2 4^input (2^input - 1).
double of_switches(const Plan& plan) {
    if (!plan.packed) return 0;
    const auto n = static_cast<double>(ring_size);
    const double one = prime_count * n / 12 * 10.5 + (2 * n / 3 + 1) / 12;  // q_i / P is nearly 1
    const double tree = (std::ldexp(1.0, 2 * static_cast<int>(plan.tree_levels)) - 1) / 3;
    const auto images = static_cast<double>(plan.leaf_products());
    const double columns = std::ldexp(static_cast<double>(plan.blocks()) * n, 2 * column_bits);
    return one * (tree + columns * images * images * (images - 1));
}

/// log2 of a bound on what a coefficient of an answer has beside the result before it is flooded.
/// It is a sum of independent numbers, each of mean 0 and subgaussian with the variance of an error
/// (10.5, and 1/4 of rounding the message), times columns of at most 2^15 or the ternary numbers of
/// the fresh encryption of zero: at most 9.5 deviations but with probability 2^-64.
double noise_bits_of(const Plan& plan) {
    const double entries = static_cast<double>(plan.blocks() * plan.block_rows *
                                               std::min(plan.feature_group, plan.shape.features));
    const double of_zero = 2 * 10.5 * static_cast<double>(ring_size);
    // what the public key adds is no sum of independent numbers any more: one bit for that
    const double of_sum = plan.shape.parties == 0
                              ? 10.75
                              : 4 * static_cast<double>(plan.shape.parties) * (of_zero + 10.75);
    const double of_products = of_sum * std::ldexp(entries, 2 * column_bits);
    return std::log2(9.5 * std::sqrt(of_products + of_zero + of_switches(plan)));
}

/// The leaves of an answer and their tree. False where an answer has no gaps for as many products
/// as a leaf has.
bool set_tree(Plan& plan) {
    if (plan.leaf_products() > plan.block_rows) return false;
    // as many leaves in each answer, as far as they go
    const std::size_t most = std::min(plan.leaves(), plan.block_rows / plan.leaf_products());
    const std::size_t answers = (plan.leaves() + most - 1) / most;
    plan.leaves_per_answer = (plan.leaves() + answers - 1) / answers;
    plan.tree_levels = static_cast<std::uint32_t>(std::bit_width(plan.leaves_per_answer - 1));
    return plan.levels() > 0;
}

double hiding_of(const Plan& plan) {
    const double numbers = static_cast<double>(plan.shape.products) *
                           static_cast<double>(std::max<std::size_t>(1, plan.shape.features)) *
                           static_cast<double>(plan.shape.outputs);
    return plan.flood_bits + 1 - noise_bits_of(plan) - std::log2(std::max(1.0, numbers));
}

/// The cheapest plan of those that are shown to it.
class Cheapest {
  public:
    void show(const Plan& plan) {
        const double cost = cost_of(plan);
        if (cost >= cost_) return;
        best_ = plan;
        cost_ = cost;
    }
    [[nodiscard]] bool any() const noexcept {
        return cost_ < std::numeric_limits<double>::infinity();
    }
    [[nodiscard]] const Plan& best() const noexcept { return best_; }

  private:
    Plan best_;
    double cost_ = std::numeric_limits<double>::infinity();
};

void show_unpacked(Plan plan, Cheapest& cheapest) {
    const Shape& shape = plan.shape;
    for (std::size_t group = 1; group <= shape.outputs; ++group) {
        const std::size_t rows_max = ring_size / group;
        if (rows_max == 0) break;
        for (std::size_t blocks = (shape.rows + rows_max - 1) / rows_max;
             blocks <= std::min<std::size_t>(shape.rows, 256); ++blocks) {
            plan.output_group = group;
            plan.block_rows = (shape.rows + blocks - 1) / blocks;
            plan.feature_group = ring_size / (group * plan.block_rows);
            cheapest.show(plan);
        }
    }
}

/// Of those with packed answers the ones whose noise the flood hides.
void show_packed(Plan plan, Cheapest& cheapest) {
    const Shape& shape = plan.shape;
    plan.packed = true;
    for (plan.block_rows = 2; plan.block_rows <= ring_size; plan.block_rows *= 2) {
        if (plan.blocks() > 256) continue;
        const std::size_t slots = ring_size / plan.block_rows;
        for (std::size_t group = 1; group <= std::min(shape.outputs, slots);
             group = group < 4 ? group + 1 : group + group / 4) {
            plan.output_group = group;
            plan.feature_group = slots / group;
            for (plan.input_levels = 0; plan.input_levels <= input_levels_max;
                 ++plan.input_levels) {
                if (plan.ciphertexts() * plan.leaf_products() > images_max ||
                    plan.leaves() > leaves_max || !set_tree(plan))
                    continue;
                if (hiding_of(plan) >= flood_bits_min) cheapest.show(plan);
            }
        }
    }
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

std::size_t Plan::offset_of(std::size_t index) const noexcept {
    std::size_t out = 0;
    for (std::uint32_t level = 0; level < levels(); ++level)
        if (((index >> level) & 1) != 0) out += block_rows >> (level + 1);
    return out;
}

Plan::Numbers Plan::numbers_of_leaf(std::size_t leaf) const {
    const std::size_t group = leaf / leaves_per_output_group();
    const std::size_t first = leaf % leaves_per_output_group() * leaf_products();
    Numbers out;
    for (std::size_t f = first; f < std::min(feature_groups(), first + leaf_products()); ++f) {
        const std::vector<std::size_t> powers = wanted(f, group);
        for (std::size_t at = 0; at < powers.size(); ++at) {
            out.powers.push_back(powers[at] + offset_of(f - first));
            out.results.push_back(result_of(f, group, at));
        }
    }
    return out;
}

Plan::Numbers Plan::numbers_of(std::size_t answer) const {
    Numbers out;
    if (!packed) {
        const std::size_t f = answer / output_groups();
        const std::size_t g = answer % output_groups();
        out.powers = wanted(f, g);
        for (std::size_t at = 0; at < out.powers.size(); ++at)
            out.results.push_back(result_of(f, g, at));
        return out;
    }
    const std::size_t first = answer * leaves_per_answer;
    for (std::size_t leaf = first; leaf < std::min(leaves(), first + leaves_per_answer); ++leaf) {
        const Numbers part = numbers_of_leaf(leaf);
        for (const std::size_t power : part.powers)
            out.powers.push_back(power + offset_of((leaf - first) * leaf_products()));
        out.results.insert(out.results.end(), part.results.begin(), part.results.end());
    }
    return out;
}

std::size_t switch_key_bytes() noexcept {
    return packed_bytes(ring_size * prime_count * (prime_count + 1), prime_bits);
}

double transforms_of_byte(std::uint32_t line) noexcept {
    return std::ldexp(1.0, static_cast<int>(line) - 24);
}

std::uint32_t line_of(double ms_of_byte, double ms_of_transform) noexcept {
    const double power = std::nearbyint(std::log2(ms_of_byte / ms_of_transform) + 24);
    return static_cast<std::uint32_t>(std::clamp(power, 1.0, static_cast<double>(line_max)));
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
    Cheapest cheapest;
    show_unpacked(plan, cheapest);
    if (!cheapest.any())
        return fail(Errc::too_large, std::to_string(shape.rows) + " rows of " +
                                         std::to_string(shape.outputs) +
                                         " outputs do not fit into encrypted messages");
    if (shape.line > 0 && shape.parties == 0 && shape.features > 0) show_packed(plan, cheapest);
    return for_features(cheapest.best(), shape.features);
}

Result<Plan> for_features(Plan best, std::size_t features) {
    best.shape.features = features;
    best.hiding_bits = hiding_of(best);
    if (best.hiding_bits < flood_bits_min)
        return fail(Errc::too_large,
                    "over the whole training the noise of answers would be hidden by " +
                        std::to_string(static_cast<int>(best.hiding_bits)) + " bits only, where " +
                        std::to_string(static_cast<int>(flood_bits_min)) +
                        " are asked for: take fewer rows in a batch, or fewer epochs");
    return best;
}

double noise_bits(const Plan& plan) noexcept {
    return noise_bits_of(plan);
}

double step_ms(const Plan& plan, double ms_of_transform) noexcept {
    return cost_of(plan) * ms_of_transform;
}

double compute_ms(const Plan& plan, double ms_of_transform) noexcept {
    return cost_of(plan, 0) * ms_of_transform;
}

std::string describe(const Plan& plan) {
    const std::uint32_t bits = modulus_bits + (plan.packed ? prime_bits : 0);
    std::string out = "N = " + std::to_string(ring_size) + ", q of " + std::to_string(bits) +
                      " bits (128-bit security allows " + std::to_string(modulus_bits_max) +
                      "), t = 2^" + std::to_string(plan.plain_bits) + " for sums over " +
                      std::to_string(plan.shape.rows) + " rows, noise hidden by " +
                      std::to_string(static_cast<int>(plan.hiding_bits)) + " bits over the run; " +
                      std::to_string(plan.ciphertexts()) + " ciphertexts down, " +
                      std::to_string(plan.answers()) + " answers up in a step";
    if (plan.packed)
        out += ", packed from " + std::to_string(plan.products()) + " products with " +
               std::to_string(plan.levels()) + " keys";
    return out;
}

}  // namespace vflbus::privacy::rlwe
