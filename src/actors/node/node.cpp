#include "actors/node/node.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "actors/node/node_core.hpp"
#include "base/clock.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/zmq/link_loop.hpp"

namespace vflbus::actors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// How long a handler may run before somebody else takes care of the link.
constexpr Duration takeover_after = milliseconds(5);
constexpr Duration watch_every = milliseconds(10);
constexpr Duration idle_watch_every = milliseconds(250);
/// How long an app may take to stop in order.
constexpr Duration stop_patience = seconds(20);

/// Leader and followers. The leader polls the link and, with the lock released, runs the handlers
/// itself, so that a short one costs no change of thread. When a handler takes longer than
/// `takeover_after`, a follower becomes the leader: beats go out, frames come in, and what other
/// runs have to do is done by it, until a third thread takes over from it, and so on up to the
/// number of workers; beyond it, the leader keeps the link alone. Who returns from a long handler
/// answers, does what else is ready, and follows. The thread that called `run` leads whenever it
/// can, since it alone sees to the end.
class ProcessNode final : public Node, private NodeLock {
  public:
    ProcessNode(NodeOptions options, DirectoryLock directory, std::unique_ptr<bus::LinkLoop> loop)
        : options_(std::move(options)),
          workers_(workers_of(options_.workers)),
          directory_(std::move(directory)),
          loop_(std::move(loop)),
          core_(core_config(), loop_->core(), *this) {
        followers_.emplace_back([this] { follow(); });
    }

    ~ProcessNode() override {
        std::vector<std::thread> followers;
        {
            const std::lock_guard guard(mutex_);
            ending_ = true;
            followers.swap(followers_);  // none is added from here on
        }
        changed_.notify_all();
        loop_->wake();
        for (std::thread& follower : followers) follower.join();
    }

    void on_query(QueryHandler handler) override { core_.on_query(std::move(handler)); }

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
    NodeCoreConfig core_config() {
        NodeCoreConfig config;
        config.name = options_.name;
        config.rank = options_.rank;
        config.now = clock_now;
        config.link_timeout = options_.link_timeout;
        config.workers = workers_;
        config.wake = [this] { loop_->wake(); };
        return config;
    }

    // -- NodeLock: around every handler ------------------------------------------
    void lock() override {
        mutex_.lock();
        if (leader_ == std::this_thread::get_id())
            busy_since_ = {};
        else
            loop_->wake();  // somebody else leads: what comes of this handler is news to it
    }
    void unlock() override {
        if (leader_ == std::this_thread::get_id()) {
            busy_since_ = clock_now();
            if (wanted_) changed_.notify_all();
        }
        mutex_.unlock();
    }

    // -- leading, with the lock held -------------------------------------------------
    /// For the thread in `run`: at once when nobody leads or the leader is in a handler, otherwise
    /// as soon as it is out of its poll.
    void lead(std::unique_lock<std::mutex>& held) {
        const auto me = std::this_thread::get_id();
        while (leader_ != std::thread::id() && leader_ != me && busy_since_ == TimePoint{}) {
            wanted_ = true;
            loop_->wake();
            changed_.wait(held);
        }
        wanted_ = false;
        leader_ = me;
        busy_since_ = {};
    }

    void take_over(std::unique_lock<std::mutex>& held) {
        const auto me = std::this_thread::get_id();
        leader_ = me;
        busy_since_ = {};
        if (idle_ == 0 && followers_.size() < workers_ && !ending_)
            followers_.emplace_back([this] { follow(); });
        changed_.notify_one();  // somebody else watches now
        while (leader_ == me && !wanted_ && !ending_) {
            core_.pump();
            say_when_full();
            if (leader_ != me || wanted_ || ending_) break;
            const bool stopped = stop_ != nullptr && stop_->stopped();
            if (stopped) core_.cancel_handlers();
            loop_->poll(core_.next_deadline(), stopped ? nullptr : stop_, &held);
        }
        if (leader_ == me) {
            leader_ = {};
            changed_.notify_all();
        }
    }

    void follow() {
        std::unique_lock held(mutex_);
        while (!ending_) {
            ++idle_;
            if (watched_) {
                changed_.wait(held);
            } else {
                watched_ = true;
                changed_.wait_for(held, active_ ? watch_every : idle_watch_every);
                watched_ = false;
            }
            --idle_;
            if (ending_ || busy_since_ == TimePoint{} || clock_now() - busy_since_ < takeover_after)
                continue;
            take_over(held);
        }
    }

    void say_when_full() {
        if (core_.queued() == 0 || core_.busy() < workers_) return;
        const TimePoint now = clock_now();
        if (now < next_full_word_) return;
        next_full_word_ = now + seconds(60);
        if (options_.on_waiting)
            options_.on_waiting(options_.name + " works on " + std::to_string(workers_) +
                                " runs at once, its limit ([bus] workers); " +
                                std::to_string(core_.queued()) + " more wait");
    }

    template <class Over>
    Result<Ending> run(const bus::StopSignal& stop, Over&& over, bool drives) {
        std::unique_lock held(mutex_);
        stop_ = &stop;
        lead(held);
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
            lead(held);
            say_when_full();
            if (const bool active = drives || core_.runs() > 0; active != active_) {
                active_ = active;
                changed_.notify_all();  // watch more often, or less
            }
            if (core_.fatal() && !over()) {
                resign();
                return tl::unexpected(*core_.fatal());
            }
            if (over()) return finish(*over(), held);
            const TimePoint now = clock_now();
            if (stop.stopped()) {
                if (!drives) return finish({Errc::cancelled, options_.name + " was stopped"}, held);
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
                if (closed && now >= stop_until) {
                    const Ending ending{Errc::cancelled, "the run was ended at once by its owner"};
                    auto finished = finish(ending, held);
                    core_.abandon_driven(ending);
                    return finished;
                }
            }
            if (!core_.was_up()) {
                if (now - begin >= options_.connect_timeout) {
                    std::string why = loop_->trouble();
                    resign();
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
            loop_->poll(until, cancelled ? nullptr : &stop, &held);
        }
    }

    void resign() {
        stop_ = nullptr;
        leader_ = {};
    }

    /// Handlers of other runs may be at work in other threads: they are told, and waited for.
    Result<Ending> finish(Ending ending, std::unique_lock<std::mutex>& held) {
        core_.stop_handling();
        while (core_.busy() > 0) {
            core_.cancel_handlers();
            loop_->poll(clock_now() + milliseconds(50), nullptr, &held);
            core_.pump();
        }
        resign();
        if (loop_->core().up()) {
            loop_->core().bye("done");
            loop_->close();
        }
        return ending;
    }

    NodeOptions options_;
    std::size_t workers_;
    DirectoryLock directory_;
    std::unique_ptr<bus::LinkLoop> loop_;
    std::mutex mutex_;  ///< guards all that follows, and the link
    NodeCore core_;
    bool started_ = false;
    const std::optional<Ending> never_;
    const bus::StopSignal* stop_ = nullptr;  ///< while `run` runs
    std::thread::id leader_;                 ///< none: nobody polls
    TimePoint busy_since_{};                 ///< when the leader's handler began; 0: it is in none
    bool wanted_ = false;                    ///< `run` wants to lead
    bool active_ = false;
    bool ending_ = false;
    bool watched_ = false;  ///< a follower looks at busy_since_ from time to time
    std::size_t idle_ = 0;  ///< followers
    TimePoint next_full_word_{};
    std::condition_variable changed_;
    std::vector<std::thread> followers_;
};

}  // namespace

std::size_t workers_of(std::size_t configured) {
    if (configured != 0) return configured;
    return std::max<std::size_t>(2, std::thread::hardware_concurrency());
}

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
    link.hello.features = options.features;
    link.timings = options.timings;
    link.limits = options.limits;
    link.seed = link.hello.instance;
    auto loop = bus::LinkLoop::create(options.context, options.broker, std::move(link));
    if (!loop) return tl::unexpected(loop.error());
    return std::make_unique<ProcessNode>(std::move(options), std::move(*directory),
                                         std::move(*loop));
}

}  // namespace vflbus::actors
