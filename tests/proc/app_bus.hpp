#pragma once
// Runs of apps on real processes: a broker, nodes and servers that live until the end of a test,
// and what is below a process.

#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

namespace proc {

/// A shared object of tests/proc/apps.
inline std::string app(const std::string& name) {
    const char* const dir = std::getenv("VFLBUS_APPS");
    if (dir == nullptr) throw std::runtime_error("VFLBUS_APPS is not set");
    return std::string(dir) + "/" + name + ".so";
}

/// Broker and nodes that run until the end of the test.
class AppBus {
  public:
    explicit AppBus(const TempDir& dir, const Words& more = {}) : dir_(dir) {
        Words words{"broker", "--bind", "ipc://" + (dir / "bus")};
        words.insert(words.end(), more.begin(), more.end());
        broker_.emplace(dir, words);
        address = first_endpoint(*broker_);
    }
    ~AppBus() {
        for (auto& node : nodes) node->signal(SIGTERM);
        for (auto& node : nodes) node->wait();
        broker_->signal(SIGTERM);
        broker_->wait();
    }
    Process& node(const std::string& name, const std::string& client, Words more = {}) {
        Words words{"actor", "--role",   "member", "--app", app(client),           "--name",
                    name,    "--broker", address,  "--set", "bus.cancel_grace=0.5"};
        words.insert(words.end(), more.begin(), more.end());
        nodes.push_back(std::make_unique<Process>(dir_, words));
        REQUIRE(nodes.back()->await_output("serves apps", true));
        return *nodes.back();
    }
    [[nodiscard]] Words server(const std::string& file, Words config = {}) const {
        Words words{"actor",    "--role", "serverapp", "--app", app(file),
                    "--broker", address,  "--json",    "--set", "bus.cancel_grace=0.5"};
        for (const std::string& word : config) words.insert(words.end(), {"--run-config", word});
        return words;
    }
    /// A run of the test's server; what it printed and said.
    Finished play(const std::string& name, Words config = {}) {
        config.push_back("play=" + name);
        return run(dir_, server("test_server", config));
    }
    /// Whether the broker counts `name` among the nodes that are up.
    [[nodiscard]] bool connected(const std::string& name) const {
        const Finished asked = run(dir_, {"nodes", "--json", "--broker", address});
        return asked.exit_code == 0 &&
               asked.out.find(R"("name": ")" + name + R"(", )") != std::string::npos &&
               asked.out.find(R"("status": "up")") != std::string::npos;
    }
    std::string address;
    std::vector<std::unique_ptr<Process>> nodes;

  private:
    const TempDir& dir_;
    std::optional<Process> broker_;
};

/// Processes of a node that has nothing to do: its helper and two that wait for a run.
inline constexpr std::size_t idle = 3;
/// And one that serves a run.
inline constexpr std::size_t at_work = idle + 1;

inline std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        ++n;
    return n;
}

/// The processes below a process, at any depth.
inline std::set<pid_t> below(pid_t of) {
    std::map<pid_t, pid_t> parent;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const std::string stat = slurp(entry.path() / "stat");
        const std::size_t at = stat.rfind(')');
        if (at == std::string::npos) continue;
        std::istringstream rest(stat.substr(at + 1));
        std::string state;
        pid_t up = 0;
        rest >> state >> up;
        parent[static_cast<pid_t>(std::stol(name))] = up;
    }
    std::set<pid_t> found;
    for (bool more = true; more;) {
        more = false;
        for (const auto& [pid, up] : parent)
            if ((up == of || found.count(up) != 0) && found.insert(pid).second) more = true;
    }
    return found;
}

inline bool gone(const std::set<pid_t>& pids) {
    for (const pid_t pid : pids)
        if (::kill(pid, 0) == 0) return false;
    return true;
}

inline bool soon_gone(const std::set<pid_t>& pids) {
    for (int i = 0; i < 3000 && !gone(pids); ++i) ::usleep(20'000);
    return gone(pids);
}

}  // namespace proc
