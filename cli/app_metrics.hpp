#pragma once
// What a ServerApp has logged of its metrics, beside the log of its run, so that `run show` can
// tell of it when the process that drove the run is gone: runs/RUN/PARTY/metrics.jsonl, a line
// {"step": 3, "metrics": {"loss": 0.25}} for each call of log_metrics.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::cli {

inline constexpr const char* app_metrics_file = "metrics.jsonl";

/// What `run show` has of one call.
bus::MetricEntry metric_entry(std::uint64_t step, const std::map<std::string, double>& values);

/// Appends to the file, which is made by the first call. One that cannot be written is said once,
/// by the first `add`, and the run goes on.
class AppMetrics {
  public:
    explicit AppMetrics(std::filesystem::path file) : file_(std::move(file)) {}
    Result<> add(std::uint64_t step, const std::map<std::string, double>& values);

  private:
    std::filesystem::path file_;
    std::ofstream out_;
    bool failed_ = false;
};

/// Lines that are cut off or are no such lines are left out. Errors: io (no such file).
Result<std::vector<bus::MetricEntry>> read_app_metrics(const std::filesystem::path& file);

}  // namespace vflbus::cli
