// vflbus model show: the features of the parts of a model that lie here, by weight

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/json.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "trained_model.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

struct Feature {
    std::string name;
    std::vector<double> weights;  ///< one per output

    [[nodiscard]] double largest() const {
        double most = 0;
        for (const double weight : weights) most = std::max(most, std::fabs(weight));
        return most;
    }
};

/// One party's model.json, as far as people look at it.
struct ShownPart {
    std::string party;
    std::vector<Feature> features;  ///< the largest weight first
    std::vector<double> intercept;  ///< the master's, one per output
    std::vector<std::string> outputs;
    Json json;
};

/// The names of the outputs, which the master's part alone knows.
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

Result<std::vector<ShownPart>> read_parts(const TrainedModel& model, const std::string& only) {
    std::vector<ShownPart> parts;
    std::error_code ec;
    for (const fs::path& entry : entries_of(model.parts)) {
        const std::string party = entry.filename().string();
        if ((!only.empty() && party != only) || !fs::exists(entry / "model.json", ec)) continue;
        auto part = read_part(entry / "model.json", party);
        if (!part) return tl::unexpected(part.error());
        parts.push_back(std::move(*part));
    }
    if (parts.empty())
        return fail(Errc::usage, "there is no part of " + only + " in " + model.parts.string());
    std::ranges::sort(parts, {}, &ShownPart::party);  // "master" before "member-0"
    return parts;
}

std::string table_of(const ShownPart& part, const std::vector<std::string>& outputs,
                     std::uint64_t limit) {
    using observe::Align;
    const std::size_t count =
        part.features.empty() ? part.intercept.size() : part.features.front().weights.size();
    std::vector<observe::Column> columns{{"FEATURE"}};
    for (std::size_t c = 0; c < count; ++c)
        columns.push_back({count == 1           ? "WEIGHT"
                           : c < outputs.size() ? outputs[c]
                                                : "OUTPUT " + std::to_string(c + 1),
                           Align::right});
    observe::Table table(std::move(columns));
    const auto row = [&](const std::string& name, const std::vector<double>& weights) {
        std::vector<std::string> cells{name};
        for (const double weight : weights) cells.push_back(observe::metric_text(weight));
        table.add(std::move(cells));
    };
    const std::size_t shown_rows = std::min<std::size_t>(limit, part.features.size());
    for (std::size_t j = 0; j < shown_rows; ++j)
        row(part.features[j].name, part.features[j].weights);
    if (!part.intercept.empty()) row("(intercept)", part.intercept);
    std::string text = part.party + ", " + observe::grouped(part.features.size()) + " features";
    if (shown_rows < part.features.size())
        text += ", the first " + observe::grouped(shown_rows) + " (--limit shows more)";
    return text + "\n" + shown(table);
}

}  // namespace

int run(const ModelShowArguments& arguments) {
    const auto model = find_model(arguments, arguments.model);
    if (!model) return report_failure(arguments, model.error());
    const auto parts = read_parts(*model, arguments.party);
    if (!parts) return report_failure(arguments, parts.error());
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const ShownPart& part : *parts) objects.push_back(part.json.dump());
        print(JsonObject()
                  .add("run_id", model->head.run.hex())
                  .add_json("parts", json_array(objects))
                  .text() +
              "\n");
        return 0;
    }
    std::vector<std::string> outputs;
    for (const ShownPart& part : *parts)
        if (!part.outputs.empty()) outputs = part.outputs;
    print("model of run " + model->head.run.short_hex() + ", task " + model->head.task + "\n");
    for (const ShownPart& part : *parts) print("\n" + table_of(part, outputs, arguments.limit));
    print(
        "\nA weight is what one unit of its feature adds to the score: of a column that was "
        "standardized\none standard deviation, of a category its presence.\n");
    return 0;
}

}  // namespace vflbus::cli
