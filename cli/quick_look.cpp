#include "quick_look.hpp"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <filesystem>

#include "base/text.hpp"
#include "observe/log.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Whether any user of this machine may write it. What everybody may write, but only its owner
/// remove (/tmp), is meant so.
bool everybody_writes(const std::string& path) {
    struct stat found{};
    if (path.empty() || ::stat(path.c_str(), &found) != 0) return false;
    if (S_ISDIR(found.st_mode) && (found.st_mode & S_ISVTX) != 0) return false;
    return (found.st_mode & S_IWOTH) != 0;
}

}  // namespace

std::optional<std::uint64_t> free_for_runs(const config::Config& config) {
    fs::path where = config.output.runs_dir;
    std::error_code ec;
    while (!where.empty() && !fs::exists(where, ec)) where = where.parent_path();
    if (where.empty()) where = ".";
    struct statvfs found{};
    if (::statvfs(where.c_str(), &found) != 0) return {};
    return std::uint64_t{found.f_bavail} * found.f_frsize;
}

std::vector<std::string> quick_warnings(
    const config::Config& config, const std::string& party,
    const std::function<std::optional<std::uint64_t>(const config::Config&)>& free) {
    std::vector<std::string> warnings;
    if (const auto bytes = free(config); bytes && *bytes < disk_needed)
        warnings.push_back("only " + human_bytes(*bytes) + " are free for " +
                           config.output.runs_dir + "; make room, a run that cannot commit fails");
    const auto look_at_permissions = [&](const std::string& what, const std::string& path) {
        if (everybody_writes(path))
            warnings.push_back(what + " " + path +
                               " may be written by every user of this machine; chmod o-w it");
    };
    look_at_permissions("the runs directory", config.output.runs_dir);
    const auto found = config.parties.find(party);
    if (found == config.parties.end()) return warnings;
    look_at_permissions("the policy", found->second.policy);
    look_at_permissions("the table", found->second.data);
    return warnings;
}

void look_quickly(const config::Config& config, const std::string& party) {
    for (const std::string& text : quick_warnings(config, party)) observe::log::warn("{}", text);
}

}  // namespace vflbus::cli
