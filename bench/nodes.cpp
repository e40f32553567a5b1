// One message to each of many nodes and all replies: LINKS links in one thread, an owner in
// another, and a broker as a process of its own (`vflbus broker`). Prints one JSON object.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "light_node.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

TimePoint clock_now() {
    return std::chrono::steady_clock::now();
}

double seconds_since(TimePoint then) {
    return std::chrono::duration<double>(clock_now() - then).count();
}

/// Resident memory of a process, in bytes; 0 when it cannot be told.
std::uint64_t resident(const std::string& pid, const std::string& what) {
    std::ifstream status("/proc/" + pid + "/status");
    std::string line;
    while (std::getline(status, line))
        if (line.starts_with(what))
            return std::strtoull(line.c_str() + what.size() + 1, nullptr, 10) * 1024;
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: vflbus-bench-nodes ADDRESS BROKER_PID NODES [RUNS]\n");
        return 2;
    }
    const std::string address = argv[1];
    const std::string pid = argv[2];
    const std::size_t count = std::strtoull(argv[3], nullptr, 10);
    const std::size_t runs = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 1;

    std::atomic<bool> ending{false};
    std::atomic<std::size_t> up{0};
    std::thread serving([&] {
        const auto context = make_context();
        std::vector<std::unique_ptr<LightNode>> nodes;
        Timings timings;
        timings.heartbeat = std::chrono::seconds(1);
        for (std::size_t i = 0; i < count; ++i)
            nodes.push_back(
                std::make_unique<LightNode>(context, address, "n-" + std::to_string(i)));
        while (!ending) {
            std::size_t there = 0;
            for (const auto& node : nodes) {
                node->poll();
                there += node->core().up() ? 1 : 0;
            }
            up = there;
            if (there == count) std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    });
    const auto wait_for = [&](auto&& done, auto&& meanwhile) {
        const TimePoint end = clock_now() + std::chrono::seconds(120);
        while (!done() && clock_now() < end) meanwhile();
        return done();
    };
    const TimePoint begin = clock_now();
    bool good = wait_for([&] { return up == count; },
                         [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
    const double connected = seconds_since(begin);

    std::vector<std::unique_ptr<LightNode>> owners;
    std::vector<RunId> ids;
    const TimePoint opening = clock_now();
    for (std::size_t r = 0; r < runs; ++r) {
        owners.push_back(std::make_unique<LightNode>(make_context(), address,
                                                     "server-" + std::to_string(r), "serverapp",
                                                     std::vector<std::string>{}));
        ids.push_back(random_run_id());
        owners[r]->core().open_run(ids[r], 1, Open{owners[r]->name(), {any_node}, ""}, clock_now());
    }
    const auto poll = [&] {
        for (const auto& owner : owners) owner->poll(clock_now() + std::chrono::milliseconds(1));
    };
    good = good && wait_for(
                       [&] {
                           return std::all_of(owners.begin(), owners.end(), [&](const auto& owner) {
                               return owner->joined >= count;
                           });
                       },
                       poll);
    const double joined = seconds_since(opening);

    std::vector<double> rounds;
    for (int round = 0; good && round < 5; ++round) {
        for (const auto& owner : owners) owner->replies = 0;
        const TimePoint asked = clock_now();
        for (std::size_t r = 0; r < runs; ++r)
            for (std::size_t i = 0; i < count; ++i)
                good = owners[r]
                           ->core()
                           .request(ids[r], node_id_of("n-" + std::to_string(i)), 300, Bytes(1000),
                                    clock_now())
                           .has_value() &&
                       good;
        good = good && wait_for(
                           [&] {
                               return std::all_of(
                                   owners.begin(), owners.end(),
                                   [&](const auto& owner) { return owner->replies == count; });
                           },
                           poll);
        rounds.push_back(seconds_since(asked));
    }
    std::sort(rounds.begin(), rounds.end());
    std::printf(
        "{\"nodes\": %zu, \"runs\": %zu, \"good\": %s, \"connect_s\": %.3f, \"join_s\": %.3f, "
        "\"all_replies_s\": %.4f, \"worst_s\": %.4f, \"broker_bytes\": %llu, "
        "\"broker_peak_bytes\": %llu}\n",
        count, runs, good ? "true" : "false", connected, joined,
        rounds.empty() ? 0 : rounds[rounds.size() / 2], rounds.empty() ? 0 : rounds.back(),
        static_cast<unsigned long long>(resident(pid, "VmRSS:")),
        static_cast<unsigned long long>(resident(pid, "VmHWM:")));
    ending = true;
    serving.join();
    return good ? 0 : 1;
}
