#include "actors/model_file.hpp"

#include "actors/hex.hpp"
#include "base/json.hpp"
#include "base/text.hpp"

namespace vflbus::actors {
namespace {

ModelHead head_of(const Json& in) {
    ModelHead head;
    if (const Json* algorithm = in.find("algorithm"))
        head.format.name = algorithm->get<std::string>();
    head.format.version = in.at("version").get<std::uint64_t>();
    if (const auto run = parse_run_id(in.at("run_id").get<std::string>())) head.run = *run;
    head.party = in.at("party").get<std::string>();
    head.role = in.at("role").get<std::string>();
    head.rank = in.at("rank").get<std::int64_t>();
    head.world_size = in.at("world_size").get<std::uint64_t>();
    head.protocol = in.at("protocol").get<std::string>();
    head.task = in.at("task").get<std::string>();
    head.seed = in.at("seed").get<std::uint64_t>();
    head.steps = in.at("steps").get<std::uint64_t>();
    from_hex(in.at("config_hash").get<std::string>(), head.agreed);
    head.outputs = in.at("outputs").get<std::uint64_t>();
    return head;
}

}  // namespace

std::string model_text(const ModelHead& head, std::string_view content) {
    Json out;
    out["format"] = "vflbus-model";
    out["algorithm"] = head.format.name;
    out["version"] = head.format.version;
    out["run_id"] = head.run.hex();
    out["party"] = head.party;
    out["role"] = head.role;
    out["rank"] = head.rank;
    out["world_size"] = head.world_size;
    out["protocol"] = head.protocol;
    out["task"] = head.task;
    out["seed"] = head.seed;
    out["steps"] = head.steps;
    out["config_hash"] = to_hex(head.agreed);
    out["outputs"] = head.outputs;
    out["content"] = Json::parse(content);
    return out.dump(1) + "\n";
}

Result<std::string> model_content(std::string_view text, std::string_view path) {
    const Json in = Json::parse(text);
    if (!in.is_object() || !in.contains("content"))
        return fail(Errc::bad_data, std::string(path) + " is damaged: it has no content");
    return in.at("content").dump();
}

ModelHead model_head(const config::AgreedHalf& agreed, std::string_view party) {
    ModelHead head;
    head.party = party;
    head.world_size = agreed.run.world_size;
    head.protocol = config::name_of(agreed.run.protocol);
    head.task = config::name_of(agreed.model.task);
    head.seed = agreed.run.seed;
    return head;
}

Result<ModelHead> parse_model_head(std::string_view text, std::string_view path) {
    const std::string where(path);
    const Json in = Json::parse(text);
    if (in.is_discarded() || !in.is_object())
        return fail(Errc::bad_data, where + " is no model file: it is not a JSON object");
    try {
        if (in.at("format") != "vflbus-model")
            return fail(Errc::bad_data, where + " is no model file of vflbus");
        return head_of(in);
    } catch (const JsonError& e) {
        return fail(Errc::bad_data, where + " is damaged: " + e.what());
    }
}

Result<> check_format(const ModelHead& head, const StateFormat& format, std::string_view path) {
    if (head.format == format) return {};
    return fail(Errc::bad_data, std::string(path) + " is a part of a model of " + head.format.name +
                                    ", version " + std::to_string(head.format.version) +
                                    "; this configuration and this vflbus read " + format.name +
                                    ", version " + std::to_string(format.version) +
                                    ": use the configuration of the training, and the vflbus that "
                                    "wrote it");
}

Result<> check_model_size(std::uint64_t bytes, std::uint64_t bytes_max) {
    if (bytes <= bytes_max) return {};
    return fail(Errc::too_large, "the part of the model has " + human_bytes(bytes) +
                                     ", more than the " + human_bytes(bytes_max) +
                                     " that can be read back: use fewer features");
}

}  // namespace vflbus::actors
