// vflbus-sim: seeds of the simulation, one with its story or many.

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bugs.hpp"
#include "swarm.hpp"

using namespace vflbus;
using namespace vflbus::sim;

namespace {

constexpr const char* help = R"(vflbus-sim --seed S [--story | --frames] [--bug NAME]
vflbus-sim --seeds N [--from F] [--jobs J] [--bug NAME]
vflbus-sim --bugs [--seeds N]
vflbus-sim --list-bugs

  --seed S      one seed; --story tells what happened in it, --frames all that was sent as well
  --seeds N     N seeds, from F (1) on, in J processes (1); prints how often each kind of fault and
                each way of recovery occurred; from 2000 seeds on one that never did is a failure
  --bug NAME    with this bug planted in the product
  --bugs        each planted bug, until a seed finds it: the one that is known to find it, then N
                (2000) seeds at most

Exit codes: 0 all is well, 1 a seed failed, or a bug was not found, 2 wrong arguments.
)";

/// Of a violation that a worker process reports.
constexpr std::size_t violation_bytes_max = 1000;
/// So many failed seeds end a worker process of a batch.
constexpr std::uint64_t failures_told_max = 10;

struct Arguments {
    std::optional<std::uint64_t> seed;
    std::optional<std::uint64_t> seeds;
    std::uint64_t from = 1;
    std::uint64_t jobs = 1;
    bool story = false;
    bool frames = false;
    bool bugs = false;
    bool list = false;
    const Bug* bug = nullptr;
};

[[noreturn]] void wrong(const std::string& what) {
    std::fprintf(stderr, "vflbus-sim: %s\n%s", what.c_str(), help);
    std::exit(2);
}

Arguments parse(int argc, char** argv) {
    Arguments out;
    for (int i = 1; i < argc; ++i) {
        const std::string flag = argv[i];
        const auto value = [&]() -> std::string {
            if (++i == argc) wrong(flag + " needs a value");
            return argv[i];
        };
        const auto number = [&] {
            const std::string text = value();
            char* end = nullptr;
            const std::uint64_t n = std::strtoull(text.c_str(), &end, 10);
            if (text.empty() || *end != 0) wrong(flag + " needs a number, not " + text);
            return n;
        };
        if (flag == "--seed") {
            out.seed = number();
        } else if (flag == "--seeds") {
            out.seeds = number();
        } else if (flag == "--from") {
            out.from = number();
        } else if (flag == "--jobs") {
            out.jobs = std::max<std::uint64_t>(1, number());
        } else if (flag == "--story") {
            out.story = true;
        } else if (flag == "--frames") {
            out.story = out.frames = true;
        } else if (flag == "--bugs") {
            out.bugs = true;
        } else if (flag == "--list-bugs") {
            out.list = true;
        } else if (flag == "--bug") {
            const std::string name = value();
            out.bug = find_bug(name);
            if (out.bug == nullptr) wrong("there is no bug " + name + "; see --list-bugs");
        } else if (flag == "--help") {
            std::printf("%s", help);
            std::exit(0);
        } else {
            wrong("there is no flag " + flag);
        }
    }
    if ((out.bug != nullptr || out.bugs) && !bugs_built)
        wrong("no bugs are planted in this binary: use vflbus-sim-planted");
    if (!out.seed && !out.seeds && !out.bugs && !out.list) wrong("say --seed or --seeds");
    return out;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string replay_of(std::uint64_t seed, const Arguments& arguments) {
    std::string command = std::string(bugs_built ? "vflbus-sim-planted" : "vflbus-sim") +
                          " --seed " + std::to_string(seed) + " --story";
    if (arguments.bug != nullptr) command += " --bug " + std::string(arguments.bug->name);
    return command;
}

void tell_failure(const SeedResult& result, const Arguments& arguments, std::size_t lines) {
    std::string story = result.story;
    std::size_t begin = story.size();
    for (std::size_t n = 0; n <= lines && begin != std::string::npos && begin > 0; ++n)
        begin = story.rfind('\n', begin - 1);
    if (begin != std::string::npos && begin > 0) story = "...\n" + story.substr(begin + 1);
    std::printf("%s\nseed %" PRIu64 " FAILED: %s\nreplay it with\n  build/tests/sim/%s\n",
                story.c_str(), result.seed, result.violation.c_str(),
                replay_of(result.seed, arguments).c_str());
}

int one_seed(const Arguments& arguments) {
    const SeedResult result =
        simulate(*arguments.seed, arguments.frames ? Story::with_frames : Story::told);
    if (arguments.story) std::printf("%s", result.story.c_str());
    if (!result.violation.empty()) tell_failure(result, arguments, arguments.story ? 0 : 40);
    std::printf("seed %" PRIu64 ": %s, trace %016" PRIx64 ", %" PRIu64 " steps, %" PRIu64
                " faults, %" PRIu64 " events, %.1f simulated s\n",
                result.seed, result.violation.empty() ? "well" : "FAILED", result.trace,
                result.steps, result.faults, result.events, result.seconds);
    return result.violation.empty() ? 0 : 1;
}

// -- many seeds --------------------------------------------------------------------------

struct Failed {
    std::uint64_t seed = 0;
    std::string violation;
};

struct Sums {
    std::uint64_t seeds = 0;
    std::uint64_t steps = 0;
    std::uint64_t faults = 0;
    std::uint64_t events = 0;
    std::uint64_t fewest_steps = UINT64_MAX;
    std::uint64_t fewest_faults = UINT64_MAX;
    double seconds = 0;
    std::map<std::string, std::uint64_t, std::less<>> coverage;
    std::vector<Failed> failed;
};

/// What a process has to say, line by line.
void report(int fd, const std::string& line) {
    std::size_t at = 0;
    while (at < line.size()) {
        const ssize_t n = ::write(fd, line.data() + at, line.size() - at);
        if (n <= 0) std::_Exit(3);
        at += static_cast<std::size_t>(n);
    }
}

/// Every `jobs`-th seed from `first` on; ends when `failures_max` of them have failed.
[[noreturn]] void work(int fd, std::uint64_t first, std::uint64_t end, std::uint64_t jobs,
                       std::uint64_t failures_max) {
    Sums sums;
    for (std::uint64_t seed = first; seed < end; seed += jobs) {
        report(fd, "now " + std::to_string(seed) + "\n");
        const SeedResult result = simulate(seed, Story::none);
        ++sums.seeds;
        sums.steps += result.steps;
        sums.fewest_steps = std::min(sums.fewest_steps, result.steps);
        sums.fewest_faults = std::min(sums.fewest_faults, result.faults);
        sums.faults += result.faults;
        sums.events += result.events;
        sums.seconds += result.seconds;
        for (const auto& [name, n] : result.coverage) sums.coverage[name] += n;
        if (result.violation.empty()) continue;
        report(fd, "failed " + std::to_string(seed) + " " +
                       result.violation.substr(0, violation_bytes_max) + "\n");
        if (--failures_max == 0) break;
    }
    std::string text = "sums " + std::to_string(sums.seeds) + " " + std::to_string(sums.steps) +
                       " " + std::to_string(sums.faults) + " " + std::to_string(sums.events) + " " +
                       std::to_string(sums.seconds) + " " + std::to_string(sums.fewest_steps) +
                       " " + std::to_string(sums.fewest_faults) + "\n";
    for (const auto& [name, n] : sums.coverage) text += "+" + std::to_string(n) + " " + name + "\n";
    report(fd, text + "end\n");
    std::_Exit(0);
}

struct Worker {
    pid_t pid = 0;
    FILE* in = nullptr;
    std::uint64_t now = 0;  ///< the seed that it began last
    std::vector<std::string> lines;
    std::thread reader;  ///< all are read at once: a full pipe would hold its worker up
};

/// How far a batch is, as a line on standard error every 15 seconds.
class Pace {
  public:
    explicit Pace(std::uint64_t seeds) : seeds_(seeds) {}

    void begun() {
        const std::uint64_t n = ++begun_;
        const double took = seconds_since(start_);
        const std::lock_guard guard(mutex_);
        if (took - told_ < 15) return;
        told_ = took;
        std::fprintf(
            stderr,
            "%" PRIu64 " of %" PRIu64 " seeds in %.0f s, %.0f s to go, %" PRIu64 " failed\n", n,
            seeds_, took, took / static_cast<double>(n) * static_cast<double>(seeds_ - n),
            failed_.load());
    }
    void failed(const char* seed_and_violation) {
        ++failed_;
        std::fprintf(stderr, "failed: seed %s\n", seed_and_violation);
    }

  private:
    std::uint64_t seeds_;
    std::atomic<std::uint64_t> begun_{0};
    std::atomic<std::uint64_t> failed_{0};
    std::mutex mutex_;
    double told_ = 0;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Starts the processes of a batch.
std::vector<Worker> start_workers(std::uint64_t from, std::uint64_t count, std::uint64_t jobs,
                                  std::uint64_t failures_max) {
    std::vector<Worker> workers;
    std::fflush(stdout);
    for (std::uint64_t job = 0; job < std::min(jobs, std::max<std::uint64_t>(count, 1)); ++job) {
        int fds[2];
        if (::pipe(fds) != 0) std::exit(3);
        const pid_t pid = ::fork();
        if (pid < 0) std::exit(3);
        if (pid == 0) {
            ::close(fds[0]);
            work(fds[1], from + job, from + count, jobs, failures_max);
        }
        ::close(fds[1]);
        workers.push_back({pid, ::fdopen(fds[0], "r"), 0, {}, {}});
    }
    return workers;
}

/// Adds one line of a worker's report.
void add_line(Sums& sums, const std::string& text) {
    const char* const line = text.c_str();
    std::uint64_t n = 0;
    int length = 0;
    if (std::sscanf(line, "failed %" SCNu64 " %n", &n, &length) == 1)
        sums.failed.push_back({n, line + length});
    std::uint64_t a = 0, b = 0, c = 0, steps = 0, faults = 0;
    double seconds = 0;
    if (std::sscanf(line,
                    "sums %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %lf %" SCNu64 " %" SCNu64,
                    &n, &a, &b, &c, &seconds, &steps, &faults) == 7) {
        sums.fewest_steps = std::min(sums.fewest_steps, steps);
        sums.fewest_faults = std::min(sums.fewest_faults, faults);
        sums.seeds += n;
        sums.steps += a;
        sums.faults += b;
        sums.events += c;
        sums.seconds += seconds;
    }
    if (line[0] == '+') {
        char* name = nullptr;
        n = std::strtoull(line + 1, &name, 10);
        sums.coverage[name + 1] += n;
    }
}

/// Reads all lines of the workers. A worker that dies has failed at its last seed. Who looks for
/// one failure alone (`failures_max` is 1) has it with the first: the other workers are ended.
Sums run_jobs(std::uint64_t from, std::uint64_t count, std::uint64_t jobs,
              std::uint64_t failures_max, bool tell) {
    std::vector<Worker> workers = start_workers(from, count, jobs, failures_max);
    Pace pace(count);
    std::atomic<bool> found{false};
    const auto end_others = [&](const Worker& but_for) {
        if (failures_max != 1 || found.exchange(true)) return;
        for (const Worker& worker : workers)
            if (&worker != &but_for) ::kill(worker.pid, SIGKILL);
    };
    for (Worker& worker : workers)  // after the last fork
        worker.reader = std::thread([&worker, &pace, &end_others, tell] {
            char line[violation_bytes_max + 64];
            while (std::fgets(line, sizeof line, worker.in) != nullptr) {
                line[std::strcspn(line, "\n")] = 0;
                if (std::sscanf(line, "now %" SCNu64, &worker.now) == 1) {
                    if (tell) pace.begun();
                    continue;
                }
                worker.lines.emplace_back(line);
                if (std::strncmp(line, "failed ", 7) != 0) continue;
                if (tell) pace.failed(line + 7);
                end_others(worker);
            }
            if (worker.lines.empty() || worker.lines.back() != "end") end_others(worker);
        });
    Sums sums;
    for (Worker& worker : workers) {
        worker.reader.join();
        for (const std::string& line : worker.lines) add_line(sums, line);
        std::fclose(worker.in);
        int status = 0;
        ::waitpid(worker.pid, &status, 0);
        if (!worker.lines.empty() && worker.lines.back() == "end") continue;
        if (found && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) continue;
        std::printf("the process that ran seed %" PRIu64 " died (status %d)\n", worker.now, status);
        sums.failed.push_back({worker.now, "its process died"});
    }
    std::ranges::sort(sums.failed, {}, &Failed::seed);
    return sums;
}

void print_sums(const Sums& sums, double took, std::uint64_t jobs) {
    for (const auto& [name, n] : sums.coverage) std::printf("%12" PRIu64 "  %s\n", n, name.c_str());
    const double seeds = static_cast<double>(std::max<std::uint64_t>(sums.seeds, 1));
    std::printf("%" PRIu64 " seeds in %.1f s (%.1f ms each in %" PRIu64
                " jobs); a seed: %.0f steps (%" PRIu64 " at least), %.1f faults (%" PRIu64
                "), %.0f events, %.0f simulated s\n",
                sums.seeds, took, 1000 * took / seeds, jobs,
                static_cast<double>(sums.steps) / seeds, sums.fewest_steps,
                static_cast<double>(sums.faults) / seeds, sums.fewest_faults,
                static_cast<double>(sums.events) / seeds, sums.seconds / seeds);
    const auto count = [&](const char* name) {
        const auto found = sums.coverage.find(name);
        return found == sums.coverage.end() ? 0 : found->second;
    };
    const std::uint64_t hostile = count(hostile_seeds);
    std::printf("%" PRIu64 " seeds (%.0f %%) with hostile nodes, %" PRIu64
                " of them with two; %" PRIu64 " lies and %" PRIu64 " changed frames\n",
                hostile, 100 * static_cast<double>(hostile) / seeds, count(hostile_pairs),
                count(hostile_lies), count(hostile_changes));
}

/// Said first, and told in a process of its own: it may die there, or never end.
void tell_first_failure(const Sums& sums, const Arguments& arguments) {
    for (const Failed& failed : sums.failed)
        std::printf("seed %" PRIu64 ": %s\n", failed.seed, failed.violation.c_str());
    const std::uint64_t seed = sums.failed.front().seed;
    std::printf("%zu failed, the first is seed %" PRIu64 "; replay it with\n  build/tests/sim/%s\n",
                sums.failed.size(), seed, replay_of(seed, arguments).c_str());
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid == 0) {
        tell_failure(simulate(seed, Story::told), arguments, 60);
        std::fflush(stdout);
        std::_Exit(0);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
}

int many_seeds(const Arguments& arguments) {
    const auto begin = std::chrono::steady_clock::now();
    const std::uint64_t count = *arguments.seeds;
    Sums sums = run_jobs(arguments.from, count, arguments.jobs, failures_told_max, true);
    std::size_t missing = 0;
    for (const std::string& name : expected_coverage())
        missing += sums.coverage.emplace(name, 0).first->second == 0 ? 1 : 0;
    print_sums(sums, seconds_since(begin), arguments.jobs);
    if (!sums.failed.empty()) {
        tell_first_failure(sums, arguments);
        return 1;
    }
    if (missing > 0 && count >= 2000) {
        std::printf("%zu of what should occur never did\n", missing);
        return 1;
    }
    return 0;
}

/// Each bug by itself: `bug, a seed that finds it`. A bug that its own seed no longer finds is
/// looked for in all of them, which costs a hundred times as much: its row in bugs.cpp is old.
int all_bugs(const Arguments& arguments) {
    const std::uint64_t count = arguments.seeds.value_or(2000);
    std::size_t hidden = 0;
    std::size_t tried = 0;
    std::string old_rows;
    for (const Bug& bug : bugs()) {
        const auto begin = std::chrono::steady_clock::now();
        plant(&bug);
        Sums sums = run_jobs(bug.seed, 1, 1, 1, false);
        const bool old = sums.failed.empty();
        if (old) sums = run_jobs(arguments.from, count, arguments.jobs, 1, false);
        const bool found = !sums.failed.empty();
        if (old && found)
            old_rows += "  " + std::string(bug.name) + ": seed " + std::to_string(bug.seed) +
                        " does not find it any more, seed " +
                        std::to_string(sums.failed.front().seed) + " does\n";
        std::printf(
            "%-28s %-10s %5.1f s  %s\n", std::string(bug.name).c_str(),
            found ? ("seed " + std::to_string(sums.failed.front().seed)).c_str() : "NOT FOUND",
            seconds_since(begin), std::string(bug.sentence).c_str());
        std::fflush(stdout);
        hidden += found ? 0 : 1;
        ++tried;
    }
    if (!old_rows.empty())
        std::printf("rows of tests/sim/bugs.cpp that are old:\n%s", old_rows.c_str());
    std::printf("%zu bugs tried, %zu not found\n", tried, hidden);
    return hidden == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    // bodies come and go a thousand times a seed: their pages are not given back each time
    ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
    const Arguments arguments = parse(argc, argv);
    if (arguments.list) {
        for (const Bug& bug : bugs())
            std::printf("%-28s %s\n", std::string(bug.name).c_str(),
                        std::string(bug.sentence).c_str());
        return 0;
    }
    prepare();  // without a bug: the models that all others are compared with
    if (arguments.bugs) return all_bugs(arguments);
    plant(arguments.bug);
    return arguments.seed ? one_seed(arguments) : many_seeds(arguments);
}
