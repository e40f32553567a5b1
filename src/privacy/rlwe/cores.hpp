#pragma once
// Independent parts of one calculation on several cores. The parts are sums modulo primes and meet
// in no order, so results are the same to the bit on any number of cores.

#include <cstddef>
#include <functional>

namespace vflbus::privacy::rlwe {

/// So many threads calculate at most, in this process from now on; 0, the default: as many as the
/// process has cores, and no more than 16.
void use_cores(std::size_t count) noexcept;
[[nodiscard]] std::size_t cores() noexcept;

/// Calls work(part, worker) once for each part below `parts`, on up to `workers` threads, of which
/// this one is the first: `worker` is below `workers`, and none has two parts at a time. Fewer
/// threads where no more are to be had.
void in_parallel(std::size_t parts, std::size_t workers,
                 const std::function<void(std::size_t part, std::size_t worker)>& work);

}  // namespace vflbus::privacy::rlwe
