#include "container_spec.hpp"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace vflbus::cli {

namespace fs = std::filesystem;

Words run_words(const ContainerSpec& spec) {
    Words words{"run", "--replace", "--name", spec.name, "--pull", "never"};
    const auto add = [&words](std::initializer_list<std::string> more) {
        words.insert(words.end(), more);
    };
    if (spec.detached) add({"--detach"});
    if (spec.removed) add({"--rm"});
    if (!spec.restart.empty()) add({"--restart", spec.restart});
    if (spec.log_bytes != 0) add({"--log-opt", "max-size=" + std::to_string(spec.log_bytes) + "b"});
    // -- what it may do --------------------------------------------------------------
    add({"--user", spec.user});
    if (::geteuid() != 0) add({"--userns", "keep-id"});
    add({"--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges",
         // files of the user are mounted as they are, without another label
         "--security-opt", "label=disable", "--pids-limit", "256",
         // podman's own defaults are more than some hosts may give
         "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"});
    if (!spec.memory.empty()) add({"--memory", spec.memory});
    if (!spec.cpus.empty()) add({"--cpus", spec.cpus});
    // timers of podman need systemd; who wants to know asks by `podman exec NAME vflbus health`
    add({"--no-healthcheck"});
    // -- what it sees ----------------------------------------------------------------
    words.insert(words.end(), spec.network.begin(), spec.network.end());
    for (const Mount& mount : spec.mounts)
        add({"--volume",
             mount.host.string() + ":" + mount.inside.string() + (mount.writable ? "" : ":ro")});
    for (const auto& [name, value] : spec.variables) add({"--env", name + "=" + value});
    for (const auto& [name, value] : spec.labels) add({"--label", name + "=" + value});
    add({spec.image});
    words.insert(words.end(), spec.command.begin(), spec.command.end());
    return words;
}

Result<std::vector<Mount>> data_mounts(const config::PartyConfig& party) {
    std::vector<Mount> mounts;
    for (const auto& [key, path] : files_of(party)) {
        const std::string& file = *path;
        if (file.empty()) continue;
        if (file.find(':') != std::string::npos)
            return fail(Errc::usage, "the path " + file +
                                         " has a colon, which a mount cannot name; choose another");
        std::error_code ec;
        const fs::path real = fs::canonical(file, ec);
        mounts.push_back({ec ? fs::path(file) : real, file, false});
    }
    return mounts;
}

std::pair<std::string, std::string> identity_variable(const std::string& party) {
    constexpr std::string_view member = "member-";
    if (party.starts_with(member)) return {"VFLBUS_RANK", party.substr(member.size())};
    return {"VFLBUS_ROLE", party};
}

config::Config only_of(const config::Config& config, const std::string& party) {
    config::Config own = config;
    std::erase_if(own.parties, [&](const auto& entry) { return entry.first != party; });
    own.bus.broker = config::BusConfig{}.broker;
    own.bus.bind.clear();
    own.bus.certificates.clear();  // a container is told by VFLBUS_CERTIFICATES where they are
    own.output.runs_dir = config::OutputConfig{}.runs_dir;
    own.origins.erase("output.runs_dir");
    if (party != config::arbiter_name) own.self = party;
    return own;
}

std::string user_for(const std::vector<Mount>& mounts) {
    if (::geteuid() != 0) return std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
    for (const Mount& mount : mounts) {
        struct stat file{};
        if (::stat(mount.host.c_str(), &file) == 0 && (file.st_mode & S_IROTH) == 0)
            return std::to_string(file.st_uid) + ":" + std::to_string(file.st_gid);
    }
    return "10001:10001";
}

void give(const fs::path& path, const std::string& user) {
    if (::geteuid() != 0) return;
    const std::size_t colon = user.find(':');
    const auto uid = static_cast<uid_t>(std::stoul(user));
    const auto gid = static_cast<gid_t>(std::stoul(user.substr(colon + 1)));
    if (::lchown(path.c_str(), uid, gid) != 0) return;  // the container will say what it misses
    std::error_code ec;
    if (!fs::is_directory(fs::symlink_status(path, ec))) return;
    for (const auto& entry : fs::recursive_directory_iterator(path, ec))
        if (::lchown(entry.path().c_str(), uid, gid) != 0) return;
}

Result<std::string> broker_ip(const std::string& subnet) {
    in_addr net{};
    const std::size_t slash = std::min(subnet.find('/'), subnet.size());
    const std::string base = subnet.substr(0, slash);
    unsigned prefix = 0;
    if (slash < subnet.size())
        std::from_chars(subnet.data() + slash + 1, subnet.data() + subnet.size(), prefix);
    if (::inet_pton(AF_INET, base.c_str(), &net) != 1 || prefix < 8 || prefix > 29)
        return fail(Errc::internal,
                    "podman made a network of \"" + subnet + "\", which is no IPv4 network for us");
    // podman hands out addresses from the low end
    net.s_addr = htonl(ntohl(net.s_addr) + (1U << (32 - prefix)) - 3);
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &net, text.data(), text.size());
    return std::string(text.data());
}

std::string mac_of(const std::string& ip) {
    in_addr address{};
    ::inet_pton(AF_INET, ip.c_str(), &address);
    const std::uint32_t n = ntohl(address.s_addr);
    std::array<char, 18> text{};
    // locally administered, one of a kind within the network
    std::snprintf(text.data(), text.size(), "92:d0:%02x:%02x:%02x:%02x", n >> 24, (n >> 16) & 0xff,
                  (n >> 8) & 0xff, n & 0xff);
    return text.data();
}

}  // namespace vflbus::cli
