#pragma once
// What is measured of a model, as the configuration names it (model.early_stopping) and reports do.

#include <array>
#include <span>
#include <string_view>

#include "base/task.hpp"

namespace vflbus {

inline constexpr std::array<std::string_view, 4> number_metrics{"loss", "r2", "rmse", "mae"};
inline constexpr std::array<std::string_view, 5> two_class_metrics{"loss", "auc", "ks", "accuracy",
                                                                   "f1"};
inline constexpr std::array<std::string_view, 8> multilabel_metrics{
    "loss", "auc_macro", "auc_micro", "ks", "accuracy", "label_accuracy", "f1_macro", "f1_micro"};
inline constexpr std::array<std::string_view, 7> softmax_metrics{
    "loss", "accuracy", "auc_macro", "auc_micro", "ks", "f1_macro", "f1_micro"};
inline constexpr std::array<std::string_view, 5> amount_metrics{"loss", "deviance", "d2", "rmse",
                                                                "mae"};

/// What is measured of a model of the task, in the order in which it is reported
/// (models::metrics_for); multilabel has auc[NAME] of each label besides.
constexpr std::span<const std::string_view> metric_names(Task task) noexcept {
    switch (task) {
        case Task::linear:
            return number_metrics;
        case Task::logistic:
            return two_class_metrics;
        case Task::multilabel:
            return multilabel_metrics;
        case Task::softmax:
            return softmax_metrics;
        default:
            return amount_metrics;
    }
}

}  // namespace vflbus
