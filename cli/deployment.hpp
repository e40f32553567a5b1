#pragma once
// A configuration as files of other systems: pure text.

#include <map>
#include <string>

#include "base/ids.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

struct Deployment {
    const config::Config& config;
    RunId run;
    std::string image;
    std::string memory;  ///< "2g"
    std::string cpus;    ///< "2"
};

/// YAML for `kubectl apply`: a Deployment and a Service for the broker, a StatefulSet per member, a
/// Job for the master, a ConfigMap per party with what it alone may know, a place for Secrets.
std::string kube_yaml(const Deployment& deployment);

/// The same as one Pod of one container per process, for `podman kube play` of version 4.3, which
/// knows no Job, StatefulSet or probe without a shell and mishandles Secrets. `own` is per party
/// the directory of this host that it keeps its runs in, `users` who it runs as.
std::string pod_yaml(const Deployment& deployment, const std::map<std::string, std::string>& own,
                     const std::map<std::string, std::string>& users);

/// Units by file name: broker, master and one per member.
std::map<std::string, std::string> systemd_units(const Deployment& deployment);

/// What one party's configuration is where its tables are below /data.
std::string contained_toml(const config::Config& config, const std::string& party);

}  // namespace vflbus::cli
