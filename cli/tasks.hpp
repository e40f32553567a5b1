#pragma once
// The names of tasks, as the command line knows them.

#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "base/text.hpp"
#include "data/task.hpp"

namespace vflbus::cli {

inline Result<data::Task> parse_task(std::string_view name) {
    std::vector<std::string> known;
    for (const data::Task task :
         {data::Task::linear, data::Task::logistic, data::Task::multilabel, data::Task::softmax}) {
        if (name == data::name_of(task)) return task;
        known.emplace_back(data::name_of(task));
    }
    const std::string near = nearest(name, known);
    return fail(Errc::usage, "--task " + std::string(name) + " is not one of " + join_and(known) +
                                 (near.empty() ? "" : "; did you mean " + near + "?"));
}

}  // namespace vflbus::cli
