// The way back to one's results: what lies here is listed, shown, compared, drawn and removed, and
// nothing that is there is overwritten.

#include <cmath>
#include <cstdlib>
#include <set>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"

using namespace proc;

namespace {

const std::string first_id = "00112233445566778899aabbccddeeff";
const std::string second_id = "77aa01bc445566778899aabbccddeeff";

/// A training in one process, which is all that its files need.
void train_here(const TempDir& dir, const std::string& id, const Words& more = {}) {
    const Finished finished = run(
        dir, with({"launch", "--threads", "--config", "run.toml", "--run-id", id, "--json"}, more));
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
}

Json json_of(const Finished& finished) {
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    return Json::parse(finished.out);
}

}  // namespace

TEST_CASE("runs that lie here are listed with purpose, task, label and metric", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id, {"--set", "run.experiment_label=the first one"});
    REQUIRE(run(dir, {"check", "--threads", "--config", "run.toml"}).exit_code == 0);
    const Json said = json_of(run(dir, {"runs", "--local", "--json"}));
    REQUIRE(said["runs"].size() == 2);
    std::set<std::string> purposes;
    for (const Json& row : said["runs"]) {
        purposes.insert(row["purpose"].get<std::string>());
        if (row["purpose"] != "train") continue;
        CHECK(row["run_id"] == first_id);
        CHECK(row["status"] == "completed");
        CHECK(row["task"] == "logistic");
        CHECK(row["experiment_label"] == "the first one");
        CHECK(row["labels"] == Json::parse("[\"default\"]"));
        CHECK(row["rows"] > 100);
        CHECK(row["metrics"]["test"]["auc"] > 0.5);
        CHECK(row["steps"] == row["steps_planned"]);
    }
    CHECK(purposes == std::set<std::string>{"check", "train"});
    const std::string table = run(dir, {"runs", "--local"}).out;
    INFO(table);
    CHECK(table.find("00112233  train  completed  logistic  default  the first one") !=
          std::string::npos);
    CHECK(table.find("test auc 0.") != std::string::npos);
    CHECK(table.find("…") == std::string::npos);
    CHECK(table.find('\x1b') == std::string::npos);
    CHECK(run(dir, {"runs", "--local", "--status", "failed"}).err.find("no runs in") !=
          std::string::npos);
}

TEST_CASE("where no broker answers, what lies here is shown, and that is said", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    const Variables nobody{{"VFLBUS_BROKER", "tcp://127.0.0.1:1"}};
    const Finished without = run(dir, {"runs"}, nobody);
    CHECK(without.exit_code == 4);
    CHECK(without.err.find("no broker answers at tcp://127.0.0.1:1") != std::string::npos);
    train_here(dir, first_id);
    for (const Words& words : {Words{"runs"}, Words{"run", "show", "0011"},
                               Words{"run", "logs", "0011"}, Words{"run", "plot", "0011"}}) {
        const Finished finished = run(dir, words, nobody);
        INFO(words.back() << finished.out << finished.err);
        CHECK(finished.exit_code == 0);
        CHECK(finished.err.find("no broker answers at tcp://127.0.0.1:1; ") != std::string::npos);
        CHECK(finished.err.find(dir / "runs") != std::string::npos);
    }
}

TEST_CASE("a run is shown with its configuration and its lines", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id, {"--set", "data.id_salt=secret"});
    const Json shown = json_of(run(dir, {"run", "show", "0011", "--local", "--json"}));
    CHECK(shown["run"]["status"] == "completed");
    const std::string configuration = shown["configuration"].get<std::string>();
    CHECK(configuration.find("model.task = \"logistic\"") != std::string::npos);
    CHECK(configuration.find("secret") == std::string::npos);
    CHECK(shown["metrics"].size() >= 2);
    const std::string text = run(dir, {"run", "show", "0011", "--local"}).out;
    CHECK(text.starts_with("run "));
    CHECK(text.find(first_id) != std::string::npos);
    const Finished logs = run(dir, {"run", "logs", "0011", "--local"});
    INFO(logs.out);
    CHECK(logs.exit_code == 0);
    for (const char* const party : {"node=master", "node=member-0", "node=member-1"})
        CHECK(logs.out.find(party) != std::string::npos);
    // what the report has, for programs
    const Json report = Json::parse(slurp(dir / ("runs/" + first_id + "/report.json")));
    CHECK(report["purpose"] == "train");
    CHECK(report["configuration"]["model.task"] == "logistic");
    CHECK(report["configuration"].find("data.id_salt") == nullptr);
}

TEST_CASE("two runs are compared in what was set and what came of it", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id, {"--set", "model.epochs=2"});
    train_here(dir, second_id, {"--set", "model.epochs=3"});
    const Json said = json_of(run(dir, {"run", "compare", "0011", "77aa", "--local", "--json"}));
    REQUIRE(said["configuration"].size() == 1);
    CHECK(said["configuration"]["model.epochs"].get<std::vector<std::string>>() ==
          std::vector<std::string>{"2", "3"});
    CHECK(said["metrics"].find("test auc") != nullptr);
    const std::string table = run(dir, {"run", "compare", "0011", "77aa", "--local"}).out;
    CHECK(table.starts_with("RUN "));
    CHECK(table.find("00112233") < table.find("77aa01bc"));
    CHECK(table.find("model.epochs") != std::string::npos);
    CHECK(run(dir, {"run", "compare", "0011", "ff", "--local"}).exit_code == 5);
}

TEST_CASE("metrics are drawn over the steps", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    const Words often{"--set", "model.report_train_metrics_iteration=2", "--set",
                      "model.report_test_metrics_iteration=2"};
    train_here(dir, first_id, often);
    train_here(dir, second_id, with(often, {"--set", "model.learning_rate=0.001"}));
    const Finished drawn = run(dir, {"run", "plot", "0011", "77aa", "--local", "--metric", "auc"});
    INFO(drawn.out << drawn.err);
    CHECK(drawn.exit_code == 0);
    CHECK(drawn.out.starts_with("auc\n"));
    CHECK(
        drawn.out.find("* 00112233 train\no 00112233 test\n+ 77aa01bc train\nx 77aa01bc test\n") !=
        std::string::npos);
    const Json said = json_of(run(dir, {"run", "plot", "0011", "--local", "--json"}));
    CHECK(said["curves"][0]["points"].size() > 3);
    const Finished wrong = run(dir, {"run", "plot", "0011", "--local", "--metric", "aux"});
    CHECK(wrong.exit_code == 2);
    CHECK(wrong.err.find("did you mean auc?") != std::string::npos);
    // one that was killed has its record, and no values
    fs::remove(fs::path(dir / "runs") / first_id / "report.json");
    const Finished none = run(dir, {"run", "plot", "0011", "--local"});
    CHECK(none.exit_code == 2);
    CHECK(none.err.find("no run here has values of loss yet") != std::string::npos);
}

TEST_CASE("runs are removed, all that were named or none", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id);
    train_here(dir, second_id);
    CHECK(run(dir, {"run", "remove", "0011", "ff"}).exit_code == 5);
    CHECK(fs::exists(dir / ("runs/" + first_id)));
    const Finished removed = run(dir, {"run", "remove", "0011", "77"});
    INFO(removed.err);
    CHECK(removed.exit_code == 0);
    CHECK_FALSE(fs::exists(dir / ("runs/" + first_id)));
    CHECK_FALSE(fs::exists(dir / ("runs/" + second_id)));
    CHECK(run(dir, {"runs", "--local"}).err.find("there are no runs in") != std::string::npos);
}

TEST_CASE("a run that is there is not touched by a launch with its id", "[way_back]") {
    const TempDir dir;
    const Words launch{"launch", "--threads", "2", "--run-id", first_id, "--set", "model.epochs=1"};
    REQUIRE(run(dir, launch).exit_code == 0);
    const std::string saved = slurp(dir / ("runs/" + first_id + "/vflbus.toml"));
    REQUIRE(saved.find("examples/logistic-2-1/bank.csv") != std::string::npos);
    for (const std::string members : {"2", "3"}) {
        Words again = launch;
        again[2] = members;
        const Finished refused = run(dir, with(again, {"--set", "run.seed=7"}));
        INFO(refused.err);
        CHECK(refused.exit_code == 2);
        CHECK(refused.err.find("holds an earlier run, which is never overwritten") !=
              std::string::npos);
    }
    CHECK(slurp(dir / ("runs/" + first_id + "/vflbus.toml")) == saved);
    CHECK_FALSE(fs::exists(dir / "runs/examples/logistic-3-7"));
}

TEST_CASE("runs of the same example share its tables, and the first line says where",
          "[way_back]") {
    const TempDir dir;
    for (const std::string& id : {first_id, second_id}) {
        const Finished made = run(dir, {"launch", "--threads", "--run-id", id});
        INFO(made.err);
        REQUIRE(made.exit_code == 0);
        CHECK(made.err.find("vflbus: run " + id.substr(0, 8) + " writes to ") == 0);
        CHECK(made.err.find("in " + (dir / "runs/examples/logistic-2-1\n")) != std::string::npos);
        CHECK_FALSE(fs::exists(dir / ("runs/" + id + "/data")));
    }
    std::size_t examples = 0;
    for (const auto& entry : fs::directory_iterator(dir / "runs/examples"))
        examples += entry.is_directory() ? 1 : 0;
    CHECK(examples == 1);
    CHECK(run(dir, {"runs", "--local"}).out.find("examples") == std::string::npos);
    CHECK(run(dir, {"run", "remove", first_id}).exit_code == 0);
    const Finished predicted = run(dir, {"predict", "--threads", "--model", second_id});
    INFO(predicted.err);
    CHECK(predicted.exit_code == 0);
}

TEST_CASE("a first run says few lines before its result", "[way_back]") {
    const TempDir dir;
    const auto lines = [](const std::string& err) {
        return std::ranges::count(err.substr(0, err.find("step ")), '\n');
    };
    const Finished brief = run(dir, {"launch", "--local", "--run-id", first_id});
    INFO(brief.err);
    REQUIRE(brief.exit_code == 0);
    // where, which tables, the test; then protocol, alignment, ids, cells, texts
    CHECK(lines(brief.err) == 8);
    CHECK(brief.err.find("has joined") == std::string::npos);
    CHECK(slurp(dir / ("runs/" + first_id + "/master/log")).find("member-1 has joined") !=
          std::string::npos);
    const Finished all = run(dir, {"launch", "--local", "--verbose"});
    CHECK(all.err.find("member-1 has joined") != std::string::npos);
}

TEST_CASE("what a disk had no room for does not keep the next start away", "[way_back]") {
    const TempDir dir;
    const fs::path data = fs::path(dir / "runs") / "examples" / "logistic-2-1";
    // as far as an example came; a directory where a table should be is a disk without room
    fs::create_directories(data / "telecom.csv");
    const Words launch{"launch", "--threads", "--run-id", first_id, "--set", "model.epochs=1"};
    CHECK(run(dir, launch).exit_code == 3);
    fs::remove(data / "telecom.csv");
    CHECK(fs::exists(data / "bank.csv"));
    const Finished again = run(dir, launch);
    INFO(again.err);
    CHECK(again.exit_code == 0);
}

TEST_CASE("a run that is over is not resumed with another configuration", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id);
    const Words resume{"launch", "--threads", "--resume", "0011"};
    const Finished same = run(dir, resume);
    CHECK(same.exit_code == 0);
    CHECK(same.out.find("completed") != std::string::npos);
    const Finished other = run(dir, with(resume, {"--set", "model.epochs=77"}));
    INFO(other.err);
    CHECK(other.exit_code == 8);
    CHECK(other.out.empty());
    CHECK(other.err.find("model.epochs (77 here, ") != std::string::npos);
    // what is no part of the model may be another
    CHECK(run(dir, with(resume, {"--set", "bus.recv_timeout=5"})).exit_code == 0);
}

TEST_CASE("a table on a terminal fits its window, is bold, and heeds NO_COLOR", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id, {"--set", "run.experiment_label=" + std::string(60, 'x')});
    const auto on_terminal = [&](const std::string& columns, const std::string& before,
                                 const Words& words = {"runs", "--local"}) {
        Words arguments{columns, before, std::getenv("VFLBUS_BINARY")};
        arguments.insert(arguments.end(), words.begin(), words.end());
        const Finished finished =
            python(dir,
                   "import os, pty, sys, fcntl, struct, termios\n"
                   "pid, fd = pty.fork()\n"
                   "if pid == 0:\n"
                   "    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, "
                   "int(sys.argv[1]), 0, 0))\n"
                   "    os.execve(sys.argv[3], ['vflbus'] + sys.argv[4:], dict(os.environ, "
                   "TERM='xterm',"
                   " **dict([sys.argv[2].split('=')] if sys.argv[2] else [])))\n"
                   "while True:\n"
                   "    try: data = os.read(fd, 4096)\n"
                   "    except OSError: break\n"
                   "    if not data: break\n"
                   "    sys.stdout.buffer.write(data)\n",
                   arguments);
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        return finished.out;
    };
    const std::string wide = on_terminal("80", "");
    INFO(wide);
    CHECK(wide.find("\x1b[1mRUN") != std::string::npos);
    CHECK(wide.find("…") != std::string::npos);
    CHECK(wide.find("(UTC)") == std::string::npos);
    CHECK(wide.find("AGO") != std::string::npos);
    CHECK(on_terminal("80", "NO_COLOR=1").find('\x1b') == std::string::npos);
    const std::string narrow = on_terminal("40", "NO_COLOR=1");
    INFO(narrow);
    CHECK(narrow.find("STATUS      completed\r\n") != std::string::npos);
    // people read their own time, programs that of the world
    const std::string piped = run(dir, {"runs", "--local"}).out;
    CHECK(piped.find("CHANGED (UTC)") != std::string::npos);
    const std::string utc_time = piped.substr(piped.rfind(':') - 5, 8);
    const std::string east = on_terminal("120", "TZ=ABC-13");
    INFO(piped << east);
    CHECK(east.find("(UTC)") == std::string::npos);
    CHECK(east.find(utc_time.substr(2)) != std::string::npos);  // the same minute and second
    CHECK(east.find(utc_time) == std::string::npos);
    // what a process started by this one prints has the same window
    const std::string checked =
        on_terminal("40", "NO_COLOR=1", {"check", "--local", "--config", "run.toml"});
    INFO(checked);
    CHECK(checked.find("\r\nround trip  ") != std::string::npos);
}

TEST_CASE("shells complete commands, flags and values", "[way_back]") {
    const TempDir dir;
    spit(dir / "runs/0011/x", "");
    spit(dir / "vflbus.bash", run(dir, {"completion", "bash"}).out);
    const auto completed = [&](const std::string& line) {
        spit(dir / "ask.sh",
             "source ./vflbus.bash\nCOMP_WORDS=(" + line +
                 ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_vflbus\necho \"${COMPREPLY[*]}\"\n");
        const Finished asked =
            python(dir,
                   "import subprocess, sys\n"
                   "done = subprocess.run(['bash', 'ask.sh'], capture_output=True, text=True)\n"
                   "sys.stdout.write(done.stdout + done.stderr)\n",
                   {});
        return asked.out;
    };
    CHECK(completed("vflbus la") == "launch\n");
    CHECK(completed("vflbus run sh") == "show\n");
    CHECK(completed("vflbus run show --loc") == "--local\n");
    CHECK(completed("vflbus launch --transport t") == "tcp\n");
    CHECK(completed("vflbus data synth --task lo") == "logistic\n");
    CHECK(completed("vflbus data synth --task po") == "poisson\n");
    CHECK(completed("vflbus runs --status in") == "interrupted\n");
    CHECK(completed("vflbus run show 00") == "0011\n");
    CHECK(completed("vflbus launch --resume 00") == "0011\n");
    CHECK(completed("vflbus completion f") == "fish\n");
    for (const std::string shell : {"zsh", "fish"}) {
        const std::string script = run(dir, {"completion", shell}).out;
        CHECK(script.find("--transport") + script.find("-l transport") != std::string::npos);
        CHECK(script.find("synth") != std::string::npos);
    }
    CHECK(run(dir, {"completion", "tcsh"}).exit_code == 2);
}

TEST_CASE("the manual has a page for each command", "[way_back]") {
    const TempDir dir;
    REQUIRE(run(dir, {"manual", "--out", "man"}).exit_code == 0);
    for (const std::string name : {"vflbus", "vflbus-launch", "vflbus-run", "vflbus-completion"}) {
        const std::string page = slurp(dir / ("man/" + name + ".1"));
        CAPTURE(name);
        CHECK(page.starts_with(".TH "));
        CHECK(page.find(".SH SYNOPSIS") != std::string::npos);
    }
    CHECK(slurp(dir / "man/vflbus-run.1").find(".SS vflbus run compare") != std::string::npos);
}

TEST_CASE("--version says what a report of a problem should say", "[way_back]") {
    const TempDir dir;
    const Json said = json_of(run(dir, {"version", "--json"}));
    CHECK_FALSE(said["compiler"].get<std::string>().empty());
    for (const char* const library : {"libzmq", "libsodium", "sqlite"})
        CHECK(said["libraries"][library].get<std::string>().find('.') != std::string::npos);
    CHECK_FALSE(said["processor"].get<std::string>().empty());
    const std::string text = run(dir, {"--version"}).out;
    CHECK(text.find("libzmq " + said["libraries"]["libzmq"].get<std::string>()) !=
          std::string::npos);
}

TEST_CASE("the parts of a model are shown, the largest weight first", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id);
    const Json shown = json_of(run(dir, {"model", "show", "0011", "--json"}));
    REQUIRE(shown["parts"].size() == 3);
    CHECK(shown["run_id"] == first_id);
    const Json& master = shown["parts"][0];
    CHECK(master["party"] == "master");
    std::string largest;
    double most = -1;
    for (std::size_t j = 0; j < master["features"].size(); ++j)
        if (const double w = std::abs(master["weights"][0][j].get<double>()); w > most) {
            most = w;
            largest = master["features"][j].get<std::string>();
        }
    const Finished text = run(dir, {"model", "show", "0011", "--party", "master", "--limit", "2"});
    REQUIRE(text.exit_code == 0);
    INFO(text.out);
    const std::size_t head = text.out.find("FEATURE");
    REQUIRE(head != std::string::npos);
    const std::size_t line = text.out.find('\n', head) + 1;
    CHECK(text.out.substr(line, largest.size() + 1) == largest + " ");
    CHECK(text.out.find("(intercept)") != std::string::npos);
    CHECK(text.out.find("the first 2") != std::string::npos);
    CHECK(text.out.find("member-0") == std::string::npos);
    // a directory does as well, and what is no model is refused
    CHECK(run(dir, {"model", "show", "runs/" + first_id}).exit_code == 0);
    CHECK(run(dir, {"model", "show", "0011", "--party", "nobody"}).exit_code == 2);
    CHECK(run(dir, {"model", "show", "ffff"}).exit_code == 3);
}

TEST_CASE("a report of a training is one page, and the same for programs", "[way_back][report]") {
    const TempDir dir;
    make_example(dir);
    // names of columns come from tables, and must not become markup
    for (const char* const file : {"data/bank.csv", "data/bank_test.csv"})
        spit(dir / file, replaced(slurp(dir / file), ",income", ",<script>alert(1)</script>"));
    train_here(dir, first_id, {"--set", "run.experiment_label=<b>bold</b>"});
    const Finished written = run(dir, {"report", "0011"});
    INFO(written.err);
    REQUIRE(written.exit_code == 0);
    const std::string path = written.out.substr(0, written.out.find('\n'));
    CHECK(path.ends_with("runs/" + first_id + "/report.html"));
    const std::string page = slurp(path);
    for (const char* const said :
         {"<h2>Metrics</h2>", "<h2>Parties</h2>", "loss over the steps", "ROC, area", "KS ",
          "Precision and recall", "Lift", "Calibration", "At threshold 0.5000",
          "Worth of each party", "Features of master", "Time in each phase",
          "<h2>Configuration</h2>", "&lt;b&gt;bold&lt;/b&gt;"}) {
        INFO(said);
        CHECK(page.find(said) != std::string::npos);
    }
    for (const char* const bad : {"<script", "<b>", "http", "url(", " src=", "nan", "member-0:"}) {
        INFO(bad);
        CHECK(page.find(bad) == std::string::npos);
    }
    // the figures are those of the report, and its curves those of the stored rows
    const Json told = json_of(run(dir, {"report", "0011", "--json", "--threshold", "0.3"}));
    const Json report = Json::parse(slurp(dir / ("runs/" + first_id + "/report.json")));
    CHECK(told["schema"] == "vflbus-run-report");
    CHECK(told["schema_version"] == 1);
    CHECK(told["report"]["metrics"] == report["metrics"]);
    const Json& one = told["classes"][0];
    CHECK(one["auc"] == report["metrics"]["test"]["auc"]);
    CHECK(one["ks"].get<double>() ==
          Approx(report["metrics"]["test"]["ks"].get<double>()).epsilon(1e-12));
    CHECK(one["rows"] == report["rows"]["test"]);
    const Json& counts = one["confusion"];
    CHECK(counts["threshold"] == 0.3);
    CHECK(counts["true_positives"].get<int>() + counts["false_negatives"].get<int>() ==
          one["positives"].get<int>());
    // a party is worth what is lost without it; all of them are worth something here
    for (const Json& party : report["parties"])
        CHECK(party["metrics_without"]["auc"].get<double>() <
              report["metrics"]["test"]["auc"].get<double>());
    double seconds = 0;
    for (const auto& [phase, time] : report["phase_seconds"].items()) seconds += time.get<double>();
    CHECK(seconds == Approx(report["total_seconds"].get<double>()).margin(1e-6));
    const Finished csv = run(dir, {"report", "0011", "--csv"});
    REQUIRE(csv.exit_code == 0);
    CHECK(csv.out.starts_with("section,series,x,y\nmetrics train,loss,,"));
    CHECK(csv.out.find("\nroc,1,0,0\n") != std::string::npos);
}

TEST_CASE("a split network has a report and is shown", "[way_back][report]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id, {"--set", "model.name=mlp", "--set", "model.epochs=2"});
    const Finished listed = run(dir, {"runs", "--local"});
    CHECK(listed.out.find("logistic (mlp)") != std::string::npos);
    CHECK(run(dir, {"run", "show", "0011", "--local"}).out.find("logistic (mlp)") !=
          std::string::npos);
    for (const char* const threshold : {"0.3", "0.9"}) {
        const Json told = json_of(run(dir, {"report", "0011", "--json", "--threshold", threshold}));
        REQUIRE(told["classes"].size() == 1);
        CHECK(told["classes"][0]["confusion"]["threshold"] == std::stod(threshold));
        CHECK(told["classes"][0]["auc"] == told["report"]["metrics"]["test"]["auc"]);
    }
    const Finished page = run(dir, {"report", "0011", "--out", "-"});
    CHECK(page.out.find("Worth of each party, by auc") != std::string::npos);
    CHECK(page.out.find("no test rows") == std::string::npos);
    const Finished shown = run(dir, {"model", "show", "0011"});
    INFO(shown.out << shown.err);
    CHECK(shown.exit_code == 0);
    CHECK(shown.out.find("bottom network, mlp: widths ") != std::string::npos);
    CHECK(shown.out.find("top network, mlp: widths ") != std::string::npos);
    CHECK(shown.out.find("NORM") != std::string::npos);
    CHECK(shown.out.find("income") != std::string::npos);
    const Finished member = run(dir, {"report", "0011", "--party", "member-0"});
    CHECK(member.exit_code == 0);
    CHECK(member.err.find("names columns of member-0") != std::string::npos);
    CHECK(slurp(member.out.substr(0, member.out.find('\n'))).find("Features of member-0") !=
          std::string::npos);
}

TEST_CASE("a report of what has none is refused with a sentence", "[way_back][report]") {
    const TempDir dir;
    make_example(dir);
    train_here(dir, first_id);
    CHECK(run(dir, {"report", "ffff"}).exit_code == 5);
    CHECK(run(dir, {"report", "0011", "--threshold", "2"}).exit_code == 2);
    CHECK(run(dir, {"report", "0011", "--party", "nobody"}).exit_code == 2);
    CHECK(run(dir, {"report", "0011", "--csv", "--json"}).exit_code == 2);
    // a directory of an earlier version has no evaluated rows: the page says so, and is whole
    const std::string rows = dir / ("runs/" + first_id + "/master/evaluation.npy");
    const std::string whole = slurp(rows);
    fs::remove(rows);
    const Finished without = run(dir, {"report", "0011", "--out", "-"});
    CHECK(without.exit_code == 0);
    CHECK(without.out.find("the evaluated rows are not here") != std::string::npos);
    CHECK(without.out.find("<h2>Configuration</h2>") != std::string::npos);
    spit(rows, whole.substr(0, whole.size() - 3));
    const Finished broken = run(dir, {"report", "0011"});
    CHECK(broken.exit_code == 3);
    CHECK(broken.err.find("evaluation.npy: the file of evaluated rows is cut off") !=
          std::string::npos);
    spit(dir / ("runs/" + first_id + "/member-0/model.json"),
         R"({"features":[1],"weights":[[0.5]]})");
    const Finished damaged = run(dir, {"model", "show", "0011"});
    CHECK(damaged.exit_code == 3);
    CHECK(damaged.err.find("member-0/model.json is damaged: ") != std::string::npos);
    for (const char* const text : {R"({"features":)", "[1]", R"({"features":["a"]})"}) {
        INFO(text);
        spit(dir / ("runs/" + first_id + "/member-0/model.json"), text);
        const Finished torn = run(dir, {"model", "show", "0011"});
        CHECK(torn.exit_code == 3);
        CHECK(torn.err.find("member-0/model.json is damaged: ") != std::string::npos);
    }
    const std::string told = dir / ("runs/" + first_id + "/report.json");
    spit(told, slurp(told).substr(0, 100));
    const Finished cut = run(dir, {"report", "0011"});
    CHECK(cut.exit_code == 3);
    CHECK(cut.err.find("report.json cannot be read") != std::string::npos);
    fs::remove(dir / ("runs/" + first_id + "/report.json"));
    const Finished none = run(dir, {"report", "0011"});
    CHECK(none.exit_code == 2);
    CHECK(none.err.find("has no report here") != std::string::npos);
}

TEST_CASE("a report names what was predicted, and what its words mean", "[way_back]") {
    const TempDir dir;
    make_example(dir);
    const Finished finished = run(dir, {"launch", "--threads", "--config", "run.toml", "--run-id",
                                        first_id, "--set", "run.experiment_label=the first one"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    for (const char* const said :
         {"positive  class 1", "matched: ", "ks: ", "loss: ", "label     the first one"}) {
        INFO(said);
        CHECK(finished.out.find(said) != std::string::npos);
    }
    const Json report = Json::parse(slurp(dir / ("runs/" + first_id + "/report.json")));
    CHECK(report["positive_class"] == "1");
    CHECK(report["configuration"]["run.experiment_label"] == "the first one");
    // one definition of the loss: the same in the table, in `run show` and in the report
    const Json shown = json_of(run(dir, {"run", "show", "0011", "--local", "--json"}));
    CHECK(shown["progress"]["loss"] == report["metrics"]["train"]["loss"]);
    const std::string facts = run(dir, {"run", "show", "0011", "--local"}).out;
    CHECK(facts.find("completed after ") != std::string::npos);
    CHECK(facts.find("class 1\n") != std::string::npos);
    CHECK(facts.find(" common, ") != std::string::npos);
    // the page names every field
    const std::string page =
        slurp(std::string(std::getenv("VFLBUS_SOURCE")) + "/docs/operating.md");
    const std::size_t begin = page.find("## report.json");
    REQUIRE(begin != std::string::npos);
    const std::string fields = page.substr(begin, page.find("\n## ", begin + 1) - begin);
    for (const auto& [key, value] : report.items()) {
        INFO(key);
        CHECK(fields.find("`" + key + "`") != std::string::npos);
    }
}
