#pragma once
// The other parties of a run as its master sees them: who has joined, who is gone, what each was
// asked and has not answered.
//
// The problem: a master asks several parties at once, and replies come in any order, late, twice
// or never, while the sums that are made of them must be taken in the order of the ranks. Here a
// group of requests is one object, Replies, that a Task waits for; it yields the bodies by rank.
//
//   Replies asked = parties.ask_all(message::step, body);
//   ... work of the master's own ...
//   const std::vector<Bytes> bodies = co_await asked;
//
// Parties are numbered: members 0 .. members() - 1 by rank, behind them an arbiter if the run has
// one. A run without a driver at hand (between events, or once it is over) sends nothing: what is
// asked then is never answered.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "actors/messages.hpp"
#include "actors/node/app.hpp"
#include "actors/run/task.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"

namespace vflbus::actors {

/// Requests that belong together, and what has come back so far.
struct Exchange {
    std::vector<Result<Bytes>> replies;  ///< in the order in which they were asked
    std::vector<TimePoint> arrived;
    std::size_t missing = 0;
    /// A party's error is a reply like any other, and not the end of the run.
    bool keeps_refusals = false;
};

/// The replies to a group of requests, in the order in which the parties were asked (by rank).
class Replies final : public Wait {
  public:
    Replies(WaitingPlace& place, std::shared_ptr<Exchange> exchange)
        : Wait(place), exchange_(std::move(exchange)) {}
    [[nodiscard]] bool ready() const noexcept override { return exchange_->missing == 0; }
    std::vector<Bytes> await_resume();
    /// When each came; valid after co_await.
    [[nodiscard]] const std::vector<TimePoint>& arrived() const noexcept {
        return exchange_->arrived;
    }

  private:
    std::shared_ptr<Exchange> exchange_;
};

/// The same where a party may refuse: a refusal comes back in place of the body.
class Answers final : public Wait {
  public:
    Answers(WaitingPlace& place, std::shared_ptr<Exchange> exchange)
        : Wait(place), exchange_(std::move(exchange)) {}
    [[nodiscard]] bool ready() const noexcept override { return exchange_->missing == 0; }
    std::vector<Result<Bytes>> await_resume() { return std::move(exchange_->replies); }

  private:
    std::shared_ptr<Exchange> exchange_;
};

/// Takes replies to requests that no Task waits for (commits), as they come.
class AsideTaker {
  public:
    virtual ~AsideTaker() = default;
    /// A failure ends the run; its sentence gets the party's name in front.
    virtual Result<> take(std::size_t party, Body reply) = 0;
};

class Parties {
  public:
    struct Request {
        std::uint64_t id = 0;
        MessageType type = 0;
        std::shared_ptr<Exchange> exchange;  ///< null: aside
        std::size_t place = 0;               ///< in the exchange
        AsideTaker* aside = nullptr;
        TimePoint asked{};
        std::uint64_t bytes = 0;  ///< on the wire
    };
    struct Peer {
        NodeId node;
        std::string name;
        bool joined = false;
        bool was_joined = false;  ///< had joined this term when it was found to be gone
        bool declined = false;    ///< in its last JOIN
        bool held = false;        ///< ... it waits for somebody there to approve the run
        bool up = false;
        bool down = false;  ///< PEER_DOWN, and not back since
        TimePoint down_since{};
        Duration silent{};               ///< when it was found to be gone
        Errc gone_by = Errc::peer_lost;  ///< ok: it has said goodbye, as its operator ended it
        std::uint64_t incarnation = 0;   ///< 0: not known
        std::string version;
        std::vector<Request> pending;
        std::uint64_t bytes_to = 0;
        std::uint64_t bytes_from = 0;

        /// "member-1 is gone", or what is known of why.
        [[nodiscard]] std::string gone_words() const;
    };
    /// A request whose reply has come.
    struct Answered {
        std::size_t party = 0;
        Request request;
        std::uint64_t bytes = 0;  ///< of the reply, on the wire
    };

    Parties(const std::vector<bus::Participant>& participants, WaitingPlace& place);

    // -- asking -----------------------------------------------------------------------
    Replies ask_all(MessageType type, const Bytes& body);
    /// One body per member, by rank.
    Replies ask_each(MessageType type, std::vector<Bytes> bodies);
    /// The same body to some parties, in this order.
    Replies ask_some(std::span<const std::size_t> parties, MessageType type, const Bytes& body);
    Replies ask(std::size_t party, MessageType type, Bytes body);
    /// One body per member, by rank; each may refuse.
    Answers try_each(MessageType type, std::vector<Bytes> bodies);
    /// A request that no Task waits for. `taker` gets the reply, and must live as long as the term.
    void ask_aside(std::size_t party, MessageType type, Bytes body, AsideTaker& taker);

    // -- properties -------------------------------------------------------------------
    [[nodiscard]] std::size_t members() const noexcept { return members_; }
    /// The number of the arbiter, when the run has one.
    [[nodiscard]] std::optional<std::size_t> arbiter() const noexcept {
        return members_ < parties_.size() ? std::optional(members_) : std::nullopt;
    }
    [[nodiscard]] std::size_t size() const noexcept { return parties_.size(); }
    [[nodiscard]] const Peer& operator[](std::size_t party) const { return parties_[party]; }
    [[nodiscard]] std::span<const Peer> all() const noexcept { return parties_; }

    // -- for Run ----------------------------------------------------------------------
    [[nodiscard]] Peer& at(std::size_t party) { return parties_[party]; }
    [[nodiscard]] std::optional<std::size_t> find(NodeId node) const;
    /// An event begins: this is the driver, until the next one.
    void attach(Driver& driver) noexcept { driver_ = &driver; }
    /// The run is over: nothing is sent any more.
    void detach() noexcept { driver_ = nullptr; }
    /// The request that `reply` answers; nothing when it is none of this term.
    std::optional<Answered> match(const Message& reply);
    /// Hands the reply to those who wait for it.
    void deliver(const Answered& answered, Result<Bytes> reply);
    /// What `party` was asked will not be answered, and nobody waits for it any longer.
    void drop_requests(std::size_t party);
    /// Everybody has to join again, and nothing that was asked counts.
    void begin_term();
    /// A request that could not be sent, since the last look.
    std::optional<Failure> take_failure() { return std::exchange(failure_, {}); }

    // -- who is waited for ------------------------------------------------------------
    [[nodiscard]] bool waiting() const noexcept { return outstanding_ != 0; }
    [[nodiscard]] bool all_joined_or_declined() const;
    [[nodiscard]] std::vector<std::string> not_joined() const;
    [[nodiscard]] std::vector<std::string> not_answered() const;
    /// A party that is gone; null when all are there.
    [[nodiscard]] const Peer* first_down() const;
    /// The first party that is there and owes a reply of this sort; null when there is none.
    [[nodiscard]] const Peer* first_late(bool aside) const;
    /// What it owes.
    [[nodiscard]] static const Request* oldest(const Peer& peer, bool aside);
    /// Since when replies are waited for: the last request, or the last moment that excuses all.
    [[nodiscard]] TimePoint waiting_since(bool aside) const noexcept {
        return aside ? aside_since_ : waiting_since_;
    }
    /// Waits are counted from `now` again: nobody could answer before.
    void excuse_all(TimePoint now) noexcept { waiting_since_ = aside_since_ = now; }
    void wait_from(TimePoint now) noexcept { waiting_since_ = now; }

  private:
    std::shared_ptr<Exchange> open_exchange(std::size_t requests) const;
    void send(std::size_t party, Bytes body, Request request);
    void forget(const Request& request) noexcept;

    WaitingPlace* place_;
    std::vector<Peer> parties_;
    std::size_t members_ = 0;
    std::unordered_map<NodeId, std::size_t> by_node_;
    Driver* driver_ = nullptr;
    std::optional<Failure> failure_;
    std::size_t outstanding_ = 0;  ///< requests that a Task, or the end of the run, waits for
    std::size_t aside_ = 0;
    TimePoint waiting_since_{};
    TimePoint aside_since_{};
};

}  // namespace vflbus::actors
