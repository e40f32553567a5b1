#pragma once
// The lines before the agreed text of OPEN: the purpose of the run, and the alignment that it goes
// on from. docs/training.md, section 1.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

enum class Purpose : std::uint8_t { train, check, predict, features };

/// Whether a run of this purpose invites an arbiter: only trainings have anything for it to open.
bool needs_arbiter(const config::AgreedHalf& agreed, Purpose purpose) noexcept;

/// "train", "check", "predict" or "features".
std::string_view name_of(Purpose purpose) noexcept;

/// The text of OPEN, taken apart.
struct OpenText {
    Purpose purpose = Purpose::train;
    /// Of a training that shares its alignment with others: the name of it
    /// (alignment/kept_alignment.hpp).
    RunId alignment = {};
    std::string_view canonical = {};  ///< the agreed half; borrowed
};

std::string to_text(const OpenText& open);
/// Errors: malformed_message for another purpose, and for an alignment that is none.
Result<OpenText> parse_open_text(std::string_view text);

}  // namespace vflbus::actors
