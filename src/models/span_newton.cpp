#include "models/span_newton.hpp"

#include <cmath>

#include "base/assert.hpp"

namespace vflbus::models {

std::vector<double> span_newton(ConstMatrixView H, std::span<const double> g,
                                std::span<const std::size_t> order, double tolerance) {
    VFLBUS_ASSERT(H.rows == H.cols && H.rows == g.size(), "a Hessian is square");
    std::vector<double> c(g.size(), 0.0);
    std::vector<double> unit(g.size(), 0.0);
    std::vector<std::size_t> taken;
    Matrix factor(order.size(), order.size());  // Cholesky's, row q of vector taken[q]
    for (const std::size_t i : order) {
        if (!(H(i, i) > 0) || !std::isfinite(H(i, i))) continue;
        unit[i] = 1 / std::sqrt(H(i, i));
        const std::size_t row = taken.size();
        double pivot = 1;
        for (std::size_t q = 0; q < row; ++q) {
            double value = H(i, taken[q]) * unit[i] * unit[taken[q]];
            for (std::size_t p = 0; p < q; ++p) value -= factor(row, p) * factor(q, p);
            factor(row, q) = value / factor(q, q);
            pivot -= factor(row, q) * factor(row, q);
        }
        if (!(pivot > tolerance)) continue;
        factor(row, row) = std::sqrt(pivot);
        taken.push_back(i);
    }
    // L L' x = -g in units, then back
    std::vector<double> x(taken.size());
    for (std::size_t q = 0; q < taken.size(); ++q) {
        double value = -g[taken[q]] * unit[taken[q]];
        for (std::size_t p = 0; p < q; ++p) value -= factor(q, p) * x[p];
        x[q] = value / factor(q, q);
    }
    for (std::size_t q = taken.size(); q-- > 0;) {
        for (std::size_t p = q + 1; p < taken.size(); ++p) x[q] -= factor(p, q) * x[p];
        x[q] /= factor(q, q);
    }
    for (std::size_t q = 0; q < taken.size(); ++q) c[taken[q]] = x[q] * unit[taken[q]];
    return c;
}

}  // namespace vflbus::models
