#include "actors/training/part_table.hpp"

#include "actors/party.hpp"

namespace vflbus::actors {

std::size_t PartTable::features() const noexcept {
    std::size_t width = 0;
    for (const auto& column : columns) width += column.width();
    return width;
}

PartTable part_table(const Party& party) {
    PartTable table;
    table.columns = party.preprocessor().columns;
    table.train_rows = party.rows(TableKind::train).size();
    table.filled_cells = party.prepared().filled_cells;
    table.left_out = party.prepared().removed;
    return table;
}

std::string column_fault(const PartTable& table) {
    for (const auto& column : table.columns)
        if (!(column.scale > 0)) return "the scale of \"" + column.name + "\" is not positive";
    return {};
}

}  // namespace vflbus::actors
