// Many real runs, one after the other, on the same broker and members: `./dev soak [N]`. What these
// processes hold is looked at after every run; it may not grow after the first 100 (with fewer than
// 200 runs, after the first half).

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <thread>

#include "support.hpp"

using namespace proc;

namespace {

/// What a process holds.
struct Held {
    std::uint64_t rss_kib = 0;
    std::uint64_t descriptors = 0;
    std::uint64_t threads = 0;
};

Held held_by(pid_t pid) {
    const fs::path place = fs::path("/proc") / std::to_string(pid);
    Held held;
    std::error_code ec;
    for (fs::directory_iterator at(place / "fd", ec), end; !ec && at != end; at.increment(ec))
        ++held.descriptors;
    for (fs::directory_iterator at(place / "task", ec), end; !ec && at != end; at.increment(ec))
        ++held.threads;
    std::ifstream statm(place / "statm");
    std::uint64_t total = 0;
    std::uint64_t resident = 0;
    statm >> total >> resident;
    held.rss_kib = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / 1024;
    return held;
}

Held least(const Held& one, const Held& other) {
    return {std::min(one.rss_kib, other.rss_kib), std::min(one.descriptors, other.descriptors),
            std::min(one.threads, other.threads)};
}

constexpr std::array<const char*, 3> names{"broker", "member-0", "member-1"};
constexpr std::size_t window = 10;            // runs whose least counts: ends take a moment
constexpr std::uint64_t first_runs = 100;     // when caches and arenas may fill
constexpr std::uint64_t workers = 2;          // [bus] workers: each begins when it is first needed
constexpr std::uint64_t rss_slack_kib = 512;  // what an allocator may still do after them
constexpr std::uint64_t short_slack_kib = 4096;

struct Soak {
    explicit Soak(std::uint64_t runs_wanted)
        : runs(runs_wanted), base(std::min(first_runs, std::max<std::uint64_t>(runs / 2, 1))) {
        make_example(dir);
        processes[0] = std::make_unique<Process>(dir, Words{"broker", "--bind", address});
        if (!processes[0]->await_output("ipc://")) throw std::runtime_error(processes[0]->err());
        for (const std::size_t rank : {0U, 1U})
            processes[rank + 1] = std::make_unique<Process>(
                dir, party({"actor", "--role", "member", "--rank", std::to_string(rank)}));
    }

    [[nodiscard]] Words party(Words words) const {
        for (const std::string& word :
             {std::string("--broker"), address, std::string("--config"), std::string("run.toml"),
              std::string("--set"), "output.runs_dir=" + dir / "runs", std::string("--set"),
              std::string("model.epochs=1"), std::string("--set"),
              "bus.workers=" + std::to_string(workers), std::string("--set"),
              std::string("bus.commit_steps=2")})
            words.push_back(word);
        return words;
    }

    void one_run(std::uint64_t number) {
        std::array<char, 40> id{};
        std::snprintf(id.data(), id.size(), "%032llx", static_cast<unsigned long long>(number));
        const Finished finished =
            proc::run(dir, party({"actor", "--role", "master", "--run-id", id.data()}));
        if (finished.exit_code != 0)
            throw std::runtime_error("run " + std::to_string(number) + " failed: " + finished.err);
        const fs::path place = fs::path(dir / "runs") / id.data();
        const auto found = models(place);
        if (found.size() != 3)
            throw std::runtime_error("run " + std::to_string(number) + " has no model");
        // files of a run name it
        std::string text;
        for (const auto& [party, part] : found)
            text += replaced(part, id.data(), std::string(32, '0'));
        if (reference.empty()) reference = text;
        if (text != reference)
            throw std::runtime_error("run " + std::to_string(number) + " has another model");
        // members remove what they stored once they have heard of the end
        const auto until = std::chrono::steady_clock::now() + patience;
        while ((fs::exists(place / "member-0" / "state") ||
                fs::exists(place / "member-1" / "state")) &&
               std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        fs::remove_all(place);
        for (const char* const kind : {"out-", "err-"})  // of the master
            for (const auto& entry : fs::directory_iterator(dir.path())) {
                const std::string name = entry.path().filename();
                if (name.starts_with(kind) && std::stoul(name.substr(4)) >= 4)
                    fs::remove(entry.path());
            }
    }

    void look(std::uint64_t number) {
        std::array<Held, names.size()> now;
        for (std::size_t p = 0; p < names.size(); ++p) {
            if (processes[p]->reap())
                throw std::runtime_error(std::string(names[p]) +
                                         " has ended: " + processes[p]->err());
            now[p] = held_by(processes[p]->pid());
        }
        last.push_back(now);
        if (last.size() > window) last.erase(last.begin());
        const std::uint64_t every = runs >= first_runs * 2 ? first_runs : base;
        if (number % every == 0 || number == runs || number == base) row(number);
        if (number == base) at_base = lowest();
    }

    [[nodiscard]] std::array<Held, names.size()> lowest() const {
        auto low = last.front();
        for (const auto& each : last)
            for (std::size_t p = 0; p < names.size(); ++p) low[p] = least(low[p], each[p]);
        return low;
    }

    void row(std::uint64_t number) const {
        const auto low = lowest();
        std::printf("%6llu", static_cast<unsigned long long>(number));
        for (const Held& held : low)
            std::printf("   %7llu %4llu %4llu", static_cast<unsigned long long>(held.rss_kib),
                        static_cast<unsigned long long>(held.descriptors),
                        static_cast<unsigned long long>(held.threads));
        std::printf("\n");
        std::fflush(stdout);
    }

    int all() {
        std::printf("%6s", "runs");
        for (const char* const name : names) std::printf("   %-17s", name);
        std::printf("\n%6s", "");
        for (std::size_t p = 0; p < names.size(); ++p)
            std::printf("   %7s %4s %4s", "RSS KiB", "fds", "thr");
        std::printf("\n");
        for (std::uint64_t number = 1; number <= runs; ++number) {
            one_run(number);
            look(number);
        }
        const auto end = lowest();
        const std::uint64_t slack = runs >= 2 * first_runs ? rss_slack_kib : short_slack_kib;
        bool grown = false;
        for (std::size_t p = 0; p < names.size(); ++p) {
            const auto check = [&](const char* what, std::uint64_t then, std::uint64_t now,
                                   std::uint64_t allowed) {
                if (now <= then + allowed) return;
                grown = true;
                std::printf("%s holds more %s than after %llu runs: %llu instead of %llu\n",
                            names[p], what, static_cast<unsigned long long>(base),
                            static_cast<unsigned long long>(now),
                            static_cast<unsigned long long>(then));
            };
            check("memory (KiB)", at_base[p].rss_kib, end[p].rss_kib, slack);
            check("descriptors", at_base[p].descriptors, end[p].descriptors, 0);
            check("threads", at_base[p].threads, end[p].threads, workers);
        }
        if (!grown)
            std::printf(
                "%llu runs, the same model in each; nothing has grown after the first %llu\n",
                static_cast<unsigned long long>(runs), static_cast<unsigned long long>(base));
        return grown ? 1 : 0;
    }

    std::uint64_t runs;
    std::uint64_t base;
    TempDir dir;
    std::string address = "ipc://" + dir / "bus";
    std::array<std::unique_ptr<Process>, names.size()> processes;
    std::string reference;
    std::vector<std::array<Held, names.size()>> last;
    std::array<Held, names.size()> at_base{};
};

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t runs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000;
    if (runs < 2 || argc > 2) {
        std::fprintf(stderr, "soak [N], at least 2 runs\n");
        return 2;
    }
    try {
        return Soak(runs).all();
    } catch (const std::exception& e) {
        std::printf("soak: %s\n", e.what());
        return 1;
    }
}
