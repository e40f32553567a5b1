#include "actors/training/linear/block.hpp"

#include <utility>

#include "actors/training/labels.hpp"

namespace vflbus::actors::linear {
namespace {

std::string shape(std::size_t rows, std::size_t cols) {
    return std::to_string(rows) + " x " + std::to_string(cols);
}

}  // namespace

models::OptimizerConfig optimizer_of(const config::ModelConfig& model) {
    models::OptimizerConfig out;
    out.kind = model.optimizer == config::Optimizer::adam ? models::OptimizerKind::adam
                                                          : models::OptimizerKind::sgd;
    out.learning_rate = model.learning_rate;
    out.momentum = model.momentum;
    out.beta1 = model.adam_beta1;
    out.beta2 = model.adam_beta2;
    out.epsilon = model.adam_epsilon;
    out.weight_decay = model.weight_decay;
    return out;
}

models::HeadConfig head_config(const config::ModelConfig& model) {
    models::HeadConfig head;
    head.intercept = model.intercept;
    head.class_weights = class_weights_of(model);
    head.optimizer = optimizer_of(model);
    return head;
}

Result<Block> Block::create(const Party& party, std::size_t outputs) {
    const auto optimizer = optimizer_of(party.agreed().model);
    if (auto valid = models::validate(optimizer); !valid)
        return tl::unexpected(std::move(valid.error()));
    Block block(party, models::PartyModel(party.features(), outputs, optimizer));
    block.schedule_ = BatchSchedule(
        party.agreed(), static_cast<std::uint32_t>(party.rows(TableKind::train).size()));
    return block;
}

Result<Block> Block::create(Party& party, const ModelPart& part) {
    party.use(part.columns);
    Block block(party,
                models::PartyModel(part.features(), part.outputs, models::OptimizerConfig{}));
    if (auto done = block.model_.set_weights(part.weights); !done)
        return tl::unexpected(std::move(done.error()));
    return block;
}

void Block::batch_scores(std::uint64_t step, models::Matrix& z,
                         std::optional<models::Matrix> rows) {
    if (step >= schedule_.steps()) return z.resize(0, outputs());
    if (rows)
        batch_ = std::move(*rows);
    else if (!gathered_)
        models::gather_batch(party_->design(TableKind::train), schedule_.rows(step), batch_);
    gathered_ = schedule_.same_rows();
    model_.scores(batch_, z);
}

Result<> Block::check_shape(std::string_view what, models::ConstMatrixView sent) const {
    if (sent.rows == batch_.rows() && sent.cols == outputs()) return {};
    return fail(Errc::malformed_message, std::string(what) + " of " + shape(sent.rows, sent.cols) +
                                             " came where the batch has " +
                                             shape(batch_.rows(), outputs()));
}

Result<> Block::update(models::ConstMatrixView residual) {
    if (auto good = check_shape("a residual", residual); !good) return good;
    return model_.update(batch_, residual);
}

Result<> Block::solve(models::ConstMatrixView target, models::Matrix& z) {
    if (auto good = check_shape("a target", target); !good) return good;
    const double reg_lambda = party_->agreed().model.reg_lambda;
    if (!gathered_) return model_.fit_ridge(batch_, target, reg_lambda, z);
    if (!factors_) {
        auto factors = models::RidgeFactors::create(batch_);
        if (!factors) return tl::unexpected(std::move(factors.error()));
        factors_.emplace(std::move(*factors));
    }
    return model_.fit_ridge(*factors_, batch_, target, reg_lambda, z);
}

Result<> Block::scores(TableKind side, std::uint64_t first, std::uint64_t count,
                       models::Matrix& z) const {
    const models::DesignView all = party_->design(side);
    if (auto good = check_rows_asked(side, all.rows, first, count, outputs()); !good) return good;
    const models::DesignView part(all.data == nullptr ? nullptr : all.data + first * all.stride,
                                  count, all.cols, all.stride);
    z.resize_uninitialized(count, outputs());
    models::design_scores(part, model_.weights(), z.view());
    return {};
}

ModelPart Block::part(ModelHead head) const {
    ModelPart part;
    static_cast<ModelHead&>(part) = std::move(head);
    static_cast<PartTable&>(part) = part_table(*party_);
    part.steps = part.stopped_at.value_or(schedule_.steps());
    part.outputs = outputs();
    const auto weights = model_.weights().span();
    part.weights.assign(weights.begin(), weights.end());
    return part;
}

}  // namespace vflbus::actors::linear
