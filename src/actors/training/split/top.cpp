#include "actors/training/split/top.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "actors/training/split/chance.hpp"
#include "base/assert.hpp"
#include "models/kernels.hpp"

namespace vflbus::actors::split {
namespace {

using models::nn::Records;

/// Mean and deviation of the labels of a linear task: a network learns numbers about 1 well, and
/// prices in cents not at all.
void scale_labels(models::Labels& labels, double& mean, double& scale) {
    const auto n = static_cast<double>(labels.values.size());
    std::vector<double> work(labels.values.span().begin(), labels.values.span().end());
    mean = models::lane_sum(work) / n;
    for (double& value : work) value = (value - mean) * (value - mean);
    const double deviation = std::sqrt(models::lane_sum(work) / n);
    scale = deviation > 0 ? deviation : 1;
    for (double& value : labels.values.span()) value = (value - mean) / scale;
}

models::nn::NetworkShape shape_of(const config::AgreedHalf& agreed, std::size_t parties,
                                  std::size_t outputs) {
    const std::size_t width = embedding_width(agreed.model);
    const bool beside = agreed.model.combine == config::Combine::concat;
    return top_shape(agreed, beside ? width * parties : width, outputs);
}

}  // namespace

Top::Top(const config::AgreedHalf& agreed, models::nn::NetworkShape shape, std::size_t parties)
    : seed_(agreed.run.seed),
      combine_(agreed.model.combine),
      parties_(parties),
      shape_(std::move(shape)),
      network_(shape_, weight_seed(seed_, Place::top)),
      steps_(step_config(agreed.model), network_) {}

Result<std::unique_ptr<Top>> Top::create(const config::AgreedHalf& agreed, const Labels& labels,
                                         std::size_t parties, const models::nn::RateConfig& rates) {
    VFLBUS_ASSERT(parties > 0, "a run has a member, which has a bottom network");
    models::Labels truth = labels.train;
    double mean = 0;
    double scale = 1;
    if (auto good = models::validate(truth); !good) return tl::unexpected(std::move(good.error()));
    if (truth.task == vflbus::Task::linear) scale_labels(truth, mean, scale);
    models::HeadConfig config;
    config.class_weights = class_weights_of(agreed.model);
    // where the labels alone put the outputs: the bias of the last layer begins there
    const auto constant = models::Head::create(truth, config);
    if (!constant) return tl::unexpected(constant.error());
    config.intercept = false;
    auto head = models::Head::create(std::move(truth), config);
    if (!head) return tl::unexpected(std::move(head.error()));
    std::unique_ptr<Top> top(new Top(agreed, shape_of(agreed, parties, head->outputs()), parties));
    top->network_.start_at(constant->intercept());
    top->head_ = std::make_unique<models::Head>(std::move(*head));
    top->rates_ = rates;
    top->label_mean_ = mean;
    top->label_scale_ = scale;
    return top;
}

Result<std::unique_ptr<Top>> Top::create(const config::AgreedHalf& agreed, const TopPart& part) {
    std::unique_ptr<Top> top(new Top(agreed, part.network.shape, part.embeddings));
    if (auto done = top->network_.set_values(part.network.values); !done)
        return tl::unexpected(std::move(done.error()));
    top->combine_ = part.combine;
    top->label_mean_ = part.label_mean;
    top->label_scale_ = part.label_scale;
    return top;
}

std::size_t Top::width() const noexcept {
    return combine_ == config::Combine::concat ? network_.inputs() / parties_ : network_.inputs();
}

void Top::combine(std::span<const Records* const> parts, Records& out) const {
    const std::size_t count = parts[0]->count();
    const bool summed = parts.size() == 1 && combine_ != config::Combine::concat;
    VFLBUS_ASSERT(summed || parts.size() == parties_, "every party's numbers are there");
    if (combine_ == config::Combine::concat) {
        out.resize(network_.inputs(), count);
        for (std::size_t p = 0; p < parts.size(); ++p)
            for (std::size_t i = 0; i < count; ++i)
                std::copy_n(parts[p]->record(i), width(), out.record(i) + p * width());
        return;
    }
    out = *parts[0];
    for (std::size_t p = 1; p < parts.size(); ++p) models::nn::add(*parts[p], out);
    if (combine_ == config::Combine::sum) return;
    for (float& value : out.all()) value /= static_cast<float>(parties_);
}

void Top::spread(const Records& by_combined, std::vector<Records>& gradients) const {
    if (combine_ != config::Combine::concat) {
        gradients.assign(1, by_combined);
        if (combine_ == config::Combine::mean)
            for (float& value : gradients[0].all()) value /= static_cast<float>(parties_);
        return;
    }
    gradients.resize(parties_);
    for (std::size_t p = 0; p < parties_; ++p) {
        gradients[p].resize(width(), by_combined.count());
        for (std::size_t i = 0; i < by_combined.count(); ++i)
            std::copy_n(by_combined.record(i) + p * width(), width(), gradients[p].record(i));
    }
}

Result<double> Top::step(std::uint64_t step, std::span<const Records* const> parts,
                         std::span<const models::RowIndex> rows, std::vector<Records>& gradients) {
    combine(parts, combined_);
    const Records& out = network_.forward(combined_, pass_of(seed_, Place::top, step));
    models::nn::to_rows(out, scores_);
    if (auto done = head_->forward_backward(scores_, rows, work_); !done)
        return fail(Errc::diverged,
                    "the loss is no longer finite at step " + std::to_string(step + 1));
    models::nn::from_rows(work_.residual, by_scores_);
    network_.backward(by_scores_, &by_combined_);
    spread(by_combined_, gradients);
    steps_.step(models::nn::rate_at(rates_, step));
    return work_.loss * label_scale_ * label_scale_;
}

void Top::scores(std::span<const Records* const> parts, models::Matrix& out) const {
    Records in;
    Records made;
    combine(parts, in);
    network_.infer(in, made);
    models::nn::to_rows(made, out);
    if (label_scale_ == 1 && label_mean_ == 0) return;
    for (double& value : out.span()) value = label_mean_ + label_scale_ * value;
}

Result<> Top::restore(const NetworkState& state) {
    if (auto done = network_.set_values(state.values); !done) return done;
    return steps_.set_state(state.steps);
}

TopPart Top::part() const {
    TopPart part;
    part.network = {shape_, network_.values()};
    part.combine = combine_;
    part.embeddings = parties_;
    part.label_mean = label_mean_;
    part.label_scale = label_scale_;
    return part;
}

}  // namespace vflbus::actors::split
