#include "actors/training/linear/share_plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <string>

#include "actors/training/linear/encrypted.hpp"
#include "base/text.hpp"
#include "privacy/paillier/paillier.hpp"
#include "privacy/rlwe/cipher.hpp"

namespace vflbus::actors::linear {
namespace {

namespace paillier = privacy::paillier;
namespace rlwe = privacy::rlwe;

constexpr std::uint32_t share_bits_max = 20;
constexpr std::uint32_t share_bits_min = 12;
/// Results are hidden by so many bits, over all results of a run.
constexpr std::uint32_t hidden_bits = 40;
/// ... where a party has up to 2^10 columns.
constexpr std::uint32_t column_count_bits = 10;

/// The layout is made for so many columns, and serves for any number.
constexpr std::size_t lattice_columns = 64;

std::uint32_t bits_of(std::uint64_t value) {
    return static_cast<std::uint32_t>(std::bit_width(value));
}

/// The layout with the most bits of residuals that leave the flood wide enough for a party with up
/// to 2^10 columns. It is asked for whatever encrypts, so that shares are the same integers in all
/// ways.
std::optional<rlwe::Plan> lattice_of(std::size_t rows, std::size_t outputs, std::uint64_t products,
                                     std::size_t parties, std::uint32_t bits) {
    for (bits = std::min(bits, share_bits_max); bits >= share_bits_min; --bits) {
        const auto plan =
            rlwe::make_plan({rows, lattice_columns, outputs, products, parties, bits});
        if (plan && rlwe::for_features(*plan, std::size_t{1} << column_count_bits)) return *plan;
    }
    return {};
}

}  // namespace

std::size_t SharePlan::output_group() const {
    if (encryption != config::Encryption::paillier) return outputs;
    return std::min(outputs, paillier::slots_of(key_bits, slot_bits));
}
std::size_t SharePlan::output_groups() const {
    return (outputs + output_group() - 1) / output_group();
}
std::size_t SharePlan::outputs_in(std::size_t group) const {
    return std::min(output_group(), outputs - group * output_group());
}
std::size_t SharePlan::features_together(std::size_t group) const {
    return paillier::slots_of(key_bits, slot_bits) / outputs_in(group);
}
std::size_t SharePlan::answer_ciphertexts(std::size_t features) const {
    std::size_t count = 0;
    for (std::size_t g = 0; g < output_groups(); ++g)
        count += (features + features_together(g) - 1) / features_together(g);
    return count;
}
std::size_t SharePlan::words(std::size_t batch_rows) const {
    if (encryption == config::Encryption::none) return batch_rows * outputs;
    if (encryption == config::Encryption::rlwe)
        return batch_rows == 0 ? 0
                               : lattice.ciphertexts() * rlwe::shared_ciphertext_bytes() /
                                     sizeof(std::uint64_t);
    return batch_rows * output_groups() * paillier::ciphertext_words(key_bits);
}
std::size_t SharePlan::answer_bytes(std::size_t features) const {
    if (encryption == config::Encryption::none) return features * outputs * sizeof(std::uint64_t);
    if (encryption == config::Encryption::rlwe) {
        const auto plan = rlwe::for_features(lattice, features);
        std::size_t bytes = 0;
        for (std::size_t f = 0; plan && f < plan->feature_groups(); ++f)
            for (std::size_t g = 0; g < plan->output_groups(); ++g)
                bytes += rlwe::answer_bytes(*plan, plan->wanted(f, g).size());
        return bytes;
    }
    return answer_ciphertexts(features) * paillier::ciphertext_words(key_bits) *
           sizeof(std::uint64_t);
}

Result<> check_columns(const SharePlan& plan, std::size_t features) {
    if (plan.encryption == config::Encryption::rlwe) {
        const auto own = rlwe::for_features(plan.lattice, features);
        if (!own)
            return fail(own.error().code, "has " + std::to_string(features) +
                                              " columns: " + own.error().sentence +
                                              ", or state run.he = \"paillier\"");
    }
    if (features > share_columns_max)
        return fail(Errc::too_large, "has " + std::to_string(features) + " columns, more than " +
                                         std::to_string(share_columns_max));
    return {};
}

Result<SharePlan> plan_shares(const config::AgreedHalf& agreed, const ShareShape& shape,
                              std::uint64_t message_bytes_max) {
    const auto [rows, outputs, steps, weighted] = shape;
    SharePlan plan;
    plan.encryption = agreed.run.he;
    plan.key_bits = static_cast<std::uint32_t>(agreed.run.he_key_bits);
    plan.rows = rows;
    plan.outputs = outputs;
    plan.parties = agreed.run.world_size + 1;
    if (weighted && plan.encryption == config::Encryption::rlwe)
        return fail(Errc::bad_config,
                    "weights of rows or classes do not go with run.protocol = \"arbitered\" and "
                    "run.he = \"rlwe\", whose ciphertexts hold all rows of a batch at once: state "
                    "run.he = \"paillier\", or leave the weights out");
    const std::uint32_t others =
        privacy::rlwe::column_bits + bits_of(rows) + (weighted ? weight_bits_max : 0);
    if (others + share_bits_min > product_bits)
        return fail(Errc::too_large, "sums over " + std::to_string(rows) +
                                         " rows do not fit into encrypted numbers: lower "
                                         "model.batch_size");
    const std::optional<rlwe::Plan> lattice =
        lattice_of(rows, outputs, products_of(agreed, steps), plan.parties, product_bits - others);
    plan.residual_bits =
        lattice ? lattice->residual_bits : std::min(share_bits_max, product_bits - others);
    plan.share_most = std::floor(std::ldexp(1.0, static_cast<int>(plan.residual_bits)) /
                                 static_cast<double>(plan.parties));
    plan.slot_bits = paillier::value_bits + 2 + hidden_bits + column_count_bits +
                     bits_of(products_of(agreed, steps)) + bits_of(outputs);
    if (plan.encryption == config::Encryption::rlwe && !lattice)
        return fail(Errc::too_large,
                    "the noise of encrypted sums over " + std::to_string(rows) +
                        " rows would not be hidden by " +
                        std::to_string(static_cast<int>(rlwe::flood_bits_min)) +
                        " bits over the whole training: take fewer rows in a batch "
                        "(model.batch_size), or fewer epochs, or state run.he = \"paillier\"");
    if (lattice) plan.lattice = *lattice;
    const std::uint64_t bytes = plan.words(rows) * sizeof(std::uint64_t);
    if (bytes > message_bytes_max - message_bytes_max / 4)
        return fail(Errc::too_large,
                    "the encrypted scores of a batch of " + std::to_string(rows) + " rows have " +
                        human_bytes(bytes) + ", more than a message of " +
                        human_bytes(message_bytes_max) +
                        " (bus.message_bytes_max, of this party or its broker) holds: lower "
                        "model.batch_size");
    return plan;
}

}  // namespace vflbus::actors::linear
