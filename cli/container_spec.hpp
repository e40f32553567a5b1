#pragma once
// One container as podman is told of it: pure text, the same whoever runs it.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

using Words = std::vector<std::string>;

/// Behind the name of a party: the directory that has the keys of its container, beside the one of
/// what it sees as the runs directory, while the containers of a launch are there.
inline constexpr const char* keys_extension = ".keys";
/// And the one that has the socket at which its container answers Prometheus.
inline constexpr const char* metrics_extension = ".metrics";

struct Mount {
    std::filesystem::path host;
    std::filesystem::path inside;
    bool writable = false;
    friend bool operator==(const Mount&, const Mount&) = default;
};

struct ContainerSpec {
    std::string name;
    std::string image;
    std::string user = "10001:10001";
    std::string memory;  ///< as podman takes it; empty: no limit
    std::string cpus;
    /// So much of its output podman keeps, the youngest of it. 0: podman's own default.
    std::uint64_t log_bytes = 0;
    Words network;  ///< e.g. {"--network", "host"}
    std::vector<Mount> mounts;
    std::vector<std::pair<std::string, std::string>> variables;
    std::vector<std::pair<std::string, std::string>> labels;
    std::string restart;  ///< policy; empty: none
    bool detached = false;
    bool removed = true;  ///< with its end
    Words command;        ///< of vflbus
};

/// "run", what a party's container may do (a read-only root, no capabilities, no new privileges,
/// limits), the image and the command. A container of the same name is replaced.
Words run_words(const ContainerSpec& spec);

/// The keys of a party's section that name files, its tables first, each with its value. `Party` is
/// a PartyConfig or a const one.
template <class Party>
auto files_of(Party& party) {
    return std::array{std::pair{"data", &party.data}, std::pair{"test_data", &party.test_data},
                      std::pair{"predict_data", &party.predict_data},
                      std::pair{"policy", &party.policy}};
}

/// The files that a party reads, each at the path that it has here, so that its sentences name what
/// the user knows. Errors: usage for a path that a mount cannot name.
Result<std::vector<Mount>> data_mounts(const config::PartyConfig& party);

/// What one party may know: the agreed half, its own section, its own limits and waits. Broker and
/// runs directory are told on the command line.
config::Config only_of(const config::Config& config, const std::string& party);
/// The environment variable that tells an actor, and `vflbus health`, which party it is:
/// VFLBUS_RANK of a member, VFLBUS_ROLE of every other one.
std::pair<std::string, std::string> identity_variable(const std::string& party);

/// "uid:gid" that can read all these files: 10001:10001, otherwise the owner of the first that not
/// everybody may read. Without root it is the caller.
std::string user_for(const std::vector<Mount>& mounts);

/// Gives a file, or a directory with all that is in it, to "uid:gid". Only root can.
void give(const std::filesystem::path& path, const std::string& user);

/// The address of the broker in "10.89.0.0/24", near the end, and its fixed hardware address:
/// whoever takes over an address with another hardware address is not reached for a while.
Result<std::string> broker_ip(const std::string& subnet);
std::string mac_of(const std::string& ip);

inline constexpr std::uint16_t broker_port = 7423;

}  // namespace vflbus::cli
