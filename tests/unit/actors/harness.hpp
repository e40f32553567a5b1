#pragma once
// A bus in memory: one ServerApp and its ClientApps, a simulated clock, messages in a queue that is
// a function of the seed. Faults go in through hooks.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/messages.hpp"
#include "actors/node/app.hpp"
#include "base/rng.hpp"

namespace vflbus::actors::test {

class Harness final : public Driver {
  public:
    explicit Harness(ServerApp& app, std::uint64_t seed = 1) : app_(&app), rng_(seed) {
        for (const auto& participant : app.spec().participants)
            members_.push_back({participant, node_id_of(participant.name), nullptr, nullptr});
    }

    /// What the broker passes on.
    std::uint64_t message_max = UINT64_MAX;
    std::uint64_t message_bytes_max() const override { return message_max; }
    /// What a member's own node takes, where it is less.
    std::map<std::size_t, std::uint64_t> message_max_of_member;

    // -- faults ---------------------------------------------------------------------
    /// Before a member handles a request; false: it never arrives.
    std::function<bool(std::size_t member, Message& request)> on_request;
    /// Before the master gets a reply; false: it never arrives.
    std::function<bool(std::size_t member, Message& reply)> on_reply_hook;
    /// Before a JOIN reaches the master.
    std::function<bool(std::size_t member, bus::Join& join)> on_join_hook;

    /// Before the n-th event, counted from 1.
    std::function<void(std::size_t n)> before_event;

    /// Kills a member and starts it again with `app`: what it held of the run and what was on its
    /// way to or from it is gone. It joins by itself.
    void restart(std::size_t member, ClientApp app) {
        Member& m = members_[member];
        m.context.reset();
        m.app = std::make_unique<ClientApp>(std::move(app));
        ++m.incarnation;
        std::erase_if(queue_, [&](const Event& event) { return event.lane == member; });
        later([this, member] { join(member); }, member);
    }
    /// Kills a member for good.
    void kill(std::size_t member) {
        members_[member].context.reset();
        members_[member].app.reset();
        std::erase_if(queue_, [&](const Event& event) { return event.lane == member; });
    }
    /// The master was killed and another one opens the run, in a higher term.
    void replace(ServerApp& app) {
        app_ = &app;
        queue_.clear();
        timer_.reset();
        ending_.reset();
        later([this] { open(); });
    }

    void serve(std::size_t member, ClientApp app) {
        members_[member].app = std::make_unique<ClientApp>(std::move(app));
    }

    /// Delivers what happens until the run is over or `until_idle` messages were handled.
    Ending run(std::size_t events_max = 2'000'000) {
        if (!opened_) open();
        for (std::size_t n = 0; n < events_max && !ending_; ++n)
            if (!next()) break;
        return ending_.value_or(Ending{Errc::internal, "the run did not end"});
    }
    void open() {
        opened_ = true;
        if (const auto ready = app_->on_welcome(); !ready)
            return finish({ready.error().code, ready.error().sentence});
        app_->on_opened(*this);
        for (std::size_t i = 0; i < members_.size(); ++i)
            if (members_[i].app) later([this, i] { join(i); }, i);
    }
    /// One event; false when nothing is left to happen.
    bool next() {
        if (ending_) return false;
        if (before_event && (!queue_.empty() || timer_)) before_event(++events_);
        if (!queue_.empty()) {
            const std::size_t pick = rng_.below(queue_.size());
            // of one member's messages the order is kept
            std::size_t at = pick;
            for (std::size_t i = 0; i < pick; ++i)
                if (queue_[i].lane == queue_[pick].lane) {
                    at = i;
                    break;
                }
            auto event = std::move(queue_[at].run);
            queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(at));
            now_ += std::chrono::microseconds(50);
            event();
            return true;
        }
        if (!timer_) return false;
        now_ = std::max(now_, *timer_);
        timer_.reset();
        app_->on_timer(*this);
        return true;
    }
    void later(std::function<void()> event, std::size_t lane = SIZE_MAX) {
        queue_.push_back({lane, std::move(event)});
    }
    void advance(Duration time) { now_ += time; }
    void peer(std::size_t member, PeerEvent::What what, Duration silent = {},
              std::uint64_t incarnation = 0, Errc reason = Errc::peer_lost) {
        PeerEvent event;
        event.what = what;
        event.node = members_[member].node;
        event.name = members_[member].participant.name;
        event.silent = silent;
        event.incarnation = incarnation == 0 ? members_[member].incarnation : incarnation;
        if (what != PeerEvent::What::up) event.reason = reason;
        app_->on_peer(*this, event);
    }
    void link(bool up) { app_->on_link(*this, up, "connection refused"); }
    /// A reply that the member did not write.
    void reply(std::size_t member, std::uint64_t id, MessageType type, Failure error) {
        Message message = answer(member, id, type);
        message.error = std::move(error);
        app_->on_reply(*this, std::move(message));
    }
    void join(std::size_t i) {
        Member& member = members_[i];
        if (member.context)
            member.app->end({Errc::stale_term, "a newer term of the run has begun"},
                            *member.context);
        Invitation invitation{app_->spec().run, app_->spec().term,         node_id_of("master"),
                              "master",         app_->spec().participants, app_->spec().agreed};
        member.context =
            std::make_unique<Context>(invitation, member.participant.name, member.participant.rank);
        if (const auto limit = message_max_of_member.find(i); limit != message_max_of_member.end())
            member.context->message_bytes_max = limit->second;
        bus::Join join;
        join.name = member.participant.name;
        join.rank = member.participant.rank;
        join.incarnation = member.incarnation;
        join.version = "0.1.0";
        const auto joined = member.app->join(*member.context);
        join.config_hash = member.context->config_hash;
        if (!joined) {
            join.code = joined.error().code;
            join.sentence = joined.error().sentence;
            member.context.reset();
        }
        if (on_join_hook && !on_join_hook(i, join)) return;
        app_->on_join(*this, member.node, join);
    }
    /// A request straight to a member, past the master.
    Result<Bytes> ask(std::size_t member, MessageType type, Bytes body) {
        Message message = answer(member, 0, type);
        message.content = std::move(body);
        const auto* handler = members_[member].app->handler_of(type);
        if (handler == nullptr) return fail(Errc::unknown_message, "no handler");
        return (*handler)(message, *members_[member].context);
    }
    [[nodiscard]] Context& context(std::size_t member) { return *members_[member].context; }

    // -- Driver ---------------------------------------------------------------------
    TimePoint now() const override { return now_; }
    std::vector<NodeId> get_node_ids() const override {
        std::vector<NodeId> ids;
        for (const Member& member : members_) ids.push_back(member.node);
        return ids;
    }
    std::uint64_t asked() const override { return 0; }
    std::string name_of(NodeId node) const override {
        for (const Member& member : members_)
            if (member.node == node) return member.participant.name;
        return "?";
    }
    void reopen(std::uint32_t) override {
        queue_.clear();
        ++terms;
        for (std::size_t i = 0; i < members_.size(); ++i)
            if (members_[i].app) later([this, i] { join(i); }, i);
    }
    Result<std::uint64_t> push_message(NodeId dst, MessageType type, Bytes content) override {
        for (std::size_t i = 0; i < members_.size(); ++i) {
            if (members_[i].node != dst) continue;
            const std::uint64_t id = ++members_[i].requests;
            ++pushed;
            moved_.sent += content.size();
            later([this, i, id, type,
                   body = std::move(content)]() mutable { deliver(i, id, type, std::move(body)); },
                  i);
            return id;
        }
        return fail(Errc::not_a_participant, "no such node");
    }
    void post(std::function<void()> work) override { work(); }
    void set_timer(TimePoint at) override { timer_ = at; }
    void close(Errc code, std::string sentence) override {
        queue_.clear();
        timer_.reset();
        closed_with = {code, std::move(sentence)};
        later([this] { finish(closed_with); });
    }
    BytesMoved bytes_moved() const override { return moved_; }

    /// Ends the run as the broker would.
    void finish(const Ending& ending) {
        for (Member& member : members_)
            if (member.app && member.context) member.app->end(ending, *member.context);
        ending_ = ending;
        app_->on_closed(ending);
    }

    std::uint64_t pushed = 0;
    std::uint64_t terms = 1;
    Ending closed_with;

  private:
    struct Member {
        bus::Participant participant;
        NodeId node;
        std::unique_ptr<ClientApp> app;
        std::unique_ptr<Context> context;
        std::uint64_t requests = 0;
        std::uint64_t incarnation = 1;
    };
    struct Event {
        std::size_t lane = SIZE_MAX;
        std::function<void()> run;
    };

    Message answer(std::size_t member, std::uint64_t id, MessageType type) const {
        Message message;
        message.metadata.run = app_->spec().run;
        message.metadata.term = app_->spec().term;
        message.metadata.message_id = id;
        message.metadata.src_node_id = members_[member].node;
        message.metadata.message_type = type;
        return message;
    }

    void deliver(std::size_t i, std::uint64_t id, MessageType type, Bytes body) {
        Message request = answer(i, id, type);
        request.content = std::move(body);
        if (on_request && !on_request(i, request)) return;
        if (!members_[i].app) return;
        Message reply = answer(i, id, type);
        if (type == message::echo) {
            reply.content = request.content;
        } else if (!members_[i].context) {
            reply.error = {Errc::unknown_run, "not in this run"};
        } else if (const auto* handler = members_[i].app->handler_of(type); handler == nullptr) {
            reply.error = {Errc::unknown_message, "no handler"};
        } else if (auto result = (*handler)(request, *members_[i].context); result) {
            reply.content = std::move(*result);
        } else {
            reply.error = result.error();
        }
        later(
            [this, i, reply = std::move(reply)]() mutable {
                if (on_reply_hook && !on_reply_hook(i, reply)) return;
                moved_.received += reply.content.size();
                app_->on_reply(*this, std::move(reply));
            },
            i);
    }

    ServerApp* app_;
    Rng rng_;
    std::vector<Member> members_;
    std::deque<Event> queue_;
    TimePoint now_{};
    std::optional<TimePoint> timer_;
    std::optional<Ending> ending_;
    BytesMoved moved_;
    bool opened_ = false;
    std::size_t events_ = 0;
};

}  // namespace vflbus::actors::test
