// What `vflbus export` writes about keys.

#include "catch.hpp"
#include "deployment.hpp"

using namespace vflbus;

namespace {

struct Example {
    Example() {
        config.run.world_size = 1;
        for (const char* name : {"master", "member-0"}) config.parties[name] = {};
    }
    [[nodiscard]] cli::Deployment deployment() const {
        return {config, {}, "localhost/vflbus:0", "2g", "2"};
    }
    config::Config config;
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("without keys the broker of an export says that it is in the clear", "[cli]") {
    const Example example;
    const std::string yaml = cli::kube_yaml(example.deployment());
    CHECK(contains(yaml, "--insecure"));
    CHECK_FALSE(contains(yaml, "VFLBUS_CERTIFICATES"));
    for (const auto& [name, unit] : cli::systemd_units(example.deployment()))
        CHECK_FALSE(contains(unit, "CERTIFICATES"));
}

TEST_CASE("with keys an export hands each party its own, and the broker its list", "[cli]") {
    Example example;
    example.config.bus.certificates = "somebody/keys";
    const std::string yaml = cli::kube_yaml(example.deployment());
    CHECK_FALSE(contains(yaml, "--insecure"));
    CHECK(contains(yaml, "--certificates, /etc/vflbus/keys]"));
    CHECK(contains(yaml, "secretName: vflbus-broker-keys"));
    CHECK(contains(yaml, "secretName: vflbus-member-0-keys, defaultMode: 0440}"));
    CHECK(contains(yaml, "{name: VFLBUS_CERTIFICATES, value: \"/etc/vflbus/keys\"}"));
    // what joins changes the list, which is where it can be written
    CHECK(contains(yaml, "--from-literal=allow-list.at=/var/lib/vflbus"));
    CHECK(contains(yaml, "- {name: list, mountPath: /var/lib/vflbus}"));
    CHECK(contains(yaml, "- {name: list, persistentVolumeClaim: {claimName: vflbus-broker-list}}"));
    CHECK(contains(yaml, "kind: PersistentVolumeClaim\nmetadata:\n  name: vflbus-broker-list\n"));
    CHECK(contains(cli::systemd_units(example.deployment()).at("vflbus-broker.service"),
                   "ReadWritePaths=/etc/vflbus/keys\n"));
    // where keys lie here is nobody's business there
    CHECK_FALSE(contains(yaml, "somebody"));
    const auto units = cli::systemd_units(example.deployment());
    const std::string& member = units.at("vflbus-member-0.service");
    CHECK(contains(member, "LoadCredential=member-0.key:/etc/vflbus/keys/member-0.key\n"));
    CHECK(contains(member, "LoadCredential=broker.pub:/etc/vflbus/keys/broker.pub\n"));
    CHECK(contains(member, "Environment=VFLBUS_CERTIFICATES=%d\n"));
    CHECK_FALSE(contains(member, "broker.key"));
    CHECK_FALSE(contains(member, "master.key"));
    CHECK(contains(units.at("vflbus-broker.service"), "VFLBUS_CERTIFICATES=/etc/vflbus/keys\n"));
}

TEST_CASE("where metrics are asked for, an export opens their port and says where it is", "[cli]") {
    Example example;
    CHECK_FALSE(contains(cli::kube_yaml(example.deployment()), "VFLBUS_OBSERVE"));
    example.config.observe.metrics = "127.0.0.1:9464";
    const std::string yaml = cli::kube_yaml(example.deployment());
    std::size_t told = 0;
    for (std::size_t at = 0;
         (at = yaml.find("{name: VFLBUS_OBSERVE_METRICS, value: \"0.0.0.0:9464\"}", at)) !=
         std::string::npos;
         ++at)
        ++told;
    CHECK(told == 3);  // broker, master, member
    CHECK(contains(yaml, "{name: VFLBUS_OBSERVE_REMOTE, value: \"true\"}"));
    CHECK(contains(
        yaml, "ports: [{name: bus, containerPort: 7423}, {name: metrics, containerPort: 9464}]"));
    CHECK(contains(yaml, "  - ports: [{port: 9464}]\n"));
    CHECK(contains(yaml, "prometheus.io/port: \"9464\""));
}
