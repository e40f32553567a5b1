// main of a ServerApp, and its Driver. Main runs on the main thread; a second one reads what the
// node says, a third calls the app back when it asked for that.

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <set>

#include "apps/child.hpp"
#include "apps/child_channel.hpp"

namespace vflbus::apps {
namespace {

using Clock = std::chrono::steady_clock;

class ChildDriver final : public app::Driver {
  public:
    explicit ChildDriver(int socket) : channel(socket) {}

    // -- app::Driver ------------------------------------------------------------------
    const std::string& run_id() const override { return run_id_; }

    std::vector<app::NodeId> get_node_ids() override {
        const std::lock_guard lock(mutex_);
        return there_;
    }

    std::string name_of(app::NodeId node) override {
        const std::lock_guard lock(mutex_);
        const auto found = names_.find(node);
        return found == names_.end() ? std::string() : found->second;
    }

    bool wait_for_nodes(std::size_t count, app::Duration timeout) override {
        std::unique_lock lock(mutex_);
        wait(lock, timeout, [&] { return there_.size() >= count; });
        return there_.size() >= count;
    }

    std::vector<std::string> push_messages(const std::vector<app::Message>& messages) override {
        std::vector<std::string> ids;
        ids.reserve(messages.size());
        for (const app::Message& message : messages) ids.push_back(push(message));
        return ids;
    }

    std::vector<app::Message> pull_messages(const std::vector<std::string>& ids) override {
        const std::lock_guard lock(mutex_);
        std::vector<app::Message> pulled;
        for (const std::string& id : ids) {
            const auto found = arrived_.find(id);
            if (found == arrived_.end()) continue;
            pulled.push_back(take(found));
        }
        return pulled;
    }

    std::vector<app::Message> send_and_receive(const std::vector<app::Message>& messages,
                                               app::Duration timeout) override {
        const auto until = Clock::now() + bounded(timeout);
        const std::vector<std::string> ids = push_messages(messages);
        std::vector<app::Message> replies;
        std::vector<std::string> open;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            if (!ids[i].empty()) {
                open.push_back(ids[i]);
                continue;
            }
            app::Metadata metadata = messages[i].metadata();
            std::swap(metadata.src_node_id, metadata.dst_node_id);
            replies.emplace_back(std::move(metadata),
                                 app::Error{app::Error::refused, "the message was refused"});
        }
        std::unique_lock lock(mutex_);
        std::size_t there = 0;  // of `open`, from its beginning: none is looked for twice
        const auto all_there = [&] {
            while (there < open.size() && arrived_.count(open[there]) != 0) ++there;
            return there == open.size();
        };
        changed_.wait_until(lock, until, [&] { return channel.cancelled || all_there(); });
        for (const std::string& id : open)
            if (const auto found = arrived_.find(id); found != arrived_.end())
                replies.push_back(take(found));
        return replies;
    }

    bool wait_for_reply(app::Duration timeout) override {
        std::unique_lock lock(mutex_);
        wait(lock, timeout, [&] { return !arrived_.empty(); });
        return !arrived_.empty();
    }

    std::optional<app::Message> next_reply(app::Duration timeout) override {
        std::unique_lock lock(mutex_);
        wait(lock, timeout, [&] { return !arrived_.empty(); });
        if (arrived_.empty()) return {};
        return take(arrived_.find(order_.begin()->second));
    }

    void on_reply(std::function<void(app::Message)> take) override {
        const std::lock_guard lock(mutex_);
        callback_ = std::move(take);
        if (callback_ && !calling_) {
            calling_ = true;
            std::thread([this] { call_back(); }).detach();
        }
        changed_.notify_all();
    }

    void log_metrics(const std::map<std::string, double>& metrics, std::uint64_t step) override {
        if (metrics.size() > metrics_max)
            throw std::invalid_argument("log_metrics: " + std::to_string(metrics.size()) +
                                        " metrics; one step has " + std::to_string(metrics_max) +
                                        " at most");
        for (const auto& [name, value] : metrics)
            if (name.empty() || name.size() > metric_name_bytes_max)
                throw std::invalid_argument("log_metrics: the name \"" + name +
                                            "\" must have 1 to " +
                                            std::to_string(metric_name_bytes_max) + " bytes");
        channel.write({FrameKind::metrics}, encode(Metrics{step, metrics}));
    }

    // -- the other end ------------------------------------------------------------------
    int run(const app::Exported& exported) {
        exported.set_host(&channel);
        ChildChannel::Frame frame;
        if (!channel.read(frame) || frame.head.kind != FrameKind::begin) return 1;
        auto begin = decode_begin(frame.body.bytes());
        if (!begin) return 1;
        run_id_ = begin->run_id;
        self_ = begin->node_id;
        std::thread([this] { listen(); }).detach();
        app::Context context({begin->run_id, begin->node_id, begin->node_name, begin->rank,
                              std::move(begin->run_config), std::move(begin->node_config),
                              &channel.cancelled});
        Outcome outcome;
        const int failed = static_cast<int>(Errc::handler_failed);
        try {
            exported.server(*this, context);
        } catch (const std::exception& e) {
            outcome = {failed, std::string("the ServerApp failed: ") + e.what()};
        } catch (...) {
            outcome = {failed, "the ServerApp threw something that is no exception"};
        }
        channel.write({FrameKind::done}, encode(outcome));
        return 0;
    }

    ChildChannel channel;

  private:
    struct Arrived {
        std::uint64_t place;
        app::Message message;
    };
    using ArrivedMap = std::map<std::string, Arrived>;

    static Clock::duration bounded(app::Duration timeout) {
        return std::clamp<app::Duration>(timeout, app::Duration(0), std::chrono::hours(24 * 365));
    }

    template <class Condition>
    void wait(std::unique_lock<std::mutex>& lock, app::Duration timeout, Condition condition) {
        changed_.wait_for(lock, bounded(timeout), [&] { return channel.cancelled || condition(); });
    }

    app::Message take(ArrivedMap::iterator at) {
        app::Message message = std::move(at->second.message);
        order_.erase(at->second.place);
        arrived_.erase(at);
        return message;
    }

    std::string push(const app::Message& message) {
        if (!message.has_content() || message.metadata().ttl <= app::Duration(0) ||
            channel.cancelled)
            return {};
        app::Metadata metadata = message.metadata();
        if (metadata.message_type.empty() || metadata.message_type.size() > name_bytes_max ||
            metadata.group_id.size() > name_bytes_max)
            return {};
        FrameHead head;
        head.kind = FrameKind::push;
        head.node = metadata.dst_node_id;
        // node and main agree on a message by its number, which has to grow from frame to frame
        const std::lock_guard pushing(push_mutex_);
        head.message = pushed_ + 1;
        metadata.message_id = run_id_.substr(0, 8) + "-" + std::to_string(head.message);
        const Envelope envelope = envelope_of(metadata);
        head.ttl_ms = envelope.ttl_ms;
        Scattered encoded = scatter(envelope, message.content());
        if (encoded.bytes() > bus::message_bytes_max) return {};
        const std::string id = metadata.message_id;
        {
            const std::lock_guard lock(mutex_);
            if (present_.count(head.node) == 0) return {};
            open_.emplace(head.message, std::move(metadata));
        }
        ++pushed_;
        channel.write(head, encoded.pieces());
        return id;
    }

    void listen() {
        ChildChannel::Frame frame;
        while (channel.read(frame)) {
            switch (frame.head.kind) {
                case FrameKind::nodes:
                    nodes(frame.body.bytes());
                    break;
                case FrameKind::reply:
                    replied(frame);
                    break;
                case FrameKind::failed:
                    failed(frame);
                    break;
                case FrameKind::cancel: {
                    const std::lock_guard lock(mutex_);
                    channel.cancelled = true;
                    changed_.notify_all();
                    break;
                }
                default:
                    break;
            }
            frame.body = {};  // before the wait for the next one
        }
        ::_exit(0);
    }

    void nodes(std::span<const std::uint8_t> body) {
        const auto changes = decode_nodes(body);
        if (!changes) return;
        const std::lock_guard lock(mutex_);
        for (const NodeChange& change : *changes) {
            names_[change.id] = change.name;
            if (change.there && present_.insert(change.id).second)
                there_.push_back(change.id);
            else if (!change.there && present_.erase(change.id) != 0)
                there_.erase(std::find(there_.begin(), there_.end(), change.id));
        }
        changed_.notify_all();
    }

    void replied(const ChildChannel::Frame& frame) {
        const auto envelope = decode_envelope(frame.body.bytes());
        if (!envelope) return arrive(frame.head.message, envelope.error());
        app::Metadata metadata = metadata_of(*envelope);
        auto record = decode_record(envelope->record, frame.body.memory);
        if (!record) return arrive(frame.head.message, record.error());
        const std::lock_guard lock(mutex_);
        const auto open = open_.find(frame.head.message);
        if (open == open_.end()) return;
        metadata.run_id = run_id_;
        metadata.reply_to = open->second.message_id;
        metadata.src_node_id = open->second.dst_node_id;
        metadata.dst_node_id = self_;
        put(open, app::Message(std::move(metadata), std::move(*record)));
    }

    void failed(const ChildChannel::Frame& frame) {
        auto why = decode_outcome(frame.body.bytes());
        if (!why) return arrive(frame.head.message, why.error());
        arrive(frame.head.message, {static_cast<Errc>(why->code), std::move(why->sentence)});
    }

    /// An error in place of a reply.
    void arrive(std::uint64_t message, const Failure& failure) {
        const std::lock_guard lock(mutex_);
        const auto open = open_.find(message);
        if (open == open_.end()) return;
        app::Metadata metadata = open->second;
        metadata.reply_to = std::exchange(metadata.message_id, {});
        metadata.src_node_id = std::exchange(metadata.dst_node_id, self_);
        metadata.created_at = std::chrono::system_clock::now();
        put(open, app::Message(std::move(metadata),
                               app::Error{static_cast<int>(failure.code), failure.sentence}));
    }

    void put(std::map<std::uint64_t, app::Metadata>::iterator open, app::Message message) {
        const std::uint64_t place = next_place_++;
        order_[place] = open->second.message_id;
        arrived_[open->second.message_id] = Arrived{place, std::move(message)};
        open_.erase(open);
        changed_.notify_all();
    }

    void call_back() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return callback_ && !arrived_.empty(); });
            const auto take_it = callback_;
            app::Message message = take(arrived_.find(order_.begin()->second));
            lock.unlock();
            take_it(std::move(message));
            lock.lock();
        }
    }

    std::string run_id_;
    app::NodeId self_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<app::NodeId> there_;  ///< in the order in which they came
    std::set<app::NodeId> present_;   ///< the same
    std::map<app::NodeId, std::string> names_;
    std::map<std::uint64_t, app::Metadata> open_;  ///< not answered yet, by their numbers
    ArrivedMap arrived_;                           ///< by the id of the message they answer
    std::map<std::uint64_t, std::string> order_;
    std::uint64_t next_place_ = 0;
    std::mutex push_mutex_;     ///< one message at a time is numbered and written
    std::uint64_t pushed_ = 0;  ///< number of the last one
    std::function<void(app::Message)> callback_;
    bool calling_ = false;
};

}  // namespace

int run_server(int socket, const app::Exported& exported) {
    // never destroyed: its threads listen until the process ends
    return (new ChildDriver(socket))->run(exported);
}

}  // namespace vflbus::apps
