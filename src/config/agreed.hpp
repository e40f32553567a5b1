#pragma once
// The agreed half as text: what is hashed, sent in OPEN and compared at JOIN.
// Canonical form: one line `section.key = value` per agreed key, all of them, defaults included,
// sorted by key, each ended by a newline; numbers in their shortest form, strings in double quotes.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "base/hash.hpp"
#include "config/config.hpp"

namespace vflbus::config {

/// The longest canonical text that parse_canonical() looks at.
inline constexpr std::size_t canonical_bytes_max = 64 * 1024;

std::string canonical_agreed(const AgreedHalf& half);

/// Keys and values as the canonical text has them, without data.id_salt: whoever knows that can try
/// ids.
std::vector<std::pair<std::string, std::string>> shown_agreed(const AgreedHalf& half);

/// BLAKE2b-256 of canonical_agreed().
Hash256 agreed_hash(const AgreedHalf& half);

/// Reads what canonical_agreed() wrote at another party. Input is not trusted: anything but the
/// canonical text of a valid agreed half is refused (too_large, malformed_message, bad_config), a
/// key that this version does not know by name and with the nearest one that it knows. Whoever
/// submits a run need not know how many members take part: with Members::may_be_unsaid the text may
/// say run.world_size = 0.
enum class Members : std::uint8_t { said, may_be_unsaid };
Result<AgreedHalf> parse_canonical(std::string_view text, Members members = Members::said);

/// One entry per key whose values differ, e.g. "model.epochs (20 here, 10 at master)".
std::vector<std::string> differing_keys(const AgreedHalf& here, const AgreedHalf& there,
                                        std::string_view there_name = "master");

/// Gives every agreed key that `mine` does not state the value that it has in `theirs`. For whoever
/// works with what an earlier run made: what is not said now is as it was said then. Errors:
/// bad_config when what is stated contradicts it; `mine` is unchanged then.
Result<> take_unsaid(Config& mine, const AgreedHalf& theirs);

/// What a member does at JOIN with the agreed half of the run's owner: one that states no agreed
/// key takes it over, if its own sections fit (bad_config); one that does keeps its own when they
/// are equal. Errors: also those of parse_canonical(), and config_differs with all keys that
/// differ. `mine` is unchanged then.
Result<> agree(Config& mine, std::string_view canonical_of_owner,
               std::string_view owner = "master");

}  // namespace vflbus::config
