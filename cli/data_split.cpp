// vflbus data split

#include <string>
#include <vector>

#include "commands.hpp"
#include "data/vertical_split.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "pictures.hpp"

namespace vflbus::cli {

int run(const SplitArguments& arguments) {
    data::VerticalSplitOptions options;
    options.source.location = arguments.file;
    options.parties = arguments.parties;
    options.id = arguments.id;
    options.labels = arguments.label;
    const auto image = parse_image(arguments.image, "--image");
    if (!image) return report_failure(arguments, image.error());
    options.image = *image;
    options.out_dir = arguments.out;
    options.overlap = arguments.overlap;
    options.seed = arguments.seed;
    const auto split = data::split_vertically(options);
    if (!split) return report_failure(arguments, split.error());
    if (arguments.json) {
        std::vector<std::string> parties;
        for (const data::SplitPart& part : split->parts) {
            JsonObject one;
            one.add("name", part.party)
                .add("data", part.file.string())
                .add("rows", part.rows)
                .add("columns", part.columns);
            if (part.image) one.add("image", part.image->text());
            parties.push_back(one.text());
        }
        print(JsonObject()
                  .add("status", "completed")
                  .add("id", split->id)
                  .add("ids_made", split->ids_made)
                  .add_json("parties", json_array(parties))
                  .text() +
              "\n");
        return 0;
    }
    if (split->ids_made)
        note(arguments, "no column is called id: rows are numbered; --id names a column");
    observe::Table table(
        {{"party"}, {"file"}, {"rows", observe::Align::right}, {"columns", observe::Align::right}});
    std::string command = "vflbus launch --local";
    for (const data::SplitPart& part : split->parts) {
        table.add({part.party, part.file.string(), observe::grouped(part.rows),
                   std::to_string(part.columns.size())});
        command += " --data " + shell_word(part.file.string());
    }
    print(shown(table));
    if (arguments.label.empty()) return 0;
    for (const std::string& label : arguments.label) command += " --label " + shell_word(label);
    if (split->id != "id") command += " --id " + shell_word(split->id);
    for (const data::SplitPart& part : split->parts)
        if (part.image) command += " --set party." + part.party + ".image=" + part.image->text();
    if (*image) command += " --set model.name=efficientnet";
    print("\nTrain on them:\n  " + command + "\n");
    return 0;
}

}  // namespace vflbus::cli
