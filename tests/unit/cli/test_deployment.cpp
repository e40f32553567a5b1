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

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("without keys the broker of an export says that it is in the clear", "[cli]") {
    const Example example;
    const std::string yaml = cli::kube_yaml(example.deployment());
    CHECK(has(yaml, "--insecure"));
    CHECK_FALSE(has(yaml, "VFLBUS_CERTIFICATES"));
    for (const auto& [name, unit] : cli::systemd_units(example.deployment()))
        CHECK_FALSE(has(unit, "CERTIFICATES"));
}

TEST_CASE("with keys an export hands each party its own, and the broker its list", "[cli]") {
    Example example;
    example.config.bus.certificates = "somebody/keys";
    const std::string yaml = cli::kube_yaml(example.deployment());
    CHECK_FALSE(has(yaml, "--insecure"));
    CHECK(has(yaml, "--certificates, /etc/vflbus/keys]"));
    CHECK(has(yaml, "secretName: vflbus-broker-keys"));
    CHECK(has(yaml, "secretName: vflbus-member-0-keys, defaultMode: 0440}"));
    CHECK(has(yaml, "{name: VFLBUS_CERTIFICATES, value: \"/etc/vflbus/keys\"}"));
    // what joins changes the list, which is where it can be written
    CHECK(has(yaml, "--from-literal=allow-list.at=/var/lib/vflbus"));
    CHECK(has(yaml, "- {name: list, mountPath: /var/lib/vflbus}"));
    CHECK(has(yaml, "- {name: list, persistentVolumeClaim: {claimName: vflbus-broker-list}}"));
    CHECK(has(yaml, "kind: PersistentVolumeClaim\nmetadata:\n  name: vflbus-broker-list\n"));
    CHECK(has(cli::systemd_units(example.deployment()).at("vflbus-broker.service"),
              "ReadWritePaths=/etc/vflbus/keys\n"));
    // where keys lie here is nobody's business there
    CHECK_FALSE(has(yaml, "somebody"));
    const auto units = cli::systemd_units(example.deployment());
    const std::string& member = units.at("vflbus-member-0.service");
    CHECK(has(member, "LoadCredential=member-0.key:/etc/vflbus/keys/member-0.key\n"));
    CHECK(has(member, "LoadCredential=broker.pub:/etc/vflbus/keys/broker.pub\n"));
    CHECK(has(member, "Environment=VFLBUS_CERTIFICATES=%d\n"));
    CHECK_FALSE(has(member, "broker.key"));
    CHECK_FALSE(has(member, "master.key"));
    CHECK(has(units.at("vflbus-broker.service"), "VFLBUS_CERTIFICATES=/etc/vflbus/keys\n"));
}
