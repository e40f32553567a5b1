#include "deployment.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/quotes.hpp"
#include "base/text.hpp"
#include "config/document.hpp"
#include "container_spec.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* runs_inside = "/runs";
constexpr const char* data_inside = "/data";
constexpr const char* config_dir = "/etc/vflbus";
constexpr const char* keys_dir = "/etc/vflbus/keys";

bool with_keys(const Deployment& deployment) {
    return !deployment.config.bus.certificates.empty();
}

std::vector<std::string> parties_of(const config::Config& config) {
    std::vector<std::string> names{"master"};
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        names.push_back(config::member_name(rank));
    if (config::has_arbiter(config)) names.emplace_back(config::arbiter_name);
    return names;
}

/// Where each container answers Prometheus, which reaches it by the address of its Pod alone; 0:
/// observe.metrics is not asked for.
std::uint16_t metrics_port(const config::Config& config) {
    const std::string& address = config.observe.metrics;
    const std::size_t colon = address.rfind(':');
    if (colon == std::string::npos) return 0;
    std::uint16_t port = 0;
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
    return port;
}

using Variables = std::vector<std::pair<std::string, std::string>>;

Variables metrics_variables(const config::Config& config) {
    const std::uint16_t port = metrics_port(config);
    if (port == 0) return {};
    return {{"VFLBUS_OBSERVE_METRICS", "0.0.0.0:" + std::to_string(port)},
            {"VFLBUS_OBSERVE_REMOTE", "true"}};
}

std::string list(const std::vector<std::string>& words) {
    std::string out = "[";
    for (const std::string& word : words) out += (out.size() == 1 ? "" : ", ") + in_quotes(word);
    return out + "]";
}

std::string indented(std::string_view text, std::size_t by) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        if (end > at) out += std::string(by, ' ') + std::string(text.substr(at, end - at));
        out += '\n';
        at = end + 1;
    }
    return out;
}

/// "2g" as Kubernetes says it: "2Gi".
std::string kube_memory(const std::string& memory) {
    std::string out = memory;
    if (!out.empty() && (out.back() == 'b' || out.back() == 'B')) out.pop_back();
    if (out.empty()) return "2Gi";
    switch (out.back()) {
        case 'k':
        case 'K':
            out.back() = 'K';
            return out + "i";
        case 'm':
        case 'M':
            out.back() = 'M';
            return out + "i";
        case 'g':
        case 'G':
            out.back() = 'G';
            return out + "i";
        default:
            return out;
    }
}

std::string labels(const std::string& party) {
    return "{app.kubernetes.io/name: vflbus, app.kubernetes.io/component: " + party + "}";
}

/// Labels, and by the annotations that Prometheus' usual configuration for Kubernetes reads where
/// its metrics are.
std::string template_metadata(const Deployment& deployment, const std::string& party) {
    const std::uint16_t port = metrics_port(deployment.config);
    return "{labels: " + labels(party) +
           (port == 0 ? std::string()
                      : ", annotations: {prometheus.io/scrape: \"true\", prometheus.io/port: \"" +
                            std::to_string(port) + "\"}") +
           "}";
}

std::string config_map(const Deployment& deployment, const std::string& party) {
    return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: vflbus-" + party +
           "\n  labels: " + labels(party) + "\ndata:\n  vflbus.toml: |\n" +
           indented(contained_toml(deployment.config, party), 4) + "---\n";
}

std::vector<std::string> actor_words(const Deployment& deployment, const std::string& party) {
    std::vector<std::string> words{"actor", "--role"};
    if (party == "master")
        words.insert(words.end(), {"master", "--run-id", deployment.run.hex(), "--or-resume"});
    else if (party == config::arbiter_name)
        words.push_back(party);
    else
        words.insert(words.end(), {"member", "--rank", party.substr(sizeof "member-" - 1)});
    return words;
}

std::string variables(const Variables& all, std::size_t by) {
    std::string out = "env:\n";
    for (const auto& [name, value] : all)
        out += "- {name: " + name + ", value: " + in_quotes(value) + "}\n";
    return indented(out, by);
}

Variables party_variables(const std::string& party, const std::string& broker, bool keys) {
    Variables all{{"VFLBUS_CONFIG", std::string(config_dir) + "/vflbus.toml"},
                  {"VFLBUS_BROKER", broker},
                  {"VFLBUS_OUTPUT_RUNS_DIR", runs_inside}};
    if (keys) all.emplace_back("VFLBUS_CERTIFICATES", keys_dir);
    all.push_back(identity_variable(party));
    return all;
}

/// Where the party's tables and its policy are within its container; empty: has none.
std::array<std::string, 4> files_inside(const config::PartyConfig& party) {
    std::array<std::string, 4> inside;
    const auto files = files_of(party);
    for (std::size_t i = 0; i < files.size(); ++i) {
        const auto& [key, file] = files[i];
        if (file->empty()) continue;
        const std::string name = fs::path(*file).filename().string();
        inside[i] = (fs::path(data_inside) / name).string();
        for (std::size_t before = 0; before < i; ++before)
            if (inside[before] == inside[i])
                inside[i] = (fs::path(data_inside) / (std::string(key) + "-" + name)).string();
    }
    return inside;
}

constexpr const char* container_security =
    "securityContext:\n"
    "  readOnlyRootFilesystem: true\n"
    "  allowPrivilegeEscalation: false\n"
    "  capabilities: {drop: [ALL]}\n";

std::string resources(const Deployment& deployment) {
    return "resources:\n  requests: {memory: 64Mi, cpu: 100m}\n  limits: {memory: " +
           kube_memory(deployment.memory) + ", cpu: " + in_quotes(deployment.cpus) + "}\n";
}

constexpr const char* pod_security =
    "securityContext:\n"
    "  runAsNonRoot: true\n"
    "  runAsUser: 10001\n"
    "  runAsGroup: 10001\n"
    "  fsGroup: 10001\n"
    "  seccompProfile: {type: RuntimeDefault}\n"
    "automountServiceAccountToken: false\n";

std::string probes(bool ready) {
    const std::string live =
        "{exec: {command: [/usr/bin/vflbus, health]}, periodSeconds: 10, timeoutSeconds: 2, "
        "failureThreshold: 6}\n";
    std::string out = "livenessProbe: " + live;
    if (ready)
        out +=
            "readinessProbe: {exec: {command: [/usr/bin/vflbus, health, --ready]}, periodSeconds: "
            "5, timeoutSeconds: 2}\n";
    return out;
}

std::string party_pod(const Deployment& deployment, const std::string& party,
                      const std::string& restart) {
    std::string out = pod_security;
    // a node that is told to end finishes its step and says goodbye
    out += "terminationGracePeriodSeconds: 45\n";
    if (!restart.empty()) out += "restartPolicy: " + restart + "\n";
    Variables told = party_variables(party, "tcp://vflbus-broker:7423", with_keys(deployment));
    for (auto& variable : metrics_variables(deployment.config)) told.push_back(std::move(variable));
    out += "containers:\n- name: " + party + "\n  image: " + deployment.image +
           "\n  imagePullPolicy: IfNotPresent\n  args: " + list(actor_words(deployment, party)) +
           "\n" + variables(told, 2);
    if (const std::uint16_t port = metrics_port(deployment.config); port != 0)
        out += "  ports: [{name: metrics, containerPort: " + std::to_string(port) + "}]\n";
    out += indented(probes(true), 2) + indented(resources(deployment), 2) +
           indented(container_security, 2);
    out +=
        "  volumeMounts:\n"
        "  - {name: config, mountPath: /etc/vflbus, readOnly: true}\n"
        "  - {name: keys, mountPath: /etc/vflbus/keys, readOnly: true}\n" +
        std::string(party == config::arbiter_name
                        ? ""
                        : "  - {name: data, mountPath: /data, readOnly: true}\n") +
        "  - {name: runs, mountPath: /runs}\n"
        "volumes:\n"
        "- {name: config, configMap: {name: vflbus-" +
        party +
        "}}\n"
        "- {name: keys, secret: {secretName: vflbus-" +
        party + "-keys, defaultMode: 0440" + (with_keys(deployment) ? "" : ", optional: true") +
        "}}\n";
    if (party != config::arbiter_name)
        out += "- {name: data, persistentVolumeClaim: {claimName: vflbus-" + party +
               "-data, readOnly: true}}\n";
    return out;
}

}  // namespace

std::string contained_toml(const config::Config& config, const std::string& party) {
    config::Config own = only_of(config, party);
    const auto found = own.parties.find(party);
    if (found != own.parties.end()) {
        const auto inside = files_inside(found->second);
        const auto files = files_of(found->second);
        for (std::size_t i = 0; i < files.size(); ++i) *files[i].second = inside[i];
    }
    // what its comments say is in docs/configuration.md
    std::string out;
    for (const std::string& line : split(config::to_toml(own), '\n'))
        if (!line.empty() && line.front() != '#') out += line + "\n";
    return out;
}

namespace {

/// A Service and a Deployment for the broker, and who may reach it.
std::string kube_broker(const Deployment& deployment) {
    std::string out =
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: vflbus-broker\n  labels: " +
        labels("broker") + "\nspec:\n  selector: " + labels("broker") +
        "\n  ports: [{name: bus, port: 7423, targetPort: bus}]\n---\n";
    out += "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: vflbus-broker\n  labels: " +
           labels("broker") +
           "\nspec:\n  replicas: 1\n"
           "  # one at a time: two brokers would be two buses\n"
           "  strategy: {type: Recreate}\n  selector: {matchLabels: " +
           labels("broker") +
           "}\n  template:\n    metadata: " + template_metadata(deployment, "broker") +
           "\n    spec:\n";
    const std::uint16_t metrics = metrics_port(deployment.config);
    const std::string port = std::to_string(metrics);
    Variables told{{"VFLBUS_ROLE", "broker"}};
    for (auto& variable : metrics_variables(deployment.config)) told.push_back(std::move(variable));
    std::string broker = pod_security;
    broker += "containers:\n- name: broker\n  image: " + deployment.image +
              "\n  imagePullPolicy: IfNotPresent\n" +
              (with_keys(deployment)
                   ? std::string("  args: [broker, --bind, \"tcp://0.0.0.0:7423\", "
                                 "--certificates, ") +
                         keys_dir + "]\n"
                   : std::string("  # in the clear, without bus.certificates: the NetworkPolicy "
                                 "below keeps others out\n"
                                 "  args: [broker, --bind, \"tcp://0.0.0.0:7423\", "
                                 "--insecure]\n")) +
              variables(told, 2) + "  ports: [{name: bus, containerPort: 7423}" +
              (metrics == 0 ? "" : ", {name: metrics, containerPort: " + port + "}") + "]\n" +
              indented(probes(false), 2) +
              indented("readinessProbe: {tcpSocket: {port: bus}, periodSeconds: 5}\n", 2) +
              indented(resources(deployment), 2) + indented(container_security, 2) +
              (with_keys(deployment)
                   ? "  volumeMounts:\n"
                     "  - {name: runs, mountPath: /runs}\n"
                     "  - {name: keys, mountPath: /etc/vflbus/keys, readOnly: true}\n"
                     "  - {name: list, mountPath: /var/lib/vflbus}\n"
                     "volumes:\n"
                     "- {name: runs, emptyDir: {}}\n"
                     "- {name: list, persistentVolumeClaim: {claimName: vflbus-broker-list}}\n"
                     "- {name: keys, secret: {secretName: vflbus-broker-keys, defaultMode: "
                     "0440}}\n"
                   : "  volumeMounts: [{name: runs, mountPath: /runs}]\n"
                     "volumes: [{name: runs, emptyDir: {}}]\n");
    out += indented(broker, 6) + "---\n";
    if (with_keys(deployment))
        out +=
            "# the allow-list, which changes while the broker runs\n"
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n"
            "  name: vflbus-broker-list\n  labels: " +
            labels("broker") +
            "\nspec:\n  accessModes: [ReadWriteOnce]\n"
            "  resources: {requests: {storage: 16Mi}}\n---\n";
    out +=
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: vflbus-broker\n"
        "spec:\n  podSelector: {matchLabels: " +
        labels("broker") +
        "}\n  policyTypes: [Ingress]\n  ingress:\n"
        "  - from: [{podSelector: {matchLabels: {app.kubernetes.io/name: vflbus}}}]\n"
        "    ports: [{port: 7423}]\n" +
        (metrics == 0 ? "" : "  - ports: [{port: " + port + "}]\n") + "---\n";
    return out;
}

constexpr const char* kube_claim =
    "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";

/// A claim for its runs, and a Job.
std::string kube_master(const Deployment& deployment) {
    const std::string party = "master";
    std::string out =
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: vflbus-master-runs"
        "\n  labels: " +
        labels(party) + "\n" + kube_claim + "---\n";
    out +=
        "# one run; another one is another Job with another --run-id\n"
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: vflbus-" +
        deployment.run.hex().substr(0, 12) + "\n  labels: " + labels(party) +
        "\nspec:\n  backoffLimit: 6\n"
        "  # reasons that would come again: docs/operating.md, exit codes\n"
        "  podFailurePolicy:\n    rules:\n    - action: FailJob\n"
        "      onExitCodes: {operator: In, values: [2, 3, 6, 8, 9]}\n"
        "  template:\n    metadata: " +
        template_metadata(deployment, party) + "\n    spec:\n" +
        indented(party_pod(deployment, party, "Never") +
                     "- {name: runs, persistentVolumeClaim: {claimName: "
                     "vflbus-master-runs}}\n",
                 6) +
        "---\n";
    return out;
}

/// A StatefulSet, which brings a claim for its runs.
std::string kube_member(const Deployment& deployment, const std::string& party) {
    return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: vflbus-" + party +
           "\n  labels: " + labels(party) + "\nspec:\n  replicas: 1\n  serviceName: vflbus-" +
           party + "\n  selector: {matchLabels: " + labels(party) +
           "}\n  template:\n    metadata: " + template_metadata(deployment, party) +
           "\n    spec:\n" + indented(party_pod(deployment, party, ""), 6) +
           "  volumeClaimTemplates:\n  - metadata: {name: runs}\n" + indented(kube_claim, 4) +
           "---\n";
}

}  // namespace

std::string kube_yaml(const Deployment& deployment) {
    std::string out =
        "# vflbus on Kubernetes: kubectl apply -n NAMESPACE -f THIS\n"
        "# Each party reads its tables from a claim of its own, vflbus-<party>-data, that is there "
        "before:\n"
        "# put the files of its [party] section at its top. Parties of several organisations: each "
        "applies its\n"
        "# own objects in its own cluster, with VFLBUS_BROKER set to where the broker is.\n";
    if (with_keys(deployment))
        out +=
            "# Keys are Secrets, which are there before (docs/security.md). A Secret cannot be "
            "written, so allow-list.at\n"
            "# says where the broker's allow-list is; it begins as the one in the Secret, if any.\n"
            "# kubectl create secret generic vflbus-broker-keys --from-file=keys/broker.key "
            "--from-file=keys/broker.pub --from-file=keys/allow-list "
            "--from-literal=allow-list.at=/var/lib/vflbus\n"
            "# kubectl exec deploy/vflbus-broker -- vflbus invite --certificates /etc/vflbus/keys "
            "--name member-0 --role member --rank 0 --broker tcp://HOST:7423\n"
            "# kubectl create secret generic vflbus-member-0-keys "
            "--from-file=keys/member-0.key --from-file=keys/broker.pub\n";
    out += kube_broker(deployment);
    for (const std::string& party : parties_of(deployment.config)) {
        out += config_map(deployment, party);
        out += party == "master" ? kube_master(deployment) : kube_member(deployment, party);
    }
    out.resize(out.size() - 4);  // the last ---
    return out;
}

std::string pod_yaml(const Deployment& deployment, const std::map<std::string, std::string>& own,
                     const std::map<std::string, std::string>& users) {
    std::string out =
        "# vflbus for podman 4.3: podman kube play --network none THIS; podman kube down THIS\n"
        "# One Pod: its containers share nothing but a loopback, where the broker is.\n";
    out +=
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: vflbus\n  labels: {app: vflbus}\nspec:\n"
        "  restartPolicy: OnFailure\n  containers:\n";
    const auto user = [](const std::string& text) {
        return "  runAsUser: " + text.substr(0, text.find(':')) +
               "\n  runAsGroup: " + text.substr(text.find(':') + 1) + "\n";
    };
    std::string broker = "- name: broker\n  image: " + deployment.image +
                         "\n  imagePullPolicy: Never\n  args: [broker]\n"
                         "  env: [{name: VFLBUS_ROLE, value: broker}]\n" +
                         indented(resources(deployment), 2) +
                         indented(std::string(container_security) + user("10001:10001"), 2);
    out += indented(broker, 2);
    std::string volumes = "  volumes:\n";
    for (const std::string& party : parties_of(deployment.config)) {
        std::string one =
            "- name: " + party + "\n  image: " + deployment.image +
            "\n  imagePullPolicy: Never\n  args: " + list(actor_words(deployment, party)) + "\n" +
            variables(party_variables(party, "tcp://127.0.0.1:7423", false), 2) +
            indented(resources(deployment), 2) +
            indented(container_security + user(users.at(party)), 2) +
            "  volumeMounts:\n"
            "  - {name: " +
            party +
            "-config, mountPath: /etc/vflbus/vflbus.toml, readOnly: true}\n"
            "  - {name: " +
            party + "-runs, mountPath: /runs}\n";
        volumes += "  - {name: " + party +
                   "-config, hostPath: {path: " + in_quotes(own.at(party) + ".toml") +
                   ", type: File}}\n";
        volumes += "  - {name: " + party + "-runs, hostPath: {path: " + in_quotes(own.at(party)) +
                   ", type: Directory}}\n";
        const config::PartyConfig& section = section_of(deployment.config, party);
        const auto inside = files_inside(section);
        const auto files = files_of(section);
        for (std::size_t i = 0; i < files.size(); ++i) {
            const std::string& file = *files[i].second;
            if (file.empty()) continue;
            const std::string name = party + "-data-" + std::to_string(i);
            one += "  - {name: " + name + ", mountPath: " + in_quotes(inside[i]) +
                   ", readOnly: true}\n";
            volumes +=
                "  - {name: " + name + ", hostPath: {path: " + in_quotes(file) + ", type: File}}\n";
        }
        out += indented(one, 2);
    }
    return out + volumes;
}

namespace {

/// A party gets its own secret and the broker's public key as credentials, which nobody else on the
/// machine can read; the broker reads its directory, as the allow-list changes while it runs.
std::string key_lines(const Deployment& deployment, const std::string& name, bool party) {
    if (!with_keys(deployment)) return {};
    const std::string directory = std::string(keys_dir) + "/";
    if (!party)
        // `vflbus join` has the broker write its allow-list
        return "Environment=VFLBUS_CERTIFICATES=" + std::string(keys_dir) +
               "\nReadWritePaths=" + std::string(keys_dir) + "\nExecReload=kill -HUP $MAINPID\n";
    return "LoadCredential=" + name + ".key:" + directory + name +
           ".key\nLoadCredential=broker.pub:" + directory +
           "broker.pub\nEnvironment=VFLBUS_CERTIFICATES=%d\n";
}

}  // namespace

std::map<std::string, std::string> systemd_units(const Deployment& deployment) {
    std::map<std::string, std::string> units;
    const auto unit = [&](const std::string& name, const std::string& command, bool party) {
        std::string text = "# " +
                           std::string(party ? "systemctl enable --now on the host of " : "") +
                           (party ? name : "systemctl enable --now in a neutral place") +
                           "; its configuration is /etc/vflbus/vflbus.toml\n";
        text +=
            "[Unit]\nDescription=vflbus " + name +
            "\nAfter=network-online.target\nWants=network-online.target\n"
            "StartLimitIntervalSec=600\nStartLimitBurst=20\n\n[Service]\n"
            "ExecStart=/usr/bin/vflbus " +
            command +
            "\n"
            "User=vflbus\nGroup=vflbus\n" +
            key_lines(deployment, name, party) +
            "Environment=VFLBUS_OUTPUT_RUNS_DIR=/var/lib/vflbus\n"
            "StateDirectory=vflbus\nStateDirectoryMode=0700\nWorkingDirectory=/var/lib/vflbus\n"
            "Restart=on-failure\nRestartSec=2\n"
            "# a reason that would come again: usage, data, configuration; a younger process of "
            "this name; and 130: its run was stopped\n"
            "RestartPreventExitStatus=2 3 6 8 9 130\n"
            "KillSignal=SIGTERM\nTimeoutStopSec=45\n";
        if (!deployment.memory.empty())
            text +=
                "MemoryMax=" +
                kube_memory(deployment.memory).substr(0, kube_memory(deployment.memory).find('i')) +
                "\n";
        if (const double cpus = std::strtod(deployment.cpus.c_str(), nullptr); cpus > 0)
            text += "CPUQuota=" + std::to_string(std::lround(cpus * 100)) + "%\n";
        text +=
            "TasksMax=256\nLimitNOFILE=4096\n"
            "NoNewPrivileges=yes\nCapabilityBoundingSet=\nAmbientCapabilities=\n"
            "ProtectSystem=strict\nProtectHome=read-only\nPrivateTmp=yes\nPrivateDevices=yes\n"
            "ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectControlGroups=yes\n"
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n"
            "RestrictNamespaces=yes\nLockPersonality=yes\n"
            "ProtectClock=yes\nProtectKernelLogs=yes\nProtectHostname=yes\n"
            "ProtectProc=invisible\nPrivateMounts=yes\nRemoveIPC=yes\n"
            "RestrictSUIDSGID=yes\nRestrictRealtime=yes\nMemoryDenyWriteExecute=yes\n"
            "SystemCallArchitectures=native\nSystemCallFilter=@system-service\n"
            "SystemCallFilter=~@privileged @resources\nSystemCallErrorNumber=EPERM\n"
            "UMask=0077\n\n[Install]\nWantedBy=multi-user.target\n";
        units["vflbus-" + name + ".service"] = std::move(text);
    };
    unit("broker", "broker --config /etc/vflbus/vflbus.toml", false);
    for (const std::string& party : parties_of(deployment.config)) {
        std::string command;
        for (const std::string& word : actor_words(deployment, party))
            command += (command.empty() ? "" : " ") + word;
        unit(party, command + " --config /etc/vflbus/vflbus.toml", true);
    }
    return units;
}

}  // namespace vflbus::cli
