#include "apps/server_host.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "apps/log_limit.hpp"
#include "apps/outbox.hpp"
#include "apps/processes.hpp"
#include "apps/run_config.hpp"
#include "base/assert.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace vflbus::apps {
namespace {

/// How long main waits for the nodes that are there to join its run.
constexpr Duration join_patience = std::chrono::seconds(1);
/// Calls of log_metrics that are kept; include/vflbus/app.hpp promises it.
constexpr std::size_t metrics_calls_max = 10'000;

class ServerHostImpl final : public ServerHost {
  public:
    explicit ServerHostImpl(ServerHostOptions options)
        : options_(std::move(options)), outbox_(bus::outstanding_requests_max, options_.grace) {
        spec_.run = options_.run;
        spec_.agreed = agreed_text(options_.run_config);
        spec_.config_hash = hash256(spec_.agreed);
        spec_.participants = options_.participants;
        if (spec_.participants.empty()) spec_.participants.push_back({"*", "member", -1});
    }

    Result<> start(Helper helper) {
        Processes::Options options;
        options.on_fault = [this](const std::string& what) {
            close({Errc::handler_failed, options_.node_name + ": " + what});
        };
        auto made = Processes::make(std::move(helper), std::move(options));
        if (!made) return tl::unexpected(made.error());
        processes_ = std::move(*made);
        processes_->post([this] {
            process_ =
                processes_->start({[this](ChildFrame&& frame) { on_frame(std::move(frame)); },
                                   [this](const std::string& how, bool) { ended(how); }});
        });
        return {};
    }

    // -- actors::ServerApp: the strand of the run -------------------------------------------
    const actors::RunSpec& spec() const override { return spec_; }

    void on_opened(actors::Driver& driver) override {
        std::optional<Failure> already;  // its process has not lived to see this
        {
            const std::lock_guard lock(mutex_);
            driver_ = &driver;
            already = outcome_;
        }
        if (already) return driver.close(already->code, already->sentence);
        begin_by_ = driver.now() + join_patience;
        begin_when_all_joined(driver);
        arm(driver);
    }

    void on_join(actors::Driver& driver, NodeId node, const bus::Join& join) override {
        names_[node] = join.name;
        answered_.insert(node);
        if (join.code != Errc::ok) {
            log(app::Level::warning, join.name + " takes no part: " + join.sentence);
            leave(node, Errc::refused, join.sentence);
        } else {
            joined_.insert(node);
            there(node, true);
        }
        begin_when_all_joined(driver);
    }

    void on_peer(actors::Driver&, const actors::PeerEvent& event) override {
        using What = actors::PeerEvent::What;
        if (event.what == What::up && joined_.count(event.node) != 0) {
            if (present_.count(event.node) == 0 && begun_)
                log(app::Level::info, names_[event.node] + " is back");
            there(event.node, true);
        }
        if (event.what == What::up || event.reason == Errc::refused) return;
        const std::string time = human_seconds(std::chrono::duration<double>(event.silent).count());
        const std::string how =
            event.reason == Errc::stalled
                ? "is busy and has made no progress for " + time + " (bus.progress_stall_after)"
            : event.silent > Duration(0) ? "was not heard of for " + time
            : event.reason == Errc::ok   ? "was ended by its operator"
                                         : "has left";
        if (present_.count(event.node) != 0)
            log(app::Level::warning, names_[event.node] + " " + how);
        if (event.what == What::down) leave(event.node, Errc::peer_lost, how);
    }

    void on_reply(actors::Driver& driver, actors::Message&& reply) override {
        const NodeId node = reply.metadata.src_node_id;
        const std::uint64_t message = outbox_.answered(node, reply.metadata.message_id);
        if (message != 0 && reply.has_content()) {
            ++replies_;
            tell({FrameKind::reply, node.value, message}, std::move(reply.content),
                 std::move(reply.room));
        } else if (message != 0) {
            failed(message, node, reply.error);
        }
        send_waiting(driver, node);
        settle();
        arm(driver);
    }

    void on_timer(actors::Driver& driver) override {
        const TimePoint now = driver.now();
        if (!begun_ && now >= begin_by_) begin();
        for (const auto& [message, node] : outbox_.expire(now))
            failed(message, node,
                   {Errc::expired, names_[node] + " did not answer within the time to live"});
        settle();
        arm(driver);
    }

    void on_stop(actors::Driver& driver) override {
        if (stopping_.exchange(true)) return;
        const bool opened = [this] {
            const std::lock_guard lock(mutex_);
            return driver_ != nullptr;
        }();
        if (!opened) return driver.close(Errc::cancelled, "the run was stopped by its owner");
        tell({FrameKind::cancel});
        let_go_on();
        processes_->post([this] {
            processes_->at(processes_->now() + options_.grace, [this] {
                log(app::Level::warning, "main did not return in time and is killed");
                processes_->kill(process_);
            });
        });
    }

    void on_link(actors::Driver&, bool up, const std::string& sentence) override {
        if (up == up_) return;
        up_ = up;
        if (!up) log(app::Level::warning, sentence);
    }

    void on_closed(const actors::Ending& ending) override {
        {
            const std::lock_guard lock(mutex_);
            driver_ = nullptr;
            if (!outcome_) outcome_ = Failure{ending.code, ending.sentence};
        }
        over_ = true;
        tell({FrameKind::cancel});
        let_go_on();
    }

    // -- ServerHost ---------------------------------------------------------------------------
    Failure finish() override {
        std::unique_lock lock(mutex_);
        driver_ = nullptr;  // it may be gone when this has returned
        gone_.wait_for(lock, options_.grace, [this] { return process_gone_; });
        return outcome_.value_or(Failure{Errc::internal, "the run did not end"});
    }

    Counts counts() const override { return {pushed_, replies_, errors_, most_unanswered_}; }

  private:
    // -- on the strand of the run -----------------------------------------------------------
    /// Main begins when it can see all nodes that were there, and not the first that answered.
    void begin_when_all_joined(actors::Driver& driver) {
        if (!begun_ && begin_by_ != TimePoint::max() && answered_.size() >= driver.asked()) begin();
    }

    void begin() {
        begun_ = true;
        const Begin begin{options_.run.hex(),  node_id_of(options_.node_name).value,
                          options_.node_name,  -1,
                          options_.run_config, {}};
        tell({FrameKind::begin}, encode(begin));
        std::vector<NodeChange> nodes;
        for (const NodeId node : present_) nodes.push_back({node.value, names_[node], true});
        if (!nodes.empty()) tell({FrameKind::nodes}, encode(std::span<const NodeChange>(nodes)));
    }

    void there(NodeId node, bool is) {
        const bool changed = is ? present_.insert(node).second : present_.erase(node) != 0;
        if (!changed || !begun_) return;
        const NodeChange change{node.value, names_[node], is};
        tell({FrameKind::nodes}, encode(std::span<const NodeChange>(&change, 1)));
    }

    /// What it was asked comes back as an error; what the link still holds is answered in silence.
    void leave(NodeId node, Errc code, const std::string& why) {
        there(node, false);
        const Failure failure{code, names_[node] + " " + why};
        for (const std::uint64_t message : outbox_.give_up(node)) failed(message, node, failure);
        settle();
    }

    void push(actors::Driver& driver, const FrameHead& head, Bytes envelope) {
        const NodeId node{head.node};
        const std::uint64_t cost = Outbox::cost_of(envelope.size());
        const bool fresh = head.message > last_message_;  // else an app that breaks its own driver
        if (!fresh || present_.count(node) == 0) {
            unanswered_ -= cost;
            let_go_on_below_half();
        }
        if (!fresh) return;
        last_message_ = head.message;
        ++pushed_;
        if (present_.count(node) == 0)
            return failed(head.message, node, {Errc::peer_lost, names_[node] + " has left"});
        outbox_cost_ += cost;
        outbox_.add(node, head.message, driver.now() + std::chrono::milliseconds(head.ttl_ms),
                    std::move(envelope));
        send_waiting(driver, node);
        settle();
        arm(driver);
    }

    // -- how much main may have unanswered -------------------------------------------------------
    // Main may push faster than nodes answer. What it has pushed is counted when its frame has
    // come, on the thread of the process, and counted off on the strand of the run, when the outbox
    // has closed it. Above the bound no more is read of main, which waits in its next write, until
    // half of it is answered.

    /// Counts off what the outbox has closed since the last call.
    void settle() {
        VFLBUS_ASSERT(outbox_cost_ >= outbox_.cost(), "the outbox holds what it was given");
        unanswered_ -= outbox_cost_ - outbox_.cost();
        outbox_cost_ = outbox_.cost();
        let_go_on_below_half();
    }

    void let_go_on_below_half() {
        if (paused_ && unanswered_ <= options_.unanswered_bytes_max / 2) let_go_on();
    }

    void let_go_on() {
        if (!paused_.exchange(false)) return;
        processes_->post([this] { processes_->pause(process_, false); });
    }

    /// On the thread of the process: main has pushed a message.
    void count_push(std::size_t bytes) {
        const std::uint64_t now = unanswered_ += Outbox::cost_of(bytes);
        if (now > most_unanswered_) most_unanswered_ = now;
        if (now <= options_.unanswered_bytes_max || stopping_ || over_) return;
        processes_->pause(process_, true);
        paused_ = true;
        let_go_on_below_half();  // they may have been answered between the two lines
        if (stopping_ || over_) let_go_on();
    }

    /// The link takes a few unanswered messages per node; the others wait in the outbox.
    void send_waiting(actors::Driver& driver, NodeId node) {
        const auto refused = outbox_.send(node, [&](Bytes content) {
            return driver.push_message(node, app_message_type, std::move(content));
        });
        for (const Outbox::Failed& each : refused) failed(each.message, node, each.failure);
    }

    void arm(actors::Driver& driver) {
        const TimePoint expiry = outbox_.next_expiry();
        driver.set_timer(begun_ ? expiry : std::min(expiry, begin_by_));
    }

    void failed(std::uint64_t message, NodeId node, const Failure& failure) {
        ++errors_;
        tell({FrameKind::failed, node.value, message},
             encode(Outcome{static_cast<int>(failure.code), failure.sentence}));
    }

    void tell(FrameHead head, Bytes body = {}, actors::ContentRoom room = {}) {
        processes_->post(
            [this, head, room = std::move(room), body = std::make_shared<Bytes>(std::move(body))] {
                processes_->send(process_, head, std::move(*body), room);
            });
    }

    // -- on the thread of the process ----------------------------------------------------------
    void on_strand(std::function<void(actors::Driver&)> work) {
        const std::lock_guard lock(mutex_);
        if (driver_ != nullptr)
            driver_->post([driver = driver_, work = std::move(work)] { work(*driver); });
    }

    void on_frame(ChildFrame frame) {
        switch (frame.head.kind) {
            case FrameKind::log:
                if (const auto line = decode_log(frame.body)) log_of_app(*line);
                return;
            case FrameKind::metrics:
                if (auto metrics = decode_metrics(frame.body); metrics && options_.metrics)
                    if (++metrics_calls_ <= metrics_calls_max)
                        options_.metrics(std::move(*metrics));
                return;
            case FrameKind::push: {
                count_push(frame.body.size());
                auto envelope = std::make_shared<Bytes>(std::move(frame.body));
                return on_strand([this, head = frame.head, envelope](actors::Driver& driver) {
                    push(driver, head, std::move(*envelope));
                });
            }
            case FrameKind::done: {
                const auto outcome = decode_outcome(frame.body);
                if (!outcome) return;
                return close(outcome->code == 0
                                 ? Failure{Errc::ok, "done"}
                                 : Failure{static_cast<Errc>(outcome->code), outcome->sentence});
            }
            default:
                return;
        }
    }

    void log_of_app(const LogLine& line) {
        if (!log_limit_.allows(line.text.size(), processes_->now())) return;
        if (const std::string word = log_limit_.take_word(); !word.empty())
            log(app::Level::warning, word);
        log(line.level, line.text);
    }

    void ended(const std::string& how) {
        if (const std::string word = log_limit_.take_word(); !word.empty())
            log(app::Level::warning, word);
        close({Errc::handler_failed, "the process of the ServerApp " + how});
        const std::lock_guard lock(mutex_);
        process_gone_ = true;
        gone_.notify_all();
    }

    /// The first reason counts.
    void close(Failure failure) {
        if (stopping_) failure = {Errc::cancelled, "the run was stopped by its owner"};
        {
            const std::lock_guard lock(mutex_);
            if (outcome_) return;
            outcome_ = failure;
        }
        on_strand(
            [failure](actors::Driver& driver) { driver.close(failure.code, failure.sentence); });
    }

    void log(app::Level level, const std::string& text) const {
        if (options_.log) options_.log(level, options_.run, text);
    }

    ServerHostOptions options_;
    actors::RunSpec spec_;
    // of the strand of the run
    bool begun_ = false;
    bool up_ = true;
    TimePoint begin_by_ = TimePoint::max();
    std::map<NodeId, std::string> names_;
    std::set<NodeId> answered_;  ///< joined or declined
    std::set<NodeId> joined_;
    std::set<NodeId> present_;
    Outbox outbox_;
    std::uint64_t last_message_ = 0;
    std::atomic<std::uint64_t> pushed_{0};
    std::atomic<std::uint64_t> replies_{0};
    std::atomic<std::uint64_t> errors_{0};
    std::uint64_t outbox_cost_ = 0;  ///< of the outbox when `settle` was called last
    std::atomic<std::uint64_t> unanswered_{0};
    std::atomic<std::uint64_t> most_unanswered_{0};
    std::atomic<bool> paused_{false};  ///< main waits until less is unanswered
    std::atomic<bool> stopping_{false};
    std::atomic<bool> over_{false};
    // of the thread of the process
    Processes::Id process_ = 0;
    LogLimit log_limit_;
    std::size_t metrics_calls_ = 0;

    std::mutex mutex_;  ///< guards what follows
    actors::Driver* driver_ = nullptr;
    std::optional<Failure> outcome_;
    bool process_gone_ = false;
    std::condition_variable gone_;

    // Last, so that its thread ends before what its callbacks use. And no `reset` before that: it
    // clears the pointer first, which posted work still reads until the thread has ended.
    std::unique_ptr<Processes> processes_;
};

}  // namespace

Result<std::unique_ptr<ServerHost>> ServerHost::make(Helper helper, ServerHostOptions options) {
    auto host = std::make_unique<ServerHostImpl>(std::move(options));
    if (auto started = host->start(std::move(helper)); !started)
        return tl::unexpected(started.error());
    return host;
}

}  // namespace vflbus::apps
