#include "model_parts.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/files.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

bool is_network(const Json& part) {
    const Json* const algorithm = part.find("algorithm");
    return algorithm != nullptr && *algorithm == "split-network";
}

std::vector<std::string> outputs_of(const Json& part) {
    const Json& content = is_network(part) ? part.at("content") : part;
    const Json* const labels = content.find("labels");
    if (labels == nullptr) return {};
    const bool softmax = part.find("task") != nullptr && *part.find("task") == "softmax";
    const Json* const names = labels->find(softmax ? "classes" : "columns");
    if (names == nullptr || !names->is_array() || names->size() == 0) return {};
    if (softmax) return (*names)[0].get<std::vector<std::string>>();
    return names->get<std::vector<std::string>>();
}

/// "bottom network, mlp: widths 10 - 16 - 8, activation relu, norm none, 312 values"
std::string layers_line(const std::string& name, const Json& network) {
    std::string text = name + " network, " + network.at("body").get<std::string>() + ": widths " +
                       std::to_string(network.at("inputs").get<std::uint64_t>());
    for (const Json& width : network.at("hidden"))
        text += " - " + std::to_string(width.get<std::uint64_t>());
    if (const auto outputs = network.at("outputs").get<std::uint64_t>(); outputs != 0)
        text += " - " + std::to_string(outputs);
    if (const Json* blocks = network.find("blocks"))
        text += ", " + std::to_string(blocks->get<std::uint64_t>()) + " residual blocks";
    if (const Json* image = network.find("image"))
        text += ", pictures of " + std::to_string((*image)[0].get<std::uint64_t>()) + " x " +
                std::to_string((*image)[1].get<std::uint64_t>()) + " x " +
                std::to_string((*image)[2].get<std::uint64_t>());
    if (network.find("goes_on") != nullptr) text += ", an activation before the first layer too";
    return text + ", activation " + network.at("activation").get<std::string>() + ", norm " +
           network.at("norm").get<std::string>() + ", " +
           std::to_string(network.at("values").size()) + " values";
}

/// Features by the norm of their weights in the first layer; values stand by inputs
/// (docs/networks.md).
void add_network(const Json& content, ShownPart& part) {
    const auto names = content.at("features").get<std::vector<std::string>>();
    const Json* const bottom = content.find("bottom");
    if (bottom != nullptr) {
        part.layers.push_back(layers_line("bottom", *bottom));
        const Json& hidden = bottom->at("hidden");
        const Json& values = bottom->at("values");
        // a pixel has no weights of its own in a convolution
        const bool begins_dense = bottom->at("body") != "efficientnet";
        if (!begins_dense)
            for (const std::string& name : names) part.features.push_back({name, {}});
        const auto width =
            (hidden.size() > 0 ? hidden[0] : bottom->at("outputs")).get<std::size_t>();
        for (std::size_t j = 0; begins_dense && j < names.size(); ++j) {
            double squares = 0;
            for (std::size_t o = 0; o < width && j * width + o < values.size(); ++o) {
                const double weight = values[j * width + o].get<double>();
                squares += weight * weight;
            }
            part.features.push_back({names[j], {std::sqrt(squares)}});
        }
    }
    if (const Json* top = content.find("top")) part.layers.push_back(layers_line("top", *top));
}

void add_linear(const Json& json, ShownPart& part) {
    const Json& names = json.at("features");
    const Json& weights = json.at("weights");
    if (!names.is_array() || !weights.is_array())
        throw JsonError("its features and weights are no lists");
    for (std::size_t j = 0; j < names.size(); ++j) {
        Feature feature{names[j].get<std::string>(), {}};
        for (std::size_t c = 0; c < weights.size(); ++c)
            if (weights[c].is_array() && j < weights[c].size())
                feature.weights.push_back(weights[c][j].get<double>());
        part.features.push_back(std::move(feature));
    }
    if (const Json* intercept = json.find("intercept"))
        part.intercept = intercept->get<std::vector<double>>();
}

/// Parts that name no algorithm are of linear models.
bool is_linear(const Json& part) {
    const Json* const algorithm = part.find("algorithm");
    return algorithm == nullptr || *algorithm == "linear";
}

tl::unexpected<Failure> damaged(const fs::path& path, const std::string& what) {
    return fail(Errc::bad_data, path.string() + " is damaged: " + what);
}

Result<ShownPart> read_part(const fs::path& path, const std::string& party) {
    const auto text = read_file(path);
    if (!text) return tl::unexpected(text.error());
    ShownPart part;
    part.party = party;
    part.json = Json::parse(*text);
    if (!part.json.is_object()) return damaged(path, "it is not a JSON object");
    const bool network = is_network(part.json);
    if (!network && !is_linear(part.json))
        return fail(Errc::bad_data, path.string() +
                                        " has no features and weights: it is the part "
                                        "of another algorithm");
    try {
        if (network)
            add_network(part.json.at("content"), part);
        else
            add_linear(part.json, part);
        part.outputs = outputs_of(part.json);
    } catch (const JsonError& error) {
        return damaged(path, error.what());
    }
    std::ranges::stable_sort(part.features, std::greater<>(), &Feature::largest);
    return part;
}

}  // namespace

double Feature::largest() const {
    double most = 0;
    for (const double weight : weights) most = std::max(most, std::fabs(weight));
    return most;
}

Result<std::vector<ShownPart>> read_parts(const fs::path& directory, const std::string& only) {
    std::vector<ShownPart> parts;
    std::error_code ec;
    for (const fs::path& entry : entries_of(directory)) {
        const std::string party = entry.filename().string();
        if ((!only.empty() && party != only) || !fs::exists(entry / "model.json", ec)) continue;
        auto part = read_part(entry / "model.json", party);
        if (!part) return tl::unexpected(part.error());
        parts.push_back(std::move(*part));
    }
    if (parts.empty())
        return fail(Errc::usage, "there is no part of " + only + " in " + directory.string());
    std::ranges::sort(parts, {}, &ShownPart::party);  // "master" before "member-0"
    return parts;
}

Result<ModelOutputs> read_outputs(const fs::path& part) {
    const auto text = read_file(part);
    if (!text) return tl::unexpected(text.error());
    const Json json = Json::parse(*text);
    ModelOutputs outputs;
    outputs.network = is_network(json);
    try {
        outputs.names = outputs_of(json);
    } catch (const JsonError& error) {
        return damaged(part, error.what());
    }
    if (outputs.names.empty()) return fail(Errc::bad_data, part.string() + " names no labels");
    return outputs;
}

}  // namespace vflbus::cli
