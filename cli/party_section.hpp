#pragma once
// What `vflbus join` writes into the configuration of a party.

#include <filesystem>
#include <string>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::cli {

struct PartySection {
    std::string section;  ///< "party.member-0"; empty: of one who only asks
    std::string broker;
    std::string certificates;  ///< as the file says it
    std::string identity;      ///< of the key, where it is not the name of the node
    std::string data;          ///< these three may be empty: nothing is said of them
    std::string id;
    std::vector<std::string> label;
};

/// `text`, a configuration or nothing, with these keys: values that were there are replaced where
/// they stand, everything else stays as it is, remarks too. Errors: bad_config with `shown`, the
/// name of the file, when it is no TOML, or is written such that the keys cannot be put into it;
/// then the sentence says what to write by hand.
Result<std::string> with_party_section(const std::string& text, const PartySection& section,
                                       const std::string& shown);

}  // namespace vflbus::cli
