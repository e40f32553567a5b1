// vflbus model show: the features of the parts of a model that lie here, by weight

#include <algorithm>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "commands.hpp"
#include "model_parts.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "trained_model.hpp"

namespace vflbus::cli {
namespace {

/// The lines of a text, broken where the window is narrower.
std::string lines_of(const std::string& text) {
    const std::size_t width = std::min(output_columns(), observe::table_columns_max);
    std::string out;
    for (const std::string& line : split(text, '\n')) out += observe::wrapped(line, width) + "\n";
    return out;
}

/// A sentence below the tables.
void print_sentence(const std::string& sentence) {
    print("\n" + lines_of(sentence));
}

std::string table_of(const ShownPart& part, const std::vector<std::string>& outputs,
                     std::uint64_t limit) {
    using observe::Align;
    const std::size_t count =
        part.features.empty() ? part.intercept.size() : part.features.front().weights.size();
    std::vector<observe::Column> columns{{"FEATURE"}};
    for (std::size_t c = 0; c < count; ++c)
        columns.push_back({!part.layers.empty() ? "NORM"
                           : count == 1         ? "WEIGHT"
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
    for (const std::string& line : part.layers) text += "\n" + line;
    text = lines_of(text);
    if (part.features.empty() && part.intercept.empty()) return text;
    return text + shown(table);
}

}  // namespace

int run(const ModelShowArguments& arguments) {
    const auto model = find_model(arguments, arguments.model);
    if (!model) return report_failure(arguments, model.error());
    const auto parts = read_parts(model->parts, arguments.party);
    if (!parts) return report_failure(arguments, parts.error());
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const ShownPart& part : *parts) objects.push_back(part.json.dump());
        print(versioned("vflbus-model")
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
    if (!parts->front().layers.empty()) {
        print_sentence(
            "The norm is that of the weights by which the feature goes into the first layer of its "
            "party's network; it has no sign, and says little of what later layers make of it.");
        return 0;
    }
    print_sentence(
        "A weight is what one unit of its feature adds to the score: of a column that was "
        "standardized one standard deviation, of a category its presence.");
    return 0;
}

}  // namespace vflbus::cli
