// What a user does with tables of several parties: launch, check, psi, predict.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

namespace {

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
    on.add_option(
          "--task", launch.task,
          "linear, logistic, multilabel, softmax, poisson, gamma or tweedie; default: what the "
          "label looks like")
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

}  // namespace

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

void add_tune(CommandLine& line) {
    TuneArguments& tune = line.tune;
    CLI::App& on = line.command(
        line.app, "tune", "Train with each combination of some settings; says which one is best.",
        "All runs have the same rows, aligned once, and the same members: threads of this "
        "process,\n"
        "or with --broker members that serve there (`vflbus actor --role member`).\n"
        "Examples:\n"
        "  vflbus tune --grid model.learning_rate=0.01,0.1 --config conf/logistic.toml\n"
        "  vflbus tune --grid model.learning_rate=0.01,0.1 --config conf/parties/master.toml "
        "--broker "
        "tcp://10.0.0.1:7423\n"
        "  vflbus tune --grid model.l2=0.1,1,10 --grid data.one_hot_max=8,64 --folds 5 "
        "--data bank.csv --data shop.csv --label y",
        tune);
    on.add_option("--grid", tune.grid,
                  "a key of [model] or [data] and its values; several times: all combinations")
        ->type_name("KEY=VALUE,...")
        ->allow_extra_args(false)
        ->required();
    on.add_option("--metric", tune.metric,
                  "what decides, of the test rows or the folds; default: the first that is no loss")
        ->type_name("NAME");
    add_number(on, "--jobs", tune.jobs, "runs at the same time; default 2", 1)->type_name("N");
    on.add_option("--out", tune.best_file, "where the configuration of the best run is written")
        ->type_name("FILE");
    CLI::Option* const data = add_launch_files(on, tune);
    on.add_option("--broker", tune.broker,
                  "train with the members that serve there; this process is the master")
        ->type_name("ADDRESS")
        ->excludes(data);
    add_config(on, tune);
    add_output(on, tune);
}

void add_train_joined(CommandLine& line) {
    TrainJoinedArguments& joined = line.train_joined;
    CLI::App& on = line.command(
        line.app, "train-joined", "Train on all tables at once in one process, for comparison.",
        "For whoever may see all of them: the same rows, split and scaled alike, as one table.\n"
        "Examples:\n"
        "  vflbus train-joined --config conf/logistic.toml\n"
        "  vflbus train-joined --data bank.csv --data shop.csv --label y\n"
        "  vflbus run compare 1f0c9a33 77aa01bc              with what the parties have trained",
        joined);
    add_launch_files(on, joined);
    add_config(on, joined);
    add_output(on, joined);
}

void add_features(CommandLine& line) {
    FeaturesArguments& features = line.features;
    CLI::App& on = line.command(
        line.app, "features", "What each party's columns tell of the label, before a training.",
        "Information value by quantile bins, correlation and variance inflation within a party.\n"
        "Under run.protocol = honest the labels go to the members; else they count encrypted "
        "ones.\n"
        "A training takes the columns that keep bounds: data.select in docs/configuration.md.\n"
        "Examples:\n"
        "  vflbus features --local --config conf/logistic.toml\n"
        "  vflbus features --local --config conf/logistic.toml --set run.protocol=encrypted",
        features);
    add_local(on, features, "broker and members");
    add_broker_address(on, features.broker);
    on.add_option("--state-dir", features.state_dir)->group("");
    on.add_option("--run-id", features.run_id, "32 hexadecimal digits; default random")
        ->type_name("ID");
    add_config(on, features);
    add_output(on, features);
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
    on.add_option("--run-id", check.run_id, "32 hexadecimal digits; default random")
        ->type_name("ID");
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
    on.add_option("--name", predict.name)->group("");
    on.add_option("--out", predict.out, "CSV of ids and predictions; - is standard output")
        ->type_name("FILE");
    add_broker_address(on, predict.broker);
    on.add_option("--state-dir", predict.state_dir)->group("");
    add_config(on, predict);
    add_output(on, predict);
}

}  // namespace vflbus::cli
