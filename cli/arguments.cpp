// The only file that includes CLI11: what can be said on the command line, and its help.

#include "arguments.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "base/errc.hpp"
#include "base/text.hpp"
#include "command_text.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

constexpr int usage = static_cast<int>(ExitCode::usage);

// -- what several commands take ---------------------------------------------------------

std::optional<std::uint64_t> parse_number(const std::string& text) {
    std::uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [at, code] = std::from_chars(text.data(), end, number);
    if (code != std::errc{} || at != end) return std::nullopt;
    return number;
}

/// A number from 0 to 1.
std::optional<double> parse_fraction(const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= 1))
        return std::nullopt;
    return value;
}

/// An option that takes a whole number of at least `least`: CLI11 itself would make
/// 18446744073709551615 of -1.
template <class Number>
CLI::Option* add_number(CLI::App& app, const std::string& name, Number& number,
                        const std::string& help, std::uint64_t least = 0) {
    return app.add_option_function<std::string>(
        name,
        [&number, name, least](const std::string& text) {
            const auto parsed = parse_number(text);
            if (!parsed || *parsed < least)
                throw CLI::ValidationError(name + " is a whole number from " +
                                           std::to_string(least) + ", not '" + text + "'");
            number = *parsed;
        },
        help);
}

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
    app.add_option("--certificates", common.certificates,
                   "directory of keys: tcp links are encrypted, and both ends known")
        ->type_name("DIR");
}

void add_metrics(CLI::App& app, Common& common) {
    app.add_option("--metrics", common.metrics,
                   "answers Prometheus at http://ADDRESS/metrics, such as 127.0.0.1:9464")
        ->type_name("ADDRESS");
}

void add_trace(CLI::App& app, Common& common) {
    app.add_option("--trace", common.trace, "Chrome trace events, to be opened in Perfetto")
        ->type_name("FILE")
        ->check([](const std::string& file) {
            return file.empty() ? std::string("names no file") : std::string();
        });
}

/// Where keys lie, of commands that read no configuration.
void add_key_store(CLI::App& app, Common& common) {
    common.certificates = "keys";
    app.add_option("--certificates", common.certificates, "directory of the keys; default: keys")
        ->type_name("DIR")
        ->envname("VFLBUS_CERTIFICATES");
    add_output(app, common);
}

void add_broker_address(CLI::App& app, std::string& broker) {
    app.add_option("--broker", broker, "where the broker listens")->type_name("ADDRESS");
}

/// N may follow --local and --threads: an option of no or one value.
CLI::callback_t take_members(bool& wanted, std::optional<std::uint64_t>& members) {
    return [&wanted, &members](const CLI::results_t& values) {
        wanted = true;
        // without a value: one empty text, or "{}", depending on the version of CLI11
        if (values.empty() || values[0].empty() || values[0] == "{}") return true;
        const auto number = parse_number(values[0]);
        if (!number || *number == 0)
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

// -- the commands -----------------------------------------------------------------------

/// The program's command line: CLI11's tree, and the arguments that it fills.
struct CommandLine {
    CLI::App app{
        "vflbus trains one model on the columns of several parties whose data stays where it is.",
        "vflbus"};
    bool version = false;
    Command chosen = Exit{};
    bool any = false;  ///< a command was named

    BrokerArguments broker;
    ActorArguments actor;
    LaunchArguments launch;
    CheckArguments check;
    PsiArguments psi;
    PredictArguments predict;
    RunsArguments runs;
    NodesArguments nodes;
    RunShowArguments run_show;
    RunStopArguments run_stop;
    RunLogsArguments run_logs;
    SubmitArguments submit;
    RunCompareArguments run_compare;
    RunPlotArguments run_plot;
    RunRemoveArguments run_remove;
    ModelShowArguments model_show;
    ReportArguments report;
    SynthArguments synth;
    InspectArguments inspect;
    SplitArguments split;
    ConfigCheckArguments config_check;
    ConfigReferenceArguments config_reference;
    HealthArguments health;
    AgentArguments agent;
    ExportArguments exported;
    AuditVerifyArguments audit_verify;
    AuditShowArguments audit_show;
    ApprovalArguments approve;
    ApprovalArguments refuse;
    GrantArguments grant;
    VersionArguments version_arguments;
    CompletionArguments completion;
    ManualArguments manual;
    KeysNewArguments keys_new;
    KeysShowArguments keys_show;
    KeysFingerprintArguments keys_fingerprint;
    AllowArguments allow;
    RevokeArguments revoke;
    InviteArguments invite;
    KeysRotateArguments keys_rotate;
    PreflightArguments preflight;
    JoinArguments join;
    MembersArguments members;

    CommandLine();

    /// A command whose arguments are `arguments`.
    template <class Arguments>
    CLI::App& command(CLI::App& above, const std::string& name, const std::string& summary,
                      const std::string& footer, Arguments& arguments) {
        CLI::App& on = group(above, name, summary, footer);
        on.callback([this, &arguments] {
            chosen = arguments;
            any = true;
        });
        return on;
    }

    /// Commands below a name. CLI11 hands footers on to subcommands: each says its own.
    static CLI::App& group(CLI::App& above, const std::string& name, const std::string& summary,
                           const std::string& footer) {
        CLI::App& on = *above.add_subcommand(name, summary);
        on.footer(footer);
        return on;
    }
};

void add_broker(CommandLine& line) {
    BrokerArguments& broker = line.broker;
    CLI::App& on = line.command(
        line.app, "broker", "Route messages between nodes.",
        "Prints the addresses it listens on, one per line, and serves until SIGINT or SIGTERM.\n"
        "Examples:\n"
        "  vflbus broker\n"
        "  vflbus broker --bind tcp://127.0.0.1:0 --bind ipc:///run/vflbus.sock\n"
        "  vflbus broker --bind tcp://10.0.0.1:7423 --certificates keys\n"
        "  vflbus broker --bind tcp://10.0.0.1:7423 --insecure    in the clear",
        broker);
    on.add_option("-b,--bind", broker.bind,
                  "tcp://HOST:PORT (port 0: any free one) or ipc://PATH; may be repeated")
        ->type_name("ADDRESS")
        ->allow_extra_args(false);
    on.add_flag("--insecure", broker.insecure,
                "allow addresses beyond this machine in the clear, without --certificates");
    on.add_option("--state-dir", broker.state_dir,
                  "keeps its registry of runs and nodes here; default: in memory")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    add_config(on, broker);
    add_metrics(on, broker);
    add_output(on, broker);
}

/// Which run a master drives.
void add_actor_run(CLI::App& on, ActorArguments& actor) {
    auto* run = on.add_option("--run-id", actor.run_id,
                              "32 hexadecimal digits; master only, default random")
                    ->type_name("ID")
                    ->envname("VFLBUS_RUN_ID");
    on.add_flag("--or-resume", actor.or_resume,
                "with --run-id: go on with that run if it was begun; for supervisors")
        ->needs(run);
    on.add_option("--resume", actor.resume,
                  "go on with this run from its last commit; master only. The id, or its first "
                  "digits")
        ->type_name("RUN")
        ->excludes(run);
}

/// What users' apps need.
void add_actor_app(CLI::App& on, ActorArguments& actor) {
    on.add_option("--app", actor.app,
                  "shared object of a ClientApp (member) or ServerApp (serverapp): docs/apps.md")
        ->type_name("FILE")
        ->envname("VFLBUS_APP");
    on.add_option("--run-config", actor.run_config,
                  "configuration of a ServerApp's run, which all its nodes see; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    on.add_option("--node-config", actor.node_config,
                  "configuration of this node, which its ClientApp sees; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
}

void add_actor(CommandLine& line) {
    ActorArguments& actor = line.actor;
    CLI::App& on = line.command(
        line.app, "actor", "Take part in runs as master or member.",
        "Every flag may be an environment variable instead: VFLBUS_ROLE, VFLBUS_RANK,\n"
        "VFLBUS_BROKER, VFLBUS_CONFIG, VFLBUS_MODEL_EPOCHS, ... (docs/operating.md).\n"
        "Examples:\n"
        "  vflbus actor --role master --config conf/parties/master.toml\n"
        "  vflbus actor --role member --rank 0 --config conf/parties/member-0.toml\n"
        "  vflbus actor --role member --rank 1 --config conf/parties/member-1.toml --once\n"
        "  VFLBUS_ROLE=member VFLBUS_RANK=1 vflbus actor --once    and VFLBUS_CONFIG\n"
        "  vflbus actor --role member --app ./client.so            apps; needs no rank\n"
        "  vflbus actor --role serverapp --app ./server.so --run-config rounds=3",
        actor);
    on.add_option("--role", actor.role, "master, member or serverapp")->type_name("ROLE");
    add_number(on, "--rank", actor.rank, "of a member, 0 to world_size - 1")->type_name("R");
    on.add_flag("--once", actor.once, "a member ends with its first run, and its exit code")
        ->envname("VFLBUS_ONCE");
    on.add_flag("--serve", actor.serve,
                "a master that waits for runs that `vflbus run submit` hands it");
    on.add_option("--name", actor.name, "node name; default master or member-R")
        ->type_name("NAME")
        ->envname("VFLBUS_NAME");
    add_broker_address(on, actor.broker);
    on.add_option("--out", actor.out,
                  "where this party keeps its part of the model; default: the run's directory")
        ->type_name("DIR")
        ->envname("VFLBUS_OUT");
    add_actor_run(on, actor);
    on.add_option("--state-dir", actor.state_dir,
                  "lock and incarnation of this node; default: under the runs directory")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    on.add_option("--policy", actor.policy,
                  "which owners may have what run with this member's data: docs/policy.md")
        ->type_name("FILE");
    // what `launch` tells its members, whose state directory is gone with the run
    on.add_option("--policy-dir", actor.policy_dir)->group("")->envname("VFLBUS_POLICY_DIR");
    on.add_option("--model-dir", actor.model_dir)->group("");
    add_actor_app(on, actor);
    add_config(on, actor);
    add_metrics(on, actor);
    add_trace(on, actor);
    add_output(on, actor);
}

/// Own files in place of a configuration.
CLI::Option* add_launch_files(CLI::App& on, LaunchArguments& launch) {
    auto* data =
        on.add_option("--data", launch.data, "own CSV files, one per party; may be repeated")
            ->type_name("FILE")
            ->allow_extra_args(false);
    on.add_option("--label", launch.label,
                  "label column of own files; the first file that has it is the master's")
        ->type_name("COLUMN")
        ->allow_extra_args(false);
    on.add_option("--id", launch.id, "id column of own files; default id")
        ->type_name("COLUMN")
        ->allow_extra_args(false);
    on.add_option("--task", launch.task,
                  "linear, logistic, multilabel or softmax; default: what the label looks like")
        ->type_name("TASK");
    on.add_option(
          "--folds", launch.folds,
          "cross-validation: a model for each of K folds of the rows, tested on it, then the "
          "one that is kept, on all rows (data.folds)")
        ->type_name("K");
    return data;
}

/// Runs of apps in place of a training.
void add_launch_apps(CLI::App& on, LaunchArguments& launch, CLI::Option* data) {
    auto* client =
        on.add_option("--client", launch.client,
                      "ClientApp of all nodes: runs apps instead of a training (docs/apps.md)")
            ->type_name("FILE")
            ->excludes(data);
    on.add_option("--server", launch.servers,
                  "ServerApp; may be repeated: all run at once on the same nodes")
        ->type_name("FILE")
        ->allow_extra_args(false)
        ->needs(client);
    on.add_option("--run-config", launch.run_config,
                  "configuration of the runs of all --server; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false)
        ->needs(client);
}

void add_launch_containers(CLI::App& on, LaunchArguments& launch) {
    auto* podman = on.add_option("--podman", take_members(launch.podman, launch.members),
                                 "start broker, master and members as containers")
                       ->type_name("[N]")
                       ->expected(0, 1)
                       ->excludes("--local")
                       ->excludes("--threads");
    on.add_flag("--keep", launch.keep,
                "leave the containers for `vflbus agent`; they serve until it stops them")
        ->needs(podman);
    add_container(on, launch.container);
}

void add_launch(CommandLine& line) {
    LaunchArguments& launch = line.launch;
    CLI::App& on = line.command(
        line.app, "launch", "Broker, master and members at once, for one training.",
        "Without configuration and --data it makes an example of its own and trains on it.\n"
        "Examples:\n"
        "  vflbus launch --local\n"
        "  vflbus launch --local --data bank.csv --data shop.csv --label y --id id\n"
        "  vflbus launch --local --config conf/logistic.toml --transport tcp\n"
        "  vflbus launch --threads --config conf/logistic.toml --json\n"
        "  vflbus launch --local --resume 1f0c9a33            what was stopped, or died\n"
        "  vflbus launch --podman 3                           containers; docs/deploy.md\n"
        "  vflbus launch --local 5 --client client.so --server server.so --server server.so",
        launch);
    add_local(on, launch, "broker, master and members");
    add_launch_containers(on, launch);
    CLI::Option* const data = add_launch_files(on, launch);
    on.add_option("--out", launch.out,
                  "where the parts of the model go; default: the run's directory")
        ->type_name("DIR");
    auto* run = on.add_option("--run-id", launch.run_id, "32 hexadecimal digits; default random")
                    ->type_name("ID");
    on.add_option("--resume", launch.resume,
                  "go on with this run from its last commit. The id, or its first digits")
        ->type_name("RUN")
        ->excludes(run)
        ->excludes(data);
    add_launch_apps(on, launch, data);
    add_config(on, launch);
    add_metrics(on, launch);
    add_trace(on, launch);
    add_output(on, launch);
}

void add_check(CommandLine& line) {
    CheckArguments& check = line.check;
    CLI::App& on = line.command(
        line.app, "check", "Join and align without training; shows who is there.",
        "Per party: version, round trip, rows, match rate.\n"
        "Examples:\n"
        "  vflbus check --local --config conf/logistic.toml    starts the parties as well\n"
        "  vflbus check --config conf/parties/master.toml      members run elsewhere",
        check);
    add_local(on, check, "broker and members");
    add_broker_address(on, check.broker);
    on.add_option("--state-dir", check.state_dir)->group("");
    add_config(on, check);
    add_output(on, check);
}

void add_psi(CommandLine& line) {
    PsiArguments& psi = line.psi;
    CLI::App& on = line.command(
        line.app, "psi", "Find the ids that several parties have in common, and tell no others.",
        "Private set intersection: each party learns which of its ids all have, and how many ids\n"
        "each has. One party leads, the others have ranks from 0; all say the same --parties and\n"
        "--min.\n"
        "Examples:\n"
        "  vflbus psi --parties 2 --data bank.csv --out common.csv --broker tcp://10.0.0.1:7423\n"
        "  vflbus psi --parties 2 --rank 0 --data shop.csv --out common.csv --broker "
        "tcp://10.0.0.1:7423\n"
        "  vflbus psi --local --data bank.csv --data shop.csv --out common.csv",
        psi);
    on.add_flag("--local", psi.local, "all parties are threads of this process");
    on.add_option("--data", psi.data, "this party's table; with --local one of each party")
        ->type_name("FILE")
        ->allow_extra_args(false)
        ->required();
    on.add_option("--id", psi.id, "the column of ids; default: id")->type_name("COLUMN");
    on.add_option("--out", psi.out, "CSV file of the common ids; - is standard output")
        ->type_name("FILE");
    on.add_option("--parties", psi.parties, "how many there are; the one without --rank leads")
        ->type_name("N")
        ->check(CLI::Range(2, 1024));
    on.add_option("--rank", psi.rank, "which of the others this is, from 0")->type_name("R");
    on.add_option("--min", psi.least, "when fewer ids are common, nobody learns which; default 10")
        ->type_name("N")
        ->check(CLI::Range(1U, 4'000'000'000U));
    add_broker_address(on, psi.broker);
    on.add_option("--state-dir", psi.state_dir)->group("");
    add_config(on, psi);
    add_output(on, psi);
}

void add_predict(CommandLine& line) {
    PredictArguments& predict = line.predict;
    CLI::App& on = line.command(
        line.app, "predict", "Run a trained model on new rows.",
        "The rows are those of --data, or of predict_data in each party's section. A file goes to\n"
        "the party whose columns it has. The configuration is the one that launch saved with the\n"
        "model, unless --config names another.\n"
        "Examples:\n"
        "  vflbus predict --local --model 1f0c9a33\n"
        "  vflbus predict --local --model 2a6b90ff --data bank.csv --data shop.csv --out p.csv\n"
        "  vflbus predict --config my.toml --model runs/1f0c9a33...",
        predict);
    add_local(on, predict, "broker and members");
    on.add_option(
          "--model", predict.model,
          "the run that trained it: its id, the first digits, or a directory with its parts")
        ->type_name("RUN")
        ->required();
    on.add_option("--data", predict.data, "the rows to predict: one file per party")
        ->type_name("FILE")
        ->allow_extra_args(false);
    on.add_option("--run-id", predict.run_id)->group("");
    on.add_option("--out", predict.out, "CSV of ids and predictions; - is standard output")
        ->type_name("FILE");
    add_broker_address(on, predict.broker);
    on.add_option("--state-dir", predict.state_dir)->group("");
    add_config(on, predict);
    add_output(on, predict);
}

void add_question(CLI::App& on, BrokerQuestion& question) {
    add_broker_address(on, question.broker);
    add_config(on, question);
    add_output(on, question);
}

void add_local_flag(CLI::App& on, RunQuestion& question) {
    on.add_flag("--local", question.local,
                "what lies in files under output.runs_dir, without asking a broker");
}

void add_runs_and_nodes(CommandLine& line) {
    RunsArguments& runs = line.runs;
    CLI::App& on_runs = line.command(
        line.app, "runs", "The runs that a broker knows, or that lie here, youngest first.",
        "Without a broker that answers it lists what lies under output.runs_dir.\n"
        "Examples:\n"
        "  vflbus runs\n"
        "  vflbus runs --local\n"
        "  vflbus runs --status failed --limit 5 --json",
        runs);
    on_runs
        .add_option("--status", runs.status,
                    "pending, starting, running, completed, failed, stopped, finished or unknown")
        ->type_name("STATUS");
    add_local_flag(on_runs, runs);
    add_number(on_runs, "--limit", runs.limit, "so many at most; default 50", 1)->type_name("N");
    add_question(on_runs, runs);

    NodesArguments& nodes = line.nodes;
    CLI::App& on_nodes = line.command(line.app, "nodes", "The nodes that a broker knows.",
                                      "Examples:\n"
                                      "  vflbus nodes\n"
                                      "  vflbus nodes --limit 20 --json",
                                      nodes);
    add_number(on_nodes, "--limit", nodes.limit, "so many at most; default 500", 1)->type_name("N");
    add_question(on_nodes, nodes);
}

void add_run_argument(CLI::App& on, RunArguments& run) {
    on.add_option("RUN", run.run, "its id, or the first digits of it")->type_name("")->required();
    add_question(on, run);
}

void add_submit(CommandLine& line, CLI::App& above) {
    SubmitArguments& submit = line.submit;
    CLI::App& on = line.command(
        above, "submit", "Hands a training to a master that waits for them.",
        "The agreed half of the configuration is handed over; files of parties are theirs alone.\n"
        "Examples:\n"
        "  vflbus actor --role master --serve --config conf/parties/master.toml    once, there\n"
        "  vflbus run submit --config conf/parties/master.toml --follow    anywhere\n"
        "  vflbus run submit --config conf/parties/master.toml --set model.epochs=5 --wait",
        submit);
    on.add_option("--to", submit.to, "node name of that master; default: the only one")
        ->type_name("NAME");
    on.add_option("--label", submit.label, "a word about the run, for its log")->type_name("TEXT");
    auto* wait = on.add_flag("--wait", submit.wait, "until the run is over, with its exit code");
    on.add_flag("-f,--follow", submit.follow, "as --wait, and shows its log lines")->excludes(wait);
    add_question(on, submit);
}

/// `run show`, `stop` and `logs`: one run.
void add_run_of_one(CommandLine& line, CLI::App& above) {
    CLI::App& show = line.command(
        above, "show",
        "Status, parties, times and sizes; its owner, or its files, add metrics and configuration.",
        "Examples:\n"
        "  vflbus run show 1f0c9a33\n"
        "  vflbus run show 1f0c9a33 --local --json",
        line.run_show);
    add_run_argument(show, line.run_show);
    add_local_flag(show, line.run_show);
    CLI::App& stop = line.command(above, "stop", "Asks its owner to end it in order, and waits.",
                                  "Example:\n"
                                  "  vflbus run stop 1f0c9a33",
                                  line.run_stop);
    add_run_argument(stop, line.run_stop);
    CLI::App& logs =
        line.command(above, "logs", "Log lines of all parties that give theirs, merged by time.",
                     "Examples:\n"
                     "  vflbus run logs 1f0c9a33 --follow\n"
                     "  vflbus run logs 1f0c9a33 --local",
                     line.run_logs);
    add_run_argument(logs, line.run_logs);
    add_local_flag(logs, line.run_logs);
    logs.add_flag("-f,--follow", line.run_logs.follow, "goes on until the run is over");
}

/// `run compare`, `plot` and `remove`: what came of runs.
void add_run_of_several(CommandLine& line, CLI::App& above) {
    CLI::App& compare = line.command(above, "compare",
                                     "What two runs have trained differently, and what came of it.",
                                     "Example:\n"
                                     "  vflbus run compare 1f0c9a33 77aa01bc",
                                     line.run_compare);
    compare.add_option("RUN", line.run_compare.run, "its id, or the first digits of it")
        ->type_name("")
        ->required();
    compare.add_option("OTHER", line.run_compare.other, "that of the other one")
        ->type_name("")
        ->required();
    add_local_flag(compare, line.run_compare);
    add_question(compare, line.run_compare);
    CLI::App& plot = line.command(above, "plot",
                                  "A metric of runs over their steps, as a curve in the terminal.",
                                  "Examples:\n"
                                  "  vflbus run plot 1f0c9a33\n"
                                  "  vflbus run plot 1f0c9a33 77aa01bc --metric auc",
                                  line.run_plot);
    plot.add_option("RUN", line.run_plot.runs, "their ids, or the first digits of them")
        ->type_name("")
        ->required();
    plot.add_option("--metric", line.run_plot.metric, "its name; default loss")->type_name("NAME");
    add_local_flag(plot, line.run_plot);
    add_question(plot, line.run_plot);
    CLI::App& remove =
        line.command(above, "remove", "Removes the files of runs that lie under output.runs_dir.",
                     "Examples:\n"
                     "  vflbus run remove 1f0c9a33\n"
                     "  vflbus run remove 1f0c9a33 77aa01bc --force",
                     line.run_remove);
    remove.add_option("RUN", line.run_remove.runs, "their ids, or the first digits of them")
        ->type_name("")
        ->required();
    remove.add_flag("--force", line.run_remove.force, "also what could still be resumed");
    add_config(remove, line.run_remove);
    add_output(remove, line.run_remove);
}

void add_run(CommandLine& line) {
    CLI::App& on = CommandLine::group(line.app, "run", "One run, or several: look, stop, submit.",
                                      "Examples:\n"
                                      "  vflbus run show 1f0c9a33\n"
                                      "  vflbus run stop 1f0c9a33\n"
                                      "  vflbus run plot 1f0c9a33 --local");
    on.require_subcommand(1);
    add_run_of_one(line, on);
    add_run_of_several(line, on);
    add_submit(line, on);
}

void add_report(CommandLine& line) {
    ReportArguments& report = line.report;
    CLI::App& on = line.command(
        line.app, "report", "What came of a training, as one page to hand on.",
        "Writes report.html into the run's directory: metrics, curves, calibration, what each\n"
        "party is worth, time and bytes, the configuration. It needs nothing from outside.\n"
        "Examples:\n"
        "  vflbus report 1f0c9a33\n"
        "  vflbus report 1f0c9a33 --threshold 0.3 --out credit.html\n"
        "  vflbus report 1f0c9a33 --csv --out credit.csv\n"
        "  vflbus report 1f0c9a33 --json",
        report);
    on.add_option("RUN", report.run, "its id, or the first digits of it")
        ->type_name("")
        ->required();
    on.add_option("--out", report.out, "where it is written; - is standard output")
        ->type_name("FILE");
    auto* csv = on.add_flag("--csv", report.csv, "figures and curves as one table");
    on.add_option_function<std::string>(
          "--threshold",
          [&report](const std::string& text) {
              const std::optional<double> parsed = parse_fraction(text);
              if (!parsed)
                  throw CLI::ValidationError("--threshold is a number from 0 to 1, not '" + text +
                                             "'");
              report.threshold = *parsed;
          },
          "rows with this probability or more are called positive; default 0.5")
        ->type_name("P");
    on.add_option("--party", report.party, "whose features are shown; default master")
        ->type_name("NAME");
    add_config(on, report);
    add_output(on, report);
    csv->excludes("--json");
}

void add_inspect(CommandLine& line, CLI::App& above) {
    CLI::App& on = line.command(
        above, "inspect", "What is in a table, and what a training would do with each column.",
        "Examples:\n"
        "  vflbus data inspect data/logistic/bank.csv\n"
        "  vflbus data inspect data/logistic/bank.csv --columns 'a*=category'",
        line.inspect);
    on.add_option("file", line.inspect.file, "the table, as for launch --data")
        ->type_name("FILE")
        ->required();
    on.add_option("--columns", line.inspect.columns,
                  "PATTERN=KIND: what columns are, as party.<name>.columns; may be repeated")
        ->type_name("PATTERN=KIND")
        ->allow_extra_args(false);
    add_output(on, line.inspect);
}

void add_split(CommandLine& line, CLI::App& above) {
    SplitArguments& split = line.split;
    CLI::App& on = line.command(
        above, "split", "Cut one table into tables of several parties, to try a training on.",
        "Example:\n"
        "  vflbus data split data/logistic/bank.csv --parties 3 --label default --id customer_id "
        "--out data/split",
        split);
    on.add_option("file", split.file, "the table, as for launch --data")
        ->type_name("FILE")
        ->required();
    add_number(on, "--parties", split.parties, "how many; default 2")->type_name("N");
    on.add_option("--label", split.label,
                  "label column, which the first party gets; may be repeated")
        ->type_name("COLUMN")
        ->allow_extra_args(false);
    on.add_option("--id", split.id, "column of the record ids; default id, else rows are numbered")
        ->type_name("COLUMN");
    on.add_option("--out", split.out, "directory for the files; default the current one")
        ->type_name("DIR");
    on.add_option("--overlap", split.overlap,
                  "share of the rows that each party but the first has; default 1")
        ->type_name("SHARE");
    add_number(on, "--seed", split.seed, "same seed, same files; default 1")->type_name("S");
    add_output(on, split);
}

void add_model(CommandLine& line) {
    CLI::App& above = CommandLine::group(line.app, "model", "Look at trained models.",
                                         "Example:\n"
                                         "  vflbus model show 1f0c9a33");
    above.require_subcommand(1);
    CLI::App& on =
        line.command(above, "show", "The features of the parts of a model, by weight.",
                     "The parts are those that lie here: all of them where `launch` has trained,\n"
                     "one's own elsewhere. docs/operating.md says what is in their files.\n"
                     "Examples:\n"
                     "  vflbus model show 1f0c9a33\n"
                     "  vflbus model show 1f0c9a33 --party master --limit 5",
                     line.model_show);
    on.add_option(
          "RUN", line.model_show.model,
          "the run that trained it: its id, the first digits, or a directory with its parts")
        ->type_name("")
        ->required();
    on.add_option("--party", line.model_show.party, "master, member-0, ...; default all")
        ->type_name("NAME");
    add_number(on, "--limit", line.model_show.limit, "features of each part; default 20")
        ->type_name("N");
    add_config(on, line.model_show);
    add_output(on, line.model_show);
}

void add_data(CommandLine& line) {
    CLI::App& above = CommandLine::group(line.app, "data", "Make tables, and look at them.",
                                         "Examples:\n"
                                         "  vflbus data synth --task logistic --out data/logistic\n"
                                         "  vflbus data inspect data/logistic/bank.csv");
    above.require_subcommand(1);
    SynthArguments& synth = line.synth;
    CLI::App& on = line.command(
        above, "synth", "A credit example: a bank and companies that know its customers.",
        "Examples:\n"
        "  vflbus data synth --task logistic --out data/logistic\n"
        "  vflbus data synth --task softmax --out data/softmax --members 3 --rows 20000",
        synth);
    on.add_option("--task", synth.task, "linear, logistic, multilabel or softmax")
        ->type_name("TASK");
    on.add_option("--out", synth.out, "directory for the files")->type_name("DIR")->required();
    add_number(on, "--members", synth.members, "companies besides the bank; default 2")
        ->type_name("N");
    add_number(on, "--rows", synth.rows, "customers of the bank; default 10000")->type_name("N");
    add_number(on, "--seed", synth.seed, "same seed, same files; default 1")->type_name("S");
    add_number(on, "--labels", synth.labels, "label columns of multilabel; default 5")
        ->type_name("N");
    add_number(on, "--classes", synth.classes, "classes of softmax; default 4")->type_name("N");
    on.add_flag("--test-files", synth.test_files, "other people for a test, as own files");
    on.add_flag("--predict-files", synth.predict_files,
                "yet other people, without labels, to predict");
    add_output(on, synth);
    add_inspect(line, above);
    add_split(line, above);
}

void add_config_commands(CommandLine& line) {
    CLI::App& above = CommandLine::group(line.app, "config", "Look at configurations.",
                                         "Examples:\n"
                                         "  vflbus config check --config conf/logistic.toml\n"
                                         "  vflbus config reference");
    above.require_subcommand(1);
    CLI::App& check =
        line.command(above, "check", "Read a configuration and say what is wrong.",
                     "Examples:\n"
                     "  vflbus config check --config conf/logistic.toml\n"
                     "  vflbus config check --config conf/logistic.toml --set model.epochs=5",
                     line.config_check);
    add_config(check, line.config_check);
    add_output(check, line.config_check);
    CLI::App& reference = line.command(above, "reference", "All keys, as docs/configuration.md.",
                                       "Example:\n"
                                       "  vflbus config reference",
                                       line.config_reference);
    add_output(reference, line.config_reference, false);
}

void add_health(CommandLine& line) {
    HealthArguments& health = line.health;
    CLI::App& on = line.command(
        line.app, "health", "Whether a broker or a party is up.",
        "Exit code 0: up; 1: not, with the reason on standard error. Takes less than half a "
        "second.\n"
        "VFLBUS_ROLE, VFLBUS_RANK, VFLBUS_BROKER and VFLBUS_STATE_DIR count as for actor.\n"
        "Examples:\n"
        "  vflbus health --broker tcp://127.0.0.1:7423\n"
        "  vflbus health --role member --rank 0 --ready",
        health);
    on.add_option("--role", health.role, "broker, master, member, ...; default: the broker")
        ->type_name("ROLE");
    add_number(on, "--rank", health.rank, "of a member")->type_name("R");
    on.add_option("--name", health.name, "node name, where it has one of its own")
        ->type_name("NAME");
    add_broker_address(on, health.broker);
    on.add_option("--state-dir", health.state_dir, "that of the party")->type_name("DIR");
    on.add_flag("--ready", health.ready, "of a party: its broker must answer as well");
    add_config(on, health);
    add_output(on, health);
}

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
    on.add_option("--role", agent.role, "broker, master or member")->type_name("ROLE");
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
    on.add_flag("--infer", agent.infer,
                "a master predicts with --model instead of training; members serve both alike");
    on.add_option("--model", agent.model, "with --infer: runs/<run_id> of the training")
        ->type_name("DIR");
    add_config(on, agent);
    add_container(on, agent);
}

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

void add_rotate(CommandLine& line, CLI::App& above) {
    KeysRotateArguments& rotate = line.keys_rotate;
    CLI::App& on = line.command(
        above, "rotate", "Exchanges this party's key for a new one at the broker.",
        "The new key has the rights of the old one and ends when that would have; the old one is\n"
        "good for a day more. Processes that run go over to the new key by themselves.\n"
        "Example:\n"
        "  vflbus keys rotate --config shop.toml",
        rotate);
    add_broker_address(on, rotate.broker);
    add_config(on, rotate);
    add_output(on, rotate);
}

void add_preflight(CommandLine& line) {
    PreflightArguments& flight = line.preflight;
    CLI::App& on = line.command(
        line.app, "preflight", "Whether this party could take part: broker, keys, table, machine.",
        "One line for each thing that is looked at: ok, a warning, or what to do. Exit code 0\n"
        "unless something would fail.\n"
        "Examples:\n"
        "  vflbus preflight --config shop.toml\n"
        "  vflbus preflight --config run.toml --role member --rank 0 --json",
        flight);
    on.add_option("--role", flight.role, "master or member; default: each section of the file")
        ->type_name("ROLE")
        ->envname("VFLBUS_ROLE");
    on.add_option("--rank", flight.rank, "of a member")->type_name("R")->envname("VFLBUS_RANK");
    add_broker_address(on, flight.broker);
    add_config(on, flight);
    add_output(on, flight);
}

void add_keys(CommandLine& line) {
    CLI::App& above = CommandLine::group(line.app, "keys", "The keys of this party.",
                                         "Examples:\n"
                                         "  vflbus keys new member-0\n"
                                         "  vflbus keys fingerprint member-0");
    above.require_subcommand(1);
    CLI::App& made = line.command(
        above, "new", "Makes a key pair: NAME.key, which stays here, and NAME.pub.",
        "The secret file is readable for its owner alone, and no file is ever written over.\n"
        "Examples:\n"
        "  vflbus keys new broker          at the broker\n"
        "  vflbus keys new member-0        at the party; its broker allows the fingerprint\n"
        "  vflbus keys new master --expires 90d --certificates /etc/vflbus/keys",
        line.keys_new);
    made.add_option("NAME", line.keys_new.name, "of the node that it is for, or broker")
        ->type_name("")
        ->required();
    made.add_option("--expires", line.keys_new.expires, "how long it is good; default 365d")
        ->type_name("PERIOD");
    add_key_store(made, line.keys_new);
    CLI::App& shown = line.command(above, "show", "Public keys, fingerprints and when they expire.",
                                   "Example:\n"
                                   "  vflbus keys show",
                                   line.keys_show);
    shown.add_option("NAME", line.keys_show.name, "one of them; default: all")->type_name("");
    add_key_store(shown, line.keys_show);
    CLI::App& read = line.command(above, "fingerprint", "What is read to the other side.",
                                  "Examples:\n"
                                  "  vflbus keys fingerprint member-0\n"
                                  "  vflbus keys fingerprint from-the-shop/member-0.pub",
                                  line.keys_fingerprint);
    read.add_option("NAME", line.keys_fingerprint.name, "of the key, or a file")
        ->type_name("")
        ->required();
    add_key_store(read, line.keys_fingerprint);
    add_rotate(line, above);
}

void add_allow(CommandLine& line) {
    AllowArguments& allow = line.allow;
    CLI::App& on =
        line.command(line.app, "allow", "Lets a key in: at the broker, in its allow-list.",
                     "A running broker reads the list again by itself.\n"
                     "Examples:\n"
                     "  vflbus allow member-0 --key member-0.pub --role member --rank 0\n"
                     "  vflbus allow master --key ABCD-EFGH-IJKL-MNOP-QRST-UVWX --role master\n"
                     "  vflbus allow alice --key alice.pub --may see,status,submit",
                     allow);
    on.add_option("NAME", allow.name, "of the node, as which the key comes in")
        ->type_name("")
        ->required();
    on.add_option("--key", allow.key, "its .pub file, its public key, or its fingerprint")
        ->type_name("KEY")
        ->required();
    on.add_option("--role", allow.roles, "master, member, arbiter, serverapp or node")
        ->type_name("ROLE")
        ->delimiter(',');
    on.add_option("--rank", allow.ranks, "of a member")->type_name("R")->delimiter(',');
    on.add_option("--may", allow.may,
                  "submit, stop, see, status or logs: what it may do with runs of others")
        ->type_name("RIGHT")
        ->delimiter(',');
    on.add_option("--expires", allow.expires, "how long; default: as its file says, or 365d")
        ->type_name("PERIOD");
    auto* also =
        on.add_flag("--also", allow.also, "beside the key that the name has: both are good");
    on.add_flag("--replace", allow.replace, "in place of the keys that the name has")
        ->excludes(also);
    add_key_store(on, allow);

    RevokeArguments& revoke = line.revoke;
    CLI::App& gone = line.command(line.app, "revoke", "Takes keys out of the broker's allow-list.",
                                  "A running broker ends their sessions within a second.\n"
                                  "Examples:\n"
                                  "  vflbus revoke member-0\n"
                                  "  vflbus revoke member-0 --key ABCD-EFGH-IJKL-MNOP-QRST-UVWX",
                                  revoke);
    gone.add_option("NAME", revoke.name, "all its keys, without --key")->type_name("")->required();
    gone.add_option("--key", revoke.key, "only this one")->type_name("KEY");
    add_key_store(gone, revoke);

    CLI::App& all = line.command(line.app, "members", "Who is on the broker's allow-list.",
                                 "Example:\n"
                                 "  vflbus members --json",
                                 line.members);
    add_key_store(all, line.members);
}

void add_invite(CommandLine& line) {
    InviteArguments& invite = line.invite;
    CLI::App& on = line.command(
        line.app, "invite", "Prints one line with which a party joins: at the broker.",
        "The line has a secret that lets one key in, once. Hand it over as you would a password.\n"
        "Examples:\n"
        "  vflbus invite --name member-0 --role member --rank 0 --expires 7d\n"
        "  vflbus invite --name master --role master --broker tcp://10.0.0.1:7423\n"
        "  vflbus invite --name member-0 --role member --rank 0 --replace    a new key for the "
        "name\n"
        "  vflbus invite --list\n"
        "  vflbus invite --withdraw member-0",
        invite);
    auto* name = on.add_option("--name", invite.name, "of the node, as which the key comes in")
                     ->type_name("NAME");
    on.add_option("--role", invite.roles, "master, member, arbiter, serverapp or node")
        ->type_name("ROLE")
        ->delimiter(',');
    on.add_option("--rank", invite.ranks, "of a member")->type_name("R")->delimiter(',');
    on.add_option("--may", invite.may,
                  "submit, stop, see, status or logs: what it may do with runs of others")
        ->type_name("RIGHT")
        ->delimiter(',');
    on.add_option("--expires", invite.expires, "how long the invitation is good; default 7d")
        ->type_name("PERIOD");
    on.add_option("--key-expires", invite.key_expires,
                  "how long the key may be good that joins; default 365d")
        ->type_name("PERIOD");
    on.add_option("--broker", invite.broker,
                  "where parties reach the broker; default: where it was last started to listen")
        ->type_name("ADDRESS")
        ->envname("VFLBUS_BROKER");
    auto* also = on.add_flag("--also", invite.also, "beside the key that the name has");
    on.add_flag("--replace", invite.replace, "in place of the keys that the name has")
        ->excludes(also);
    on.add_flag("--list", invite.list, "who is invited, and who has joined so")->excludes(name);
    on.add_option("--withdraw", invite.withdraw, "ends the invitations of a name")
        ->type_name("NAME")
        ->excludes(name);
    add_key_store(on, invite);
}

void add_join(CommandLine& line) {
    JoinArguments& join = line.join;
    CLI::App& on = line.command(
        line.app, "join", "Makes this party's key and has it let in, by an invitation.",
        "The key never leaves this machine. The section of the party is written into the\n"
        "configuration. If the answer of the broker got lost, run the same command again.\n"
        "Examples:\n"
        "  vflbus join vflbus-invitation-1,...\n"
        "  vflbus join invitation.txt --config shop.toml --data shop.csv --id customer_id\n"
        "  vflbus join -    reads the line from standard input",
        join);
    on.add_option("LINE", join.line, "of `vflbus invite`, or a file with it, or - to read it")
        ->type_name("")
        ->required();
    on.add_option("-c,--config", join.config, "to write into; default: ./vflbus.toml")
        ->type_name("FILE");
    on.add_option("--data", join.data, "the party's table, for its section")->type_name("FILE");
    on.add_option("--id", join.id, "the table's id column")->type_name("COLUMN");
    on.add_option("--label", join.label, "of a master: the label columns")
        ->type_name("COLUMN")
        ->delimiter(',');
    on.add_option("--key-expires", join.key_expires, "how long the key is good; default 365d")
        ->type_name("PERIOD");
    add_key_store(on, join);
}

void add_version(CommandLine& line) {
    CLI::App& on = line.command(line.app, "version", "The version of this program.",
                                "Example:\n"
                                "  vflbus version --json",
                                line.version_arguments);
    add_output(on, line.version_arguments);
    line.app.add_flag("--version", line.version, "the version of this program");
}

void add_node_place(CLI::App& on, NodePlace& place) {
    on.add_option("--node", place.node,
                  "name of the node, as member-0; default: the only one under output.runs_dir")
        ->type_name("NAME");
    on.add_option("--state-dir", place.state_dir, "the --state-dir of that node, where it has one")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    add_config(on, place);
    add_output(on, place);
}

void add_audit(CommandLine& line) {
    CLI::App& audit = CommandLine::group(
        line.app, "audit", "What a node of this machine has decided, and what ran there.",
        "Examples:\n"
        "  vflbus audit verify\n"
        "  vflbus audit show --run 1f0c9a33");
    audit.require_subcommand(1);
    AuditVerifyArguments& verify = line.audit_verify;
    CLI::App& on_verify = line.command(
        audit, "verify", "Whether an audit log is whole, and all that its node has written.",
        "Exit code 0: it is. 3: a line was changed, removed or put in, or the end was cut off, or\n"
        "may have been, as the file `head` was missing once, or it cannot be read. It prints the\n"
        "last signature as LINE:HASH; kept where nobody of this machine can change it, --head\n"
        "finds a log that was cut or written anew since.\n"
        "Examples:\n"
        "  vflbus audit verify\n"
        "  vflbus audit verify --node member-0 --json\n"
        "  vflbus audit verify copy/log --key 9f86d081884c7d65...",
        verify);
    on_verify.add_option("FILE", verify.file, "a log; default: that of the node")->type_name("");
    on_verify.add_option("--key", verify.key, "the node's public key; default: that of the log")
        ->type_name("HEX");
    on_verify.add_option("--head", verify.head, "a signature that it must still have")
        ->type_name("LINE:HASH");
    on_verify.add_flag("--no-head", verify.no_head,
                       "a copy without the file `head`: that its end is missing cannot be seen");
    add_node_place(on_verify, verify);
    AuditShowArguments& show = line.audit_show;
    CLI::App& on_show = line.command(audit, "show", "The lines of an audit log, one each.",
                                     "What was changed is not looked for: that is `audit verify`.\n"
                                     "Examples:\n"
                                     "  vflbus audit show\n"
                                     "  vflbus audit show --run 1f0c9a33 --json",
                                     show);
    on_show.add_option("FILE", show.file, "a log; default: that of the node")->type_name("");
    on_show.add_option("--run", show.run, "lines about this run alone, by its first digits")
        ->type_name("RUN");
    add_node_place(on_show, show);
}

void add_approval(CommandLine& line) {
    ApprovalArguments& approve = line.approve;
    CLI::App& on_approve = line.command(
        line.app, "approve", "Lets a run in that waits at a member of this machine.",
        "A policy with approve = \"each\" holds runs until somebody says so (docs/policy.md).\n"
        "Examples:\n"
        "  vflbus approve                list those that wait\n"
        "  vflbus approve 1f0c9a33\n"
        "  vflbus approve 1f0c9a33 --node member-0",
        approve);
    on_approve.add_option("RUN", approve.run, "its id, or the first digits of it")->type_name("");
    add_node_place(on_approve, approve);
    ApprovalArguments& refuse = line.refuse;
    refuse.approves = false;
    CLI::App& on_refuse =
        line.command(line.app, "refuse", "Refuses a run that waits at a member of this machine.",
                     "Examples:\n"
                     "  vflbus refuse 1f0c9a33",
                     refuse);
    on_refuse.add_option("RUN", refuse.run, "its id, or the first digits of it")
        ->type_name("")
        ->required();
    add_node_place(on_refuse, refuse);
}

void add_grant(CommandLine& line) {
    GrantArguments& grant = line.grant;
    CLI::App& on = line.command(
        line.app, "grant", "Lets an owner use a table of a member of this machine until a date.",
        "It counts where the policy says tables = \"granted\" (docs/policy.md).\n"
        "Examples:\n"
        "  vflbus grant                                       list what is granted\n"
        "  vflbus grant data/shop.csv bank --until 2026-12-31\n"
        "  vflbus grant data/shop.csv bank --withdraw",
        grant);
    on.add_option("TABLE", grant.table, "its file, as the configuration names it")->type_name("");
    on.add_option("OWNER", grant.owner, "node name of the owner")->type_name("");
    auto* until = on.add_option("--until", grant.until, "the last day, in UTC")->type_name("DATE");
    on.add_option("--key", grant.key, "fingerprint that the owner's key must have")
        ->type_name("FINGERPRINT");
    on.add_flag("--withdraw", grant.withdraw, "takes the grant away")->excludes(until);
    add_node_place(on, grant);
}

void add_completion(CommandLine& line) {
    CLI::App& on = line.command(
        line.app, "completion", "A script with which a shell completes commands and flags.",
        "Examples:\n"
        "  vflbus completion bash > vflbus.bash    source it, or put it where bash looks\n"
        "  vflbus completion zsh > _vflbus         into a directory of $fpath\n"
        "  vflbus completion fish > vflbus.fish    into ~/.config/fish/completions",
        line.completion);
    on.add_option("SHELL", line.completion.shell, "bash, zsh or fish")->type_name("")->required();
    CLI::App& manual = line.command(line.app, "manual", "The pages of man, for the build.",
                                    "Example:\n"
                                    "  vflbus manual --out man",
                                    line.manual);
    manual.add_option("--out", line.manual.out, "directory of the pages")->type_name("DIR");
    manual.group("");
}

CommandLine::CommandLine() {
    app.require_subcommand(0, 1);
    app.footer(
        "Examples:\n"
        "  vflbus launch --local                     an example of its own, trained over "
        "processes\n"
        "  vflbus launch --local --data bank.csv --data shop.csv --label y --id id\n"
        "  vflbus launch --local --config conf/logistic.toml --set model.epochs=5\n"
        "  vflbus broker                             and, in other shells or on other machines,\n"
        "  vflbus actor --role master --config conf/parties/master.toml\n"
        "  vflbus actor --role member --rank 0 --config conf/parties/member-0.toml\n"
        "\n"
        "Results go to standard output, progress and logs to standard error. Exit codes, files "
        "and\n"
        "environment variables: docs/operating.md. Configuration keys: vflbus config reference.");
    add_launch(*this);
    add_broker(*this);
    add_actor(*this);
    add_check(*this);
    add_psi(*this);
    add_predict(*this);
    add_runs_and_nodes(*this);
    add_run(*this);
    add_model(*this);
    add_report(*this);
    add_data(*this);
    add_config_commands(*this);
    add_health(*this);
    add_agent(*this);
    add_export(*this);
    add_audit(*this);
    add_keys(*this);
    add_allow(*this);
    add_invite(*this);
    add_join(*this);
    add_preflight(*this);
    add_approval(*this);
    add_grant(*this);
    add_completion(*this);
    add_version(*this);
}

// -- what is wrong with a command line ----------------------------------------------------

/// "vflbus data synth"
std::string path_of(const CLI::App& app) {
    const CLI::App* const above = app.get_parent();
    return (above == nullptr ? "" : path_of(*above) + " ") + app.get_name();
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    return app.get_subcommands(
        [](const CLI::App* command) { return !command->get_group().empty(); });
}

std::vector<std::string> command_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
    return names;
}

/// The innermost command that was named.
const CLI::App& deepest(const CLI::App& app) {
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return *at;
}

/// "; did you mean --rank?", or where to read on.
std::string hint(const CLI::App& app, const std::string& unknown) {
    std::vector<std::string> known;
    if (unknown.starts_with('-')) {
        for (const CLI::Option* option : app.get_options())
            if (!option->get_group().empty())
                for (const std::string& name : option->get_lnames()) known.push_back(name);
    } else {
        known = command_names(app);
    }
    const std::size_t name = std::min(unknown.find_first_not_of('-'), unknown.size());
    const std::string near = nearest(std::string_view(unknown).substr(name), known);
    if (!near.empty())
        return "; did you mean " + (unknown.starts_with('-') ? "--" + near : near) + "?";
    return "; see " + path_of(app) + " --help";
}

std::string first_line(std::string text) {
    text.resize(std::min(text.size(), text.find('\n')));
    return text;
}

int wrong(const std::string& sentence) {
    error_line(sentence);
    return usage;
}

/// What CLI11 could not make sense of.
int explain(const CLI::App& app, const CLI::ParseError& failure) {
    const CLI::App& at = deepest(app);
    const std::vector<std::string> names = command_names(at);
    const std::vector<std::string> left = app.remaining(true);
    // a word that is no command comes as one too few
    if (!left.empty())
        return wrong(
            (names.empty() || left[0].starts_with('-')
                 ? "unknown argument " + left[0]
                 : path_of(at) + " has no command " + left[0] + "; there are " + join_and(names)) +
            hint(at, left[0]));
    if (!names.empty() && dynamic_cast<const CLI::RequiredError*>(&failure) != nullptr)
        return wrong(path_of(at) + " needs one of " + join_and(names) + "; see " + path_of(at) +
                     " --help");
    return wrong(first_line(failure.what()) + hint(at, {}));
}

// -- help -------------------------------------------------------------------------------

void print_help(const CLI::App& app) {
    const CLI::App* const above = app.get_parent();
    print(app.help(above == nullptr ? "" : path_of(*above)));
}

/// `vflbus help run show`: the help of that command.
Command help_on(const CLI::App& app, std::vector<std::string> path) {
    const CLI::App* at = &app;
    for (const std::string& name : path) {
        const auto commands = commands_of(*at);
        const auto found = std::ranges::find(
            commands, name, [](const CLI::App* command) { return command->get_name(); });
        if (found == commands.end())
            return Exit{wrong(path_of(*at) + " has no command " + name + hint(*at, name))};
        at = *found;
    }
    print_help(*at);
    return Exit{0};
}

/// The commands that `vflbus help ...` or `vflbus ... help` asks about; none when it does not. A
/// "help" that follows a flag may be its value.
std::optional<std::vector<std::string>> asked_for_help(int argc, const char* const* argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    if (words.empty()) return std::nullopt;
    const auto is_word = [](const std::string& word) { return !word.starts_with('-'); };
    if (!std::ranges::all_of(words, is_word)) return std::nullopt;
    if (words.front() == "help") {
        words.erase(words.begin());
        return words;
    }
    if (words.back() != "help") return std::nullopt;
    words.pop_back();
    return words;
}

OptionText text_of(const CLI::Option& option) {
    OptionText text;
    text.argument = option.get_positional() && option.get_lnames().empty();
    for (const std::string& name : option.get_snames()) text.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) text.names.push_back("--" + name);
    if (text.argument) text.names.push_back(option.get_name());
    if (option.get_items_expected_max() > 0 && !text.argument) text.value = option.get_type_name();
    text.help = option.get_description();
    text.required = option.get_required();
    text.many = text.argument && option.get_items_expected_max() > 1;
    return text;
}

CommandText text_of(const CLI::App& app) {
    CommandText text;
    text.name = app.get_name();
    text.path = path_of(app);
    text.summary = app.get_description();
    text.footer = app.get_footer();
    for (const CLI::Option* option : app.get_options())
        if (!option->get_group().empty()) text.options.push_back(text_of(*option));
    for (const CLI::App* command : commands_of(app)) text.commands.push_back(text_of(*command));
    return text;
}

}  // namespace

std::vector<std::string> examples_in(const std::string& footer) {
    std::vector<std::string> examples;
    bool begun = false;
    for (const std::string& line : split(footer, '\n')) {
        if (line == "Example:" || line == "Examples:") {
            begun = true;
        } else if (begun && line.starts_with("  ")) {
            const std::string command(trim(line));
            examples.push_back(command.substr(0, command.find("    ")));
        } else {
            begun = false;
        }
    }
    return examples;
}

CommandText command_text() {
    return text_of(CommandLine().app);
}

Command parse(int argc, const char* const* argv) {
    CommandLine line;
    if (const auto path = asked_for_help(argc, argv)) return help_on(line.app, *path);
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        print_help(deepest(line.app));
        return Exit{0};
    } catch (const CLI::ParseError& failure) {
        return Exit{explain(line.app, failure)};
    }
    if (line.version) return line.version_arguments;
    if (line.any) return line.chosen;
    print_help(line.app);
    return Exit{0};
}

}  // namespace vflbus::cli
