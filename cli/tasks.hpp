#pragma once
// The names of tasks, as the command line knows them.

#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "base/task.hpp"
#include "base/text.hpp"

namespace vflbus::cli {

inline Result<Task> parse_task(std::string_view name) {
    if (const auto task = task_named(name)) return *task;
    const std::vector<std::string> known(task_names.begin(), task_names.end());
    const std::string near = nearest(name, known);
    return fail(Errc::usage, "--task " + std::string(name) + " is not one of " + join_and(known) +
                                 (near.empty() ? "" : "; did you mean " + near + "?"));
}

}  // namespace vflbus::cli
