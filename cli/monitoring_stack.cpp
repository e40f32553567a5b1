#include "monitoring_stack.hpp"

#include <algorithm>

#include "base/quotes.hpp"
#include "monitoring/files.hpp"

namespace vflbus::cli {
namespace {

constexpr const char* data_source =
    "apiVersion: 1\n"
    "datasources:\n"
    "  - {name: Prometheus, type: prometheus, access: proxy, url: \"http://127.0.0.1:9090\", "
    "isDefault: true}\n";

constexpr const char* dashboards =
    "apiVersion: 1\n"
    "providers:\n"
    "  - {name: vflbus, type: file, options: {path: /etc/vflbus/dashboards}}\n";

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct Part {
    std::string name;
    std::vector<std::string> command{};  ///< empty: that of the image
    std::vector<std::string> arguments{};
    Pairs variables{};
    Pairs mounts{};  ///< volume and path
};

/// As container/monitoring/build-images names it.
std::string built_image(std::string_view part) {
    return "localhost/vflbus-" + std::string(part);
}

std::string list_of(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + in_quotes(word);
    return "[" + out + "]";
}

std::string as_yaml(const Part& part, const StackImages& images) {
    const auto known = std::ranges::find(stack_parts, part.name, &StackPart::name);
    const auto named = images.find(part.name);
    std::string out = "    - name: " + part.name + "\n      image: " +
                      in_quotes(named == images.end() ? std::string(known->image) : named->second) +
                      "\n      imagePullPolicy: IfNotPresent\n";
    if (!part.command.empty()) out += "      command: " + list_of(part.command) + "\n";
    if (!part.arguments.empty()) out += "      args: " + list_of(part.arguments) + "\n";
    if (!part.variables.empty()) out += "      env:\n";
    for (const auto& [name, value] : part.variables)
        out += "        - {name: " + name + ", value: " + in_quotes(value) + "}\n";
    if (!part.mounts.empty()) out += "      volumeMounts:\n";
    for (const auto& [volume, path] : part.mounts)
        out += "        - {name: " + volume + ", mountPath: " + in_quotes(path) +
               (volume.ends_with("-data") ? "" : ", readOnly: true") + "}\n";
    return out;
}

std::vector<Part> parts_of(const std::string& password) {
    // the image of MLflow has no driver for PostgreSQL; one that has it asks nobody for it
    const std::string server =
        "python3 -c 'import psycopg2' 2>/dev/null || pip install --quiet psycopg2-binary; "
        "exec mlflow server --host 127.0.0.1 --port 5000 --workers 1 "
        "--backend-store-uri "
        "\"postgresql+psycopg2://mlflow:$POSTGRES_PASSWORD@127.0.0.1:5432/mlflow\" "
        "--serve-artifacts --artifacts-destination /mlflow";
    return {
        {.name = "prometheus",
         .arguments = {"--config.file=/etc/prometheus/prometheus.yml",
                       "--storage.tsdb.path=/prometheus", "--web.listen-address=127.0.0.1:9090"},
         .mounts = {{"prometheus-files", "/etc/prometheus"}, {"prometheus-data", "/prometheus"}}},
        {.name = "grafana",
         .variables = {{"GF_SERVER_HTTP_ADDR", "127.0.0.1"},
                       {"GF_AUTH_ANONYMOUS_ENABLED", "true"},
                       {"GF_ANALYTICS_REPORTING_ENABLED", "false"},
                       {"GF_ANALYTICS_CHECK_FOR_UPDATES", "false"}},
         .mounts = {{"grafana-files", "/etc/grafana/provisioning"},
                    {"dashboards", "/etc/vflbus/dashboards"},
                    {"grafana-data", "/var/lib/grafana"}}},
        {.name = "postgres",
         .arguments = {"-c", "listen_addresses=127.0.0.1"},
         .variables = {{"POSTGRES_USER", "mlflow"},
                       {"POSTGRES_DB", "mlflow"},
                       {"POSTGRES_PASSWORD", password}},
         .mounts = {{"postgres-data", "/var/lib/postgresql/data"}}},
        {.name = "mlflow",
         .command = {"sh", "-c", server},
         .variables = {{"POSTGRES_PASSWORD", password}},
         .mounts = {{"mlflow-data", "/mlflow"}}},
    };
}

}  // namespace

Result<StackImages> stack_images(const std::vector<std::string>& words) {
    StackImages images;
    for (const std::string& word : words) {
        const std::size_t at = word.find('=');
        const std::string name = word.substr(0, at);
        const bool known = std::ranges::any_of(
            stack_parts, [&](const StackPart& part) { return part.name == name; });
        if (at == std::string::npos || !known || at + 1 == word.size())
            return fail(Errc::usage,
                        "--image is NAME=IMAGE with prometheus, grafana, postgres or "
                        "mlflow for NAME, not '" +
                            word + "'");
        images[name] = word.substr(at + 1);
    }
    return images;
}

StackImages from_packages(StackImages images) {
    for (const StackPart& part : stack_parts)
        images.try_emplace(std::string(part.name),
                           part.name == "grafana" ? std::string(left_out) : built_image(part.name));
    return images;
}

std::vector<std::string> parts_to_build(const StackImages& images) {
    std::vector<std::string> parts;
    for (const auto& [name, image] : images)
        if (image == built_image(name)) parts.push_back(name);
    return parts;
}

std::string_view build_images_script() {
    return monitoring::build_images;
}

std::string stack_yaml(const std::filesystem::path& dir, const StackImages& images,
                       const std::string& password) {
    std::string out =
        "# Made by `vflbus prerequisites start`, which writes it anew.\n"
        "apiVersion: v1\n"
        "kind: Pod\n"
        "metadata:\n"
        "  name: " +
        std::string(stack_pod) +
        "\n"
        "spec:\n"
        "  hostNetwork: true\n"
        "  restartPolicy: Always\n"
        "  containers:\n";
    std::vector<Part> parts = parts_of(password);
    std::erase_if(parts, [&](const Part& part) {
        const auto named = images.find(part.name);
        return named != images.end() && named->second == left_out;
    });
    for (const Part& part : parts) out += as_yaml(part, images);
    out += "  volumes:\n";
    const Pairs directories{{"prometheus-files", "prometheus"},
                            {"grafana-files", "grafana"},
                            {"dashboards", "dashboards"}};
    for (const auto& [volume, below] : directories)
        out += "    - {name: " + volume +
               ", hostPath: {type: Directory, path: " + in_quotes((dir / below).string()) + "}}\n";
    for (const Part& part : parts)
        out += "    - {name: " + part.name + "-data, persistentVolumeClaim: {claimName: vflbus-" +
               part.name + "}}\n";
    return out;
}

std::vector<std::pair<std::filesystem::path, std::string>> stack_files() {
    return {{"prometheus/prometheus.yml", std::string(monitoring::prometheus_yml)},
            {"prometheus/rules.yml", std::string(monitoring::rules_yml)},
            {"grafana/datasources/prometheus.yml", data_source},
            {"grafana/dashboards/vflbus.yml", dashboards},
            {"dashboards/vflbus.json", std::string(monitoring::dashboard_json)}};
}

}  // namespace vflbus::cli
