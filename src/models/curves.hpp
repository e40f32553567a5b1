#pragma once
// How a score separates two classes, threshold by threshold: ROC, precision and recall, gains and
// lift, calibration, and the confusion matrix at one threshold. Each as scikit-learn 1.2 computes
// it (stored cases in tests/unit/models/test_curves.cpp).

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vflbus::models {

/// A point of a curve, and the threshold that it belongs to: rows with a score of at least
/// `threshold` are called positive.
struct CurvePoint {
    double x = 0;
    double y = 0;
    double threshold = 0;
};
using CurvePoints = std::vector<CurvePoint>;

struct Confusion {
    std::uint64_t true_positives = 0;
    std::uint64_t false_positives = 0;
    std::uint64_t false_negatives = 0;
    std::uint64_t true_negatives = 0;
};

/// The scores of n rows in falling order, those that are equal together. Made once, for all curves
/// of these rows: n log n.
class RankedScores {
  public:
    /// `y` holds 0 and 1 and has as many elements as `score`, all of which are finite.
    RankedScores(std::span<const double> y, std::span<const double> score);

    [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }
    [[nodiscard]] std::uint64_t positives() const noexcept { return positives_; }
    /// Rows of both classes are there; without, no curve has a meaning.
    [[nodiscard]] bool separable() const noexcept { return positives_ != 0 && positives_ != rows_; }

    /// x: false positive rate, y: true positive rate, from (0, 0) to (1, 1). The first threshold is
    /// one above the largest score. roc_curve(y, score, drop_intermediate=False).
    [[nodiscard]] CurvePoints roc() const;
    /// x: recall, y: precision, from the largest threshold to the smallest; the first point is
    /// (0, 1), with a threshold one above the largest score. precision_recall_curve, backwards.
    [[nodiscard]] CurvePoints precision_recall() const;
    /// x: share of all rows, y: share of the positive ones among them, from (0, 0) to (1, 1).
    /// Lift is y / x.
    [[nodiscard]] CurvePoints gains() const;
    /// The sum of (R_n - R_{n-1}) P_n: average_precision_score.
    [[nodiscard]] double average_precision() const;
    /// The largest distance between the two rates of the ROC: x is the distance, y the rate of true
    /// positives there.
    [[nodiscard]] CurvePoint ks() const;
    [[nodiscard]] Confusion confusion(double threshold) const;

  private:
    /// All rows down to one score.
    struct Rank {
        double threshold = 0;
        std::uint64_t positives = 0;
        std::uint64_t rows = 0;
    };
    std::vector<Rank> ranks_;
    std::uint64_t rows_ = 0;
    std::uint64_t positives_ = 0;
};

/// Rows whose probability lies in one of the equal parts of [0, 1].
struct CalibrationBin {
    double predicted = 0;  ///< the mean probability
    double observed = 0;   ///< the share of positive rows
    std::uint64_t rows = 0;
};
/// The bins that have rows. calibration_curve(y, probability, n_bins=bins).
std::vector<CalibrationBin> calibration(std::span<const double> y,
                                        std::span<const double> probability, std::size_t bins);

/// At most `most` of the points (2 or more), the first and the last among them, at equal distances
/// along the curve: for a plot nothing is lost by it.
CurvePoints thinned(const CurvePoints& points, std::size_t most);

}  // namespace vflbus::models
