#include "watch.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "actors/run/observer_queue.hpp"
#include "base/hash.hpp"
#include "config/agreed.hpp"
#include "observe/log.hpp"
#include "observers/http_server.hpp"
#include "observers/metrics.hpp"
#include "observers/mlflow.hpp"
#include "observers/run_metrics.hpp"
#include "observers/samples.hpp"
#include "observers/tensorboard.hpp"
#include "observers/trace.hpp"
#include "run_files.hpp"
#include "settings.hpp"
#include "version.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
namespace log = observe::log;
using std::chrono::milliseconds;

constexpr auto file_patience = milliseconds(2000);
constexpr auto mlflow_patience_more = milliseconds(3000);

/// The members of a training by their numbers, and its arbiter.
std::vector<std::string> members_of(const config::Config& config) {
    std::vector<std::string> names;
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        names.push_back(config::member_name(rank));
    if (config::has_arbiter(config)) names.emplace_back(config::arbiter_name);
    return names;
}

observers::Family build_info(const std::string& role) {
    return {"vflbus_build_info",
            "1; its labels say what runs here.",
            observers::Family::Type::gauge,
            {{{{"version", version_text}, {"role", role}}, 1}}};
}

/// What stands in the environment, or `otherwise`.
std::string variable_or(const char* name, std::string otherwise) {
    const char* const value = std::getenv(name);
    return value == nullptr || *value == '\0' ? std::move(otherwise) : std::string(value);
}

// -- MLflow ---------------------------------------------------------------------------

/// All agreed keys, and what Stalactite calls some of them.
observers::MlflowPairs params_of(const config::Config& config, const RunId& run) {
    observers::MlflowPairs params = config::shown_agreed(config);
    const auto& model = config.model;
    const std::string task(name_of(model.task));
    params.emplace_back("batch_size", std::to_string(model.batch_size));
    params.emplace_back("epochs", std::to_string(model.epochs));
    params.emplace_back("learning_rate", fmt::format("{}", model.learning_rate));
    params.emplace_back("members_count", std::to_string(config.run.world_size));
    params.emplace_back("exp_uid", run.hex());
    params.emplace_back("is_consequently",
                        model.solver == config::Solver::sequential ? "True" : "False");
    params.emplace_back("model_name", task);
    return params;
}

}  // namespace

observers::MlflowJob mlflow_job(const config::Config& config, const RunId& run) {
    observers::MlflowJob job;
    job.uri = config.observe.mlflow_uri;
    job.experiment = config.observe.mlflow_experiment;
    if (job.experiment.empty()) job.experiment = config.run.experiment_label;
    if (job.experiment.empty()) job.experiment = variable_or("MLFLOW_EXPERIMENT_NAME", "Default");
    job.run_name = config.observe.mlflow_run_name;
    if (job.run_name.empty())
        job.run_name = variable_or("MLFLOW_RUN_NAME",
                                   std::string(name_of(config.model.task)) + "-" + run.short_hex());
    job.params = params_of(config, run);
    std::string parties = "master";
    for (const std::string& name : members_of(config)) parties += ", " + name;
    job.tags = {{"mlflow.runName", job.run_name},
                {"mlflow.user", variable_or("USER", "vflbus")},
                {"mlflow.source.name", "vflbus"},
                {"mlflow.source.type", "LOCAL"},
                {"vflbus.version", version_text},
                {"vflbus.run_id", run.hex()},
                {"vflbus.config_hash", to_hex(config::agreed_hash(config))},
                {"vflbus.parties", parties.substr(0, 4000)}};
    const fs::path directory = fs::path(config.output.runs_dir) / run.hex();
    job.state_file = directory / "master" / "mlflow.json";
    // not the lists of ids that lie beside the model
    job.artifacts = {{"report.json", directory / "report.json"},
                     {"agreed.txt", directory / "agreed.txt", shown_configuration},
                     {"model/model.json", directory / "master" / "model.json"}};
    job.wait = std::chrono::duration_cast<milliseconds>(seconds(config.observe.mlflow_wait));
    job.info = [run](const std::string& text) {
        log::info({run, {}, "master", "observe"}, "{}", text);
    };
    job.warn = [run](const std::string& text) {
        log::warn({run, {}, "master", "observe"}, "{}", text);
    };
    return job;
}

void send_what_mlflow_lacks(const config::Config& config, const RunId& run) {
    if (config.observe.mlflow_uri.empty()) return;
    observers::MlflowJob job = mlflow_job(config, run);
    std::error_code ec;
    if (!fs::exists(job.state_file, ec)) return;
    auto sender = observers::MlflowSender::start(std::move(job));
    if (!sender) return log::warn({.part = "observe"}, "{}", sender.error().sentence);
    if ((*sender)->anything_left()) (*sender)->finish({});
}

fs::path trace_part(const fs::path& run_dir, const std::string& party) {
    return run_dir / party / "trace.json";
}

Result<> check_addresses(const config::ObserveConfig& observe) {
    if (!observe.metrics.empty())
        if (auto good = observers::check_address(observe.metrics, observe.remote); !good)
            return good;
    static const std::atomic<bool> never{false};
    if (!observe.mlflow_uri.empty())
        if (auto opened = observers::open_mlflow(observe.mlflow_uri, never); !opened)
            return tl::unexpected(opened.error());
    return {};
}

std::string place_of_metrics(const observers::HttpServer& server) {
    // the page is asked for through the socket; it is no file beside it
    return server.url() + (server.url().starts_with("unix:") ? ", page /metrics" : "/metrics");
}

std::string metrics_address(const config::Config& config, const std::string& party) {
    if (!config.observe.metrics.empty()) return config.observe.metrics;
    if (config.observe.prometheus_server_port == 0 || party != "master") return {};
    return "127.0.0.1:" + std::to_string(config.observe.prometheus_server_port);
}

std::string metrics_address_of(const std::string& base, std::uint64_t place) {
    if (base.starts_with("unix:")) return place == 0 ? base : base + "." + std::to_string(place);
    const std::size_t colon = base.rfind(':');
    if (colon == std::string::npos) return base;
    std::uint64_t port = 0;
    for (const char c : base.substr(colon + 1)) {
        if (c < '0' || c > '9' || port > 65535) return base;  // the child says what is wrong
        port = 10 * port + static_cast<std::uint64_t>(c - '0');
    }
    return base.substr(0, colon + 1) + std::to_string(port == 0 ? 0 : port + place);
}

std::shared_ptr<actors::RunObserver> queued(std::string name,
                                            std::shared_ptr<actors::RunObserver> observer,
                                            std::chrono::milliseconds patience) {
    actors::ObserverQueue::Options options;
    options.name = std::move(name);
    options.patience = patience;
    options.warn = [](const std::string& text) { log::warn({.part = "observe"}, "{}", text); };
    return std::make_shared<actors::ObserverQueue>(std::move(observer), std::move(options));
}

// -- one party ------------------------------------------------------------------------

struct Watch::Parts {
    explicit Parts(Options given) : options(std::move(given)) {}

    Result<> serve_metrics(const config::Config& config);
    Result<> write_trace(const config::Config& config);
    [[nodiscard]] std::string page();

    Options options;
    std::shared_ptr<observers::Metrics> metrics;  ///< null: nobody asks for them
    std::shared_ptr<observers::RunMetrics> run_metrics;
    /// Of this party, whatever run it works for.
    std::vector<std::shared_ptr<actors::RunObserver>> always;
    std::map<NodeId, std::string> names;
    std::mutex mutex;
    actors::Node* node = nullptr;
    std::unique_ptr<observers::HttpServer> server;  ///< ends first
};

Watch::Watch(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Watch::~Watch() = default;

Result<std::unique_ptr<Watch>> Watch::start(const config::Config& config, Options options) {
    auto parts = std::make_unique<Parts>(std::move(options));
    if (!parts->options.shares_process || parts->options.party == "master") {
        if (auto served = parts->serve_metrics(config); !served)
            return tl::unexpected(served.error());
        if (auto written = parts->write_trace(config); !written)
            return tl::unexpected(written.error());
    }
    return std::unique_ptr<Watch>(new Watch(std::move(parts)));
}

Result<> Watch::Parts::serve_metrics(const config::Config& config) {
    const std::string address = metrics_address(config, options.party);
    if (address.empty()) return {};
    const std::vector<std::string> members = members_of(config);
    names.emplace(node_id_of("master"), "master");
    for (const std::string& name : members) names.emplace(node_id_of(name), name);
    metrics = std::make_shared<observers::Metrics>(observers::Labels{{"node", options.node}});
    run_metrics =
        std::make_shared<observers::RunMetrics>(metrics, members, config.run.experiment_label);
    always.push_back(queued("Prometheus", run_metrics, file_patience));
    observers::HttpServer::Options http;
    http.address = address;
    http.remote = config.observe.remote;
    http.pages["/metrics"] = [this](const observers::HttpQuery&) {
        return observers::HttpAnswer{200, observers::metrics_type, page()};
    };
    auto started = observers::HttpServer::start(std::move(http));
    if (!started) return tl::unexpected(started.error());
    server = std::move(*started);
    log::info({{}, {}, options.node, "observe"}, "metrics at {}", place_of_metrics(*server));
    return {};
}

Result<> Watch::Parts::write_trace(const config::Config& config) {
    if (config.observe.trace.empty()) return {};
    observers::TraceObserver::Options trace;
    trace.file = config.observe.trace;
    trace.party = options.node;
    const std::vector<std::string> members = members_of(config);
    const auto place = std::find(members.begin(), members.end(), options.party);
    if (options.party == "master") trace.parties = members;
    trace.place = place == members.end() ? 1 : static_cast<unsigned>(2 + (place - members.begin()));
    // a party of `launch` that a signal has ended is started again
    trace.goes_on = true;
    auto opened = observers::TraceObserver::open(std::move(trace));
    if (!opened) return tl::unexpected(opened.error());
    always.push_back(queued("the trace", std::move(*opened), file_patience));
    return {};
}

std::string Watch::Parts::page() {
    std::vector<observers::Family> all = observers::process_families();
    all.push_back(build_info(options.role));
    const auto add = [&all](std::vector<observers::Family> more) {
        for (observers::Family& family : more) all.push_back(std::move(family));
    };
    {
        const std::lock_guard lock(mutex);
        if (node != nullptr) add(observers::families_of(node->sample(), names));
    }
    add(run_metrics->sample());
    return metrics->text(std::move(all));
}

void Watch::look_at(actors::Node* node) {
    const std::lock_guard lock(parts_->mutex);
    parts_->node = node;
}

std::function<void(const actors::HandledRequest&)> Watch::on_handled() const {
    if (parts_->always.empty()) return {};
    return [queues = parts_->always](const actors::HandledRequest& handled) {
        for (const auto& queue : queues) queue->on_handled(handled);
    };
}

std::unique_ptr<actors::Env> Watch::measured(std::unique_ptr<actors::Env> env) const {
    if (parts_->metrics == nullptr) return env;
    return std::make_unique<observers::MeasuredEnv>(std::move(env), parts_->metrics);
}

const std::vector<std::shared_ptr<actors::RunObserver>>& Watch::of_process() const {
    return parts_->always;
}

Result<std::vector<std::shared_ptr<actors::RunObserver>>> Watch::observers(
    const config::Config& config, const RunId& run) const {
    std::vector<std::shared_ptr<actors::RunObserver>> all = parts_->always;
    if (!config.observe.tensorboard.empty()) {
        const fs::path directory = fs::path(config.observe.tensorboard) / run.hex();
        std::error_code ec;
        auto opened = observers::TensorBoardObserver::open(directory, fs::exists(directory, ec));
        if (!opened) return tl::unexpected(opened.error());
        all.push_back(queued("TensorBoard", std::move(*opened), file_patience));
    }
    if (!config.observe.mlflow_uri.empty()) {
        observers::MlflowJob job = mlflow_job(config, run);
        job.keeps_all = !variable_or(mlflow_later_variable, "").empty();
        const auto patience = job.wait + mlflow_patience_more;
        auto sender = observers::MlflowSender::start(std::move(job));
        if (!sender) return tl::unexpected(sender.error());
        (*sender)->reopen();
        all.push_back(queued(
            "MLflow", std::make_shared<observers::MlflowObserver>(std::move(*sender)), patience));
    }
    return all;
}

// -- a broker ---------------------------------------------------------------------------

Result<std::shared_ptr<observers::HttpServer>> watch_broker(const config::Config& config,
                                                            bus::BrokerLoop& broker) {
    const std::string address = metrics_address(config, "broker");
    if (address.empty()) return std::shared_ptr<observers::HttpServer>();
    observers::HttpServer::Options http;
    http.address = address;
    http.remote = config.observe.remote;
    http.pages["/metrics"] = [&broker](const observers::HttpQuery&) {
        std::vector<observers::Family> all = observers::process_families();
        all.push_back(build_info("broker"));
        const auto sample = broker.sample();
        if (!sample)
            return observers::HttpAnswer{503, "text/plain", "the broker does not answer\n"};
        for (observers::Family& family : observers::families_of(*sample))
            all.push_back(std::move(family));
        const observers::Metrics broker_metrics(observers::Labels{{"node", "broker"}});
        return observers::HttpAnswer{200, observers::metrics_type,
                                     broker_metrics.text(std::move(all))};
    };
    auto server = observers::HttpServer::start(std::move(http));
    if (!server) return tl::unexpected(server.error());
    log::info({.part = "observe"}, "metrics at {}", place_of_metrics(**server));
    return std::shared_ptr<observers::HttpServer>(std::move(*server));
}

}  // namespace vflbus::cli
