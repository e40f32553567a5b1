#include "bus/core/link_core.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/node_names.hpp"
#include "base/planted.hpp"
#include "bus/core/link_state.hpp"

namespace vflbus::bus {

namespace {

/// The agreed text of a sealed run travels in an ANSWER.
constexpr std::size_t sealed_text_bytes_max = answer_body_bytes_max - 256;

/// Of the numbers of MARKs. A node sends only what it wants to send itself, so a broker that
/// guesses them harms nobody; they have to differ from process to process only.
MarkTokens::Secret secret_of(const LinkConfig& config) {
    MarkTokens::Secret secret{};
    std::memcpy(secret.data(), &config.seed, sizeof config.seed);
    std::memcpy(secret.data() + sizeof config.seed, &config.hello.instance,
                sizeof config.hello.instance);
    return secret;
}

}  // namespace

LinkCore::LinkCore(LinkConfig config, LinkTransport& transport)
    : config_(std::move(config)),
      transport_(transport),
      id_(node_id_of(config_.hello.name)),
      jitter_(config_.seed),
      seal_(config_.seal ? std::make_unique<LinkSeal>(config_.seal, config_.hello.name) : nullptr),
      questions_(
          config_.hello.name, config_.hello.instance / 2 + 1,
          [this](Kind kind, Header header, Bytes body) {
              send_control(kind, header, std::move(body));
          },
          seal_.get()),
      tokens_(secret_of(config_)),
      out_(hop_sender(Lane::main)),
      bulk_(hop_sender(Lane::bulk)),
      chunk_(config_.limits.chunk),
      message_max_(config_.limits.message),
      budget_(config_.limits.body_budget),
      unasked_(config_.limits.unasked_budget),
      kept_replies_(config_.limits.reply_budget) {}

LinkCore::~LinkCore() = default;

HopSender LinkCore::hop_sender(Lane lane) {
    const Limits& limits = config_.limits;
    return HopSender(tokens_, {id_, broker_node}, limits,
                     lane == Lane::main
                         ? limits.mark_every
                         : std::min<std::uint64_t>(limits.mark_every, bulk_chunk_bytes));
}

LinkCore::Run* LinkCore::find(const RunId& run) {
    const auto found = runs_.find(run);
    return found == runs_.end() ? nullptr : &found->second;
}

// -- the connection --------------------------------------------------------------

void LinkCore::start(TimePoint now) {
    VFLBUS_ASSERT(state_ == State::idle, "a link is started once");
    state_ = State::greeting;
    time_ = now;
    hello_wait_ = config_.timings.hello_retry_min;
    last_heard_ = now;
    last_sent_ = now;
    last_beat_ = now;
    greet(now);
}

/// Sends HELLO. It is sent again after a time that doubles, with jitter, so that the nodes of a
/// broker that comes back do not all greet it at the same moment.
void LinkCore::greet(TimePoint now) {
    Header header;
    header.kind = Kind::hello;
    header.src = id_;
    header.request = ++hellos_;
    Frame frame = make_frame(header, encode(config_.hello));
    if (transport_.send(frame) != SendResult::ok) {
        next_hello_ = now + full_retry;  // not connected yet: that was no try
        return;
    }
    last_sent_ = now;
    const double jitter = config_.timings.hello_retry_jitter;
    const double factor = 1 - jitter + 2 * jitter * jitter_.uniform();
    next_hello_ =
        now +
        Duration(static_cast<std::int64_t>(static_cast<double>(hello_wait_.count()) * factor));
    hello_wait_ = std::min(hello_wait_ * 2, config_.timings.hello_retry_max);
}

/// The broker does not know this session: begins another one.
void LinkCore::greet_again(TimePoint now) {
    if (state_ != State::up) return;
    state_ = State::greeting;
    hello_wait_ = config_.timings.hello_retry_min;
    greet(now);
}

void LinkCore::begin_again(TimePoint now) {
    if (state_ != State::up) return;
    state_ = State::greeting;
    reconnect();
    last_heard_ = now;
    hello_wait_ = config_.timings.hello_retry_min;
    next_hello_ = now;
}

void LinkCore::reconnect() {
    transport_.reconnect();
    bulk_ = Bulk(hop_sender(Lane::bulk));  // it is closed as well
}

void LinkCore::on_welcome(const Header& header, const Payload& body, TimePoint now) {
    // A broker that was slow answers each of our HELLOs, and begins a session with each. Only the
    // last one counts: what we sent after an earlier answer would be counted at one end alone.
    if (state_ != State::greeting || header.request != hellos_) return;
    const auto welcome = decode_welcome(body.bytes());
    if (!welcome)
        return die({Errc::malformed_frame,
                    "the broker's WELCOME is malformed; use the same vflbus version everywhere"});
    if (const auto unknown = first_not_understood(welcome->extensions, config_.understood))
        return die({Errc::unsupported_version,
                    not_understood("the broker's WELCOME", *unknown, config_.hello.name)});
    out_.reset(left_);
    left_.clear();
    end_bulk();
    session_ = header.aux;
    chunk_ = std::clamp<std::size_t>(welcome->frame_bytes, chunk_bytes_min, config_.limits.chunk);
    frame_max_ = std::max<std::size_t>(welcome->frame_bytes, chunk_bytes_min);
    message_max_ = std::min(config_.limits.message, welcome->message_bytes);
    state_ = State::up;
    said_down_ = false;
    ++counters_.sessions;
    hello_wait_ = config_.timings.hello_retry_min;
    events_.push_back(LinkUp{welcome->version, welcome->extensions});
    std::vector<RunId> ids;
    for (const auto& [id, run] : runs_) ids.push_back(id);
    for (const RunId& id : ids)
        if (Run* run = find(id);
            run != nullptr && (run->ours || !VFLBUS_PLANTED(join_not_repeated)))
            announce(*run, now);
    questions_.ask_again();
    ask_terms_due(now, true);
    for (auto& [id, run] : runs_) {
        if (run.closing) continue;
        for (auto& [node, peer] : run.peers) {
            peer.forget_partials();
            begin_all(run, node, peer, now);
        }
    }
    serve_waiting();
}

/// OPEN or CLOSE of a run of ours, JOIN of another's.
void LinkCore::announce(Run& run, TimePoint now) {
    run.announce_at = {};
    if (state_ != State::up) return;
    Header header;
    header.run = run.id;
    header.term = run.term;
    if (run.closing) {
        announce_at(run, now + std::chrono::seconds(1));
        // (a broker of which another session began may take smaller frames than the one before)
        const bool fits = run.close.size() <= frame_max_;
        const Errc code = run.closing->code;
        return send_control(Kind::close, header,
                            fits ? run.close : encode(Ending{code, std::string(meaning_of(code))}));
    }
    const std::size_t bytes = std::max(run.announcement.size(), run.agreed.size());
    if (run.announcement.size() > std::min(frame_max_, control_body_bytes_max) ||
        run.agreed.size() > sealed_text_bytes_max) {
        events_.push_back(RunClosed{
            run.id,
            Ending{Errc::too_large, "what announces run " + run.id.short_hex() + " has " +
                                        std::to_string(bytes) +
                                        " bytes, more than a frame may have at the broker"},
            false});
        return forget_run(RunId(run.id));
    }
    if (!run.ours) header.dst = run.owner;
    send_control(run.ours ? Kind::open : Kind::join, header, run.announcement);
}

void LinkCore::on_tick(TimePoint now) {
    time_ = now;
    if (state_ == State::idle || state_ == State::dead) return;
    const Timings& t = config_.timings;
    const Duration silent = now - last_heard_;
    // earlier than the broker gives this node up, so that a connection that died in silence costs
    // no run
    const Duration stale = (t.suspect + t.lost) / 2;
    if (state_ == State::up && (silent >= stale || bulk_silent(now, stale))) {
        state_ = State::greeting;
        if (!said_down_) {
            said_down_ = true;
            events_.push_back(LinkDown{
                "the broker has not been heard of for " +
                std::to_string(std::chrono::duration_cast<std::chrono::seconds>(silent).count()) +
                " s"});
        }
        reconnect();
        last_heard_ = now;
        hello_wait_ = t.hello_retry_min;
        next_hello_ = now;
    }
    if (state_ == State::greeting) {
        if (now - last_heard_ >= stale) {  // perhaps the connection itself is stuck
            reconnect();
            last_heard_ = now;
        }
        if (now >= next_hello_) greet(now);
    }
    if (state_ == State::up) {
        const bool beat = now - last_beat_ >= t.heartbeat;
        if (beat && last_heard_ > last_beat_) take_back_room();
        if (beat) last_beat_ = now;
        const Progress progress = beat ? this->progress() : Progress{};
        // a worker that hangs while another one sends must be seen, and that it has ended as well
        if (now - last_sent_ >= t.heartbeat || progress.busy || (beat && said_busy_) ||
            (silent >= t.suspect && now - last_sent_ >= t.heartbeat / 2)) {
            Header ping;
            ping.request = ++pings_;
            pinged_ = now;
            send_beat(Kind::ping, ping);
            last_sent_ = now;
        }
    }
    look_at_runs(now);
    if (state_ == State::up) {
        resend_due(now);
        if (out_.waiting()) flush(now);
        tick_bulk(now);
        ask_terms_due(now, false);
        reclaim();
    }
    questions_.expire(now);
}

/// Runs that are to be announced again, and those whose end nobody has confirmed in time.
void LinkCore::look_at_runs(TimePoint now) {
    std::vector<RunId> due;
    while (const auto id = runs_due_.take_due(now)) due.push_back(*id);
    for (const RunId& id : due) runs_.at(id).look_at = Deadlines<RunId>::nowhere;
    for (const RunId& id : due) {
        Run* run = find(id);
        // without a session nothing is announced here: `on_welcome` announces all runs
        if (run->announce_at != TimePoint{} && now >= run->announce_at && state_ == State::up) {
            announce(*run, now);  // may forget it
            run = find(id);
            if (run == nullptr) continue;
        }
        if (run->closing && !run->given_up && now >= run->close_until) {
            // the user is told that nobody has confirmed; the link goes on sending CLOSE
            run->given_up = true;
            events_.push_back(RunClosed{id, *run->closing, false});
        }
        if (run->announce_at > now) runs_due_.no_later(id, run->announce_at, run->look_at);
        if (run->closing && !run->given_up) runs_due_.no_later(id, run->close_until, run->look_at);
    }
}

void LinkCore::announce_at(Run& run, TimePoint at) {
    run.announce_at = at;
    runs_due_.no_later(run.id, at, run.look_at);
}

void LinkCore::send_again_at(Run& run, NodeId dst, Peer& peer, Pending& pending, TimePoint at) {
    pending.again_at = at;
    peers_due_.no_later({run.id, dst}, at, peer.look_at);
}

/// A part of the reply, or CREDIT, has come: the request has arrived, so its timer begins anew.
void LinkCore::heard_of(Run& run, NodeId dst, Peer& peer, Pending& pending, TimePoint now) {
    pending.again_wait = config_.timings.resend_unheard;
    send_again_at(run, dst, peer, pending, now + pending.again_wait);
}

/// To be called before a run is forgotten or replaced.
void LinkCore::forget_deadlines(Run& run) {
    runs_due_.remove(run.id, run.look_at);
    for (auto& [node, peer] : run.peers) peers_due_.remove({run.id, node}, peer.look_at);
}

/// Requests of which nothing was heard for a while, or that the broker did not know where to send.
void LinkCore::resend_due(TimePoint now) {
    std::vector<std::pair<RunId, NodeId>> due;
    while (const auto key = peers_due_.take_due(now)) due.push_back(*key);
    for (const auto& [id, node] : due)
        runs_.at(id).peers.at(node).look_at = Deadlines<RunId>::nowhere;
    for (const auto& [id, node] : due) {
        Run& run = runs_.at(id);
        if (!run.closing) resend_due(run, node, run.peers.at(node), now);
    }
}

void LinkCore::resend_due(Run& run, NodeId dst, Peer& peer, TimePoint now) {
    // The numbers are collected first: a request that cannot begin again fails, and `begin` then
    // erases it from the map that this loop would walk.
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, pending] : peer.pending)
        if (pending.again_at != TimePoint{} && now >= pending.again_at) numbers.push_back(number);
    for (const std::uint64_t number : numbers) {
        const auto found = peer.pending.find(number);
        if (found == peer.pending.end()) continue;
        Pending& pending = found->second;
        pending.again_wait = 2 * std::max(pending.again_wait, config_.timings.resend_unheard);
        pending.again_at = now + pending.again_wait;
        if (!peer.down) begin(run, dst, peer, {number, false}, now);
    }
    for (auto& [number, pending] : peer.pending)
        if (pending.again_at != TimePoint{})
            peers_due_.no_later({run.id, dst}, pending.again_at, peer.look_at);
}

TimePoint LinkCore::next_deadline() const {
    if (state_ == State::idle || state_ == State::dead) return TimePoint::max();
    TimePoint next = last_heard_ + (config_.timings.suspect + config_.timings.lost) / 2;
    if (state_ == State::greeting) next = std::min(next, next_hello_);
    if (state_ == State::up) {
        next = std::min(next, std::min(last_sent_, last_beat_) + config_.timings.heartbeat);
        if (out_.blocked()) next = std::min(next, last_sent_ + full_retry);
        next = std::min(next, bulk_deadline());
    }
    next = std::min(next, questions_.next_deadline());
    next = std::min(next, runs_due_.next());
    // without a session nothing is sent again here: `on_welcome` begins all of it
    if (state_ == State::up) next = std::min(next, std::min(peers_due_.next(), terms_deadline()));
    return next;
}

void LinkCore::die(Failure failure) {
    state_ = State::dead;
    events_.push_back(LinkFatal{std::move(failure)});
}

void LinkCore::bye(std::string_view sentence, Errc code) {
    Header header;
    header.aux = static_cast<std::uint64_t>(code);
    if (state_ == State::up) send_control(Kind::bye, header, encode_sentence(sentence));
    state_ = State::dead;
}

bool LinkCore::next_event(LinkEvent& out) {
    out = LinkEvent{};
    reclaim();
    if (events_.empty()) return false;
    out = std::move(events_.front());
    events_.pop_front();
    return true;
}

// -- frames in -------------------------------------------------------------------

void LinkCore::on_frame(Payload head, Payload body, std::size_t frames, TimePoint now, Lane lane) {
    if (state_ == State::idle || state_ == State::dead) return;
    Header header;
    if (frames > frames_max || decode(head.bytes(), header) != HeaderFault::none ||
        !valid(header, body.size())) {
        if (frames <= frames_max && decode(head.bytes(), header) == HeaderFault::other_version)
            die({Errc::unsupported_version,
                 "the broker speaks another protocol version; use the same vflbus version "
                 "everywhere"});
        return;
    }
    time_ = now;
    if (lane == Lane::bulk) return on_bulk_frame(header, body, now);
    last_heard_ = now;
    if (is_data(header.kind)) {
        if (state_ != State::up) return;
        bulk_.small_traffic.seen(header.run, header.body_bytes, now);
        return header.kind == Kind::request ? on_request(header, body, now)
                                            : on_reply(header, body, now);
    }
    on_control(header, body, now);
}

/// A frame of the first connection that is no part of a body.
void LinkCore::on_control(const Header& header, const Payload& body, TimePoint now) {
    switch (header.kind) {
        case Kind::welcome:
            return on_welcome(header, body, now);
        case Kind::ping: {
            Header pong;
            pong.request = header.request;
            return send_beat(Kind::pong, pong);
        }
        case Kind::mark:
            // also between HELLO and WELCOME: what came before it was read, and is over
            out_.report(header.aux, transport_, now);
            last_sent_ = now;
            return;
        case Kind::window:
            if (state_ != State::up) return;
            out_.consumed(header.aux, now);
            if (out_.waiting()) flush(now);
            return;
        case Kind::bye:
            return on_bye(header, body, now);
        case Kind::error:
            return on_error(header, body, now);
        case Kind::query:
            if (seal_ && header.type == static_cast<std::uint16_t>(Question::terms))
                return on_terms_query(header, body);
            if (seal_ && header.type == static_cast<std::uint16_t>(Question::join_again))
                return on_join_again(header, body);
            if (state_ == State::up) questions_.on_query(header, body);
            return;
        case Kind::answer:
            if (seal_ && header.type == static_cast<std::uint16_t>(Question::terms))
                return on_terms(header, body);
            if (seal_ && header.type == static_cast<std::uint16_t>(Question::join_again)) return;
            return questions_.on_answer(header, body);
        case Kind::open:
            return on_open(header, body, now);
        case Kind::join:
            return on_join(header, body);
        case Kind::close:
            return on_close(header, body);
        case Kind::peer_up:
        case Kind::peer_suspect:
        case Kind::peer_down:
            return on_peer(header, body, now);
        case Kind::credit:
            if (state_ == State::up) on_credit(header, now);
            return;
        case Kind::pong:  // it has done its work by arriving
            if (header.request == pings_) counters_.heartbeat = now - pinged_;
            return;
        default:
            return;
    }
}

void LinkCore::on_bye(const Header& header, const Payload& body, TimePoint now) {
    const auto code = static_cast<Errc>(header.aux);
    std::string sentence = decode_sentence(body.bytes());
    if (code != Errc::ok) return die({code, std::move(sentence)});
    // the broker goes away in order; another one may come at its address
    state_ = State::greeting;
    hello_wait_ = config_.timings.hello_retry_min;
    next_hello_ = now + hello_wait_;
    if (said_down_) return;
    said_down_ = true;
    events_.push_back(LinkDown{"the broker has ended"});
}

/// The broker's answer to our own OPEN, or an invitation.
void LinkCore::on_open(const Header& header, const Payload& body, TimePoint now) {
    if (Run* run = find(header.run); run != nullptr && run->ours) {
        if ((header.flags & flag::answer) != 0 && header.term == run->term && !run->opened) {
            run->opened = true;
            events_.push_back(RunOpened{run->id, header.aux});
        }
        return;
    }
    auto open = decode_open(body.bytes());
    if (!open || node_id_of(open->owner) != header.src) return;
    // what was closed is open again
    std::erase_if(closed_, [&](const ClosedRun& known) { return known.run == header.run; });
    Run* run = find(header.run);
    if (run != nullptr && header.term < run->term) return decline_earlier(*run, header);
    if (run != nullptr && header.term == run->term)
        return announce(*run, now);  // it has our answer already, or that was lost
    const bool sealed = open->extensions.contains(seal_extension);
    const bool fits = sealed == (seal_ != nullptr);
    if (sealed && fits && !first_not_understood(open->extensions, understood()))
        return on_sealed_open(header, body, std::move(*open));  // and what was before goes on
    if (run != nullptr && !fits)
        events_.push_back(RunClosed{
            header.run, Ending{Errc::stale_term, "a newer term of the run has begun"}, false});
    // nothing of the earlier term is of interest any more
    if (run != nullptr) forget_run(header.run);
    if (!fits) return decline_seal(header, *open, sealed);
    if (const auto unknown = first_not_understood(open->extensions, understood()))
        return decline(header, Errc::unsupported_version,
                       not_understood("run " + header.run.short_hex() + " of " + open->owner,
                                      *unknown, config_.hello.name));
    events_.push_back(RunInvited{header.run, header.term, header.src, std::move(*open), {}});
}

/// To a run of ours.
void LinkCore::on_join(const Header& header, const Payload& body) {
    Run* run = find(header.run);
    auto join = decode_join(body.bytes());
    if (run == nullptr || !run->ours || run->term != header.term || !join) return;
    if (const auto unknown = first_not_understood(join->extensions, understood());
        unknown && join->code == Errc::ok) {
        join->code = Errc::unsupported_version;
        join->sentence = not_understood("JOIN of " + join->name, *unknown, config_.hello.name);
    }
    if (!run->sealed && join->extensions.contains(seal_extension) && join->code == Errc::ok) {
        join->code = Errc::refused;
        join->sentence = join->name + " seals (bus.seal), and this run is not sealed";
    }
    std::optional<PeerSeal> keys;
    if (run->sealed) {
        if (!may_take_part(*run, join->name))
            return seal_->note_broken(join->name + ", whom run " + run->id.short_hex() +
                                      " does not name, wants to join it");
        // Said to an earlier process of this node, which had opened the same term: the disk was set
        // back since. Who has joined that process answers no other OPEN of the term. It declines
        // when it knows that the owner is another process, and it cannot know where that one died
        // before it had heard of it: without this both would wait for each other.
        if (join->code == Errc::ok && answers_other_open(*run, *join)) {
            if (VFLBUS_PLANTED(owner_set_back)) return;
            join->code = Errc::stale_term;
        }
        keys = unseal_join(*run, header, *join);
    }
    // a participant that is not connected has had no PEER_UP
    if (join->code == Errc::ok) {
        Peer& peer = know_process(*run, header.src, join->name, join->incarnation);
        if (keys && take_keys(*run, header.src, peer, join->name, std::move(*keys)))
            begin_all(*run, header.src, peer, time_);
    }
    events_.push_back(RunJoined{header.run, header.term, header.src, std::move(*join)});
}

void LinkCore::on_close(const Header& header, const Payload& body) {
    Run* run = find(header.run);
    const bool confirmed = (header.flags & flag::answer) != 0;
    Ending ending{Errc::run_ended, "the run was closed"};
    if (run != nullptr && run->closing) ending = *run->closing;
    if (!confirmed)
        if (auto told = decode_close(body.bytes()))
            ending = opened_ending(header, run, std::move(*told));
    if (const auto invited = invited_.find(header.run);
        invited != invited_.end() && header.term >= invited->second.term)
        invited_.erase(invited);
    if (run == nullptr) {
        if (!confirmed) keep_ending(header, std::move(ending));
        return;
    }
    if (confirmed && !run->closing) return;
    if (header.term < run->term) return;  // of a term that is over
    if (run->ours && !confirmed && !run->closing) {
        // An OPEN of ours that has passed this on the way would have opened the run again, and
        // nobody would close it: so the broker hears that it is closed, until it confirms it.
        events_.push_back(RunClosed{header.run, ending, false});
        close_run(header.run, std::move(ending), time_);
        run->given_up = true;  // the user has been told
        return;
    }
    if (!run->given_up) events_.push_back(RunClosed{header.run, std::move(ending), confirmed});
    forget_run(header.run);
}

void LinkCore::on_error(const Header& header, const Payload& body, TimePoint now) {
    const auto code = static_cast<Errc>(header.aux);
    std::string sentence = decode_sentence(body.bytes());
    switch (code) {
        case Errc::not_registered:
            return greet_again(now);
        case Errc::name_taken:
        case Errc::stale_incarnation:
        case Errc::superseded:
        case Errc::unsupported_version:
            return die({code, std::move(sentence)});
        case Errc::held_off:
            // who was let in before waits until it may come again, as what it does goes on then
            if (counters_.sessions == 0) return die({code, std::move(sentence)});
            return;
        case Errc::too_many:
        case Errc::malformed_frame:
        case Errc::wrong_source:
        case Errc::not_allowed:
            // an answer to HELLO; later ones are about single frames
            if (header.run.none() && state_ == State::greeting)
                return die({code, std::move(sentence)});
            break;
        default:
            break;
    }
    if (Run* const run = find(header.run); run != nullptr && header.term == run->term)
        on_run_error(*run, header, code, std::move(sentence), now);
}

/// About a run in its present term.
void LinkCore::on_run_error(Run& about, const Header& header, Errc code, std::string sentence,
                            TimePoint now) {
    Run* const run = &about;
    const auto peer = run->peers.find(header.dst);
    const auto pending_of = [&]() -> Pending* {
        if (peer == run->peers.end()) return nullptr;
        const auto found = peer->second.pending.find(header.request);
        return found == peer->second.pending.end() ? nullptr : &found->second;
    };
    switch (code) {
        case Errc::retry:
        case Errc::unknown_run:
            // a broker that came back empty: say who we are in this run, then the request again
            if (code == Errc::unknown_run && !run->ours) {
                events_.push_back(RunClosed{
                    header.run, Ending{Errc::unknown_run, "the run is over: " + sentence}, false});
                return forget_run(header.run);
            }
            if (run->announce_at == TimePoint{}) announce_at(*run, now + config_.timings.resend);
            if (!run->ours && header.request == 0) {  // to JOIN: nobody of the run is there
                for (auto& [node, other] : run->peers) other.forget_arriving();
                serve_waiting();
            }
            if (Pending* pending = pending_of())
                send_again_at(*run, header.dst, peer->second, *pending,
                              now + config_.timings.resend);
            return;
        case Errc::not_a_participant:
            // an answer to JOIN: the owner goes on without this node, and was not told here because
            // there was no link just then
            if (run->ours || header.request != 0) return;  // the request waits for PEER_UP
            events_.push_back(
                RunClosed{header.run, Ending{Errc::not_a_participant, std::move(sentence)}, false});
            return forget_run(header.run);
        case Errc::unreachable:
            return;  // the request waits for PEER_UP
        case Errc::stale_term:
        case Errc::not_owner:
        case Errc::not_allowed:
        case Errc::wrong_source:
        case Errc::malformed_frame:
        case Errc::too_large:
        case Errc::too_many:
            // The broker has dropped a frame because too much of this node waits there. That says
            // nothing about the run: the request is sent again, as after `retry`.
            if (header.request != 0 && code == Errc::too_many) {
                if (Pending* pending = pending_of())
                    send_again_at(*run, header.dst, peer->second, *pending,
                                  now + config_.timings.resend);
                return;
            }
            if (header.request != 0 && (code == Errc::malformed_frame || code == Errc::too_large)) {
                if (pending_of() != nullptr)
                    fail_pending(*run, header.dst, peer->second, header.request, {code, sentence},
                                 now);
                return;
            }
            if (!run->given_up)
                events_.push_back(RunClosed{header.run, Ending{code, std::move(sentence)}, false});
            return forget_run(header.run);
        default:
            return;
    }
}

Join LinkCore::own_join() const {
    Join join;
    join.name = config_.hello.name;
    join.role = config_.hello.role;
    join.rank = config_.hello.rank;
    join.incarnation = config_.hello.incarnation;
    join.version = config_.hello.version;
    return join;
}

/// One end wants sealing, and the other one has none.
void LinkCore::decline_seal(const Header& header, const Open& open, bool sealed) {
    const std::string run = "run " + header.run.short_hex() + " of " + open.owner;
    decline(header, Errc::refused,
            sealed ? run + " is sealed, and " + config_.hello.name +
                         " does not seal: bus.seal is off there, or it has no keys"
                   : config_.hello.name + " seals what it says (bus.seal), and " + run +
                         " is not sealed: bus.seal is off there, or it has no keys");
}

ExtensionNumbers LinkCore::understood() const {
    ExtensionNumbers numbers = config_.understood;
    numbers.insert(seal_extension);
    return numbers;
}

/// An OPEN of an earlier term than the one that this node has joined: the owner's disk was set
/// back, or another process with older files owns the run now. Only its participants can tell it.
void LinkCore::decline_earlier(const Run& run, const Header& open) {
    decline(open, Errc::stale_term,
            config_.hello.name + " has joined term " + std::to_string(run.term) + " of run " +
                run.id.short_hex() + " and takes no part in term " + std::to_string(open.term) +
                ": go on with `--resume " + run.id.hex() + "`");
}

/// Answers an OPEN that this node's user never hears of.
void LinkCore::decline(const Header& open, Errc code, std::string sentence) {
    if (state_ != State::up) return;
    Header header;
    header.run = open.run;
    header.term = open.term;
    header.dst = open.src;
    Join join = own_join();
    join.code = code;
    join.sentence = std::move(sentence);
    send_control(Kind::join, header, encode(join));
}

/// The account of the node's key; where names are not those of keys, that of the node alone.
std::shared_ptr<LinkCore::Account> LinkCore::account_of(NodeId node, const std::string& name) {
    const bool of_key = config_.names_of_keys && node_id_of(name) == node;
    const NodeId id = of_key ? node_id_of(without_suffix(name)) : node;
    if (auto known = accounts_[id].lock()) return known;
    if (accounts_.size() > 2 * accounts_swept_ + 64) {
        std::erase_if(accounts_, [](const auto& entry) { return entry.second.expired(); });
        accounts_swept_ = accounts_.size();
    }
    auto account = std::make_shared<Account>();
    account->id = id;
    accounts_[id] = account;
    return account;
}

LinkCore::Peer& LinkCore::peer_of(Run& run, NodeId node, const std::string& name) {
    Peer& peer = run.peers[node];
    if (!peer.named) peer.at_user.belong_to(account_of(node, name));
    peer.named = true;
    return peer;
}

/// Of a node whose name was not said yet: it has an account of its own until then.
LinkCore::Peer& LinkCore::peer_of(Run& run, NodeId node) {
    Peer& peer = run.peers[node];
    if (peer.at_user.account() == nullptr) peer.at_user.belong_to(account_of(node, {}));
    return peer;
}

/// Notes which process has the name of a peer. When it is another one than before, what the earlier
/// one was asked has failed, and what it had asked is forgotten.
LinkCore::Peer& LinkCore::know_process(Run& run, NodeId node, const std::string& name,
                                       std::uint64_t incarnation) {
    Peer& peer = peer_of(run, node, name);
    const bool restarted = peer.incarnation != 0 && peer.incarnation != incarnation &&
                           !VFLBUS_PLANTED(restart_not_noticed);
    peer.incarnation = incarnation;
    if (restarted) forget_process(run, node, peer, name);
    return peer;
}

void LinkCore::forget_process(Run& run, NodeId node, Peer& peer, const std::string& name) {
    peer.seal.reset();
    peer.forget_partials();
    peer.forget_inbound();
    peer.asking.clear();
    peer.queue.clear();
    for (const auto& [number, pending] : peer.pending)
        events_.push_back(ReplyArrived{
            run.id,
            run.term,
            node,
            number,
            pending.type,
            {},
            {Errc::peer_restarted, name + " restarted and has lost what it was asked"}});
    peer.pending.clear();
}

void LinkCore::on_peer(const Header& header, const Payload& body, TimePoint now) {
    Run* run = find(header.run);
    if (run == nullptr) return;
    PeerChanged event;
    event.run = header.run;
    event.term = run->term;
    event.node = NodeId{header.aux};
    if (header.kind == Kind::peer_up) {
        auto up = decode_peer_up(body.bytes());
        if (!up || header.term != run->term) return;
        event.name = std::move(up->name);
        event.incarnation = up->incarnation;
        Peer& peer = know_process(*run, event.node, event.name, up->incarnation);
        peer.down = false;
        peer.forget_partials();
        events_.push_back(event);
        begin_all(*run, event.node, peer, now);
        serve_waiting();
        return;
    }
    if (header.kind == Kind::peer_suspect) {
        auto suspect = decode_peer_suspect(body.bytes());
        if (!suspect) return;
        event.what = PeerChanged::What::suspect;
        event.name = std::move(suspect->name);
        event.reason = suspect->code;
        event.silent_ms = suspect->silent_ms;
    } else {
        auto down = decode_peer_down(body.bytes());
        if (!down) return;
        event.what = PeerChanged::What::down;
        event.name = std::move(down->name);
        event.reason = down->code;
        event.silent_ms = down->silent_ms;
        if (header.term == run->term) {
            Peer& peer = peer_of(*run, event.node, event.name);
            peer.down = true;
            peer.forget_arriving();
            serve_waiting();
        }
    }
    events_.push_back(std::move(event));
}

// -- sending -------------------------------------------------------------------

void LinkCore::send_control(Kind kind, Header header, Bytes body) {
    header.kind = kind;
    header.src = id_;
    out_.control({make_frame(header, std::move(body))}, transport_, time_);
}

void LinkCore::send_beat(Kind kind, Header header) {
    const Progress now_at = progress();
    said_busy_ = now_at.busy;
    header.aux = now_at.number;
    if (now_at.busy) header.flags = flag::busy;
    send_control(kind, header, {});
}

void LinkCore::flush(TimePoint now) {
    out_.flush(transport_, now, left_);
    left_.clear();
    last_sent_ = now;
}

}  // namespace vflbus::bus
