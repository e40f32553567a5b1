#pragma once
// What a run predicts. The configuration, the tables and the models all speak of it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace vflbus {

enum class Task : std::uint8_t {
    linear,      ///< one number
    logistic,    ///< one column of two classes
    multilabel,  ///< several columns of two classes each
    softmax,     ///< one column of K classes
    poisson,     ///< a count: one number of 0 or more, with a log link
    gamma,       ///< a positive amount, with a log link
    tweedie,     ///< an amount of 0 or more, with a log link
};

/// In the order of the enumeration, as they stand in a configuration.
inline constexpr std::array<std::string_view, 7> task_names{
    "linear", "logistic", "multilabel", "softmax", "poisson", "gamma", "tweedie"};

constexpr std::string_view name_of(Task task) noexcept {
    const auto index = static_cast<std::size_t>(task);
    return index < task_names.size() ? task_names[index] : "unknown";
}

/// The mean of the label is exp(score).
constexpr bool has_log_link(Task task) noexcept {
    return task == Task::poisson || task == Task::gamma || task == Task::tweedie;
}

/// A number is predicted, and no class.
constexpr bool predicts_numbers(Task task) noexcept {
    return task == Task::linear || has_log_link(task);
}

/// Nothing when no task has this name.
constexpr std::optional<Task> task_named(std::string_view name) noexcept {
    for (std::size_t i = 0; i < task_names.size(); ++i)
        if (task_names[i] == name) return static_cast<Task>(i);
    return std::nullopt;
}

}  // namespace vflbus
