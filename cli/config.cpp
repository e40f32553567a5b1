// vflbus config check, vflbus config reference

#include "config/config.hpp"

#include <string>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "config/agreed.hpp"
#include "config/document.hpp"
#include "output.hpp"
#include "parties.hpp"
#include "settings.hpp"

namespace vflbus::cli {

int run(const ConfigCheckArguments& arguments) {
    const auto config = load_config(arguments);
    if (!config) return report_failure(arguments, config.error());
    if (const auto good = check_words(*config); !good)
        return report_failure(arguments, good.error());
    std::vector<std::string> parties;
    for (const auto& [name, party] : config->parties) {
        if (const auto found = config::check_files(*config, name); !found)
            return report_failure(arguments, found.error());
        parties.push_back(name);
    }
    const std::string hash = to_hex(config::agreed_hash(*config));
    if (arguments.json) {
        print(JsonObject()
                  .add("status", "completed")
                  .add("file", config->file)
                  .add("task", config::name_of(config->model.task))
                  .add("world_size", config->run.world_size)
                  .add("parties", parties)
                  .add("agreed_hash", hash)
                  .text() +
              "\n");
        return 0;
    }
    print((config->file.empty() ? "no file, defaults and environment" : config->file) + ": good\n");
    print("task         " + std::string(config::name_of(config->model.task)) + "\n");
    print("members      " +
          (config->run.world_size == 0 ? "not said" : std::to_string(config->run.world_size)) +
          "\n");
    print("parties      " + (parties.empty() ? "none" : join_and(parties)) + "\n");
    print("agreed hash  " + hash + "\n");
    return 0;
}

int run(const ConfigReferenceArguments&) {
    print(config::reference_markdown());
    return 0;
}

}  // namespace vflbus::cli
