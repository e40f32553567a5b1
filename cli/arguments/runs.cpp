// Runs, under way and over: runs, nodes, run, model, report.

#include <algorithm>

#include "arguments/command_line.hpp"
#include "base/text.hpp"

namespace vflbus::cli {

namespace {

void add_local_flag(CLI::App& on, RunQuestion& question) {
    on.add_flag("--local", question.local,
                "what lies in files under output.runs_dir, without asking a broker");
}

}  // namespace

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
        .add_option_function<std::string>(
            "--status",
            [&runs](const std::string& status) {
                const std::vector<std::string> known{
                    "pending", "starting", "running",     "completed", "failed",   "stopped",
                    "unknown", "finished", "interrupted", "ended",     "not begun"};
                if (std::ranges::find(known, status) == known.end()) {
                    const std::string near = nearest(status, known);
                    throw CLI::ValidationError(
                        "--status is one of " + join_and(known) + ", not '" + status + "'" +
                        (near.empty() ? "" : "; did you mean " + near + "?"));
                }
                runs.status = status;
            },
            "pending, starting, running, completed, failed, stopped, finished, unknown; of runs "
            "that lie here also interrupted, ended, not begun")
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

/// `top` and `ui`: what goes on, as it goes on.
void add_looks(CommandLine& line) {
    TopArguments& top = line.top;
    CLI::App& on_top = line.command(
        line.app, "top", "Nodes and runs as they are now, again and again.",
        "On a terminal the picture is drawn anew until Ctrl-C or q; into a file or a pipe it is\n"
        "written once, as plain text, unless --times says more.\n"
        "Examples:\n"
        "  vflbus top\n"
        "  vflbus top --json\n"
        "  vflbus top --times 3 --interval 1 > load.txt",
        top);
    on_top.add_option("--interval", top.interval, "seconds between two pictures; default 1")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.1, 3600.0))
        ->check([](const std::string& text) {  // Range alone takes a text that is no number
            return text.find_first_not_of("0123456789.") == std::string::npos ? ""
                                                                              : "write a number";
        });
    add_number(on_top, "--times", top.times, "so many pictures, and then the end", 1)
        ->type_name("N");
    add_question(on_top, top);

    UiArguments& ui = line.ui;
    CLI::App& on_ui = line.command(
        line.app, "ui", "A page for the browser: nodes, runs, curves, logs (docs/observing.md).",
        "It asks the broker as `vflbus runs` and `run show` do, and shows what your key may see.\n"
        "Examples:\n"
        "  vflbus ui\n"
        "  vflbus ui --broker tcp://10.0.0.1:7423 --certificates keys\n"
        "  vflbus ui --http 10.0.0.5:8080 --remote    the address that it prints has a token",
        ui);
    on_ui
        .add_option("--http", ui.http,
                    "where browsers find it; port 0: any free one; default 127.0.0.1:8080")
        ->type_name("HOST:PORT");
    on_ui.add_flag(
        "--remote", ui.remote,
        "allow an address that other machines reach; a proxy with TLS belongs before it");
    on_ui.add_flag("--token", ui.token,
                   "ask for a token on loopback as well: others use this machine");
    add_question(on_ui, ui);
}

namespace {

void add_run_argument(CLI::App& on, RunArguments& run) {
    add_run_id(on, run.run)->required();
    add_question(on, run);
}

/// The arguments that every request to a serving master takes.
void add_submission(CLI::App& on, SubmitArguments& submit) {
    on.add_option("--to", submit.to, "node name of that master; default: the only one")
        ->type_name("NAME");
    on.add_option("--label", submit.label, "a word about the run, for its log")->type_name("TEXT");
    on.add_option(
          "--token", submit.token,
          "a text of your choice: the same one gives the same run, however often it is sent")
        ->type_name("TEXT")
        ->check([](const std::string& token) {
            return token.empty() ? std::string("is no token") : std::string();
        });
    auto* wait = on.add_flag("--wait", submit.wait, "until the run is over, with its exit code");
    on.add_flag("-f,--follow", submit.follow, "as --wait, and shows its log lines")->excludes(wait);
    add_question(on, submit);
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
    add_submission(on, submit);
}

/// `run predict`: the same for a prediction.
void add_run_predict(CommandLine& line, CLI::App& above) {
    RunPredictArguments& predict = line.run_predict;
    CLI::App& on = line.command(
        above, "predict", "Asks a master that waits for runs to predict with a model it trained.",
        "The rows are those of predict_data at each party, read anew; the predictions stay there,\n"
        "in predictions.csv of the run's directory, with metrics where there are labels.\n"
        "Examples:\n"
        "  vflbus actor --role master --serve --config conf/parties/master.toml    once, there\n"
        "  vflbus run predict 1f0c9a33 --wait    anywhere",
        predict);
    on.add_option("model", predict.model,
                  "the run that trained the model at that master: its id, or the first digits")
        ->type_name("RUN")
        ->required();
    add_submission(on, predict);
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
    add_run_id(compare, line.run_compare.run)->required();
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
    CLI::App& trace = line.command(
        above, "trace", "Puts the traces of all parties into one, on one clock.",
        "Each party has written its own with `actor --trace FILE`; offsets of clocks follow from\n"
        "when the master asked and when the others worked.\n"
        "Example:\n"
        "  vflbus run trace master.json member-0.json member-1.json --out all.json",
        line.run_trace);
    trace.add_option("FILE", line.run_trace.files, "the trace of each party")
        ->type_name("")
        ->required();
    trace.add_option("--out", line.run_trace.out, "what is written; default trace.json")
        ->type_name("FILE");
    add_output(trace, line.run_trace);
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

}  // namespace

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
    add_run_predict(line, on);
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
    add_run_id(on, report.run)->required();
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

}  // namespace vflbus::cli
