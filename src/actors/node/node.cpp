#include "actors/node/node.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "actors/node/node_core.hpp"
#include "actors/node/thrown.hpp"
#include "base/assert.hpp"
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
/// How long the broker may take to confirm the end of a run that is closed without its app.
constexpr Duration close_patience = seconds(2);
/// While an app stops: how often its thread looks whether it is done.
constexpr Duration stopping_look_every = milliseconds(50);
constexpr Duration waiting_word_every = seconds(5);
constexpr Duration full_word_every = seconds(60);

double seconds_of(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

/// Leader and followers.
///
/// A node has one link and some threads. If one thread polled the link and others ran the handlers,
/// every message would cost two changes of thread. If the thread that polls ran the handlers
/// itself, a handler that computes for a minute would keep back heartbeats and all other runs. So
/// one thread, the leader, polls and runs handlers between polls, with the lock released. When its
/// handler has taken longer than `takeover_after`, a follower becomes the leader: it sends beats,
/// takes frames in and handles what other runs have to do, until a third thread takes over from it,
/// and so on up to the number of workers. Beyond that the leader keeps the link alone. A thread
/// that returns from a long handler sends the answer, does what else is ready, and follows. The
/// thread that called `run` leads whenever it can, since it alone sees to the end.
///
/// One rule sees to it that no received event waits until the next beat: **who polls has pumped
/// since the link was last fed, and has held the lock since.** What goes wrong without it:
///   1. T1, the thread in `run`, is in a long handler. The follower T2 leads and waits in `poll`.
///   2. T1's handler returns. T1 pumps, finds nothing, and wants to lead: it wakes T2 and waits.
///   3. T2 comes out of `poll`. A frame has arrived in the same moment, so the link has an event.
///   4. T2 sees that T1 wants to lead, and makes way without having pumped.
///   5. T1 leads and polls. The frame was the last one, so it waits until the next beat is due.
/// Step 5 breaks the rule. `pump_due_` is set when a poll returns and cleared when a pump does,
/// which leaves no event behind; `poll` asserts that it is clear. Both happen under the lock,
/// and nothing between a pump and the next poll releases it but `lead`, after which `run` looks
/// again. So in any interleaving an event is followed by a pump before anybody waits.
class ProcessNode final : public Node, private NodeLock {
  public:
    ProcessNode(NodeOptions options, std::optional<DirectoryLock> directory,
                std::unique_ptr<bus::LinkLoop> loop)
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

    void reconsider(const RunId& run) override { core_.reconsider(run); }

    bus::LinkSample sample() override {
        const std::lock_guard guard(mutex_);
        return loop_->core().sample();
    }

    void end_with(Failure failure) override {
        {
            const std::lock_guard guard(mutex_);
            if (!broken_) broken_ = std::move(failure);
        }
        loop_->wake();
    }

  private:
    using Over = std::function<const std::optional<Ending>&()>;
    /// What the thread in `run` knows of the end that the user has asked for.
    struct Stopping {
        bool asked = false;   ///< the app was asked to stop
        bool closed = false;  ///< its run was closed without it
        TimePoint until{};    ///< of the patience with either
    };

    NodeCoreConfig core_config() {
        NodeCoreConfig config;
        config.name = options_.name;
        config.rank = options_.rank;
        config.now = clock_now;
        config.link_timeout = options_.link_timeout;
        config.workers = workers_;
        config.wake = [this] { loop_->wake(); };
        config.on_handled = options_.on_handled;
        config.say = options_.on_waiting;
        return config;
    }

    // -- NodeLock ------------------------------------------------------------------
    /// A handler calls its driver. The leader, which is another thread, has to hear of the effect.
    void lock() override {
        mutex_.lock();
        if (leader_ != std::this_thread::get_id()) loop_->wake();
    }
    void unlock() override { mutex_.unlock(); }
    void release_for_handler() override {
        if (leader_ == std::this_thread::get_id()) {
            busy_since_ = clock_now();
            if (wanted_) changed_.notify_all();
        }
        mutex_.unlock();
    }
    void take_after_handler() override {
        lock();
        if (leader_ == std::this_thread::get_id()) busy_since_ = {};
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

    void pump() {
        core_.pump();
        pump_due_ = false;
    }

    void poll(TimePoint until, const bus::StopSignal* stop, std::unique_lock<std::mutex>& held) {
        VFLBUS_ASSERT(!pump_due_, "what was received is handled before anybody waits for more");
        VFLBUS_ASSERT(leader_ == std::this_thread::get_id(), "one thread at a time polls");
        loop_->poll(until, stop, &held);
        pump_due_ = true;  // and not before: another thread may have pumped while this one waited
    }

    void take_over(std::unique_lock<std::mutex>& held) {
        const auto me = std::this_thread::get_id();
        leader_ = me;
        busy_since_ = {};
        if (idle_ == 0 && followers_.size() < workers_ && !ending_)
            followers_.emplace_back([this] { follow(); });
        changed_.notify_one();  // somebody else watches now
        while (leader_ == me && !wanted_ && !ending_) {
            pump();
            say_when_full();
            if (leader_ != me || wanted_ || ending_) break;
            const bool stopped = stop_ != nullptr && stop_->stopped();
            if (stopped) core_.cancel_handlers();
            poll(core_.next_deadline(), stopped ? nullptr : stop_, held);
        }
        make_way();
    }

    void make_way() {
        if (leader_ != std::this_thread::get_id()) return;
        leader_ = {};
        busy_since_ = {};
        changed_.notify_all();
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
            try {
                take_over(held);
            } catch (...) {  // of the node itself; what handlers throw, the core has dealt with
                broken_ = Failure{Errc::internal, options_.name + ": " + what_was_thrown()};
                make_way();
                loop_->wake();
            }
        }
    }

    void say_when_full() {
        if (core_.queued() == 0 || core_.busy() < workers_) return;
        const TimePoint now = clock_now();
        if (now < next_full_word_) return;
        next_full_word_ = now + full_word_every;
        if (options_.on_waiting)
            options_.on_waiting(options_.name + " works on " + std::to_string(workers_) +
                                " runs at once, its limit ([bus] workers); " +
                                std::to_string(core_.queued()) + " more wait");
    }

    // -- the thread that sees to the end -----------------------------------------------
    Result<Ending> run(const bus::StopSignal& stop, const Over& over, bool drives) {
        std::unique_lock held(mutex_);
        try {
            return run_until_over(stop, over, drives, held);
        } catch (...) {
            return give_up({Errc::internal, options_.name + ": " + what_was_thrown()});
        }
    }

    Result<Ending> run_until_over(const bus::StopSignal& stop, const Over& over, bool drives,
                                  std::unique_lock<std::mutex>& held) {
        stop_ = &stop;
        lead(held);
        if (!started_) {
            started_ = true;
            loop_->start();
        }
        begin_ = clock_now();
        next_word_ = begin_ + waiting_word_every;
        Stopping stopping;
        for (;;) {
            pump();
            lead(held);
            say_when_full();
            if (const bool active = drives || core_.runs() > 0; active != active_) {
                active_ = active;
                changed_.notify_all();  // watch more often, or less
            }
            if (broken_) return give_up(*broken_);
            if (core_.fatal() && !over()) {
                resign();
                return tl::unexpected(*core_.fatal());
            }
            if (over()) return finish(*over(), held);
            if (stop.stopped()) {
                if (!drives) return finish({Errc::cancelled, options_.name + " was stopped"}, held);
                if (auto ended = stop_in_order(stopping, stop.urgent(), held)) return *ended;
            }
            if (!core_.was_up())
                if (auto unreachable = wait_for_broker()) return tl::unexpected(*unreachable);
            // a pump is due when the leader before this one has made way with an event in hand, or
            // the app was asked to stop
            if (!pump_due_) poll(next_look(stopping), stopping.asked ? nullptr : &stop, held);
        }
    }

    TimePoint next_look(const Stopping& stopping) const {
        TimePoint until = core_.next_deadline();
        if (!core_.was_up())
            until = std::min({until, next_word_, begin_ + options_.connect_timeout});
        if (stopping.asked)
            until = std::min({until, stopping.until, clock_now() + stopping_look_every});
        return until;
    }

    /// First the app is asked, then its run is closed, then it is left. Empty: not yet the end.
    std::optional<Result<Ending>> stop_in_order(Stopping& stopping, bool urgent,
                                                std::unique_lock<std::mutex>& held) {
        const TimePoint now = clock_now();
        const bool at_once = urgent || (stopping.asked && now >= stopping.until);
        if (at_once && !stopping.closed) {
            stopping.asked = stopping.closed = true;
            stopping.until = now + close_patience;
            core_.stop_driven(true);
            pump_due_ = true;
        } else if (!stopping.asked) {
            stopping.asked = true;
            stopping.until = now + stop_patience;
            core_.stop_driven(false);
            pump_due_ = true;
        } else if (stopping.closed && now >= stopping.until) {
            const Ending ending{Errc::cancelled, "the run was ended at once by its owner"};
            auto finished = finish(ending, held);
            core_.abandon_driven(ending);
            return finished;
        }
        return {};
    }

    /// Says every few seconds that it waits. A failure: it has waited long enough.
    std::optional<Failure> wait_for_broker() {
        const TimePoint now = clock_now();
        if (now - begin_ >= options_.connect_timeout) {
            const std::string why = loop_->trouble();
            resign();
            return Failure{Errc::unreachable,
                           options_.name + " could not reach the broker at " + options_.broker +
                               " in " + human_seconds(seconds_of(now - begin_)) +
                               (why.empty() ? "; is it running there?" : ": " + why)};
        }
        if (now < next_word_) return {};
        next_word_ = now + waiting_word_every;
        if (options_.on_waiting) {
            const std::string why = loop_->trouble();
            options_.on_waiting(options_.name + " waits for the broker at " + options_.broker +
                                (why.empty() ? "" : " (" + why + ")"));
        }
        return {};
    }

    void resign() {
        stop_ = nullptr;
        make_way();
    }

    /// Handlers of other runs may run in other threads: they are told to return, and waited for.
    Result<Ending> finish(Ending ending, std::unique_lock<std::mutex>& held) {
        core_.stop_handling();
        while (core_.busy() > 0) {
            core_.cancel_handlers();
            pump();
            poll(clock_now() + stopping_look_every, nullptr, held);
        }
        pump();  // answers that were given meanwhile
        resign();
        say_goodbye();
        return ending;
    }

    /// The node itself has failed. Its peers are told, if that is still possible.
    Result<Ending> give_up(Failure failure) {
        core_.stop_handling();
        core_.cancel_handlers();
        resign();
        try {
            say_goodbye(failure.code);
        } catch (...) {  // silence tells them as well, only later
        }
        return tl::unexpected(std::move(failure));
    }

    void say_goodbye(Errc code = Errc::ok) {
        if (!loop_->core().up()) return;
        loop_->core().bye("done", code);
        loop_->close();
    }

    NodeOptions options_;
    std::size_t workers_;
    std::optional<DirectoryLock> directory_;
    std::unique_ptr<bus::LinkLoop> loop_;
    std::mutex mutex_;  ///< guards all that follows, and the link
    NodeCore core_;
    bool started_ = false;
    const std::optional<Ending> never_;
    TimePoint begin_{};                      ///< of `run`
    TimePoint next_word_{};                  ///< that it still waits for the broker
    const bus::StopSignal* stop_ = nullptr;  ///< while `run` runs
    std::thread::id leader_;                 ///< none: nobody polls
    TimePoint busy_since_{};                 ///< when the leader's handler began; 0: it is in none
    bool pump_due_ = false;                  ///< there may be events that no pump has seen
    bool wanted_ = false;                    ///< `run` wants to lead
    bool active_ = false;
    bool ending_ = false;
    bool watched_ = false;           ///< a follower looks at busy_since_ from time to time
    std::size_t idle_ = 0;           ///< followers
    std::optional<Failure> broken_;  ///< the node itself has failed
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
    link.hello.extensions = options.extensions;
    link.understood = options.extensions_understood;
    link.timings = options.timings;
    link.limits = options.limits;
    link.seed = link.hello.instance;
    auto loop =
        bus::LinkLoop::create(options.context, options.broker, std::move(link), options.keys);
    if (!loop) return tl::unexpected(loop.error());
    return std::make_unique<ProcessNode>(std::move(options), std::move(*directory),
                                         std::move(*loop));
}

std::unique_ptr<Node> Node::over(NodeOptions options, std::unique_ptr<bus::LinkLoop> loop) {
    return std::make_unique<ProcessNode>(std::move(options), std::nullopt, std::move(loop));
}

}  // namespace vflbus::actors
