#pragma once
// The two products of a training step, in a summation order that is part of their contract:
// the result depends on the values alone, not on alignment, vector width, compiler or machine.
//
//   scores:    Z(i, c) = ((x_i0 w_0c + x_i1 w_1c) + x_i2 w_2c) + ...   features in ascending order,
//              starting from +0. So a row's score does not depend on the batch it is in.
//   gradient:  G(j, c) = eight sums over the rows i = l mod 8 (l = 0..7), each in ascending order
//   and
//              starting from +0, added as ((s0+s4)+(s2+s6)) + ((s1+s5)+(s3+s7)).
//
// Every product is rounded before it is added (no fused multiply-add). The widest vector unit of
// the machine (SSE2, AVX2, AVX-512) is chosen at run time, which the contract makes invisible.

#include "models/matrix.hpp"

namespace vflbus::models {

/// Z = X W. X: b x d, W: d x k, Z: b x k (written, not added to). d = 0 gives zeros.
void partial_scores(ConstMatrixView X, ConstMatrixView W, MatrixView Z);

/// G = X' R. X: b x d, R: b x k, G: d x k (written).
void gradient(ConstMatrixView X, ConstMatrixView R, MatrixView G);

/// Scores of whole designs: Z = D W, bit for bit partial_scores of the same rows. D: n x d
/// row-major, W: d x k, Z: n x k (written). Needs scratch for 256 rows.
void design_scores(DesignView design, ConstMatrixView W, MatrixView Z);

/// Scores of chosen rows: Z(i, .) = D(rows[i], .) W. Z: rows.size() x k (written).
void design_scores(DesignView design, std::span<const RowIndex> rows, ConstMatrixView W,
                   MatrixView Z);

/// out = diag(w) X, and out = out + diag(w) X: each row times its weight, every product rounded. X
/// and out: b x d, w: b.
void weigh_rows(std::span<const double> w, ConstMatrixView X, MatrixView out) noexcept;
void add_weighed_rows(std::span<const double> w, ConstMatrixView X, MatrixView out) noexcept;

/// Sum of all values in the gradient's order (eight lanes, as stated above).
double lane_sum(std::span<const double> values) noexcept;

/// Sums of the columns: out[c] = lane_sum(R.col(c)).
void column_sums(ConstMatrixView R, std::span<double> out) noexcept;

// -- for tests and benchmarks ---------------------------------------------------
enum class Isa { baseline, avx2, avx512 };
Isa best_isa() noexcept;  ///< the widest that this machine and this build have
const char* name_of(Isa isa) noexcept;
/// Uses `isa` (or the widest below it) from now on, in this process. Results do not change.
void use_isa(Isa isa) noexcept;

}  // namespace vflbus::models
