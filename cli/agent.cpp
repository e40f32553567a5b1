// vflbus agent

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "config/document.hpp"
#include "container_spec.hpp"
#include "output.hpp"
#include "podman.hpp"
#include "settings.hpp"
#include "trained_model.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* config_inside = "/etc/vflbus/vflbus.toml";

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// "broker", "master", "arbiter" or "member-K"; empty when nobody was named.
Result<std::string> party_of(const AgentArguments& arguments) {
    std::string role = arguments.role.empty() ? variable("VFLBUS_ROLE") : arguments.role;
    std::string rank = arguments.rank ? std::to_string(*arguments.rank) : variable("VFLBUS_RANK");
    if (role == "broker" || role == "master" || role == config::arbiter_name) {
        if (arguments.rank)
            return fail(Errc::usage, "--role " + role + " has no --rank; leave it out");
        return role;
    }
    if (role.empty() && rank.empty()) return "";
    if (!role.empty() && role != "member")
        return fail(Errc::usage, "--role " + role +
                                     " is unknown; an agent is broker, master, arbiter or member");
    if (rank.empty()) return fail(Errc::usage, "a member needs its rank: --rank R, or VFLBUS_RANK");
    if (!std::ranges::all_of(rank, [](char c) { return c >= '0' && c <= '9'; }))
        return fail(Errc::usage,
                    "VFLBUS_RANK: \"" + rank + "\" is no rank; it is an integer from 0");
    return "member-" + rank;
}

/// One container of ours, as podman lists it.
struct Listed {
    std::string name;
    std::string party;
    std::string run;
    std::string state;
    std::string status;
};

Result<std::vector<Listed>> listed(const Podman& podman, const AgentArguments& arguments) {
    std::vector<std::string> words{"ps", "--all", "--filter", "label=vflbus.party"};
    const auto party = party_of(arguments);
    if (!party) return tl::unexpected(party.error());
    if (!party->empty()) words.insert(words.end(), {"--filter", "label=vflbus.party=" + *party});
    words.insert(words.end(),
                 {"--format",
                  "{{.Names}}\t{{index .Labels \"vflbus.party\"}}\t{{index .Labels \"vflbus.run\"}}"
                  "\t{{.State}}\t{{.Status}}"});
    const auto text = podman(words);
    if (!text) return tl::unexpected(text.error());
    std::vector<Listed> all;
    for (const std::string& line : split(*text, '\n')) {
        const auto cells = split(line, '\t');
        if (cells.size() < 5) continue;
        if (!cells[2].starts_with(arguments.run_id)) continue;
        all.push_back({cells[0], cells[1], cells[2], cells[3], cells[4]});
    }
    std::ranges::sort(all, {}, &Listed::name);
    return all;
}

Failure nobody(const AgentArguments& arguments) {
    const auto party = party_of(arguments);
    return {Errc::peer_lost, "there is no agent" +
                                 (party && !party->empty() ? " " + *party : std::string()) +
                                 " on this host; `vflbus agent start` starts one"};
}

// -- start ------------------------------------------------------------------------------

/// What every party's container is like.
ContainerSpec common_spec(const AgentArguments& arguments, const std::string& party) {
    ContainerSpec spec;
    spec.name = "vflbus-" + party;
    spec.image = image_or_default(arguments.image);
    spec.memory = arguments.memory;
    spec.cpus = arguments.cpus;
    spec.network = {"--network", "host"};
    spec.labels = {{"vflbus.party", party}, {"vflbus.run", ""}};
    // also for reasons that would come again, which podman cannot tell: a few times only
    spec.restart = party == "master" ? "on-failure:3" : "on-failure:100";
    spec.detached = true;
    spec.removed = false;
    return spec;
}

/// The directory of keys, at the path that it has here.
void mount_keys(ContainerSpec& spec, const config::Config& config) {
    const fs::path directory = config.bus.certificates;
    if (directory.empty()) return;
    spec.mounts.push_back({directory, directory, false});
    spec.variables.emplace_back("VFLBUS_CERTIFICATES", directory.string());
}

/// Keys are for their owner alone, who is therefore the user of a broker's container. A party's is
/// the owner of its runs directory.
std::string user_of_broker(const config::Config& config) {
    struct stat status{};
    if (config.bus.certificates.empty() || ::geteuid() != 0 ||
        ::stat(config.bus.certificates.c_str(), &status) != 0)
        return user_for({});
    return std::to_string(status.st_uid) + ":" + std::to_string(status.st_gid);
}

void be_broker(ContainerSpec& spec, const AgentArguments& arguments, const config::Config& config) {
    spec.user = user_of_broker(config);
    const std::string bind = !arguments.bind.empty()    ? arguments.bind
                             : !config.bus.bind.empty() ? config.bus.bind.front()
                                                        : config.bus.broker;
    spec.variables = {{"VFLBUS_ROLE", "broker"}, {"VFLBUS_BROKER", bind}};
    spec.command = {"broker", "--bind", bind};
    if (arguments.insecure || config.bus.insecure) spec.command.emplace_back("--insecure");
    // (a party finds them in its configuration)
    if (!config.observe.metrics.empty())
        spec.command.insert(spec.command.end(), {"--metrics", config.observe.metrics});
    if (config.observe.remote)
        spec.command.insert(spec.command.end(), {"--set", "observe.remote=true"});
    mount_keys(spec, config);
}

/// The runs directory, written by its owner where it is there, and made otherwise.
Result<> prepare_runs_dir(ContainerSpec& spec, const fs::path& runs_dir) {
    struct stat status{};
    if (::stat(runs_dir.c_str(), &status) == 0) {
        spec.user = std::to_string(status.st_uid) + ":" + std::to_string(status.st_gid);
        return {};
    }
    std::error_code ec;
    fs::create_directories(runs_dir, ec);
    if (ec) return fail(Errc::io, "cannot create " + runs_dir.string() + ": " + ec.message());
    give(runs_dir, spec.user);
    return {};
}

/// Tables, configuration, runs directory and variables of a master or member.
Result<> be_party(ContainerSpec& spec, const config::Config& config, const std::string& party) {
    if (party != config::arbiter_name) {
        if (auto good = config::check_party(config, party); !good) return good;
        if (auto good = config::check_files(config, party); !good) return good;
    }
    auto mounts = data_mounts(section_of(config, party));
    if (!mounts) return tl::unexpected(mounts.error());
    spec.mounts = std::move(*mounts);
    spec.user = user_for(spec.mounts);
    const fs::path runs_dir = config.output.runs_dir;
    if (auto prepared = prepare_runs_dir(spec, runs_dir); !prepared) return prepared;
    const fs::path file = runs_dir / "agents" / (party + ".toml");
    if (auto written = write_file_atomically(file, config::to_toml(only_of(config, party)));
        !written)
        return written;
    give(file.parent_path(), spec.user);
    spec.mounts.push_back({file, config_inside, false});
    spec.mounts.push_back({runs_dir, runs_dir, true});
    if (const fs::path events = config.observe.tensorboard; party == "master" && !events.empty()) {
        std::error_code ec;
        const bool made = fs::create_directories(events, ec);
        if (ec) return fail(Errc::io, "cannot create " + events.string() + ": " + ec.message());
        if (made) give(events, spec.user);
        spec.mounts.push_back({events, events, true});
    }
    spec.variables = {{"VFLBUS_CONFIG", config_inside},
                      {"VFLBUS_BROKER", config.bus.broker},
                      {"VFLBUS_OUTPUT_RUNS_DIR", runs_dir.string()}};
    spec.variables.push_back(identity_variable(party));
    mount_keys(spec, config);
    return {};
}

/// What a master does: a training, or with --infer a prediction.
Result<> be_master(ContainerSpec& spec, const AgentArguments& arguments,
                   const config::Config& config) {
    if (arguments.infer) {
        if (arguments.model.empty())
            return fail(Errc::usage,
                        "--infer needs --model runs/<run_id>, the directory of the training");
        const fs::path model = fs::absolute(arguments.model).lexically_normal();
        const fs::path within = model.lexically_relative(config.output.runs_dir);
        if (within.empty() || *within.begin() == "..") spec.mounts.push_back({model, model, false});
        spec.command = {"predict", "--model", model.string()};
        return {};
    }
    const auto run = run_id_or_random(arguments.run_id);
    if (!run) return tl::unexpected(run.error());
    spec.labels.back().second = run->hex();
    // after a crash the container goes on with its run
    spec.command = {"actor", "--run-id", run->hex(), "--or-resume"};
    return {};
}

Result<ContainerSpec> spec_for(const AgentArguments& given, const std::string& party) {
    AgentArguments arguments = given;
    LoadMore more;
    if (party != "broker" && party != config::arbiter_name) more.self = party;
    auto config = load_config(arguments, broker_flag(arguments.broker), more);
    if (!config) return tl::unexpected(config.error());
    if (party == "master" && arguments.infer && !arguments.model.empty()) {
        const auto model = find_model(arguments, arguments.model);
        if (!model) return tl::unexpected(model.error());
        if (auto taken = take_agreed(*config, *model); !taken)
            return tl::unexpected(std::move(taken.error()));
        arguments.model = (model->run_dir.empty() ? model->parts : model->run_dir).string();
    }
    ContainerSpec spec = common_spec(arguments, party);
    spec.log_bytes = config->output.log_file_bytes;
    if (party == "broker") {
        be_broker(spec, arguments, *config);
        return spec;
    }
    if (const auto good = be_party(spec, *config, party); !good)
        return tl::unexpected(good.error());
    if (party != "master")
        spec.command = {"actor"};
    else if (const auto good = be_master(spec, arguments, *config); !good)
        return tl::unexpected(good.error());
    return spec;
}

int start(const AgentArguments& arguments, const Podman& podman) {
    const auto party = party_of(arguments);
    if (!party) return report_failure(arguments, party.error());
    if (party->empty())
        return report_failure(arguments, {Errc::usage,
                                          "who is this: say --role broker, --role master, --role "
                                          "arbiter, or --role member --rank R"});
    if (const auto good = podman.has_image(image_or_default(arguments.image)); !good)
        return report_failure(arguments, good.error());
    const auto spec = spec_for(arguments, *party);
    if (!spec) return report_failure(arguments, spec.error());
    const auto there =
        podman({"ps", "--filter", "name=^" + spec->name + "$", "--format", "{{.ID}}"});
    if (!there) return report_failure(arguments, there.error());
    if (!there->empty())
        return report_failure(arguments,
                              {Errc::usage, *party + " runs already on this host; "
                                                     "`vflbus agent stop` ends it first"});
    const auto started = podman(run_words(*spec));
    if (!started) return report_failure(arguments, started.error());
    if (arguments.json)
        print(JsonObject().add("status", "started").add("container", spec->name).text() + "\n");
    else
        print(spec->name + "\n");
    return 0;
}

// -- stop, status, logs -------------------------------------------------------------------

int stop(const AgentArguments& arguments, const Podman& podman) {
    const auto party = party_of(arguments);
    if (!party) return report_failure(arguments, party.error());
    if (party->empty() && !arguments.all && arguments.run_id.empty())
        return report_failure(arguments, {Errc::usage,
                                          "whom: say --role and --rank, --run-id RUN for what a "
                                          "launch has kept, or --all"});
    auto all = listed(podman, arguments);
    if (!all) return report_failure(arguments, all.error());
    if (all->empty()) return report_failure(arguments, nobody(arguments));
    // the broker last, so that the others can say goodbye
    std::ranges::stable_partition(*all, [](const Listed& one) { return one.party != "broker"; });
    for (const Listed& one : *all) {
        const auto place = podman({"inspect", "--format",
                                   "{{index .Config.Labels \"vflbus.containers\"}} {{index "
                                   ".Config.Labels \"vflbus.network\"}}",
                                   one.name});
        if (auto stopped = podman({"stop", "--time", "30", one.name}); !stopped)
            return report_failure(arguments, stopped.error());
        if (auto removed = podman({"rm", "--force", "--volumes", one.name}); !removed)
            return report_failure(arguments, removed.error());
        note(arguments, one.name + " is stopped and removed");
        if (!place) continue;
        // of a kept launch: with the last container go its network and what parties saw as theirs
        const auto cells = split(*place, ' ');
        if (cells.size() != 2 || cells[0].empty() || cells[0].front() != '/') continue;
        if (fs::path(cells[0]).filename() == "containers") {
            std::error_code ec;
            fs::remove_all(fs::path(cells[0]) / one.party, ec);
            fs::remove_all(fs::path(cells[0]) / (one.party + keys_extension), ec);
            fs::remove_all(fs::path(cells[0]) / (one.party + metrics_extension), ec);
            fs::remove(fs::path(cells[0]) / (one.party + ".toml"), ec);
            fs::remove(cells[0], ec);  // once it is empty
        }
        (void)run_command(podman.command({"network", "rm", cells[1]}));  // once nobody is in it
    }
    return 0;
}

int show_status(const AgentArguments& arguments, const Podman& podman) {
    const auto all = listed(podman, arguments);
    if (!all) return report_failure(arguments, all.error());
    if (all->empty()) {
        report_failure(arguments, nobody(arguments));
        return 1;
    }
    bool good = true;
    std::vector<std::string> objects;
    std::string lines;
    for (const Listed& one : *all) {
        std::string health = "-";
        std::string reason;
        if (one.state.starts_with("Up") || one.state == "running") {
            const auto asked = run_command(
                podman.command({"exec", one.name, "/usr/bin/vflbus", "health", "--ready"}));
            health = asked && asked->exit_code == 0 ? "up" : "not ready";
            if (asked && asked->exit_code != 0) reason = std::string(trim(asked->err));
        }
        if (one.status.starts_with("Exited (0)")) health = "done";
        good = good && (health == "up" || health == "done");
        objects.push_back(JsonObject()
                              .add("container", one.name)
                              .add("party", one.party)
                              .add("run", one.run)
                              .add("state", one.state)
                              .add("status", one.status)
                              .add("health", health)
                              .add("reason", reason)
                              .text());
        lines += one.name + "  " + one.party + "  " + one.status + "  " + health +
                 (reason.empty() ? "" : "  (" + reason + ")") + "\n";
    }
    print(arguments.json
              ? versioned("vflbus-agents").add_json("agents", json_array(objects)).text() + "\n"
              : lines);
    return good ? 0 : 1;
}

int show_logs(const AgentArguments& arguments, const Podman& podman) {
    const auto all = listed(podman, arguments);
    if (!all) return report_failure(arguments, all.error());
    if (all->empty()) return report_failure(arguments, nobody(arguments));
    if (all->size() > 1)
        return report_failure(arguments, {Errc::usage, "there are " + std::to_string(all->size()) +
                                                           " agents; say whose log by --role, "
                                                           "--rank and --run-id"});
    std::vector<std::string> words{"logs"};
    if (arguments.follow) words.emplace_back("--follow");
    words.push_back(all->front().name);
    words = podman.command(words);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    // podman shows what came on standard error there; here both are what was asked for
    ::dup2(STDOUT_FILENO, STDERR_FILENO);
    ::execv(argv[0], argv.data());  // to follow, and to end by Ctrl-C, as podman does
    return report_failure(arguments, {Errc::io, "cannot start " + words[0]});
}

}  // namespace

int run(const AgentArguments& arguments) {
    const auto podman = Podman::find();
    if (!podman) return report_failure(arguments, podman.error());
    switch (arguments.action) {
        case AgentArguments::Action::start:
            return start(arguments, *podman);
        case AgentArguments::Action::stop:
            return stop(arguments, *podman);
        case AgentArguments::Action::status:
            return show_status(arguments, *podman);
        case AgentArguments::Action::logs:
            return show_logs(arguments, *podman);
    }
    return 0;
}

}  // namespace vflbus::cli
