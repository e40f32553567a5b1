// Panels hold the same numbers as rows, their products have the stated order, and columns are
// scaled and scaled back.

#include <cstring>

#include "models/kernels.hpp"
#include "models/panels.hpp"
#include "models/solver_columns.hpp"
#include "support.hpp"

using namespace vflbus::models;
using namespace support;

namespace {

bool same_bits(std::span<const double> a, std::span<const double> b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

/// gradient() of each run of 256 rows, added in ascending order.
Matrix gradient_by_panels(const Matrix& x, const Matrix& r) {
    Matrix out(x.cols(), r.cols());
    for (std::size_t first = 0; first < x.rows(); first += panel_rows) {
        const auto rows = first_rows(std::min(panel_rows, x.rows() - first), first);
        Matrix some_x, some_r, part(x.cols(), r.cols());
        gather_rows(x, rows, some_x);
        gather_rows(r, rows, some_r);
        gradient(some_x, some_r, part.view());
        add(out.view(), part);
    }
    return out;
}

}  // namespace

TEST_CASE("panels are the table's rows, copied or converted in place") {
    Rng rng(1);
    for (const std::size_t n : {1, 255, 256, 257, 700})
        for (const std::size_t d : {1, 3, 17}) {
            const Matrix x = random_matrix(n, d, rng);
            Design rows = row_major(x);
            const PanelMatrix copy = PanelMatrix::copy_of(rows.view());
            const PanelMatrix converted = PanelMatrix::from_rows(rows.values, n, d);
            CHECK(same_bits(copy.span(), converted.span()));
            CHECK(converted.span().data() == rows.values.data());
            for (std::size_t p = 0; p < copy.panels(); ++p)
                for (std::size_t j = 0; j < d; ++j)
                    CHECK(same_bits(copy.panel(p).col(j),
                                    x.col(j).subspan(PanelMatrix::first_row(p), copy.rows_of(p))));
        }
}

TEST_CASE("products of panels have the stated order on every instruction set") {
    Rng rng(2);
    for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
        use_isa(isa);
        for (const std::size_t n : {5, 256, 300, 1000})
            for (const std::size_t k : {1, 3}) {
                const Matrix x = random_matrix(n, 7, rng);
                const Matrix w = random_matrix(7, k, rng);
                const Matrix r = random_matrix(n, k, rng);
                const PanelMatrix panels = PanelMatrix::copy_of(row_major(x).view());
                Matrix z(n, k), expected(n, k), g(7, k);
                panel_scores(panels, w, z.view());
                partial_scores(x, w, expected.view());
                CHECK(same_bits(z.span(), expected.span()));
                panel_gradient(panels, r, g.view());
                CHECK(same_bits(g.span(), gradient_by_panels(x, r).span()));
                Matrix one(n, 1);
                std::copy(r.col(0).begin(), r.col(0).end(), one.data());
                Matrix column(n, 1);
                std::copy(x.col(0).begin(), x.col(0).end(), column.data());
                CHECK(panel_dot(x.col(0), r.col(0)) == gradient_by_panels(column, one)(0, 0));
            }
    }
    use_isa(best_isa());
}

TEST_CASE("scores of some rows are those of all rows") {
    Rng rng(6);
    const Matrix x = random_matrix(700, 5, rng);
    const PanelMatrix panels = PanelMatrix::copy_of(row_major(x).view());
    for (const std::size_t k : {1, 3}) {
        const Matrix w = random_matrix(5, k, rng);
        Matrix all(700, k);
        panel_scores(panels, w, all.view());
        for (const auto& [first, rows] : {std::pair<std::size_t, std::size_t>{0, 700},
                                          {0, 1},
                                          {255, 2},
                                          {256, 256},
                                          {100, 500},
                                          {699, 1},
                                          {700, 0}}) {
            Matrix some(rows, k);
            panel_scores(panels, first, w, some.view());
            for (std::size_t c = 0; c < k; ++c)
                CHECK(same_bits(some.col(c), std::as_const(all).col(c).subspan(first, rows)));
        }
    }
}

TEST_CASE("a table without columns has zero scores and no gradient") {
    const PanelMatrix none(300, 0);
    Matrix z(300, 2);
    z.fill(4);
    panel_scores(none, Matrix(0, 2), z.view());
    CHECK(same_bits(z.span(), Matrix(300, 2).span()));
    Matrix g(0, 2);
    panel_gradient(none, Matrix(300, 2), g.view());
    CHECK(g.empty());
}

TEST_CASE("scaled columns give the same scores as the table's own, up to the intercept") {
    Rng rng(3);
    Matrix x = random_matrix(500, 6, rng);
    for (double& value : x.col(1)) value = 1e6 + 20 * value;
    for (double& value : x.col(2)) value *= 1e-7;
    for (double& value : x.col(3)) value = 7;
    const double penalty = 0.002;
    for (const bool center : {true, false}) {
        const SolverColumns columns =
            SolverColumns::copy_of(row_major(x).view(), {center, 0.25, penalty});
        const Matrix v = random_matrix(6, 2, rng);
        Matrix z(500, 2), raw(500, 2);
        panel_scores(columns.panels(), v, z.view());
        partial_scores(x, columns.weights(v), raw.view());
        std::vector<double> offsets(2);
        columns.offsets(v, offsets);
        for (std::size_t c = 0; c < 2; ++c)
            for (std::size_t i = 0; i < 500; ++i)
                CHECK(z(i, c) == Approx(raw(i, c) - offsets[c]).margin(1e-8));
        // the diagonal of the Hessian is 1 wherever there is a spread
        for (std::size_t j = 0; j < 6; ++j) {
            double square = 0;
            for (std::size_t p = 0; p < columns.panels().panels(); ++p)
                for (const double value : columns.panels().panel(p).col(j))
                    square += value * value / 500;
            const double d = columns.scale()[j];
            const double diagonal = 0.25 * square + penalty * d * d;
            CHECK(diagonal == Approx(center && j == 3 ? 0 : 1).margin(1e-9));
        }
        CHECK(offsets[0] == Approx(center ? offsets[0] : 0));
    }
}

TEST_CASE("columns of any size are scaled, and what cannot be is left at 0") {
    Rng rng(4);
    for (const double size : {1e-320, 1e-300, 1e-150, 1e150, 1e300}) {
        Matrix x = random_matrix(400, 2, rng);
        for (double& value : x.col(0)) value *= size / 8;
        const SolverColumns columns = SolverColumns::copy_of(row_major(x).view(), {true, 1, 0});
        CHECK(all_finite(columns.panels().span()));
        CHECK(all_finite(columns.scale()));
        double square = 0;
        for (std::size_t p = 0; p < columns.panels().panels(); ++p)
            for (const double value : columns.panels().panel(p).col(0)) square += value * value;
        if (size > 1e-310) CHECK(square / 400 == Approx(1).epsilon(1e-9));
        if (size > 1e-310) CHECK(columns.scale()[0] > 0);
    }
    Matrix constant(300, 1);
    constant.fill(0.1);  // its mean is not exactly .1
    const SolverColumns columns = SolverColumns::copy_of(row_major(constant).view(), {true, 1, 0});
    CHECK(columns.scale()[0] == 0);
    CHECK(same_bits(columns.panels().span(), Matrix(300, 1).span()));
}
