#pragma once
// Which owners may use which table, and until when: what `vflbus grant` writes and a policy with
// `tables = "granted"` asks for. One file in the node's directory, replaced whole.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "policy/request.hpp"

namespace vflbus::policy {

struct Grant {
    std::string table;  ///< as the party's section of the configuration names its file, absolute
    std::string owner;  ///< node name; counts for processes whose names are made of it as well
    std::string fingerprint;    ///< empty: of any key
    std::int64_t until_ms = 0;  ///< since 1970; not any more from then on
    std::string by;             ///< who said so at the member
};

/// None when there is no file. Errors: io; bad_data for a file that is none.
Result<std::vector<Grant>> read_grants(const std::filesystem::path& directory);
Result<> write_grants(const std::filesystem::path& directory, const std::vector<Grant>& grants);
/// Reads the grants, lets `change` change them, and writes them. Nobody else who does so comes in
/// between: two commands at the same time are both kept. Makes the directory. Errors: those of
/// `change`, after which nothing is written; of reading and writing.
Result<> change_grants(const std::filesystem::path& directory,
                       const std::function<Result<>(std::vector<Grant>&)>& change);
bool granted(const std::vector<Grant>& grants, const std::string& table, const Owner& owner,
             std::int64_t now_ms);

}  // namespace vflbus::policy
