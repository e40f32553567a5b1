// What podman, Kubernetes and systemd are told, as text: no container is started.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "catch.hpp"
#include "container_spec.hpp"
#include "deployment.hpp"

using namespace vflbus;
using namespace vflbus::cli;

namespace {

namespace fs = std::filesystem;

config::Config two_members() {
    config::Config config;
    config.run.world_size = 2;
    config.bus.rejoin_grace = 7;
    config.parties["master"].data = "/secret/bank/clients.csv";
    config.parties["master"].test_data = "/secret/bank/later/clients.csv";
    config.parties["master"].label = {"default"};
    config.parties["member-0"].data = "/secret/telecom/calls.csv";
    config.parties["member-1"].data = "/secret/shop/baskets.csv";
    config.bus.broker = "ipc:///tmp/bus";
    config.output.runs_dir = "/srv/runs";
    return config;
}

Deployment deployment_of(const config::Config& config) {
    return {config, *parse_run_id("00112233445566778899aabbccddeeff"), "localhost/vflbus:1", "2g",
            "1.5"};
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// The documents of a YAML file of this kind.
std::vector<std::string> documents(const std::string& yaml, const std::string& kind) {
    std::vector<std::string> found;
    std::string one;
    for (const std::string& line : split(yaml + "\n---", '\n')) {
        if (line == "---") {
            if (has(one, "\nkind: " + kind + "\n")) found.push_back(one);
            one = "\n";
        } else {
            one += line + "\n";
        }
    }
    return found;
}

bool follows(const Words& words, const Words& part) {
    return std::search(words.begin(), words.end(), part.begin(), part.end()) != words.end();
}

}  // namespace

TEST_CASE("a container may do nothing that its party does not need") {
    ContainerSpec spec;
    spec.name = "vflbus-x";
    spec.image = "localhost/vflbus:1";
    spec.memory = "1g";
    spec.cpus = "0.5";
    spec.network = {"--network", "inner"};
    spec.mounts = {{"/a/b.csv", "/c/b.csv", false}, {"/runs/x", "/runs", true}};
    spec.variables = {{"VFLBUS_RANK", "0"}};
    spec.command = {"actor", "--once"};
    const Words words = run_words(spec);
    CHECK(words.front() == "run");
    CHECK(follows(words, {"--read-only"}));
    CHECK(follows(words, {"--cap-drop", "all"}));
    CHECK(follows(words, {"--security-opt", "no-new-privileges"}));
    CHECK(follows(words, {"--memory", "1g"}));
    CHECK(follows(words, {"--cpus", "0.5"}));
    CHECK(follows(words, {"--pids-limit", "256"}));
    CHECK(follows(words, {"--network", "inner"}));
    CHECK(follows(words, {"--volume", "/a/b.csv:/c/b.csv:ro"}));
    CHECK(follows(words, {"--volume", "/runs/x:/runs"}));
    CHECK(follows(words, {"--env", "VFLBUS_RANK=0"}));
    CHECK(follows(words, {"--rm"}));
    CHECK_FALSE(follows(words, {"--detach"}));
    CHECK_FALSE(follows(words, {"--privileged"}));
    CHECK_FALSE(follows(words, {"--log-opt"}));
    CHECK(Words(words.end() - 3, words.end()) == Words{"localhost/vflbus:1", "actor", "--once"});

    spec.detached = true;
    spec.removed = false;
    spec.restart = "on-failure:3";
    spec.log_bytes = 10'000'000;
    const Words other = run_words(spec);
    CHECK(follows(other, {"--detach"}));
    CHECK(follows(other, {"--restart", "on-failure:3"}));
    CHECK(follows(other, {"--log-opt", "max-size=10000000b"}));
    CHECK_FALSE(follows(other, {"--rm"}));
}

TEST_CASE("a party's configuration holds nothing of the others") {
    const config::Config config = two_members();
    const config::Config own = only_of(config, "member-0");
    CHECK(own.parties.size() == 1);
    CHECK(own.parties.contains("member-0"));
    CHECK(own.run == config.run);
    CHECK(own.model == config.model);
    CHECK(own.bus.rejoin_grace == 7);
    CHECK(own.bus.broker == config::BusConfig{}.broker);
    const std::string text = contained_toml(config, "member-0");
    CHECK(has(text, "data = \"/data/calls.csv\""));
    CHECK(has(text, "world_size = 2"));
    CHECK_FALSE(has(text, "secret"));
    CHECK_FALSE(has(text, "member-1"));
    CHECK_FALSE(has(text, "master"));
}

TEST_CASE("tables of one name do not take each other's place") {
    const std::string text = contained_toml(two_members(), "master");
    CHECK(has(text, "\ndata = \"/data/clients.csv\""));
    CHECK(has(text, "\ntest_data = \"/data/test_data-clients.csv\""));
}

TEST_CASE("a table that not everybody may read is read by its owner") {
    const fs::path file = fs::temp_directory_path() / ("vflbus-user-" + std::to_string(::getpid()));
    std::ofstream(file) << "id\n";
    fs::permissions(file, fs::perms(0644));
    const std::string self = std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
    CHECK(user_for({{file, file, false}}) == (::geteuid() == 0 ? "10001:10001" : self));
    fs::permissions(file, fs::perms(0600));
    CHECK(user_for({{file, file, false}}) == self);
    fs::remove(file);
}

TEST_CASE("a path with a colon is refused") {
    config::PartyConfig party;
    party.data = "/a/b:c.csv";
    const auto mounts = data_mounts(party);
    REQUIRE_FALSE(mounts);
    CHECK(mounts.error().code == Errc::usage);
}

TEST_CASE("the broker's address is near the end of the network, its hardware address its own") {
    CHECK(broker_ip("10.89.0.0/24").value() == "10.89.0.253");
    CHECK(broker_ip("192.168.4.16/28").value() == "192.168.4.29");
    CHECK_FALSE(broker_ip("fd00::/64"));
    CHECK_FALSE(broker_ip(""));
    CHECK(mac_of("10.89.0.253") == "92:d0:0a:59:00:fd");
    CHECK(mac_of("10.89.1.253") != mac_of("10.89.0.253"));
}

TEST_CASE("Kubernetes gets a broker, members that keep state, and a run as a job") {
    const config::Config config = two_members();
    const std::string yaml = kube_yaml(deployment_of(config));
    CHECK(documents(yaml, "Deployment").size() == 1);
    CHECK(documents(yaml, "Service").size() == 1);
    CHECK(documents(yaml, "StatefulSet").size() == 2);
    CHECK(documents(yaml, "NetworkPolicy").size() == 1);
    CHECK(documents(yaml, "PersistentVolumeClaim").size() == 1);
    REQUIRE(documents(yaml, "Job").size() == 1);
    const std::string job = documents(yaml, "Job").front();
    CHECK(has(job, R"("--run-id", "00112233445566778899aabbccddeeff", "--or-resume")"));
    CHECK(has(job, "restartPolicy: Never"));
    CHECK(has(job, "action: FailJob"));
    for (const std::string& set : documents(yaml, "StatefulSet")) {
        CHECK(has(set, "readOnlyRootFilesystem: true"));
        CHECK(has(set, "runAsNonRoot: true"));
        CHECK(has(set, "drop: [ALL]"));
        CHECK(has(set, "limits: {memory: 2Gi, cpu: \"1.5\"}"));
        CHECK(has(set, "livenessProbe: {exec: {command: [/usr/bin/vflbus, health]}"));
        CHECK(has(set, "readinessProbe"));
        CHECK(has(set, "volumeClaimTemplates"));
        CHECK(has(set, "optional: true"));  // of the Secret
    }
    // one ConfigMap per party, with its own half only
    const auto maps = documents(yaml, "ConfigMap");
    REQUIRE(maps.size() == 3);
    for (const std::string& map : maps)
        CHECK(1 == has(map, "[party.master]") + has(map, "[party.member-0]") +
                       has(map, "[party.member-1]"));
    CHECK_FALSE(has(yaml, "/secret"));
    CHECK_FALSE(has(yaml, "\t"));
    CHECK_FALSE(has(yaml, "---\n---"));
}

TEST_CASE("podman gets one Pod whose containers see their own only") {
    const config::Config config = two_members();
    const std::map<std::string, std::string> own{{"master", "/srv/runs/pod/master"},
                                                 {"member-0", "/srv/runs/pod/member-0"},
                                                 {"member-1", "/srv/runs/pod/member-1"}};
    const std::map<std::string, std::string> users{
        {"master", "10001:10001"}, {"member-0", "10001:10001"}, {"member-1", "1000:1000"}};
    const std::string yaml = pod_yaml(deployment_of(config), own, users);
    REQUIRE(documents(yaml, "Pod").size() == 1);
    // what podman 4.3 does not know, mishandles or leaves behind
    for (const char* const kind : {"Job", "StatefulSet", "Secret", "ConfigMap", "Service",
                                   "PersistentVolumeClaim", "Deployment"})
        CHECK(documents(yaml, kind).empty());
    CHECK_FALSE(has(yaml, "Probe"));
    CHECK(has(yaml, "imagePullPolicy: Never"));
    CHECK(has(yaml, "runAsUser: 1000\n"));
    // per container: its own volumes
    const auto at = yaml.find("- name: member-0\n");
    const std::string one = yaml.substr(at, yaml.find("- name: member-1\n") - at);
    CHECK(has(one, "member-0-config, mountPath: /etc/vflbus/vflbus.toml"));
    CHECK(has(one, "mountPath: \"/data/calls.csv\", readOnly: true"));
    CHECK_FALSE(has(one, "master"));
    CHECK_FALSE(has(one, "member-1"));
    CHECK(has(yaml, "hostPath: {path: \"/secret/telecom/calls.csv\", type: File}"));
    CHECK(has(yaml, "hostPath: {path: \"/srv/runs/pod/member-0.toml\", type: File}"));
}

TEST_CASE("systemd gets one unit per process") {
    const config::Config config = two_members();
    const auto units = systemd_units(deployment_of(config));
    REQUIRE(units.size() == 4);
    const std::string& member = units.at("vflbus-member-1.service");
    CHECK(has(member, "\nExecStart=/usr/bin/vflbus actor --role member --rank 1 --config "));
    CHECK(has(member, "\nRestart=on-failure\n"));
    CHECK(has(member, "\nRestartPreventExitStatus=2 3 6 8 9 130\n"));
    CHECK(has(member, "\nMemoryMax=2G\n"));
    CHECK(has(member, "\nCPUQuota=150%\n"));
    CHECK(has(member, "\nProtectSystem=strict\n"));
    CHECK(has(member, "\n[Install]\n"));
    CHECK(has(units.at("vflbus-master.service"), "--or-resume"));
    CHECK(has(units.at("vflbus-broker.service"), "\nExecStart=/usr/bin/vflbus broker "));
    for (const auto& [name, unit] : units)
        for (const std::string& line : split(unit, '\n'))
            CHECK((line.empty() || line.front() == '[' || line.front() == '#' || has(line, "=")));
}
