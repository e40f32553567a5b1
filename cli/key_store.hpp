#pragma once
// What several commands about keys share.

#include <filesystem>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "bus/keys/allow_list.hpp"

namespace vflbus::cli {

/// Beside the allow-list of a broker: the addresses that it last listened on, a line each, so that
/// `invite` knows where parties reach it. `certificates`: the directory of its keys.
std::filesystem::path broker_addresses_path(const std::filesystem::path& certificates);

/// `entry`, which has a name and a fingerprint, with what the flags say, as the list itself would
/// read it. Errors: usage.
Result<bus::Allowed> with_rights(const bus::Allowed& entry, const std::vector<std::string>& roles,
                                 const std::vector<std::string>& ranks,
                                 const std::vector<std::string>& may);
/// A period of a flag in seconds. Errors: usage, naming the flag.
Result<bus::Seconds> period_of(const std::string& flag, const std::string& text);
/// What --replace and --also say of other keys of the name.
bus::Beside beside_of(bool replace, bool also);
/// The text of an allow-list; empty where there is none yet. Errors: io.
Result<std::string> allow_list_text(const std::filesystem::path& file);
/// "ABCD-EFGH" of a fingerprint, which tells keys apart in names of directories.
std::string short_fingerprint(const std::string& fingerprint);

}  // namespace vflbus::cli
