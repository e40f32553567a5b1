#pragma once
// The broker as a state machine: frames and ticks in, frames out (docs/protocol.md, sections 4, 5
// and 12).
//
// The problem: nodes that cannot reach each other work together in runs, and each of them may die,
// hang, lie or be slow. The broker passes their frames on, tells each who is there and who is gone,
// and sees to it that none of them costs the others more than it has shown to be worth: it believes
// no name without its key, no owner about rights, and nobody about what was read.
//
// BrokerLoop is its only caller in the product, the simulation and unit tests are the others. All
// calls come from one thread. It has no sockets, no clock and no threads, and nothing that it does
// depends on the order of a hash: the same calls have the same results.
//
// Its parts, each with a page of its own: which node speaks on which connection
// (session_table.hpp), what a key may do (key_rights.hpp), who breaks the protocol (conduct.hpp),
// which runs there are and who is named in them (run_table.hpp), which runs wait at serving masters
// (waiting_runs.hpp), and how the last runs ended (ended_runs.hpp).

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bus/core/access.hpp"
#include "bus/core/allowance.hpp"
#include "bus/core/conduct.hpp"
#include "bus/core/ended_runs.hpp"
#include "bus/core/hop_receiver.hpp"
#include "bus/core/hop_sender.hpp"
#include "bus/core/key_rights.hpp"
#include "bus/core/ledger.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/run_table.hpp"
#include "bus/core/sample.hpp"
#include "bus/core/session_table.hpp"
#include "bus/core/small_traffic.hpp"
#include "bus/core/timings.hpp"
#include "bus/core/waiting_runs.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/payload.hpp"

namespace vflbus::bus {

class BrokerTransport {
  public:
    virtual ~BrokerTransport() = default;
    /// Never blocks. Moves from the frame on `ok` only.
    virtual SendResult send(ConnId to, Frame& frame) = 0;
    /// Ends a connection that breaks the rules, with all that its peer still has to say.
    virtual void close(ConnId) {}
    /// Whose key the connection has that the frame came from which is being given to `on_frame`,
    /// or `no_key_needed()`. Null: nothing is known of it, and a broker with keys refuses it.
    [[nodiscard]] virtual std::shared_ptr<const Identity> identity_of(ConnId) { return nullptr; }
    /// The address at the other end of the connection that the frame came from, as text, by which
    /// its conduct is remembered where no key is known. Empty: nobody can say, or whoever is there
    /// is on this machine, and would be held off for what others on it do.
    [[nodiscard]] virtual std::string address_of(ConnId) { return {}; }
};

struct BrokerConfig {
    Timings timings;
    std::string version;
    /// One line per change of state; may be empty.
    std::function<void(const std::string& line)> log;
    /// Where runs and nodes are noted; null: questions are answered with what is there now.
    Ledger* ledger = nullptr;
    /// Milliseconds since 1970 at a time; empty: since the epoch of the clock.
    std::function<std::uint64_t(TimePoint)> wall_ms;
    Limits limits{};
    /// What the keys of connections allow; null: this broker has no keys, and asks nobody for one.
    const Access* access = nullptr;
    /// What the broker before this one held against keys.
    std::vector<ConductRow> conduct{};
    /// Extensions of HELLO that this broker knows the meaning of.
    ExtensionNumbers understood{};
    Extensions welcome_extensions{};
    /// WELCOME says what `wall_ms` is at this moment, as extension_clock.
    bool tells_clock = false;
    /// Random bytes that nobody else knows: a node must not guess what a MARK says.
    MarkTokens::Secret secret{};
};

struct BrokerProbe;

struct BrokerCounters {
    std::uint64_t frames_in = 0;
    std::uint64_t frames_routed = 0;
    std::uint64_t bytes_routed = 0;
    std::uint64_t strangers = 0;    ///< frames that were not ours
    std::uint64_t refused = 0;      ///< frames answered with ERROR
    std::uint64_t not_allowed = 0;  ///< what keys tried without the right to it
    std::uint64_t breaches = 0;     ///< frames that break the protocol
    std::uint64_t cuts = 0;         ///< how often somebody was cut for them
};

class BrokerCore {
  public:
    BrokerCore(BrokerConfig config, BrokerTransport& transport, TimePoint now);
    ~BrokerCore();
    BrokerCore(const BrokerCore&) = delete;
    BrokerCore& operator=(const BrokerCore&) = delete;

    /// One message of a connection; `frames` is how many it had (more than 2: dropped). Moves from
    /// `frame` only what it keeps or passes on, so that a loop may receive into it again.
    void on_frame(ConnId from, Frame& frame, std::size_t frames, TimePoint clock);
    void on_frame(ConnId from, Payload head, Payload body, std::size_t frames, TimePoint clock) {
        Frame frame{std::move(head), std::move(body)};
        on_frame(from, frame, frames, clock);
    }
    /// The transport has seen that this connection was closed.
    void on_disconnected(ConnId conn, TimePoint clock);
    /// The ledger's answer to the question of this token.
    void answer(std::uint64_t token, Result<Bytes> body, TimePoint clock);
    /// Time has passed. The clock may jump: what the loop slept too long is not held against the
    /// nodes.
    void on_tick(TimePoint clock);
    /// The allow-list is another one: sessions of keys that it has no longer end.
    void on_access_changed(TimePoint clock);
    /// When `on_tick` wants to be called next.
    [[nodiscard]] TimePoint next_deadline() const;
    /// BYE to everybody.
    void shutdown(std::string_view sentence);

    // -- properties ------------------------------------------------------------
    [[nodiscard]] const BrokerCounters& counters() const noexcept { return counters_; }
    [[nodiscard]] std::size_t nodes() const noexcept { return nodes_.size(); }
    [[nodiscard]] std::size_t runs() const noexcept { return runs_.size(); }
    /// Whose end is remembered.
    [[nodiscard]] std::size_t ended_runs() const noexcept { return ended_runs_.size(); }
    /// All that are known: those of nodes, and for a minute those that are no node's.
    [[nodiscard]] std::size_t connections() const noexcept { return connections_.size(); }
    [[nodiscard]] std::size_t connections_of_nodes() const noexcept {
        return connections_.of_nodes();
    }
    [[nodiscard]] std::uint64_t queued_bytes() const noexcept;
    /// The most bytes that are kept of what one node has said in OPEN and JOIN; with keys, all
    /// nodes of one key together.
    [[nodiscard]] std::uint64_t kept_of_one_bytes() const { return runs_.most_kept_bytes(); }
    /// The most runs that one owner has at the moment; with keys, all owners of one key together.
    [[nodiscard]] std::size_t most_runs_of_one() const noexcept { return runs_.most_places(); }
    /// Who has broken the protocol lately.
    [[nodiscard]] const Conduct& conduct() const noexcept { return conduct_; }
    /// The same by name, as of the last call: for the broker that is started after this one.
    [[nodiscard]] std::vector<ConductRow> held_against() const { return conduct_.rows(now_); }
    /// What it is doing now, for those who watch. Walks over all nodes and runs.
    [[nodiscard]] BrokerSample sample(TimePoint now) const;
    /// Control frames that wait for connections that take no more.
    [[nodiscard]] std::size_t queued_controls() const noexcept;

  private:
    using Probe = BrokerProbe;
    using Node = BrokerNode;
    using Run = BrokerRun;
    using Member = BrokerMember;
    struct Asked;

    // -- arrival ---------------------------------------------------------------
    void on_hello(ConnId from, const Node* known, const Header& header, const Payload& body,
                  TimePoint now);
    void on_known_frame(ConnId from, const SessionTable::Sender& sender, HeaderFault fault,
                        const Header& header, Frame& frame, TimePoint now);
    void on_frame_of_stranger(ConnId from, const Header& header, std::size_t bytes, TimePoint now);
    [[nodiscard]] bool may_say_nothing(ConnId from, std::size_t bytes, TimePoint now);
    void on_ping(Node& node, const Header& header, TimePoint now);
    void on_frame_of_node(Node& node, Lane lane, const Header& header, Frame& frame, TimePoint now);
    void on_bye(Node& node, const Header& header, TimePoint now);
    void leave(Node& node, Errc code, TimePoint now);
    void on_control(Node& node, const Header& header, Payload& body, TimePoint now);
    void on_open(Node& node, const Header& header, const Payload& body, TimePoint now);
    void on_join(Node& node, const Header& header, const Payload& body, TimePoint now);
    void on_close(Node& node, const Header& header, const Payload& body, TimePoint now);
    void route(Node& node, Lane lane, const Header& header, Frame& frame, std::size_t bytes,
               TimePoint now);
    bool find_route(Node& node, const Header& header,
                    const std::function<void(Errc, const std::string&)>& refuse, TimePoint now);
    void route_credit(Node& node, const Header& header, TimePoint now);

    // -- nodes: broker_nodes.cpp -------------------------------------------------
    void accept(ConnId from, Hello hello, std::uint64_t hello_number,
                std::shared_ptr<const Identity> key, TimePoint now);
    void accept_waiting(Probe probe, TimePoint now);
    [[nodiscard]] bool waits_for_name(const Connection& connection, ConnId conn) const;
    void take_over(Node& node, TimePoint now);
    void connect(Node& node, ConnId from, std::shared_ptr<const Identity> key, TimePoint now);
    void begin_session(Node& node, Hello hello, ConnId from, TimePoint now);
    void welcome(Node& node, std::uint64_t hello_number, TimePoint now);
    void refuse_hello(ConnId from, Errc code, const std::string& sentence);
    void await_name(Node& node, Probe probe, TimePoint now);
    void ask_for_life(Node& node, Probe probe, TimePoint now);
    void settle_probe(Node& node, bool old_one_lives, TimePoint now);
    /// Whether a connection that is a node's no longer is still there.
    enum class Ended : std::uint8_t { session, connection };
    void disconnect(Node& node, Ended what, TimePoint now);
    void claim(Node& node, Lane lane, ConnId from, TimePoint now);
    void release(Node& node, Lane lane, Ended what, TimePoint now);
    void set_liveness(Node& node, TimePoint now);
    void note_progress(Node& node, const Header& beat, TimePoint now);
    void set_stall(Node& node, TimePoint now);
    void set_slow(Node& node, TimePoint now);
    void heard(Node& node, TimePoint now);
    void announce_up(Run& run, Node& node, TimePoint now);
    void announce_suspect(Node& node, Errc code, Duration since, TimePoint now);
    void announce_down(Run& run, Node& node, Errc code, Duration silent, TimePoint now);
    void forget_if_idle(NodeId id);

    // -- who may do what: broker_access.cpp -----------------------------------------
    [[nodiscard]] bool asked_for_rights(const Node& node) const noexcept;
    [[nodiscard]] static std::string key_text(const Identity* key);
    [[nodiscard]] bool admit(ConnId from, const Hello& hello, const Identity* key, TimePoint now);
    [[nodiscard]] bool may_take_part(const Node& node, const Run& run, const Participant& as) const;
    [[nodiscard]] bool may_invite(const Node& node, const Run& run, TimePoint now);
    [[nodiscard]] bool may_know_of(const Node& node, const Run& run) const;
    [[nodiscard]] bool drives_waiting(const Node& node, const WaitingRun& waiting) const;
    [[nodiscard]] NodeId payer_of(const Node& node) const;
    [[nodiscard]] bool may_open(const Node& node, TimePoint now);
    [[nodiscard]] bool may_ask(const Node& node, const Header& query, TimePoint now);
    void leave_visible(const Node& node, Question question, std::uint64_t limit, Bytes& rows) const;
    void end_revoked(TimePoint now);
    void end_session(Node& node, const std::string& why, TimePoint now);
    void not_allowed(const Identity* key, const std::string& tried, TimePoint now);
    void tell_refusal(const std::string& line, TimePoint now);

    // -- who breaks the protocol, and what one key may have: broker_conduct.cpp -------
    [[nodiscard]] std::string who(const Identity* key, ConnId conn) const;
    void note_breach() noexcept;
    void settle_breach(ConnId from, TimePoint now);
    void cut(ConnId conn, TimePoint now);
    [[nodiscard]] bool held_off(ConnId from, const std::string& whose, TimePoint now);
    [[nodiscard]] const std::set<NodeId>& nodes_of_key(const std::string& name) const;
    void set_key(Node& node, std::shared_ptr<const Identity> key);
    template <class Add>
    [[nodiscard]] std::uint64_t of_account(const Node& node, Add&& add) const;
    [[nodiscard]] std::uint64_t queued_for_account(const Node& node) const;
    [[nodiscard]] std::size_t questions_of_account(const Node& node) const;
    [[nodiscard]] bool may_have_node(const Identity* key) const;
    [[nodiscard]] bool asks_too_often(Node& node, const Header& query, TimePoint now);

    // -- second connections: broker_bulk.cpp --------------------------------------
    void on_bulk(ConnId from, const Header& header, TimePoint now);
    void on_bulk_frame(Node& node, const Header& header, Frame& frame, std::size_t bytes,
                       TimePoint now);
    void detach_bulk(Node& node, Ended what, TimePoint now);
    void lose_bulk(Node& node, Ended what, TimePoint now);
    Posted post_bulk(Node& node, Frame&& frame, TimePoint now);
    void send_bulk(Node& node, Header header, TimePoint now);

    // -- runs: broker_runs.cpp ---------------------------------------------------
    TimePoint awake(TimePoint clock);
    [[nodiscard]] bool pays(NodeId node, std::size_t announced, TimePoint now);
    Run* run_to_open(Node& node, const Header& header, std::uint64_t kept, TimePoint now);
    void name_members(Node& node, Run& run, std::uint32_t term, bool to_all,
                      std::vector<Member> members, TimePoint now);
    void tell_of_open(Node& node, Run& run, TimePoint now);
    void end_run(Run& run, const Ending& ending, NodeId except, TimePoint now,
                 const std::map<NodeId, Bytes>& sealed = {});
    template <class Visit>
    void for_each_joined(Run& run, Visit&& visit);

    template <class Visit>
    void for_each_peer(Run& run, const Node& node, Visit&& visit);
    [[nodiscard]] bool tell_ending(Node& node, const Header& join, TimePoint now);
    void leave_out(Node& node, const Run& run, std::uint32_t term, TimePoint now);
    void tell_unsaid(Node& node, TimePoint now);
    void tell_who_is_lost(Run& run, Node& owner, TimePoint now);
    bool settle_state(Run& run, TimePoint now);
    void invite(Node& node);
    bool leave_open_runs(Node& node);
    void end_runs_of(Node& owner, bool tell_owner, TimePoint now);

    // -- questions: broker_queries.cpp -------------------------------------------
    void on_query(Node& node, const Header& header, Payload& body, TimePoint now);
    void on_answer(Node& node, const Header& header, Payload& body, TimePoint now);
    void ask_ledger(Node& node, const Header& header, LedgerQuestion question, TimePoint now);
    void send_answer(Node& to, const Header& query, NodeId from, const Result<Bytes>& body,
                     TimePoint now);
    void on_note(Node& node, const Header& header, const Payload& body, TimePoint now);
    [[nodiscard]] RunRow row_of(const Run& run) const;
    [[nodiscard]] NodeRow row_of(const Node& node) const;
    [[nodiscard]] static NodeState state_of(const Node& node) noexcept;
    void count_refused(Errc code);
    void give_up_waiting(TimePoint now);
    void look_around(TimePoint now);
    void drop_what_waits(Node& node, TimePoint now);
    void close_orphans(TimePoint now);
    void note(Run& run);
    void note(const RunId& run, const WaitingRun& waiting, RunState state, const Ending& ending,
              TimePoint now);
    void note(Node& node);
    void note_sizes(TimePoint now);
    /// Of a time of this class, which lacks what the loop has slept until then.
    [[nodiscard]] std::uint64_t wall_ms(TimePoint at) const;

    // -- sending: broker_routes.cpp ----------------------------------------------
    Posted post(Node& node, ControlFrame&& frame, TimePoint now);
    Posted send_open(Node& node, const Run& run, TimePoint now);
    Posted send_join(Node& owner, const Run& run, const Member& member, TimePoint now);
    Posted pass_on(Node& to, const Header& header, const Payload& body, TimePoint now);
    void send_about_peer(Node& to, Kind kind, const Run& run, NodeId about, Bytes body,
                         TimePoint now);
    void send_control(Node& node, Kind kind, const Header& header, Bytes body, TimePoint now);
    void send_error(Node& node, const Header& about, Errc code, const std::string& sentence,
                    TimePoint now);
    void send_raw(ConnId to, const Header& header, Bytes body);
    /// Answers the MARKs before which all is consumed.
    void report_consumed(Node& node, Lane lane, TimePoint now);
    [[nodiscard]] bool is_far_behind(const Node& target) const;
    [[nodiscard]] bool bulk_is_beside(const Node& node, TimePoint now) const noexcept;
    [[nodiscard]] std::uint64_t deferred_max() const noexcept;
    void credit_back(std::vector<HopSender::Left>& left, TimePoint now);
    void flush(Node& node, TimePoint now);
    void log(const std::string& line) const;

    struct NodeSink;

    BrokerConfig config_;
    BrokerTransport& transport_;
    MarkTokens tokens_;
    KeyRights rights_;
    SessionTable connections_;
    std::map<NodeId, std::unique_ptr<Node>> nodes_;
    std::map<std::string, std::set<NodeId>> nodes_of_key_;  ///< by the name of their key
    RunTable runs_;
    /// Who has asked whom under which number.
    std::map<std::pair<NodeId, std::uint64_t>, Asked> asked_;
    struct AskedOfLedger {
        NodeId asker;
        Header query;
        std::uint64_t limit = 0;  ///< rows that it wanted
    };
    std::map<std::uint64_t, AskedOfLedger> asked_of_ledger_;
    LineAllowance refusals_told_;  ///< log lines about keys without a right
    std::vector<ConnId> ended_;    ///< of keys that count no longer: closed at the next look
    SmallTrafficOfAll small_traffic_;
    Conduct conduct_;
    bool breached_ = false;                    ///< by the frame that is being worked on
    std::map<std::string, Allowance> asking_;  ///< by keys that have asked lately
    std::map<std::string, Allowance> noting_;  ///< by keys whose masters have noted runs lately
    WaitingRuns waiting_;
    EndedRuns ended_runs_;
    std::uint64_t next_token_ = 1;
    TimePoint sizes_noted_{};
    BrokerCounters counters_;
    std::map<Errc, std::uint64_t> refused_;  ///< counters_.refused by reason
    TimePoint started_;
    TimePoint last_tick_;
    Duration slept_{};  ///< how much of the clock the loop has missed
    /// A time that the loop slept: from `noticed` on, times of this class are `slept` behind.
    struct Pause {
        TimePoint noticed;
        Duration slept{};
    };
    std::deque<Pause> pauses_;        ///< the last ones
    Duration slept_before_pauses_{};  ///< at the ones before these
    std::uint64_t generation_ = 1;    ///< changes whenever a route may have changed
    std::uint64_t next_session_ = 1;
    /// Whose connection takes no more at the moment, or was found to be gone.
    std::set<NodeId> blocked_;
    TimePoint now_;                      ///< of the event that is being worked on
    TimePoint looked_around_;            ///< when all nodes and runs were looked at last
    std::map<NodeId, Allowance> spent_;  ///< by names whose allowance is not full
    std::uint64_t probes_ = 0;
    std::vector<HopSender::Left> left_;
};

}  // namespace vflbus::bus
