#include "hostile.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "bus/wire/control.hpp"
#include "bus/wire/questions.hpp"
#include "questions.hpp"
#include "swarm.hpp"

namespace vflbus::sim {

using bus::Bytes;
using bus::Header;
using bus::Kind;
using std::chrono::milliseconds;

std::string_view name_of(Lie lie) noexcept {
    static constexpr std::string_view names[] = {
        "any frame",      "replay",         "controls",         "joins",         "credits",
        "queries",        "answers",        "window beyond",    "window unread", "reads nothing",
        "endless bodies", "bodies at once", "given up at once", "beyond window", "replies unasked",
        "others' runs",   "own runs",       "many frames",      "hello again",   "bulk frames"};
    static_assert(std::size(names) == lies);
    return names[static_cast<std::size_t>(lie)];
}

std::string_view name_of(Change change) noexcept {
    static constexpr std::string_view names[] = {
        "body bytes",    "body offset", "number",     "answered below", "term", "run",
        "source",        "destination", "type",       "flags",          "aux",  "byte of body",
        "count in body", "nested body", "empty body", "silence",        "twice"};
    static_assert(std::size(names) == changes);
    return names[static_cast<std::size_t>(change)];
}

Liar::Liar(World& world, std::size_t place, std::uint64_t seed, LiarPlan plan)
    : world_(world),
      place_(place),
      rng_(seed),
      plan_(std::move(plan)),
      id_(node_id_of(world.name(place))) {}

World::Hostile Liar::hooks() {
    return {[this](bus::Frame& frame, bus::Lane lane) { on_send(frame, lane); },
            [this](const Header& header, std::span<const std::uint8_t> body) {
                on_arrival(header, body);
            }};
}

void Liar::begin(std::function<bool()> goes_on) {
    goes_on_ = std::move(goes_on);
    lie();
}

void Liar::ask_participants() {
    for (auto& [id, run] : runs_)
        for (const std::string& name : plan_.names) {
            Header header;
            header.kind = Kind::request;
            header.src = id_;
            header.dst = node_id_of(name);
            if (header.dst == id_) continue;
            header.run = id;
            header.term = run.term;
            header.request = header.answered_below = run.next++;
            header.type = question;
            say_whole(header, Bytes(sizeof(std::uint64_t)));
        }
}

// -- what it knows -----------------------------------------------------------------------

void Liar::learn(const Header& header, std::span<const std::uint8_t> body) {
    if (header.run.none() || header.term == 0) return;
    if (header.kind != Kind::open && header.kind != Kind::join) return;
    Run& run = runs_[header.run];
    run.id = header.run;
    if (run.term != header.term) run.next = 1;
    run.term = header.term;
    run.own = header.kind == Kind::open && header.src == id_;
    run.peers.clear();
    if (header.kind == Kind::join) run.peers.push_back(header.dst);
    if (const auto open = header.kind == Kind::open ? bus::decode_open(body)
                                                    : Result<bus::Open>(fail(Errc::usage, ""))) {
        run.peers.push_back(node_id_of(open->owner));
        for (const bus::Participant& participant : open->participants)
            run.peers.push_back(node_id_of(participant.name));
    }
    std::erase(run.peers, id_);
    if (run.peers.empty()) run.peers.push_back(any_node());
    if (runs_.size() > 12) runs_.erase(runs_.begin());
}

void Liar::on_arrival(const Header& header, std::span<const std::uint8_t> body) {
    if (header.kind == Kind::welcome) {
        session_ = header.aux;
        hellos_ = std::max(hellos_, header.request);
    }
    learn(header, body);
    if (header.kind == Kind::close) runs_.erase(header.run);
    if (!bus::is_data(header.kind) || header.body_offset != 0) return;
    bodies_.push_back({header.run, header.term, header.src, header.request, header.aux,
                       header.kind == Kind::reply});
    if (bodies_.size() > 16) bodies_.pop_front();
}

void Liar::on_send(bus::Frame& frame, bus::Lane lane) {
    Header header;
    if (bus::decode(frame.header.bytes(), header) != bus::HeaderFault::none) return;
    const auto bytes = frame.body.bytes();
    learn(header, bytes);
    // who says HELLO wrongly is not let in, and BULK goes with it
    if (header.kind == Kind::hello || header.kind == Kind::bulk) return;
    if (bytes.size() <= 4096) said_.push_back({header, Bytes(bytes.begin(), bytes.end())});
    if (said_.size() > 24) said_.pop_front();
    if (rng_.uniform() >= plan_.changed) return;
    const auto what = static_cast<Change>(below(changes));
    ++world_.coverage()[hostile_changes];
    ++world_.coverage()[hostile_change + std::string(name_of(what))];
    if (what == Change::silence) {
        frame = bus::Frame{};
        return;
    }
    if (what == Change::twice) {
        (void)world_.inject(place_, header, bus::Payload::copy_of(bytes), lane);
        return;
    }
    Bytes body(bytes.begin(), bytes.end());
    if (what < Change::byte_of_body)
        change(what, header, body);
    else
        change_body(what, header, body);
    frame = {bus::Payload::copy_of(bus::encode(header)), bus::Payload::hold(std::move(body))};
}

void Liar::change(Change what, Header& header, Bytes& body) {
    switch (what) {
        case Change::body_bytes:
            header.body_bytes = below(2) == 0 ? header.body_bytes + below(100'000) : any_number();
            return;
        case Change::body_offset:
            header.body_offset = below(2) == 0 ? below(200'000) : any_number();
            return;
        case Change::number:
            header.request = below(2) == 0 ? header.request + below(40) : any_number();
            return;
        case Change::answered_below:
            header.answered_below = below(2) == 0 ? header.request : any_number();
            return;
        case Change::term:
            header.term = static_cast<std::uint32_t>(header.term + below(5) - 2);
            return;
        case Change::run:
            header.run = any_run_id();
            return;
        case Change::source:
            header.src = any_node();
            return;
        case Change::destination:
            header.dst = any_node();
            return;
        case Change::type:
            header.type = static_cast<std::uint16_t>(below(below(2) == 0 ? 32 : 65536));
            return;
        case Change::flags:
            header.flags = static_cast<std::uint8_t>(below(below(2) == 0 ? 16 : 256));
            return;
        case Change::aux:
            header.aux = any_number();
            return;
        default:
            body.clear();
    }
}

void Liar::change_body(Change what, Header& header, Bytes& body) {
    const bool whole = header.body_bytes == body.size();
    switch (what) {
        case Change::byte_of_body:
            if (!body.empty()) body[below(body.size())] = static_cast<std::uint8_t>(rng_.next());
            break;
        case Change::count_in_body: {
            // counts of ids, rows of tensors and lengths of strings are found by trying
            if (body.size() < 8) break;
            const std::uint32_t counts[] = {0xffffffff, 0x00100000, 0x7fffffff, 50'000'000};
            const std::uint32_t value = counts[below(4)];
            std::memcpy(body.data() + below(body.size() - 4), &value, sizeof value);
            break;
        }
        case Change::nested_body:
            body = nested(whole ? 60'000 : body.size());
            break;
        default:
            if (whole) body.clear();
    }
    if (whole) header.body_bytes = body.size();
}

// -- pieces ------------------------------------------------------------------------------

Liar::Run* Liar::any_run() {
    if (runs_.empty()) return nullptr;
    auto run = runs_.begin();
    std::advance(run, static_cast<std::ptrdiff_t>(below(runs_.size())));
    return &run->second;
}

NodeId Liar::any_node() {
    if (below(8) == 0) return NodeId{rng_.next()};
    if (below(8) == 0) return broker_node;
    return node_id_of(plan_.names[below(plan_.names.size())]);
}

RunId Liar::any_run_id() {
    const auto honest = world_.honest_runs();
    if (!honest.empty() && below(2) == 0) return honest[below(honest.size())].run;
    if (const Run* run = any_run(); run != nullptr && below(4) != 0) return run->id;
    RunId run;
    for (std::uint8_t& byte : run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    return run;
}

std::uint64_t Liar::any_number() {
    switch (below(6)) {
        case 0:
            return below(40);
        case 1:
            return below(1 << 20);
        case 2:
            return UINT64_MAX - below(3);
        case 3:
            return (std::uint64_t{1} << 32) - below(3);
        case 4:
            return std::uint64_t{1} << below(64);
        default:
            return rng_.next();
    }
}

Bytes Liar::any_bytes(std::size_t most) {
    Bytes out(below(most + 1));
    for (std::size_t i = 0; i < out.size(); i += 1 + below(64))
        out[i] = static_cast<std::uint8_t>(rng_.next());
    return out;
}

std::string Liar::any_text(std::size_t most) {
    std::string out(below(most + 1), 'a');
    for (std::size_t i = 0; i < out.size(); i += 1 + below(32))
        out[i] = static_cast<char>(below(2) == 0 ? 'a' + below(26) : below(256));
    return out;
}

/// msgpack: an array of arrays of nils. Each byte of it is an object where it is decoded whole.
Bytes Liar::nested(std::size_t bytes) {
    Bytes out{static_cast<std::uint8_t>(0x91 + below(12))};
    const std::size_t per_array = std::size_t{1} << (4 + below(8));
    while (out.size() < bytes) {
        out.insert(out.end(), {0xdc, static_cast<std::uint8_t>(per_array >> 8),
                               static_cast<std::uint8_t>(per_array & 255)});
        out.insert(out.end(), per_array, 0xc0);
    }
    out.resize(bytes);
    return out;
}

bus::Participant Liar::any_participant() {
    if (below(4) == 0) return bus::any_node;
    if (below(4) == 0 && !plan_.accomplice.empty()) return {plan_.accomplice, "member", 2};
    if (below(4) == 0) return {any_text(64), any_text(20), static_cast<std::int64_t>(rng_.next())};
    const std::string& name = plan_.names[below(plan_.names.size())];
    return {name, below(2) == 0 ? "member" : "node", static_cast<std::int64_t>(below(4)) - 1};
}

/// A body of the kind, with what may be anything drawn.
Bytes Liar::body_of(Kind kind) {
    const std::string& self = world_.name(place_);
    const auto code = static_cast<Errc>(below(48));
    switch (kind) {
        case Kind::hello:
            return bus::encode(bus::Hello{self,
                                          any_text(8),
                                          0,
                                          world_.incarnation(place_) + below(3),
                                          rng_.next(),
                                          "sim",
                                          {any_text(32), any_text(8)}});
        case Kind::welcome:
            return bus::encode(bus::Welcome{any_text(20), any_number(), any_number(), any_number(),
                                            any_number(), any_number()});
        case Kind::open: {
            bus::Open open{below(4) == 0 ? any_text(64) : self, {}, any_text(2000)};
            for (std::uint64_t n = below(6); n > 0; --n)
                open.participants.push_back(any_participant());
            return bus::encode(open);
        }
        case Kind::join: {
            bus::Join join{below(4) == 0 ? any_text(64) : self,
                           "member",
                           0,
                           any_number(),
                           {},
                           any_text(20),
                           below(2) == 0 ? Errc::ok : code,
                           any_text(4096)};
            return bus::encode(join);
        }
        case Kind::close:
            return bus::encode(bus::Ending{code, any_text(4096)});
        case Kind::peer_up:
            return bus::encode(bus::PeerUp{any_text(64), "member", 0, any_number()});
        case Kind::peer_suspect:
            return bus::encode(bus::PeerSuspect{any_text(64), code, any_number()});
        case Kind::peer_down:
            return bus::encode(bus::PeerDown{any_text(64), code, any_number()});
        case Kind::error:
        case Kind::bye:
            return bus::encode_sentence(any_text(4096));
        case Kind::query:
        case Kind::answer:
        case Kind::request:
        case Kind::reply:
            return below(4) == 0 ? nested(1 + below(20'000)) : any_bytes(20'000);
        default:
            return {};
    }
}

bool Liar::say(Header header, Bytes part, bus::Lane lane, std::size_t frames) {
    return world_.inject(place_, header, bus::Payload::hold(std::move(part)), lane, frames);
}

void Liar::say_whole(Header header, Bytes body) {
    header.body_bytes = body.size();
    (void)say(header, std::move(body));
}

Header Liar::in_run(Kind kind, Run& run) {
    Header header;
    header.kind = kind;
    header.src = id_;
    header.run = run.id;
    header.term = run.term;
    header.dst = run.peers[below(run.peers.size())];
    return header;
}

// -- lies --------------------------------------------------------------------------------

void Liar::lie() {
    const double mean_ms = 1000 / plan_.lies_per_s;
    const auto wait = static_cast<std::int64_t>(1 + below(static_cast<std::uint64_t>(2 * mean_ms)));
    world_.after(milliseconds(wait), [this] {
        if (!goes_on_()) return;
        if (world_.running(place_)) {
            const auto what = static_cast<Lie>(below(lies));
            tell(what);
        }
        lie();
    });
}

void Liar::tell(Lie what) {
    ++world_.coverage()[hostile_lies];
    ++world_.coverage()[hostile_lie + std::string(name_of(what))];
    world_.tell("hostile: " + world_.name(place_) + " says " + std::string(name_of(what)));
    switch (what) {
        case Lie::any_frame:
            for (std::uint64_t n = 1 + below(8); n > 0; --n) say_any_frame();
            return;
        case Lie::replay:
            if (!said_.empty()) {
                const Said& said = said_[below(said_.size())];
                (void)say(said.header, said.body);
            }
            return;
        case Lie::controls:
            return say_controls();
        case Lie::queries:
            return say_queries();
        case Lie::answers:
            for (std::uint64_t n = 1 + below(20); n > 0; --n) {
                Header header;
                header.kind = Kind::answer;
                header.src = id_;
                header.dst = any_node();
                header.run = any_run_id();
                header.request = any_number();
                header.type = static_cast<std::uint16_t>(below(30));
                say_whole(header, any_bytes(2000));
            }
            return;
        case Lie::reads_nothing:
            return world_.read_nothing(place_, milliseconds(100 + below(3000)));
        case Lie::window_beyond:
        case Lie::window_unread:
            return say_window(what == Lie::window_beyond);
        case Lie::many_frames: {
            Header header;
            header.kind = Kind::ping;
            header.src = id_;
            (void)say(header, {}, bus::Lane::main, 3 + below(1000));
            return;
        }
        case Lie::hello_again: {
            Header header;
            header.kind = Kind::hello;
            header.src = id_;
            header.request = hellos_ + below(3);
            return say_whole(header, body_of(Kind::hello));
        }
        case Lie::bulk_frames:
            return say_bulk_frames();
        case Lie::joins:
        case Lie::others_runs:
        case Lie::own_runs:
            return tell_of_runs(what);
        default:
            return tell_of_bodies(what);
    }
}

void Liar::tell_of_runs(Lie what) {
    if (what == Lie::joins) return say_joins();
    if (what == Lie::others_runs) return say_of_others_runs();
    say_own_runs();
}

void Liar::tell_of_bodies(Lie what) {
    switch (what) {
        case Lie::credits:
            return say_credits();
        case Lie::endless_bodies:
            return say_endless_bodies();
        case Lie::bodies_at_once:
            return say_bodies_at_once();
        case Lie::given_up_at_once:
            return below(2) == 0 ? say_given_up_at_once(10, 8 + below(100))
                                 : say_given_up_at_once(bus::credit_free_bytes, 8 + below(24));
        case Lie::beyond_window:
            return say_given_up_at_once(bus::credit_free_bytes, 64 + below(64));
        case Lie::replies_unasked:
            return say_replies_unasked();
        default:
            return;
    }
}

void Liar::say_any_frame() {
    Header header;
    header.kind = static_cast<Kind>(1 + below(19));
    if (Run* run = any_run(); run != nullptr && below(4) != 0) header = in_run(header.kind, *run);
    header.src = below(16) == 0 ? any_node() : id_;
    if (below(4) == 0) header.dst = any_node();
    if (below(4) == 0) header.run = any_run_id();
    if (below(4) == 0) header.term = static_cast<std::uint32_t>(below(5));
    header.flags = below(2) == 0 ? 0 : static_cast<std::uint8_t>(below(16));
    header.request = any_number();
    header.answered_below = below(2) == 0 ? header.request : any_number();
    header.type = static_cast<std::uint16_t>(below(32));
    header.aux = any_number();
    Bytes body = body_of(header.kind);
    header.body_bytes = body.size();
    if (below(8) == 0) change(static_cast<Change>(below(2)), header, body);
    (void)say(header, std::move(body));
}

void Liar::say_controls() {
    const Kind kinds[] = {Kind::ping, Kind::pong, Kind::error, Kind::peer_up, Kind::bulk};
    const Kind kind = kinds[below(5)];
    const Bytes body = body_of(kind);
    for (std::uint64_t n = 20 + below(80); n > 0; --n) {
        Header header;
        if (Run* run = any_run(); run != nullptr) header = in_run(kind, *run);
        header.kind = kind;
        header.src = id_;
        if (kind != Kind::peer_up) {
            header.run = RunId{};
            header.term = 0;
        }
        header.request = n;
        header.aux = below(2) == 0 ? session_ : n;
        if (kind == Kind::ping || kind == Kind::pong)
            header.flags = below(2) == 0 ? 0 : bus::flag::busy;
        say_whole(header, body);
    }
}

void Liar::say_joins() {
    Run* const run = any_run();
    if (run == nullptr) return;
    for (std::uint64_t n = 20 + below(80); n > 0; --n) {
        Header header = in_run(Kind::join, *run);
        bus::Join join{world_.name(place_),
                       "member",
                       2,
                       world_.incarnation(place_),
                       {},
                       "sim",
                       below(2) == 0 ? Errc::ok : Errc::refused,
                       any_text(4096)};
        say_whole(header, bus::encode(join));
    }
}

void Liar::say_credits() {
    for (std::uint64_t n = 5 + below(60); n > 0; --n) {
        Header header;
        if (!bodies_.empty() && below(4) != 0) {
            const Body& body = bodies_[below(bodies_.size())];
            header.run = body.run;
            header.term = body.term;
            header.dst = below(8) == 0 ? any_node() : body.peer;
            header.request = body.number;
            header.flags = body.reply ? bus::flag::answer : std::uint8_t{0};
            header.answered_below = below(4) == 0 ? any_number() : body.tag;
        } else if (Run* run = any_run(); run != nullptr) {
            header = in_run(Kind::credit, *run);
            header.request = 1 + below(20);
            header.flags = below(2) == 0 ? 0 : bus::flag::answer;
        } else {
            return;
        }
        header.kind = Kind::credit;
        header.src = id_;
        header.aux = below(2) == 0 ? any_number() : bus::credit_all;
        say_whole(header, {});
    }
}

void Liar::say_queries() {
    const NodeId asked = any_node();
    for (std::uint64_t n = 5 + below(40); n > 0; --n) {
        Header header;
        header.kind = Kind::query;
        header.src = id_;
        header.dst = below(4) == 0 ? any_node() : asked;
        header.run = any_run_id();
        header.request = 1 + (below(2) == 0 ? below(30) : rng_.next() / 2);
        header.type = static_cast<std::uint16_t>(below(26));
        say_whole(header, below(4) == 0 ? any_bytes(100'000) : any_bytes(200));
    }
}

void Liar::say_window(bool beyond) {
    Header header;
    header.kind = Kind::window;
    header.src = id_;
    if (beyond) {
        header.aux = below(2) == 0 ? world_.sent_to(place_) + 1 + below(1 << 20) : any_number();
        return say_whole(header, {});
    }
    const std::uint64_t times = 4 + below(30);
    const auto apart = milliseconds(1 + below(20));
    world_.read_nothing(place_, static_cast<std::int64_t>(times) * apart);
    for (std::uint64_t n = 0; n < times; ++n)
        world_.after(static_cast<std::int64_t>(n) * apart, [this, header]() mutable {
            header.aux = world_.sent_to(place_);
            say_whole(header, {});
        });
}

void Liar::say_endless_bodies() {
    Run* const run = any_run();
    if (run == nullptr) return;
    for (std::uint64_t n = 1 + below(16); n > 0; --n) {
        Header header = in_run(Kind::request, *run);
        header.request = run->next++;
        header.answered_below = below(2) == 0 ? 1 : header.request;
        header.type = question;
        const std::uint64_t claims[] = {100'000, 200'000, 400'000, 1 << 20, 1 << 30};
        header.body_bytes = claims[below(5)];
        header.aux = 2 * (1 + below(1'000'000));
        (void)say(header, Bytes(bus::chunk_bytes_min));
    }
}

void Liar::say_bodies_at_once() {
    Run* const run = any_run();
    if (run == nullptr) return;
    const std::uint64_t first = run->next;
    run->next += 8;
    for (std::uint64_t n = 0; n < 8; ++n) {
        Header header = in_run(Kind::request, *run);
        header.request = first + n;
        header.answered_below = first;
        header.type = question;
        header.body_bytes = 200'000;
        header.aux = 2 * (1 + n);
        const std::size_t part = 8 << 10;
        for (std::uint64_t k = 0; k < 12; ++k) {
            header.body_offset = k * part;
            (void)say(header, Bytes(part, static_cast<std::uint8_t>(k)));
        }
    }
}

void Liar::say_given_up_at_once(std::uint64_t bytes, std::uint64_t count) {
    Run* const run = any_run();
    if (run == nullptr) return;
    const NodeId to = run->peers[below(run->peers.size())];
    const auto body = std::make_shared<const Bytes>(bytes);  // of them all
    for (; count > 0; --count) {
        Header header = in_run(Kind::request, *run);
        header.dst = to;
        header.request = header.answered_below = run->next++;
        header.type = question;
        header.body_bytes = bytes;
        (void)world_.inject(place_, header, bus::Payload::hold(bus::SharedSlice(body, 0, bytes)));
    }
}

void Liar::say_replies_unasked() {
    Run* const run = any_run();
    if (run == nullptr) return;
    for (std::uint64_t n = 1 + below(20); n > 0; --n) {
        Header header = in_run(Kind::reply, *run);
        header.request = 1 + below(40);
        header.flags = below(4) == 0 ? bus::flag::error : std::uint8_t{0};
        header.type = static_cast<std::uint16_t>(below(32));
        Bytes body = body_of(Kind::reply);
        header.body_bytes = below(4) == 0 ? any_number() : body.size();
        (void)say(header, std::move(body));
    }
}

void Liar::say_of_others_runs() {
    const auto honest = world_.honest_runs();
    if (honest.empty()) return;
    for (std::uint64_t n = 1 + below(6); n > 0; --n) {
        const World::KnownRun& run = honest[below(honest.size())];
        const Kind kinds[] = {Kind::open, Kind::join, Kind::close, Kind::request, Kind::credit};
        Header header;
        header.kind = kinds[below(5)];
        header.src = id_;
        header.run = run.run;
        header.term = static_cast<std::uint32_t>(run.term + below(3));
        header.dst = below(2) == 0 ? node_id_of(run.owner) : any_node();
        header.request = 1 + below(30);
        header.answered_below = 1;
        say_whole(header, body_of(header.kind));
    }
}

void Liar::say_own_runs() {
    for (std::uint64_t n = 1 + below(8); n > 0; --n) {
        Header header;
        header.kind = Kind::open;
        header.src = id_;
        for (std::uint8_t& byte : header.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
        header.term = static_cast<std::uint32_t>(1 + below(3));
        bus::Open open{world_.name(place_), {}, any_text(below(4) == 0 ? 200'000 : 2000)};
        if (below(2) == 0) open.agreed = questions;
        if (below(4) == 0) {
            open.participants = {bus::any_node};
        } else {
            for (std::uint64_t k = 1 + below(4); k > 0; --k)
                open.participants.push_back(any_participant());
        }
        Bytes body = bus::encode(open);
        header.body_bytes = body.size();
        learn(header, body);
        (void)say(header, std::move(body));
    }
}

void Liar::say_bulk_frames() {
    Header header;
    header.kind = static_cast<Kind>(1 + below(19));
    if (Run* run = any_run(); run != nullptr) header = in_run(header.kind, *run);
    header.src = id_;
    header.request = 1 + below(20);
    header.aux = any_number();
    Bytes body = body_of(header.kind);
    header.body_bytes = body.size() + below(2) * 4096;
    header.body_offset = below(2) * 4096;
    (void)say(header, std::move(body), bus::Lane::bulk);
}

// -- a run of its own --------------------------------------------------------------------

HostileOwner::HostileOwner(World& world, std::uint64_t seed, std::vector<bus::Participant> members,
                           std::string agreed)
    : world_(world), rng_(seed) {
    for (std::uint8_t& byte : spec_.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    spec_.participants = std::move(members);
    spec_.agreed = std::move(agreed);
    left_ = 10 + rng_.below(60);
}

void HostileOwner::on_join(actors::Driver& driver, NodeId node, const bus::Join& join) {
    if (join.code != Errc::ok) return;
    ++world_.coverage()["an honest node joined a hostile owner"];
    for (int i = 0; i < 3; ++i) push(driver, node);
}

void HostileOwner::on_reply(actors::Driver& driver, actors::Message&& reply) {
    if (left_ == 0) return driver.close(Errc::ok, "enough");
    push(driver, reply.metadata.src_node_id);
}

void HostileOwner::push(actors::Driver& driver, NodeId node) {
    if (left_ == 0) return;
    --left_;
    const actors::MessageType type =
        rng_.below(3) == 0 ? question : static_cast<actors::MessageType>(1 + rng_.below(26));
    Bytes body(8 + rng_.below(rng_.below(4) == 0 ? 100'000 : 300));
    for (std::size_t i = 0; i < body.size(); i += 1 + rng_.below(16))
        body[i] = static_cast<std::uint8_t>(rng_.next());
    const std::uint64_t answer = rng_.below(1000);
    if (type == question) std::memcpy(body.data(), &answer, sizeof answer);
    (void)driver.push_message(node, type, std::move(body));
}

}  // namespace vflbus::sim
