#include "actors/training/linear/line_meter.hpp"

#include <algorithm>
#include <chrono>

#include "privacy/rlwe/ring.hpp"

namespace vflbus::actors::linear {

namespace rlwe = privacy::rlwe;

namespace {

constexpr std::size_t products_kept = 8;

double milliseconds(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void LineMeter::product(Duration took, std::size_t bytes) {
    if (products_.size() < products_kept && bytes > 0)
        products_.push_back({milliseconds(took), bytes});
}

void LineMeter::step(Duration took) {
    const double ms = milliseconds(took);
    step_ms_ = steps_++ == 0 ? ms : std::min(step_ms_, ms);
}

std::optional<double> LineMeter::ms_of_byte(double compute_ms) const {
    std::optional<double> least;
    for (const Product& product : products_) {
        const double transfer = product.ms - step_ms_ - compute_ms;
        const double of_byte = transfer / static_cast<double>(product.bytes);
        least = std::min(least.value_or(of_byte), of_byte);
    }
    if (!ready() || *least <= 0) return {};
    return least;
}

double transform_ms(const std::function<TimePoint()>& now) {
    rlwe::Polynomial polynomial;
    double least = 0;
    for (int round = 0; round < 5; ++round) {
        const TimePoint begin = now();
        forward(polynomial);
        const double ms = milliseconds(now() - begin) / rlwe::prime_count;
        least = round == 0 ? ms : std::min(least, ms);
    }
    if (least > 0) return least;
    return rlwe::path() == rlwe::Path::ifma ? .009 : .07;
}

}  // namespace vflbus::actors::linear
