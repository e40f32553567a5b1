// The owner of a run of apps and a node that serves it, as threads of one process, so that
// ThreadSanitizer sees the nodes' threads, the hosts' threads and all that passes between them. The
// apps are real processes.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/node/node.hpp"
#include "apps/client_host.hpp"
#include "apps/run_config.hpp"
#include "apps/server_host.hpp"
#include "base/hash.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::apps;
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

Helper helper_of(const std::string& name, AppKind kind) {
    const char* const dir = std::getenv("VFLBUS_APPS");
    REQUIRE(dir != nullptr);
    HelperOptions options;
    options.app = std::string(dir) + "/" + name + ".so";
    options.kind = kind;
    options.output_to_error = true;
    auto made = Helper::start(options);
    REQUIRE(made);
    return std::move(*made);
}

/// Lines of all runs.
class Lines {
  public:
    LogHook hook() {
        return [this](app::Level, const RunId&, const std::string& text) {
            const std::lock_guard lock(mutex_);
            text_ += text + "\n";
        };
    }
    bool holds(const std::string& what) {
        const std::lock_guard lock(mutex_);
        return text_.find(what) != std::string::npos;
    }
    bool await(const std::string& what) {
        for (int i = 0; i < 60'000 && !holds(what); ++i)
            std::this_thread::sleep_for(milliseconds(1));
        return holds(what);
    }
    std::string text() {
        const std::lock_guard lock(mutex_);
        return text_;
    }

  private:
    std::mutex mutex_;
    std::string text_;
};

/// A broker and a node that serves the test's client, until the end. All helpers are forked first,
/// while the process has one thread.
class Stage {
  public:
    explicit Stage(std::size_t servers) {
        for (std::size_t i = 0; i < servers; ++i)
            servers_.push_back(helper_of("test_server", AppKind::server));
        Helper client = helper_of("test_client", AppKind::client);
        std::string text = (fs::temp_directory_path() / "vflbus-XXXXXX").string();
        REQUIRE(::mkdtemp(text.data()) != nullptr);
        dir_ = text;
        context_ = bus::make_context();
        bus::BrokerOptions broker;
        broker.context = context_;
        broker.bind = {"ipc://" + (dir_ / "bus").string()};
        auto bound = bus::BrokerLoop::bind(std::move(broker));
        REQUIRE(bound);
        broker_ = std::move(*bound);
        threads_.emplace_back([this] { broker_->run(stop_broker_); });

        ClientHostOptions options;
        options.node_name = "node-a";
        options.workers = 2;
        options.grace = milliseconds(500);
        options.log = lines.hook();
        auto host = ClientHost::make(std::move(client), std::move(options));
        REQUIRE(host);
        host_ = std::move(*host);
        node_ = node("node-a", "member", {"apps"});
        threads_.emplace_back(
            [this] { (void)node_->serve(host_->with(actors::ClientApp{}), stop_node_, false); });
    }
    ~Stage() {
        stop_node_.stop();
        threads_[1].join();
        stop_broker_.stop();
        threads_[0].join();
        node_.reset();
        host_.reset();
        broker_.reset();
        fs::remove_all(dir_);
    }

    std::unique_ptr<actors::Node> node(const std::string& name, const std::string& role,
                                       std::vector<std::string> features = {}) {
        actors::NodeOptions options;
        options.context = context_;
        options.broker = "ipc://" + (dir_ / "bus").string();
        options.name = name;
        options.role = role;
        options.state_dir = dir_ / name;
        options.connect_timeout = seconds(30);
        options.features = std::move(features);
        auto made = actors::Node::create(std::move(options));
        REQUIRE(made);
        return std::move(*made);
    }

    /// A run of the test's server to its end, `n` times at once.
    std::vector<Failure> play(const std::vector<std::string>& words,
                              Duration grace = milliseconds(500),
                              std::uint64_t unanswered_bytes_max = std::uint64_t{1} << 30) {
        const auto config = parse_values(words, "--run-config");
        REQUIRE(config);
        std::vector<Failure> outcomes(servers_.size());
        std::vector<std::thread> owners;
        std::vector<std::unique_ptr<actors::Node>> nodes;
        std::vector<std::unique_ptr<ServerHost>> hosts;
        for (std::size_t i = 0; i < servers_.size(); ++i) {
            ServerHostOptions options;
            options.node_name = "server-" + std::to_string(i);
            options.run = random_run_id();
            options.run_config = *config;
            options.grace = grace;
            options.unanswered_bytes_max = unanswered_bytes_max;
            options.log = lines.hook();
            auto host = ServerHost::make(std::move(servers_[i]), std::move(options));
            REQUIRE(host);
            hosts.push_back(std::move(*host));
            nodes.push_back(node("server-" + std::to_string(i), "serverapp"));
        }
        for (std::size_t i = 0; i < servers_.size(); ++i)
            owners.emplace_back([&, i] {
                const bus::StopSignal never;
                const auto ending = nodes[i]->drive(*hosts[i], never);
                outcomes[i] = hosts[i]->finish();
                if (!ending) outcomes[i] = ending.error();
            });
        for (std::thread& owner : owners) owner.join();
        for (const auto& host : hosts)
            most_unanswered = std::max(most_unanswered, host->counts().unanswered_bytes);
        return outcomes;
    }

    Lines lines;
    std::uint64_t most_unanswered = 0;  ///< of the owners in bytes, at a time

  private:
    std::vector<Helper> servers_;
    fs::path dir_;
    std::shared_ptr<bus::Context> context_;
    std::unique_ptr<bus::BrokerLoop> broker_;
    std::unique_ptr<ClientHost> host_;
    std::unique_ptr<actors::Node> node_;
    bus::StopSignal stop_broker_;
    bus::StopSignal stop_node_;
    std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("runs at once on one node, each with its own replies") {
    Stage stage(3);
    for (const Failure& outcome : stage.play({"play=many", "total=100"})) {
        INFO(outcome.sentence << "\n" << stage.lines.text());
        CHECK(outcome.code == Errc::ok);
    }
    CHECK(stage.lines.holds("100 replies, all of this run"));
}

TEST_CASE("handlers that throw, crash, hang and are killed") {
    Stage stage(1);
    const Failure outcome = stage.play({"play=trouble"}).at(0);
    INFO(outcome.sentence << "\n" << stage.lines.text());
    CHECK(outcome.code == Errc::ok);
    CHECK(stage.lines.holds("all as promised"));
}

TEST_CASE(
    "a node says itself that a handler did not answer in time, where its owner has patience") {
    Stage stage(1);
    const Failure outcome = stage.play({"play=floods", "ttl-ms=500"}, std::chrono::hours(1)).at(0);
    INFO(outcome.sentence << "\n" << stage.lines.text());
    CHECK(outcome.code == Errc::ok);
    CHECK(
        stage.lines.holds("flooded: 37 node-a: handler train.floods did not answer within the "
                          "time to live of 0.50 s"));
}

TEST_CASE("a handler that logs without end, and one that writes nonsense") {
    const std::string play = GENERATE("floods", "scribbles");
    Stage stage(1);
    const Failure outcome = stage.play({"play=" + play}).at(0);
    INFO(outcome.sentence);
    CHECK(outcome.code == Errc::ok);
}

TEST_CASE("main that pushes faster than nodes answer waits, and all is answered") {
    Stage stage(1);
    constexpr std::uint64_t bound = 256 << 10;  // its 3,000 messages cost 5 MB
    const Failure outcome = stage.play({"play=many", "total=3000"}, milliseconds(500), bound).at(0);
    INFO(outcome.sentence << "\n" << stage.lines.text());
    CHECK(outcome.code == Errc::ok);
    CHECK(stage.lines.holds("3000 replies, all of this run"));
    CHECK(stage.most_unanswered > bound);  // it did come to that
    CHECK(stage.most_unanswered < 2 * bound);
}

TEST_CASE("a large tensor comes back whole") {
    Stage stage(1);
    const Failure outcome = stage.play({"play=large", "mib=20", "total=2"}).at(0);
    INFO(outcome.sentence << "\n" << stage.lines.text());
    CHECK(outcome.code == Errc::ok);
}

TEST_CASE("main that throws or crashes") {
    const std::string play = GENERATE("throws", "crashes");
    Stage stage(1);
    const Failure outcome = stage.play({"play=" + play}).at(0);
    CHECK(outcome.code == Errc::handler_failed);
}
