// vflbus keys new, show and fingerprint

#include <filesystem>
#include <string>
#include <vector>

#include "bus/keys/key_files.hpp"
#include "commands.hpp"
#include "key_store.hpp"
#include "observe/table.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

JsonObject json_of(const bus::PublicKeyFile& key) {
    return JsonObject()
        .add("name", key.name)
        .add("fingerprint", bus::fingerprint_of(key.key))
        .add("public", bus::text_of(key.key))
        .add("expires", bus::date_text(key.expires));
}

}  // namespace

int run(const KeysNewArguments& arguments) {
    const auto period = period_of("--expires", arguments.expires);
    if (!period) return report_failure(arguments, period.error());
    const fs::path directory = arguments.certificates;
    const auto made = bus::make_key_files(directory, arguments.name, bus::wall_seconds() + *period);
    if (!made) return report_failure(arguments, made.error());
    const bus::PublicKeyFile public_key = bus::public_half(*made);
    if (arguments.json) {
        print(json_of(public_key)
                  .add("secret_file", bus::secret_key_path(directory, made->name).string())
                  .add("public_file", bus::public_key_path(directory, made->name).string())
                  .text() +
              "\n");
        return 0;
    }
    print(bus::fingerprint_of(public_key.key) + "\n");
    note(arguments, "the key of " + made->name + " is in " +
                        bus::secret_key_path(directory, made->name).string() +
                        ", which stays here; hand out " +
                        bus::public_key_path(directory, made->name).string() + ", good until " +
                        bus::date_text(made->expires));
    return 0;
}

int run(const KeysShowArguments& arguments) {
    const fs::path directory = arguments.certificates;
    const std::vector<std::string> names = arguments.name.empty()
                                               ? bus::key_names(directory, bus::public_extension)
                                               : std::vector<std::string>{arguments.name};
    std::vector<bus::PublicKeyFile> keys;
    for (const std::string& name : names) {
        auto key = bus::read_public_key(bus::public_key_path(directory, name));
        if (!key) return report_failure(arguments, key.error());
        keys.push_back(std::move(*key));
    }
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const bus::PublicKeyFile& key : keys) objects.push_back(json_of(key).text());
        print(versioned("vflbus-keys").add_json("keys", json_array(objects)).text() + "\n");
        return 0;
    }
    if (keys.empty()) {
        note(arguments, "there are no keys in " + directory.string());
        return 0;
    }
    observe::Table table({{"NAME"}, {"FINGERPRINT"}, {"PUBLIC KEY"}, {"EXPIRES"}});
    const bus::Seconds now = bus::wall_seconds();
    for (const bus::PublicKeyFile& key : keys) {
        table.add({key.name, bus::fingerprint_of(key.key), bus::text_of(key.key),
                   bus::date_text(key.expires) + ", " + bus::from_now(key.expires, now)});
        if (const std::string text =
                bus::expiry_warning("the key of " + key.name, key.expires, now);
            !text.empty())
            error_line(text);
    }
    print(shown(table));
    return 0;
}

int run(const KeysFingerprintArguments& arguments) {
    std::error_code ec;
    const fs::path file = fs::is_regular_file(arguments.name, ec)
                              ? fs::path(arguments.name)
                              : bus::public_key_path(arguments.certificates, arguments.name);
    const auto key = bus::read_public_key(file);
    if (!key) return report_failure(arguments, key.error());
    print(arguments.json ? json_of(*key).text() + "\n" : bus::fingerprint_of(key->key) + "\n");
    return 0;
}

}  // namespace vflbus::cli
