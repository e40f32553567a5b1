// vflbus-bench: what is measured, against what. One function per section in measure.hpp; what the
// two sides of a ratio have in common is in peer.hpp and at the top of step.cpp.

#include <sched.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "measure.hpp"
#include "observe/log.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace {

using namespace vflbus::bench;

constexpr const char* usage =
    "usage: vflbus-bench [--quick] [--realtime] [--rounds N] [--only SECTION]... [--json FILE]\n"
    "\n"
    "Prints each figure as the ratio of interleaved rounds: ours, reference, ours, reference, ...\n"
    "with the median, the lowest and the highest ratio. Absolute figures are medians.\n"
    "\n"
    "  --quick         shows that everything runs; figures mean little\n"
    "  --realtime      all processes before everything else on this machine (root), so that what\n"
    "                  others do here does not count; keep it short\n"
    "  --rounds N      pairs of rounds per figure; in section apps, runs one after another\n"
    "  --only SECTION  routing, sharing, step, split, kernels, solver, predict, csv, apps,\n"
    "                  nodes, psi, commits, privacy, protocols, security, observe or runs; may be\n"
    "                  repeated\n"
    "  --json FILE     the figures as JSON as well\n";

struct Section {
    const char* name;
    void (*measure)(Report&, const Settings&);
};
constexpr Section sections[] = {
    {"routing", measure_routing},
    {"sharing", measure_sharing},
    {"step", measure_step},
    {"split", measure_split},
    {"kernels", measure_kernels},
    {"solver", measure_solver},
    {"predict", measure_predict},
    {"psi", measure_psi},
    {"csv", measure_csv},
    {"apps", measure_apps},
    {"nodes", measure_nodes},
    {"commits", measure_commits},
    {"runs", measure_runs},
    {"security", measure_security},
    {"privacy", measure_privacy},
    {"observe", measure_observe},
    {"protocols", measure_protocols},
};

int bench(const std::vector<std::string>& arguments) {
    Settings settings;
    bool realtime = false;
    std::string json;
    std::vector<std::string> only;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        const auto value = [&]() -> const std::string& {
            if (++i == arguments.size()) throw std::runtime_error(word + " needs a value");
            return arguments[i];
        };
        if (word == "--quick")
            settings.quick = true;
        else if (word == "--realtime")
            realtime = true;
        else if (word == "--rounds")
            settings.rounds = std::stoi(value());
        else if (word == "--only")
            only.push_back(value());
        else if (word == "--json")
            json = value();
        else {
            std::fputs(usage, word == "--help" || word == "-h" ? stdout : stderr);
            return word == "--help" || word == "-h" ? 0 : 2;
        }
    }
    for (const std::string& name : only) {
        bool known = false;
        for (const Section& section : sections) known = known || section.name == name;
        if (!known) throw std::runtime_error("there is no section " + name);
    }
    if (realtime) {  // children inherit it
        const sched_param priority{.sched_priority = 5};
        if (::sched_setscheduler(0, SCHED_RR, &priority) != 0)
            throw std::runtime_error("--realtime is not allowed here");
    }
    Report report;
    for (const Section& section : sections) {
        bool wanted = only.empty();
        for (const std::string& name : only) wanted = wanted || section.name == name;
        if (wanted) section.measure(report, settings);
    }
    std::printf("\n%s\n", report.summary().c_str());
    if (!json.empty()) {
        std::ofstream out(json);
        out << report.json();
        if (!out.flush()) throw std::runtime_error("cannot write " + json);
    }
    return 0;
}

}  // namespace

int vflbus::bench::run_role(const std::vector<std::string>& arguments) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no child outlives the bench
    if (arguments.empty()) throw std::runtime_error("no role");
    const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    const std::string& role = arguments.front();
    if (role == "peer") return run_peer(rest);
    if (role == "broker") return run_broker(rest);
    if (role == "attacker") return run_attacker(rest);
    if (role == "sharer") return run_sharer(rest);
    if (role == "master") return run_step_master(rest);
    if (role == "member") return run_step_member(rest);
    if (role == "csv") return run_csv(rest);
    if (role == "predict-master") return run_predict_master(rest);
    if (role == "predict-member") return run_predict_member(rest);
    if (role == "solver") return run_solver(rest);
    throw std::runtime_error("there is no role " + role);
}

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const bool child = !arguments.empty() && arguments.front() == "role";
    try {
        if (child) return run_role({arguments.begin() + 1, arguments.end()});
        ::signal(SIGPIPE, SIG_IGN);
        vflbus::observe::log::set_level(vflbus::observe::log::Level::warn);
        return bench(arguments);
    } catch (const std::exception& e) {
        if (child) {
            std::printf("error %s\n", e.what());
            std::fflush(stdout);
        } else {
            std::fprintf(stderr, "vflbus-bench: %s\n", e.what());
        }
        return 1;
    }
}
