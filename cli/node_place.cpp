#include "node_place.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"
#include "observe/audit.hpp"
#include "settings.hpp"

namespace vflbus::cli {

namespace fs = std::filesystem;

fs::path audit_directory(const fs::path& state_dir) {
    return state_dir / "audit";
}

Result<fs::path> find_node(const NodePlace& place, Missing missing) {
    std::error_code ec;
    if (!place.state_dir.empty()) {
        if (missing == Missing::is_an_error && !fs::is_directory(place.state_dir, ec))
            return fail(Errc::usage, "--state-dir " + place.state_dir + ": there is no directory");
        return fs::path(place.state_dir);
    }
    const auto config = load_config(place);
    if (!config) return tl::unexpected(config.error());
    const fs::path nodes = nodes_directory(*config);
    if (!place.node.empty()) {
        fs::path found = nodes / place.node;
        const bool there = missing == Missing::is_made || fs::is_directory(found, ec);
        if (!is_valid_node_name(place.node) || !there)
            return fail(Errc::usage,
                        "--node " + place.node + ": there is no node of that name in " +
                            nodes.string() +
                            "; one that was started with --state-dir is found by that");
        return found;
    }
    std::vector<std::string> names;
    for (const fs::path& node : entries_of(nodes))
        if (fs::exists(observe::audit_file(audit_directory(node)), ec))
            names.push_back(node.filename().string());
    if (names.size() == 1) return nodes / names.front();
    std::ranges::sort(names);
    if (names.empty())
        return fail(Errc::usage,
                    "there is no audit log of a node in " + nodes.string() +
                        "; say --node NAME, --state-dir DIR, or --set output.runs_dir=DIR");
    return fail(Errc::usage, "there are several nodes in " + nodes.string() + ": " +
                                 join_and(names) + "; say which by --node");
}

}  // namespace vflbus::cli
