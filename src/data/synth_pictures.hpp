#pragma once
// Generated pictures to try a network for pictures on: one light shape on a dark ground with noise,
// at a place and of a size drawn for each picture. Each member has an upright part of every
// picture, and the master the name of the shape. No pixel alone tells the shape.

#include "base/errc.hpp"
#include "data/image.hpp"
#include "data/synth.hpp"

namespace vflbus::data {

inline constexpr std::uint32_t picture_classes_max = 6;

/// Of `options`: members, rows, seed, out_dir, classes (2 to 6), test_files, predict_files. The
/// files are labels.csv and, for each member, part_0.csv, part_1.csv, ... with the columns p0_0,
/// p0_1, ... (row and column in the whole picture). Files of the same options are the same bytes
/// everywhere. Errors: usage (an option out of its range, named; sides below 8 or above 256, fewer
/// columns of pixels than members), io.
Result<SynthReport> synthesize_pictures(const SynthOptions& options, ImageShape image);

}  // namespace vflbus::data
