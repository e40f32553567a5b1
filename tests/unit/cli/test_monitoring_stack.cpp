// The pod of Prometheus, Grafana, PostgreSQL and MLflow, as podman is told of it.

#include <string>

#include "catch.hpp"
#include "monitoring_stack.hpp"

using namespace vflbus;

namespace {

std::size_t times(const std::string& text, const std::string& word) {
    std::size_t count = 0;
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
        ++count;
    return count;
}

}  // namespace

TEST_CASE("the pod has four servers, each at this machine alone and with a volume") {
    const std::string yaml = cli::stack_yaml("/srv/a \"b\"", {}, "secret");
    for (const cli::StackPart& part : cli::stack_parts) {
        CAPTURE(part.name);
        const std::string name(part.name);
        CHECK(times(yaml, "    - name: " + name + "\n") == 1);
        CHECK(times(yaml, "image: \"" + std::string(part.image) + "\"") == 1);
        CHECK(times(yaml, "claimName: vflbus-" + name + "}") == 1);
    }
    CHECK(times(yaml, "path: \"/srv/a \\\"b\\\"/") == 3);
    CHECK(times(yaml, "secret") == 2);
    CHECK(yaml.find("0.0.0.0") == std::string::npos);
    for (const char* const at :
         {"--web.listen-address=127.0.0.1:9090", "GF_SERVER_HTTP_ADDR, value: \"127.0.0.1\"",
          "listen_addresses=127.0.0.1", "--host 127.0.0.1 --port 5000"})
        CHECK(times(yaml, at) == 1);
    // a line ends outside of quotes
    CHECK((times(yaml, "\"") - times(yaml, "\\\"")) % 2 == 0);
}

TEST_CASE("images of the stack are named by the user") {
    const auto images = cli::stack_images({"mlflow=localhost/mlflow:1", "postgres=pg@sha256:12"});
    REQUIRE(images);
    const std::string yaml = cli::stack_yaml("/srv", *images, "x");
    CHECK(times(yaml, "image: \"localhost/mlflow:1\"") == 1);
    CHECK(times(yaml, "image: \"pg@sha256:12\"") == 1);
    CHECK(times(yaml, "docker.io/prom/prometheus") == 1);
    for (const char* const wrong : {"mlflow", "mlflow=", "nginx=x", "=x"}) {
        CAPTURE(wrong);
        const auto refused = cli::stack_images({wrong});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::usage);
        CHECK(refused.error().sentence.find(wrong) != std::string::npos);
    }
}

TEST_CASE(
    "where no registry is reached, images are made of packages, and what has none is left out") {
    const auto named = cli::stack_images({"mlflow=localhost/mlflow:1"});
    REQUIRE(named);
    const auto images = cli::from_packages(*named);
    CHECK(cli::parts_to_build(images) == std::vector<std::string>{"postgres", "prometheus"});
    const std::string yaml = cli::stack_yaml("/srv", images, "x");
    CHECK(times(yaml, "image: \"localhost/vflbus-prometheus\"") == 1);
    CHECK(times(yaml, "image: \"localhost/vflbus-postgres\"") == 1);
    CHECK(times(yaml, "image: \"localhost/mlflow:1\"") == 1);
    CHECK(times(yaml, "- name: grafana\n") == 0);
    // Grafana is there when an image of it is named
    CHECK(
        times(cli::stack_yaml("/srv", cli::from_packages({{"grafana", "localhost/grafana"}}), "x"),
              "image: \"localhost/grafana\"") == 1);
    // and the script makes what it is asked for
    for (const char* part : {"prometheus", "postgres", "mlflow"})
        CHECK(cli::build_images_script().find("\n    " + std::string(part) + ")\n") !=
              std::string::npos);
}

TEST_CASE("what Prometheus and Grafana read is that of container/monitoring") {
    std::map<std::string, std::string> files;
    for (const auto& [path, text] : cli::stack_files()) files[path.string()] = text;
    CHECK(files.size() == 5);
    CHECK(files.at("prometheus/prometheus.yml").find("job_name: vflbus") != std::string::npos);
    CHECK(files.at("prometheus/rules.yml").find("$labels.instance") != std::string::npos);
    CHECK(files.at("dashboards/vflbus.json").starts_with("{"));
    CHECK(files.at("dashboards/vflbus.json").find("\"uid\": \"vflbus\"") != std::string::npos);
}
