#include "observers/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <mutex>

namespace vflbus::observers {

/// One histogram or counter with all its label values.
template <class Metric>
struct Kept {
    std::string help;
    std::map<Labels, std::unique_ptr<Metric>> metrics;
};

namespace {

constexpr std::array seconds_bounds{.0001, .00025, .0005, .001, .0025, .005, .01, .025,
                                    .05,   .1,     .25,   .5,   1.,    5.,   15., 60.};
constexpr std::array bytes_bounds{64.,     256.,     1024.,     4096.,      16384.,     65536.,
                                  262144., 1048576., 16777216., 134217728., 1073741824.};

/// `labels`, and those of `always` that they do not have.
std::vector<prometheus::ClientMetric::Label> labels_of(Labels labels, const Labels& always) {
    labels.insert(always.begin(), always.end());
    std::vector<prometheus::ClientMetric::Label> out;
    out.reserve(labels.size());
    for (const auto& [name, value] : labels) {
        prometheus::ClientMetric::Label& label = out.emplace_back();
        label.name = name;
        label.value = value;
    }
    return out;
}

template <class Metric>
void collect(const std::map<std::string, Kept<Metric>>& kept, prometheus::MetricType type,
             const Labels& always, std::vector<prometheus::MetricFamily>& out) {
    for (const auto& [name, family] : kept) {
        prometheus::MetricFamily& shown = out.emplace_back();
        shown.name = name;
        shown.help = family.help;
        shown.type = type;
        for (const auto& [labels, metric] : family.metrics) {
            shown.metric.push_back(metric->Collect());
            shown.metric.back().label = labels_of(labels, always);
        }
    }
}

}  // namespace

std::span<const double> seconds_buckets() noexcept {
    return seconds_bounds;
}
std::span<const double> bytes_buckets() noexcept {
    return bytes_bounds;
}

struct Metrics::Registry {
    Labels always;
    mutable std::mutex mutex;
    std::map<std::string, Kept<prometheus::Histogram>> histograms;
    std::map<std::string, Kept<prometheus::Counter>> counters;
    std::set<std::string> names;
};

Metrics::Metrics(Labels always) : registry_(std::make_unique<Registry>()) {
    registry_->always = std::move(always);
}
Metrics::~Metrics() = default;

void Metrics::observe(const std::string& name, const std::string& help,
                      std::span<const double> buckets, const Labels& labels, double value) {
    const std::lock_guard lock(registry_->mutex);
    Kept<prometheus::Histogram>& family = registry_->histograms[name];
    if (family.help.empty()) family.help = help;
    auto& metric = family.metrics[labels];
    if (metric == nullptr)
        metric = std::make_unique<prometheus::Histogram>(
            prometheus::Histogram::BucketBoundaries(buckets.begin(), buckets.end()));
    metric->Observe(value);
}

void Metrics::count(const std::string& name, const std::string& help, const Labels& labels,
                    double value) {
    const std::lock_guard lock(registry_->mutex);
    Kept<prometheus::Counter>& family = registry_->counters[name];
    if (family.help.empty()) family.help = help;
    auto& metric = family.metrics[labels];
    if (metric == nullptr) metric = std::make_unique<prometheus::Counter>();
    metric->Increment(value);
}

std::string Metrics::bounded(const std::string& name) {
    const std::lock_guard lock(registry_->mutex);
    if (registry_->names.contains(name)) return name;
    if (registry_->names.size() >= parties_max) return "other";
    registry_->names.insert(name);
    return name;
}

std::string Metrics::text(std::vector<Family> sampled) const {
    std::vector<prometheus::MetricFamily> all;
    for (Family& family : sampled) {
        prometheus::MetricFamily& shown = all.emplace_back();
        shown.name = std::move(family.name);
        shown.help = std::move(family.help);
        const bool counter = family.type == Family::Type::counter;
        shown.type = counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
        shown.metric.reserve(family.values.size());
        for (auto& [labels, value] : family.values) {
            prometheus::ClientMetric& metric = shown.metric.emplace_back();
            metric.label = labels_of(std::move(labels), registry_->always);
            (counter ? metric.counter.value : metric.gauge.value) = value;
        }
    }
    {
        const std::lock_guard lock(registry_->mutex);
        collect(registry_->histograms, prometheus::MetricType::Histogram, registry_->always, all);
        collect(registry_->counters, prometheus::MetricType::Counter, registry_->always, all);
    }
    return prometheus::TextSerializer().Serialize(all);
}

}  // namespace vflbus::observers
