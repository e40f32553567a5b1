#pragma once
// A folder of PNG files as a table: one row for each picture, one column for each pixel.
//
// Columns: `id`, the name of the file without ".png"; `folder`, where the pictures lie in folders
// of this folder, as is usual for classes: the name of that folder, empty for pictures beside them;
// then `p0`, `p1`, ... row by row, and of coloured pictures red, green and blue of a pixel side by
// side. All pictures have one size, and are grey or coloured. The order is that of their paths.

#include <memory>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// The PNG files of a folder and of the folders in it, sorted; none where it is no folder.
std::vector<std::string> pictures_in(const std::string& folder);

/// Errors: io, bad_data naming the picture: damaged, or of another size than the first one.
Result<std::unique_ptr<Source>> open_pictures(const SourceOptions& options,
                                              const std::vector<std::string>& files);

}  // namespace vflbus::data
