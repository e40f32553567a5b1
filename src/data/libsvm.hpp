#pragma once
// Tables in the text form of LIBSVM and SVMlight: "1 3:0.5 7:1.25" is a row with the label 1 and
// two cells. Columns are "label" and "x1", "x2", ... by their numbers; a cell that is not written
// is 0. There are no ids: such a table needs data.id = "@row". "qid:5" and comments are left out.

#include <memory>
#include <string>

#include "base/errc.hpp"
#include "data/source.hpp"
#include "data/text_input.hpp"

namespace vflbus::data {

/// Whether the first row looks like one of such a file.
bool is_libsvm(const TextInput& text);

/// Errors: bad_data naming the line of what is no row.
Result<std::unique_ptr<Source>> open_libsvm(const SourceOptions& options, std::string name,
                                            TextInput text);

}  // namespace vflbus::data
