// Metrics in the course of a training.

#include <algorithm>
#include <utility>
#include <vector>

#include "actors/programs.hpp"
#include "actors/run/commits.hpp"
#include "actors/training/algorithm.hpp"
#include "actors/verdict.hpp"
#include "base/text.hpp"
#include "models/metrics.hpp"

namespace vflbus::actors {
namespace {

/// The sides whose metrics are due after `step` steps.
std::vector<TableKind> sides_due(const Run& run, const MasterHalf& model, std::uint64_t step) {
    const config::ModelConfig& config = run.config().model;
    const bool last = model.done(step);
    const auto due = [&](std::uint64_t every) { return every != 0 && step % every == 0; };
    std::vector<TableKind> sides;
    if (last || due(config.report_train_metrics_iteration)) sides.push_back(TableKind::train);
    if (run.report().rows_test != 0 &&
        (last || model.looks_after(step) || due(config.report_test_metrics_iteration)))
        sides.push_back(TableKind::test);
    return sides;
}

Result<> check_finite(const models::Matrix& scores, const config::AgreedHalf& agreed) {
    if (models::all_finite(scores.span())) return {};
    Failure failure{Errc::diverged, "scores are no longer finite"};
    failure.hint = divergence_hint(agreed);
    return tl::unexpected(std::move(failure));
}

void note_metrics(Run& run, const MasterHalf& model, const std::string& prefix, TableKind side,
                  std::uint64_t step, const models::Metrics& metrics) {
    const bool train = side == TableKind::train;
    observe::RunReport& report = run.results();
    (train ? report.train : report.test) = metrics.entries();
    observe::HistoryEntry entry;
    entry.step = step;
    entry.epoch = model.place(step).epoch;
    entry.split = prefix + (train ? "train" : "test");
    entry.loss = metrics.get("loss");
    entry.metrics = metrics.entries();
    report.history.push_back(std::move(entry));
    observe::ProgressState state = progress_of(model, step, run.commits().loss());
    state.report = true;
    state.metric_name = prefix + (train ? "train " : "test ") + metrics.headline();
    state.metric = metrics.headline_value();
    run.report_metrics(state, report.history.back());
}

/// What the metrics of the rows that the model is judged by come to without each party.
Task<> note_worth(Run& run, MasterHalf& model, const models::Labels& labels, TableKind side,
                  std::uint64_t step, const models::Matrix& scores) {
    const std::vector<models::Matrix> without = co_await model.scores_without(side, step, scores);
    auto& parties = run.results().parties;
    for (auto& party : parties) party.metrics_without.clear();
    for (std::size_t i = 0; i < without.size() && i < parties.size(); ++i) {
        const models::Metrics metrics = models::metrics_for(labels, model.predict(without[i]));
        parties[i].metrics_without = metrics.entries();
    }
}

}  // namespace

observe::ProgressState progress_of(const MasterHalf& model, std::uint64_t step, double loss) {
    observe::ProgressState state;
    const TrainingPlace next = model.place(step + 1);
    state.epochs = next.epochs;
    state.epoch = std::min(next.epoch, next.epochs);
    state.step = step;
    state.steps = model.converges() ? 0 : model.steps();
    if (model.knows_loss()) state.loss = loss;
    return state;
}

void note_loss(Run& run, const MasterHalf& model, const std::string& prefix, std::uint64_t step,
               double loss) {
    const std::vector<TableKind> sides = sides_due(run, model, step);
    if (std::ranges::find(sides, TableKind::train) != sides.end()) return;
    observe::HistoryEntry entry;
    entry.step = step;
    entry.epoch = model.place(step).epoch;
    entry.split = prefix + "train";
    entry.loss = loss;
    run.results().history.push_back(std::move(entry));
}

Task<> evaluate(Run& run, MasterHalf& model, const Labels& labels, std::uint64_t step,
                Evaluated& last) {
    const std::vector<TableKind> sides = sides_due(run, model, step);
    for (const TableKind side : sides) {
        run.enter(Phase::evaluating);
        const models::Matrix scores = co_await model.scores(side, step);
        co_await check_finite(scores, run.config());
        const bool train = side == TableKind::train;
        const models::Labels& judged_by = train ? labels.train : labels.test;
        models::Matrix predictions = model.predict(scores);
        const models::Metrics metrics = models::metrics_for(judged_by, predictions);
        note_metrics(run, model, last.prefix, side, step, metrics);
        if (!model.done(step)) continue;
        if (train) co_await check_not_diverged(run.config(), labels, metrics.get("loss"));
        (train ? last.train : last.test) = std::move(predictions);
        if (side == sides.back()) co_await note_worth(run, model, judged_by, side, step, scores);
    }
    if (!sides.empty() && !model.done(step)) run.enter(Phase::training);
}

}  // namespace vflbus::actors
