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
        const auto all_there = [&] {
            return std::all_of(open.begin(), open.end(),
                               [&](const std::string& id) { return arrived_.count(id) != 0; });
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
        channel.write(Told::metrics, encode(Metrics{step, metrics}));
    }

    // -- the other end ------------------------------------------------------------------
    int run(const app::Exported& exported) {
        exported.set_host(&channel);
        ChildChannel::Frame frame;
        if (!channel.read(frame) || frame.kind != Told::begin) return 1;
        auto begin = decode_begin(frame.body);
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
        channel.write(Told::done, encode(outcome));
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
        Envelope envelope = envelope_of(message.metadata());
        if (envelope.message_type.empty() || envelope.message_type.size() > name_bytes_max ||
            envelope.group_id.size() > name_bytes_max)
            return {};
        const app::NodeId to = message.metadata().dst_node_id;
        {
            const std::lock_guard lock(mutex_);
            if (std::find(there_.begin(), there_.end(), to) == there_.end()) return {};
            envelope.message_id = run_id_.substr(0, 8) + "-" + std::to_string(++pushed_);
        }
        const Bytes content = encode(message.content());
        if (content.size() > bus::message_bytes_max - 4096) return {};
        envelope.record = content;
        {
            const std::lock_guard lock(mutex_);
            app::Metadata metadata = message.metadata();
            metadata.message_id = envelope.message_id;
            open_.emplace(envelope.message_id, std::move(metadata));
        }
        channel.write(Told::push, encode_addressed(to, encode(envelope)));
        return envelope.message_id;
    }

    void listen() {
        ChildChannel::Frame frame;
        while (channel.read(frame)) {
            switch (frame.kind) {
                case Told::nodes:
                    nodes(frame.body);
                    break;
                case Told::reply:
                    replied(frame.body);
                    break;
                case Told::failed:
                    failed(frame.body);
                    break;
                case Told::cancel: {
                    const std::lock_guard lock(mutex_);
                    channel.cancelled = true;
                    changed_.notify_all();
                    break;
                }
                default:
                    break;
            }
        }
        ::_exit(0);
    }

    void nodes(const Bytes& body) {
        const auto changes = decode_nodes(body);
        if (!changes) return;
        const std::lock_guard lock(mutex_);
        for (const NodeChange& change : *changes) {
            names_[change.id] = change.name;
            const auto at = std::find(there_.begin(), there_.end(), change.id);
            if (change.there && at == there_.end()) there_.push_back(change.id);
            if (!change.there && at != there_.end()) there_.erase(at);
        }
        changed_.notify_all();
    }

    void replied(const Bytes& body) {
        const auto reply = decode_replied(body);
        if (!reply) return;
        const auto envelope = decode_envelope(reply->envelope);
        if (!envelope) return arrive(reply->message_id, envelope.error());
        app::Metadata metadata = metadata_of(*envelope);
        auto record = decode_record(envelope->record);
        if (!record) return arrive(reply->message_id, record.error());
        const std::lock_guard lock(mutex_);
        const auto open = open_.find(reply->message_id);
        if (open == open_.end()) return;
        metadata.run_id = run_id_;
        metadata.reply_to = reply->message_id;
        metadata.src_node_id = open->second.dst_node_id;
        metadata.dst_node_id = self_;
        put(open, app::Message(std::move(metadata), std::move(*record)));
    }

    void failed(const Bytes& body) {
        auto told = decode_failed(body);
        if (!told) return;
        arrive(told->message_id, {static_cast<Errc>(told->code), std::move(told->sentence)});
    }

    /// An error in place of a reply.
    void arrive(const std::string& id, const Failure& failure) {
        const std::lock_guard lock(mutex_);
        const auto open = open_.find(id);
        if (open == open_.end()) return;
        app::Metadata metadata = open->second;
        metadata.reply_to = std::exchange(metadata.message_id, {});
        metadata.src_node_id = std::exchange(metadata.dst_node_id, self_);
        metadata.created_at = std::chrono::system_clock::now();
        put(open, app::Message(std::move(metadata),
                               app::Error{static_cast<int>(failure.code), failure.sentence}));
    }

    void put(std::map<std::string, app::Metadata>::iterator open, app::Message message) {
        const std::uint64_t place = next_place_++;
        order_[place] = open->first;
        arrived_[open->first] = Arrived{place, std::move(message)};
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
    std::vector<app::NodeId> there_;
    std::map<app::NodeId, std::string> names_;
    std::map<std::string, app::Metadata> open_;
    ArrivedMap arrived_;  ///< by the message they answer
    std::map<std::uint64_t, std::string> order_;
    std::uint64_t next_place_ = 0;
    std::uint64_t pushed_ = 0;
    std::function<void(app::Message)> callback_;
    bool calling_ = false;
};

}  // namespace

int run_server(int socket, const app::Exported& exported) {
    // never destroyed: its threads listen until the process ends
    return (new ChildDriver(socket))->run(exported);
}

}  // namespace vflbus::apps
