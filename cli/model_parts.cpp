#include "model_parts.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/files.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> outputs_of(const Json& part) {
    const Json* const labels = part.find("labels");
    if (labels == nullptr) return {};
    const bool softmax = part.find("task") != nullptr && *part.find("task") == "softmax";
    const Json* const names = labels->find(softmax ? "classes" : "columns");
    if (names == nullptr || !names->is_array() || names->size() == 0) return {};
    if (softmax) return (*names)[0].get<std::vector<std::string>>();
    return names->get<std::vector<std::string>>();
}

Result<ShownPart> read_part(const fs::path& path, const std::string& party) {
    const auto text = read_file(path);
    if (!text) return tl::unexpected(text.error());
    ShownPart part{party, {}, {}, {}, Json::parse(*text)};
    const Json* const names = part.json.find("features");
    const Json* const weights = part.json.find("weights");
    if (names == nullptr || weights == nullptr || !names->is_array() || !weights->is_array())
        return fail(Errc::bad_data, path.string() +
                                        " has no features and weights: it is the part "
                                        "of another algorithm");
    for (std::size_t j = 0; j < names->size(); ++j) {
        Feature feature{(*names)[j].get<std::string>(), {}};
        for (std::size_t c = 0; c < weights->size(); ++c)
            if ((*weights)[c].is_array() && j < (*weights)[c].size())
                feature.weights.push_back((*weights)[c][j].get<double>());
        part.features.push_back(std::move(feature));
    }
    std::ranges::stable_sort(part.features, std::greater<>(), &Feature::largest);
    if (const Json* intercept = part.json.find("intercept"))
        part.intercept = intercept->get<std::vector<double>>();
    part.outputs = outputs_of(part.json);
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

Result<std::vector<std::string>> output_names(const fs::path& part) {
    const auto text = read_file(part);
    if (!text) return tl::unexpected(text.error());
    std::vector<std::string> names = outputs_of(Json::parse(*text));
    if (names.empty()) return fail(Errc::bad_data, part.string() + " names no labels");
    return names;
}

}  // namespace vflbus::cli
