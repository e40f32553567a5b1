#pragma once
// An algorithm of its own, as small as one can be: it counts the training rows, batch by batch, at
// every party. It shows what an algorithm is made of (actors/training/algorithm.hpp), and that one
// is added with a folder, a row in the table and a section of the configuration: here
// `run.experiment_label = "count the rows"` with model.epochs and model.batch_size.

#include "actors/training/algorithm.hpp"

namespace vflbus::actors::test {

/// The row of the table.
extern const Algorithm count_rows;

/// `[t, rows]`: count these rows as step t. The reply is `[rows counted so far]`.
inline constexpr MessageType count_message = 250;

inline constexpr std::string_view count_label = "count the rows";

/// Members, all of whom count all rows, have come to `rows` together with the master.
Result<std::uint64_t> counted_in(std::string_view part, std::string_view path);

}  // namespace vflbus::actors::test
