#pragma once
// A node's side of the bus: docs/protocol.md, sections 4 to 7.
//
// Between two nodes stands a broker that keeps nothing and may be killed at any time; connections
// break; processes of one name end and start again. The user of the bus should see none of that: it
// sends a request to a node of a run, and gets exactly one reply, or the reason why there is none.
// LinkCore does this for one node. It says HELLO until a broker answers, announces its runs in
// every session, keeps each request until it is answered and sends it again after whatever went
// wrong, hands each request of others to the user once and in order, and repeats the answer when
// the same request comes again.
//
// It is a state machine without sockets, clocks or threads. Frames, ticks and calls go in, frames
// (LinkTransport) and events (next_event) come out. One thread at a time may use it.
//
//     link_core.cpp        the connection, HELLO and liveness; control frames and errors
//     link_runs.cpp        runs that this node owns or takes part in
//     link_messages.cpp    requests and replies that go out: whose turn it is, what is repeated
//     outgoing_body.hpp    one body that goes out
//     link_arrivals.cpp    requests and replies that come in: their room, their order
//     incoming_body.hpp    one body that comes in
//     link_sealed_runs.cpp runs whose messages are sealed; link_seal.hpp: with which keys
//     link_bulk.cpp        the second connection, for large bodies
//     link_questions.hpp   questions, beside all runs

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/assert.hpp"
#include "base/rng.hpp"
#include "bus/core/budget.hpp"
#include "bus/core/deadlines.hpp"
#include "bus/core/hop_sender.hpp"
#include "bus/core/incoming_body.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/link_questions.hpp"
#include "bus/core/link_seal.hpp"
#include "bus/core/outgoing_body.hpp"
#include "bus/core/sample.hpp"
#include "bus/core/small_traffic.hpp"
#include "bus/core/timings.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/payload.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::bus {

class LinkTransport : public FrameSink {
  public:
    /// Drops the connections with all they hold and begins a new one.
    virtual void reconnect() = 0;
    /// Begins a second connection, for bulk, and returns where its frames go; null where there is
    /// none to be had. Good until `close_bulk` or `reconnect`.
    virtual FrameSink* open_bulk() { return nullptr; }
    virtual void close_bulk() {}
};

struct LinkConfig {
    Hello hello;
    Timings timings;
    std::uint64_t seed = 0;  ///< of the jitter
    Limits limits{};
    /// Extensions of WELCOME, OPEN and JOIN that this node knows the meaning of.
    ExtensionNumbers understood{};
    /// Null: runs and questions of this node are not sealed, and it takes no part in sealed ones.
    std::shared_ptr<const SealConfig> seal{};
    /// Nodes have the names of their keys, or names that are made of them: what all nodes of one
    /// key may cost this node is counted together. False: nobody knows whose a name is.
    bool names_of_keys = false;
};

// -- what a link tells its user ---------------------------------------------------

/// The broker has answered HELLO; runs are announced again by the link itself.
struct LinkUp {
    std::string broker_version;
    Extensions extensions{};  ///< of its WELCOME
};
/// The broker has not been heard of for too long; the link tries again by itself.
struct LinkDown {
    std::string sentence;
};
/// The link will not come up again: superseded, name_taken, unsupported_version, ...
struct LinkFatal {
    Failure failure;
};
/// Somebody invites this node to a run. Answer with `join_run`.
struct RunInvited {
    RunId run;
    std::uint32_t term = 0;
    NodeId owner;
    Open open;
    /// Of the key that the owner has shown to have; empty in a run that is not sealed.
    std::string owner_fingerprint{};
    /// Which OPEN of the run this is of those that this node has got; 0 in a run that is not
    /// sealed.
    std::uint64_t invitation = 0;
};
/// The broker has taken our OPEN. `asked`: participants of which a JOIN is to be expected now.
struct RunOpened {
    RunId run;
    std::uint64_t asked = 0;
};
struct RunJoined {
    RunId run;
    std::uint32_t term = 0;
    NodeId node;
    Join join;
};
/// The run is over here: closed by its owner or the broker, or our own CLOSE was confirmed
/// (`confirmed`).
struct RunClosed {
    RunId run;
    Ending ending;
    bool confirmed = false;
    /// False: of a run to which this node was invited, and which it had not joined.
    bool joined = true;
    /// RunInvited::invitation of the one that can be joined no longer; 0: whichever it was.
    std::uint64_t invitation = 0;
};
struct PeerChanged {
    enum class What : std::uint8_t { up, suspect, down };
    RunId run;
    std::uint32_t term = 0;
    What what = What::up;
    NodeId node;
    std::string name;
    std::uint64_t incarnation = 0;
    Errc reason = Errc::ok;
    std::uint64_t silent_ms = 0;
};
struct RequestArrived {
    RunId run;
    std::uint32_t term = 0;
    NodeId from;
    std::uint64_t number = 0;
    std::uint16_t type = 0;
    Bytes body;
    BodyRoom room{};  ///< of the link's budget, held while this event lives
};
/// The reply to our request, or why there will be none.
struct ReplyArrived {
    RunId run;
    std::uint32_t term = 0;
    NodeId from;
    std::uint64_t number = 0;
    std::uint16_t type = 0;
    Bytes body;
    Failure error{Errc::ok, {}};
    BodyRoom room{};
};
using LinkEvent = std::variant<LinkUp, LinkDown, LinkFatal, RunInvited, RunOpened, RunJoined,
                               RunClosed, PeerChanged, RequestArrived, ReplyArrived>;

struct LinkBytes {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
};

class LinkCore {
  public:
    LinkCore(LinkConfig config, LinkTransport& transport);
    ~LinkCore();
    LinkCore(const LinkCore&) = delete;
    LinkCore& operator=(const LinkCore&) = delete;

    // -- events in -------------------------------------------------------------
    void start(TimePoint now);
    void on_frame(Payload head, Payload body, std::size_t frames, TimePoint now,
                  Lane lane = Lane::main);
    void on_tick(TimePoint now);
    [[nodiscard]] TimePoint next_deadline() const;

    // -- events out ------------------------------------------------------------
    /// The event that `out` held is destroyed first: its user has handled it, and the memory that
    /// it took can be given to a body that waits for room.
    [[nodiscard]] bool next_event(LinkEvent& out);
    template <class Visit>
    void for_each_event(Visit&& visit) const {
        for (const LinkEvent& event : events_) visit(event);
    }

    // -- runs ------------------------------------------------------------------
    /// Announces a run of ours, now and after every reconnect, until `close_run`. With a higher
    /// term: what was under way in the old one is forgotten.
    void open_run(const RunId& run, std::uint32_t term, Open open, TimePoint now);
    /// A JOIN with what this node says of itself; the caller adds the configuration hash and the
    /// code.
    [[nodiscard]] Join own_join() const;
    /// Answers an invitation, now and after every reconnect. A refusal (join.code) is sent once.
    /// When the run was closed, or opened anew, since `invited`, nothing is sent, and the run is
    /// told to be closed, as its owner said: another OPEN may follow.
    void join_run(const RunInvited& invited, Join join, TimePoint now);
    /// Ends a run of ours for all; RunClosed{confirmed} follows, also when nobody confirms for 5 s.
    void close_run(const RunId& run, Ending ending, TimePoint now);
    /// Begins a new session on a new connection, as after one that broke: what is under way is sent
    /// again there. For a link whose keys are others by now. Nothing where it is not up.
    void begin_again(TimePoint now);

    /// Forgets a run without telling anybody.
    void forget_run(const RunId& run);

    // -- messages --------------------------------------------------------------
    /// Errors: run_ended (no such run here, or it is closing), too_many, too_large.
    Result<std::uint64_t> request(const RunId& run, NodeId dst, std::uint16_t type, Bytes body,
                                  TimePoint now);
    /// Answers a RequestArrived; ignored when the run is gone or the number is not being handled.
    void reply(const RunId& run, NodeId dst, std::uint64_t number, Bytes body, TimePoint now);
    void reply_error(const RunId& run, NodeId dst, std::uint64_t number, const Failure& failure,
                     TimePoint now);

    // -- questions (link_questions.hpp) --------------------------------------------
    /// Asks a node, or the broker (`broker_node`), again after a reconnect; its answer, or
    /// `timed_out` at `deadline`, comes to next_answer under the number returned.
    std::uint64_t query(NodeId dst, const RunId& run, Question question, Bytes body,
                        TimePoint deadline, TimePoint now) {
        time_ = now;
        return questions_.query(dst, run, question, std::move(body), deadline, now, up());
    }
    /// Questions to this node, in the order in which they came; answer each.
    [[nodiscard]] bool next_query(QueryArrived& out) { return questions_.next_query(out); }
    void answer(const QueryArrived& query, const Result<Bytes>& body) {
        if (up()) questions_.answer(query, body);
    }
    [[nodiscard]] bool next_answer(AnswerArrived& out) { return questions_.next_answer(out); }

    /// The handler of a request that is not answered yet makes progress: for the broker, which
    /// watches for handlers that hang, the request counts as begun just now.
    void note_progress(const RunId& run, std::uint32_t term, NodeId from, std::uint64_t number);

    /// The broker watches for work that hangs. A request is work from its arrival to its answer;
    /// the user reports other work, like a handler of an event, here. Returns the argument of
    /// `end_work`.
    std::uint64_t begin_work() {
        works_.insert(++works_begun_);
        return works_begun_;
    }
    void end_work(std::uint64_t work) {
        const bool had_begun = works_.erase(work) == 1;
        VFLBUS_ASSERT(had_begun, "work that ends has begun, and ends once");
    }

    /// Leaves the bus: in order, or with the code of what has failed here. Peers hear the code.
    void bye(std::string_view sentence, Errc code = Errc::ok);

    // -- properties ------------------------------------------------------------
    [[nodiscard]] bool up() const noexcept { return state_ == State::up; }
    [[nodiscard]] NodeId id() const noexcept { return id_; }
    [[nodiscard]] LinkBytes bytes_of(const RunId& run) const;
    [[nodiscard]] std::uint64_t queued_bytes() const noexcept {
        return out_.queued_bytes() + bulk_.out.queued_bytes();
    }
    /// Of bodies that arrive or wait for the user, those that need credit.
    [[nodiscard]] std::uint64_t reserved_bytes() const noexcept { return budget_.used_bytes(); }
    /// Of bodies that are here without having asked for room, until the user has handled them.
    [[nodiscard]] std::uint64_t unasked_bytes() const noexcept { return unasked_.used_bytes(); }
    /// Of answers that are kept until those who asked for them have them.
    [[nodiscard]] std::uint64_t kept_reply_bytes() const noexcept {
        return kept_replies_.used_bytes();
    }
    /// Bytes held of bodies that are not handed over yet, of all sizes.
    [[nodiscard]] std::uint64_t arriving_bytes() const noexcept;
    /// Bodies that have begun to arrive and wait for room.
    [[nodiscard]] std::size_t waiting_bodies() const noexcept { return waiting_.size(); }
    /// Of requests and runs, that the link looks at without being told to.
    [[nodiscard]] std::size_t deadlines() const noexcept {
        return runs_due_.size() + peers_due_.size();
    }
    /// What it is doing now, for those who watch.
    [[nodiscard]] LinkSample sample() const;
    /// The progress that PING carries (section 4): another number whenever the oldest work of this
    /// link's user is done, or makes progress.
    struct Progress {
        std::uint64_t number = 0;
        bool busy = false;
    };
    [[nodiscard]] Progress progress() const noexcept;
    /// The longest message that this link takes: its own limit, or that of its broker.
    [[nodiscard]] std::uint64_t message_bytes_max() const noexcept { return message_max_; }
    /// What did not open, or was not sealed where it should have been.
    [[nodiscard]] std::uint64_t broken_seals() const noexcept {
        return seal_ ? seal_->broken() : 0;
    }

  private:
    enum class State : std::uint8_t { idle, greeting, up, dead };
    struct Pending;
    struct Answer;
    struct PeerSeal;
    struct Invited;
    struct Account;
    class AtUser;
    class Asking;
    struct Peer;
    struct Run;
    /// How a run ended whose OPEN this node had not answered yet.
    struct ClosedRun {
        RunId run;
        std::uint32_t term = 0;
        Ending ending;
    };
    /// One body between this node and another of a run: of a request, or of its reply.
    struct BodyName {
        std::uint64_t number = 0;
        bool reply = false;
        friend bool operator==(const BodyName&, const BodyName&) = default;
    };
    /// A body that has begun to arrive and waits for room.
    struct Waiting {
        RunId run;
        std::uint32_t term = 0;
        NodeId from;
        NodeId payer;  ///< whom it is counted for
        BodyName name;
        unsigned passed = 0;  ///< how often others were let past it
    };

    void on_control(const Header& header, const Payload& body, TimePoint now);
    void on_bye(const Header& header, const Payload& body, TimePoint now);
    void on_open(const Header& header, const Payload& body, TimePoint now);
    void on_join(const Header& header, const Payload& body);
    void on_close(const Header& header, const Payload& body);
    [[nodiscard]] Bytes close_of(Run& run) const;
    [[nodiscard]] Ending open_to_all(const Header& header, Ending said) const;
    [[nodiscard]] Ending opened_ending(const Header& header, const Run* run, Close said);
    void keep_ending(const Header& header, Ending ending);
    void on_welcome(const Header& header, const Payload& body, TimePoint now);
    void on_error(const Header& header, const Payload& body, TimePoint now);
    void on_run_error(Run& about, const Header& header, Errc code, std::string sentence,
                      TimePoint now);
    void on_peer(const Header& header, const Payload& body, TimePoint now);
    void decline_seal(const Header& header, const Open& open, bool sealed);
    [[nodiscard]] ExtensionNumbers understood() const;
    void decline_earlier(const Run& run, const Header& open);
    void decline(const Header& open, Errc code, std::string sentence);
    void forget_process(Run& run, NodeId node, Peer& peer, const std::string& name);
    [[nodiscard]] std::shared_ptr<Account> account_of(NodeId node, const std::string& name);
    Peer& peer_of(Run& run, NodeId node, const std::string& name);
    Peer& peer_of(Run& run, NodeId node);
    Peer& know_process(Run& run, NodeId node, const std::string& name, std::uint64_t incarnation);
    void on_request(const Header& header, const Payload& body, TimePoint now);
    void on_reply(const Header& header, const Payload& body, TimePoint now);
    void on_credit(const Header& header, TimePoint now);
    void greet(TimePoint now);
    void greet_again(TimePoint now);
    void reconnect();
    void announce(Run& run, TimePoint now);

    // -- bodies out: link_messages.cpp ------------------------------------------
    OutgoingBody* find_outgoing(Peer& peer, BodyName name);
    [[nodiscard]] Header header_of(const Run& run, NodeId dst, const Peer& peer,
                                   BodyName name) const;
    void begin_all(Run& run, NodeId dst, Peer& peer, TimePoint now);
    void begin(Run& run, NodeId dst, Peer& peer, BodyName name, TimePoint now);
    void begin_next(Run& run, NodeId dst, Peer& peer, TimePoint now);
    void advance(Run& run, NodeId dst, Peer& peer, BodyName name, TimePoint now);
    [[nodiscard]] std::uint64_t lead_bytes() const noexcept;
    [[nodiscard]] bool may_begin(const Peer& peer, BodyName name, const OutgoingBody& out) const;
    void done_with(Run& run, NodeId dst, Peer& peer, BodyName name, TimePoint now);
    void oldest_moved(Run& run, NodeId dst, Peer& peer, std::uint64_t known, TimePoint now);
    void fail_pending(Run& run, NodeId dst, Peer& peer, std::uint64_t number, Failure failure,
                      TimePoint now);
    void send_control(Kind kind, Header header, Bytes body);
    void send_beat(Kind kind, Header header);
    void resend_due(TimePoint now);
    void resend_due(Run& run, NodeId dst, Peer& peer, TimePoint now);
    void look_at_runs(TimePoint now);
    void announce_at(Run& run, TimePoint at);
    void send_again_at(Run& run, NodeId dst, Peer& peer, Pending& pending, TimePoint at);
    void heard_of(Run& run, NodeId dst, Peer& peer, Pending& pending, TimePoint now);
    void forget_deadlines(Run& run);

    // -- sealed runs: link_sealed_runs.cpp ---------------------------------------
    void seal_open(Run& run, Open& open);
    [[nodiscard]] static bool may_take_part(const Run& run, const std::string& name);
    void on_terms_query(const Header& header, const Payload& body);
    [[nodiscard]] std::optional<PeerSeal> unseal_join(const Run& run, const Header& header,
                                                      Join& join);
    [[nodiscard]] bool answers_other_open(const Run& run, const Join& join) const;
    [[nodiscard]] bool take_keys(Run& run, NodeId node, Peer& peer, const std::string& name,
                                 PeerSeal&& keys);
    void ask_to_join_again(const Run& run, NodeId node, std::uint64_t joining);
    void on_join_again(const Header& header, const Payload& body);
    void on_sealed_open(const Header& header, const Payload& body, Open open);
    void ask_terms(const RunId& run, Invited& invited, TimePoint now);
    void ask_terms_due(TimePoint now, bool all);
    [[nodiscard]] TimePoint terms_deadline() const noexcept;
    void on_terms(const Header& header, const Payload& body);
    void tell_invited(const RunId& run, const Invited& invited);
    [[nodiscard]] bool is_present_invitation(const RunId& run, std::uint64_t invitation) const;
    void seal_join(const RunId& id, std::uint32_t term, Join& join, Run* run);
    void seal_body(const Run& run, NodeId dst, const Peer& peer, BodyName name, OutgoingBody& out);
    void begin_opening(const Run& run, const Peer& peer, IncomingBody& body, const Header& header);
    [[nodiscard]] Failure broken(const Run& run, const char* what, std::uint64_t number);

    // -- the bulk connection: link_bulk.cpp -------------------------------------
    struct Bulk {
        enum class State : std::uint8_t {
            none,         ///< nobody has needed it in this session
            asking,       ///< opened; BULK is not answered yet
            up,           ///< carries what follows the first chunks of large bodies
            unavailable,  ///< this session goes without
        };
        explicit Bulk(HopSender sender) : out(std::move(sender)) {}
        State state = State::none;
        FrameSink* sink = nullptr;
        HopSender out;
        TimePoint heard{};
        TimePoint sent{};
        TimePoint ask_at{};
        TimePoint ask_until{};
        SmallTraffic small_traffic;
    };
    [[nodiscard]] HopSender hop_sender(Lane lane);
    void want_bulk(TimePoint now);
    void ask_bulk(TimePoint now);
    void settle_bulk(Bulk::State state, TimePoint now);
    void end_bulk();
    void on_bulk_frame(const Header& header, const Payload& body, TimePoint now);
    [[nodiscard]] bool bulk_silent(TimePoint now, Duration stale) const noexcept;
    void flush_bulk(TimePoint now);
    void tick_bulk(TimePoint now);
    [[nodiscard]] TimePoint bulk_deadline() const noexcept;
    [[nodiscard]] std::uint64_t next_tag(bool bulk) noexcept;
    void drop_frames(const RunId& run);

    // -- bodies in: link_arrivals.cpp -------------------------------------------
    /// Adds one part. True when the body is whole and has its room.
    [[nodiscard]] bool assemble(Run& run, NodeId from, IncomingBody& body, BodyName name,
                                const Header& header, std::span<const std::uint8_t> part);
    [[nodiscard]] bool needs_no_credit(const Peer& peer, BodyName name, const IncomingBody& body,
                                       std::size_t part_bytes) const;
    [[nodiscard]] bool begin_body(Run& run, NodeId from, IncomingBody& body, BodyName name,
                                  const Header& header, std::size_t part_bytes);
    [[nodiscard]] bool in_turn(const Peer& peer, BodyName name) const;
    void grant(Run& run, NodeId from, BodyName name, std::uint64_t up_to, std::uint64_t tag = 0);
    void grant_share(Run& run, NodeId from, BodyName name, IncomingBody& body);
    void serve_waiting();
    void take_back_room();
    void reclaim() {
        if (budget_.freed()) serve_waiting();
    }
    void deliver_in_order(Run& run, NodeId from, Peer& peer);
    void deliver_reply(Run& run, NodeId from, Peer& peer, std::uint64_t number);
    [[nodiscard]] std::uint64_t share_bytes() const noexcept;
    [[nodiscard]] std::string no_room_for_answer(std::size_t bytes) const;
    void finish_reply(const RunId& run, NodeId dst, std::uint64_t number, std::uint8_t flags,
                      Bytes body, TimePoint now);
    void flush(TimePoint now);
    void die(Failure failure);
    Run* find(const RunId& run);

    LinkConfig config_;
    LinkTransport& transport_;
    NodeId id_;
    State state_ = State::idle;
    Rng jitter_;
    std::map<RunId, Run> runs_;
    std::map<RunId, Invited> invited_;
    std::deque<ClosedRun> closed_;                       ///< the oldest first
    std::map<NodeId, std::weak_ptr<Account>> accounts_;  ///< of peers, by the name of their key
    std::size_t accounts_swept_ = 0;                     ///< how many were in use at the last look
    std::deque<LinkEvent> events_;
    std::unique_ptr<LinkSeal> seal_;  ///< null: nothing is sealed
    LinkQuestions questions_;
    MarkTokens tokens_;
    HopSender out_;
    Bulk bulk_;
    std::uint64_t session_ = 0;  ///< as the last WELCOME called it
    std::uint64_t tags_ = 0;
    TimePoint last_heard_{};
    TimePoint last_sent_{};
    TimePoint last_beat_{};  ///< when it was last seen whether a PING is due
    bool said_busy_ = false;
    TimePoint next_hello_{};
    Duration hello_wait_{};
    bool said_down_ = false;
    std::size_t chunk_ = 0;  ///< as large as the broker's frames allow
    std::size_t frame_max_ = frame_bytes_max;
    std::uint64_t message_max_ = 0;                  ///< as large as the broker passes on
    Deadlines<RunId> runs_due_;                      ///< see Run::look_at
    Deadlines<std::pair<RunId, NodeId>> peers_due_;  ///< see Peer::look_at
    BodyBudget budget_;
    BodyBudget unasked_;  ///< of bodies that are here without having asked for room
    BodyBudget kept_replies_;
    std::deque<Waiting> waiting_;
    std::uint64_t works_begun_ = 0;
    std::set<std::uint64_t> works_;  ///< that the user has begun and not ended
    TimePoint time_{};               ///< of the last call that brought one
    std::uint64_t pings_ = 0;
    TimePoint pinged_{};  ///< when the last PING was sent
    LinkCounters counters_;
    std::uint64_t hellos_ = 0;  ///< HELLOs sent: the number of the last one
    std::vector<HopSender::Left> left_;
};

}  // namespace vflbus::bus
