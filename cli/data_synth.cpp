// vflbus data synth

#include <filesystem>
#include <string>

#include "commands.hpp"
#include "data/synth_pictures.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "pictures.hpp"
#include "tasks.hpp"

namespace vflbus::cli {

int run(const SynthArguments& arguments) {
    const auto task = parse_task(arguments.task);
    if (!task) return report_failure(arguments, task.error());
    constexpr std::uint64_t most = 0xffffffff;
    data::SynthOptions options;
    options.task = *task;
    options.members = static_cast<std::uint32_t>(std::min(arguments.members, most));
    options.rows = arguments.rows;
    options.seed = arguments.seed;
    options.out_dir = arguments.out;
    options.labels = static_cast<std::uint32_t>(std::min(arguments.labels, most));
    options.classes = static_cast<std::uint32_t>(std::min(arguments.classes, most));
    options.test_files = arguments.test_files;
    options.predict_files = arguments.predict_files;
    const auto image = parse_image(arguments.pictures, "--pictures");
    if (!image) return report_failure(arguments, image.error());
    const auto made =
        *image ? data::synthesize_pictures(options, **image) : data::synthesize(options);
    if (!made) return report_failure(arguments, made.error());

    if (arguments.json) {
        std::vector<std::string> parties;
        for (const data::SynthParty& party : made->parties) {
            JsonObject one;
            one.add("name", party.name).add("data", party.data.string());
            if (!party.test_data.empty()) one.add("test_data", party.test_data.string());
            if (!party.predict_data.empty()) one.add("predict_data", party.predict_data.string());
            one.add("rows", party.rows).add("features", party.features);
            if (party.image.size() > 0) one.add("image", party.image.text());
            parties.push_back(one.text());
        }
        print(JsonObject()
                  .add("status", "completed")
                  .add_json("parties", json_array(parties))
                  .add("id", made->id_column)
                  .add("labels", made->labels)
                  .add("common", made->common)
                  .add("bytes", made->bytes)
                  .text() +
              "\n");
        return 0;
    }
    observe::Table table(
        {{"party"}, {"file"}, {"rows", observe::Align::right}, {"columns", observe::Align::right}});
    for (const data::SynthParty& party : made->parties)
        table.add({party.name, party.data.string(), observe::grouped(party.rows),
                   std::to_string(party.features.size())});
    print(shown(table));
    std::string labels;
    for (const std::string& label : made->labels) labels += " --label " + label;
    std::string command = "vflbus launch --local";
    for (const data::SynthParty& party : made->parties) command += " --data " + party.data.string();
    std::size_t member = 0;
    for (const data::SynthParty& party : made->parties)
        if (party.image.size() > 0)
            labels +=
                " --set party.member-" + std::to_string(member++) + ".image=" + party.image.text();
    if (*image) labels += " --set model.name=efficientnet";
    print("\n" + observe::grouped(made->common) + " ids are known to all. Train on them:\n  " +
          command + labels + " --id " + made->id_column +
          (made->exposure.empty() ? "" : " --set party.master.exposure=" + made->exposure) +
          (predicts_numbers(*task) && *task != Task::linear ? " --task " + arguments.task : "") +
          "\n");
    return 0;
}

}  // namespace vflbus::cli
