#include "models/panels.hpp"

#include <algorithm>
#include <vector>

#include "base/assert.hpp"
#include "models/kernel_table.hpp"
#include "models/kernels.hpp"

namespace vflbus::models {

PanelMatrix::PanelMatrix(std::size_t rows, std::size_t cols)
    : owned_(rows, cols), rows_(rows), cols_(cols) {}

PanelMatrix PanelMatrix::copy_of(DesignView design) {
    PanelMatrix out;
    out.owned_.resize_uninitialized(design.rows, design.cols);
    out.rows_ = design.rows;
    out.cols_ = design.cols;
    std::vector<const double*> from(panel_rows);
    for (std::size_t p = 0; p < out.panels(); ++p) {
        const MatrixView to = out.panel(p);
        for (std::size_t i = 0; i < to.rows; ++i)
            from[i] = design.data + (first_row(p) + i) * design.stride;
        kernels().gather(from.data(), to.rows, to.cols, to.data);
    }
    return out;
}

PanelMatrix PanelMatrix::from_rows(std::span<double> row_major, std::size_t rows,
                                   std::size_t cols) {
    VFLBUS_ASSERT(row_major.size() == rows * cols, "a row-major table has rows * cols numbers");
    PanelMatrix out;
    out.borrowed_ = row_major.data();
    out.rows_ = rows;
    out.cols_ = cols;
    Matrix scratch;
    std::vector<const double*> from(panel_rows);
    for (std::size_t p = 0; p < out.panels(); ++p) {
        const MatrixView panel = out.panel(p);
        scratch.resize_uninitialized(panel.rows, panel.cols);
        std::copy_n(panel.data, panel.size(), scratch.data());
        for (std::size_t i = 0; i < panel.rows; ++i) from[i] = scratch.data() + i * cols;
        kernels().gather(from.data(), panel.rows, panel.cols, panel.data);
    }
    return out;
}

std::span<const double> rows_of_column(ConstMatrixView m, std::size_t c, std::size_t first,
                                       std::size_t rows) noexcept {
    return m.col(c).subspan(first, rows);
}

void panel_scores(const PanelMatrix& X, ConstMatrixView W, MatrixView Z) {
    VFLBUS_ASSERT(Z.rows == X.rows(), "scores of all rows");
    panel_scores(X, 0, W, Z);
}

void panel_scores(const PanelMatrix& X, std::size_t first, ConstMatrixView W, MatrixView Z) {
    VFLBUS_ASSERT(X.cols() == W.rows && first + Z.rows <= X.rows() && Z.cols == W.cols,
                  "scores have the shapes n x d, d x k, n x k");
    const KernelTable& table = kernels();
    Matrix scores;
    for (std::size_t done = 0; done < Z.rows;) {
        const ConstMatrixView panel = X.panel((first + done) / panel_rows);
        const std::size_t skipped = (first + done) % panel_rows;
        const std::size_t rows = std::min(panel.rows - skipped, Z.rows - done);
        const bool in_place = W.cols == 1 && rows == panel.rows;
        if (!in_place) scores.resize_uninitialized(panel.rows, W.cols);
        table.scores(panel.data, panel.rows, panel.cols, W.data, W.cols,
                     in_place ? Z.data + done : scores.data());
        for (std::size_t c = 0; !in_place && c < W.cols; ++c)
            std::ranges::copy(scores.col(c).subspan(skipped, rows),
                              Z.col(c).begin() + static_cast<std::ptrdiff_t>(done));
        done += rows;
    }
}

void panel_gradient(const PanelMatrix& X, ConstMatrixView R, MatrixView G) {
    VFLBUS_ASSERT(X.rows() == R.rows && G.rows == X.cols() && G.cols == R.cols,
                  "a gradient has the shapes n x d, n x k, d x k");
    const KernelTable& table = kernels();
    std::ranges::fill(G.span(), 0.0);
    if (G.size() == 0) return;
    Matrix part(G.rows, G.cols);
    Matrix residual;
    for (std::size_t p = 0; p < X.panels(); ++p) {
        const ConstMatrixView panel = X.panel(p);
        const std::size_t first = PanelMatrix::first_row(p);
        const double* r = R.data + first;
        if (R.cols > 1) {
            residual.resize_uninitialized(panel.rows, R.cols);
            for (std::size_t c = 0; c < R.cols; ++c)
                std::ranges::copy(rows_of_column(R, c, first, panel.rows), residual.col(c).begin());
            r = residual.data();
        }
        table.gradient(panel.data, panel.rows, panel.cols, r, R.cols, part.data());
        add(G, part);
    }
}

double panel_dot(std::span<const double> a, std::span<const double> b) noexcept {
    VFLBUS_ASSERT(a.size() == b.size(), "an inner product is of vectors of one length");
    const KernelTable& table = kernels();
    double sum = 0;
    for (std::size_t first = 0; first < a.size(); first += panel_rows) {
        const std::size_t rows = std::min(panel_rows, a.size() - first);
        double part = 0;
        table.gradient(a.data() + first, rows, 1, b.data() + first, 1, &part);
        sum += part;
    }
    return sum;
}

}  // namespace vflbus::models
