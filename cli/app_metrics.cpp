#include "app_metrics.hpp"

#include <cmath>
#include <system_error>
#include <utility>

#include "base/json.hpp"

namespace vflbus::cli {

bus::MetricEntry metric_entry(std::uint64_t step, const std::map<std::string, double>& values) {
    const auto loss = values.find("loss");
    bus::MetricEntry entry;
    entry.step = step;
    entry.loss = loss == values.end() ? std::nan("") : loss->second;
    entry.metrics.assign(values.begin(), values.end());
    return entry;
}

Result<> AppMetrics::add(std::uint64_t step, const std::map<std::string, double>& values) {
    if (failed_) return {};
    if (!out_.is_open()) {
        std::error_code ignored;
        std::filesystem::create_directories(file_.parent_path(), ignored);
        out_.open(file_, std::ios::app);
    }
    Json line;
    line["step"] = step;
    line["metrics"] = Json::object();
    for (const auto& [name, value] : values)
        line["metrics"][name] = std::isfinite(value) ? Json(value) : Json();
    // a name may be no UTF-8; it is shown as it can be
    out_ << line.dump() << '\n' << std::flush;
    if (out_) return {};
    failed_ = true;
    return fail(Errc::io, "cannot write " + file_.string() +
                              "; `run show` will not have the metrics after the run");
}

Result<std::vector<bus::MetricEntry>> read_app_metrics(const std::filesystem::path& file) {
    std::ifstream in(file);
    if (!in) return fail(Errc::io, "cannot read " + file.string());
    std::vector<bus::MetricEntry> entries;
    for (std::string text; std::getline(in, text);) {
        const auto line = Json::parse(text);
        if (!line.is_object() || !line.contains("step") || !line.contains("metrics") ||
            !line["step"].is_number_unsigned() || !line["metrics"].is_object())
            continue;
        std::map<std::string, double> values;
        for (const auto& [name, value] : line["metrics"].items())
            values[name] = value.is_number() ? value.get<double>() : std::nan("");
        entries.push_back(metric_entry(line["step"].get<std::uint64_t>(), values));
    }
    return entries;
}

}  // namespace vflbus::cli
