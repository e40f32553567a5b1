#pragma once
// Noise for differential privacy in mini-batch descent of linear models: on what members receive,
// which hides labels, and in the steps of a member's weights, which hides its columns.
//
// The problem: what members receive follows from labels in two ways, by this step's residuals and
// by whatever earlier residuals have left in the weights. So with noise on the labels' side the
// master's own weights and its intercept are stepped by noisy numbers too, and everything that
// comes later follows from them alone. Where residuals travel (`honest`, `masked`) the noise is on
// the residuals, and all parties step with those. Where they are encrypted each member's gradient
// gets noise of its own after it was opened, under the mask of that member.
//
// The bounds: a residual of a row is at most residual_clip_norm / rows long, a row of columns at
// most feature_clip_norm; both as integers, so that X' r is exact. One row replaced by any other
// changes a sum by twice the product of the two at most.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "actors/protocols/noise.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"
#include "privacy/rlwe/plan.hpp"

namespace vflbus::actors::linear {

/// Rows of columns on the grid of the configuration, for the products of the encryption.
Result<> to_clipped_integers(models::ConstMatrixView batch, const config::AgreedHalf& agreed,
                             IntegerColumns& columns);

/// The master's: clips residuals, and hides them where labels are to be hidden.
class LabelNoise {
  public:
    LabelNoise(const config::AgreedHalf& agreed, privacy::NoiseKey key)
        : agreed_(&agreed), key_(std::move(key)) {}

    /// The residual of a step (rows x outputs) becomes what may be used of it: clipped, and with
    /// noise unless it is `encrypted_bits` wide and its noise comes later. Errors: diverged.
    Result<> take(std::uint64_t step, models::Matrix& residual,
                  std::optional<unsigned> encrypted_bits);
    /// With what power of two residuals are multiplied, of the step taken last.
    [[nodiscard]] int exponent() const noexcept { return grid_.exponent; }
    /// The gradient of the intercept (one number per output).
    [[nodiscard]] std::vector<double> intercept() const;
    /// Of the master's own columns (features x outputs): `batch` are their rows.
    Result<> own_gradient(models::ConstMatrixView batch, models::Matrix& gradient) const;
    /// Adds its noise to the opened numbers of member `rank`.
    void hide_opened(std::size_t rank, const privacy::rlwe::Plan& plan,
                     std::span<std::uint64_t> opened) const;

  private:
    [[nodiscard]] bool hides() const noexcept { return agreed_->privacy.noise_multiplier > 0; }
    [[nodiscard]] std::uint64_t sigma(std::int64_t most_of_columns) const;

    const config::AgreedHalf* agreed_;
    privacy::NoiseKey key_;
    privacy::Grid grid_;
    std::uint64_t step_ = 0;
    bool encrypted_ = false;
    std::size_t rows_ = 0;
    std::size_t outputs_ = 0;
    std::vector<std::int64_t> residual_;  ///< column-major, as it may be used
};

/// A member's: its own steps.
class StepNoise {
  public:
    StepNoise(const config::AgreedHalf& agreed, privacy::NoiseKey key)
        : agreed_(&agreed), key_(std::move(key)) {}

    /// The gradient of a residual that travels as numbers, over the columns of its batch. Errors:
    /// diverged; too_large when the sums of a batch could leave 64 bits.
    Result<> gradient(std::uint64_t step, models::ConstMatrixView batch,
                      models::ConstMatrixView residual, models::Matrix& gradient) const;
    /// Adds noise to a gradient that was opened: exact sums of a batch of `rows`, times powers of
    /// two, whose residuals had `bits`.
    void hide_opened(std::uint64_t step, std::size_t rows, unsigned bits,
                     models::Matrix& gradient) const;

  private:
    void finish(std::uint64_t step, std::int64_t most, int exponent, std::span<std::int64_t> sums,
                models::Matrix& gradient) const;
    const config::AgreedHalf* agreed_;
    privacy::NoiseKey key_;
};

}  // namespace vflbus::actors::linear
