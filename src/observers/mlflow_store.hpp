#pragma once
// Where MLflow keeps runs: a tracking server that speaks its REST API, or the directory layout that
// `mlflow ui` reads.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::observers {

struct MlflowMetric {
    std::string key;
    double value = 0;
    std::int64_t timestamp_ms = 0;
    std::uint64_t step = 0;
};
using MlflowPairs = std::vector<std::pair<std::string, std::string>>;

/// The tag by which a run of ours is found there again.
inline constexpr std::string_view mlflow_run_tag = "vflbus.run_id";

struct MlflowRun {
    std::string run_id;  ///< empty: there is none yet
    std::string experiment_id;
    std::string artifact_uri;
};

/// One request of the REST API takes 1,000 metrics, parameters and tags together, and 100 of each
/// of the latter two.
inline constexpr std::size_t mlflow_metrics_max = 800;
inline constexpr std::size_t mlflow_pairs_max = 100;
/// Longer values are cut: what all versions take.
inline constexpr std::size_t mlflow_param_bytes_max = 500;

/// All calls block, of one thread. Errors: unreachable, timed_out, cancelled (worth another
/// attempt), refused (the server has answered that it will not), io.
class MlflowStore {
  public:
    virtual ~MlflowStore() = default;
    /// Finds or makes the experiment, and makes a run in it; where one of `tags` is mlflow_run_tag,
    /// the run that has it already is found instead.
    virtual Result<MlflowRun> create(const std::string& experiment, const std::string& run_name,
                                     std::int64_t start_ms, const MlflowPairs& tags) = 0;
    /// At most `mlflow_metrics_max` metrics, and `mlflow_pairs_max` of each of the others.
    virtual Result<> log(const MlflowRun& run, const std::vector<MlflowMetric>& metrics,
                         const MlflowPairs& params, const MlflowPairs& tags) = 0;
    /// `name` may have slashes: "model/model.json".
    virtual Result<> upload(const MlflowRun& run, const std::string& name,
                            std::string_view content) = 0;
    /// FINISHED, FAILED, KILLED or RUNNING (a run that is gone on with).
    virtual Result<> set_status(const MlflowRun& run, const std::string& status,
                                std::int64_t end_ms) = 0;
};

/// `uri`: http:, https: or file:. `cancelled` ends what is under way, and outlives the store.
/// Errors: bad_config for another scheme.
Result<std::unique_ptr<MlflowStore>> open_mlflow(const std::string& uri,
                                                 const std::atomic<bool>& cancelled);

}  // namespace vflbus::observers
