#pragma once
// A node that was let in and lies. It says HELLO like any other, and then whatever the wire can
// carry, beside nodes that are honest; these must not notice more than that one of their peers is
// of no use.
//
// A hostile place runs the product's own link and node, so that it gets as deep into a run as an
// honest node does: it joins, answers, opens runs of its own. Its frames pass `on_send`, which
// changes some of them, and beside them it sends frames that no link of ours would send. What is
// drawn follows from the seed of the liar alone.

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "actors/node/app.hpp"
#include "base/rng.hpp"
#include "world.hpp"

namespace vflbus::sim {

/// What is said at a time beside the link's own frames.
enum class Lie : std::uint8_t {
    any_frame,         ///< any kind with a body of its kind, fields drawn
    replay,            ///< a frame of its own once more, also of an earlier session or term
    controls,          ///< very many PING, PONG, ERROR, PEER_UP, BULK
    joins,             ///< very many JOIN, with codes and long sentences
    credits,           ///< CREDIT for bodies that others send, to it and to each other
    queries,           ///< more questions than may wait, with large bodies
    answers,           ///< ANSWER to what nobody asked
    window_beyond,     ///< WINDOW for bytes that were not sent
    window_unread,     ///< WINDOW for all that was sent, while it reads nothing
    reads_nothing,     ///< for a while, whatever is sent to it
    endless_bodies,    ///< first chunks of large bodies, of which no more follows
    bodies_at_once,    ///< of many large bodies as much as goes without credit, at once
    given_up_at_once,  ///< requests that all count as given up as soon as they are sent
    beyond_window,     ///< the same without end, whatever the window of the hop says
    replies_unasked,   ///< REPLY to what was not asked, of any length
    others_runs,       ///< OPEN, JOIN, CLOSE of runs of others
    own_runs,          ///< OPEN of many runs of its own, large ones, that name everybody
    many_frames,       ///< messages of more than two ZeroMQ frames
    hello_again,       ///< HELLO in the middle of a session, as another process
    bulk_frames,       ///< frames on a second connection that do not belong there
    count,
};
inline constexpr std::size_t lies = static_cast<std::size_t>(Lie::count);
std::string_view name_of(Lie lie) noexcept;

/// What may be changed in a frame of the link itself.
enum class Change : std::uint8_t {
    body_bytes,
    body_offset,
    number,
    answered_below,
    term,
    run,
    source,
    destination,
    type,
    flags,
    aux,
    byte_of_body,   ///< one byte of the body
    count_in_body,  ///< four bytes of it, as large as a number can be
    nested_body,    ///< arrays within arrays instead of the body
    empty_body,
    silence,  ///< it is not sent at all
    twice,
    count,
};
inline constexpr std::size_t changes = static_cast<std::size_t>(Change::count);
std::string_view name_of(Change change) noexcept;

struct LiarPlan {
    double changed = 0;  ///< share of the link's own frames
    double lies_per_s = 0;
    std::vector<std::string> names;  ///< of nodes that it knows of
    std::string accomplice;          ///< another hostile node; empty: there is none
};

class Liar {
  public:
    Liar(World& world, std::size_t place, std::uint64_t seed, LiarPlan plan);

    /// For World::make_hostile.
    [[nodiscard]] World::Hostile hooks();
    /// Lies from now on, again and again, while `goes_on()`.
    void begin(std::function<bool()> goes_on);
    /// Asks all others in all its runs for an answer, as only their owners may.
    void ask_participants();

  private:
    /// A run that it takes part in, or owns.
    struct Run {
        RunId id;
        std::uint32_t term = 0;
        std::vector<NodeId> peers;
        bool own = false;
        std::uint64_t next = 1;  ///< number of a request that it makes up
    };
    /// A body that somebody sends to it, or asked of it.
    struct Body {
        RunId run;
        std::uint32_t term = 0;
        NodeId peer;
        std::uint64_t number = 0;
        std::uint64_t tag = 0;
        bool reply = false;
    };

    void on_send(bus::Frame& frame, bus::Lane lane);
    void on_arrival(const bus::Header& header, std::span<const std::uint8_t> body);
    void learn(const bus::Header& header, std::span<const std::uint8_t> body);
    void change(Change what, bus::Header& header, bus::Bytes& body);
    void change_body(Change what, bus::Header& header, bus::Bytes& body);
    void lie();
    void tell(Lie what);
    void tell_of_bodies(Lie what);
    void tell_of_runs(Lie what);

    // -- pieces ----------------------------------------------------------------------
    [[nodiscard]] Run* any_run();
    [[nodiscard]] bus::Header in_run(bus::Kind kind, Run& run);
    [[nodiscard]] NodeId any_node();
    [[nodiscard]] RunId any_run_id();
    [[nodiscard]] std::uint64_t any_number();
    [[nodiscard]] bus::Bytes any_bytes(std::size_t most);
    [[nodiscard]] std::string any_text(std::size_t most);
    [[nodiscard]] bus::Bytes nested(std::size_t bytes);
    [[nodiscard]] bus::Bytes body_of(bus::Kind kind);
    [[nodiscard]] bus::Participant any_participant();
    [[nodiscard]] bool say(bus::Header header, bus::Bytes part, bus::Lane lane = bus::Lane::main,
                           std::size_t frames = 2);
    void say_whole(bus::Header header, bus::Bytes body);
    void say_any_frame();
    void say_controls();
    void say_joins();
    void say_credits();
    void say_queries();
    void say_window(bool beyond);
    void say_endless_bodies();
    void say_bodies_at_once();
    void say_given_up_at_once(std::uint64_t bytes, std::uint64_t count);
    void say_replies_unasked();
    void say_of_others_runs();
    void say_own_runs();
    void say_bulk_frames();
    [[nodiscard]] std::uint64_t below(std::uint64_t n) { return rng_.below(n); }

    World& world_;
    std::size_t place_;
    Rng rng_;
    LiarPlan plan_;
    NodeId id_;
    std::uint64_t session_ = 0;
    std::uint64_t hellos_ = 0;
    std::map<RunId, Run> runs_;
    std::deque<Body> bodies_;
    struct Said {
        bus::Header header;
        bus::Bytes body;
    };
    std::deque<Said> said_;
    std::function<bool()> goes_on_;
};

/// Drives a run of the liar's own: pushes to whoever joins what may be anything, and looks at no
/// answer.
class HostileOwner final : public actors::ServerApp {
  public:
    HostileOwner(World& world, std::uint64_t seed, std::vector<bus::Participant> members,
                 std::string agreed);

    const actors::RunSpec& spec() const override { return spec_; }
    void on_opened(actors::Driver&) override {}
    void on_join(actors::Driver& driver, NodeId node, const bus::Join& join) override;
    void on_reply(actors::Driver& driver, actors::Message&& reply) override;
    void on_peer(actors::Driver&, const actors::PeerEvent&) override {}
    void on_timer(actors::Driver&) override {}
    void on_link(actors::Driver&, bool, const std::string&) override {}
    void on_closed(const actors::Ending&) override { over_ = true; }
    [[nodiscard]] bool over() const noexcept { return over_; }

  private:
    void push(actors::Driver& driver, NodeId node);

    World& world_;
    Rng rng_;
    actors::RunSpec spec_;
    std::size_t left_ = 0;  ///< so many requests more
    bool over_ = false;
};

}  // namespace vflbus::sim
