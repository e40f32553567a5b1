#include "thread_run.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "bus/zmq/broker_loop.hpp"
#include "bus/zmq/context.hpp"
#include "ended_child.hpp"
#include "observe/log.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

constexpr auto members_end = std::chrono::seconds(15);     // by themselves, after the master
constexpr auto master_explains = std::chrono::seconds(3);  // what a member's end means to it

/// What the members came to, as far as they have ended.
struct Endings {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t ended = 0;
    bool master_ended = false;
    std::optional<Failure> first_failure;
};

}  // namespace

Failure run_in_threads(const ThreadPlan& plan) {
    const config::Config& config = *plan.config;
    bus::StopSignal stop_master;
    bus::StopSignal stop_members;
    bus::StopSignal stop_broker;
    const SignalScope signals(stop_master, nullptr, Second::closes);

    PartyOptions options;
    options.context = bus::make_context();
    options.broker = "inproc://vflbus";
    options.quiet = plan.quiet;
    options.out_dir = plan.out_dir;
    // the lines of all parties at once help nobody; they are in the files of the run
    if (!plan.verbose) observe::log::set_level(observe::log::Level::warn);

    bus::BrokerOptions for_broker;
    for_broker.context = options.context;
    for_broker.bind = {options.broker};
    for_broker.timings = timings_of(config.bus);
    for_broker.limits = limits_of(config.bus);
    auto broker = bus::BrokerLoop::bind(std::move(for_broker));
    if (!broker) return broker.error();
    std::thread broker_thread([&] {
        observe::log::set_thread_identity("broker");
        (*broker)->run(stop_broker);
    });

    Endings endings;
    std::vector<std::thread> members;
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank) {
        members.emplace_back([&, rank] {
            PartyOptions mine = options;
            const std::string name = config::member_name(rank);
            mine.state_dir = plan.run_dir / name / "node";
            mine.model_dir = plan.model_dir;
            Failure ending = serve_member(config, rank, mine, stop_members, true);
            if (ending.code != Errc::ok) ending = named(name, std::move(ending));
            const std::lock_guard lock(endings.mutex);
            ++endings.ended;
            if (ending.code != Errc::ok && !endings.first_failure)
                endings.first_failure = std::move(ending);
            endings.changed.notify_all();
        });
    }

    // A member that fails before the run leaves the master waiting: it is told to stop.
    bool told = false;
    std::thread watcher([&] {
        std::unique_lock lock(endings.mutex);
        endings.changed.wait(lock, [&] { return endings.master_ended || endings.first_failure; });
        if (endings.changed.wait_for(lock, master_explains, [&] { return endings.master_ended; }))
            return;
        told = true;
        stop_master.stop();
    });

    PartyOptions mine = options;
    mine.state_dir = plan.run_dir / "master" / "node";
    Failure outcome = plan.master(mine, stop_master);
    {
        std::unique_lock lock(endings.mutex);
        endings.master_ended = true;
        endings.changed.notify_all();
        endings.changed.wait_for(lock,
                                 outcome.code == Errc::ok ? members_end : std::chrono::seconds(2),
                                 [&] { return endings.ended == members.size(); });
    }
    watcher.join();
    stop_members.stop();
    for (std::thread& member : members) member.join();
    stop_broker.stop();
    broker_thread.join();
    if (endings.first_failure && (told || outcome.code == Errc::ok)) return *endings.first_failure;
    return outcome;
}

}  // namespace vflbus::cli
