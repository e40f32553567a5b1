// vflbus export

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "commands.hpp"
#include "container_spec.hpp"
#include "deployment.hpp"
#include "output.hpp"
#include "podman.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Where each party of a Pod keeps its runs, made so that it may write there.
Result<std::map<std::string, std::string>> make_places(
    const config::Config& config, const std::map<std::string, std::string>& users) {
    std::map<std::string, std::string> places;
    for (const auto& [party, user] : users) {
        const fs::path place = fs::path(config.output.runs_dir) / "pod" / party;
        std::error_code ec;
        fs::create_directories(place, ec);
        if (ec) return fail(Errc::io, "cannot create " + place.string() + ": " + ec.message());
        const fs::path file = place.string() + ".toml";
        if (const auto written = write_file_atomically(file, contained_toml(config, party));
            !written)
            return tl::unexpected(written.error());
        fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write, ec);
        give(file, user);
        give(place, user);
        places[party] = fs::absolute(place).string();
    }
    return places;
}

int write_out(const ExportArguments& arguments, const std::string& text) {
    if (arguments.out.empty() || arguments.out == "-") {
        print(text);
        return 0;
    }
    if (const auto written = write_file_atomically(arguments.out, text); !written)
        return report_failure(arguments, written.error());
    note(arguments, "written to " + arguments.out);
    return 0;
}

}  // namespace

int run(const ExportArguments& arguments) {
    const auto run_id = run_id_or_random(arguments.run_id);
    if (!run_id) return report_failure(arguments, run_id.error());
    const auto config = load_config(arguments, {});
    if (!config) return report_failure(arguments, config.error());
    if (const auto good = config::check_launch(*config); !good)
        return report_failure(arguments, good.error());
    const Deployment deployment{*config, *run_id, image_or_default(arguments.image),
                                arguments.memory, arguments.cpus};

    if (arguments.form == ExportArguments::Form::systemd) {
        std::string all;
        for (const auto& [name, text] : systemd_units(deployment)) {
            if (arguments.out.empty()) {
                all += "# -- " + name + "\n" + text + "\n";
                continue;
            }
            const fs::path file = fs::path(arguments.out) / name;
            if (const auto written = write_file_atomically(file, text); !written)
                return report_failure(arguments, written.error());
            note(arguments, "written to " + file.string());
        }
        if (!all.empty()) print(all);
        return 0;
    }
    if (!arguments.podman) return write_out(arguments, kube_yaml(deployment));

    std::map<std::string, std::string> users;
    for (const auto& [party, section] : config->parties) {
        if (const auto good = config::check_files(*config, party); !good)
            return report_failure(arguments, good.error());
        const auto mounts = data_mounts(section);
        if (!mounts) return report_failure(arguments, mounts.error());
        users[party] = user_for(*mounts);
    }
    if (config::has_arbiter(*config)) users[config::arbiter_name] = user_for({});
    const auto places = make_places(*config, users);
    if (!places) return report_failure(arguments, places.error());
    return write_out(arguments, pod_yaml(deployment, *places, users));
}

}  // namespace vflbus::cli
