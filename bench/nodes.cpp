// One message to each of many nodes, and all replies, through `vflbus broker` with its registry.

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "light_node.hpp"
#include "measure.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

using namespace vflbus::bus;
using std::chrono::milliseconds;

constexpr double patience_s = 120;

std::string name_of_node(std::size_t i) {
    return "n-" + std::to_string(i);
}

/// Nodes that are links and nothing else, in a thread of their own.
class Crowd {
  public:
    Crowd(const std::string& address, std::size_t count)
        : count_(count), thread_([this, address] { serve(address); }) {}
    ~Crowd() {
        ending_ = true;
        thread_.join();
    }
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;
    [[nodiscard]] bool up() const { return up_ == count_; }

  private:
    void serve(const std::string& address) {
        const auto context = make_context();
        std::vector<std::unique_ptr<LightNode>> nodes;
        for (std::size_t i = 0; i < count_; ++i)
            nodes.push_back(std::make_unique<LightNode>(context, address, name_of_node(i)));
        while (!ending_) {
            std::size_t there = 0;
            for (const auto& node : nodes) {
                node->poll();
                there += node->core().up() ? 1 : 0;
            }
            up_ = there;
            if (there == count_) std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }

    std::size_t count_;
    std::atomic<bool> ending_{false};
    std::atomic<std::size_t> up_{0};
    std::thread thread_;
};

/// Seconds until `done`; `meanwhile` is done again and again.
template <class Done, class Meanwhile>
double wait_for(const std::string& what, Done&& done, Meanwhile&& meanwhile) {
    const double begin = now_seconds();
    while (!done()) {
        if (now_seconds() - begin > patience_s)
            throw std::runtime_error(what + " within " + std::to_string(int(patience_s)) + " s");
        meanwhile();
    }
    return now_seconds() - begin;
}

}  // namespace

void measure_nodes(Report& report, const Settings& settings) {
    const std::size_t count = settings.quick ? 50 : 1000;
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 1 : 5;
    report.section("Many nodes", std::to_string(count) +
                                     " nodes, a message of 1 kB to each, and all replies; tcp "
                                     "loopback");
    const ScratchDirectory dir;
    Child broker(neighbor("../cli/vflbus"), {"broker", "--quiet", "--bind", "tcp://127.0.0.1:0",
                                             "--state-dir", dir.path() + "/broker"});
    const std::string address = broker.hear();
    const Crowd nodes(address, count);
    const double connected = wait_for(
        "not all nodes are connected", [&] { return nodes.up(); },
        [] { std::this_thread::sleep_for(milliseconds(1)); });
    LightNode owner(make_context(), address, "server", "serverapp", {});
    const RunId run = random_run_id();
    const auto poll = [&] { owner.poll(clock_now() + milliseconds(1)); };
    owner.core().open_run(run, 1, Open{owner.name(), {any_node}, ""}, clock_now());
    const double joined =
        wait_for("not all nodes have joined", [&] { return owner.joined() >= count; }, poll);
    std::vector<double> replied;
    for (int round = 0; round < rounds; ++round) {
        owner.replies = 0;
        const double begin = now_seconds();
        for (std::size_t i = 0; i < count; ++i)
            if (const auto number = owner.core().request(run, node_id_of(name_of_node(i)), 300,
                                                         Bytes(1000), clock_now());
                !number)
                throw std::runtime_error(number.error().sentence);
        wait_for("not all replies have come", [&] { return owner.replies == count; }, poll);
        replied.push_back(now_seconds() - begin);
    }
    report.add(single("until all replies are there", "s", quantile(replied, 0.5),
                      Bar{Bar::Kind::at_most, 1}));
    report.add(single("until all are connected", "s", connected));
    report.add(single("until all have joined a run", "s", joined));
    report.add(single("broker, most memory", "MB",
                      static_cast<double>(broker.memory_bytes("VmHWM")) / 1e6,
                      Bar{Bar::Kind::at_most, 100}));
}

}  // namespace vflbus::bench
