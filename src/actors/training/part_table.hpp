#pragma once
// What the model part of every algorithm says of the party's own table.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/preprocess.hpp"

namespace vflbus::actors {

class Party;

struct PartTable {
    std::vector<data::PreparedColumn> columns;  ///< that the model uses, with their scaling
    std::uint64_t train_rows = 0;
    std::uint64_t filled_cells = 0;
    std::vector<data::LeftOut> left_out;

    /// Numbers that the columns make of a row.
    [[nodiscard]] std::size_t features() const noexcept;
};

/// Of a training.
PartTable part_table(const Party& party);
/// Why the columns of a file make no sense; empty when they do.
std::string column_fault(const PartTable& table);

}  // namespace vflbus::actors
