// The only file that includes CLI11: what can be said on the command line, and its help.

#include "arguments.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "base/errc.hpp"
#include "base/text.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

constexpr int usage = static_cast<int>(ExitCode::usage);

void add_output(CLI::App& app, Common& common, bool json = true) {
    if (json)
        app.add_flag("--json", common.json, "one JSON object on standard output, for programs");
    auto* quiet = app.add_flag("-q,--quiet", common.quiet, "warnings and errors only");
    app.add_flag("-v,--verbose", common.verbose, "more log lines on standard error")
        ->excludes(quiet);
    app.add_option("--parent", common.parent, "end when this process does")->group("");
    app.add_flag("--parent-tells", common.parent_tells)->group("");
    app.add_flag("--parent-goes-on", common.parent_goes_on)->group("");
}

void add_config(CLI::App& app, Common& common) {
    app.add_option("-c,--config", common.config,
                   "configuration file; default: $VFLBUS_CONFIG, then ./vflbus.toml")
        ->type_name("FILE");
    app.add_option("-s,--set", common.sets,
                   "any key of docs/configuration.md, e.g. --set model.epochs=5; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
}

/// N may follow --local and --threads: an option of no or one value.
CLI::callback_t take_members(bool& wanted, std::optional<std::uint64_t>& members) {
    return [&wanted, &members](const CLI::results_t& values) {
        wanted = true;
        // without a value: one empty text, or "{}", depending on the version of CLI11
        if (values.empty() || values[0].empty() || values[0] == "{}") return true;
        std::uint64_t number = 0;
        const char* const end = values[0].data() + values[0].size();
        const auto [at, code] = std::from_chars(values[0].data(), end, number);
        if (code != std::errc{} || at != end || number == 0)
            throw CLI::ValidationError("N is the number of members, at least 1, not '" + values[0] +
                                       "'");
        members = number;
        return true;
    };
}

void add_local(CLI::App& app, Local& local, const std::string& what) {
    auto* as_processes = app.add_option("--local", take_members(local.local, local.members),
                                        "start " + what + " as processes of this machine")
                             ->type_name("[N]")
                             ->expected(0, 1);
    app.add_option("--threads", take_members(local.threads, local.members),
                   "start " + what + " as threads of this process")
        ->type_name("[N]")
        ->expected(0, 1)
        ->excludes(as_processes);
    app.add_option_function<std::string>(
           "--transport",
           [&local](const std::string& name) {
               if (name != "tcp" && name != "ipc")
                   throw CLI::ValidationError("--transport is tcp or ipc, not '" + name + "'");
               local.transport = name == "tcp" ? Transport::tcp : Transport::ipc;
           },
           "between local processes; default ipc")
        ->type_name("tcp|ipc");
}

void add_container(CLI::App& app, Container& container) {
    app.add_option("--image", container.image,
                   "image of containers; default localhost/vflbus:VERSION")
        ->type_name("IMAGE")
        ->envname("VFLBUS_IMAGE");
    // 2g, 512m; 0.5, 2: podman's own words for others are of no help
    const auto shape = [](const char* also, const char* example) {
        return CLI::Validator(
            [=](const std::string& text) {
                const std::size_t digits = text.find_first_not_of("0123456789.");
                const bool good =
                    !text.empty() && text[0] >= '0' && text[0] <= '9' &&
                    (digits == std::string::npos ||
                     (digits + 1 == text.size() &&
                      std::string_view(also).find(text[digits]) != std::string_view::npos));
                return good ? std::string()
                            : "a limit is such as " + std::string(example) + ", not '" + text + "'";
            },
            "");
    };
    app.add_option("--memory", container.memory, "limit of each container; default 2g")
        ->type_name("SIZE")
        ->check(shape("bkmgBKMG", "2g or 512m"));
    app.add_option("--cpus", container.cpus, "limit of each container; default 2")
        ->type_name("N")
        ->check(shape("", "2 or 0.5"));
}

/// "vflbus data synth"
std::string path_of(const CLI::App& app) {
    const CLI::App* const above = app.get_parent();
    return (above == nullptr ? "" : path_of(*above) + " ") + app.get_name();
}

/// "did you mean --rank?", or where to read on.
std::string hint(const CLI::App& app, const std::vector<std::string>& left_over) {
    if (!left_over.empty()) {
        std::vector<std::string> known;
        for (const CLI::Option* option : app.get_options())
            if (!option->get_group().empty())
                for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
        for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
            known.push_back(command->get_name());
        if (const std::string near = nearest(left_over[0], known); !near.empty())
            return "; did you mean " + near + "?";
    }
    return "; see " + path_of(app) + " --help";
}

std::string first_line(std::string text) {
    text.resize(std::min(text.size(), text.find('\n')));
    return text;
}

}  // namespace

Command parse(int argc, const char* const* argv) {
    CLI::App app(
        "vflbus trains one model on the columns of several parties whose data stays where it is.",
        "vflbus");
    app.require_subcommand(0, 1);
    bool version = false;
    app.add_flag("--version", version, "the version of this program");
    app.footer(
        "Examples:\n"
        "  vflbus launch --local                     an example of its own, trained over "
        "processes\n"
        "  vflbus launch --local --data bank.csv --data shop.csv --label y --id id\n"
        "  vflbus launch --local --config conf/credit.toml --set model.epochs=5\n"
        "  vflbus broker                             and, in other shells or on other machines,\n"
        "  vflbus actor --role master --config my.toml\n"
        "  vflbus actor --role member --rank 0 --config my.toml\n"
        "\n"
        "Results go to standard output, progress and logs to standard error. Exit codes, files "
        "and\n"
        "environment variables: docs/operating.md. Configuration keys: vflbus config reference.");

    BrokerArguments broker;
    auto* on_broker = app.add_subcommand("broker", "Route messages between nodes.");
    on_broker
        ->add_option("-b,--bind", broker.bind,
                     "tcp://HOST:PORT (port 0: any free one) or ipc://PATH; may be repeated")
        ->type_name("ADDRESS")
        ->allow_extra_args(false);
    on_broker->add_flag("--insecure", broker.insecure,
                        "allow addresses beyond this machine; links are not encrypted yet");
    on_broker
        ->add_option("--state-dir", broker.state_dir,
                     "keeps its registry of runs and nodes here; default: in memory")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    add_config(*on_broker, broker);
    add_output(*on_broker, broker);
    on_broker->footer(
        "Prints the addresses it listens on, one per line, and serves until SIGINT or SIGTERM.\n"
        "Examples:\n"
        "  vflbus broker\n"
        "  vflbus broker --bind tcp://127.0.0.1:0 --bind ipc:///run/vflbus.sock\n"
        "  vflbus broker --bind tcp://10.0.0.1:7423 --insecure    a private network only");

    ActorArguments actor;
    auto* on_actor = app.add_subcommand("actor", "Take part in runs as master or member.");
    on_actor->add_option("--role", actor.role, "master, member, arbiter or serverapp")
        ->type_name("ROLE");
    on_actor->add_option("--rank", actor.rank, "of a member, 0 to world_size - 1")->type_name("R");
    on_actor->add_flag("--once", actor.once, "a member ends with its first run, and its exit code")
        ->envname("VFLBUS_ONCE");
    on_actor->add_flag("--serve", actor.serve,
                       "a master that waits for runs that `vflbus run submit` hands it");
    on_actor->add_option("--name", actor.name, "node name; default master or member-R")
        ->type_name("NAME")
        ->envname("VFLBUS_NAME");
    on_actor->add_option("--broker", actor.broker, "where the broker listens")
        ->type_name("ADDRESS");
    on_actor
        ->add_option("--out", actor.out,
                     "where this party keeps its part of the model; default: the run's directory")
        ->type_name("DIR")
        ->envname("VFLBUS_OUT");
    auto* actor_run = on_actor
                          ->add_option("--run-id", actor.run_id,
                                       "32 hexadecimal digits; master only, default random")
                          ->type_name("ID")
                          ->envname("VFLBUS_RUN_ID");
    on_actor
        ->add_flag("--or-resume", actor.or_resume,
                   "with --run-id: go on with that run if it was begun; for supervisors")
        ->needs(actor_run);
    on_actor
        ->add_option("--resume", actor.resume,
                     "go on with this run from its last commit; master only. The id, or its first "
                     "digits")
        ->type_name("RUN")
        ->excludes(actor_run);
    on_actor
        ->add_option("--state-dir", actor.state_dir,
                     "lock and incarnation of this node; default: under the runs directory")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    on_actor->add_option("--model-dir", actor.model_dir)->group("");
    on_actor
        ->add_option("--app", actor.app,
                     "shared object of a ClientApp (member) or ServerApp (serverapp): docs/apps.md")
        ->type_name("FILE")
        ->envname("VFLBUS_APP");
    on_actor
        ->add_option("--run-config", actor.run_config,
                     "configuration of a ServerApp's run, which all its nodes see; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    on_actor
        ->add_option("--node-config", actor.node_config,
                     "configuration of this node, which its ClientApp sees; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    add_config(*on_actor, actor);
    add_output(*on_actor, actor);
    on_actor->footer(
        "Every flag may be an environment variable instead: VFLBUS_ROLE, VFLBUS_RANK,\n"
        "VFLBUS_BROKER, VFLBUS_CONFIG, VFLBUS_MODEL_EPOCHS, ... (docs/operating.md).\n"
        "Examples:\n"
        "  vflbus actor --role master --config conf/credit.toml\n"
        "  vflbus actor --role member --rank 1 --broker tcp://127.0.0.1:7423 --config my.toml\n"
        "  VFLBUS_ROLE=member VFLBUS_RANK=1 vflbus actor --once\n"
        "  vflbus actor --role member --app ./client.so             apps; needs no rank\n"
        "  vflbus actor --role serverapp --app ./server.so --run-config rounds=3");

    LaunchArguments launch;
    auto* on_launch =
        app.add_subcommand("launch", "Broker, master and members at once, for one training.");
    add_local(*on_launch, launch, "broker, master and members");
    auto* as_containers = on_launch
                              ->add_option("--podman", take_members(launch.podman, launch.members),
                                           "start broker, master and members as containers")
                              ->type_name("[N]")
                              ->expected(0, 1)
                              ->excludes("--local")
                              ->excludes("--threads");
    on_launch
        ->add_flag("--keep", launch.keep,
                   "leave the containers for `vflbus agent`; they serve until it stops them")
        ->needs(as_containers);
    add_container(*on_launch, launch.container);
    auto* own_data =
        on_launch
            ->add_option("--data", launch.data, "own CSV files, one per party; may be repeated")
            ->type_name("FILE")
            ->allow_extra_args(false);
    on_launch
        ->add_option("--label", launch.label,
                     "label column of own files; the first file that has it is the master's")
        ->type_name("COLUMN")
        ->allow_extra_args(false);
    on_launch->add_option("--id", launch.id, "id column of own files; default id")
        ->type_name("COLUMN")
        ->allow_extra_args(false);
    on_launch
        ->add_option("--task", launch.task,
                     "linear, logistic, multilabel or softmax; default: what the label looks like")
        ->type_name("TASK");
    on_launch
        ->add_option("--out", launch.out,
                     "where the parts of the model go; default: the run's directory")
        ->type_name("DIR");
    auto* launch_run =
        on_launch->add_option("--run-id", launch.run_id, "32 hexadecimal digits; default random")
            ->type_name("ID");
    on_launch
        ->add_option("--resume", launch.resume,
                     "go on with this run from its last commit. The id, or its first digits")
        ->type_name("RUN")
        ->excludes(launch_run)
        ->excludes(own_data);
    auto* client =
        on_launch
            ->add_option("--client", launch.client,
                         "ClientApp of all nodes: runs apps instead of a training (docs/apps.md)")
            ->type_name("FILE")
            ->excludes(own_data);
    on_launch
        ->add_option("--server", launch.servers,
                     "ServerApp; may be repeated: all run at once on the same nodes")
        ->type_name("FILE")
        ->allow_extra_args(false)
        ->needs(client);
    on_launch
        ->add_option("--run-config", launch.run_config,
                     "configuration of the runs of all --server; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false)
        ->needs(client);
    add_config(*on_launch, launch);
    add_output(*on_launch, launch);
    on_launch->footer(
        "Without configuration and --data it makes an example of its own and trains on it.\n"
        "Examples:\n"
        "  vflbus launch --local\n"
        "  vflbus launch --local --config conf/credit.toml --transport tcp\n"
        "  vflbus launch --threads --config conf/credit.toml --json\n"
        "  vflbus launch --local --resume 1f0c9a33            what was stopped, or died\n"
        "  vflbus launch --podman 3                           containers; docs/deploy.md\n"
        "  vflbus launch --local --data bank.csv --data shop.csv --label y --id id\n"
        "  vflbus launch --local 5 --client client.so --server server.so --server server.so");

    CheckArguments check;
    auto* on_check =
        app.add_subcommand("check", "Join and align without training; shows who is there.");
    add_local(*on_check, check, "broker and members");
    on_check->add_option("--broker", check.broker, "where the broker listens")
        ->type_name("ADDRESS");
    on_check->add_option("--state-dir", check.state_dir)->group("");
    add_config(*on_check, check);
    add_output(*on_check, check);
    on_check->footer(
        "Per party: version, round trip, rows, match rate.\n"
        "Examples:\n"
        "  vflbus check --config conf/credit.toml            members run elsewhere\n"
        "  vflbus check --config conf/credit.toml --local    starts them, for a look at the data");

    PredictArguments predict;
    auto* on_predict = app.add_subcommand("predict", "Run a trained model on new rows.");
    add_local(*on_predict, predict, "broker and members");
    on_predict
        ->add_option("--model", predict.model,
                     "the directory of the training, e.g. runs/1f0c9a33...")
        ->type_name("DIR")
        ->required();
    on_predict->add_option("--out", predict.out, "CSV of ids and predictions; - is standard output")
        ->type_name("FILE");
    on_predict->add_option("--broker", predict.broker, "where the broker listens")
        ->type_name("ADDRESS");
    on_predict->add_option("--state-dir", predict.state_dir)->group("");
    add_config(*on_predict, predict);
    add_output(*on_predict, predict);
    on_predict->footer(
        "The rows are those of predict_data in each party's section; the configuration is the one\n"
        "that launch saved with the model, unless --config names another.\n"
        "Examples:\n"
        "  vflbus predict --local --model runs/1f0c9a33... --out p.csv\n"
        "  vflbus predict --config my.toml --model runs/1f0c9a33...    members run elsewhere");

    const auto add_question = [&](CLI::App& on, BrokerQuestion& question) {
        on.add_option("--broker", question.broker, "where the broker listens")
            ->type_name("ADDRESS");
        add_config(on, question);
        add_output(on, question);
    };
    RunsArguments runs;
    auto* on_runs = app.add_subcommand("runs", "The runs that a broker knows, youngest first.");
    on_runs
        ->add_option("--status", runs.status,
                     "pending, starting, running, completed, failed, stopped, finished or unknown")
        ->type_name("STATUS");
    on_runs->add_option("--limit", runs.limit, "so many at most; default 50")->type_name("N");
    add_question(*on_runs, runs);
    on_runs->footer("Examples:\n  vflbus runs\n  vflbus runs --status failed --limit 5 --json");

    NodesArguments nodes;
    auto* on_nodes = app.add_subcommand("nodes", "The nodes that a broker knows.");
    on_nodes->add_option("--limit", nodes.limit, "so many at most; default 500")->type_name("N");
    add_question(*on_nodes, nodes);

    RunShowArguments run_show;
    RunStopArguments run_stop;
    RunLogsArguments run_logs;
    SubmitArguments submit;
    auto* on_run = app.add_subcommand("run", "One run: show, stop, logs, submit.");
    on_run->require_subcommand(1);
    const auto add_run = [&](const char* name, const char* help, RunArguments& run) {
        auto* on = on_run->add_subcommand(name, help);
        on->add_option("RUN", run.run, "its id, or the first digits of it")->required();
        add_question(*on, run);
        return on;
    };
    auto* on_run_show = add_run(
        "show", "Status, parties, times and sizes; its owner adds metrics and configuration.",
        run_show);
    auto* on_run_stop = add_run("stop", "Asks its owner to end it in order, and waits.", run_stop);
    auto* on_run_logs =
        add_run("logs", "Log lines of all parties that give theirs, merged by time.", run_logs);
    on_run_logs->add_flag("-f,--follow", run_logs.follow, "goes on until the run is over");
    auto* on_submit =
        on_run->add_subcommand("submit", "Hands a training to a master that waits for them.");
    on_submit->add_option("--to", submit.to, "node name of that master; default: the only one")
        ->type_name("NAME");
    on_submit->add_option("--label", submit.label, "a word about the run, for its log")
        ->type_name("TEXT");
    auto* submit_wait =
        on_submit->add_flag("--wait", submit.wait, "until the run is over, with its exit code");
    on_submit->add_flag("-f,--follow", submit.follow, "as --wait, and shows its log lines")
        ->excludes(submit_wait);
    add_question(*on_submit, submit);
    on_submit->footer(
        "The agreed half of the configuration is handed over; files of parties are theirs alone.\n"
        "Examples:\n"
        "  vflbus actor --role master --serve --config bank.toml     at the label holder\n"
        "  vflbus run submit --config mine.toml --follow             anywhere\n"
        "  vflbus run submit --config mine.toml --set model.epochs=5 --wait");

    SynthArguments synth;
    auto* on_data = app.add_subcommand("data", "Make data.");
    on_data->require_subcommand(1);
    auto* on_synth = on_data->add_subcommand(
        "synth", "A credit example: a bank and companies that know its customers.");
    on_synth->add_option("--task", synth.task, "linear, logistic, multilabel or softmax")
        ->type_name("TASK");
    on_synth->add_option("--out", synth.out, "directory for the files")
        ->type_name("DIR")
        ->required();
    on_synth->add_option("--members", synth.members, "companies besides the bank; default 2")
        ->type_name("N");
    on_synth->add_option("--rows", synth.rows, "customers of the bank; default 10000")
        ->type_name("N");
    on_synth->add_option("--seed", synth.seed, "same seed, same files; default 1")->type_name("S");
    on_synth->add_option("--labels", synth.labels, "label columns of multilabel; default 5")
        ->type_name("N");
    on_synth->add_option("--classes", synth.classes, "classes of softmax; default 4")
        ->type_name("N");
    on_synth->add_flag("--test-files", synth.test_files, "other people for a test, as own files");
    on_synth->add_flag("--predict-files", synth.predict_files,
                       "yet other people, without labels, to predict");
    add_output(*on_synth, synth);
    on_synth->footer("Example:\n  vflbus data synth --task logistic --out data --members 2");

    ConfigCheckArguments config_check;
    ConfigReferenceArguments config_reference;
    auto* on_config = app.add_subcommand("config", "Look at configurations.");
    on_config->require_subcommand(1);
    auto* on_config_check =
        on_config->add_subcommand("check", "Read a configuration and say what is wrong.");
    add_config(*on_config_check, config_check);
    add_output(*on_config_check, config_check);
    auto* on_config_reference =
        on_config->add_subcommand("reference", "All keys, as docs/configuration.md.");
    add_output(*on_config_reference, config_reference, false);

    HealthArguments health;
    auto* on_health = app.add_subcommand("health", "Whether a broker or a party is up.");
    on_health->add_option("--role", health.role, "broker, master, member, ...; default: the broker")
        ->type_name("ROLE");
    on_health->add_option("--rank", health.rank, "of a member")->type_name("R");
    on_health->add_option("--name", health.name, "node name, where it has one of its own")
        ->type_name("NAME");
    on_health->add_option("--broker", health.broker, "where the broker listens")
        ->type_name("ADDRESS");
    on_health->add_option("--state-dir", health.state_dir, "that of the party")->type_name("DIR");
    on_health->add_flag("--ready", health.ready, "of a party: its broker must answer as well");
    add_config(*on_health, health);
    add_output(*on_health, health);
    on_health->footer(
        "Exit code 0: up; 1: not, with the reason on standard error. Takes less than half a "
        "second.\n"
        "VFLBUS_ROLE, VFLBUS_RANK, VFLBUS_BROKER and VFLBUS_STATE_DIR count as for actor.\n"
        "Examples:\n"
        "  vflbus health --broker tcp://10.0.0.1:7423\n"
        "  vflbus health --role member --rank 0 --ready");

    AgentArguments agent;
    auto* on_agent = app.add_subcommand("agent", "One party of this host as a container.");
    on_agent->require_subcommand(1);
    using Action = AgentArguments::Action;
    std::vector<std::pair<CLI::App*, Action>> agent_actions;
    const auto add_agent = [&](Action action, const char* name, const char* what) {
        auto* app_of = on_agent->add_subcommand(name, what);
        app_of->add_option("--role", agent.role, "broker, master or member")->type_name("ROLE");
        app_of->add_option("--rank", agent.rank, "of a member")->type_name("R");
        if (action != Action::start)
            app_of->add_option("--run-id", agent.run_id, "of what `launch --podman --keep` left")
                ->type_name("RUN");
        add_output(*app_of, agent);
        agent_actions.emplace_back(app_of, action);
        return app_of;
    };
    auto* on_agent_start = add_agent(Action::start, "start", "Start it; it stays until stopped.");
    on_agent_start
        ->add_option("--run-id", agent.run_id,
                     "of a master: 32 hexadecimal digits of a new run, or of one to go on with")
        ->type_name("ID");
    on_agent_start->add_option("--broker", agent.broker, "where the broker listens")
        ->type_name("ADDRESS");
    on_agent_start->add_option("-b,--bind", agent.bind, "a broker's own address")
        ->type_name("ADDRESS");
    on_agent_start->add_flag("--insecure", agent.insecure,
                             "a broker: allow addresses beyond this machine");
    on_agent_start->add_flag("--infer", agent.infer,
                             "a master predicts with --model instead of training; members serve "
                             "both alike");
    on_agent_start
        ->add_option("--model", agent.model, "with --infer: runs/<run_id> of the training")
        ->type_name("DIR");
    add_config(*on_agent_start, agent);
    add_container(*on_agent_start, agent);
    on_agent_start->footer(
        "Network of the host; data and configuration read-only; results and state under "
        "output.runs_dir.\n"
        "Examples:\n"
        "  vflbus agent start --role broker --bind tcp://10.0.0.1:7423 --insecure\n"
        "  vflbus agent start --role member --rank 0 --config shop.toml --broker "
        "tcp://10.0.0.1:7423\n"
        "  VFLBUS_RANK=0 VFLBUS_BROKER=tcp://10.0.0.1:7423 vflbus agent start --config shop.toml");
    auto* on_agent_stop = add_agent(Action::stop, "stop", "Stop and remove it; its state stays.");
    on_agent_stop->add_flag("--all", agent.all, "all agents of this host");
    add_agent(Action::status, "status", "Whether it runs, and whether it is up.");
    add_agent(Action::logs, "logs", "What it has logged.")
        ->add_flag("-f,--follow", agent.follow, "go on with what it logs");

    ExportArguments exported;
    auto* on_export = app.add_subcommand("export", "A configuration as files of other systems.");
    on_export->require_subcommand(1);
    std::vector<std::pair<CLI::App*, ExportArguments::Form>> export_forms;
    const auto add_export = [&](ExportArguments::Form form, const char* name, const char* what) {
        auto* app_of = on_export->add_subcommand(name, what);
        app_of->add_option("--out", exported.out, "where they are written; default standard output")
            ->type_name(form == ExportArguments::Form::kube ? "FILE" : "DIR");
        app_of->add_option("--run-id", exported.run_id, "32 hexadecimal digits; default random")
            ->type_name("ID");
        add_config(*app_of, exported);
        add_container(*app_of, exported);
        add_output(*app_of, exported);
        export_forms.emplace_back(app_of, form);
        return app_of;
    };
    add_export(ExportArguments::Form::kube, "kube", "YAML for kubectl apply, or podman kube play.")
        ->add_flag("--podman", exported.podman, "the form that podman 4.3 plays");
    add_export(ExportArguments::Form::systemd, "systemd", "One unit per process.");
    on_export->footer(
        "Examples:\n"
        "  vflbus export kube --config conf/credit.toml --out credit.yaml\n"
        "  vflbus export kube --podman --config conf/credit.toml --out pod.yaml\n"
        "  podman kube play --network none pod.yaml\n"
        "  vflbus export systemd --config conf/credit.toml --out units");

    VersionArguments version_arguments;
    auto* on_version = app.add_subcommand("version", "The version of this program.");
    add_output(*on_version, version_arguments);

    const auto deepest = [&app] {
        const CLI::App* at = &app;
        while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
        return at;
    };
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        const CLI::App* const above = deepest()->get_parent();
        print(deepest()->help(above == nullptr ? "" : path_of(*above)));
        return Exit{0};
    } catch (const CLI::ExtrasError& failure) {
        const CLI::App* at = deepest();
        const std::vector<std::string> extras = at->remaining(true);
        error_line("unknown argument " + (extras.empty() ? first_line(failure.what()) : extras[0]) +
                   hint(*at, extras));
        return Exit{usage};
    } catch (const CLI::ParseError& failure) {
        error_line(first_line(failure.what()) + hint(*deepest(), {}));
        return Exit{usage};
    }

    if (version || on_version->parsed()) return version_arguments;
    if (on_broker->parsed()) return broker;
    if (on_actor->parsed()) return actor;
    if (on_launch->parsed()) return launch;
    if (on_check->parsed()) return check;
    if (on_predict->parsed()) return predict;
    if (on_synth->parsed()) return synth;
    if (on_runs->parsed()) return runs;
    if (on_nodes->parsed()) return nodes;
    if (on_run_show->parsed()) return run_show;
    if (on_run_stop->parsed()) return run_stop;
    if (on_run_logs->parsed()) return run_logs;
    if (on_submit->parsed()) return submit;
    if (on_health->parsed()) return health;
    for (const auto& [app_of, action] : agent_actions)
        if (app_of->parsed()) {
            agent.action = action;
            return agent;
        }
    for (const auto& [app_of, form] : export_forms)
        if (app_of->parsed()) {
            exported.form = form;
            return exported;
        }
    if (on_config_check->parsed()) return config_check;
    if (on_config_reference->parsed()) return config_reference;
    print(app.help());
    return Exit{0};
}

}  // namespace vflbus::cli
