#include "policy/grants.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/files.hpp"
#include "base/json.hpp"
#include "base/node_names.hpp"
#include "policy/policy.hpp"
#include "policy/turn.hpp"

namespace vflbus::policy {
namespace {

std::filesystem::path grants_file(const std::filesystem::path& directory) {
    return directory / "grants.json";
}

}  // namespace

Result<std::vector<Grant>> read_grants(const std::filesystem::path& directory) {
    std::vector<Grant> grants;
    const std::filesystem::path file = grants_file(directory);
    std::error_code ec;
    if (!std::filesystem::exists(file, ec)) return grants;
    const auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    try {
        for (const Json& row : Json::parse(*text))
            grants.push_back({row.at("table").get<std::string>(),
                              row.at("owner").get<std::string>(), row.value("fingerprint", ""),
                              row.at("until_ms").get<std::int64_t>(), row.value("by", "")});
    } catch (const JsonError& e) {
        return fail(Errc::bad_data, file.string() + " holds no grants: " + e.what());
    }
    return grants;
}

Result<> write_grants(const std::filesystem::path& directory, const std::vector<Grant>& grants) {
    Json rows = Json::array();
    for (const Grant& grant : grants)
        rows.push_back(Json{{"table", grant.table},
                            {"owner", grant.owner},
                            {"fingerprint", grant.fingerprint},
                            {"until_ms", grant.until_ms},
                            {"by", grant.by}});
    std::error_code ec;
    std::filesystem::create_directories(directory, ec);
    return write_file_atomically(grants_file(directory), rows.dump(1) + "\n");
}

Result<> change_grants(const std::filesystem::path& directory,
                       const std::function<Result<>(std::vector<Grant>&)>& change) {
    std::error_code ec;
    std::filesystem::create_directories(directory, ec);
    const Turn turn(directory / "grants.lock");
    if (!turn.mine())
        return fail(Errc::io, "cannot lock the grants in " + directory.string() + ": " +
                                  std::generic_category().message(errno));
    auto grants = read_grants(directory);
    if (!grants) return tl::unexpected(grants.error());
    if (auto changed = change(*grants); !changed) return changed;
    return write_grants(directory, *grants);
}

bool granted(const std::vector<Grant>& grants, const std::string& table, const Owner& owner,
             std::int64_t now_ms) {
    return std::ranges::any_of(grants, [&](const Grant& grant) {
        // processes of an owner, such as those of runs that it submits, have names made of its own
        const bool of_owner =
            grant.owner == owner.name || grant.owner == without_suffix(owner.name);
        return grant.table == table && of_owner && now_ms < grant.until_ms &&
               (grant.fingerprint.empty() || same_key(grant.fingerprint, owner.fingerprint));
    });
}

}  // namespace vflbus::policy
