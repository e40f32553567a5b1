#pragma once
// The label holder's labels and link, in the words of the models room.

#include <vector>

#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/labels.hpp"
#include "data/table.hpp"
#include "models/head.hpp"

namespace vflbus::actors {

data::Task data_task(config::Task task) noexcept;
models::Task models_task(config::Task task) noexcept;

/// Labels of the given table rows under a coding.
Result<models::Labels> labels_of(const data::Table& table, const data::LabelCoding& coding,
                                 std::span<const std::uint32_t> rows);

models::HeadConfig head_config(const config::ModelConfig& model);

}  // namespace vflbus::actors
