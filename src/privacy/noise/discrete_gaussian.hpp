#pragma once
// Normal noise on integers, exact: what differential privacy adds to numbers before they leave.
//
// The problem: noise that is made of doubles lies on an uneven grid, and which of its values are
// possible tells the number beneath it (Mironov 2012). So numbers are integers, and the noise has
// the distribution P(x) ~ exp(-x^2 / (2 sigma^2)) on the integers, sampled without any rounding:
// Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms 1
// to 3. All chances are fractions of whole numbers, and every draw compares uniform bits with them.
//
// How long a draw takes depends on its result, as with every sampler of this kind.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "privacy/masks/stream.hpp"

namespace vflbus::privacy {

/// Uniform bits of a stream, 64 at a time.
class RandomWords {
  public:
    explicit RandomWords(const Key& key) : stream_(key) {}
    std::uint64_t next() {
        if (used_ == words_.size()) refill();
        return words_[used_++];
    }

  private:
    void refill();
    AesStream stream_;
    SecretVector<std::uint64_t> words_;
    std::size_t used_ = 0;
};

/// sigma is a whole number: 1 to 2^48.
inline constexpr std::uint64_t sigma_max = std::uint64_t{1} << 48;

class DiscreteGaussian {
  public:
    explicit DiscreteGaussian(std::uint64_t sigma);
    /// One integer, of mean 0 and a variance of sigma^2 at most.
    [[nodiscard]] std::int64_t operator()(RandomWords& words) const;
    [[nodiscard]] std::uint64_t sigma() const noexcept { return sigma_; }

  private:
    [[nodiscard]] std::int64_t laplace(RandomWords& words) const;
    std::uint64_t sigma_;
    std::uint64_t scale_;  ///< of the Laplace numbers that it chooses from
};

/// Where noise comes from: a secret of the party that adds it, and what it is added to.
///
/// The problem: a party that was killed must give the same answer as before its death, or the model
/// would depend on deaths and whoever receives both answers could average them. But noise that
/// follows from what others know hides nothing. So the noise of one release is made of a secret
/// that the party draws once for a run and never sends, of the release's label, and of the numbers
/// themselves: the same numbers under the same label get the same noise, others get other noise.
class NoiseKey {
  public:
    explicit NoiseKey(Key secret) : secret_(std::move(secret)) {}
    /// The secret for one of several uses that have the same labels, such as the folds of a
    /// cross-validation.
    [[nodiscard]] NoiseKey of_use(std::uint64_t number) const;
    /// The words for one release. `label`: no two releases of a run have the same; `numbers`: what
    /// it is about.
    [[nodiscard]] RandomWords words(std::span<const std::uint8_t> label,
                                    std::span<const std::int64_t> numbers) const;

  private:
    Key secret_;
};

/// Told of every release: a digest of key and label, of the numbers before it, and whether noise
/// was added. For the simulation, which keeps all of them; null in the product.
using NoiseWatch = void (*)(std::uint64_t label, std::uint64_t numbers, bool noised);
void watch_noise(NoiseWatch watch) noexcept;

/// values[i] += noise. `about`: the numbers that the noise is bound to, where the caller does not
/// see those that it is added to; empty: `values` themselves.
void add_noise(const NoiseKey& key, std::span<const std::uint8_t> label, std::uint64_t sigma,
               std::span<std::int64_t> values, std::span<const std::int64_t> about = {});

}  // namespace vflbus::privacy
