#pragma once
// What a link knows of runs and of the other ends of its messages. Private to the link_*.cpp files.

#include <algorithm>

#include "base/assert.hpp"
#include "bus/core/link_core.hpp"
#include "bus/wire/frame.hpp"

namespace vflbus::bus {

/// After this time the link tries again to send on a connection that took nothing, or was not
/// there.
inline constexpr Duration full_retry = std::chrono::milliseconds(20);

struct LinkCore::Pending {
    std::uint16_t type = 0;
    OutgoingBody out;
    TimePoint again_at{};  ///< send it again then; zero: not scheduled. See LinkCore::send_again_at
    Duration again_wait{};
    std::uint64_t said_below = 0;  ///< `answered_below` of its last frame
};

struct LinkCore::Answer {
    std::uint16_t type = 0;
    std::uint8_t flags = 0;
    std::uint64_t arrival = 0;  ///< place of its request among all work of the user
    OutgoingBody out;           ///< no body: still being handled
    BodyRoom room;              ///< of the body, until the asker says that it has it
};

/// The keys of a run's messages with one other node, and the JOIN that they follow from.
struct LinkCore::PeerSeal {
    SealKeys keys;
    std::array<std::uint8_t, 32> session{};
    std::uint64_t joining = 0;
    [[nodiscard]] bool same_join(const PeerSeal& other) const noexcept {
        return session == other.session && joining == other.joining;
    }
};

/// A sealed OPEN, until the run is over: its text is asked for before the user hears of it.
struct LinkCore::Invited {
    std::uint32_t term = 0;
    NodeId owner;
    Open open;  ///< with its text, once that was answered
    SealOffer offer;
    Hash256 digest{};  ///< of the body of the OPEN
    privacy::Cipher cipher = privacy::Cipher::aes_256_gcm;
    bool answered = false;
    std::uint64_t number = 0;  ///< of the question
    TimePoint ask_at{};
};

/// What this node bears of one key, whatever names its nodes have: docs/protocol.md, section 10.
struct LinkCore::Account {
    NodeId id;                ///< of the node that is called as the key
    std::size_t at_user = 0;  ///< requests that the user has and has not answered
};

/// Requests of one peer that the user has and has not answered, counted for its account as long as
/// they are here.
class LinkCore::AtUser {
  public:
    AtUser() = default;
    ~AtUser() { clear(); }
    AtUser(const AtUser&) = delete;
    AtUser& operator=(const AtUser&) = delete;

    void belong_to(std::shared_ptr<Account> account) noexcept {
        if (account_ != nullptr) account_->at_user -= numbers_.size();
        account_ = std::move(account);
        account_->at_user += numbers_.size();
    }
    [[nodiscard]] const Account* account() const noexcept { return account_.get(); }
    /// Whether one more may be handed over: of one peer as many as it may have open, of all nodes
    /// of its key a few times that. Who has none may always have one: whatever others of the key
    /// leave unanswered, each of its nodes gets on.
    [[nodiscard]] bool may_have_one_more() const noexcept {
        return numbers_.empty() || (numbers_.size() < outstanding_requests_max &&
                                    account_->at_user < outstanding_of_key_max);
    }
    void insert(std::uint64_t number) {
        if (numbers_.insert(number).second) ++account_->at_user;
    }
    /// False: it was not here.
    bool erase(std::uint64_t number) {
        if (numbers_.erase(number) == 0) return false;
        --account_->at_user;
        return true;
    }
    [[nodiscard]] bool empty() const noexcept { return numbers_.empty(); }
    void clear() noexcept {
        if (account_ != nullptr) account_->at_user -= numbers_.size();
        numbers_.clear();
    }

  private:
    std::set<std::uint64_t> numbers_;
    std::shared_ptr<Account> account_;
};

/// Large bodies on their way to one peer that were begun and have no CREDIT so far. They bound what
/// may pile up for it: one that is longer than its first part, and besides as many as leave whole
/// with it and have `credit_first` bytes together.
class LinkCore::Asking {
  public:
    [[nodiscard]] bool may_begin(std::uint64_t bytes, bool whole,
                                 std::uint64_t credit_first) const noexcept {
        std::uint64_t of_whole = 0;
        for (const Body& body : bodies_) {
            if (!whole && !body.whole) return false;
            if (body.whole) of_whole += body.bytes;
        }
        return !whole || of_whole == 0 || of_whole + bytes <= credit_first;
    }
    void begin(BodyName name, std::uint64_t bytes, bool whole) {
        bodies_.push_back({name, bytes, whole});
    }
    /// False: it was none of them.
    bool end(BodyName name) {
        return std::erase_if(bodies_, [&](const Body& body) { return body.name == name; }) != 0;
    }
    /// Whoever asked has these replies.
    bool end_replies(std::uint64_t below) {
        return std::erase_if(bodies_, [&](const Body& body) {
                   return body.name.reply && body.name.number < below;
               }) != 0;
    }
    void clear() noexcept { bodies_.clear(); }

  private:
    struct Body {
        BodyName name;
        std::uint64_t bytes = 0;
        bool whole = false;
    };
    std::vector<Body> bodies_;
};

struct LinkCore::Peer {
    std::uint64_t incarnation = 0;  ///< 0: not known yet
    bool named = false;             ///< its account is that of its name
    bool down = false;
    std::optional<PeerSeal> seal;  ///< in a sealed run, from JOIN on
    /// Of its last question for the text of our OPEN: with them it hears how the run ended when it
    /// has not joined by then.
    std::optional<PeerSeal> terms;
    /// JOINs that have had their keys: said again, they would lead to nonces that were used.
    std::set<std::pair<std::array<std::uint8_t, 32>, std::uint64_t>> past_joins;
    // -- what we ask of it
    std::uint64_t next_request = 1;
    std::map<std::uint64_t, Pending> pending;
    std::map<std::uint64_t, IncomingBody> replies;
    /// The receiver may not know that numbers below this were answered or given up.
    std::uint64_t gaps_below = 0;
    // -- what it asks of us
    std::uint64_t next_expected = 1;
    std::map<std::uint64_t, IncomingBody>
        requests;                             ///< arriving, or whole and waiting for their turn
    std::map<std::uint64_t, Answer> answers;  ///< handed over, and what we said
    /// Requests that the user has and has not answered. There are no more than a peer may have
    /// open, even if it says in `answered_below` that they were answered.
    AtUser at_user;
    // -- bodies on their way from it
    std::uint64_t arrived_bytes = 0;   ///< of bodies that hold room, so far
    std::uint64_t arrived_before = 0;  ///< the same at the last heartbeat
    /// Heartbeats in a row in which it held room and sent next to nothing for it.
    unsigned idle_beats = 0;
    // -- bodies on their way to it
    Asking asking;
    std::deque<BodyName> queue;  ///< not begun; requests in order of their numbers
    /// No request of `pending` is due before that: where the peer stands among the deadlines.
    TimePoint look_at = TimePoint::max();

    /// Whom its bodies are counted for.
    [[nodiscard]] NodeId payer() const noexcept { return at_user.account()->id; }
    [[nodiscard]] std::uint64_t answered_below() const {
        return pending.empty() ? next_request : pending.begin()->first;
    }
    /// What only its present process can open. Null: it has shown no key.
    [[nodiscard]] const SealKeys* keys_of_process() const noexcept {
        if (terms && !(seal && seal->session == terms->session)) return &terms->keys;
        return seal ? &seal->keys : nullptr;
    }
    void forget_inbound() {
        next_expected = 1;
        requests.clear();
        answers.clear();
        at_user.clear();
        std::erase_if(queue, [](const BodyName& name) { return name.reply; });
        asking.end_replies(~std::uint64_t{0});
    }
    /// Whether a body that is not handed over yet has room.
    [[nodiscard]] bool holds_room() const {
        const auto has = [](const auto& entry) { return entry.second.holds_room(); };
        return std::any_of(requests.begin(), requests.end(), has) ||
               std::any_of(replies.begin(), replies.end(), has);
    }
    /// Forgets bodies of which a part is missing: their sender begins them again.
    void forget_partials() {
        replies.clear();
        std::erase_if(requests, [](const auto& entry) { return !entry.second.whole(); });
    }
    /// The peer is gone. Others get its room, also that of whole bodies which wait for their turn:
    /// when it is back it sends all of them again.
    void forget_arriving() {
        replies.clear();
        requests.clear();
    }
};

struct LinkCore::Run {
    RunId id;
    std::uint32_t term = 0;
    NodeId owner;
    bool ours = false;
    Bytes announcement;  ///< the body of our OPEN or JOIN
    // -- sealing
    bool sealed = false;
    std::string agreed;         ///< of our OPEN, which does not have it
    std::uint64_t opening = 0;  ///< of our OPEN
    bool to_everybody = false;
    std::set<std::string, std::less<>> invited;  ///< the names in our OPEN
    Hash256 open_digest{};                       ///< of its body
    std::map<NodeId, Peer> peers;
    LinkBytes bytes;
    bool opened = false;
    std::optional<Ending> closing;
    Bytes close;  ///< the body of our CLOSE, which seals once
    TimePoint close_until{};
    bool given_up = false;    ///< the user was told that nobody confirmed
    TimePoint announce_at{};  ///< say it again then; zero: not scheduled
    /// Neither of these two times is earlier.
    TimePoint look_at = TimePoint::max();
};

}  // namespace vflbus::bus
