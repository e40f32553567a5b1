#include "apps/client_host.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "actors/node/node.hpp"
#include "apps/log_limit.hpp"
#include "apps/processes.hpp"
#include "apps/run_config.hpp"
#include "base/assert.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/core/budget.hpp"

namespace vflbus::apps {
namespace {

/// Processes kept ready, so that the first message of a run need not wait for a fork.
constexpr std::size_t spare_processes = 2;
/// A run that waits for a worker for so long is worth a line.
constexpr Duration waiting_said_after = std::chrono::seconds(1);
/// How often a handler's signs of progress are passed on.
constexpr Duration progress_every = std::chrono::seconds(1);

/// What a Context of a run of apps holds. The strand of the run owns it.
struct AppRun {
    std::uint64_t key = 0;
    RunId id;
    Begin begin;
    bool asked = false;  ///< had a message, so that the thread of the processes knows of it
};

struct Job {
    std::uint64_t serial;
    actors::Replier reply;
    std::uint64_t source = 0;
    std::string type;
    Bytes content;             ///< the envelope; empty once it was handed to the process
    actors::ContentRoom room;  ///< of the content, until the handler has returned
    TimePoint expires;
    std::int64_t ttl_ms = 0;
    Processes::Timer timer = 0;  ///< of its expiry
};

/// Bounds the bytes of small messages, for which the link keeps no room once a handler has them. An
/// owner whose handlers hang must not take the room of all others, so each has a share.
class SmallMessages {
  public:
    /// Null: there is no room. Comes back when the last copy goes, on any thread.
    [[nodiscard]] actors::ContentRoom take(NodeId owner, std::uint64_t bytes) {
        const std::lock_guard lock(state_->mutex);
        bus::BodyRoom room = state_->budget.take(owner, bytes);
        if (!room) return nullptr;
        return {static_cast<const void*>(this), [state = state_, room](const void*) mutable {
                    const std::lock_guard giving_back(state->mutex);
                    room.reset();
                }};
    }

  private:
    struct State {
        std::mutex mutex;
        bus::BodyBudget budget{small_messages_bytes_max};
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

class ClientHostImpl final : public ClientHost {
  public:
    explicit ClientHostImpl(ClientHostOptions options)
        : options_(std::move(options)), workers_(actors::workers_of(options_.workers)) {}

    Result<> start(Helper helper) {
        Processes::Options options;
        options.spares = spare_processes;
        options.on_lost = [this](const std::string& how) { fail_for_good(how); };
        options.on_fault = [this](const std::string& what) { log(app::Level::error, {}, what); };
        auto made = Processes::make(std::move(helper), std::move(options));
        if (!made) return tl::unexpected(made.error());
        processes_ = std::move(*made);
        return {};
    }

    actors::ClientApp with(actors::ClientApp others) override {
        actors::ClientApp both = others;
        both.on_join([this, others](actors::Context& context) -> Result<> {
            const auto config = run_config_of(context.invitation().agreed);
            if (!config) return others.join(context);
            if (!*config) return tl::unexpected(config->error());
            return join(context, **config);
        });
        both.on_end([this, others](const actors::Ending& ending, actors::Context& context) {
            const AppRun* const run = context.state<AppRun>();
            if (run == nullptr) return others.end(ending, context);
            say_the_end(run->id, ending);
            if (run->asked)
                processes_->post([this, key = run->key] { end(key); });
            else if (options_.run_over)
                options_.run_over(run->id);
        });
        both.on_deferred(app_message_type, [this](actors::Message&& message,
                                                  actors::Context& context, actors::Replier reply) {
            take(std::move(message), context, std::move(reply));
        });
        return both;
    }

    void on_failure(std::function<void(const Failure&)> tell) override {
        const std::lock_guard lock(failure_mutex_);
        tell_failure_ = std::move(tell);
        if (failure_ && tell_failure_) tell_failure_(*failure_);
    }

  private:
    struct Run {
        RunId id;
        Begin begin;
        std::deque<Job> waiting;
        std::optional<Job> current;
        bool expired = false;  ///< current has, and was answered by that
        bool queued = false;   ///< in queue_
        bool said_to_wait = false;
        Processes::Timer to_say = 0;  ///< that it waits
        TimePoint progress_due;
        Processes::Id process = 0;
        LogLimit log_limit;
        bool over = false;
    };
    using Runs = std::map<std::uint64_t, Run>;

    // -- on the threads of the node ---------------------------------------------------------
    Result<> join(actors::Context& context, const app::Values& config) {
        const actors::Invitation& invitation = context.invitation();
        context.config_hash = hash256(invitation.agreed);
        auto state = std::make_shared<AppRun>();
        state->key = ++last_key_;
        state->id = invitation.run;
        state->begin = {invitation.run.hex(),
                        node_id_of(options_.node_name).value,
                        options_.node_name,
                        context.rank(),
                        config,
                        options_.node_config};
        context.set_state(std::move(state));
        return {};
    }

    void take(actors::Message&& message, actors::Context& context, actors::Replier reply) {
        AppRun* const run = context.state<AppRun>();
        if (run == nullptr)
            return reply(fail(Errc::unknown_message,
                              options_.node_name + " takes part in no app in this run"));
        auto envelope = decode_envelope(message.content);
        if (!envelope) return reply(tl::unexpected(envelope.error()));
        if (!message.room) {
            const NodeId owner = message.metadata.src_node_id;
            message.room = small_.take(owner, message.content.size());
        }
        if (!message.room)
            return reply(fail(Errc::too_many, options_.node_name +
                                                  " holds as many unanswered messages of one owner "
                                                  "as it may"));
        if (!run->asked && !enter())
            return reply(fail(Errc::too_many, options_.node_name + " serves " +
                                                  std::to_string(served_runs_max) +
                                                  " runs of apps at once, its limit"));
        auto job = std::make_shared<Job>(Job{
            ++last_serial_, std::move(reply), message.metadata.src_node_id.value,
            std::move(envelope->message_type), std::move(message.content), std::move(message.room),
            processes_->now() + std::chrono::milliseconds(envelope->ttl_ms), envelope->ttl_ms});
        std::shared_ptr<Run> fresh;
        if (!std::exchange(run->asked, true)) {
            fresh = std::make_shared<Run>();
            fresh->id = run->id;
            fresh->begin = std::move(run->begin);
        }
        processes_->post([this, key = run->key, job, fresh] {
            if (fresh) runs_.emplace(key, std::move(*fresh));
            accept(key, std::move(*job));
        });
    }

    /// Logs why a run is over, also when its server was killed and could tell nobody: the broker
    /// has named it then.
    void say_the_end(const RunId& run, const actors::Ending& ending) const {
        if (ending.code == Errc::ok) return log(app::Level::debug, run, std::string(run_has_ended));
        log(ending.code == Errc::cancelled ? app::Level::info : app::Level::warning, run,
            std::string(run_has_ended) + ": " + ending.sentence);
    }

    bool enter() {
        if (++served_ <= served_runs_max) return true;
        --served_;
        return false;
    }

    // -- on the thread of the processes -------------------------------------------------------
    void accept(std::uint64_t key, Job job) {
        const auto found = runs_.find(key);
        if (found == runs_.end() || found->second.over) return;
        job.timer =
            processes_->at(job.expires, [this, key, serial = job.serial] { expire(key, serial); });
        found->second.waiting.push_back(std::move(job));
        queue(key, found->second);
    }

    /// A run whose next message could be handled gets in line for a worker.
    void queue(std::uint64_t key, Run& run) {
        if (run.current || run.waiting.empty() || run.over || run.queued) return;
        run.queued = true;
        queue_.push_back(key);
        serve();
        if (run.queued)
            run.to_say = processes_->at(processes_->now() + waiting_said_after,
                                        [this, key] { say_that_it_waits(key); });
    }

    void serve() {
        while (at_work_ < workers_ && !queue_.empty()) {
            const std::uint64_t key = queue_.front();
            queue_.pop_front();
            Run& run = runs_.at(key);
            stop_waiting(run);
            if (!run.waiting.empty() && !run.over) handle_next(key, run);
        }
    }

    void stop_waiting(Run& run) {
        run.queued = false;
        processes_->cancel(std::exchange(run.to_say, 0));
        if (std::exchange(run.said_to_wait, false) && !run.waiting.empty() && !run.over)
            log(app::Level::info, run.id, "goes on at " + options_.node_name);
    }

    void say_that_it_waits(std::uint64_t key) {
        const auto found = runs_.find(key);
        if (found == runs_.end() || !found->second.queued || found->second.waiting.empty()) return;
        found->second.said_to_wait = true;
        log(app::Level::info, found->second.id,
            "waits at " + options_.node_name + ", where " + std::to_string(at_work_) +
                " handlers of apps are at work, its limit ([bus] workers); " +
                std::to_string(queue_.size()) + " runs wait");
    }

    void handle_next(std::uint64_t key, Run& run) {
        VFLBUS_ASSERT(!run.current, "a run has one handler at work");
        Job job = std::move(run.waiting.front());
        run.waiting.pop_front();
        if (run.process == 0) begin(key, run);
        FrameHead head;
        head.kind = FrameKind::request;
        head.node = job.source;
        processes_->send(run.process, head, std::exchange(job.content, {}), job.room);
        run.expired = false;
        run.progress_due = processes_->now() + progress_every;
        run.current = std::move(job);
        ++at_work_;
    }

    /// The handler of `run` has returned, or is gone with its process.
    void release(std::uint64_t key, Run& run) {
        VFLBUS_ASSERT(run.current && at_work_ > 0, "a handler that returns had begun");
        processes_->cancel(run.current->timer);
        run.current.reset();
        --at_work_;
        queue(key, run);
        serve();
    }

    void begin(std::uint64_t key, Run& run) {
        run.process =
            processes_->start({[this, key](ChildFrame&& frame) { on_frame(key, std::move(frame)); },
                               [this, key](const std::string& how, bool) { ended(key, how); }});
        processes_->send(run.process, {FrameKind::begin}, encode(run.begin));
    }

    void on_frame(std::uint64_t key, ChildFrame frame) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        switch (frame.head.kind) {
            case FrameKind::log:
                if (const auto line = decode_log(frame.body)) log_of(run, *line);
                return note_progress(run);
            case FrameKind::progress:
                return note_progress(run);
            case FrameKind::answer:
                return answered(key, run, std::move(frame.body));
            case FrameKind::refusal: {
                const auto refusal = decode_outcome(frame.body);
                return answered(key, run,
                                refusal ? fail(static_cast<Errc>(refusal->code),
                                               options_.node_name + ": " + refusal->sentence)
                                        : tl::unexpected(refusal.error()));
            }
            default:
                return;
        }
    }

    void answered(std::uint64_t key, Run& run, Result<Bytes> answer) {
        if (!run.current) return;
        if (!run.expired) run.current->reply(std::move(answer));
        release(key, run);
    }

    void log_of(Run& run, const LogLine& line) {
        if (!run.log_limit.allows(line.text.size(), processes_->now())) return;
        if (const std::string word = run.log_limit.take_word(); !word.empty())
            log(app::Level::warning, run.id, word);
        log(line.level, run.id, line.text);
    }

    /// A handler says that it is not stuck. What waits for it, or for its place, is not either.
    void note_progress(Run& run) {
        if (!run.current || processes_->now() < run.progress_due) return;
        run.progress_due = processes_->now() + progress_every;
        run.current->reply.progress();
        for (const Job& job : run.waiting) job.reply.progress();
        for (const std::uint64_t key : queue_)
            for (const Job& job : runs_.at(key).waiting) job.reply.progress();
    }

    void ended(std::uint64_t key, const std::string& how) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        run.process = 0;
        if (!run.over) {
            const std::string lost = "; its state of the run is lost";
            const bool in_handler = run.current && !run.expired;
            const std::string what =
                "the app's process " + how +
                (in_handler ? " in handler " + run.current->type : std::string()) + lost;
            log(app::Level::warning, run.id, what);
            if (in_handler)
                run.current->reply(fail(Errc::handler_failed, options_.node_name + ": " + what));
        }
        if (run.current) release(key, run);
        if (run.over) forget(found);
    }

    void expire(std::uint64_t key, std::uint64_t serial) {
        const auto found = runs_.find(key);
        if (found == runs_.end() || found->second.over) return;
        Run& run = found->second;
        if (run.current && run.current->serial == serial) return expire_current(key, run);
        const auto job = std::find_if(run.waiting.begin(), run.waiting.end(),
                                      [serial](const Job& j) { return j.serial == serial; });
        if (job == run.waiting.end()) return;
        job->reply(fail(Errc::expired, options_.node_name + ": message " + job->type +
                                           " waited longer than its time to live of " +
                                           ttl_of(*job)));
        run.waiting.erase(job);
    }

    void expire_current(std::uint64_t key, Run& run) {
        run.expired = true;
        run.current->reply(fail(Errc::expired, options_.node_name + ": handler " +
                                                   run.current->type +
                                                   " did not answer within the time to live of " +
                                                   ttl_of(*run.current)));
        processes_->send(run.process, {FrameKind::cancel});
        processes_->at(processes_->now() + options_.grace,
                       [this, key, serial = run.current->serial] {
                           const auto again = runs_.find(key);
                           if (again == runs_.end()) return;
                           if (again->second.current && again->second.current->serial == serial)
                               processes_->kill(again->second.process);
                       });
    }

    void end(std::uint64_t key) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        run.over = true;
        for (const Job& job : run.waiting) processes_->cancel(job.timer);
        run.waiting.clear();
        if (run.queued) {
            std::erase(queue_, key);
            stop_waiting(run);
        }
        if (run.process == 0) return forget(found);
        if (run.current) processes_->send(run.process, {FrameKind::cancel});
        processes_->send(run.process, {FrameKind::end});
        processes_->at(processes_->now() + options_.grace, [this, key] {
            const auto again = runs_.find(key);
            if (again == runs_.end()) return;
            log(app::Level::warning, again->second.id,
                "the app's process did not leave in time and is killed");
            processes_->kill(again->second.process);
        });
    }

    void forget(Runs::iterator at) {
        const RunId run = at->second.id;
        if (const std::string word = at->second.log_limit.take_word(); !word.empty())
            log(app::Level::warning, run, word);
        runs_.erase(at);
        --served_;
        if (options_.run_over) options_.run_over(run);
    }

    void fail_for_good(const std::string& how) {
        Failure failure{Errc::internal,
                        "the helper of apps at " + options_.node_name + " " + how +
                            "; the node can start no more processes of apps and ends"};
        failure.party = options_.node_name;
        failure.hint = "start the node again";
        log(app::Level::error, {}, failure.sentence);
        const std::lock_guard lock(failure_mutex_);
        failure_ = failure;
        if (tell_failure_) tell_failure_(failure);
    }

    static std::string ttl_of(const Job& job) {
        return human_seconds(static_cast<double>(job.ttl_ms) / 1000);
    }

    void log(app::Level level, const RunId& run, const std::string& text) const {
        if (options_.log) options_.log(level, run, text);
    }

    ClientHostOptions options_;
    const std::size_t workers_;
    std::atomic<std::uint64_t> last_key_{0};
    std::atomic<std::uint64_t> last_serial_{0};
    std::atomic<std::size_t> served_{0};  ///< runs that had a message and are not over
    SmallMessages small_;
    std::mutex failure_mutex_;  ///< guards the next two
    std::optional<Failure> failure_;
    std::function<void(const Failure&)> tell_failure_;
    Runs runs_;
    std::deque<std::uint64_t> queue_;  ///< runs that wait for a worker, in their order
    std::size_t at_work_ = 0;          ///< handlers that have begun and not returned
    /// Last, so that its thread ends before what its callbacks use; and never reset, since that
    /// thread reads it until then.
    std::unique_ptr<Processes> processes_;
};

}  // namespace

Result<std::unique_ptr<ClientHost>> ClientHost::make(Helper helper, ClientHostOptions options) {
    auto host = std::make_unique<ClientHostImpl>(std::move(options));
    if (auto started = host->start(std::move(helper)); !started)
        return tl::unexpected(started.error());
    return host;
}

}  // namespace vflbus::apps
