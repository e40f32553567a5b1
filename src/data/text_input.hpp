#pragma once
// Text on its way to the CSV reader: in UTF-8, with line feeds, without a byte order mark. Internal
// to the data room.

#include <cstdint>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/csv_dialect.hpp"
#include "data/input.hpp"
#include "data/place.hpp"

namespace vflbus::data {

struct TextInput {
    Input input;
    std::uint64_t begin = 0;         ///< of the text: behind a byte order mark
    bool is_utf8 = false;            ///< it was said, or a mark says it: nothing is guessed
    bool checked = false;            ///< all of it is known to be UTF-8 without zero bytes
    std::vector<std::string> notes;  ///< what was guessed
};

/// Decides by the first bytes. Errors: io; bad_data for what is no text, or in an encoding that is
/// not known.
Result<TextInput> open_text(Input input, const TextFormat& stated, const Place& file);

/// Of a text that turned out not to be UTF-8 at `offset`: in the encoding that the rest speaks for.
/// Errors: bad_data naming line and column when there is none.
Result<TextInput> decode_text(TextInput text, std::uint64_t offset, const Dialect& dialect,
                              const Place& file);

/// The refusal of a text that is no UTF-8 at `offset`, or has a zero byte there, naming line and
/// column.
Failure refuse_fault(const TextInput& text, std::uint64_t offset, bool zero, const Dialect& dialect,
                     const Place& file);

/// Where an offset of a text is: line and column.
Result<Place> locate(const TextInput& text, std::uint64_t offset, const Dialect& dialect,
                     const Place& file);

}  // namespace vflbus::data
