#pragma once
// Tables in npy files of numpy: a matrix of numbers (columns "x1", "x2", ...), or a structured
// array (columns by name, numbers and texts). Layout: numpy, "NPY format", versions 1 to 3.

#include <memory>
#include <string_view>

#include "base/errc.hpp"
#include "data/formats.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Whether bytes that begin with `head` are such a file.
bool is_npy(std::string_view head) noexcept;

/// Errors: bad_data for Python objects, complex numbers, more than two dimensions, and a file that
/// is shorter than it says.
Result<std::unique_ptr<Source>> open_npy(const SourceOptions& options, NamedInput input);

}  // namespace vflbus::data
