#include "actors/training/linear/differential.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/assert.hpp"

namespace vflbus::actors::linear {

Result<> to_clipped_integers(models::ConstMatrixView batch, const config::AgreedHalf& agreed,
                             IntegerColumns& columns) {
    const privacy::Grid grid = column_grid(agreed);
    const auto rows = clipped_rows(batch, grid);
    if (!rows) return tl::unexpected(rows.error());
    columns.values.resize(rows->size());
    std::ranges::transform(*rows, columns.values.begin(),
                           [](std::int64_t value) { return static_cast<std::int16_t>(value); });
    columns.exponents.assign(batch.cols, grid.exponent);
    return {};
}

// -- the master -----------------------------------------------------------------------------

std::uint64_t LabelNoise::sigma(std::int64_t most_of_columns) const {
    return privacy::sigma_of(agreed_->privacy.noise_multiplier, 2 * grid_.most * most_of_columns);
}

Result<> LabelNoise::take(std::uint64_t step, models::Matrix& residual,
                          std::optional<unsigned> encrypted_bits) {
    step_ = step;
    encrypted_ = encrypted_bits.has_value();
    rows_ = residual.rows();
    outputs_ = residual.cols();
    grid_ = residual_grid(*agreed_, rows_, encrypted_bits.value_or(plain_residual_bits));
    auto clipped = clipped_rows(residual, grid_);
    if (!clipped) return tl::unexpected(std::move(clipped.error()));
    residual_ = std::move(*clipped);
    if (hides() && !encrypted_)
        privacy::add_noise(key_, release_label(Release::residuals, step), sigma(1), residual_);
    to_numbers(residual_, grid_.exponent, residual.view());
    return {};
}

std::vector<double> LabelNoise::intercept() const {
    std::vector<std::int64_t> sums(outputs_);
    for (std::size_t i = 0; i < residual_.size(); ++i) sums[i / rows_] += residual_[i];
    if (hides() && encrypted_)
        privacy::add_noise(key_, release_label(Release::intercept, step_), sigma(1), sums,
                           residual_);
    std::vector<double> out(outputs_);
    for (std::size_t k = 0; k < outputs_; ++k)
        out[k] = std::ldexp(static_cast<double>(sums[k]), -grid_.exponent);
    return out;
}

Result<> LabelNoise::own_gradient(models::ConstMatrixView batch, models::Matrix& gradient) const {
    const privacy::Grid grid = column_grid(*agreed_);
    const auto columns = clipped_rows(batch, grid);
    if (!columns) return tl::unexpected(columns.error());
    std::vector<std::int64_t> sums = integer_product(*columns, residual_, rows_);
    if (hides() && encrypted_)
        privacy::add_noise(key_, release_label(Release::own_step, step_), sigma(grid.most), sums);
    gradient.resize_uninitialized(batch.cols, outputs_);
    to_numbers(sums, grid_.exponent + grid.exponent, gradient.view());
    return {};
}

void LabelNoise::hide_opened(std::size_t rank, const privacy::rlwe::Plan& plan,
                             std::span<std::uint64_t> opened) const {
    if (!hides() || opened.empty()) return;
    std::vector<std::int64_t> noise(opened.size());
    // the numbers beneath the member's mask follow from the residual, which is known here
    privacy::add_noise(key_, release_label(Release::opened, step_, rank),
                       sigma(column_grid(*agreed_).most), noise, residual_);
    const std::uint64_t below = (std::uint64_t{1} << plan.plain_bits) - 1;
    for (std::size_t i = 0; i < opened.size(); ++i)
        opened[i] = (opened[i] + static_cast<std::uint64_t>(noise[i])) & below;
}

// -- a member -------------------------------------------------------------------------------

Result<> StepNoise::gradient(std::uint64_t step, models::ConstMatrixView batch,
                             models::ConstMatrixView residual, models::Matrix& gradient) const {
    privacy::Grid grid = residual_grid(*agreed_, residual.rows, plain_residual_bits);
    // what the master adds to a residual is not cut off again
    grid.most += static_cast<std::int64_t>(
        std::ceil(8 * agreed_->privacy.noise_multiplier * static_cast<double>(grid.most)));
    auto clipped = clipped_rows(residual, grid);
    if (!clipped) return tl::unexpected(std::move(clipped.error()));
    const privacy::Grid of_columns = column_grid(*agreed_);
    if (static_cast<double>(grid.most) * static_cast<double>(of_columns.most) *
            static_cast<double>(residual.rows) >
        0x1p62)
        return fail(Errc::too_large,
                    "sums over " + std::to_string(residual.rows) +
                        " rows with noise do not fit into 64 bits: lower model.batch_size");
    const auto columns = clipped_rows(batch, of_columns);
    if (!columns) return tl::unexpected(columns.error());
    std::vector<std::int64_t> sums = integer_product(*columns, *clipped, residual.rows);
    gradient.resize_uninitialized(batch.cols, residual.cols);
    finish(step, grid.most, grid.exponent, sums, gradient);
    return {};
}

void StepNoise::hide_opened(std::uint64_t step, std::size_t rows, unsigned bits,
                            models::Matrix& gradient) const {
    const privacy::Grid grid = residual_grid(*agreed_, rows, bits);
    const int exponent = grid.exponent + column_grid(*agreed_).exponent;
    std::vector<std::int64_t> sums;
    for (const double value : gradient.span())
        sums.push_back(static_cast<std::int64_t>(std::ldexp(value, exponent)));
    finish(step, grid.most, grid.exponent, sums, gradient);
}

/// `most`, `exponent`: of the residuals.
void StepNoise::finish(std::uint64_t step, std::int64_t most, int exponent,
                       std::span<std::int64_t> sums, models::Matrix& gradient) const {
    const privacy::Grid of_columns = column_grid(*agreed_);
    const std::uint64_t sigma =
        privacy::sigma_of(agreed_->privacy.score_noise_multiplier, 2 * most * of_columns.most);
    privacy::add_noise(key_, release_label(Release::member_step, step), sigma, sums);
    to_numbers(sums, exponent + of_columns.exponent, gradient.view());
}

}  // namespace vflbus::actors::linear
