#pragma once
// What a run is for, as the line before the agreed text says it: docs/training.md, section 1.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

enum class Purpose : std::uint8_t { train, check, predict, features };

/// Whether a run of this purpose invites an arbiter: only trainings have anything for it to open.
bool needs_arbiter(const config::AgreedHalf& agreed, Purpose purpose) noexcept;

/// "train", "check", "predict" or "features".
std::string_view name_of(Purpose purpose) noexcept;

/// The agreed text of OPEN.
std::string with_purpose(Purpose purpose, std::string_view canonical);
/// The purpose and the canonical text behind it (borrowed). malformed_message for another purpose.
Result<std::pair<Purpose, std::string_view>> purpose_of(std::string_view agreed);

}  // namespace vflbus::actors
