#pragma once
// What a run predicts, as far as data has to know.

#include <cstdint>
#include <string_view>

namespace vflbus::data {

enum class Task : std::uint8_t {
    linear,      ///< one number
    logistic,    ///< one column of two classes
    multilabel,  ///< several columns of two classes each
    softmax,     ///< one column of K classes
};

constexpr std::string_view name_of(Task task) noexcept {
    switch (task) {
        case Task::linear:
            return "linear";
        case Task::logistic:
            return "logistic";
        case Task::multilabel:
            return "multilabel";
        case Task::softmax:
            return "softmax";
    }
    return "unknown";
}

}  // namespace vflbus::data
