// From section [bus] to what the bus is told: no command may forget a key. The table of keys is
// walked, so that a new key fails here until it is read somewhere.

#include <cstring>
#include <set>
#include <string>
#include <type_traits>

#include "catch.hpp"
#include "config/keys.hpp"
#include "settings.hpp"

using namespace vflbus;

namespace {

/// What timings and limits are made of, as bytes.
template <class Plain>
std::string bytes_of(const Plain& plain) {
    static_assert(std::is_trivially_copyable_v<Plain>);
    return {reinterpret_cast<const char*>(&plain), sizeof plain};
}

/// Everything that a link, a node and a broker are told, as text.
struct Told {
    std::string link;
    std::string node;
    std::string broker;
};

Told told(const config::Config& config) {
    Told all;
    bus::Hello hello;
    hello.instance = 7;
    const bus::LinkConfig link = cli::link_config(config, hello);
    all.link = bytes_of(link.timings) + bytes_of(link.limits);
    const actors::NodeOptions node = cli::node_options(config, "member-1");
    all.node = node.broker + node.keys.directory.string() + node.keys.name +
               bytes_of(node.keys.seal) + bytes_of(node.keys.first_use) +
               node.keys.known_parties.string() + bytes_of(node.timings) + bytes_of(node.limits) +
               bytes_of(node.connect_timeout) + bytes_of(node.link_timeout) +
               bytes_of(node.workers);
    const bus::BrokerOptions broker = cli::broker_options(config);
    for (const std::string& bind : broker.bind) all.broker += bind + " ";
    all.broker += bytes_of(broker.timings) + bytes_of(broker.limits) + bytes_of(broker.insecure) +
                  broker.certificates.string();
    return all;
}

/// Keys that the masters, the apps, the registry and the serving master read from the
/// configuration itself.
const std::set<std::string_view> read_elsewhere{
    "wait_report_interval", "restarts_max", "cancel_grace",  "commit_interval",   "commit_steps",
    "on_state_lost",        "registry",     "registry_runs", "submitted_at_once", "submitted_max"};
/// Keys of a node or a broker that a link of its own does not have.
const std::set<std::string_view> not_of_a_link{
    "broker",   "bind",          "insecure", "certificates",
    "identity", "recv_timeout",  "workers",  "rendezvous_timeout",
    "seal",     "known_parties", "first_use"};

/// Over tcp and with keys: what is said of keys counts only there.
config::Config with_keys() {
    config::Config config;
    config.bus.broker = "tcp://127.0.0.1:7";
    config.bus.certificates = "keys";
    return config;
}

struct Change {
    void operator()(bool* value) const { *value = !*value; }
    void operator()(std::uint64_t* value) const { *value += 1; }
    void operator()(double* value) const { *value = *value * 1.5 + 0.25; }
    void operator()(std::string* value) const { *value = "tcp://127.0.0.1:9"; }
    void operator()(std::uint8_t* value) const { *value = 1; }
    void operator()(std::vector<std::string>* value) const { *value = {"tcp://127.0.0.1:8"}; }
    void operator()(config::ClassWeights*) const {}
};

}  // namespace

TEST_CASE("every key of [bus] reaches the link, the node or the broker", "[cli]") {
    const Told before = told(with_keys());
    for (const config::Key& key : config::keys()) {
        if (key.section != "bus" || read_elsewhere.contains(key.name)) continue;
        CAPTURE(std::string(key.name));
        config::Config config = with_keys();
        config::PartyConfig nobody;
        std::visit(Change{}, key.field(config, nobody));
        const Told after = told(config);
        CHECK((after.node != before.node || after.broker != before.broker));
        CHECK((after.link != before.link) == !not_of_a_link.contains(key.name));
        // timings and limits are the same at all three
        if (after.link != before.link) {
            CHECK(after.node != before.node);
            CHECK(after.broker != before.broker);
        }
    }
}

TEST_CASE("a node has its name, and its state below output.runs_dir", "[cli]") {
    config::Config config;
    config.output.runs_dir = "/elsewhere";
    const actors::NodeOptions node = cli::node_options(config, "member-1");
    CHECK(node.name == "member-1");
    CHECK(node.state_dir == "/elsewhere/nodes/member-1");
}

TEST_CASE("a broker binds to bus.bind, otherwise to bus.broker", "[cli]") {
    config::Config config;
    CHECK(cli::broker_options(config).bind == std::vector<std::string>{config.bus.broker});
    config.bus.bind = {"ipc:///tmp/a", "tcp://127.0.0.1:1"};
    CHECK(cli::broker_options(config).bind == config.bus.bind);
}

TEST_CASE("the jitter of a link has its instance as seed", "[cli]") {
    bus::Hello hello;
    hello.instance = 4711;
    CHECK(cli::link_config(config::Config{}, hello).seed == 4711);
}
