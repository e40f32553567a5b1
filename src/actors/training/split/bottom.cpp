#include "actors/training/split/bottom.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "actors/training/halves.hpp"
#include "base/assert.hpp"
#include "base/memory.hpp"

namespace vflbus::actors::split {

using models::nn::Records;

Bottom::Bottom(const Party& party, models::nn::NetworkShape shape, Place place)
    : party_(&party),
      place_(place),
      shape_(std::move(shape)),
      network_(shape_, weight_seed(party.agreed().run.seed, place)),
      steps_(step_config(party.agreed().model), network_) {}

Bottom::Bottom(const Party& party, Place place)
    : Bottom(party, bottom_shape(party.agreed(), party.features(), party.preprocessor().image),
             place) {
    schedule_ = BatchSchedule(party.agreed(),
                              static_cast<std::uint32_t>(party.rows(TableKind::train).size()));
    rates_ = rate_config(party.agreed().model, schedule_.steps(), schedule_.batches());
}

Result<std::unique_ptr<Bottom>> Bottom::create(const Party& party, Place place) {
    const BatchSchedule batches(party.agreed(),
                                static_cast<std::uint32_t>(party.rows(TableKind::train).size()));
    const auto shape = bottom_shape(party.agreed(), party.features(), party.preprocessor().image);
    const std::uint64_t rows = batches.batch_rows(0);
    if (auto room = check_room(bytes_trained(shape, rows), rows, available_memory()); !room)
        return tl::unexpected(std::move(room.error()));
    return std::unique_ptr<Bottom>(new Bottom(party, place));
}

Result<std::unique_ptr<Bottom>> Bottom::create(Party& party, const SplitPart& part) {
    party.use(part.columns);
    std::unique_ptr<Bottom> bottom(new Bottom(party, part.bottom.shape, Place::master));
    if (auto done = bottom->network_.set_values(part.bottom.values); !done)
        return tl::unexpected(std::move(done.error()));
    return bottom;
}

const Records& Bottom::forward(std::uint64_t step) {
    batch_rows_ = schedule_.batch_rows(step);
    if (batch_rows_ == 0) {
        none_.resize(width(), 0);
        return none_;
    }
    models::nn::gather(party_->design(TableKind::train), schedule_.rows(step), batch_);
    return network_.forward(batch_, pass_of(party_->agreed().run.seed, place_, step));
}

Result<> Bottom::backward(std::uint64_t step, const Records& gradient) {
    if (gradient.width() != width() || gradient.count() != batch_rows_ || batch_rows_ == 0)
        return fail(Errc::malformed_message, "a gradient of " + std::to_string(gradient.width()) +
                                                 " x " + std::to_string(gradient.count()) +
                                                 " came where " + std::to_string(width()) + " x " +
                                                 std::to_string(batch_rows_) + " belong");
    if (!models::nn::all_finite(gradient.all()))
        return fail(Errc::malformed_message, "a gradient came with numbers that are not finite");
    network_.backward(gradient, nullptr);
    steps_.step(models::nn::rate_at(rates_, step));
    return {};
}

Result<> Bottom::take_gradient(std::uint64_t step, const models::Matrix& gradient) {
    VFLBUS_ASSERT(network_.parameters().size() == 2, "one dense layer: its matrix and its bias");
    models::nn::Parameter& weights = *network_.parameters()[0];
    models::nn::Parameter& bias = *network_.parameters()[1];
    if (gradient.rows() != features() || gradient.cols() != width())
        return fail(Errc::malformed_message,
                    "a gradient of weights came with another shape than they have");
    const std::size_t stride = models::nn::padded(weights.width);
    for (std::size_t j = 0; j < weights.columns; ++j)
        for (std::size_t k = 0; k < weights.width; ++k)
            weights.gradient[j * stride + k] = static_cast<float>(gradient(j, k));
    std::ranges::fill(bias.gradient.span(), 0.0F);
    if (!models::nn::all_finite(weights.gradient.span()))
        return fail(Errc::malformed_message, "a gradient came with numbers that are not finite");
    steps_.step(models::nn::rate_at(rates_, step));
    return {};
}

void Bottom::batch_rows(std::uint64_t step, models::Matrix& out) {
    const models::DesignView all = party_->design(TableKind::train);
    const auto rows = schedule_.rows(step);
    out.resize_uninitialized(rows.size(), all.cols);
    for (std::size_t j = 0; j < all.cols; ++j)
        for (std::size_t i = 0; i < rows.size(); ++i)
            out(i, j) = all.data[rows[i] * all.stride + j];
}

Result<> Bottom::infer(TableKind side, std::uint64_t first, std::uint64_t count,
                       Records& out) const {
    const models::DesignView all = party_->design(side);
    if (auto good = check_rows_asked(side, all.rows, first, count, width()); !good) return good;
    if (auto room = check_room(bytes_inferred(shape_, count), count, available_memory()); !room)
        return room;
    Records in;
    models::nn::gather(all, first, count, in);
    network_.infer(in, out);
    return {};
}

Result<> Bottom::restore(const NetworkState& state) {
    if (auto done = network_.set_values(state.values); !done) return done;
    return steps_.set_state(state.steps);
}

SplitPart Bottom::part(ModelHead head) const {
    SplitPart part = party_part(*party_, std::move(head), schedule_.steps());
    part.bottom = {shape_, network_.values()};
    return part;
}

SplitPart party_part(const Party& party, ModelHead head, std::uint64_t steps) {
    SplitPart part;
    static_cast<PartTable&>(part) = part_table(party);
    part.head = std::move(head);
    part.head.steps = part.head.stopped_at.value_or(steps);
    return part;
}

}  // namespace vflbus::actors::split
