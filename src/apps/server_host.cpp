#include "apps/server_host.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "apps/processes.hpp"
#include "base/text.hpp"

namespace vflbus::apps {
namespace {

/// How long main waits for the nodes that are there to join its run.
constexpr Duration join_patience = std::chrono::seconds(1);

class ServerHostImpl final : public ServerHost {
  public:
    ServerHostImpl(Helper helper, ServerHostOptions options)
        : options_(std::move(options)), processes_(Processes::make(std::move(helper), 0, {})) {
        spec_.run = options_.run;
        spec_.agreed = agreed_text(options_.run_config);
        spec_.config_hash = hash256(spec_.agreed);
        spec_.participants = options_.participants;
        if (spec_.participants.empty()) spec_.participants.push_back({"*", "member", -1});
        processes_->post([this] {
            process_ =
                processes_->start({[this](Told kind, Bytes&& body) { told(kind, std::move(body)); },
                                   [this](const std::string& how, bool) { ended(how); }});
        });
    }

    ~ServerHostImpl() override {
        processes_.reset();  // before what its callbacks use
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
            refusals_[node] = join.sentence;
            log(app::Level::warning, join.name + " takes no part: " + join.sentence);
            leave(driver, node, Errc::refused, join.sentence);
        } else {
            refusals_.erase(node);
            there(node, true);
        }
        begin_when_all_joined(driver);
    }

    void on_peer(actors::Driver& driver, const actors::PeerEvent& event) override {
        using What = actors::PeerEvent::What;
        if (event.what == What::up && joined_.count(event.node) != 0) there(event.node, true);
        if (event.what != What::down || event.reason == Errc::refused) return;
        const std::string time = human_seconds(std::chrono::duration<double>(event.silent).count());
        leave(driver, event.node, Errc::peer_lost,
              event.reason == Errc::stalled
                  ? "is busy and has not got on for " + time + " (bus.progress_stall_after)"
              : event.silent > Duration(0) ? "was not heard of for " + time
                                           : "has left");
    }

    void on_reply(actors::Driver& driver, actors::Message&& reply) override {
        const auto found = open_.find({reply.metadata.src_node_id, reply.metadata.message_id});
        if (found != open_.end()) {
            const Open open = std::move(found->second);
            open_.erase(found);
            --under_way_[reply.metadata.src_node_id];
            if (!open.id.empty()) {
                expiries_.erase({open.expires, open.id});
                if (reply.has_content()) {
                    ++replies_;
                    tell(Told::reply,
                         encode_replied(open.id, reply.metadata.src_node_id.value, reply.content));
                } else {
                    failed(open.id, reply.metadata.src_node_id, reply.error);
                }
            }
        }
        send_waiting(driver, reply.metadata.src_node_id);
    }

    void on_timer(actors::Driver& driver) override {
        const TimePoint now = driver.now();
        if (!begun_ && now >= begin_by_) begin();
        while (!expiries_.empty() && expiries_.begin()->first <= now) {
            const std::string id = expiries_.begin()->second;
            expiries_.erase(expiries_.begin());
            expire(id);
        }
        arm(driver);
    }

    void on_stop(actors::Driver& driver) override {
        if (stopping_.exchange(true)) return;
        const bool opened = [this] {
            const std::lock_guard lock(mutex_);
            return driver_ != nullptr;
        }();
        if (!opened) return driver.close(Errc::cancelled, "the run was stopped by its owner");
        tell(Told::cancel, {});
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
        tell(Told::cancel, {});
    }

    // -- ServerHost ---------------------------------------------------------------------------
    Failure finish() override {
        std::unique_lock lock(mutex_);
        driver_ = nullptr;  // it may be gone when this has returned
        gone_.wait_for(lock, options_.grace, [this] { return process_gone_; });
        return outcome_.value_or(Failure{Errc::internal, "the run did not end"});
    }

    Counts counts() const override { return {pushed_, replies_, errors_}; }

  private:
    struct Open {
        std::string id;  ///< empty: nobody waits for it any more
        TimePoint expires;
    };
    struct Waiting {
        std::string id;
        TimePoint expires;
        Bytes envelope;
    };

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
        tell(Told::begin, encode(begin));
        std::vector<NodeChange> nodes;
        for (const NodeId node : present_) nodes.push_back({node.value, names_[node], true});
        if (!nodes.empty()) tell(Told::nodes, encode(std::span<const NodeChange>(nodes)));
    }

    void there(NodeId node, bool is) {
        if (is ? !joined_.insert(node).second && present_.count(node) != 0
               : present_.count(node) == 0)
            return;
        if (is)
            present_.insert(node);
        else
            present_.erase(node);
        if (!begun_) return;
        const NodeChange change{node.value, names_[node], is};
        tell(Told::nodes, encode(std::span<const NodeChange>(&change, 1)));
    }

    /// What it was asked comes back as an error; what the link still holds is answered in silence.
    void leave(actors::Driver&, NodeId node, Errc code, const std::string& why) {
        there(node, false);
        const Failure failure{code, names_[node] + " " + why};
        for (auto& [key, open] : open_) {
            if (key.first != node || open.id.empty()) continue;
            expiries_.erase({open.expires, open.id});
            failed(std::exchange(open.id, {}), node, failure);
        }
        const auto queue = waiting_.find(node);
        if (queue == waiting_.end()) return;
        for (const Waiting& message : queue->second) {
            expiries_.erase({message.expires, message.id});
            failed(message.id, node, failure);
        }
        waiting_.erase(queue);
    }

    void push(actors::Driver& driver, NodeId node, Bytes envelope_bytes) {
        const auto envelope = decode_envelope(envelope_bytes);
        if (!envelope) return;  // an app that breaks its own driver
        ++pushed_;
        if (present_.count(node) == 0)
            return failed(envelope->message_id, node,
                          {Errc::peer_lost, names_[node] + " has left"});
        const TimePoint expires = driver.now() + std::chrono::milliseconds(envelope->ttl_ms);
        expiries_.insert({expires, envelope->message_id});
        waiting_[node].push_back({envelope->message_id, expires, std::move(envelope_bytes)});
        send_waiting(driver, node);
        arm(driver);
    }

    /// The link takes a few unanswered messages per node; the others wait here.
    void send_waiting(actors::Driver& driver, NodeId node) {
        const auto found = waiting_.find(node);
        if (found == waiting_.end()) return;
        std::deque<Waiting>& queue = found->second;
        while (!queue.empty() && under_way_[node] < bus::outstanding_requests_max) {
            Waiting& next = queue.front();
            const auto number =
                driver.push_message(node, app_message_type, std::move(next.envelope));
            if (number) {
                open_[{node, *number}] = {next.id, next.expires};
                ++under_way_[node];
            } else {
                expiries_.erase({next.expires, next.id});
                failed(next.id, node, number.error());
            }
            queue.pop_front();
        }
        if (queue.empty()) waiting_.erase(found);
    }

    void expire(const std::string& id) {
        const auto late = [&](NodeId node) {
            failed(id, node,
                   {Errc::expired, names_[node] + " did not answer within the time to live"});
        };
        for (auto& [key, open] : open_)
            if (open.id == id) {
                open.id.clear();
                return late(key.first);
            }
        for (auto& [node, queue] : waiting_)
            for (auto at = queue.begin(); at != queue.end(); ++at)
                if (at->id == id) {
                    queue.erase(at);
                    return late(node);
                }
    }

    void arm(actors::Driver& driver) {
        const TimePoint expiry = expiries_.empty() ? TimePoint::max() : expiries_.begin()->first;
        driver.set_timer(begun_ ? expiry : std::min(expiry, begin_by_));
    }

    void failed(const std::string& id, NodeId node, const Failure& failure) {
        ++errors_;
        tell(Told::failed, encode(FailedMessage{id, node.value, static_cast<int>(failure.code),
                                                failure.sentence}));
    }

    void tell(Told kind, Bytes body) {
        processes_->post([this, kind, body = std::make_shared<Bytes>(std::move(body))] {
            processes_->tell(process_, kind, std::move(*body));
        });
    }

    // -- on the thread of the process ----------------------------------------------------------
    void on_strand(std::function<void(actors::Driver&)> work) {
        const std::lock_guard lock(mutex_);
        if (driver_ != nullptr)
            driver_->post([driver = driver_, work = std::move(work)] { work(*driver); });
    }

    void told(Told kind, Bytes&& body) {
        switch (kind) {
            case Told::log:
                if (const auto line = decode_log(body)) log(line->level, line->text);
                return;
            case Told::metrics:
                if (auto metrics = decode_metrics(body); metrics && options_.metrics)
                    options_.metrics(std::move(*metrics));
                return;
            case Told::push: {
                const auto addressed = decode_addressed(body);
                if (!addressed) return;
                auto envelope =
                    std::make_shared<Bytes>(addressed->envelope.begin(), addressed->envelope.end());
                return on_strand(
                    [this, node = NodeId{addressed->node}, envelope](actors::Driver& driver) {
                        push(driver, node, std::move(*envelope));
                    });
            }
            case Told::done: {
                const auto outcome = decode_outcome(body);
                if (!outcome) return;
                return close(outcome->code == 0
                                 ? Failure{Errc::ok, "done"}
                                 : Failure{static_cast<Errc>(outcome->code), outcome->sentence});
            }
            default:
                return;
        }
    }

    void ended(const std::string& how) {
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
    // of the strand
    bool up_ = true;
    bool begun_ = false;  ///< main was told to begin
    TimePoint begin_by_ = TimePoint::max();
    std::set<NodeId> answered_;  ///< joined or declined
    std::map<NodeId, std::string> names_;
    std::map<NodeId, std::string> refusals_;
    std::set<NodeId> joined_;
    std::set<NodeId> present_;
    std::map<std::pair<NodeId, std::uint64_t>, Open> open_;  ///< by node and request number
    std::map<NodeId, std::size_t> under_way_;
    std::map<NodeId, std::deque<Waiting>> waiting_;
    std::set<std::pair<TimePoint, std::string>> expiries_;
    std::atomic<std::uint64_t> pushed_{0};
    std::atomic<std::uint64_t> replies_{0};
    std::atomic<std::uint64_t> errors_{0};
    // shared
    std::atomic<bool> stopping_{false};
    mutable std::mutex mutex_;
    std::condition_variable gone_;
    actors::Driver* driver_ = nullptr;
    std::optional<Failure> outcome_;
    bool process_gone_ = false;
    // of the thread of the process
    Processes::Id process_ = 0;
    std::unique_ptr<Processes> processes_;
};

}  // namespace

std::unique_ptr<ServerHost> ServerHost::make(Helper helper, ServerHostOptions options) {
    return std::make_unique<ServerHostImpl>(std::move(helper), std::move(options));
}

}  // namespace vflbus::apps
