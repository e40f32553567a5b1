#pragma once
// Questions to and from a node, beside all runs: docs/protocol.md, section 12.
//
// The bus repeats no question and has no deadline for one: a QUERY or its ANSWER may be lost with a
// connection, and who asks must still not wait for ever. So this remembers what the node has asked
// until the answer comes or the asker's own deadline passes, and asks again in each session. What
// others ask waits here until the node's user takes it; nobody can make it hold more than a few.
//
//     query -> QUERY ...> ANSWER -> on_answer -> next_answer
//                         (or `expire` at the deadline -> next_answer with `timed_out`)
//     QUERY -> on_query -> next_query, the user -> answer -> ANSWER
//
// Where this node seals (link_seal.hpp), questions to other nodes and their answers are sealed. The
// asker learns the keys of the node first, by the question `key`, and is told when that node has
// others by now; who is asked answers those alone whose key its party knows.
//
// LinkCore calls it with what arrives, and gives it a way to send; it knows nothing of runs, of
// bodies or of time but for the deadlines.

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/ids.hpp"
#include "bus/core/link_seal.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/payload.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::bus {

/// Somebody asks this node.
struct QueryArrived {
    NodeId from;
    RunId run;
    std::uint64_t number = 0;
    std::uint16_t question = 0;
    Bytes body;
    /// With which its answer is sealed; null: it is not.
    std::shared_ptr<const SealKeys> keys{};
    /// The name of the key with which it was sealed; empty where questions are not sealed. It is
    /// the same for all processes of the asker, whatever names of that key they say they have.
    std::string asker{};
};
/// What came of a question of ours; `error` says why there is no answer.
struct AnswerArrived {
    NodeId from;
    RunId run;
    std::uint64_t number = 0;
    std::uint16_t question = 0;
    Bytes body;
    Failure error{Errc::ok, {}};
};

class LinkQuestions {
  public:
    /// Sends a control frame in the present session.
    using Send = std::function<void(Kind kind, Header header, Bytes body)>;

    /// `first`: the number of the first question. It has to differ from process to process of a
    /// name: an answer to an earlier one may come late.
    /// `seal` outlives this; null: nothing is sealed.
    LinkQuestions(std::string own_name, std::uint64_t first, Send send, LinkSeal* seal)
        : own_name_(std::move(own_name)),
          own_id_(node_id_of(own_name_)),
          next_number_(first),
          send_(std::move(send)),
          seal_(seal) {}

    // -- asking ------------------------------------------------------------------
    /// Asks, at once when there is a session (`up`). Returns the number of the question.
    std::uint64_t query(NodeId dst, const RunId& run, Question question, Bytes body,
                        TimePoint deadline, TimePoint now, bool up);
    /// For a question that the link itself asks.
    [[nodiscard]] std::uint64_t take_number() noexcept { return next_number_++; }
    /// A session has begun: all that is not answered is asked again.
    void ask_again();
    void on_answer(const Header& header, const Payload& body);
    /// Those whose deadline has passed are answered with `timed_out`.
    void expire(TimePoint now);
    [[nodiscard]] bool next_answer(AnswerArrived& out);

    // -- being asked -------------------------------------------------------------
    /// Only within a session. Answered with `too_many` when 64 wait already.
    void on_query(const Header& header, const Payload& body);
    [[nodiscard]] bool next_query(QueryArrived& out);
    /// Only within a session. An answer that is too long is replaced by an error that says so.
    void answer(const QueryArrived& query, const Result<Bytes>& body);

    // -- properties ----------------------------------------------------------------
    /// When `expire` has something to do next; max: never.
    [[nodiscard]] TimePoint next_deadline() const noexcept {
        return deadlines_.empty() ? TimePoint::max() : deadlines_.begin()->first;
    }

  private:
    /// A question of ours that has no answer yet.
    struct Asked {
        NodeId dst;
        RunId run;
        Question question{};
        Bytes body;
        TimePoint deadline{};
        std::size_t key_changes = 0;  ///< how often the node had other keys by then
        /// How often it was sent sealed: with the keys of its channel, and with those before them,
        /// of which no error was heard yet.
        std::size_t under_these_keys = 0;
        std::size_t under_earlier_keys = 0;
    };
    /// A node that is asked sealed questions.
    struct Channel {
        std::uint64_t key_question = 0;  ///< the number of that `key`, while it is not answered
        TimePoint key_asked_at{};
        std::optional<SealKeys> keys;
    };
    /// The last count of each process that has asked: the broker could say its questions again,
    /// and a run would be submitted twice. The oldest of many processes are forgotten.
    class Heard {
      public:
        using Session = std::array<std::uint8_t, 32>;
        [[nodiscard]] bool is_new(const Session& session, std::uint64_t count);

      private:
        std::map<Session, std::uint64_t> last_;
        std::deque<Session> order_;
    };
    [[nodiscard]] bool seals(NodeId dst, Question question) const noexcept;
    void send_query(std::uint64_t number, Asked& asked);
    void send_sealed(std::uint64_t number, Asked& asked, const SealKeys& keys);
    void forget_keys(NodeId dst, Channel& channel);
    void ask_key(NodeId dst, Channel& channel, const RunId& run);
    void on_key(NodeId dst, const Header& header, const Payload& body, Channel& channel);
    void on_sealed_answer(const Header& header, const Payload& body, Asked& asked);
    void settle_all(NodeId dst, const Failure& failure);
    void open_query(const Header& header, const Payload& body, QueryArrived& query);
    void settle(std::uint64_t number, const Asked& asked, Bytes body, Failure error);

    std::string own_name_;
    NodeId own_id_;
    std::uint64_t next_number_;
    Send send_;
    LinkSeal* seal_;
    std::map<NodeId, Channel> channels_;
    TimePoint now_{};  ///< of the last call that brought a time
    std::map<std::uint64_t, Asked> asked_;
    std::set<std::pair<TimePoint, std::uint64_t>> deadlines_;  ///< of asked_, by number
    std::deque<QueryArrived> queries_;
    Heard heard_;
    std::deque<AnswerArrived> answers_;
};

}  // namespace vflbus::bus
