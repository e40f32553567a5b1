// Trainings on the same three members: one after another, then all at once; with commits, without.

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "measure.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

namespace fs = std::filesystem;

constexpr int members = 3;
const std::string participants[] = {"master", "member-0", "member-1", "member-2"};

std::string slurp(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw std::runtime_error("there is no " + file.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

double cpu_of_ended_children() {
    rusage used{};
    ::getrusage(RUSAGE_CHILDREN, &used);
    const auto of = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return of(used.ru_utime) + of(used.ru_stime);
}

/// Tables of a bank and three members, a configuration, and the trainings on them.
class Play {
  public:
    Play(int runs, int rows, int epochs) : runs_(runs) {
        Child synth(vflbus_,
                    {"data", "synth", "--task", "logistic", "--out", dir_ + "/data", "--members",
                     std::to_string(members), "--rows", std::to_string(rows), "--quiet"});
        if (synth.wait() != 0) throw std::runtime_error("vflbus data synth has failed");
        std::vector<std::string> tables;
        for (const auto& entry : fs::directory_iterator(dir_ + "/data"))
            if (entry.path().extension() == ".csv" && entry.path().stem() != "bank")
                tables.push_back(entry.path().string());
        std::sort(tables.begin(), tables.end());
        tables.insert(tables.begin(), dir_ + "/data/bank.csv");
        std::string own = "[bus]\nrendezvous_timeout = 120\n";
        for (std::size_t i = 0; i < std::size(participants); ++i)
            own += "[party." + participants[i] + "]\nid = \"customer_id\"\ndata = \"" +
                   tables.at(i) + "\"\n" + (i == 0 ? "label = \"default\"\n" : "");
        std::ofstream(dir_ + "/members.toml") << own;
        std::ofstream(dir_ + "/run.toml")
            << "[run]\nseed = 1\nworld_size = " << members << "\n[model]\ntask = \"logistic\"\n"
            << "epochs = " << epochs << "\nbatch_size = 128\nlearning_rate = 0.1\n"
            << own;
    }

    struct Outcome {
        double seconds = 0;
        double cpu_seconds = 0;           ///< of all processes
        std::vector<std::string> models;  ///< all parts, by run and party
    };
    Outcome train(const std::string& name, bool together,
                  const std::vector<std::string>& settings = {}) {
        const std::string address = "ipc://" + dir_ + "/" + name;
        const std::string runs_dir = dir_ + "/runs-" + name;
        const std::vector<std::string> common{"--broker", address, "--quiet", "--set",
                                              "output.runs_dir=" + runs_dir};
        std::vector<std::unique_ptr<Child>> servers;
        servers.push_back(std::make_unique<Child>(
            vflbus_, std::vector<std::string>{"broker", "--bind", address, "--quiet"}));
        servers.back()->hear();
        for (int rank = 0; rank < members; ++rank) {
            std::vector<std::string> words{"actor",
                                           "--role",
                                           "member",
                                           "--rank",
                                           std::to_string(rank),
                                           "--config",
                                           dir_ + "/members.toml"};
            words.insert(words.end(), common.begin(), common.end());
            servers.push_back(std::make_unique<Child>(vflbus_, words));
        }
        const double begin = now_seconds();
        double cpu = -cpu_of_ended_children();
        std::vector<std::unique_ptr<Child>> masters;
        const std::string errors = dir_ + "/errors";
        for (int i = 0; i < runs_; ++i) {
            std::vector<std::string> words{
                "actor",
                "--role",
                "master",
                "--name",
                "master-" + std::to_string(i),
                "--config",
                dir_ + "/run.toml",
                "--run-id",
                id_of(i),
                "--set",
                "run.seed=" + std::to_string(i + 1),
                "--set",
                "model.learning_rate=" + std::to_string(0.05 + 0.01 * i)};
            words.insert(words.end(), common.begin(), common.end());
            for (const std::string& setting : settings) {
                words.emplace_back("--set");
                words.push_back(setting);
            }
            masters.push_back(std::make_unique<Child>(vflbus_, words, errors));
            if (!together) expect_good(*masters.back(), errors);
        }
        if (together)
            for (const auto& master : masters) expect_good(*master, errors);
        Outcome outcome;
        outcome.seconds = now_seconds() - begin;
        cpu += cpu_of_ended_children();
        for (const auto& server : servers) cpu += server->cpu_seconds();
        outcome.cpu_seconds = cpu;
        for (int i = 0; i < runs_; ++i)
            for (const std::string& party : participants)
                outcome.models.push_back(
                    slurp(fs::path(runs_dir) / id_of(i) / party / "model.json"));
        return outcome;
    }

  private:
    static std::string id_of(int i) {
        const std::string digits = std::to_string(i + 1);
        return std::string(32 - digits.size(), '0') + digits;
    }
    static void expect_good(Child& master, const std::string& errors) {
        if (const int code = master.wait(); code != 0)
            throw std::runtime_error("a training ended with exit code " + std::to_string(code) +
                                     "; all have said:\n" + slurp(errors));
    }

    ScratchDirectory scratch_;
    std::string dir_ = scratch_.path();
    std::string vflbus_ = neighbor("../cli/vflbus");
    int runs_;
};

}  // namespace

void measure_commits(Report& report, const Settings& settings) {
    report.section("Commits", "a training with a commit every second, against one without any");
    Play play(1, settings.quick ? 700 : 10'000, settings.quick ? 2 : 400);
    std::vector<double> with;
    std::vector<double> without;
    std::size_t same = 0;
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 1 : 7;
    for (int round = 0; round < rounds; ++round) {
        const std::string n = std::to_string(round);
        const Play::Outcome often =
            play.train("with" + n, false, {"bus.commit_interval=1", "bus.commit_steps=0"});
        const Play::Outcome never =
            play.train("without" + n, false, {"bus.commit_interval=0", "bus.commit_steps=0"});
        with.push_back(often.seconds);
        without.push_back(never.seconds);
        same += often.models == never.models ? 1 : 0;
    }
    report.add(single("models that are the same", "share", static_cast<double>(same) / rounds,
                      Bar{Bar::Kind::at_least, 1}));
    report.add(paired("time of the training", "s", with, without, Bar{Bar::Kind::at_most, 1.03}));
}

void measure_runs(Report& report, const Settings& settings) {
    const int runs = settings.quick ? 3 : 16;
    report.section("Trainings at once on the same members",
                   std::to_string(runs) +
                       " trainings, each with a seed and learning rate of its "
                       "own, on " +
                       std::to_string(members) + " members: all together against one by one");
    Play play(runs, settings.quick ? 700 : 10'000, settings.quick ? 2 : 40);
    const Play::Outcome alone = play.train("alone", false);
    const Play::Outcome together = play.train("together", true);
    std::size_t same = 0;
    for (std::size_t i = 0; i < alone.models.size(); ++i)
        same += alone.models[i] == together.models[i] ? 1 : 0;
    report.add(single("parts of models that are as alone", "share",
                      static_cast<double>(same) / static_cast<double>(alone.models.size()),
                      Bar{Bar::Kind::at_least, 1}));
    report.add(paired("CPU time of all processes", "s", {together.cpu_seconds}, {alone.cpu_seconds},
                      Bar{Bar::Kind::at_most, 1.2}));
    report.add(
        paired("time until the last is completed", "s", {together.seconds}, {alone.seconds}));
}

}  // namespace vflbus::bench
