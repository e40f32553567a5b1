#pragma once
// What the master does with the numbers of all parties: puts them together, runs the top network
// and the loss, and finds the gradient by each party's numbers.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "actors/training/labels.hpp"
#include "actors/training/split/part.hpp"
#include "actors/training/split/shape.hpp"
#include "actors/training/split/state.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/head.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

class Top {
  public:
    using Records = models::nn::Records;

    /// For a training with `parties` bottom networks. Labels of a linear task are scaled to mean 0
    /// and deviation 1, and `rates` says how long the steps are. Errors: as of models::Head.
    static Result<std::unique_ptr<Top>> create(const config::AgreedHalf& agreed,
                                               const Labels& labels, std::size_t parties,
                                               const models::nn::RateConfig& rates);
    /// For a prediction.
    static Result<std::unique_ptr<Top>> create(const config::AgreedHalf& agreed,
                                               const TopPart& part);

    // -- training -------------------------------------------------------------------
    /// The loss of the batch `rows` from what the parties' networks made of it, and one step of the
    /// top network. `parts`: of each party; or one, the sum of all, when they are summed or
    /// averaged. `gradients` is by the parties' numbers: one for all parties when they are
    /// summed or averaged, else one for each. Errors: diverged.
    Result<double> step(std::uint64_t step, std::span<const Records* const> parts,
                        std::span<const models::RowIndex> rows, std::vector<Records>& gradients);

    // -- scores ---------------------------------------------------------------------
    /// Values of a linear task, otherwise scores before the probability: n x outputs.
    void scores(std::span<const Records* const> parts, models::Matrix& out) const;

    // -- properties -----------------------------------------------------------------
    [[nodiscard]] std::size_t outputs() const noexcept { return network_.outputs(); }
    /// Numbers of a record that each party gives.
    [[nodiscard]] std::size_t width() const noexcept;

    // -- commits and parts ------------------------------------------------------------
    [[nodiscard]] NetworkState state() const { return {network_.values(), steps_.state()}; }
    Result<> restore(const NetworkState& state);
    /// All but what only its caller knows: `own`, and the labels.
    [[nodiscard]] TopPart part() const;

  private:
    Top(const config::AgreedHalf& agreed, models::nn::NetworkShape shape, std::size_t parties);
    void combine(std::span<const Records* const> parts, Records& out) const;
    void spread(const Records& by_combined, std::vector<Records>& gradients) const;

    std::uint64_t seed_;
    config::Combine combine_;
    std::size_t parties_;
    models::nn::NetworkShape shape_;
    models::nn::Network network_;
    models::nn::Steps steps_;
    models::nn::RateConfig rates_;
    std::unique_ptr<models::Head> head_;  ///< the loss; none in a prediction
    double label_mean_ = 0;
    double label_scale_ = 1;

    // -- of a step ----
    Records combined_;
    Records by_combined_;
    Records by_scores_;
    models::Matrix scores_;
    models::HeadStep work_;
};

}  // namespace vflbus::actors::split
