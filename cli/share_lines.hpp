#pragma once
// Two tables in one window.
//
// The problem: a window has so many lines, and whoever has many nodes would see none of his runs.
// So each table gets half of the lines, and what one does not need is the other's.

#include <string>

namespace vflbus::cli {

/// Lines of a text that ends with one.
std::size_t lines_of(const std::string& text) noexcept;

/// Cuts both to `lines` together. A table that is cut says how many rows are left out. With fewer
/// than four lines the second one may get none.
void share_lines(std::string& first, std::string& second, std::size_t lines);

}  // namespace vflbus::cli
