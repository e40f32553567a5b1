#include "actors/master_labels.hpp"

#include <utility>

#include "actors/party.hpp"

namespace vflbus::actors {

data::Task data_task(config::Task task) noexcept {
    switch (task) {
        case config::Task::linear:
            return data::Task::linear;
        case config::Task::logistic:
            return data::Task::logistic;
        case config::Task::multilabel:
            return data::Task::multilabel;
        case config::Task::softmax:
            return data::Task::softmax;
    }
    return data::Task::linear;
}

models::Task models_task(config::Task task) noexcept {
    switch (task) {
        case config::Task::linear:
            return models::Task::linear;
        case config::Task::logistic:
            return models::Task::logistic;
        case config::Task::multilabel:
            return models::Task::multilabel;
        case config::Task::softmax:
            return models::Task::softmax;
    }
    return models::Task::linear;
}

Result<models::Labels> labels_of(const data::Table& table, const data::LabelCoding& coding,
                                 std::span<const std::uint32_t> rows) {
    const auto encoded = data::encode_labels(table, coding, rows);
    if (!encoded) return tl::unexpected(encoded.error());
    models::Labels labels;
    switch (coding.task) {
        case data::Task::linear:
            labels.task = models::Task::linear;
            break;
        case data::Task::logistic:
            labels.task = models::Task::logistic;
            break;
        case data::Task::multilabel:
            labels.task = models::Task::multilabel;
            break;
        case data::Task::softmax:
            labels.task = models::Task::softmax;
            labels.classes = coding.outputs();
            break;
    }
    labels.names = coding.output_names();
    labels.values.resize_uninitialized(encoded->rows, encoded->cols);
    for (std::size_t c = 0; c < encoded->cols; ++c)
        for (std::size_t r = 0; r < encoded->rows; ++r)
            labels.values(r, c) = coding.task == data::Task::softmax
                                      ? static_cast<double>(encoded->classes[r])
                                      : encoded->values[r * encoded->cols + c];
    return labels;
}

models::HeadConfig head_config(const config::ModelConfig& model) {
    models::HeadConfig head;
    head.intercept = model.intercept;
    switch (model.class_weights.rule) {
        case config::ClassWeights::Rule::none:
            break;
        case config::ClassWeights::Rule::balanced:
            head.class_weights.kind = models::ClassWeights::Kind::balanced;
            break;
        case config::ClassWeights::Rule::numbers:
            head.class_weights.kind = models::ClassWeights::Kind::listed;
            head.class_weights.listed = model.class_weights.numbers;
            break;
    }
    head.optimizer = optimizer_of(model);
    return head;
}

}  // namespace vflbus::actors
