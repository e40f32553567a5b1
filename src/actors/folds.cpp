#include "actors/folds.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "actors/model_file.hpp"
#include "actors/predictions_csv.hpp"
#include "actors/training/labels.hpp"
#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"
#include "data/split.hpp"

namespace vflbus::actors {
namespace {

/// The fewest ids that a class has, and which one it is; without classes of all of them.
struct Smallest {
    std::uint64_t ids = 0;
    std::string name;
};

Smallest smallest_of(std::span<const Hash128> ids, std::span<const std::uint32_t> classes,
                     const data::LabelCoding& coding) {
    std::map<std::uint32_t, std::uint64_t> counts;
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (i == 0 || ids[i] != ids[i - 1]) ++counts[classes.empty() ? 0 : classes[i]];
    const auto least = std::ranges::min_element(counts, {}, [](const auto& c) { return c.second; });
    Smallest out;
    if (least == counts.end()) return out;
    out.ids = least->second;
    if (!classes.empty()) out.name = coding.classes.front()[least->first];
    return out;
}

/// The name of the class is the master's own.
Failure too_many_folds(std::uint64_t folds, const Smallest& smallest) {
    const std::string key = "data.folds = " + std::to_string(folds) + " (--folds)";
    Failure failure{Errc::bad_config, {}};
    if (smallest.name.empty()) {
        failure.sentence =
            key + " is more than the " + std::to_string(smallest.ids) + " common ids: lower it";
        return failure;
    }
    failure.sentence = key + ", but class " + smallest.name + " has " +
                       std::to_string(smallest.ids) + (smallest.ids == 1 ? " row" : " rows") +
                       ", and each fold is to have one of every class: lower it, or set "
                       "data.stratify = false";
    failure.for_others = key +
                         " is more than the smallest class has rows: lower it, or set "
                         "data.stratify = false";
    return failure;
}

/// Passes everything on, with steps counted from elsewhere.
class CountedFrom final : public MasterHalf {
  public:
    CountedFrom(std::uint64_t first, std::unique_ptr<MasterHalf> half)
        : first_(first), half_(std::move(half)) {}

    Task<> begin(std::uint64_t first) override { return half_->begin(first); }
    std::uint64_t steps() const override { return first_ + half_->steps(); }
    bool done(std::uint64_t step) const override { return half_->done(own(step)); }
    Task<StepResult> step(std::uint64_t step) override { return half_->step(own(step)); }
    Task<models::Matrix> scores(TableKind side, std::uint64_t step) override {
        return half_->scores(side, own(step));
    }
    std::span<const models::Matrix> shares() const override { return half_->shares(); }
    Task<std::vector<models::Matrix>> scores_without(TableKind side, std::uint64_t step,
                                                     const models::Matrix& scores) override {
        return half_->scores_without(side, own(step), scores);
    }
    models::Matrix predict(const models::Matrix& scores) const override {
        return half_->predict(scores);
    }
    TrainingPlace place(std::uint64_t step) const override { return half_->place(own(step)); }
    Baseline* baseline() override { return half_->baseline(); }
    bool converges() const override { return half_->converges(); }
    std::optional<Convergence> convergence() const override { return half_->convergence(); }
    StateFormat format() const override { return half_->format(); }
    StateFormat part_format() const override { return half_->part_format(); }
    std::string save() const override { return half_->save(); }
    Result<> restore(std::uint64_t step, std::string_view state) override {
        return half_->restore(own(step), state);
    }
    Result<> restored(std::uint64_t step, std::size_t rank, Body reply) override {
        return half_->restored(own(step), rank, reply);
    }
    Result<std::string> part(ModelHead head) const override { return half_->part(std::move(head)); }
    std::uint64_t features() const override { return half_->features(); }
    std::uint64_t outputs() const override { return half_->outputs(); }
    const data::LabelCoding& coding() const override { return half_->coding(); }

  private:
    [[nodiscard]] std::uint64_t own(std::uint64_t step) const {
        VFLBUS_ASSERT(step >= first_, "a fit has no steps before its first one");
        return step - first_;
    }

    std::uint64_t first_;
    std::unique_ptr<MasterHalf> half_;
};

}  // namespace

Result<Folds> Folds::create(const Party& own) {
    Folds folds;
    const config::AgreedHalf& agreed = own.agreed();
    folds.count_ = agreed.data.folds;
    if (!folds.any()) return folds;
    const data::Aligned& common = own.common(TableKind::train);
    Classes classes;
    if (keeps_shares(agreed)) {
        auto known = classes_of(own);
        if (!known) return tl::unexpected(std::move(known.error()));
        classes = std::move(*known);
    }
    const Smallest smallest = smallest_of(common.ids, classes.of_rows, classes.coding);
    if (smallest.ids < folds.count_) return tl::unexpected(too_many_folds(folds.count_, smallest));
    folds.fold_of_ = data::folds_of(common.ids, classes.of_rows, agreed.run.seed, folds.count_);
    return folds;
}

std::string Folds::prefix() const {
    return last() ? std::string() : "fold " + std::to_string(fit_ + 1) + " ";
}

Result<> Folds::split(Party& own) const {
    VFLBUS_ASSERT(any(), "only a cross-validation has folds");
    std::vector<std::uint32_t> test;
    for (std::size_t i = 0; i < fold_of_.size(); ++i)
        if (fold_of_[i] == fit_) test.push_back(static_cast<std::uint32_t>(i));
    return split_off(own, test);
}

void Folds::finish(observe::FoldReport result, const models::Matrix& predictions,
                   std::uint64_t step) {
    VFLBUS_ASSERT(!last(), "the last fit has no fold");
    if (predictions_.rows() == 0)
        predictions_ = models::Matrix(fold_of_.size(), predictions.cols());
    std::size_t from = 0;
    for (std::size_t i = 0; i < fold_of_.size(); ++i) {
        if (fold_of_[i] != fit_) continue;
        for (std::size_t c = 0; c < predictions.cols(); ++c)
            predictions_(i, c) = predictions(from, c);
        ++from;
    }
    VFLBUS_ASSERT(from == predictions.rows(), "a fold has a prediction for each of its rows");
    results_.push_back(std::move(result));
    ++fit_;
    first_ = step;
}

std::string Folds::csv(const Party& own, const data::LabelCoding& coding,
                       const std::string& id_column) const {
    PredictionsCsv csv(coding);
    csv.head(id_column, "fold");
    const std::vector<std::uint32_t>& rows = own.common(TableKind::train).rows;
    const auto exposure = exposure_of(*own.table(TableKind::train), coding, rows);
    VFLBUS_ASSERT(exposure.has_value(), "the labels of the folds were made with these exposures");
    const models::Matrix written = models::in_label_units(*exposure, predictions_);
    for (const std::uint32_t i : file_order(rows))
        csv.row(own.table(TableKind::train)->ids[rows[i]], std::to_string(fold_of_[i] + 1), written,
                i);
    return csv.text();
}

FoldsCommit Folds::save() const {
    FoldsCommit out;
    out.fit = fit_;
    out.first = first_;
    out.results = results_;
    out.outputs = predictions_.cols();
    out.predictions.assign(predictions_.span().begin(), predictions_.span().end());
    return out;
}

void Folds::restore(const std::optional<FoldsCommit>& saved) {
    fit_ = first_ = 0;
    results_.clear();
    predictions_ = {};
    if (!saved) return;
    fit_ = saved->fit;
    first_ = saved->first;
    results_ = saved->results;
    if (saved->outputs == 0 || VFLBUS_PLANTED(folds_not_restored)) return;
    predictions_ = models::Matrix(fold_of_.size(), saved->outputs);
    if (predictions_.span().size() == saved->predictions.size())
        std::ranges::copy(saved->predictions, predictions_.span().begin());
}

std::unique_ptr<MasterHalf> counted_from(std::uint64_t first, std::unique_ptr<MasterHalf> half) {
    return std::make_unique<CountedFrom>(first, std::move(half));
}

}  // namespace vflbus::actors
