#pragma once
// The page that `vflbus report` writes: HTML with its plots and styles in it, which needs nothing
// from outside. Below each plot stand its numbers as a table.

#include <string>

#include "report_data.hpp"

namespace vflbus::cli {

std::string report_page(const ReportData& data);

}  // namespace vflbus::cli
