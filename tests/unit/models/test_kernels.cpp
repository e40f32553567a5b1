// The summation order of kernels.hpp, checked bit for bit against loops that spell it out.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "models/kernels.hpp"
#include "support.hpp"

using namespace vflbus::models;
using namespace support;

namespace {

Matrix scores_spelled_out(ConstMatrixView X, ConstMatrixView W) {
    Matrix Z(X.rows, W.cols);
    for (std::size_t i = 0; i < X.rows; ++i)
        for (std::size_t c = 0; c < W.cols; ++c) {
            double sum = 0;
            for (std::size_t j = 0; j < X.cols; ++j) sum += X(i, j) * W(j, c);
            Z(i, c) = sum;
        }
    return Z;
}

double lanes_spelled_out(const std::vector<double>& terms) {
    double s[8] = {};
    for (std::size_t i = 0; i < terms.size(); ++i) s[i % 8] += terms[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

Matrix gradient_spelled_out(ConstMatrixView X, ConstMatrixView R) {
    Matrix G(X.cols, R.cols);
    for (std::size_t j = 0; j < X.cols; ++j)
        for (std::size_t c = 0; c < R.cols; ++c) {
            std::vector<double> terms(X.rows);
            for (std::size_t i = 0; i < X.rows; ++i) terms[i] = X(i, j) * R(i, c);
            G(j, c) = lanes_spelled_out(terms);
        }
    return G;
}

bool same_bits(ConstMatrixView a, ConstMatrixView b) {
    return a.rows == b.rows && a.cols == b.cols &&
           (a.size() == 0 || std::memcmp(a.data, b.data, a.size() * sizeof(double)) == 0);
}

struct EveryIsa {
    ~EveryIsa() { use_isa(best_isa()); }
    std::vector<Isa> all{Isa::baseline, Isa::avx2, Isa::avx512};
};

}  // namespace

TEST_CASE("scores and gradients have the stated order on every instruction set") {
    const EveryIsa isas;
    Rng rng(1);
    for (const std::size_t b : {1, 2, 3, 7, 8, 9, 15, 16, 31, 64, 65, 100, 256, 259})
        for (const std::size_t d : {1, 2, 5, 8, 13, 30})
            for (const std::size_t k : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 19}) {
                const Matrix X = random_matrix(b, d, rng);
                const Matrix W = random_matrix(d, k, rng);
                const Matrix R = random_matrix(b, k, rng);
                const Matrix Z = scores_spelled_out(X, W);
                const Matrix G = gradient_spelled_out(X, R);
                for (const Isa isa : isas.all) {
                    use_isa(isa);
                    Matrix got_z(b, k);
                    Matrix got_g(d, k);
                    got_z.fill(7);
                    got_g.fill(7);
                    partial_scores(X, W, got_z.view());
                    gradient(X, R, got_g.view());
                    if (!same_bits(got_z, Z) || !same_bits(got_g, G))
                        FAIL(name_of(isa)
                             << " differs at b = " << b << ", d = " << d << ", k = " << k);
                }
            }
    SUCCEED();
}

TEST_CASE("rows times their weights are the rounded products, whatever the vectors' width") {
    const EveryIsa isas;
    Rng rng(5);
    for (const std::size_t b : {1, 7, 8, 37, 256})
        for (const std::size_t d : {1, 3, 11}) {
            const Matrix X = random_matrix(b, d, rng);
            const Matrix w = random_matrix(b, 1, rng);
            const Matrix before = random_matrix(b, d, rng);
            Matrix product(b, d);
            Matrix sum(b, d);
            for (std::size_t c = 0; c < d; ++c)
                for (std::size_t i = 0; i < b; ++i) {
                    volatile double rounded = w(i, 0) * X(i, c);
                    product(i, c) = rounded;
                    sum(i, c) = before(i, c) + rounded;
                }
            for (const Isa isa : isas.all) {
                use_isa(isa);
                CAPTURE(name_of(isa), b, d);
                Matrix got(b, d);
                weigh_rows(w.col(0), X, got.view());
                CHECK(same_bits(got, product));
                got = before;
                add_weighed_rows(w.col(0), X, got.view());
                CHECK(same_bits(got, sum));
            }
        }
}

TEST_CASE("alignment does not matter") {
    Rng rng(2);
    const std::size_t b = 37, d = 6, k = 3;
    const Matrix X = random_matrix(b, d, rng);
    const Matrix W = random_matrix(d, k, rng);
    const Matrix R = random_matrix(b, k, rng);
    const Matrix Z = scores_spelled_out(X, W);
    const Matrix G = gradient_spelled_out(X, R);
    for (std::size_t shift = 0; shift < 8; ++shift) {
        std::vector<double> memory(shift + X.size() + R.size());
        std::copy_n(X.data(), X.size(), memory.data() + shift);
        std::copy_n(R.data(), R.size(), memory.data() + shift + X.size());
        const ConstMatrixView x{memory.data() + shift, b, d};
        const ConstMatrixView r{memory.data() + shift + X.size(), b, k};
        Matrix z(b, k), g(d, k);
        partial_scores(x, W, z.view());
        gradient(x, r, g.view());
        CHECK(same_bits(z, Z));
        CHECK(same_bits(g, G));
    }
}

TEST_CASE("a row's score does not depend on the batch it is in") {
    Rng rng(3);
    const Design design = row_major(random_matrix(300, 17, rng));
    const Matrix W = random_matrix(17, 4, rng);
    Matrix all(300, 4);
    design_scores(design.view(), W, all.view());
    for (std::uint64_t trial = 0; trial < 20; ++trial) {
        const std::vector<RowIndex> rows = batches(300, 1 + rng.below(200), 3, trial).front();
        Matrix batch;
        gather_batch(design.view(), rows, batch);
        Matrix z(rows.size(), 4), direct(rows.size(), 4), expected;
        partial_scores(batch, W, z.view());
        design_scores(design.view(), rows, W, direct.view());
        gather_rows(all, rows, expected);
        CHECK(same_bits(z, expected));
        CHECK(same_bits(direct, expected));
    }
}

TEST_CASE("gather transposes rows, repeated and strided ones too") {
    const std::vector<double> table = {0, 1, 2, -1, 10, 11, 12, -1, 20, 21, 22, -1};
    const DesignView design(table.data(), 3, 3, 4);
    const EveryIsa isas;
    for (const Isa isa : isas.all) {
        use_isa(isa);
        std::vector<RowIndex> rows;
        for (RowIndex i = 0; i < 21; ++i) rows.push_back((i * 2) % 3);
        Matrix batch;
        gather_batch(design, rows, batch);
        REQUIRE(batch.rows() == 21);
        REQUIRE(batch.cols() == 3);
        for (std::size_t i = 0; i < rows.size(); ++i)
            for (std::size_t j = 0; j < 3; ++j) CHECK(batch(i, j) == design(rows[i], j));
    }
}

TEST_CASE("no features give zero scores, no rows a zero gradient") {
    Matrix z(5, 2);
    z.fill(3);
    partial_scores(Matrix(5, 0), Matrix(0, 2), z.view());
    CHECK(same_bits(z, Matrix(5, 2)));
    Matrix g(3, 2);
    g.fill(3);
    gradient(Matrix(0, 3), Matrix(0, 2), g.view());
    CHECK(same_bits(g, Matrix(3, 2)));
    Matrix whole(4, 2);
    const double none = 0;
    design_scores(DesignView(&none, 4, 0), Matrix(0, 2), whole.view());
    CHECK(same_bits(whole, Matrix(4, 2)));
}

TEST_CASE("lane sums and column sums") {
    const EveryIsa isas;
    Rng rng(4);
    for (const std::size_t n : {0, 1, 7, 8, 9, 100}) {
        const Matrix m = random_matrix(n, 2, rng);
        for (const Isa isa : isas.all) {
            use_isa(isa);
            std::vector<double> sums(2);
            column_sums(m, sums);
            for (std::size_t c = 0; c < 2; ++c)
                CHECK(sums[c] == lanes_spelled_out({m.col(c).begin(), m.col(c).end()}));
        }
    }
}

TEST_CASE("matrices are aligned, copy deeply, move, and keep their memory") {
    Rng rng(5);
    Matrix a = random_matrix(9, 3, rng);
    CHECK(reinterpret_cast<std::uintptr_t>(a.data()) % 64 == 0);
    Matrix b = a;
    b(0, 0) += 1;
    CHECK(a(0, 0) != b(0, 0));
    const double* memory = b.data();
    b.resize(3, 3);
    CHECK(b.data() == memory);
    CHECK(b(2, 2) == 0);
    const Matrix c = std::move(b);
    CHECK(c.data() == memory);
    CHECK(b.rows() == 0);  // NOLINT: moved from is empty, by contract
    CHECK(Matrix().empty());
    CHECK(Matrix(Matrix()).empty());
    CHECK(all_finite(a.span()));
    a(4, 1) = HUGE_VAL;
    CHECK_FALSE(all_finite(a.span()));
    a(4, 1) = std::nan("");
    CHECK_FALSE(all_finite(a.span()));
    Matrix sum(2, 1);
    sum(1, 0) = 2;
    Matrix term(2, 1);
    term(1, 0) = 3;
    add(sum.view(), term);
    CHECK(sum(1, 0) == 5);
}
