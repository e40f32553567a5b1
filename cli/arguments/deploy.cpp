// Containers, and files for other systems: agent, export.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

namespace {

/// `vflbus agent start`, `stop`, ...: one struct, and what is to be done.
CLI::App& add_agent_command(CommandLine& line, CLI::App& above, AgentArguments::Action action,
                            const char* name, const char* summary, const char* footer) {
    AgentArguments& agent = line.agent;
    CLI::App& on = CommandLine::group(above, name, summary, footer);
    on.callback([&line, action] {
        line.agent.action = action;
        line.chosen = line.agent;
        line.any = true;
    });
    on.add_option("--role", agent.role, "broker, master, member or arbiter")->type_name("ROLE");
    add_number(on, "--rank", agent.rank, "of a member")->type_name("R");
    if (action != AgentArguments::Action::start)
        on.add_option("--run-id", agent.run_id, "of what `launch --podman --keep` left")
            ->type_name("RUN");
    add_output(on, agent);
    return on;
}

void add_agent_start(CommandLine& line, CLI::App& above) {
    AgentArguments& agent = line.agent;
    CLI::App& on = add_agent_command(
        line, above, AgentArguments::Action::start, "start", "Start it; it stays until stopped.",
        "Network of the host; data and configuration read-only; results and state under "
        "output.runs_dir.\n"
        "Examples:\n"
        "  vflbus agent start --role broker --bind tcp://10.0.0.1:7423 --insecure\n"
        "  vflbus agent start --role member --rank 0 --config shop.toml --broker "
        "tcp://10.0.0.1:7423\n"
        "  VFLBUS_RANK=0 VFLBUS_BROKER=tcp://10.0.0.1:7423 vflbus agent start --config shop.toml");
    on.add_option("--run-id", agent.run_id,
                  "of a master: 32 hexadecimal digits of a new run, or of one to go on with")
        ->type_name("ID");
    add_broker_address(on, agent.broker);
    on.add_option("-b,--bind", agent.bind, "a broker's own address")->type_name("ADDRESS");
    on.add_flag("--insecure", agent.insecure, "a broker: allow addresses beyond this machine");
    add_metrics(on, agent);
    on.add_flag("--infer", agent.infer,
                "a master predicts with --model instead of training; members serve both alike");
    on.add_option("--model", agent.model, "with --infer: runs/<run_id> of the training")
        ->type_name("DIR");
    add_config(on, agent);
    add_container(on, agent);
}

}  // namespace

void add_agent(CommandLine& line) {
    CLI::App& above =
        CommandLine::group(line.app, "agent", "One party of this host as a container.",
                           "Examples:\n"
                           "  vflbus agent status\n"
                           "  vflbus agent logs --role member --rank 0 --follow\n"
                           "  vflbus agent stop --all");
    above.require_subcommand(1);
    using Action = AgentArguments::Action;
    add_agent_start(line, above);
    add_agent_command(line, above, Action::stop, "stop", "Stop and remove it; its state stays.",
                      "Examples:\n"
                      "  vflbus agent stop --role member --rank 0\n"
                      "  vflbus agent stop --all")
        .add_flag("--all", line.agent.all, "all agents of this host");
    add_agent_command(line, above, Action::status, "status",
                      "Whether it runs, and whether it is up.",
                      "Example:\n"
                      "  vflbus agent status --json");
    add_agent_command(line, above, Action::logs, "logs", "What it has logged.",
                      "Example:\n"
                      "  vflbus agent logs --role member --rank 0 --follow")
        .add_flag("-f,--follow", line.agent.follow, "go on with what it logs");
}

namespace {

CLI::App& add_prerequisites_command(CommandLine& line, CLI::App& above,
                                    PrerequisitesArguments::Action action, const char* name,
                                    const char* summary, const char* footer) {
    CLI::App& on = CommandLine::group(above, name, summary, footer);
    on.callback([&line, action] {
        line.prerequisites.action = action;
        line.chosen = line.prerequisites;
        line.any = true;
    });
    on.add_option("--dir", line.prerequisites.dir,
                  "where their configuration is; default: prerequisites")
        ->type_name("DIR");
    add_output(on, line.prerequisites);
    return on;
}

}  // namespace

void add_prerequisites(CommandLine& line) {
    CLI::App& above = CommandLine::group(
        line.app, "prerequisites",
        "Prometheus, Grafana, and MLflow with PostgreSQL, on this machine by podman.",
        "Examples:\n"
        "  vflbus prerequisites start\n"
        "  vflbus prerequisites status\n"
        "  vflbus prerequisites stop");
    above.require_subcommand(1);
    using Action = PrerequisitesArguments::Action;
    CLI::App& start = add_prerequisites_command(
        line, above, Action::start, "start", "Write their configuration and start them.",
        "All listen at 127.0.0.1. Files that are in DIR already stay as they are, but stack.yml.\n"
        "Examples:\n"
        "  vflbus prerequisites start\n"
        "  vflbus prerequisites start --image mlflow=localhost/mlflow:1\n"
        "  vflbus prerequisites start --from-packages\n"
        "  vflbus prerequisites start --only-write --dir monitoring");
    start
        .add_option("--image", line.prerequisites.images,
                    "in place of one that podman would fetch; NAME is prometheus, grafana, "
                    "postgres or mlflow; IMAGE none leaves it out; may be repeated")
        ->type_name("NAME=IMAGE")
        ->allow_extra_args(false);
    start.add_flag(
        "--from-packages", line.prerequisites.from_packages,
        "where no registry is reached: images that are not named are made of Debian's "
        "packages, which needs root and mmdebstrap, and of PyPI's; Grafana, which Debian "
        "lacks, is left out");
    start.add_flag("--only-write", line.prerequisites.only_write,
                   "the files alone, for `podman kube play DIR/stack.yml`");
    add_prerequisites_command(line, above, Action::stop, "stop",
                              "Stop them; what they have stored stays.",
                              "Example:\n"
                              "  vflbus prerequisites stop");
    add_prerequisites_command(line, above, Action::status, "status", "Which of them answer.",
                              "Example:\n"
                              "  vflbus prerequisites status --json");
}

namespace {

CLI::App& add_export_command(CommandLine& line, CLI::App& above, ExportArguments::Form form,
                             const char* name, const char* summary, const char* footer) {
    ExportArguments& exported = line.exported;
    CLI::App& on = CommandLine::group(above, name, summary, footer);
    on.callback([&line, form] {
        line.exported.form = form;
        line.chosen = line.exported;
        line.any = true;
    });
    on.add_option("--out", exported.out, "where they are written; default standard output")
        ->type_name(form == ExportArguments::Form::kube ? "FILE" : "DIR");
    on.add_option("--run-id", exported.run_id, "32 hexadecimal digits; default random")
        ->type_name("ID");
    add_config(on, exported);
    add_container(on, exported);
    add_output(on, exported);
    return on;
}

}  // namespace

void add_export(CommandLine& line) {
    CLI::App& above =
        CommandLine::group(line.app, "export", "A configuration as files of other systems.",
                           "Examples:\n"
                           "  vflbus export kube --config conf/logistic.toml --out vflbus.yaml\n"
                           "  vflbus export systemd --config conf/logistic.toml --out units");
    above.require_subcommand(1);
    add_export_command(line, above, ExportArguments::Form::kube, "kube",
                       "YAML for kubectl apply, or podman kube play.",
                       "Examples:\n"
                       "  vflbus export kube --config conf/logistic.toml --out vflbus.yaml\n"
                       "  vflbus export kube --podman --config conf/logistic.toml --out pod.yaml\n"
                       "  podman kube play --network none pod.yaml")
        .add_flag("--podman", line.exported.podman, "the form that podman 4.3 plays");
    add_export_command(line, above, ExportArguments::Form::systemd, "systemd",
                       "One unit per process.",
                       "Example:\n"
                       "  vflbus export systemd --config conf/logistic.toml --out units");
}

}  // namespace vflbus::cli
