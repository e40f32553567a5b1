#include "data/batches.hpp"

#include <numeric>
#include <utility>

#include "base/rng.hpp"

namespace vflbus::data {

std::vector<std::uint32_t> epoch_order(std::uint64_t seed, std::uint64_t epoch, std::uint32_t n,
                                       bool shuffle) {
    std::vector<std::uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0U);
    if (!shuffle) return order;
    constexpr std::uint64_t purpose = 0x6f'72'64'65'72;  // "order"
    Rng rng(mix_seed(mix_seed(seed, purpose), epoch));
    for (std::uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    return order;
}

}  // namespace vflbus::data
