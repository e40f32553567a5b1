#include <chrono>
#include <cstddef>
#include <deque>
#include <utility>

#include "actors/train_master.hpp"

namespace vflbus::actors {
namespace {

/// Rows that the comparison takes in between two looks at the bus.
constexpr std::size_t slice_rows = 16384;

}  // namespace

using observe::log::Level;

// -- evaluating ----------------------------------------------------------------------

std::deque<TableKind> TrainMaster::due_sides() const {
    const bool last = step_ == steps_;
    const auto due = [&](std::uint64_t every) { return every != 0 && step_ % every == 0; };
    std::deque<TableKind> sides;
    if (last || due(model().report_train_metrics_iteration)) sides.push_back(TableKind::train);
    if (report_.rows_test != 0 && (last || due(model().report_test_metrics_iteration)))
        sides.push_back(TableKind::test);
    return sides;
}

void TrainMaster::next_side() {
    if (sides_.empty()) {
        if (step_ == steps_) return on_evaluated();
        enter(Phase::training);
        return next_step();
    }
    enter(Phase::evaluating);
    evaluation_.begin(sides_.front(), *own_);
    next_part();
}

void TrainMaster::next_part() {
    send_all(message::evaluate, encode(evaluation_.request()));
    if (over()) return;
    if (auto done = evaluation_.start(*own_, *protocol_); !done) fail_run(done.error());
}

void TrainMaster::on_part() {
    const auto more = evaluation_.take(*protocol_);
    if (!more) return fail_run(more.error());
    if (*more) return next_part();
    const TableKind kind = evaluation_.kind();
    sides_.pop_front();
    if (!models::all_finite(evaluation_.scores().span()))
        return diverged({Errc::diverged, "scores are no longer finite"});
    const auto& labels = kind == TableKind::train ? head_->labels() : test_labels_;
    report_metrics(kind, models::metrics_for(labels, head_->predict(evaluation_.scores())));
    next_side();
}

void TrainMaster::report_metrics(TableKind kind, const models::Metrics& metrics) {
    const bool train = kind == TableKind::train;
    (train ? report_.train : report_.test) = metrics.entries();
    observe::HistoryEntry entry;
    entry.step = step_;
    entry.epoch = own_->schedule().epoch_of(step_ - 1) + 1;
    entry.split = train ? "train" : "test";
    entry.loss = metrics.get("loss");
    entry.metrics = metrics.entries();
    report_.history.push_back(std::move(entry));
    tell(work_.loss, (train ? "train " : "test ") + metrics.headline(), metrics.headline_value());
}

void TrainMaster::on_evaluated() {
    report_.train_seconds = std::chrono::duration<double>(train_ended_ - train_began_).count();
    if (stopping_) {
        enter(Phase::finishing);
        return stop_here();
    }
    if (!alone_) return finish();
    alone_step_ = 0;
    enter(Phase::comparing);
}

// -- comparing -----------------------------------------------------------------------

void TrainMaster::on_slice() {
    // without features the constant predictor stays where the labels put it
    if (own_->features() != 0) {
        step_alone();
        if (alone_step_ < steps_) return slice_soon();
    }
    report_alone();
    finish();
}

void TrainMaster::step_alone() {
    std::size_t rows = 0;
    while (alone_step_ < steps_ && rows < slice_rows) {
        const auto batch = own_->schedule().rows(alone_step_++);
        rows += batch.size();
        if (const auto loss = alone_->step(batch); !loss) {
            log(Level::warn, "the label holder alone diverged: " + loss.error().sentence);
            alone_step_ = steps_;
        }
    }
}

void TrainMaster::report_alone() {
    const auto design = own_->design(TableKind::train);
    const auto train = models::metrics_for(head_->labels(), alone_->predict(design));
    report_.label_holder_alone_train = train.entries();
    if (report_.rows_test != 0) {
        const auto test =
            models::metrics_for(test_labels_, alone_->predict(own_->design(TableKind::test)));
        report_.label_holder_alone_test = test.entries();
    }
}

}  // namespace vflbus::actors
