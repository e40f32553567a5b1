// Who watches a run, and the files that a start writes: what is checked and kept from others.

#include <algorithm>
#include <filesystem>
#include <string>

#include "base/files.hpp"
#include "catch.hpp"
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
