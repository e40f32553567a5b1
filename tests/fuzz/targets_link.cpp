// A whole link of a node that hears what an input says: any frames of the broker and of other
// nodes, time that passes, and a user who joins runs, asks and answers. What it sends must obey the
// rules of its kinds, and what it holds of bodies stays within its bounds.

#include <deque>
#include <map>
#include <string>

#include "bus/core/link_core.hpp"
#include "script.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_link {
namespace {

using namespace vflbus::bus;

constexpr std::uint64_t budget_bytes = 64 << 10;
constexpr std::uint64_t message_bytes = 256 << 10;

/// Small, so that bodies of a few chunks do what large ones do. All that is tried with large bodies
/// is paid for in memory that is written, and takes more time than all else.
constexpr Limits small_limits() {
    Limits limits;
    limits.chunk = chunk_bytes_min;
    limits.credit_first = limits.bulk_lead = 2 * chunk_bytes_min;
    limits.credit_share_min = 2 * chunk_bytes_min;
    limits.credit_share_max = 4 * chunk_bytes_min;
    limits.credit_total = 16 * chunk_bytes_min;
    limits.hop_window = 8 * chunk_bytes_min;
    limits.hop_window_max = 16 * chunk_bytes_min;
    limits.mark_every = 2 * chunk_bytes_min;
    limits.broker_queue = 32 * chunk_bytes_min;
    limits.body_budget = limits.unasked_budget = limits.reply_budget = budget_bytes;
    limits.message = message_bytes;
    return limits;
}
static_assert(consistent(small_limits()));

/// A body of the user: mostly of a chunk or less; one in eight needs credit.
Bytes body_of(std::uint8_t size, std::uint8_t content) {
    const std::size_t small = std::size_t{size} * 16;
    return Bytes(size < 224 ? small : credit_free_bytes + (size - 224u) * 1024, content);
}

class Dealer final : public LinkTransport {
  public:
    SendResult send(Frame& frame) override { return full ? SendResult::full : take(frame); }
    void reconnect() override {}
    FrameSink* open_bulk() override { return &bulk_; }
    void close_bulk() override {}

    bool full = false;
    std::uint64_t last_hello = 0;
    std::uint64_t last_mark = 0;
    Header last_part;  ///< of a request or a reply

  private:
    SendResult take(Frame& frame) {
        const Frame taken = std::move(frame);
        Header header;
        require(decode(taken.header.bytes(), header) == HeaderFault::none,
                "the link sends what is no header");
        require(valid(header, taken.body.size()),
                "the link sends what breaks the rules of its kind");
        if (header.kind == Kind::hello) last_hello = header.request;
        if (header.kind == Kind::mark) last_mark = header.aux;
        if (header.kind == Kind::request || header.kind == Kind::reply) last_part = header;
        return SendResult::ok;
    }
    struct Bulk final : FrameSink {
        explicit Bulk(Dealer& all) : dealer(all) {}
        SendResult send(Frame& frame) override { return dealer.take(frame); }
        Dealer& dealer;
    } bulk_{*this};
};

class Room {
  public:
    Room() : link_(config(), dealer_) {
        link_.start(now_);
        own_.bytes.fill(4);
    }

    /// Whether the link came up and something arrived for its user.
    bool play(Script script) {
        for (int step = 0; step < 200 && !script.over(); ++step) {
            act(script);
            take_events();
            check();
        }
        link_.bye("over");
        return arrived_;
    }

  private:
    static LinkConfig config() {
        LinkConfig c;
        c.hello = {"member-0", "member", 0, 3, 0xABC, "0.1.0", {}, {}};
        c.seed = 1;
        c.limits = small_limits();
        return c;
    }

    void act(Script& script) {
        switch (script.byte() % 11) {
            case 0:
                now_ += std::chrono::milliseconds(std::uint64_t{script.byte()} * 40);
                link_.on_tick(now_);
                break;
            case 1:
                dealer_.full = script.byte() % 2 == 1;
                break;
            case 2:
                welcome();
                break;
            case 3:
                invite(script);
                break;
            case 4:
                ask(script);
                break;
            case 5:
                answer(script);
                break;
            case 6:
                window();
                break;
            case 7:
                chunk(script);
                break;
            case 10:
                credit(script);
                break;
            default: {
                AnyFrame frame = any_frame(script);
                hear(frame.header, std::move(frame.body),
                     script.byte() % 4 == 0 ? Lane::bulk : Lane::main);
                break;
            }
        }
    }

    void welcome() {
        Header header;
        header.kind = Kind::welcome;
        header.request = dealer_.last_hello;
        header.aux = ++session_;
        hear(header,
             encode(Welcome{"0.1.0", 1000, 3000, 10000, frame_bytes_max, message_bytes_max, {}}));
    }
    void window() {
        Header header;
        header.kind = Kind::window;
        header.aux = dealer_.last_mark;
        hear(header, {});
    }
    /// The receiver of the body that was sent last grants some of it.
    void credit(Script& script) {
        const Header& part = dealer_.last_part;
        Header header;
        header.kind = Kind::credit;
        header.src = part.dst;
        header.dst = link_.id();
        header.run = part.run;
        header.term = part.term;
        header.request = part.request;
        header.flags = part.kind == Kind::reply ? flag::answer : 0;
        header.answered_below = part.aux;  // which attempt it is
        header.aux = std::uint64_t{script.byte()} * 1024;
        hear(header, {});
    }
    void invite(Script& script) {
        Header header;
        header.kind = Kind::open;
        header.run.bytes.fill(static_cast<std::uint8_t>(1 + script.byte() % 3));
        header.term = 1 + script.byte() % 3;
        header.src = node_of(0);
        hear(header, encode(Open{"master", {{"member-0", "member", 0}}, "agreed", {}}));
    }
    void ask(Script& script) {
        if (!opened_) {
            link_.open_run(own_, 1, Open{"member-0", {{"member-1", "member", 1}}, "agreed", {}},
                           now_);
            opened_ = true;
        }
        (void)link_.request(own_, node_of(2), 300, body_of(script.byte(), 1), now_);
    }
    /// The user answers the oldest request, with a body or with an error.
    void answer(Script& script) {
        if (asked_.empty()) return;
        const RequestArrived& oldest = asked_.front();
        if (script.byte() % 4 == 0)
            link_.reply_error(oldest.run, oldest.from, oldest.number, Failure{Errc::bad_data, "no"},
                              now_);
        else
            link_.reply(oldest.run, oldest.from, oldest.number, body_of(script.byte(), 2), now_);
        asked_.pop_front();
    }
    /// A part of a request of the master, longer than a script is.
    void chunk(Script& script) {
        Header header;
        header.kind = Kind::request;
        header.src = node_of(0);
        header.dst = link_.id();
        header.run.bytes.fill(static_cast<std::uint8_t>(1 + script.byte() % 3));
        header.term = 1 + script.byte() % 3;
        header.request = 1 + script.byte() % 4;
        header.answered_below = 1;
        header.type = 300;
        header.aux = script.byte() % 3;
        header.body_bytes = std::uint64_t{script.byte()} * 4096;
        header.body_offset = std::uint64_t{script.byte()} * 4096;
        hear(header, Bytes(std::size_t{script.byte() % 8u} * 4096, 3));
    }

    void hear(const Header& header, Bytes body, Lane lane = Lane::main) {
        Header complete = header;
        if (complete.body_bytes == 0) complete.body_bytes = body.size();
        const HeaderBytes head = encode(complete);
        Payload part;
        const std::size_t frames = body.empty() ? 1 : 2;
        if (!body.empty()) part = Payload::hold(std::move(body));
        link_.on_frame(Payload::copy_of(head), std::move(part), frames, now_, lane);
    }

    void take_events() {
        LinkEvent event;
        while (link_.next_event(event)) {
            if (auto* invited = std::get_if<RunInvited>(&event))
                link_.join_run(*invited, link_.own_join(), now_);
            if (auto* request = std::get_if<RequestArrived>(&event)) {
                arrived_ = true;
                if (asked_.size() < 8) asked_.push_back(std::move(*request));
            }
        }
        QueryArrived query;
        while (link_.next_query(query)) link_.answer(query, encode_text("nothing"));
        AnswerArrived answered;
        while (link_.next_answer(answered)) {
        }
    }

    void check() const {
        // one small body of the longest is beyond the budget with what it is counted besides
        require(link_.unasked_bytes() <= budget_bytes + credit_free_bytes + unasked_overhead_bytes,
                "more is held of small bodies than the budget");
        // one body may be larger than the budget
        require(link_.reserved_bytes() <= budget_bytes + message_bytes,
                "more room is given than the budget has");
        require(link_.kept_reply_bytes() <= budget_bytes + message_bytes,
                "more answers are kept than the budget has room for");
    }

    Dealer dealer_;
    TimePoint now_{std::chrono::hours(1)};
    LinkCore link_;
    std::deque<RequestArrived> asked_;
    RunId own_;
    std::uint64_t session_ = 0;
    bool opened_ = false;
    bool arrived_ = false;
};

bool try_link(std::span<const std::uint8_t> input) {
    return Room().play(Script(input));
}

std::vector<Bytes> link_seeds() {
    const Bytes small_request{2, 3, 0, 0,              // WELCOME, an invitation
                              7, 0, 0, 0, 0, 1, 0, 1,  // a request of 4 KiB
                              5, 1, 1};                // its answer
    Bytes in_two{2, 3, 0, 0, 7, 0, 0, 0, 1, 2, 0, 1, 7, 0, 0, 0, 1, 2, 1, 1, 5, 1, 200, 6};
    for (const std::uint8_t b : {4, 100, 6, 4, 3, 0, 200, 6, 2, 0, 200}) in_two.push_back(b);
    // a body that needs credit is asked with and granted in two parts, and another one is answered
    Bytes granted{2, 4, 230, 10, 40, 6, 10, 255, 6, 3, 0, 0, 7, 0, 0, 0, 0, 1, 0, 1, 5, 1, 240};
    for (const std::uint8_t b : {10, 30, 6, 10, 255, 6, 0, 100}) granted.push_back(b);
    return {small_request, in_two, granted};
}

}  // namespace
}  // namespace of_link

const Target link_target{"link", "a whole link and all that is said to it", of_link::try_link,
                         of_link::link_seeds};

}  // namespace vflbus::fuzz
