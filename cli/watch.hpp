#pragma once
// Who watches one party of this process: what [observe] of its configuration names.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/env.hpp"
#include "actors/node/node.hpp"
#include "actors/run/observer.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "config/config.hpp"

namespace vflbus::observers {
class HttpServer;
struct MlflowJob;
}  // namespace vflbus::observers

namespace vflbus::cli {

class Watch {
  public:
    struct Options {
        std::string party;  ///< "master", "member-0", ...
        std::string node;   ///< its name on the bus
        std::string role;
        /// It is the one process of `launch --threads`: Prometheus and the trace see its master.
        bool shares_process = false;
    };
    /// Errors: those of the address for metrics, and of the file for the trace.
    static Result<std::unique_ptr<Watch>> start(const config::Config& config, Options options);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    /// For NodeOptions; empty when nobody wants to know.
    [[nodiscard]] std::function<void(const actors::HandledRequest&)> on_handled() const;
    /// `env`, or one that measures commits as well.
    [[nodiscard]] std::unique_ptr<actors::Env> measured(std::unique_ptr<actors::Env> env) const;
    /// The observers of this process, whatever run it works for: its metrics and its trace.
    [[nodiscard]] const std::vector<std::shared_ptr<actors::RunObserver>>& of_process() const;
    /// Those of a training that this party drives, each behind a queue of its own. Errors:
    /// bad_config and io, of what the configuration names.
    [[nodiscard]] Result<std::vector<std::shared_ptr<actors::RunObserver>>> observers(
        const config::Config& config, const RunId& run) const;

    /// While it lives, the node is looked at when somebody asks.
    class Looks {
      public:
        Looks(Watch& watch, actors::Node& node) : watch_(watch) { watch_.look_at(&node); }
        ~Looks() { watch_.look_at(nullptr); }
        Looks(const Looks&) = delete;
        Looks& operator=(const Looks&) = delete;

      private:
        Watch& watch_;
    };

  private:
    struct Parts;
    explicit Watch(std::unique_ptr<Parts> parts);
    void look_at(actors::Node* node);
    std::unique_ptr<Parts> parts_;
};

/// Answers Prometheus about a broker, as long as it lives; null when nobody asks.
Result<std::shared_ptr<observers::HttpServer>> watch_broker(const config::Config& config,
                                                            bus::BrokerLoop& broker);

/// That the addresses of [observe] make sense, before anything is begun. Errors: usage, insecure,
/// bad_config.
Result<> check_addresses(const config::ObserveConfig& observe);

/// Where this process answers Prometheus: observe.metrics, or for a master what the seed's key
/// says. Empty: nowhere.
std::string metrics_address(const config::Config& config, const std::string& party);
/// That address for the `place`-th process that one command starts: the next ports in turn.
std::string metrics_address_of(const std::string& base, std::uint64_t place);

/// Where the metrics of such a server are, for a line of the log.
std::string place_of_metrics(const observers::HttpServer& server);

/// An observer behind a queue of its own.
std::shared_ptr<actors::RunObserver> queued(std::string name,
                                            std::shared_ptr<actors::RunObserver> observer,
                                            std::chrono::milliseconds patience);

/// Set for a master that does not reach the MLflow of the command that started it: it keeps what it
/// logs, and that command sends it when the run is over (`send_what_mlflow_lacks`).
inline constexpr const char* mlflow_later_variable = "VFLBUS_MLFLOW_LATER";

/// What the master logs to MLflow, and where.
observers::MlflowJob mlflow_job(const config::Config& config, const RunId& run);

/// A run that is over is asked for again: what MLflow has not got of it is sent now.
void send_what_mlflow_lacks(const config::Config& config, const RunId& run);

/// Where a party of a run that one command starts writes its part of the trace.
std::filesystem::path trace_part(const std::filesystem::path& run_dir, const std::string& party);

}  // namespace vflbus::cli
