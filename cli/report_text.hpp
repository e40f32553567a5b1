#pragma once
// What `vflbus report` prints for programs. The keys are in docs/operating.md.

#include <string>

#include "report_data.hpp"

namespace vflbus::cli {

/// Rises when a key changes its meaning or goes, not when one is added.
inline constexpr std::uint64_t report_text_version = 1;

/// One JSON object on one line.
std::string report_json(const ReportData& data);
/// One table for all: section, series, x, y.
std::string report_csv(const ReportData& data);

}  // namespace vflbus::cli
