#include "thread_run.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bus/zmq/broker_loop.hpp"
#include "bus/zmq/context.hpp"
#include "ended_child.hpp"
#include "ending_times.hpp"
#include "observe/log.hpp"
#include "parties.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// Without an agreed half of its own a member takes that of each run.
void forget_agreed(config::Config& config) {
    std::erase_if(config.origins, [](const auto& origin) {
        const std::string& key = origin.first;
        return key.starts_with("run.") || key.starts_with("model.") || key.starts_with("data.");
    });
}

/// Broker and members in threads of their own, and the master in the calling one.
class ThreadRun {
  public:
    explicit ThreadRun(const ThreadPlan& plan)
        : plan_(plan), signals_(stop_master_, nullptr, Second::closes) {
        options_.context = bus::make_context();
        options_.broker = "inproc://vflbus";
        options_.quiet = plan.quiet;
        options_.shares_process = true;
        options_.out_dir = plan.out_dir;
    }

    Failure run() {
        if (auto started = start_broker(); !started) return started.error();
        for (std::uint64_t rank = 0; rank < plan_.config->run.world_size; ++rank)
            members_.emplace_back([this, rank] { serve(rank); });
        if (plan_.trains && config::has_arbiter(*plan_.config))
            members_.emplace_back([this] { serve_as_arbiter(); });
        std::thread watcher([this] { watch(); });
        PartyOptions mine = options_;
        mine.state_dir = plan_.run_dir / "master" / "node";
        Failure outcome = plan_.master(mine, stop_master_);
        // members that serve several runs do not know which one is the last
        if (plan_.several_runs) stop_members_.stop();
        await_members(outcome.code == Errc::ok ? members_end : members_end_after_failure);
        watcher.join();
        stop_members_.ask();
        for (std::thread& member : members_) member.join();
        stop_broker_.stop();
        broker_thread_.join();
        if (first_failure_ && (told_ || outcome.code == Errc::ok)) return *first_failure_;
        return outcome;
    }

  private:
    Result<> start_broker() {
        bus::BrokerOptions options = broker_options(*plan_.config);
        options.context = options_.context;
        options.bind = {options_.broker};
        auto broker = bus::BrokerLoop::bind(std::move(options));
        if (!broker) return tl::unexpected(broker.error());
        broker_ = std::move(*broker);
        broker_thread_ = std::thread([this] {
            observe::log::set_thread_identity("broker");
            broker_->run(stop_broker_);
        });
        return {};
    }

    /// One member, until the end of the run.
    void serve(std::uint64_t rank) {
        PartyOptions mine = options_;
        const std::string name = config::member_name(rank);
        mine.state_dir = plan_.run_dir / name / "node";
        mine.policy_dir = node_directory(*plan_.config, name);
        mine.model_dir = plan_.model_dir;
        mine.on_common = plan_.on_common;
        if (plan_.tables) mine.tables = plan_.tables(name);
        ended(name,
              serve_member(config_of_others(), rank, mine, stop_members_, !plan_.several_runs));
    }
    /// The arbiter, likewise.
    void serve_as_arbiter() {
        PartyOptions mine = options_;
        mine.state_dir = plan_.run_dir / config::arbiter_name / "node";
        ended(config::arbiter_name,
              serve_arbiter(config_of_others(), mine, stop_members_, !plan_.several_runs));
    }
    [[nodiscard]] config::Config config_of_others() const {
        config::Config config = *plan_.config;
        if (plan_.several_runs) forget_agreed(config);
        return config;
    }
    void ended(const std::string& name, Failure ending) {
        const std::lock_guard lock(mutex_);
        ++members_ended_;
        if (plan_.several_runs && stop_members_.stopped()) ending.code = Errc::ok;
        if (ending.code != Errc::ok && !first_failure_)
            first_failure_ = named(name, std::move(ending));
        changed_.notify_all();
    }

    /// A member that fails before the run leaves the master waiting: it is told to stop.
    void watch() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return master_ended_ || first_failure_; });
        if (changed_.wait_for(lock, master_explains, [this] { return master_ended_; })) return;
        told_ = true;
        stop_master_.stop();
    }

    /// After the master has ended: most members end by themselves.
    void await_members(std::chrono::seconds at_most) {
        std::unique_lock lock(mutex_);
        master_ended_ = true;
        changed_.notify_all();
        changed_.wait_for(lock, at_most, [this] { return members_ended_ == members_.size(); });
    }

    const ThreadPlan& plan_;
    PartyOptions options_;
    bus::StopSignal stop_master_;
    bus::StopSignal stop_members_;
    bus::StopSignal stop_broker_;
    SignalScope signals_;
    std::unique_ptr<bus::BrokerLoop> broker_;
    std::thread broker_thread_;
    std::vector<std::thread> members_;

    std::mutex mutex_;  ///< guards what follows
    std::condition_variable changed_;
    std::size_t members_ended_ = 0;
    bool master_ended_ = false;
    bool told_ = false;  ///< the master was told to stop, because of first_failure_
    std::optional<Failure> first_failure_;
};

}  // namespace

Failure run_in_threads(const ThreadPlan& plan) {
    // the lines of all parties at once help nobody, unless somebody asks for them; they are in the
    // files of the run
    if (!plan.verbose && !plan.config->stated("output.log_level"))
        observe::log::set_level(observe::log::Level::warn);
    return ThreadRun(plan).run();
}

}  // namespace vflbus::cli
