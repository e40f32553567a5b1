// Random SIGKILLs on trainings under `vflbus launch --local`: `./dev kills [N]`; with `--keys` over
// tcp with keys, sealing and policies; with `--alignment S` in the alignment alone, within S
// seconds of its beginning. Each training gets one kill per phase; victims take turns, so that all
// pairs come up. Whether the run was still going on, and in which phase, is looked up right before
// the kill, from what it has stored and logged.

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>
#include <thread>

#include "base/json.hpp"
#include "support.hpp"

using namespace proc;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

namespace {

enum class Phase : std::uint8_t { alignment, steps, commit, recovery, evaluation, saving, over };
constexpr std::array<std::string_view, 7> phase_names{"alignment",  "steps",  "commit", "recovery",
                                                      "evaluation", "saving", "over"};
constexpr std::size_t phases = 6;
const std::array<std::string, 4> victims{"broker", "master", "member-0", "member-1"};

struct Options {
    std::uint64_t kills = 20;
    double seconds = 10;  ///< of a training that nothing happens to
    std::uint64_t seed = 1;
    std::uint64_t commit_steps = 0;  ///< 0: about 1 s of steps
    Words sets;                      ///< KEY=VALUE of the training, as model.name=mlp
    std::string task = "logistic";
    bool keys = false;  ///< over tcp with keys and sealing, each member with a policy of its own
    std::uint64_t rows = 6000;
    bool alignment_alone = false;
    double alignment_seconds = .03;  ///< a kill in it comes within so many
};

/// One line per party of what is in its state directory: a commit above `step`.
bool commits_above(const fs::path& run, std::uint64_t step) {
    std::error_code ec;
    for (const char* const party : {"master", "member-0", "member-1"})
        for (const auto& file : fs::directory_iterator(run / party / "state", ec)) {
            const std::string name = file.path().filename();
            std::uint64_t of = 0;
            if (name.starts_with("commit-") &&
                std::from_chars(name.data() + 7, name.data() + name.size(), of).ec == std::errc{} &&
                of > step)
                return true;
        }
    return false;
}

bool has_model(const fs::path& run) {
    std::error_code ec;
    for (const char* const party : {"master", "member-0", "member-1"})
        if (fs::exists(run / party / "model.json", ec)) return true;
    return false;
}

Phase phase_of(const fs::path& run, std::uint64_t steps) {
    const Record now = record(run);
    if (now.phase == "finished") return Phase::over;
    if (has_model(run)) return Phase::saving;
    if (now.step == steps) return Phase::evaluation;
    const std::string log = slurp(run / "master" / "log");
    const auto last = [&](const char* text) {
        const std::size_t at = log.rfind(text);
        return at == std::string::npos ? 0 : at + 1;
    };
    const std::size_t begun = last("rows are used");
    const std::size_t opened = std::max(last("opened the run"), last("begins term"));
    if (begun < opened || begun == 0) return now.term > 1 ? Phase::recovery : Phase::alignment;
    return commits_above(run, now.step) ? Phase::commit : Phase::steps;
}

/// Steps that were done again after members' restarts, from the master's log.
std::uint64_t done_again(const std::string& log) {
    std::uint64_t most = 0;
    std::uint64_t at = 0;
    bool known = false;
    const auto number_after = [](std::string_view line, std::string_view text,
                                 std::uint64_t& value) {
        const std::size_t found = line.find(text);
        if (found == std::string_view::npos) return false;
        const char* const from = line.data() + found + text.size();
        return std::from_chars(from, line.data() + line.size(), value).ec == std::errc{};
    };
    for (std::size_t begin = 0; begin < log.size();) {
        const std::size_t end = std::min(log.find('\n', begin), log.size());
        const std::string_view line(log.data() + begin, end - begin);
        begin = end + 1;
        std::uint64_t to = 0;
        if (line.find("was restarted") != std::string_view::npos) {
            known = number_after(line, "at step ", at);
        } else if (number_after(line, "goes on from step ", to)) {
            if (known && at > to) most = std::max(most, at - to);
            known = false;
        } else if (line.find("opened the run") != std::string_view::npos && known) {
            known = line.find("term") == std::string_view::npos;
        }
    }
    return most;
}

struct Driver {
    explicit Driver(const Options& wanted) : options(wanted), random(wanted.seed) {
        const Finished made = proc::run(dir, {"data", "synth", "--task", options.task, "--out",
                                              dir / "data", "--rows", std::to_string(options.rows),
                                              "--members", "2", "--test-files", "--predict-files"});
        if (made.exit_code != 0) throw std::runtime_error(made.err);
        const TempDir other;
        make_example(other, options.task);
        spit(dir / "run.toml", slurp(other / "run.toml"));
        policy = make_policy(dir);
    }

    [[nodiscard]] Words launch(const std::string& runs) const {
        Words words{"launch",
                    "--local",
                    "--config",
                    "run.toml",
                    "--json",
                    "--run-id",
                    run_id,
                    "--set",
                    "output.runs_dir=" + dir / runs,
                    "--set",
                    "model.batch_size=256",
                    "--set",
                    "model.epochs=" + std::to_string(epochs),
                    "--set",
                    "model.report_train_metrics_iteration=0",
                    "--set",
                    "bus.commit_interval=0",
                    "--set",
                    "bus.commit_steps=" + std::to_string(options.commit_steps)};
        for (const std::string& set : options.sets) words.insert(words.end(), {"--set", set});
        if (options.keys)
            for (const char* const member : {"member-0", "member-1"})
                words.insert(words.end(),
                             {"--set", std::string("party.") + member + ".policy=" + policy});
        if (options.keys) words.insert(words.end(), {"--transport", "tcp"});
        return words;
    }

    Json undisturbed() {
        Process process(dir, launch("reference"));
        const Finished finished = process.wait(std::chrono::hours(1));
        if (finished.exit_code != 0) throw std::runtime_error(finished.err);
        auto report = Json::parse(finished.out);
        reference = models(fs::path(dir / "reference") / run_id);
        fs::remove_all(dir / "reference");
        return report;
    }

    /// So many epochs that an undisturbed training takes `seconds` on the machine as busy as it is.
    void calibrate() {
        const bool chosen = options.commit_steps != 0;
        if (!chosen) options.commit_steps = 1000;
        epochs = options.alignment_alone ? 1 : 100;
        for (;;) {
            const auto report = undisturbed();
            seconds = std::max(report["train_seconds"].get<double>(), 1e-3);
            steps = report["steps"].get<std::uint64_t>();
            if (seconds >= options.seconds || options.alignment_alone) break;
            // a short one says little about a long one
            const double factor = std::min(8.0, 1.1 * options.seconds / seconds);
            epochs = static_cast<std::uint64_t>(static_cast<double>(epochs) * factor) + 1;
            if (!chosen)
                options.commit_steps =
                    static_cast<std::uint64_t>(static_cast<double>(steps) / seconds) + 1;
        }
        std::fprintf(stderr, "undisturbed: %llu steps in %.1f s, a commit every %llu steps\n",
                     static_cast<unsigned long long>(steps), seconds,
                     static_cast<unsigned long long>(options.commit_steps));
    }

    [[nodiscard]] double uniform(double from, double to) {
        return from + (to - from) * static_cast<double>(random() >> 11U) * 0x1p-53;
    }

    /// Waits until the run is in `wanted`; false when it was over before.
    bool await_phase(Process& process, const fs::path& run, Phase wanted) {
        // (the master takes some 30 ms from there through the welcome to the first step)
        if (wanted == Phase::alignment)
            while (!process.reap() &&
                   slurp(run / "master" / "log").find("drives the run") == std::string::npos)
                std::this_thread::sleep_for(std::chrono::microseconds(200));
        if (wanted == Phase::steps || wanted == Phase::commit) {
            // somewhere in the middle, and after a commit that is newer than the last kill's
            const std::uint64_t from = record(run).step;
            const auto until = Clock::now() + Seconds(uniform(1, options.seconds / 4));
            while (Clock::now() < until && !process.reap())
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            while (record(run).step <= from && record(run).step != steps && !process.reap())
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        const auto until = Clock::now() + Seconds(seconds * 3 + 120);
        while (!process.reap() && Clock::now() < until) {
            const Phase now = phase_of(run, steps);
            if (now == wanted) return true;
            if (now > wanted && now >= Phase::evaluation) return false;
            std::this_thread::sleep_for(
                std::chrono::microseconds(wanted == Phase::steps ? 1000 : 50));
        }
        return false;
    }

    void one_run() {
        const std::string runs = "runs-" + std::to_string(++trainings);
        const fs::path run = fs::path(dir / runs) / run_id;
        const auto began = Clock::now();
        Process process(dir, launch(runs));
        std::uint64_t done = 0;
        std::string story;
        const std::array<Phase, phases> plan{Phase::alignment, Phase::steps,      Phase::commit,
                                             Phase::recovery,  Phase::evaluation, Phase::saving};
        for (const Phase wanted : plan) {
            if (killed + done >= options.kills) break;
            if (options.alignment_alone && wanted != Phase::alignment) break;
            const std::string& victim = victims[turn++ % victims.size()];
            if (!await_phase(process, run, wanted)) continue;
            if (wanted == Phase::alignment)
                std::this_thread::sleep_for(Seconds(uniform(0, options.alignment_seconds)));
            if (wanted == Phase::recovery) std::this_thread::sleep_for(Seconds(uniform(0, 0.05)));
            const pid_t pid = child_of(process, victim);
            const Phase phase = phase_of(run, steps);
            if (options.alignment_alone && phase != Phase::alignment) continue;
            if (pid == 0 || phase == Phase::over || ::kill(pid, SIGKILL) != 0) continue;
            ++done;
            ++counts[static_cast<std::size_t>(phase)][(turn - 1) % victims.size()];
            story += " " + victim + " (" +
                     std::string(phase_names[static_cast<std::size_t>(phase)]) + ")";
        }
        // other victims for the same phases in the next training
        if (!options.alignment_alone) ++turn;
        // (where the machine has no time for it, the undisturbed one took as long as it took)
        const Finished finished =
            process.wait(std::chrono::seconds(static_cast<long>(seconds * 5) + 300));
        const bool same = finished.exit_code == 0 && models(run) == reference;
        again = std::max(again, done_again(slurp(run / "master" / "log")));
        killed += done;
        if (same) good += done;
        std::fprintf(stderr, "training %llu: %s, %.1f s, killed%s\n",
                     static_cast<unsigned long long>(trainings),
                     same                      ? "the undisturbed model"
                     : finished.exit_code == 0 ? "ANOTHER MODEL"
                                               : "FAILED",
                     Seconds(Clock::now() - began).count(), done == 0 ? " nobody" : story.c_str());
        if (!same) {
            failed = true;
            std::fprintf(stderr, "exit code %d\n%s\nmaster's log:\n%s\n", finished.exit_code,
                         finished.err.c_str(), slurp(run / "master" / "log").c_str());
        }
        const std::string left = left_behind(dir);
        if (!left.empty()) {
            failed = true;
            std::fprintf(stderr, "left behind: %s\n", left.c_str());
        }
        fs::remove_all(dir / runs);
    }

    int run_all() {
        calibrate();
        std::uint64_t fruitless = 0;
        while (killed < options.kills && fruitless < 3) {
            const std::uint64_t before = killed;
            one_run();
            fruitless = killed == before ? fruitless + 1 : 0;
        }
        std::printf("%-10s", "phase");
        for (const std::string& victim : victims) std::printf("  %8s", victim.c_str());
        std::printf("\n");
        for (std::size_t phase = 0; phase < phases; ++phase) {
            std::printf("%-10s", std::string(phase_names[phase]).c_str());
            for (const std::uint64_t count : counts[phase])
                std::printf("  %8llu", static_cast<unsigned long long>(count));
            std::printf("\n");
        }
        std::printf(
            "steps done again after a member's restart: at most %llu, commit interval %llu\n",
            static_cast<unsigned long long>(again),
            static_cast<unsigned long long>(options.commit_steps));
        std::printf("kills: %llu, completed with the undisturbed model: %llu\n",
                    static_cast<unsigned long long>(killed), static_cast<unsigned long long>(good));
        const bool too_often = again > options.commit_steps;
        return failed || too_often || killed != good || killed < options.kills ? 1 : 0;
    }

    Options options;
    std::mt19937_64 random;
    TempDir dir;
    std::uint64_t epochs = 0;
    double seconds = 0;  ///< that the undisturbed training took
    std::string policy;  ///< of each member, with `keys`
    std::uint64_t steps = 0;
    std::map<std::string, std::string> reference;
    std::uint64_t trainings = 0;
    std::uint64_t turn = 0;
    std::uint64_t killed = 0;
    std::uint64_t good = 0;
    std::uint64_t again = 0;
    bool failed = false;
    std::array<std::array<std::uint64_t, 4>, phases + 1> counts{};
};

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const char* const value = i + 1 < argc ? argv[i + 1] : nullptr;
        if (word == "--seconds" && value != nullptr) {
            options.seconds = std::strtod(argv[++i], nullptr);
        } else if (word == "--keys") {
            options.keys = true;
        } else if (word == "--rows" && value != nullptr) {
            options.rows = std::strtoull(argv[++i], nullptr, 10);
        } else if (word == "--alignment" && value != nullptr) {
            options.alignment_alone = true;
            options.alignment_seconds = std::strtod(argv[++i], nullptr);
        } else if (word == "--seed" && value != nullptr) {
            options.seed = std::strtoull(argv[++i], nullptr, 10);
        } else if (word == "--task" && value != nullptr) {
            options.task = argv[++i];
        } else if (word == "--set" && value != nullptr) {
            options.sets.emplace_back(argv[++i]);
        } else if (const auto kills = std::strtoull(word.c_str(), nullptr, 10); kills > 0) {
            options.kills = kills;
        } else {
            std::fprintf(
                stderr,
                "kills [N] [--seconds S] [--seed X] [--task TASK] [--rows N] [--set KEY=VALUE]... "
                "[--keys] [--alignment S]\n");
            return 2;
        }
    }
    if (!(options.seconds >= 1)) options.seconds = 1;
    try {
        return Driver(options).run_all();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "kills: %s\n", e.what());
        return 1;
    }
}
