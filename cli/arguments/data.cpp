// Tables and configurations: data, config.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

namespace {

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
    on.add_option("--image", split.image,
                  "the other columns are pixels of a picture, which is cut into upright parts")
        ->type_name("HEIGHTxWIDTH");
    on.add_option("--out", split.out, "directory for the files; default the current one")
        ->type_name("DIR");
    on.add_option("--overlap", split.overlap,
                  "share of the rows that each party but the first has; default 1")
        ->type_name("SHARE");
    add_number(on, "--seed", split.seed, "same seed, same files; default 1")->type_name("S");
    add_output(on, split);
}

}  // namespace

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
        "  vflbus data synth --task softmax --out data/softmax --members 3 --rows 20000\n"
        "  vflbus data synth --pictures 16x16 --rows 2000 --out data/pictures",
        synth);
    on.add_option("--task", synth.task,
                  "linear, logistic, multilabel, softmax, poisson, gamma or tweedie")
        ->type_name("TASK");
    on.add_option("--out", synth.out, "directory for the files")->type_name("DIR")->required();
    add_number(on, "--members", synth.members, "companies besides the bank; default 2")
        ->type_name("N");
    add_number(on, "--rows", synth.rows, "customers of the bank; default 10000")->type_name("N");
    add_number(on, "--seed", synth.seed, "same seed, same files; default 1")->type_name("S");
    add_number(on, "--labels", synth.labels, "label columns of multilabel; default 5")
        ->type_name("N");
    add_number(on, "--classes", synth.classes, "classes of softmax; default 4")->type_name("N");
    on.add_option("--pictures", synth.pictures,
                  "instead: pictures of simple shapes, an upright part of each at every member")
        ->type_name("HEIGHTxWIDTH")
        ->excludes("--task")
        ->excludes("--labels");
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

}  // namespace vflbus::cli
