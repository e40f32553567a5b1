// Who watches a run, and the files that a start writes: what is checked and kept from others.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>

#include "base/files.hpp"
#include "catch.hpp"
#include "container_metrics.hpp"
#include "observers/http_client.hpp"
#include "observers/http_server.hpp"
#include "observers/mlflow.hpp"
#include "parties.hpp"
#include "scratch.hpp"
#include "watch.hpp"

using namespace vflbus;
namespace fs = std::filesystem;

TEST_CASE("MLflow gets the agreed configuration without the salt of the ids", "[cli]") {
    config::Config config;
    config.data.id_salt = "secret";
    const observers::MlflowJob job = cli::mlflow_job(config, RunId{});
    for (const auto& [key, value] : job.params) {
        CHECK(key != "data.id_salt");
        CHECK(value.find("secret") == std::string::npos);
    }
    const auto agreed =
        std::ranges::find(job.artifacts, "agreed.txt", &observers::MlflowArtifact::name);
    REQUIRE(agreed != job.artifacts.end());
    REQUIRE(agreed->shown);
    CHECK(agreed->shown("data.id_salt = \"secret\"\nmodel.epochs = 3\n") == "model.epochs = 3\n");
}

TEST_CASE("a configuration with a password is nobody else's to read", "[cli]") {
    const cli::testing::Scratch runs;
    const fs::path file = runs.path / "made" / "vflbus.toml";
    config::Config config;
    const auto others = [&] {
        return fs::status(file).permissions() & (fs::perms::group_all | fs::perms::others_all);
    };
    config.observe.mlflow_uri = "http://me:pw@127.0.0.1:5000";
    for (int life = 0; life < 2; ++life) {
        REQUIRE(cli::write_configuration(file, config, runs.path).has_value());
        CHECK(others() == fs::perms::none);
        CHECK(read_file(file).value().find("me:pw@") != std::string::npos);
    }
    fs::remove(file);
    config.observe.mlflow_uri = "http://127.0.0.1:5000";
    REQUIRE(cli::write_configuration(file, config, runs.path).has_value());
    CHECK(read_file(file).value().find("127.0.0.1:5000") != std::string::npos);
}

TEST_CASE("each process that one command starts answers Prometheus at a place of its own",
          "[cli]") {
    CHECK(cli::metrics_address_of("127.0.0.1:9464", 0) == "127.0.0.1:9464");
    CHECK(cli::metrics_address_of("127.0.0.1:9464", 3) == "127.0.0.1:9467");
    CHECK(cli::metrics_address_of("[::1]:0", 3) == "[::1]:0");
    CHECK(cli::metrics_address_of("unix:/tmp/a:1", 0) == "unix:/tmp/a:1");
    CHECK(cli::metrics_address_of("unix:/tmp/a:1", 2) == "unix:/tmp/a:1.2");
}

TEST_CASE("what a container says at its socket file is passed on at a port of this machine",
          "[cli]") {
    const cli::testing::Scratch scratch;
    // deeper than the name of a socket may be long
    const fs::path directory = scratch.path / std::string(120, 'd');
    fs::create_directories(directory);
    const auto relay = cli::relay_metrics("127.0.0.1:0", false, directory);
    REQUIRE(relay.has_value());
    const std::atomic<bool> never{false};
    const auto ask = [&] {
        return observers::send({.url = (*relay)->url() + "/metrics"}, {}, std::chrono::seconds(20),
                               never);
    };
    const auto early = ask();
    REQUIRE(early.has_value());
    CHECK(early->status == 503);  // it has not begun to answer yet
    {
        observers::HttpServer::Options http;
        fs::create_directory_symlink(directory, scratch.path / "s");
        http.address = "unix:" + (scratch.path / "s" / "metrics").string();
        http.pages["/metrics"] = [](const observers::HttpQuery&) {
            return observers::HttpAnswer{200, "text/plain", "up 1\n"};
        };
        const auto container = observers::HttpServer::start(std::move(http));
        REQUIRE(container.has_value());
        const auto reply = ask();
        REQUIRE(reply.has_value());
        CHECK(reply->status == 200);
        CHECK(reply->body == "up 1\n");
    }
    CHECK(ask()->status == 503);
    CHECK(cli::relay_metrics("0.0.0.0:0", false, directory).error().code == Errc::insecure);
    CHECK(cli::relay_metrics("127.0.0.1:0", false, directory / "none").error().code == Errc::io);
}

TEST_CASE("a trace that cannot be written is said before the run", "[cli]") {
    const cli::testing::Scratch runs;
    config::Config config;
    CHECK(cli::check_trace(config).has_value());
    config.observe.trace = (runs.path / "new" / "trace.json").string();
    CHECK(cli::check_trace(config).has_value());
    CHECK_FALSE(fs::exists(config.observe.trace));
    REQUIRE(write_file_atomically(config.observe.trace, "kept").has_value());
    CHECK(cli::check_trace(config).has_value());
    CHECK(read_file(config.observe.trace).value() == "kept");
    config.observe.trace += "/below/a-file.json";
    const auto refused = cli::check_trace(config);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().sentence.find("cannot write the trace") == 0);
}
