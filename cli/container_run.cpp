#include "container_run.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <system_error>

#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"
#include "config/document.hpp"
#include "container_metrics.hpp"
#include "container_spec.hpp"
#include "observe/log.hpp"
#include "observers/http_server.hpp"
#include "output.hpp"
#include "parties.hpp"
#include "podman.hpp"
#include "resume.hpp"
#include "run_keys.hpp"
#include "settings.hpp"
#include "watch.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Where a container finds its configuration.
constexpr const char* config_inside = "/etc/vflbus/vflbus.toml";
/// And its keys.
constexpr const char* keys_inside = "/etc/vflbus/keys";

std::string terminal_columns() {
    winsize size{};
    if (::isatty(STDERR_FILENO) != 1) return {};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return "80";
    return std::to_string(size.ws_col);
}

/// Moves a file or directory in place of another; a copy where that is another file system.
void move_over(const fs::path& from, const fs::path& to) {
    std::error_code ec;
    fs::create_directories(to.parent_path(), ec);
    fs::rename(from, to, ec);
    if (!ec) return;
    if (fs::is_directory(from, ec)) {
        for (const auto& entry : fs::directory_iterator(from, ec))
            move_over(entry.path(), to / entry.path().filename());
        fs::remove(from, ec);
        return;
    }
    fs::copy_file(from, to, fs::copy_options::overwrite_existing, ec);
    if (!ec) fs::remove(from, ec);
}

class ContainerRun {
  public:
    ContainerRun(const LaunchArguments& arguments, const ContainerJob& job, Podman podman)
        : arguments_(arguments),
          job_(job),
          podman_(std::move(podman)),
          image_(image_or_default(arguments.container.image)),
          staging_(job.run_dir / "containers"),
          prefix_("vflbus-" + job.run.hex().substr(0, 12)),
          network_(prefix_ + "-net-" + random_run_id().hex().substr(0, 6)) {}

    LocalOutcome run() {
        LocalOutcome outcome;
        if (Result<> ready = prepare(); !ready) {
            outcome.failure = ready.error();
            outcome.exit_code = static_cast<int>(exit_code(ready.error().code));
        } else {
            outcome = run_locally(plan());
        }
        const bool keep = arguments_.keep && outcome.exit_code == 0;
        if (!keep) remove_containers();
        collect(keep);
        return outcome;
    }

  private:
    struct Party {
        std::string name;
        std::string user;
        std::vector<Mount> mounts;
        fs::path own;  ///< what it sees as the runs directory
    };

    // -- before ------------------------------------------------------------------------
    Result<> prepare() {
        collect(false);  // what a launch that was killed has left
        names_.push_back("broker");
        names_.push_back("master");
        for (std::uint64_t rank = 0; rank < job_.config.run.world_size; ++rank)
            names_.push_back(config::member_name(rank));
        if (config::has_arbiter(job_.config)) names_.push_back(config::arbiter_name);
        const auto keys = RunKeys::make("master", {names_.begin() + 2, names_.end()});
        if (!keys) return tl::unexpected(keys.error());
        for (std::size_t i = 1; i < names_.size(); ++i)
            if (Result<> party = prepare_party(names_[i], *keys); !party) return party;
        if (Result<> given = give_keys("broker", user_for({}), *keys); !given) return given;
        for (std::size_t i = 0; i < names_.size(); ++i)
            if (Result<> shown = show_metrics(names_[i], i); !shown) return shown;
        made_ = true;
        const auto made = podman_(
            {"network", "create", "--internal", "--disable-dns", "--label", run_label(), network_});
        if (!made) return tl::unexpected(made.error());
        const auto subnet =
            podman_({"network", "inspect", "--format", "{{(index .Subnets 0).Subnet}}", network_});
        if (!subnet) return tl::unexpected(subnet.error());
        auto ip = broker_ip(*subnet);
        if (!ip) return tl::unexpected(ip.error());
        broker_ip_ = std::move(*ip);
        return {};
    }

    /// Where Prometheus finds the container of the `place`-th process, if it is asked for.
    [[nodiscard]] std::string metrics_of(const std::string& name, std::uint64_t place) const {
        const std::string& all = job_.config.observe.metrics;
        return all.empty() ? metrics_address(job_.config, name) : metrics_address_of(all, place);
    }
    [[nodiscard]] fs::path metrics_directory(const std::string& name) const {
        return staging_ / (name + metrics_extension);
    }
    Result<> show_metrics(const std::string& name, std::uint64_t place) {
        const std::string address = metrics_of(name, place);
        if (address.empty()) return {};
        const fs::path own = metrics_directory(name);
        std::error_code ec;
        fs::remove_all(own, ec);
        fs::create_directories(own, ec);
        fs::permissions(own, fs::perms::owner_all, ec);
        if (ec) return fail(Errc::io, "cannot create " + own.string() + ": " + ec.message());
        const auto party = std::ranges::find(parties_, name, &Party::name);
        give(own, party == parties_.end() ? user_for({}) : party->user);
        auto server = relay_metrics(address, job_.config.observe.remote, own);
        if (!server) return tl::unexpected(server.error());
        observe::log::info({.part = "observe"}, "metrics of {} at {}", name,
                           place_of_metrics(**server));
        metrics_.push_back(std::move(*server));
        return {};
    }

    /// What a container sees of the keys of this run: its own secret, and what everybody knows.
    /// Made anew for each launch, and gone with the staging directory.
    Result<> give_keys(const std::string& name, const std::string& user, const RunKeys& keys) {
        const fs::path own = keys_of(name);
        std::error_code ec;
        fs::remove_all(own, ec);
        fs::create_directories(own, ec);
        fs::permissions(own, fs::perms::owner_all, ec);
        if (ec) return fail(Errc::io, "cannot create " + own.string() + ": " + ec.message());
        const auto copy = [&](const fs::path& file) {
            if (!ec) fs::copy_file(keys.directory() / file, own / file, ec);
        };
        copy(bus::secret_key_path({}, name));
        for (const std::string& party : names_) copy(bus::public_key_path({}, party));
        if (name == "broker") copy(bus::allow_list_name);
        if (ec)
            return fail(Errc::io, "cannot write the keys of " + name + " into " + own.string() +
                                      ": " + ec.message());
        give(own, user);
        return {};
    }
    [[nodiscard]] fs::path keys_of(const std::string& name) const {
        return staging_ / (name + keys_extension);
    }

    Result<> prepare_party(const std::string& name, const RunKeys& keys) {
        Party party{name, {}, {}, staging_ / name};
        auto mounts = data_mounts(section_of(job_.config, name));
        if (!mounts) return tl::unexpected(mounts.error());
        party.mounts = std::move(*mounts);
        party.user = user_for(party.mounts);

        // what it goes on from
        const fs::path runs_dir = job_.config.output.runs_dir;
        const fs::path own_run = party.own / job_.run.hex();
        std::error_code ec;
        fs::create_directories(own_run, ec);
        if (ec) return fail(Errc::io, "cannot create " + own_run.string() + ": " + ec.message());
        if (job_.resume) {
            if (fs::exists(job_.run_dir / name, ec)) move_over(job_.run_dir / name, own_run / name);
            if (name == "master")
                for (const char* const file : {"run.json", "agreed.txt", "report.json"})
                    if (fs::exists(job_.run_dir / file, ec))
                        fs::copy_file(job_.run_dir / file, own_run / file,
                                      fs::copy_options::overwrite_existing, ec);
        }
        if (has_policy(job_.config, name)) {
            // what its policy decides is kept from run to run, beside what parties by hand keep
            const fs::path kept = fs::absolute(node_directory(job_.config, name));
            fs::create_directories(kept, ec);
            if (ec) return fail(Errc::io, "cannot create " + kept.string() + ": " + ec.message());
            give(kept, party.user);
            party.mounts.push_back({kept, node_directory(job_.config, name), true});
        }
        // a mount below the runs directory needs a place there, which the container could not make
        for (const Mount& mount : party.mounts) {
            const fs::path below = mount.inside.lexically_relative(runs_dir);
            if (below.empty() || *below.begin() == "..") continue;
            fs::create_directories((party.own / below).parent_path(), ec);
        }
        auto watched = watched_config(party);
        if (!watched) return tl::unexpected(std::move(watched.error()));
        const fs::path file = staging_ / (name + ".toml");
        if (auto written = write_file_atomically(file, config::to_toml(*watched)); !written)
            return written;
        // nobody but the party, and on the host nobody but who started this
        fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write, ec);
        fs::permissions(party.own, fs::perms::owner_all, ec);
        give(file, party.user);
        give(party.own, party.user);
        if (Result<> given = give_keys(name, party.user, keys); !given) return given;
        party.mounts.push_back({keys_of(name), keys_inside, false});
        party.mounts.push_back({file, config_inside, false});
        party.mounts.push_back({party.own, runs_dir, true});
        parties_.push_back(std::move(party));
        return {};
    }

    /// A party's configuration with observers' files where its container may write: a trace beside
    /// its log, TensorBoard's events in a directory of this run that is mounted. MLflow is not
    /// reached from the network of the run, and a directory of that name would be the container's
    /// own: the master keeps what it logs, and that is sent when the run is over (launch.cpp).
    Result<config::Config> watched_config(Party& party) {
        config::Config own = only_of(job_.config, party.name);
        const fs::path run_inside = fs::path(job_.config.output.runs_dir) / job_.run.hex();
        own.output.log_dir.clear();  // launch writes what they log beside the run
        if (!own.observe.trace.empty())
            own.observe.trace = trace_part(run_inside, party.name).string();
        if (own.observe.tensorboard.empty() || party.name != "master") return own;
        const fs::path events = tensorboard_directory();
        std::error_code ec;
        fs::create_directories(events, ec);
        if (ec) return fail(Errc::io, "cannot create " + events.string() + ": " + ec.message());
        give(events, party.user);
        party.mounts.push_back({events, fs::path(own.observe.tensorboard) / job_.run.hex(), true});
        return own;
    }
    [[nodiscard]] fs::path tensorboard_directory() const {
        return fs::absolute(job_.config.observe.tensorboard) / job_.run.hex();
    }

    // -- while it runs -------------------------------------------------------------------
    [[nodiscard]] std::string run_label() const { return "vflbus.run=" + job_.run.hex(); }
    [[nodiscard]] std::string container(const std::string& name) const {
        return prefix_ + "-" + name;
    }

    [[nodiscard]] ContainerSpec spec(const std::string& name) const {
        ContainerSpec spec;
        spec.name = container(name);
        spec.image = image_;
        spec.memory = arguments_.container.memory;
        spec.cpus = arguments_.container.cpus;
        spec.labels = {{"vflbus.run", job_.run.hex()}, {"vflbus.party", name}};
        spec.log_bytes = job_.config.output.log_file_bytes;
        spec.removed = !arguments_.keep;
        if (arguments_.keep) {  // for `agent stop`
            spec.labels.emplace_back("vflbus.containers", fs::absolute(staging_).string());
            spec.labels.emplace_back("vflbus.network", network_);
        }
        spec.network = {"--network", network_, "--dns", "none"};
        if (name == "broker") {
            spec.network.insert(spec.network.end(),
                                {"--ip", broker_ip_, "--mac-address", mac_of(broker_ip_)});
            spec.variables = {{"VFLBUS_ROLE", "broker"}};
            spec.user = user_for({});
            spec.mounts = {{keys_of(name), keys_inside, false}};
        } else {
            spec.network.insert(spec.network.end(), {"--add-host", "broker:" + broker_ip_});
            spec.variables = {{"VFLBUS_CONFIG", config_inside},
                              {"VFLBUS_BROKER", broker_address()},
                              {"VFLBUS_STATE_DIR", node_dir(name)}};
            spec.variables.push_back(identity_variable(name));
            if (name == "master") spec.variables.emplace_back(mlflow_later_variable, "1");
            if (name == "master")
                if (const std::string columns = terminal_columns(); !columns.empty())
                    spec.variables.emplace_back("VFLBUS_TERMINAL", columns);
            if (has_policy(job_.config, name))
                spec.variables.emplace_back("VFLBUS_POLICY_DIR",
                                            node_directory(job_.config, name).string());
            const auto party = std::ranges::find(parties_, name, &Party::name);
            spec.user = party->user;
            spec.mounts = party->mounts;
        }
        spec.variables.emplace_back("VFLBUS_CERTIFICATES", keys_inside);
        if (!metrics_of(name, 0).empty()) {
            spec.mounts.push_back({metrics_directory(name), metrics_inside, true});
            spec.variables.emplace_back("VFLBUS_OBSERVE_METRICS", metrics_address_inside);
        }
        return spec;
    }

    static std::string broker_address() { return "tcp://broker:" + std::to_string(broker_port); }

    /// As the container sees it.
    [[nodiscard]] std::string node_dir(const std::string& name) const {
        return (fs::path(job_.config.output.runs_dir) / job_.run.hex() / name / "node").string();
    }

    [[nodiscard]] ChildOptions child(const std::string& name) const {
        ChildOptions options;
        options.name = name;
        options.command = podman_.command(run_words(spec(name)));
        if (name != "master") options.log = job_.run_dir / name / "log";
        if (name == "broker") return options;
        options.arguments = {"actor", "--json"};
        Common common = arguments_;
        if (name != "master") {
            common.quiet = false;
            common.verbose = true;  // the log of a member keeps everything
            if (!arguments_.keep) options.arguments.emplace_back("--once");
        }
        append_common(options.arguments, common, job_.config);
        return options;
    }

    LocalPlan plan() {
        const fs::path masters_runs = staging_ / "master";
        LocalPlan plan;
        plan.broker_log = job_.run_dir / "broker" / "log";
        plan.broker_command = child("broker").command;
        plan.broker_bind = "tcp://0.0.0.0:" + std::to_string(broker_port);
        plan.broker_arguments = {"--verbose"};
        plan.broker_address = broker_address();
        const auto of_master = [this](bool resume) {
            std::vector<std::string> words = child("master").arguments;
            words.insert(words.end(), {resume ? "--resume" : "--run-id", job_.run.hex()});
            return words;
        };
        plan.master = child("master");
        plan.master.arguments = of_master(job_.resume);
        for (std::size_t i = 2; i < names_.size(); ++i) plan.members.push_back(child(names_[i]));
        plan.restarts_max = job_.config.bus.restarts_max;
        plan.can_resume = [this, masters_runs] { return can_resume(masters_runs, job_.run); };
        plan.progress = [this, masters_runs] { return last_commit(masters_runs, job_.run); };
        plan.master_again = [this, masters_runs, of_master] {
            return of_master(can_resume(masters_runs, job_.run));
        };
        plan.own_dirs = [this](const std::string& name) {
            std::vector<fs::path> dirs;
            if (name != "broker") dirs.push_back(staging_ / name);
            if (has_policy(job_.config, name)) dirs.push_back(node_directory(job_.config, name));
            return dirs;
        };
        plan.keep = arguments_.keep;
        plan.at_once_sentence = "ended at once; `" + job_.go_on + "` continues it";
        plan.at_once_needs = actors::run_record_path(masters_runs, job_.run);
        plan.at_once_command = {"/bin/sh", "-c", removal()};
        return plan;
    }

    // -- after ---------------------------------------------------------------------------
    /// Of all containers and the network, as one line for a shell; also of networks of the run that
    /// a launch which was killed has left.
    [[nodiscard]] std::string removal() const {
        std::string podman;
        for (const std::string& word : podman_.command({})) podman += "'" + word + "' ";
        std::string line = podman + "rm -f -i -v -t 0";
        for (const std::string& name : names_) line += " " + container(name);
        return line + " >/dev/null 2>&1; for left in $(" + podman +
               "network ls -q --filter label=" + run_label() + "); do " + podman +
               "network rm -f $left; done >/dev/null 2>&1";
    }

    void remove_containers() {
        if (!made_) return;
        (void)run_command({"/bin/sh", "-c", removal()});
    }

    /// Everything that parties have written, from where they saw it to where the run is.
    void collect(bool keep) {
        std::error_code ec;
        if (!fs::exists(staging_, ec)) return;
        const std::string caller = std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
        std::vector<fs::path> owns;
        for (const auto& entry : fs::directory_iterator(staging_, ec))
            if (entry.is_directory(ec)) owns.push_back(entry.path());
        for (const fs::path& own : owns) {
            const std::string name = own.filename().string();
            if (own.extension() == keys_extension || own.extension() == metrics_extension) continue;
            const fs::path from = own / job_.run.hex();
            // its log lines have come to us already
            if (name != "master") fs::remove(from / name / "log", ec);
            if (!keep) give(own, caller);
            for (const fs::path& what :
                 {from / name, from / "report.json", from / "agreed.txt", from / "run.json"}) {
                if (!fs::exists(what, ec) || (name != "master" && what != from / name)) continue;
                const fs::path to = job_.run_dir / what.filename();
                if (keep) {
                    fs::copy(what, to,
                             fs::copy_options::recursive | fs::copy_options::overwrite_existing,
                             ec);
                } else if (fs::is_directory(what, ec)) {
                    for (const auto& entry : fs::directory_iterator(what, ec))
                        move_over(entry.path(), to / entry.path().filename());
                } else {
                    move_over(what, to);
                }
            }
        }
        if (!keep && !job_.config.observe.tensorboard.empty())
            give(tensorboard_directory(), caller);
        if (!keep) fs::remove_all(staging_, ec);
        if (arguments_.out.empty()) return;
        for (const std::string& name : names_) {
            const fs::path part = job_.run_dir / name / "model.json";
            if (fs::exists(part, ec))
                move_over(part, fs::path(arguments_.out) / name / "model.json");
        }
    }

    const LaunchArguments& arguments_;
    const ContainerJob& job_;
    Podman podman_;
    std::string image_;
    fs::path staging_;    ///< per party: its configuration, and what it sees as the runs directory
    std::string prefix_;  ///< of the names of containers, the same at each launch of the run
    /// Its name, another one at each launch. Podman keeps by this name which addresses it has
    /// given, and one given to a container whose start was broken off may never come back: the
    /// broker of the next launch would not get its own.
    std::string network_;
    std::string broker_ip_;
    std::vector<std::string> names_;  ///< the broker, the master, the members, the arbiter
    std::vector<Party> parties_;
    std::vector<std::unique_ptr<observers::HttpServer>> metrics_;
    bool made_ = false;
};

}  // namespace

Result<> containers_ready(const LaunchArguments& arguments) {
    const auto podman = Podman::find();
    if (!podman) return tl::unexpected(podman.error());
    return podman->has_image(image_or_default(arguments.container.image));
}

LocalOutcome run_in_containers(const LaunchArguments& arguments, const ContainerJob& job) {
    auto podman = Podman::find();
    if (!podman) {
        LocalOutcome outcome;
        outcome.failure = podman.error();
        outcome.exit_code = static_cast<int>(exit_code(podman.error().code));
        return outcome;
    }
    return ContainerRun(arguments, job, std::move(*podman)).run();
}

}  // namespace vflbus::cli
