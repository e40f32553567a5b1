#include "actors/node.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "actors/node_core.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/zmq/link_loop.hpp"

namespace vflbus::actors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TimePoint clock_now() {
    return std::chrono::steady_clock::now();
}

/// How long a handler may run before somebody else takes care of the link.
constexpr Duration takeover_after = milliseconds(5);
constexpr Duration watch_every = milliseconds(10);
constexpr Duration idle_watch_every = milliseconds(250);
/// How long an app may take to stop in order.
constexpr Duration stop_patience = seconds(20);

/// The link has one keeper at a time: whoever holds the lock. That is the main thread, which polls
/// and, with the lock released, runs the handlers, so that a short step costs no change of thread.
/// While a handler takes long, the keeper thread takes the lock and polls instead: beats go out,
/// frames come in.
class ProcessNode final : public Node, private NodeLock {
  public:
    ProcessNode(NodeOptions options, DirectoryLock directory, std::uint64_t incarnation,
                std::unique_ptr<bus::LinkLoop> loop)
        : options_(std::move(options)),
          directory_(std::move(directory)),
          loop_(std::move(loop)),
          core_(core_config(incarnation), loop_->core(), *this),
          keeper_([this] { keep(); }) {}

    ~ProcessNode() override {
        {
            const std::lock_guard guard(keeper_mutex_);
            ending_ = true;
        }
        keeper_wakes_.notify_all();
        loop_->wake();
        keeper_.join();
    }

    Result<Ending> serve(ClientApp app, const bus::StopSignal& stop, bool once) override {
        core_.serve(std::move(app));
        return run(
            stop,
            [&]() -> const std::optional<Ending>& {
                return once ? core_.first_served_ending() : never_;
            },
            false);
    }

    Result<Ending> drive(ServerApp& app, const bus::StopSignal& stop) override {
        {
            const std::lock_guard guard(mutex_);
            core_.drive(app);
        }
        return run(
            stop, [&]() -> const std::optional<Ending>& { return core_.driven_ending(); }, true);
    }

  private:
    NodeCoreConfig core_config(std::uint64_t incarnation) const {
        return {options_.name,  options_.role, options_.rank,        incarnation,
                VFLBUS_VERSION, clock_now,     options_.link_timeout};
    }

    // -- NodeLock: around every handler ------------------------------------------
    void lock() override {
        busy_since_.store(0, std::memory_order_release);
        if (!mutex_.try_lock()) {
            loop_->wake();  // the keeper is in its poll
            mutex_.lock();
        }
    }
    void unlock() override {
        mutex_.unlock();
        busy_since_.store(clock_now().time_since_epoch().count(), std::memory_order_release);
    }

    void keep() {
        std::unique_lock waiting(keeper_mutex_);
        while (!ending_) {
            keeper_wakes_.wait_for(
                waiting, active_.load(std::memory_order_relaxed) ? watch_every : idle_watch_every);
            const auto since = busy_since_.load(std::memory_order_acquire);
            if (ending_ || since == 0 ||
                clock_now().time_since_epoch().count() - since < takeover_after.count())
                continue;
            waiting.unlock();
            {
                const std::lock_guard guard(mutex_);
                while (busy_since_.load(std::memory_order_acquire) != 0) {
                    loop_->poll(clock_now() + milliseconds(50), nullptr);
                    core_.note_endings();
                    const bus::StopSignal* stop = stop_.load(std::memory_order_acquire);
                    if (stop != nullptr && stop->stopped()) core_.cancel_handlers();
                }
            }
            waiting.lock();
        }
    }

    template <class Over>
    Result<Ending> run(const bus::StopSignal& stop, Over&& over, bool drives) {
        stop_.store(&stop, std::memory_order_release);
        const std::lock_guard guard(mutex_);
        if (!started_) {
            started_ = true;
            loop_->start();
        }
        const TimePoint begin = clock_now();
        TimePoint next_word = begin + seconds(5);
        bool cancelled = false;  // the app was asked to stop
        bool closed = false;     // its run was closed over its head
        TimePoint stop_until{};
        for (;;) {
            core_.pump();
            active_.store(drives || core_.runs() > 0, std::memory_order_relaxed);
            if (core_.fatal() && !over()) return tl::unexpected(*core_.fatal());
            if (over()) return finish(*over());
            const TimePoint now = clock_now();
            if (stop.stopped()) {
                if (!drives) return finish({Errc::cancelled, options_.name + " was stopped"});
                const bool at_once = stop.urgent() || (cancelled && now >= stop_until);
                if (at_once && !closed) {
                    closed = true;
                    stop_until = now + seconds(2);
                    core_.stop_driven(true);
                    continue;
                }
                if (!cancelled) {
                    cancelled = true;
                    stop_until = now + stop_patience;
                    core_.stop_driven(false);
                    continue;
                }
                if (closed && now >= stop_until)
                    return finish({Errc::cancelled, "the run was ended at once by its owner"});
            }
            if (!core_.was_up()) {
                if (now - begin >= options_.connect_timeout) {
                    std::string why = loop_->trouble();
                    return fail(
                        Errc::unreachable,
                        options_.name + " could not reach the broker at " + options_.broker +
                            " in " +
                            human_seconds(std::chrono::duration<double>(now - begin).count()) +
                            (why.empty() ? "; is it running there?" : ": " + why));
                }
                if (now >= next_word) {
                    next_word = now + seconds(5);
                    if (options_.on_waiting) {
                        const std::string why = loop_->trouble();
                        options_.on_waiting(options_.name + " waits for the broker at " +
                                            options_.broker +
                                            (why.empty() ? "" : " (" + why + ")"));
                    }
                }
            }
            TimePoint until = core_.next_deadline();
            if (!core_.was_up())
                until = std::min(until, std::min(next_word, begin + options_.connect_timeout));
            if (cancelled) until = std::min({until, stop_until, now + milliseconds(50)});
            loop_->poll(until, cancelled ? nullptr : &stop);
        }
    }

    Result<Ending> finish(Ending ending) {
        stop_.store(nullptr, std::memory_order_release);
        if (loop_->core().up()) {
            loop_->core().bye("done");
            loop_->close();
        }
        return ending;
    }

    NodeOptions options_;
    DirectoryLock directory_;
    std::mutex mutex_;
    std::unique_ptr<bus::LinkLoop> loop_;
    NodeCore core_;
    bool started_ = false;
    const std::optional<Ending> never_;
    std::atomic<std::int64_t> busy_since_{0};  ///< when the present handler began; 0: none runs
    std::atomic<bool> active_{false};
    std::atomic<const bus::StopSignal*> stop_{nullptr};  ///< while `run` runs
    std::mutex keeper_mutex_;
    std::condition_variable keeper_wakes_;
    bool ending_ = false;
    std::thread keeper_;
};

}  // namespace

Result<std::unique_ptr<Node>> Node::create(NodeOptions options) {
    if (!is_valid_node_name(options.name))
        return fail(Errc::usage,
                    "node name \"" + options.name +
                        "\" must be 1 to 64 of letters, digits, dot, dash and underscore");
    auto directory = DirectoryLock::acquire(options.state_dir);
    if (!directory) return tl::unexpected(directory.error());
    const auto wall = std::chrono::duration_cast<milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    const auto incarnation =
        next_incarnation(options.state_dir, static_cast<std::uint64_t>(wall.count()));
    if (!incarnation) return tl::unexpected(incarnation.error());
    bus::LinkConfig link;
    link.hello.name = options.name;
    link.hello.role = options.role;
    link.hello.rank = options.rank;
    link.hello.incarnation = *incarnation;
    link.hello.instance = random_u64();
    link.hello.version = VFLBUS_VERSION;
    link.timings = options.timings;
    link.seed = link.hello.instance;
    auto loop = bus::LinkLoop::create(options.context, options.broker, std::move(link));
    if (!loop) return tl::unexpected(loop.error());
    return std::make_unique<ProcessNode>(std::move(options), std::move(*directory), *incarnation,
                                         std::move(*loop));
}

}  // namespace vflbus::actors
