#include "actors/node_core.hpp"

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/text.hpp"

namespace vflbus::actors {

/// Type 1 of docs/protocol.md, section 8: every node answers it.
constexpr MessageType echo_type = 1;

struct NodeCore::Unlocked {
    explicit Unlocked(NodeLock& lock) : lock_(lock) { lock_.unlock(); }
    ~Unlocked() { lock_.lock(); }
    NodeLock& lock_;
};

// -- driver ----------------------------------------------------------------------

/// Called by the driven app, whose handlers run with the lock released.
class NodeCore::DriverImpl final : public Driver {
  public:
    DriverImpl(NodeCore& core, const RunSpec& spec)
        : core_(core), run_(spec.run), term_(spec.term), spec_(spec) {
        for (const bus::Participant& participant : spec.participants)
            names_.emplace_back(node_id_of(participant.name), participant.name);
    }

    TimePoint now() const override { return core_.config_.now(); }

    std::vector<NodeId> get_node_ids() const override {
        std::vector<NodeId> ids;
        for (const auto& [id, name] : names_)
            if (joined_.count(id) != 0) ids.push_back(id);
        return ids;
    }

    std::string name_of(NodeId node) const override {
        for (const auto& [id, name] : names_)
            if (id == node) return name;
        return "node " + std::to_string(node.value);
    }

    Result<std::uint64_t> push_message(NodeId dst, MessageType type, Bytes content) override {
        const std::lock_guard guard(core_.lock_);
        return core_.link_.request(run_, dst, type, std::move(content), now());
    }

    void set_timer(TimePoint at) override { timer_ = at; }

    void reopen(std::uint32_t term) override {
        const std::lock_guard guard(core_.lock_);
        term_ = term;
        joined_.clear();
        core_.link_.open_run(
            run_, term, bus::Open{core_.config_.name, spec_.participants, spec_.agreed}, now());
    }

    void close(Errc code, std::string sentence) override {
        const std::lock_guard guard(core_.lock_);
        if (closing_) return;
        moved_ = core_.link_.bytes_of(run_);
        closing_ = true;
        core_.link_.close_run(run_, Ending{code, std::move(sentence)}, now());
    }

    BytesMoved bytes_moved() const override {
        const std::lock_guard guard(core_.lock_);
        const bus::LinkBytes moved = closing_ ? moved_ : core_.link_.bytes_of(run_);
        return {moved.sent, moved.received};
    }

    void joined(NodeId node, bool in) {
        if (in)
            joined_[node] = true;
        else
            joined_.erase(node);
    }

    NodeCore& core_;
    RunId run_;
    std::uint32_t term_;
    RunSpec spec_;
    std::vector<std::pair<NodeId, std::string>> names_;
    std::map<NodeId, bool> joined_;
    TimePoint timer_ = TimePoint::max();
    bool closing_ = false;
    bus::LinkBytes moved_;
};

// -- node ------------------------------------------------------------------------

NodeCore::NodeCore(NodeCoreConfig config, bus::LinkCore& link, NodeLock& lock)
    : config_(std::move(config)), link_(link), lock_(lock) {}

NodeCore::~NodeCore() = default;

void NodeCore::serve(ClientApp app) {
    app_ = std::move(app);
}

void NodeCore::drive(ServerApp& app) {
    const RunSpec& spec = app.spec();
    driven_app_ = &app;
    driven_ending_.reset();
    opened_ = false;
    driver_ = std::make_unique<DriverImpl>(*this, spec);
    link_.open_run(spec.run, spec.term, bus::Open{config_.name, spec.participants, spec.agreed},
                   config_.now());
}

void NodeCore::stop_driven(bool at_once) {
    if (driven_app_ == nullptr || driver_->closing_) return;
    if (at_once) {
        const Unlocked unlocked(lock_);
        return driver_->close(Errc::cancelled, "the run was ended at once by its owner");
    }
    const Unlocked unlocked(lock_);
    driven_app_->on_stop(*driver_);
}

bool NodeCore::driven(const RunId& run) const {
    return driven_app_ != nullptr && driver_->run_ == run;
}

TimePoint NodeCore::next_deadline() const {
    TimePoint next = TimePoint::max();
    if (driven_app_ != nullptr && !driver_->closing_) next = driver_->timer_;
    if (down_since_ && !contexts_.empty())
        next = std::min(next, *down_since_ + config_.link_timeout);
    return next;
}

void NodeCore::pump() {
    bus::LinkEvent event;
    while (!fatal_ && link_.next_event(event)) std::visit([this](auto& e) { on(e); }, event);
    if (driven_app_ != nullptr && !driver_->closing_ && config_.now() >= driver_->timer_) {
        driver_->timer_ = TimePoint::max();
        const Unlocked unlocked(lock_);
        driven_app_->on_timer(*driver_);
    }
    if (down_since_ && config_.now() - *down_since_ >= config_.link_timeout) {
        const Ending ending{
            Errc::unreachable,
            "the broker was not reachable for " +
                human_seconds(std::chrono::duration<double>(config_.link_timeout).count())};
        while (!contexts_.empty()) {
            const RunId run = contexts_.begin()->first;
            link_.forget_run(run);
            end_context(run, ending);
        }
    }
    // whoever kept the link meanwhile may have left events, and the next poll would not wake for
    // them
    while (!fatal_ && link_.next_event(event)) std::visit([this](auto& e) { on(e); }, event);
    link_.set_progress(handled_);
}

void NodeCore::cancel_handlers() {
    for (const auto& [run, context] : contexts_) context->cancel();
}

void NodeCore::note_endings() {
    link_.for_each_event([this](const bus::LinkEvent& event) {
        if (std::holds_alternative<bus::LinkFatal>(event))
            for (const auto& [run, context] : contexts_) context->cancel();
        const auto* closed = std::get_if<bus::RunClosed>(&event);
        const auto* invited = std::get_if<bus::RunInvited>(&event);
        if (closed == nullptr && invited == nullptr) return;
        const auto found = contexts_.find(closed != nullptr ? closed->run : invited->run);
        if (found == contexts_.end()) return;
        if (closed != nullptr || invited->term > found->second->invitation().term)
            found->second->cancel();
    });
}

void NodeCore::on(bus::LinkUp&) {
    was_up_ = true;
    down_since_.reset();
    if (driven_app_ == nullptr || driver_->closing_) return;
    const Unlocked unlocked(lock_);
    driven_app_->on_link(*driver_, true, {});
}

void NodeCore::on(bus::LinkDown& event) {
    if (!down_since_) down_since_ = config_.now();
    if (driven_app_ == nullptr || driver_->closing_) return;
    const Unlocked unlocked(lock_);
    driven_app_->on_link(*driver_, false, event.sentence);
}

void NodeCore::on(bus::LinkFatal& event) {
    fatal_ = event.failure;
    const Ending ending{event.failure.code, event.failure.sentence};
    if (driven_app_ != nullptr) end_driven(ending);
    while (!contexts_.empty()) end_context(RunId(contexts_.begin()->first), ending);
}

// -- serving ---------------------------------------------------------------------

void NodeCore::on(bus::RunInvited& event) {
    const auto known = contexts_.find(event.run);
    // asked twice before the first answer was out: the link has repeated that answer itself
    if (known != contexts_.end() && known->second->invitation().term >= event.term) return;
    if (known != contexts_.end())
        end_context(RunId(event.run),
                    Ending{Errc::stale_term, "a newer term of the run has begun"});
    Invitation invitation{event.run,
                          event.term,
                          event.owner,
                          event.open.owner,
                          event.open.participants,
                          std::move(event.open.agreed)};
    auto context = std::make_unique<Context>(std::move(invitation), config_.name, config_.rank);
    bus::Join join;
    join.name = config_.name;
    join.role = config_.role;
    join.rank = config_.rank;
    join.incarnation = config_.incarnation;
    join.version = config_.version;
    Result<> agreed = app_ ? Result<>{} : fail(Errc::refused, config_.name + " serves no runs");
    if (app_) {
        const Unlocked unlocked(lock_);
        try {  // as in `handle`: a user's handler must not end the node
            agreed = app_->join(*context);
        } catch (const std::exception& e) {
            agreed = fail(Errc::handler_failed, config_.name + ": " + e.what());
        } catch (...) {
            agreed = fail(Errc::handler_failed, config_.name + " could not join");
        }
    }
    join.config_hash = context->config_hash;
    if (!agreed) {
        join.code = agreed.error().code;
        join.sentence = agreed.error().sentence;
        if (!served_ending_) served_ending_ = Ending{join.code, join.sentence};
    } else {
        contexts_[event.run] = std::move(context);
    }
    link_.join_run(event.run, event.term, event.owner, std::move(join), config_.now());
}

Result<Bytes> NodeCore::handle(const Message& message, Context& context) {
    if (message.metadata.message_type == echo_type) return message.content;
    const ClientApp::Handler* handler =
        app_ ? app_->handler_of(message.metadata.message_type) : nullptr;
    if (handler == nullptr)
        return fail(Errc::unknown_message, config_.name + " has no handler for message type " +
                                               std::to_string(message.metadata.message_type));
    try {
        return (*handler)(message, context);
    } catch (const std::exception& e) {  // a user's handler must not end the node
        return fail(Errc::handler_failed, config_.name + ": " + e.what());
    } catch (...) {
        return fail(Errc::handler_failed, config_.name + ": the handler of message type " +
                                              std::to_string(message.metadata.message_type) +
                                              " failed");
    }
}

void NodeCore::on(bus::RequestArrived& event) {
    const auto found = contexts_.find(event.run);
    if (found == contexts_.end() && driven(event.run)) {  // a run of ours: it only asks
        if (event.type == echo_type)
            return link_.reply(event.run, event.from, event.number, std::move(event.body),
                               config_.now());
        return link_.reply_error(
            event.run, event.from, event.number,
            {Errc::unknown_message, config_.name +
                                        ", which owns the run, has no handler for "
                                        "message type " +
                                        std::to_string(event.type)},
            config_.now());
    }
    if (found == contexts_.end()) {
        return link_.reply_error(event.run, event.from, event.number,
                                 {Errc::unknown_run, config_.name + " is not in this run"},
                                 config_.now());
    }
    Context& context = *found->second;
    Message message;
    message.metadata = {event.run, event.term, event.number, event.from, link_.id(), event.type};
    message.content = std::move(event.body);
    Result<Bytes> answer;
    {
        const Unlocked unlocked(lock_);
        answer = handle(message, context);
    }
    ++handled_;
    if (answer)
        link_.reply(event.run, event.from, event.number, std::move(*answer), config_.now());
    else
        link_.reply_error(event.run, event.from, event.number, answer.error(), config_.now());
}

void NodeCore::end_context(const RunId& run, const Ending& ending) {
    const auto found = contexts_.find(run);
    if (found == contexts_.end()) return;
    const std::unique_ptr<Context> context = std::move(found->second);
    contexts_.erase(found);
    context->cancel();
    {
        const Unlocked unlocked(lock_);
        try {
            if (app_) app_->end(ending, *context);
        } catch (...) {  // the run is over either way, and nobody waits for an answer
        }
    }
    if (!served_ending_ && ending.code != Errc::stale_term) served_ending_ = ending;
}

// -- driving ---------------------------------------------------------------------

void NodeCore::on(bus::RunOpened& event) {
    if (!driven(event.run) || opened_ || driver_->closing_) return;
    opened_ = true;
    const Unlocked unlocked(lock_);
    driven_app_->on_opened(*driver_);
}

void NodeCore::on(bus::RunJoined& event) {
    if (!driven(event.run) || driver_->closing_ || event.term != driver_->term_) return;
    driver_->joined(event.node, event.join.code == Errc::ok);
    const Unlocked unlocked(lock_);
    driven_app_->on_join(*driver_, event.node, event.join);
}

void NodeCore::on(bus::PeerChanged& event) {
    if (!driven(event.run) || driver_->closing_ || event.term != driver_->term_) return;
    using What = bus::PeerChanged::What;
    PeerEvent told;
    told.what = event.what == What::up        ? PeerEvent::What::up
                : event.what == What::suspect ? PeerEvent::What::suspect
                                              : PeerEvent::What::down;
    told.node = event.node;
    told.name = event.name;
    told.incarnation = event.incarnation;
    told.reason = event.reason;
    told.silent = std::chrono::milliseconds(event.silent_ms);
    const Unlocked unlocked(lock_);
    driven_app_->on_peer(*driver_, told);
}

void NodeCore::on(bus::ReplyArrived& event) {
    if (!driven(event.run) || driver_->closing_ || event.term != driver_->term_) return;
    Message reply;
    reply.metadata = {event.run, event.term, event.number, event.from, link_.id(), event.type};
    reply.content = std::move(event.body);
    reply.error = std::move(event.error);
    ++handled_;
    const Unlocked unlocked(lock_);
    driven_app_->on_reply(*driver_, std::move(reply));
}

void NodeCore::on(bus::RunClosed& event) {
    if (driven(event.run)) return end_driven(event.ending);
    end_context(event.run, event.ending);
}

void NodeCore::end_driven(const Ending& ending) {
    ServerApp* app = std::exchange(driven_app_, nullptr);
    {
        const Unlocked unlocked(lock_);
        app->on_closed(ending);
    }
    driven_ending_ = ending;
}

}  // namespace vflbus::actors
