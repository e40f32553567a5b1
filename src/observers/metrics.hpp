#pragma once
// Metrics as Prometheus reads them. Only metrics.cpp sees prometheus-cpp.
//
// There are two kinds of them. What happens over and over (a task was executed, a message was sent)
// is counted here, as histograms and counters. What can be looked up at any time (queues, states,
// memory) is sampled when somebody asks: see samples.hpp.
//
// Labels have few values, whatever others say: the names of parties (at most `parties_max`), kinds
// of tasks, states. What is beyond that goes under "other".

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.hpp"

namespace vflbus::observers {

using Labels = std::map<std::string, std::string>;

/// One metric with all its label values, as it is at this moment.
struct Family {
    enum class Type : std::uint8_t { counter, gauge };
    std::string name;
    std::string help;
    Type type = Type::gauge;
    std::vector<std::pair<Labels, double>> values;
};

/// Boundaries of histograms.
std::span<const double> seconds_buckets() noexcept;  ///< 100 us to 1 min
std::span<const double> bytes_buckets() noexcept;    ///< 64 B to 1 GiB

inline constexpr std::size_t parties_max = 100;

inline double in_seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

/// All calls from any thread.
class Metrics {
  public:
    /// `always`: labels of every value, such as the node's name and the experiment.
    explicit Metrics(Labels always = {});
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    /// Adds `value` to a histogram; `help` and `buckets` count the first time.
    void observe(const std::string& name, const std::string& help, std::span<const double> buckets,
                 const Labels& labels, double value);
    /// Adds to a counter, whose name ends in _total.
    void count(const std::string& name, const std::string& help, const Labels& labels,
               double value = 1);

    /// `name`, or "other" when there are `parties_max` names already.
    std::string bounded(const std::string& name);

    /// What was counted, and `sampled`, in Prometheus' text format.
    [[nodiscard]] std::string text(std::vector<Family> sampled) const;

  private:
    struct Registry;
    std::unique_ptr<Registry> registry_;
};

/// The content type of `Metrics::text`.
inline constexpr const char* metrics_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace vflbus::observers
