#pragma once
// What a run looks like to those who take part in it. Everything here is free of I/O: an app is
// given events and calls its Driver; the node (src/actors/node/node_core.hpp) connects both to a
// link, a simulator or a test.
//
// A ServerApp drives one run through a Driver. A ClientApp serves any number of runs: a table of
// handlers by message type, with a Context per run. The master is a ServerApp, the member a
// ClientApp.

#include <any>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "bus/wire/codec.hpp"
#include "bus/wire/control.hpp"

namespace vflbus::actors {

using bus::Bytes;
using MessageType = std::uint16_t;

struct Metadata {
    RunId run;
    std::uint32_t term = 0;
    std::uint64_t message_id =
        0;  ///< of a request: counted per destination; of a reply: its own request's
    NodeId src_node_id;
    NodeId dst_node_id;
    MessageType message_type = 0;
};

/// A node bounds the memory that large bodies take of it (docs/protocol.md, section 7). This is the
/// room of one of them: it comes back when the last copy goes, on whatever thread. Null for a body
/// so small that it needs none.
using ContentRoom = std::shared_ptr<const void>;

/// A request at its receiver, or a reply at its requester. A failed request comes back as a Message
/// whose `error` says why.
struct Message {
    Metadata metadata;
    Bytes content;
    Failure error{Errc::ok, {}};
    /// Whoever takes `content` and keeps it keeps this as long.
    ContentRoom room{};
    [[nodiscard]] bool has_content() const noexcept { return error.code == Errc::ok; }
};

/// How a run ended, as all participants hear it.
using Ending = bus::Ending;

/// What changed about a peer of the run.
struct PeerEvent {
    enum class What : std::uint8_t { up, suspect, down };
    What what = What::up;
    NodeId node;
    std::string name;
    std::uint64_t incarnation = 0;  ///< up only
    Errc reason = Errc::ok;         ///< down only
    Duration silent{};              ///< suspect and down
};

// -- client side ---------------------------------------------------------------

/// What an owner proposes when it opens a run.
struct Invitation {
    RunId run;
    std::uint32_t term = 0;
    NodeId owner;
    std::string owner_name;
    std::vector<bus::Participant> participants;
    std::string agreed;            ///< canonical text of the agreed half, see config/agreed
    bus::Extensions extensions{};  ///< of its OPEN
    /// Of the key that the owner has shown to have; empty in a run that is not sealed, where only
    /// the broker knows it.
    std::string owner_fingerprint{};
};

/// What a ClientApp keeps per run. Lives from the invitation to the end of the run.
class Context {
  public:
    Context(Invitation invitation, std::string node_name, std::int64_t rank)
        : invitation_(std::move(invitation)), node_name_(std::move(node_name)), rank_(rank) {}

    [[nodiscard]] const Invitation& invitation() const noexcept { return invitation_; }
    [[nodiscard]] const std::string& node_name() const noexcept { return node_name_; }
    [[nodiscard]] std::int64_t rank() const noexcept { return rank_; }

    /// State of the app in this run. `state<T>()` is null until `set_state`.
    template <class T>
    void set_state(std::shared_ptr<T> state) {
        state_ = std::move(state);
    }
    template <class T>
    [[nodiscard]] T* state() noexcept {
        auto* held = std::any_cast<std::shared_ptr<T>>(&state_);
        return held ? held->get() : nullptr;
    }

    /// Long handlers look at this at every batch and return early.
    [[nodiscard]] bool cancelled() const noexcept {
        return cancelled_.load(std::memory_order_relaxed);
    }
    void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }

    /// Set by `on_join`: the hash of the agreed half as this party holds it.
    Hash256 config_hash{};
    /// Set by `on_join`: what this party's JOIN tells the owner besides.
    bus::Extensions join_extensions{};
    /// The longest body that this node takes and its broker passes on.
    std::uint64_t message_bytes_max = UINT64_MAX;
    /// For the node: RunInvited::invitation of the link.
    std::uint64_t invitation_number = 0;
    /// Which process of the owner this node works with; 0 while it has not heard of one.
    std::uint64_t owner_incarnation = 0;

  private:
    Invitation invitation_;
    std::string node_name_;
    std::int64_t rank_;
    std::any state_;
    std::atomic<bool> cancelled_{false};
};

/// Takes the answer to one request, once, from any thread and at any time; later calls (of copies
/// as well), and calls after the end of the run or the node, do nothing. The room of the request's
/// body is held until then: a request that nobody answers still costs its sender the room that it
/// takes, and not the node more and more memory.
class Replier {
  public:
    using Take = std::function<void(Result<Bytes>&&)>;
    Replier(Take take, std::function<void()> progress, ContentRoom room = {})
        : slot_(std::make_shared<Slot>()) {
        slot_->take = std::move(take);
        slot_->progress = std::move(progress);
        slot_->room = std::move(room);
    }
    void operator()(Result<Bytes> answer) const {
        if (slot_->used.exchange(true)) return;
        slot_->take(std::move(answer));
        slot_->room.reset();
    }
    /// The request is still worked on, and not stuck (docs/protocol.md, section 4, Progress).
    void progress() const {
        if (!slot_->used.load()) slot_->progress();
    }

  private:
    struct Slot {
        std::atomic<bool> used{false};
        Take take;
        std::function<void()> progress;
        ContentRoom room;
    };
    std::shared_ptr<Slot> slot_;
};

class ClientApp {
  public:
    /// The body of the reply, or the failure that the requester gets.
    using Handler = std::function<Result<Bytes>(const Message&, Context&)>;
    /// Returns at once and answers later by the Replier: for work that is done elsewhere.
    using DeferredHandler = std::function<void(Message&&, Context&, Replier)>;
    /// Decides whether to take part; sets `context.config_hash` and the state. May be called again
    /// for a newer term. A failure with `held` decides later: it is called again when the owner
    /// asks again, or `reconsider` says so.
    using JoinHandler = std::function<Result<>(Context&)>;
    using EndHandler = std::function<void(const Ending&, Context&)>;

    ClientApp& on(MessageType type, Handler handler) {
        handlers_[type] = std::move(handler);
        return *this;
    }
    ClientApp& on_deferred(MessageType type, DeferredHandler handler) {
        deferred_[type] = std::move(handler);
        return *this;
    }
    ClientApp& on_join(JoinHandler handler) {
        join_ = std::move(handler);
        return *this;
    }
    ClientApp& on_end(EndHandler handler) {
        end_ = std::move(handler);
        return *this;
    }

    [[nodiscard]] const Handler* handler_of(MessageType type) const noexcept {
        const auto found = handlers_.find(type);
        return found == handlers_.end() ? nullptr : &found->second;
    }
    [[nodiscard]] const DeferredHandler* deferred_handler_of(MessageType type) const noexcept {
        const auto found = deferred_.find(type);
        return found == deferred_.end() ? nullptr : &found->second;
    }
    [[nodiscard]] Result<> join(Context& context) const {
        return join_ ? join_(context) : Result<>{};
    }
    void end(const Ending& ending, Context& context) const {
        if (end_) end_(ending, context);
    }

  private:
    std::map<MessageType, Handler> handlers_;
    std::map<MessageType, DeferredHandler> deferred_;
    JoinHandler join_;
    EndHandler end_;
};

// -- server side ---------------------------------------------------------------

/// What the owner announces with OPEN.
struct RunSpec {
    RunId run;
    std::uint32_t term = 1;
    std::vector<bus::Participant> participants;
    std::string agreed;
    Hash256 config_hash{};
    /// Of its OPEN, for the participants. `reopen` says those that `spec()` has by then.
    bus::Extensions extensions{};
};

struct BytesMoved {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
};

/// The hands of a ServerApp. All calls return at once; what comes of them arrives as events. Called
/// from the handlers of the run's events, unless stated otherwise.
class Driver {
  public:
    virtual ~Driver() = default;

    [[nodiscard]] virtual TimePoint now() const = 0;
    /// Participants that have joined, in the order of the RunSpec.
    [[nodiscard]] virtual std::vector<NodeId> get_node_ids() const = 0;
    [[nodiscard]] virtual std::string name_of(NodeId node) const = 0;
    /// From `on_opened` on: participants that were there, and will join or decline.
    [[nodiscard]] virtual std::uint64_t asked() const = 0;

    /// Sends a request; its reply (or failure) comes to `on_reply` with this message id and source.
    /// To a run that others have just ended it goes nowhere: `on_closed` comes next, and says why.
    /// Errors: too_many (16 unanswered at this destination), too_large, run_ended (after `close`).
    virtual Result<std::uint64_t> push_message(NodeId dst, MessageType type, Bytes content) = 0;

    /// The longest content that push_message takes now: of this node, or of its broker when that
    /// passes on less.
    [[nodiscard]] virtual std::uint64_t message_bytes_max() const { return UINT64_MAX; }

    /// `on_timer` is called at or after `at`; one timer, the last call counts.
    virtual void set_timer(TimePoint at) = 0;

    /// Begins a new, higher term of the run: requests under way are void, and on_join comes again
    /// of every participant.
    virtual void reopen(std::uint32_t term) = 0;

    /// Ends the run for all with this reason; `on_closed` follows when the broker has confirmed or
    /// could not within a few seconds. Nothing else arrives after this call.
    virtual void close(Errc code, std::string sentence) = 0;

    /// Calls `work` as the next event of the run, on the thread that handles its events. May be
    /// called from any thread; what comes after the end of the run is not called.
    virtual void post(std::function<void()> work) = 0;

    /// Bytes of bodies and headers of this run that this node moved.
    [[nodiscard]] virtual BytesMoved bytes_moved() const = 0;
};

/// What a run's owner does when something happens in its run. A handler that throws has its run
/// closed with `handler_failed` and the text of the exception; `on_closed` follows.
class ServerApp {
  public:
    virtual ~ServerApp() = default;

    /// Its term may be another one after `on_welcome`, its extensions before each `reopen`; the
    /// rest stays.
    [[nodiscard]] virtual const RunSpec& spec() const = 0;
    /// The broker has welcomed this node under its name, for the first time; OPEN is sent when this
    /// returns. What has to be stored before the run is spoken of is stored here and not earlier: a
    /// process that another one keeps from the run must leave no trace in it. A failure ends the
    /// run for this process, with `on_closed`.
    virtual Result<> on_welcome() { return {}; }
    /// OPEN has been accepted by the broker for the first time.
    virtual void on_opened(Driver& driver) = 0;
    /// A participant joined, or declined (`join.code`). Comes again after reconnects.
    virtual void on_join(Driver& driver, NodeId node, const bus::Join& join) = 0;
    virtual void on_reply(Driver& driver, Message&& reply) = 0;
    virtual void on_peer(Driver& driver, const PeerEvent& event) = 0;
    virtual void on_timer(Driver& driver) = 0;
    /// The user wants the run to stop. An app with something to save saves it, then closes.
    virtual void on_stop(Driver& driver) {
        driver.close(Errc::cancelled, "the run was stopped by its owner");
    }
    /// The link to the broker went down (`up` false) or came back.
    virtual void on_link(Driver& driver, bool up, const std::string& sentence) = 0;
    /// The run is over: `close` was confirmed, or the broker or link ended it.
    virtual void on_closed(const Ending& ending) = 0;
};

}  // namespace vflbus::actors
