#include "actors/training/linear/part.hpp"

#include <cmath>
#include <utility>

#include "actors/hex.hpp"
#include "actors/training/part_json.hpp"
#include "base/json.hpp"

namespace vflbus::actors {
namespace {

constexpr std::string_view part_format_name = "vflbus-model";
constexpr int part_format_version = 1;

/// Why the parts of a file do not fit each other; empty when they do.
std::string fault_of(const ModelPart& part) {
    const auto task = task_named(part.task);
    if (!task) return "unknown task \"" + part.task + "\"";
    if (part.outputs == 0 || part.outputs > data::classes_max) return "outputs is out of range";
    if (part.weights.size() != part.features() * part.outputs)
        return std::to_string(part.weights.size()) + " weights for " +
               std::to_string(part.features()) + " features and " + std::to_string(part.outputs) +
               " outputs";
    if (!part.intercept.empty() && part.intercept.size() != part.outputs)
        return "intercept has not one number per output";
    if (!part.slope.empty() && part.slope.size() != part.outputs)
        return "slope has not one number per output";
    for (const double slope : part.slope)
        if (!std::isfinite(slope)) return "a slope is not finite";
    for (const double weight : part.weights)
        if (!std::isfinite(weight)) return "a weight is not finite";
    if (std::string fault = column_fault(part); !fault.empty()) return fault;
    if (part.labels && part.labels->outputs() != part.outputs)
        return "the labels do not fit the outputs";
    return {};
}

ModelPart part_of(const ModelHead& head, const Json& in) {
    ModelPart part;
    static_cast<ModelHead&>(part) = head;
    read_columns(in, part);
    for (const Json& output : in.at("weights"))
        for (const Json& weight : output) part.weights.push_back(weight.get<double>());
    part.intercept = in.at("intercept").get<std::vector<double>>();
    if (const Json* slope = in.find("slope")) part.slope = slope->get<std::vector<double>>();
    if (const Json* labels = in.find("labels")) {
        part.labels = coding_of(*labels, task_named(part.task).value_or(vflbus::Task::linear));
    }
    read_report(in, part);
    return part;
}

}  // namespace

std::string to_json(const ModelPart& part) {
    Json out;
    out["format"] = part_format_name;
    out["version"] = part_format_version;
    out["run_id"] = part.run.hex();
    out["party"] = part.party;
    out["role"] = part.role;
    out["rank"] = part.rank;
    out["world_size"] = part.world_size;
    out["protocol"] = part.protocol;
    out["task"] = part.task;
    out["seed"] = part.seed;
    out["steps"] = part.steps;
    out["config_hash"] = to_hex(part.agreed);
    out["outputs"] = part.outputs;
    put_columns(out, part);
    // one list per output, so that weights[c][j] belongs to features[j]
    Json weights = Json::array();
    const std::size_t d = part.features();
    for (std::size_t c = 0; c < part.outputs; ++c) {
        Json output = Json::array();
        for (std::size_t j = 0; j < d; ++j) output.push_back(part.weights[c * d + j]);
        weights.push_back(std::move(output));
    }
    out["weights"] = std::move(weights);
    out["intercept"] = part.intercept;
    if (!part.slope.empty()) out["slope"] = part.slope;
    if (part.labels) out["labels"] = to_json(*part.labels);
    put_report(out, part);
    // names come from files and may be any bytes
    return out.dump(1) + "\n";
}

Result<ModelPart> parse_model_part(std::string_view text, std::string_view path) {
    const auto head = parse_model_head(text, path);
    if (!head) return tl::unexpected(head.error());
    if (auto same = check_format(*head, {"linear", part_format_version}, path); !same)
        return tl::unexpected(std::move(same.error()));
    const std::string where(path);
    try {
        const Json in = Json::parse(text);
        ModelPart part = part_of(*head, in);
        if (const std::string fault = fault_of(part); !fault.empty())
            return fail(Errc::bad_data, where + " is damaged: " + fault);
        return part;
    } catch (const JsonError& e) {
        return fail(Errc::bad_data, where + " is damaged: " + e.what());
    }
}

}  // namespace vflbus::actors
