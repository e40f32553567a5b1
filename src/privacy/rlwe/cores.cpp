#include "privacy/rlwe/cores.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vflbus::privacy::rlwe {
namespace {

constexpr std::size_t cores_max = 16;
std::atomic<std::size_t> chosen_cores{0};

}  // namespace

void use_cores(std::size_t count) noexcept {
    chosen_cores = count;
}

std::size_t cores() noexcept {
    const std::size_t chosen = chosen_cores;
    if (chosen != 0) return chosen;
    return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, cores_max);
}

void in_parallel(std::size_t parts, std::size_t workers,
                 const std::function<void(std::size_t part, std::size_t worker)>& work) {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr thrown;  // the first one
    const auto take = [&](std::size_t worker) noexcept {
        try {
            for (std::size_t part = next++; part < parts; part = next++) work(part, worker);
        } catch (...) {
            next = parts;
            const std::lock_guard lock(mutex);
            if (thrown == nullptr) thrown = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    try {
        for (std::size_t worker = 1; worker < std::min(workers, parts); ++worker)
            others.emplace_back(take, worker);
    } catch (const std::exception&) {
        // no memory or no thread for another one: those that there are do it all
    }
    take(0);
    for (std::thread& other : others) other.join();
    if (thrown != nullptr) std::rethrow_exception(thrown);
}

}  // namespace vflbus::privacy::rlwe
