#pragma once
// One party's bottom network: its weights, the optimizer that steps them, and the batches that all
// parties take in the same order. Members have one; so has a master with features of its own.

#include <cstdint>
#include <memory>

#include "actors/party.hpp"
#include "actors/training/schedule.hpp"
#include "actors/training/split/chance.hpp"
#include "actors/training/split/part.hpp"
#include "actors/training/split/shape.hpp"
#include "actors/training/split/state.hpp"
#include "base/errc.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

class Bottom {
  public:
    /// For a training on the designs of `party` (built), which outlives this. Error: too_large for
    /// a network that this machine has no room for.
    static Result<std::unique_ptr<Bottom>> create(const Party& party, Place place);
    /// For a prediction: the network of a stored part, whose columns `party` uses from here on.
    static Result<std::unique_ptr<Bottom>> create(Party& party, const SplitPart& part);

    // -- training -------------------------------------------------------------------
    /// The numbers of batch `step`, or of no records after the last step. Valid until the next
    /// call.
    const models::nn::Records& forward(std::uint64_t step);
    /// One optimizer step with the gradient of the loss by what `forward(step)` gave. Errors:
    /// malformed_message when the shape is another one or a number is not finite.
    Result<> backward(std::uint64_t step, const models::nn::Records& gradient);
    /// The same with the gradient of the weights themselves (features x numbers of a record), where
    /// the network is one dense layer, whose bias stays zero.
    Result<> take_gradient(std::uint64_t step, const models::Matrix& gradient);
    /// The rows of batch `step` as they enter the network (rows x features). `step` < all steps.
    void batch_rows(std::uint64_t step, models::Matrix& out);
    /// The numbers of rows [first, first + count) of one side. Errors: malformed_message for rows
    /// that are not there, too_large for more than a message or this machine's memory holds.
    Result<> infer(TableKind side, std::uint64_t first, std::uint64_t count,
                   models::nn::Records& out) const;

    // -- properties -----------------------------------------------------------------
    [[nodiscard]] BatchSchedule& schedule() noexcept { return schedule_; }
    [[nodiscard]] const BatchSchedule& schedule() const noexcept { return schedule_; }
    [[nodiscard]] std::size_t features() const noexcept { return network_.inputs(); }
    [[nodiscard]] std::size_t width() const noexcept { return network_.outputs(); }

    // -- commits and parts ------------------------------------------------------------
    [[nodiscard]] NetworkState state() const { return {network_.values(), steps_.state()}; }
    Result<> restore(const NetworkState& state);
    /// Columns and network under `head`.
    [[nodiscard]] SplitPart part(ModelHead head) const;

  private:
    Bottom(const Party& party, Place place);
    Bottom(const Party& party, models::nn::NetworkShape shape, Place place);

    const Party* party_;
    Place place_;
    models::nn::NetworkShape shape_;
    models::nn::Network network_;
    models::nn::Steps steps_;
    models::nn::RateConfig rates_;
    BatchSchedule schedule_;
    models::nn::Records batch_;
    models::nn::Records none_;
    std::size_t batch_rows_ = 0;
};

/// Columns and what was left out of a party's table, as every part of a training has them.
SplitPart party_part(const Party& party, ModelHead head, std::uint64_t steps);

}  // namespace vflbus::actors::split
