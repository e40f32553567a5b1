#include "run_keys.hpp"

#include <string>
#include <vector>

#include "base/files.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"
#include "config/config.hpp"

namespace vflbus::cli {
namespace {

/// Longer than any run; whoever goes on with one makes new keys.
constexpr bus::Seconds run_keys_s = 90 * 86'400;

Result<std::string> allowed_line(const std::filesystem::path& directory, const std::string& name,
                                 const std::string& role, bus::Seconds expires) {
    const auto made = bus::make_key_files(directory, name, expires);
    if (!made) return tl::unexpected(made.error());
    bus::Allowed entry;
    entry.name = name;
    entry.key = made->pair.public_key;
    entry.roles = {role};
    entry.expires = expires;
    return bus::line_of(entry) + "\n";
}

}  // namespace

Result<RunKeys> RunKeys::make(const std::string& master, const std::vector<std::string>& members) {
    auto directory = PrivateDirectory::create("set TMPDIR");
    if (!directory) return tl::unexpected(directory.error());
    RunKeys keys(std::move(*directory));
    const bus::Seconds expires = bus::wall_seconds() + run_keys_s;
    const std::string broker(bus::broker_key_name);
    std::vector<std::string> names{broker, master};
    names.insert(names.end(), members.begin(), members.end());
    std::vector<std::string> files{std::string(bus::allow_list_name)};
    for (const std::string& name : names) {
        files.push_back(bus::secret_key_path({}, name).string());
        files.push_back(bus::public_key_path({}, name).string());
    }
    note_private_files(files);
    if (const auto made = bus::make_key_files(keys.directory(), broker, expires); !made)
        return tl::unexpected(made.error());
    std::string list;
    for (const std::string& name : names) {
        if (name == broker) continue;
        std::string role = name == config::arbiter_name ? name : "member";
        if (name == master) role = "master";
        auto line = allowed_line(keys.directory(), name, role, expires);
        if (!line) return tl::unexpected(line.error());
        list += *line;
    }
    if (const auto written = write_file_atomically(bus::allow_list_path(keys.directory()), list);
        !written)
        return tl::unexpected(written.error());
    return keys;
}

}  // namespace vflbus::cli
