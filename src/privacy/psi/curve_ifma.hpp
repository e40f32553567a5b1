#pragma once
// Eight points at once with AVX-512 IFMA. Only to be called where the processor has it.

#include <cstdint>

#include "privacy/psi/curve.hpp"

namespace vflbus::privacy::psi {

void map_to_points_ifma(const Point* uniform, Point* out);
/// `clamped`: a Secret's bytes. `in` is canonical.
void multiply_ifma(const std::uint8_t* clamped, const Point* in, Point* out);

}  // namespace vflbus::privacy::psi
