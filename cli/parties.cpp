#include "parties.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/file_writer.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/document.hpp"
#include "data/column_rules.hpp"
#include "data/csv_dialect.hpp"
#include "data/prepare_rules.hpp"
#include "observe/log.hpp"
#include "observers/mlflow.hpp"
#include "observers/trace.hpp"
#include "settings.hpp"
#include "watch.hpp"

namespace vflbus::cli {

Result<> check_local(const config::Config& config, const Local& local) {
    if (local.members && *local.members != config.run.world_size)
        return fail(Errc::usage, std::string(local.threads  ? "--threads "
                                             : local.podman ? "--podman "
                                                            : "--local ") +
                                     std::to_string(*local.members) +
                                     " contradicts the configuration, which has " +
                                     std::to_string(config.run.world_size) +
                                     (config.run.world_size == 1 ? " member" : " members") +
                                     "; leave the number out, or change run.world_size");
    if (const auto good = config::check_launch(config); !good) return good;
    if (const auto good = check_words(config); !good) return good;
    for (const auto& [name, party] : config.parties)
        if (const auto good = config::check_files(config, name); !good) return good;
    return check_trace(config);
}

Result<> check_words(const config::Config& config) {
    for (const auto& [name, party] : config.parties) {
        const std::string section = "party." + name;
        const auto wrong = [&](Failure failure, const char* key) {
            const std::string full = section + "." + key;
            const std::string origin = config.stated(full) ? config.origin_of(full) + ": " : "";
            failure.sentence = origin + "[" + section + "]: " + failure.sentence;
            failure.party = name;
            return tl::unexpected(std::move(failure));
        };
        if (auto format = data::parse_text_format(party.encoding, party.separator, party.decimal,
                                                  party.thousands);
            !format)
            return wrong(std::move(format.error()), "");
        if (auto rules = data::parse_column_rules(party.columns); !rules)
            return wrong(std::move(rules.error()), "columns");
        if (auto rules = data::parse_prepare_rules(party.prepare); !rules)
            return wrong(std::move(rules.error()), "prepare");
    }
    return {};
}

Result<> check_trace(const config::Config& config) {
    if (config.observe.trace.empty()) return {};
    const std::filesystem::path file = config.observe.trace;
    std::error_code ec;
    const bool was_there = std::filesystem::exists(file, ec);
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ec);
    errno = 0;
    std::ofstream opened(file, std::ios::binary | std::ios::app);
    if (!opened)
        return fail(Errc::io,
                    "cannot write the trace " + file.string() + ": " + std::strerror(errno));
    opened.close();
    if (!was_there) std::filesystem::remove(file, ec);
    return {};
}

void append_common(std::vector<std::string>& arguments, const Common& common,
                   const config::Config& config) {
    const auto set = [&](const std::string& assignment) {
        arguments.insert(arguments.end(), {"--set", assignment});
    };
    set("output.runs_dir=" + config.output.runs_dir);
    set("bus.rendezvous_timeout=" + shortest(config.bus.rendezvous_timeout));
    if (common.quiet) arguments.emplace_back("--quiet");
    if (common.verbose) arguments.emplace_back("--verbose");
}

void append_metrics(std::vector<std::string>& arguments, const config::Config& config,
                    std::uint64_t place) {
    if (!config.observe.metrics.empty())
        arguments.insert(
            arguments.end(),
            {"--set", "observe.metrics=" + metrics_address_of(config.observe.metrics, place)});
}

void append_trace(std::vector<std::string>& arguments, const config::Config& config,
                  const std::filesystem::path& run_dir, const std::string& party) {
    if (!config.observe.trace.empty())
        arguments.insert(arguments.end(),
                         {"--set", "observe.trace=" + trace_part(run_dir, party).string()});
}

void collect_trace(const config::Config& config, const std::filesystem::path& run_dir) {
    if (config.observe.trace.empty()) return;
    std::vector<std::filesystem::path> parts{trace_part(run_dir, "master")};
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        parts.push_back(trace_part(run_dir, config::member_name(rank)));
    if (config::has_arbiter(config)) parts.push_back(trace_part(run_dir, config::arbiter_name));
    if (auto merged = observers::merge_traces(parts, config.observe.trace); !merged)
        observe::log::warn("{}", merged.error().sentence);
}

bool has_policy(const config::Config& config, const std::string& party) {
    return !section_of(config, party).policy.empty();
}

LocalPlan plan_of(const Common& common, Transport transport, const config::Config& config,
                  const std::filesystem::path& run_dir, const std::filesystem::path& file_name,
                  bool trains) {
    LocalPlan plan;
    plan.transport = transport;
    plan.broker_log = run_dir / "broker" / "log";
    const std::string file = (run_dir / file_name).string();
    plan.broker_arguments = {"--config", file, "--verbose"};
    append_metrics(plan.broker_arguments, config, 0);
    plan.master.name = "master";
    Common log_all = common;  // the log of a member keeps everything
    log_all.quiet = false;
    log_all.verbose = true;
    const auto add = [&](const std::string& name, std::vector<std::string> role,
                         std::uint64_t place) {
        ChildOptions child;
        child.name = name;
        child.log = run_dir / name / "log";
        child.arguments = {"actor", "--role"};
        child.arguments.insert(child.arguments.end(), role.begin(), role.end());
        child.arguments.insert(child.arguments.end(),
                               {"--once", "--json", "--config", file, "--state-dir",
                                (run_dir / name / "node").string()});
        // the state directory is that of one run; what a policy decides is kept from run to run
        if (has_policy(config, name))
            child.arguments.insert(child.arguments.end(),
                                   {"--policy-dir", node_directory(config, name).string()});
        append_common(child.arguments, log_all, config);
        append_metrics(child.arguments, config, place);
        append_trace(child.arguments, config, run_dir, name);
        plan.members.push_back(std::move(child));
    };
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        add(config::member_name(rank), {"member", "--rank", std::to_string(rank)}, rank + 2);
    if (trains && config::has_arbiter(config))
        add(config::arbiter_name, {config::arbiter_name}, config.run.world_size + 2);
    return plan;
}

std::vector<ChildOptions*> all_of(LocalPlan& plan) {
    std::vector<ChildOptions*> all{&plan.master};
    for (ChildOptions& member : plan.members) all.push_back(&member);
    return all;
}

Result<> write_configuration(const std::filesystem::path& file, const config::Config& config,
                             const std::filesystem::path& run_dir) {
    const std::string text = config::to_toml(config, run_dir);
    const std::string& uri = config.observe.mlflow_uri;
    if (observers::without_password(uri) == uri) return write_file_atomically(file, text);
    auto writer = FileWriter::open(file, S_IRUSR | S_IWUSR);
    if (!writer) return tl::unexpected(writer.error());
    if (auto written = writer->write(text); !written) return written;
    if (auto finished = writer->finish(); !finished) return finished;
    observe::log::info("{} has the password of observe.mlflow.uri; nobody but you can read it",
                       file.string());
    return {};
}

}  // namespace vflbus::cli
