#include "watch.hpp"

#include <utility>

#include "actors/run/observer_queue.hpp"
#include "observe/log.hpp"
#include "observers/samples.hpp"
#include "version.hpp"

namespace vflbus::cli {
namespace {

namespace log = observe::log;

constexpr auto metrics_patience = std::chrono::milliseconds(1000);

/// The members of a training by their numbers.
std::vector<std::string> members_of(const config::Config& config) {
    std::vector<std::string> names;
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        names.push_back(config::member_name(rank));
    return names;
}

observers::Family build_info(const std::string& role) {
    return {"vflbus_build_info",
            "1; its labels say what runs here.",
            observers::Family::Type::gauge,
            {{{{"version", version_text}, {"role", role}}, 1}}};
}

}  // namespace

std::string metrics_address(const config::Config& config, const std::string& party) {
    if (!config.observe.metrics.empty()) return config.observe.metrics;
    if (config.observe.prometheus_server_port == 0 || party != "master") return {};
    return "127.0.0.1:" + std::to_string(config.observe.prometheus_server_port);
}

std::string metrics_address_of(const std::string& base, std::uint64_t place) {
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
    options.warn = [](const std::string& text) { log::warn("{}", text); };
    return std::make_shared<actors::ObserverQueue>(std::move(observer), std::move(options));
}

Result<std::unique_ptr<Watch>> Watch::start(const config::Config& config, Options options) {
    std::unique_ptr<Watch> watch(new Watch(std::move(options)));
    const bool is_master = watch->options_.party == "master";
    if (!watch->options_.shares_process || is_master)
        if (auto served = watch->serve_metrics(config); !served)
            return tl::unexpected(served.error());
    return watch;
}

Result<> Watch::serve_metrics(const config::Config& config) {
    const std::string address = metrics_address(config, options_.party);
    if (address.empty()) return {};
    const std::vector<std::string> members = members_of(config);
    names_.emplace(node_id_of("master"), "master");
    for (const std::string& name : members) names_.emplace(node_id_of(name), name);
    metrics_ = std::make_shared<observers::Metrics>(observers::Labels{{"node", options_.node}});
    run_metrics_ =
        std::make_shared<observers::RunMetrics>(metrics_, members, config.run.experiment_label);
    run_metrics_queue_ = queued("metrics", run_metrics_, metrics_patience);
    observers::HttpServer::Options http;
    http.address = address;
    http.remote = config.observe.remote;
    http.pages["/metrics"] = [this] {
        return observers::HttpAnswer{200, observers::metrics_type, page()};
    };
    auto server = observers::HttpServer::start(std::move(http));
    if (!server) return tl::unexpected(server.error());
    server_ = std::move(*server);
    log::info({{}, {}, options_.node}, "metrics at {}/metrics", server_->url());
    return {};
}

Result<std::unique_ptr<observers::HttpServer>> watch_broker(const config::Config& config,
                                                            bus::BrokerLoop& broker) {
    const std::string address = metrics_address(config, "broker");
    if (address.empty()) return std::unique_ptr<observers::HttpServer>();
    observers::HttpServer::Options http;
    http.address = address;
    http.remote = config.observe.remote;
    http.pages["/metrics"] = [&broker] {
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
    if (server) log::info("metrics at {}/metrics", (*server)->url());
    return server;
}

Watch::~Watch() = default;

std::string Watch::page() {
    std::vector<observers::Family> all = observers::process_families();
    all.push_back(build_info(options_.role));
    const auto add = [&all](std::vector<observers::Family> more) {
        for (observers::Family& family : more) all.push_back(std::move(family));
    };
    {
        const std::lock_guard lock(mutex_);
        if (node_ != nullptr) add(observers::families_of(node_->sample(), names_));
    }
    add(run_metrics_->sample());
    return metrics_->text(std::move(all));
}

void Watch::look_at(actors::Node* node) {
    const std::lock_guard lock(mutex_);
    node_ = node;
}

std::function<void(const actors::HandledRequest&)> Watch::on_handled() {
    if (run_metrics_queue_ == nullptr) return {};
    return [queue = run_metrics_queue_](const actors::HandledRequest& handled) {
        queue->on_handled(handled);
    };
}

std::unique_ptr<actors::Env> Watch::measured(std::unique_ptr<actors::Env> env) const {
    if (metrics_ == nullptr) return env;
    return std::make_unique<observers::MeasuredEnv>(std::move(env), metrics_);
}

std::vector<std::shared_ptr<actors::RunObserver>> Watch::observers() const {
    std::vector<std::shared_ptr<actors::RunObserver>> all;
    if (run_metrics_queue_ != nullptr) all.push_back(run_metrics_queue_);
    return all;
}

}  // namespace vflbus::cli
