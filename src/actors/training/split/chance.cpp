#include "actors/training/split/chance.hpp"

#include <cmath>
#include <utility>

#include "base/rng.hpp"
#include "models/math.hpp"

namespace vflbus::actors::split {
namespace {

constexpr std::uint64_t weights_stream = 0x6e6e2d7765696768ULL;
constexpr std::uint64_t passes_stream = 0x6e6e2d7061737365ULL;
constexpr std::uint64_t noise_stream = 0x6e6e2d6e6f697365ULL;

std::uint64_t seed_of(std::uint64_t run_seed, std::uint64_t stream, Place place) {
    return mix_seed(mix_seed(run_seed, stream), static_cast<std::uint64_t>(place));
}

/// Two normal numbers at a time by Marsaglia's polar method, with the logarithm that is the same on
/// every machine.
class Normal {
  public:
    explicit Normal(std::uint64_t seed) : rng_(seed) {}

    double next() {
        if (std::exchange(has_kept_, false)) return kept_;
        double x = 0;
        double y = 0;
        double square = 0;
        while (square >= 1 || square == 0) {
            x = 2 * rng_.uniform() - 1;
            y = 2 * rng_.uniform() - 1;
            square = x * x + y * y;
        }
        const double length = std::sqrt(-2 * models::log(square) / square);
        kept_ = y * length;
        has_kept_ = true;
        return x * length;
    }

  private:
    Rng rng_;
    double kept_ = 0;  ///< the second of a pair (an optional earns a false warning of g++ 12)
    bool has_kept_ = false;
};

}  // namespace

std::uint64_t weight_seed(std::uint64_t run_seed, Place place) {
    return seed_of(run_seed, weights_stream, place);
}

models::nn::Pass pass_of(std::uint64_t run_seed, Place place, std::uint64_t step) {
    return {mix_seed(seed_of(run_seed, passes_stream, place), step)};
}

void add_noise(std::uint64_t run_seed, Place place, std::uint64_t step, double deviation,
               models::MatrixView numbers) {
    Normal normal(mix_seed(seed_of(run_seed, noise_stream, place), step));
    for (double& number : numbers.span()) number += deviation * normal.next();
}

}  // namespace vflbus::actors::split
