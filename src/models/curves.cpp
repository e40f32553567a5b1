#include "models/curves.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/assert.hpp"

namespace vflbus::models {
namespace {

double share(std::uint64_t part, std::uint64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

RankedScores::RankedScores(std::span<const double> y, std::span<const double> score) {
    VFLBUS_ASSERT(y.size() == score.size(), "each row has a label and a score");
    std::vector<std::pair<double, double>> rows;
    rows.reserve(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) rows.emplace_back(-score[i], y[i]);
    std::ranges::sort(rows, {}, &std::pair<double, double>::first);
    for (const auto& [falling, label] : rows) {
        ++rows_;
        positives_ += label > 0.5;
        if (ranks_.empty() || ranks_.back().threshold != -falling)
            ranks_.push_back({-falling, 0, 0});
        ranks_.back().positives = positives_;
        ranks_.back().rows = rows_;
    }
}

CurvePoints RankedScores::roc() const {
    CurvePoints out;
    if (!separable()) return out;
    out.reserve(ranks_.size() + 1);
    out.push_back({0, 0, ranks_.front().threshold + 1});
    for (const Rank& rank : ranks_)
        out.push_back({share(rank.rows - rank.positives, rows_ - positives_),
                       share(rank.positives, positives_), rank.threshold});
    return out;
}

CurvePoints RankedScores::precision_recall() const {
    CurvePoints out;
    if (!separable()) return out;
    out.reserve(ranks_.size() + 1);
    out.push_back({0, 1, ranks_.front().threshold + 1});
    for (const Rank& rank : ranks_)
        out.push_back(
            {share(rank.positives, positives_), share(rank.positives, rank.rows), rank.threshold});
    return out;
}

CurvePoints RankedScores::gains() const {
    CurvePoints out;
    if (!separable()) return out;
    out.reserve(ranks_.size() + 1);
    out.push_back({0, 0, ranks_.front().threshold + 1});
    for (const Rank& rank : ranks_)
        out.push_back({share(rank.rows, rows_), share(rank.positives, positives_), rank.threshold});
    return out;
}

double RankedScores::average_precision() const {
    if (!separable()) return std::nan("");
    double sum = 0;
    std::uint64_t before = 0;
    for (const Rank& rank : ranks_) {
        sum += share(rank.positives - before, positives_) * share(rank.positives, rank.rows);
        before = rank.positives;
    }
    return sum;
}

CurvePoint RankedScores::ks() const {
    CurvePoint best{std::nan(""), std::nan(""), std::nan("")};
    if (!separable()) return best;
    best = {0, 0, ranks_.front().threshold + 1};
    for (const Rank& rank : ranks_) {
        const double positive = share(rank.positives, positives_);
        const double distance =
            std::fabs(positive - share(rank.rows - rank.positives, rows_ - positives_));
        if (distance > best.x) best = {distance, positive, rank.threshold};
    }
    return best;
}

Confusion RankedScores::confusion(double threshold) const {
    Confusion out;
    // the last rank that is not below the threshold
    const auto below = std::ranges::partition_point(
        ranks_, [&](const Rank& rank) { return rank.threshold >= threshold; });
    if (below != ranks_.begin()) {
        const Rank& last = *(below - 1);
        out.true_positives = last.positives;
        out.false_positives = last.rows - last.positives;
    }
    out.false_negatives = positives_ - out.true_positives;
    out.true_negatives = rows_ - positives_ - out.false_positives;
    return out;
}

std::vector<CalibrationBin> calibration(std::span<const double> y,
                                        std::span<const double> probability, std::size_t bins) {
    VFLBUS_ASSERT(y.size() == probability.size(), "each row has a label and a probability");
    struct Sum {
        double predicted = 0;
        double positive = 0;
        std::uint64_t rows = 0;
    };
    // a probability that is a border belongs to the bin below it
    std::vector<double> borders;
    for (std::size_t b = 1; b < bins; ++b)
        borders.push_back(static_cast<double>(b) / static_cast<double>(bins));
    std::vector<Sum> sums(bins);
    for (std::size_t i = 0; i < y.size(); ++i) {
        const auto at = std::ranges::lower_bound(borders, probability[i]) - borders.begin();
        Sum& sum = sums[static_cast<std::size_t>(at)];
        sum.predicted += probability[i];
        sum.positive += y[i];
        ++sum.rows;
    }
    std::vector<CalibrationBin> out;
    for (const Sum& sum : sums)
        if (sum.rows != 0)
            out.push_back({sum.predicted / static_cast<double>(sum.rows),
                           sum.positive / static_cast<double>(sum.rows), sum.rows});
    return out;
}

CurvePoints thinned(const CurvePoints& points, std::size_t most) {
    VFLBUS_ASSERT(most >= 2, "a curve has two ends");
    if (points.size() <= most) return points;
    const auto step = [&](std::size_t i) {
        return std::fabs(points[i].x - points[i - 1].x) + std::fabs(points[i].y - points[i - 1].y);
    };
    double length = 0;
    for (std::size_t i = 1; i < points.size(); ++i) length += step(i);
    CurvePoints out{points.front()};
    double gone = 0;
    for (std::size_t i = 1; i + 1 < points.size(); ++i) {
        gone += step(i);
        const double due = length * static_cast<double>(out.size()) / static_cast<double>(most - 1);
        if (gone >= due && out.size() + 1 < most) out.push_back(points[i]);
    }
    out.push_back(points.back());
    return out;
}

}  // namespace vflbus::models
