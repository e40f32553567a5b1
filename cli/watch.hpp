#pragma once
// Who watches one party of this process: what [observe] of its configuration names.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/env.hpp"
#include "actors/node/node.hpp"
#include "actors/run/observer.hpp"
#include "base/errc.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "config/config.hpp"
#include "observers/http_server.hpp"
#include "observers/metrics.hpp"
#include "observers/run_metrics.hpp"

namespace vflbus::cli {

class Watch {
  public:
    struct Options {
        std::string party;  ///< "master", "member-0", ...
        std::string node;   ///< its name on the bus
        std::string role;
        /// It is the one process of `launch --threads`: only its master answers Prometheus.
        bool shares_process = false;
    };
    /// Errors: those of the address for metrics.
    static Result<std::unique_ptr<Watch>> start(const config::Config& config, Options options);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    /// For NodeOptions; empty when nobody wants to know.
    [[nodiscard]] std::function<void(const actors::HandledRequest&)> on_handled();
    /// `env`, or one that measures commits as well.
    [[nodiscard]] std::unique_ptr<actors::Env> measured(std::unique_ptr<actors::Env> env) const;
    /// The observers of a run that this party drives, each behind a queue of its own.
    [[nodiscard]] std::vector<std::shared_ptr<actors::RunObserver>> observers() const;

    /// While it lives, the node is looked at when somebody asks.
    class Looks {
      public:
        Looks(Watch* watch, actors::Node& node) : watch_(watch) {
            if (watch_ != nullptr) watch_->look_at(&node);
        }
        ~Looks() {
            if (watch_ != nullptr) watch_->look_at(nullptr);
        }
        Looks(const Looks&) = delete;
        Looks& operator=(const Looks&) = delete;

      private:
        Watch* watch_;
    };

  private:
    explicit Watch(Options options) : options_(std::move(options)) {}
    Result<> serve_metrics(const config::Config& config);
    void look_at(actors::Node* node);
    [[nodiscard]] std::string page();

    Options options_;
    std::shared_ptr<observers::Metrics> metrics_;         ///< null: nobody asks for them
    std::shared_ptr<observers::RunMetrics> run_metrics_;  ///< as long as metrics_
    std::shared_ptr<actors::RunObserver> run_metrics_queue_;
    std::map<NodeId, std::string> names_;
    std::mutex mutex_;
    actors::Node* node_ = nullptr;
    std::unique_ptr<observers::HttpServer> server_;  ///< ends first
};

/// Answers Prometheus about a broker, as long as it lives; null when nobody asks.
Result<std::unique_ptr<observers::HttpServer>> watch_broker(const config::Config& config,
                                                            bus::BrokerLoop& broker);

/// Where this process answers Prometheus: observe.metrics, or for a master what the seed's key
/// says. Empty: nowhere.
std::string metrics_address(const config::Config& config, const std::string& party);
/// That address for the `place`-th process that one command starts: the next ports in turn.
std::string metrics_address_of(const std::string& base, std::uint64_t place);

/// An observer behind a queue of its own.
std::shared_ptr<actors::RunObserver> queued(std::string name,
                                            std::shared_ptr<actors::RunObserver> observer,
                                            std::chrono::milliseconds patience);

}  // namespace vflbus::cli
