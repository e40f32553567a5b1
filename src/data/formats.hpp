#pragma once
// From bytes to a table, whatever they came out of: packed or not, CSV, libsvm or npy. Internal to
// the data room.

#include <memory>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/input.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Bytes and what they are called in sentences.
struct NamedInput {
    std::string name;
    Input input;
};

/// A table that consists of these parts, in their order. The format is recognised by the first
/// bytes. Errors: io, bad_data.
Result<std::unique_ptr<Source>> open_bytes(const SourceOptions& options,
                                           std::vector<NamedInput> parts);

}  // namespace vflbus::data
