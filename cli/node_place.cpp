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

Result<fs::path> find_node(const NodePlace& place) {
    if (!place.state_dir.empty()) return fs::path(place.state_dir);
    const auto config = load_config(place);
    if (!config) return tl::unexpected(config.error());
    const fs::path nodes = fs::path(config->output.runs_dir) / "nodes";
    std::error_code ec;
    if (!place.node.empty()) {
        fs::path found = nodes / place.node;
        if (!is_valid_node_name(place.node) || !fs::is_directory(found, ec))
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
        return fail(Errc::usage, "there is no audit log of a node in " + nodes.string() +
                                     "; say --state-dir DIR, or --set output.runs_dir=DIR");
    return fail(Errc::usage, "there are several nodes in " + nodes.string() + ": " +
                                 join_and(names) + "; say which by --node");
}

}  // namespace vflbus::cli
