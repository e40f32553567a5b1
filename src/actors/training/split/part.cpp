#include "actors/training/split/part.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "actors/training/part_json.hpp"
#include "actors/training/split/split.hpp"
#include "base/json.hpp"

namespace vflbus::actors::split {
namespace {

using models::nn::NetworkShape;

constexpr std::size_t width_max = std::size_t{1} << 20;
constexpr std::size_t layers_max = 64;

constexpr std::string_view body_names[] = {"mlp", "resnet", "efficientnet"};
constexpr std::string_view activation_names[] = {"relu", "gelu", "silu"};
constexpr std::string_view norm_names[] = {"none", "batch", "layer"};
constexpr std::string_view combine_names[] = {"concat", "sum", "mean"};

template <class Enum, std::size_t n>
std::string name_in(const std::string_view (&names)[n], Enum value) {
    return std::string(names[static_cast<std::size_t>(value)]);
}

template <class Enum, std::size_t n>
Enum value_in(const std::string_view (&names)[n], const std::string& name) {
    for (std::size_t i = 0; i < n; ++i)
        if (names[i] == name) return static_cast<Enum>(i);
    throw JsonError("unknown \"" + name + "\"");
}

Json to_json(const StoredNetwork& network) {
    const NetworkShape& shape = network.shape;
    Json out;
    out["body"] = name_in(body_names, shape.body);
    out["inputs"] = shape.inputs;
    Json hidden = Json::array();
    for (const std::size_t width : shape.hidden) hidden.push_back(width);
    out["hidden"] = std::move(hidden);
    out["outputs"] = shape.outputs;
    out["activation"] = name_in(activation_names, shape.activation);
    out["norm"] = name_in(norm_names, shape.norm);
    if (shape.goes_on) out["goes_on"] = true;
    if (shape.body == models::nn::Body::resnet) {
        out["blocks"] = shape.blocks;
        out["hid_factor"] = shape.hidden_factor;
    }
    if (shape.body == models::nn::Body::efficientnet) {
        Json image = Json::array();
        for (const std::size_t side : {shape.image.rows, shape.image.columns, shape.image.channels})
            image.push_back(side);
        out["image"] = std::move(image);
        out["width_factor"] = shape.width_factor;
        out["depth_factor"] = shape.depth_factor;
    }
    Json values = Json::array();
    for (const float value : network.values) values.push_back(static_cast<double>(value));
    out["values"] = std::move(values);
    return out;
}

std::size_t width_of(const Json& in) {
    const auto width = in.get<std::uint64_t>();
    if (width > width_max) throw JsonError("a width of " + std::to_string(width));
    return width;
}

double factor_of(const Json& in, const char* key) {
    const auto factor = in.at(key).get<double>();
    if (!(factor > 0 && factor <= 4)) throw JsonError(std::string(key) + " is out of range");
    return factor;
}

void read_pictures(const Json& in, NetworkShape& shape) {
    const Json& image = in.at("image");
    if (!image.is_array() || image.size() != 3) throw JsonError("image is no three numbers");
    std::size_t sides[3] = {};
    std::size_t next = 0;
    for (const Json& side : image) sides[next++] = width_of(side);
    shape.image = {sides[0], sides[1], sides[2]};
    shape.width_factor = factor_of(in, "width_factor");
    shape.depth_factor = factor_of(in, "depth_factor");
    if (shape.image.size() == 0 || shape.image.size() != shape.inputs)
        throw JsonError("the picture does not fit the inputs");
    if (shape.hidden.size() != 1 || shape.hidden.front() == 0)
        throw JsonError("a network for pictures has one last convolution");
}

/// Numbers of the dense layers alone, so that no memory is taken for a shape that its values do not
/// fill.
std::size_t least_values(const NetworkShape& shape) {
    std::size_t sum = 0;
    const bool pictures = shape.body == models::nn::Body::efficientnet;
    std::size_t width = pictures ? 0 : shape.inputs;
    for (const std::size_t next : shape.hidden) {
        sum += width * next + next;
        width = next;
    }
    if (shape.body == models::nn::Body::resnet)
        sum += shape.blocks * static_cast<std::size_t>(2.0 * static_cast<double>(width * width) *
                                                       shape.hidden_factor);
    return sum + width * shape.outputs + shape.outputs;
}

StoredNetwork network_of(const Json& in) {
    StoredNetwork network;
    NetworkShape& shape = network.shape;
    shape.body = value_in<models::nn::Body>(body_names, in.at("body").get<std::string>());
    shape.inputs = width_of(in.at("inputs"));
    for (const Json& width : in.at("hidden")) shape.hidden.push_back(width_of(width));
    shape.outputs = width_of(in.at("outputs"));
    shape.activation =
        value_in<models::nn::Activation>(activation_names, in.at("activation").get<std::string>());
    shape.norm = value_in<models::nn::Norm>(norm_names, in.at("norm").get<std::string>());
    if (const Json* const goes_on = in.find("goes_on")) shape.goes_on = goes_on->get<bool>();
    if (shape.goes_on && shape.body != models::nn::Body::mlp)
        throw JsonError("only a network of dense layers goes on from another one");
    if (shape.body == models::nn::Body::resnet) {
        shape.blocks = width_of(in.at("blocks"));
        shape.hidden_factor = in.at("hid_factor").get<double>();
        if (!(shape.hidden_factor > 0 && shape.hidden_factor <= 1024))
            throw JsonError("hid_factor is out of range");
    }
    if (shape.body == models::nn::Body::efficientnet) read_pictures(in, shape);
    if (shape.hidden.size() > layers_max || shape.blocks > layers_max)
        throw JsonError("too many layers");
    for (const Json& value : in.at("values"))
        network.values.push_back(static_cast<float>(value.get<double>()));
    if (network.values.size() < least_values(shape)) throw JsonError("values are missing");
    return network;
}

Json to_json(const TopPart& top) {
    Json out = to_json(top.network);
    out["combine"] = name_in(combine_names, top.combine);
    out["embeddings"] = top.embeddings;
    out["own"] = top.own;
    out["label_mean"] = top.label_mean;
    out["label_scale"] = top.label_scale;
    return out;
}

TopPart top_of(const Json& in, const Json& labels, vflbus::Task task) {
    TopPart top;
    top.network = network_of(in);
    top.combine = value_in<config::Combine>(combine_names, in.at("combine").get<std::string>());
    top.embeddings = in.at("embeddings").get<std::uint64_t>();
    top.own = in.at("own").get<bool>();
    top.label_mean = in.at("label_mean").get<double>();
    top.label_scale = in.at("label_scale").get<double>();
    top.labels = coding_of(labels, task);
    return top;
}

/// Why the parts of a file do not fit each other; empty when they do.
std::string fault_of(const SplitPart& part) {
    if (std::string fault = column_fault(part); !fault.empty()) return fault;
    if (!part.bottom.values.empty() && part.bottom.shape.inputs != part.features())
        return "the bottom network has " + std::to_string(part.bottom.shape.inputs) +
               " inputs for " + std::to_string(part.features()) + " features";
    if (!part.top) return part.bottom.values.empty() ? "it has no network" : "";
    const TopPart& top = *part.top;
    if (top.own == part.bottom.values.empty()) return "the master's own network does not fit";
    if (top.embeddings == 0 || top.network.shape.outputs != part.head.outputs ||
        top.labels.outputs() != part.head.outputs)
        return "the labels do not fit the outputs";
    if (top.combine == config::Combine::concat && top.network.shape.inputs % top.embeddings != 0)
        return "the parties do not fit the inputs of the top network";
    if (!std::isfinite(top.label_mean) || !(top.label_scale > 0)) return "the labels have no scale";
    return {};
}

SplitPart part_of(const ModelHead& head, const Json& in) {
    SplitPart part;
    part.head = head;
    read_columns(in, part);
    if (const Json* bottom = in.find("bottom")) part.bottom = network_of(*bottom);
    if (const Json* top = in.find("top"))
        part.top =
            top_of(*top, in.at("labels"), task_named(head.task).value_or(vflbus::Task::linear));
    read_report(in, part);
    return part;
}

}  // namespace

std::string to_json(const SplitPart& part) {
    Json out;
    put_columns(out, part);
    if (!part.bottom.values.empty()) out["bottom"] = to_json(part.bottom);
    if (part.top) {
        out["top"] = to_json(*part.top);
        out["labels"] = actors::to_json(part.top->labels);
    }
    put_report(out, part);
    return model_text(part.head, out.dump());
}

Result<SplitPart> parse_split_part(std::string_view text, std::string_view path) {
    const auto head = parse_model_head(text, path);
    if (!head) return tl::unexpected(head.error());
    const StateFormat known{
        std::string(format_name),
        std::clamp(head->format.version, format_version, latest_format_version)};
    if (auto same = check_format(*head, known, path); !same)
        return tl::unexpected(std::move(same.error()));
    const auto content = model_content(text, path);
    if (!content) return tl::unexpected(content.error());
    const std::string where(path);
    try {
        SplitPart part = part_of(*head, Json::parse(*content));
        if (const std::string fault = fault_of(part); !fault.empty())
            return fail(Errc::bad_data, where + " is damaged: " + fault);
        return part;
    } catch (const JsonError& e) {
        return fail(Errc::bad_data, where + " is damaged: " + e.what());
    }
}

}  // namespace vflbus::actors::split
