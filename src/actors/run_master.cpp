#include "actors/run_master.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/planted.hpp"
#include "base/text.hpp"
#include "bus/wire/limits.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {
namespace {

namespace fs = std::filesystem;
using observe::log::Level;

/// A run is complete before RELEASE; it does not wait long for those who do not answer.
constexpr Duration release_timeout = std::chrono::seconds(10);

Duration seconds(double value) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
}
double in_seconds(Duration value) {
    return std::chrono::duration<double>(value).count();
}
std::string text_of(Duration value) {
    return human_seconds(in_seconds(value));
}

/// Bytes of a body on the wire, with a header per chunk.
std::uint64_t wire_bytes(std::size_t body) {
    const std::size_t frames =
        std::max<std::size_t>(1, (body + bus::chunk_bytes - 1) / bus::chunk_bytes);
    return body + frames * bus::header_bytes;
}

RunSpec spec_of(const MasterOptions& options, Purpose purpose) {
    RunSpec spec;
    spec.run = options.run;
    spec.term = options.term;
    for (std::uint64_t rank = 0; rank < options.config.run.world_size; ++rank)
        spec.participants.push_back(
            {config::member_name(rank), "member", static_cast<std::int64_t>(rank)});
    spec.agreed = with_purpose(purpose, config::canonical_agreed(options.config));
    spec.config_hash = config::agreed_hash(options.config);
    return spec;
}

/// Sentences of readers name the party already; those of codecs do not. Without a full stop, so
/// that it can be gone on with.
std::string about(const std::string& party, std::string sentence) {
    if (sentence.ends_with('.')) sentence.pop_back();
    return sentence.find(party) == std::string::npos ? party + ": " + sentence : sentence;
}

/// Several problems of a configuration come one per line.
std::string one_line(std::string text) {
    for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at))
        text.replace(at, 1, "; ");
    return text;
}

std::string plural(std::span<const std::string> names, std::string_view one,
                   std::string_view several) {
    return join_and(names) + " " + std::string(names.size() == 1 ? one : several);
}

}  // namespace

std::string_view name_of(Phase phase) noexcept {
    switch (phase) {
        case Phase::opening:
            return "opening";
        case Phase::gathering:
            return "gathering";
        case Phase::aligning:
            return "aligning";
        case Phase::selecting:
            return "selecting";
        case Phase::beginning:
            return "beginning";
        case Phase::restoring:
            return "restoring";
        case Phase::training:
            return "training";
        case Phase::evaluating:
            return "evaluating";
        case Phase::comparing:
            return "comparing";
        case Phase::finishing:
            return "finishing";
        case Phase::releasing:
            return "releasing";
        case Phase::closing:
            return "closing";
        case Phase::done:
            return "done";
    }
    return "unknown";
}

RunMaster::RunMaster(MasterOptions options, Purpose purpose)
    : options_(std::move(options)), spec_(spec_of(options_, purpose)), purpose_(purpose) {
    for (const auto& participant : spec_.participants) {
        Member member;
        member.node = node_id_of(participant.name);
        member.name = participant.name;
        members_.push_back(std::move(member));
    }
    own_ = std::make_unique<Party>(options_.name, options_.config, options_.tables);

    report_.run_id = options_.run.hex();
    report_.model = config::name_of(options_.config.model.task);
    report_.task = report_.model;
    report_.protocol = config::name_of(options_.config.run.protocol);
    report_.seed = options_.config.run.seed;
    report_.config_hash = to_hex(spec_.config_hash);
    report_.status = "failed";
    report_.parties.resize(1 + members_.size());
    report_.parties[0].name = options_.name;
    report_.parties[0].role = "master";
    report_.parties[0].version = options_.version;
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
        report_.parties[rank + 1].name = members_[rank].name;
        report_.parties[rank + 1].role = "member";
        report_.parties[rank + 1].rank = static_cast<std::uint32_t>(rank);
    }
}

RunMaster::~RunMaster() = default;

// -- events -------------------------------------------------------------------------

void RunMaster::on_opened(Driver& driver) {
    driver_ = &driver;
    if (phase_ != Phase::opening) return;
    opened_ = gathering_since_ = reported_ = waiting_since_ = driver.now();
    if (!only_releases_) report_.started = options_.env->utc_now();
    enter(Phase::gathering);
    log(Level::info, "opened the run" +
                         (spec_.term > 1 ? " in term " + std::to_string(spec_.term) : "") +
                         ", waits for " + std::to_string(members_.size()) +
                         (members_.size() == 1 ? " member" : " members"));
    load_tables();
    if (over()) return;
    arm();
    gather();
}

void RunMaster::load_tables() {
    if (only_releases_) return;
    const TableKind first = purpose_ == Purpose::predict ? TableKind::predict : TableKind::train;
    const auto loaded = own_->load(first);
    if (!loaded) return fail_run(loaded.error());
    if (!*loaded)
        return fail_run(Errc::bad_config, options_.name + " has no " +
                                              std::string(actors::name_of(first)) + ": set " +
                                              "predict_data in [party." + options_.name + "]");
    if (purpose_ != Purpose::predict)
        if (const auto test = own_->load(TableKind::test); !test) return fail_run(test.error());
}

void RunMaster::on_join(Driver& driver, NodeId node, const bus::Join& join) {
    driver_ = &driver;
    if (over()) return;
    const auto found = std::ranges::find(members_, node, &Member::node);
    if (found == members_.end()) return;
    Member& member = *found;
    if (join.code != Errc::ok && only_releases_)
        return log(Level::warn, about(member.name, one_line(join.sentence)));
    if (join.code != Errc::ok)
        return fail_run(join.code, about(member.name, one_line(join.sentence)));
    if (join.config_hash != spec_.config_hash)
        return fail_run(Errc::config_differs,
                        member.name +
                            " came with another configuration hash; give all parties the "
                            "same [run], [model] and [data]");
    if (started_) {
        if (phase_ == Phase::releasing) return;
        if (join.incarnation != member.incarnation) return restarted(member, join.incarnation);
        return back(member);
    }
    const bool again = member.joined;
    if (started_ever_ && member.incarnation != 0 && join.incarnation != member.incarnation &&
        !count(member))
        return;
    member.joined = member.up = true;
    member.down = false;
    member.incarnation = join.incarnation;
    member.version = join.version;
    report_.parties[static_cast<std::size_t>(found - members_.begin()) + 1].version = join.version;
    if (!again) {
        log(Level::info, member.name + " has joined");
        if (!options_.version.empty() && join.version != options_.version)
            log(Level::warn,
                member.name + " runs version " + join.version + ", this is " + options_.version);
    }
    gather();
}

void RunMaster::gather() {
    if (phase_ != Phase::gathering) return;
    if (!std::ranges::all_of(members_, &Member::joined)) return;
    started_ = started_ever_ = true;
    log(Level::info, "all members have joined");
    waiting_since_ = reported_ = driver_->now();
    on_gathered();
}

void RunMaster::on_reply(Driver& driver, Message&& reply) {
    driver_ = &driver;
    if (over()) return;
    const auto found = std::ranges::find(members_, reply.metadata.src_node_id, &Member::node);
    if (found == members_.end()) return;
    Member& member = *found;
    const auto pending = std::ranges::find(member.pending, reply.metadata.message_id, &Pending::id);
    if (pending == member.pending.end()) return;
    const Pending request = *pending;
    member.pending.erase(pending);
    --(request.background ? aside_ : outstanding_);
    member.bytes_from += wire_bytes(reply.content.size());

    if (!reply.has_content()) {
        const Failure& error = reply.error;
        if (phase_ == Phase::releasing) {
            log(Level::warn, about(member.name, error.sentence));
            return answered();
        }
        if (error.code == Errc::peer_restarted) return restarted(member, 0);
        // the process is the same one, but it has given up the run in between
        if (recoverable() && (error.code == Errc::unknown_run ||
                              (error.code == Errc::state_lost && request.type != message::restore)))
            return restarted(member, member.incarnation);
        if (error.code == Errc::peer_lost || error.code == Errc::unreachable)
            return fail_run(error.code, member.name + " was lost" + where() + " (" +
                                            error.sentence + ")" + then_again("see to it"));
        if (on_refused(request, {error.code, about(member.name, error.sentence)}))
            return answered();
        return fail_run(error.code == Errc::ok ? Errc::handler_failed : error.code,
                        about(member.name, error.sentence) + where() + advice(error));
    }
    const auto index = static_cast<std::size_t>(found - members_.begin());
    if (auto taken = on_answer(index, request, std::move(reply.content)); !taken)
        return fail_run(taken.error().code, about(member.name, taken.error().sentence) + where() +
                                                advice(taken.error()));
    if (!request.background) answered();
}

void RunMaster::answered() {
    if (over() || outstanding_ != 0) return;
    if (phase_ == Phase::releasing) return close(Errc::ok, "completed");
    on_all_answered();
}

void RunMaster::on_peer(Driver& driver, const PeerEvent& event) {
    driver_ = &driver;
    if (over()) return;
    const auto found = std::ranges::find(members_, event.node, &Member::node);
    if (found == members_.end()) return;
    Member& member = *found;
    switch (event.what) {
        case PeerEvent::What::up: {
            const bool restart = started_ && phase_ != Phase::releasing && event.incarnation != 0 &&
                                 event.incarnation != member.incarnation;
            return restart ? restarted(member, event.incarnation) : back(member);
        }
        case PeerEvent::What::suspect:
            if (event.reason == Errc::stalled)
                log(Level::warn, member.name + " is alive but has not got on for " +
                                     text_of(event.silent) + where() +
                                     "; after as long again the run fails");
            else if (event.reason == Errc::timed_out)
                log(Level::warn, member.name + " has taken nothing from the broker for " +
                                     text_of(event.silent) + where());
            else
                log(Level::warn, member.name + " has been silent for " + text_of(event.silent));
            return;
        case PeerEvent::What::down:
            break;
    }
    if (event.reason == Errc::stalled && started_ && phase_ != Phase::releasing)
        return stalled(member, event.silent);
    member.up = false;
    member.down = true;
    member.down_since = driver.now();
    member.silent = event.silent;
    if (!started_) {
        if (member.joined) log(Level::warn, member.name + " is gone again before the start");
        member.joined = false;
        return;
    }
    if (phase_ == Phase::releasing) {
        log(Level::warn, member.name + " is gone before it confirmed the end of the run");
        for (const Pending& pending : member.pending)
            --(pending.background ? aside_ : outstanding_);
        member.pending.clear();
        return answered();
    }
    // gone in whatever way
    const Errc code = event.reason == Errc::refused ? event.reason : Errc::peer_lost;
    const std::string how =
        event.silent > Duration::zero() ? ", silent for " + text_of(event.silent) : "";
    if (!recoverable())
        return fail_run(
            code, member.name + " is gone" + where() + how + ": start it again, then the run");
    if (stopped_without(member.name)) return;
    log(Level::warn, member.name + " is gone" + where() + how + "; waits " +
                         text_of(seconds(options_.config.bus.rejoin_grace)) + " for it");
    if (phase_ != Phase::comparing) arm();
}

/// The process lives, so there is nobody to wait for: what it was asked will not be answered.
void RunMaster::stalled(const Member& member, Duration since) {
    if (member.pending.empty()) {
        log(Level::warn, member.name + " is alive but has not got on for " + text_of(since));
        return;
    }
    fail_run(Errc::stalled, member.name + " is alive but has not got on for " + text_of(since) +
                                " and did not answer " +
                                message::name_of(member.pending.front().type) + where() +
                                then_again("see what it does and start it again, or raise "
                                           "bus.progress_stall_after"));
}

void RunMaster::on_timer(Driver& driver) {
    driver_ = &driver;
    if (over() || phase_ == Phase::opening) return;
    if (phase_ == Phase::comparing && !halted()) return on_slice();
    tick();
    if (!over()) arm();
}

void RunMaster::on_link(Driver& driver, bool up, const std::string& sentence) {
    driver_ = &driver;
    if (over()) return;
    if (!up && link_up_) link_down_since_ = driver.now();
    // requests are sent again now; nobody was silent while the link was down
    if (up && !link_up_) {
        waiting_since_ = aside_since_ = driver.now();
        for (Member& member : members_) member.down_since = driver.now();
    }
    // the first connection is no news
    if (up && !link_up_) log(Level::info, "the broker is back");
    if (!up) log(Level::warn, "lost the broker: " + sentence);
    link_up_ = up;
    if (!up) link_sentence_ = sentence;
}

void RunMaster::on_closed(const Ending& ending) {
    if (phase_ == Phase::done) return;
    if (phase_ != Phase::closing) {
        // the broker, the link or the user ended it
        outcome_ = {ending.code == Errc::ok ? Errc::run_ended : ending.code,
                    ending.sentence + (started_ ? where() : "")};
        report_.status = ending.code == Errc::cancelled ? "stopped" : "failed";
        report_.reason = outcome_.sentence;
        write_report();
    }
    enter(Phase::done);
    driver_ = nullptr;
}

// -- waiting ------------------------------------------------------------------------

std::vector<std::string> RunMaster::missing() const {
    std::vector<std::string> names;
    for (const Member& member : members_)
        if (!member.joined) names.push_back(member.name);
    return names;
}

std::vector<std::string> RunMaster::silent() const {
    std::vector<std::string> names;
    for (const Member& member : members_)
        if (!member.pending.empty()) names.push_back(member.name);
    return names;
}

void RunMaster::tick() {
    const TimePoint now = driver_->now();
    const auto& bus = options_.config.bus;
    if (phase_ == Phase::gathering) return tick_gathering();
    const bool report = now - reported_ >= seconds(bus.wait_report_interval);
    if (report) reported_ = now;
    if (!link_up_ && phase_ != Phase::releasing) {
        if (now - link_down_since_ < seconds(bus.recv_timeout)) return;
        return fail_run(Errc::unreachable, "the broker has not been reachable for " +
                                               text_of(now - link_down_since_) + where() + " (" +
                                               link_sentence_ + ")" + then_again("start it again"));
    }
    const auto names = silent();
    if (phase_ == Phase::releasing) {
        if (now - waiting_since_ < std::min(release_timeout, seconds(bus.recv_timeout))) return;
        log(Level::warn, plural(names, "has", "have") + " not confirmed the end of the run");
        return close(Errc::ok, "completed");
    }
    if (tick_down() || tick_timeouts()) return;
    if (report && !names.empty() && now - waiting_since_ >= seconds(bus.wait_report_interval))
        log(Level::info,
            "waits for " + join_and(names) + " since " + text_of(now - waiting_since_) + where());
}

void RunMaster::tick_gathering() {
    const TimePoint now = driver_->now();
    const auto& bus = options_.config.bus;
    const auto names = missing();
    const Duration waited = now - gathering_since_;
    if (only_releases_ && waited >= seconds(bus.rejoin_grace)) {
        log(Level::warn, "does not wait for " + join_and(names) +
                             " any longer: the run is "
                             "complete");
        return release_all();
    }
    if (!started_ever_ && waited >= seconds(bus.rendezvous_timeout))
        return fail_run(Errc::timed_out, plural(names, "did not join", "did not join") +
                                             " within " + text_of(waited) +
                                             ": start what is missing, or raise "
                                             "bus.rendezvous_timeout");
    if (started_ever_) {
        if (link_up_ && tick_down()) return;
        if (waited >= seconds(bus.recv_timeout))
            return fail_run(Errc::timed_out,
                            plural(names, "has", "have") + " not joined again within " +
                                text_of(waited) +
                                (link_up_ ? "" : ", without a broker (" + link_sentence_ + ")") +
                                then_again("see to it"));
    }
    if (now - reported_ < seconds(bus.wait_report_interval)) return;
    reported_ = now;
    if (!names.empty())
        log(Level::info,
            "waits for " + join_and(names) + " since " + text_of(waited) + " of " +
                text_of(seconds(started_ever_ ? bus.recv_timeout : bus.rendezvous_timeout)));
}

/// Fails the run when a member has been gone for too long.
bool RunMaster::tick_down() {
    const Duration grace = seconds(options_.config.bus.rejoin_grace);
    for (const Member& member : members_) {
        const Duration gone = driver_->now() - member.down_since;
        if (!member.down || gone < grace) continue;
        fail_run(Errc::peer_lost, member.name + " is gone" + where() + ", silent for " +
                                      text_of(member.silent + gone) + " and not back within " +
                                      text_of(grace) + then_again("start it again"));
        return true;
    }
    return false;
}

/// The first member that is there and owes a reply; null when there is none.
const RunMaster::Member* RunMaster::late(bool background) const {
    for (const Member& member : members_)
        if (!member.down && std::ranges::find(member.pending, background, &Pending::background) !=
                                member.pending.end())
            return &member;
    return nullptr;
}

/// Fails the run when a member that is there has not answered for too long.
bool RunMaster::tick_timeouts() {
    for (const bool background : {false, true}) {
        const Duration waited = driver_->now() - (background ? aside_since_ : waiting_since_);
        if (waited < seconds(options_.config.bus.recv_timeout)) continue;
        const Member* member = late(background);
        if (member == nullptr) continue;
        const auto pending = std::ranges::find(member->pending, background, &Pending::background);
        const std::size_t others = silent().size() - 1;
        fail_run(Errc::timed_out,
                 member->name + (others > 0 ? " (and " + std::to_string(others) + " more)" : "") +
                     " did not answer " + message::name_of(pending->type) + " within " +
                     text_of(waited) + where() + ": see to it, or raise bus.recv_timeout");
        return true;
    }
    return false;
}

void RunMaster::arm() {
    const auto& bus = options_.config.bus;
    const TimePoint now = driver_->now();
    TimePoint at = now + seconds(std::min(bus.wait_report_interval, bus.recv_timeout));
    const Duration reply = seconds(bus.recv_timeout);
    if (phase_ == Phase::gathering) {
        at = std::min(at,
                      gathering_since_ + (started_ever_ ? reply : seconds(bus.rendezvous_timeout)));
        if (only_releases_) at = std::min(at, gathering_since_ + seconds(bus.rejoin_grace));
    } else if (!link_up_ && phase_ != Phase::releasing) {
        at = std::min(at, link_down_since_ + reply);
    } else {
        if (late(false) != nullptr)
            at = std::min(
                at, waiting_since_ +
                        (phase_ == Phase::releasing ? std::min(reply, release_timeout) : reply));
        if (late(true) != nullptr) at = std::min(at, aside_since_ + reply);
    }
    if (recoverable() && started_ever_ && link_up_ && phase_ != Phase::releasing)
        for (const Member& member : members_)
            if (member.down) at = std::min(at, member.down_since + seconds(bus.rejoin_grace));
    driver_->set_timer(std::max(at, now + std::chrono::milliseconds(1)));
}

void RunMaster::slice_soon() {
    driver_->set_timer(driver_->now());
}

// -- requests -----------------------------------------------------------------------

void RunMaster::enter(Phase phase) {
    const bool sliced = phase_ == Phase::comparing;
    phase_ = phase;
    if (driver_ == nullptr || over()) return;
    if (phase == Phase::comparing) return slice_soon();
    if (sliced || phase == Phase::releasing) {
        waiting_since_ = driver_->now();
        arm();
    }
}

void RunMaster::send(std::size_t index, MessageType type, Bytes body, std::uint64_t tag) {
    if (over()) return;
    Member& member = members_[index];
    member.bytes_to += wire_bytes(body.size());
    const auto id = driver_->push_message(member.node, type, std::move(body));
    if (!id) return fail_run(id.error().code, about(member.name, id.error().sentence) + where());
    member.pending.push_back({*id, type, tag});
    ++outstanding_;
    waiting_since_ = driver_->now();
}

void RunMaster::send_aside(std::size_t index, MessageType type, Bytes body) {
    send(index, type, std::move(body));
    if (over()) return;
    members_[index].pending.back().background = true;
    --outstanding_;
    ++aside_;
    aside_since_ = driver_->now();
}

void RunMaster::send_all(MessageType type, const Bytes& body, std::uint64_t tag) {
    for (std::size_t i = 0; i < members_.size(); ++i) send(i, type, body, tag);
}

// -- recovery -----------------------------------------------------------------------

/// The same process as before; its requests are sent again now.
void RunMaster::back(Member& member) {
    member.up = true;
    if (!std::exchange(member.down, false) || !started_) return;
    log(Level::info, member.name + " is back");
    waiting_since_ = aside_since_ = driver_->now();
}

/// Notes a restart; false when it was one too many and the run has failed.
bool RunMaster::count(const Member& member) {
    const std::uint64_t restarts = count_restart(member.name);
    if (restarts <= options_.config.bus.restarts_max) return true;
    fail_run(Errc::too_many_restarts, member.name + " was restarted " + std::to_string(restarts) +
                                          " times without a newer commit" + where() +
                                          then_again("see its log, or raise bus.restarts_max"));
    return false;
}

void RunMaster::restarted(Member& member, std::uint64_t incarnation) {
    if (!recoverable())
        return fail_run(Errc::peer_restarted, member.name + " was restarted" + where() +
                                                  "; its state of this run is gone: start the run "
                                                  "again");
    member.incarnation = incarnation;
    member.up = true;
    member.down = false;
    if (stopped_without(member.name) || !count(member)) return;
    log(Level::warn, member.name + " was restarted" + where() + "; the run begins term " +
                         std::to_string(spec_.term + 1));
    begin_term();
}

void RunMaster::begin_term() {
    if (auto stored = on_new_term(spec_.term + 1); !stored) return fail_run(stored.error());
    ++spec_.term;
    for (Member& member : members_) {
        member.joined = false;
        member.pending.clear();
    }
    outstanding_ = aside_ = 0;
    started_ = false;
    for (TableIds& ids : ids_) ids = {};
    own_ = std::make_unique<Party>(options_.name, options_.config, options_.tables);
    gathering_since_ = reported_ = waiting_since_ = driver_->now();
    enter(Phase::gathering);
    // the members load their tables while the master loads its own
    driver_->reopen(spec_.term);
    load_tables();
    if (!over()) arm();
}

std::string RunMaster::then_again(const std::string& what) const {
    return ": " + what + ", then " +
           (recoverable() ? "go on with `--resume " + options_.run.hex() + "`"
                          : "start the run again");
}

// -- ending -------------------------------------------------------------------------

void RunMaster::fail_run(Errc code, std::string sentence) {
    if (over() || outcome_.code != Errc::ok) return;
    outcome_ = {code, std::move(sentence)};
    report_.status = code == Errc::cancelled ? "stopped" : "failed";
    report_.reason = outcome_.sentence;
    log(code == Errc::cancelled ? Level::info : Level::error, outcome_.sentence);
    close(code, outcome_.sentence);
}

void RunMaster::release_all() {
    report_.status = "completed";
    report_.reason.clear();
    enter(Phase::releasing);
    const auto send_release = [this] {
        const Bytes body = bus::encode(bus::Ending{Errc::ok, "completed"});
        for (std::size_t i = 0; i < members_.size(); ++i)
            if (members_[i].up) send(i, message::release, body);
    };
    if (VFLBUS_PLANTED(released_before_stored)) send_release();
    // written before RELEASE: a member forgets its part of the run only when the owner has its own
    write_report();
    if (over()) return;
    if (auto stored = on_complete(); !stored) return fail_run(stored.error());
    if (!VFLBUS_PLANTED(released_before_stored)) send_release();
    if (outstanding_ == 0) close(Errc::ok, "completed");
}

void RunMaster::close(Errc code, const std::string& sentence) {
    on_ending();
    if (code != Errc::ok) write_report();
    phase_ = Phase::closing;
    driver_->close(code, sentence);
}

void RunMaster::write_report() {
    if (only_releases_) return;
    if (driver_ != nullptr) {
        report_.total_seconds = in_seconds(driver_->now() - opened_);
        const BytesMoved moved = driver_->bytes_moved();
        report_.parties[0].bytes_sent = moved.sent;
        report_.parties[0].bytes_received = moved.received;
        // all traffic of a run has the master at one end
        report_.bytes_sent = report_.bytes_received = moved.sent + moved.received;
    }
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
        report_.parties[rank + 1].bytes_sent = members_[rank].bytes_from;
        report_.parties[rank + 1].bytes_received = members_[rank].bytes_to;
    }
    report_.finished = options_.env->utc_now();
    if (purpose_ == Purpose::check || superseded()) return;
    const fs::path path = run_dir() / "report.json";
    if (auto done = options_.env->write_file(path, observe::to_json(report_)); !done) {
        if (phase_ == Phase::releasing)
            fail_run(done.error().code,
                     options_.name + " cannot store the report: " + done.error().sentence);
        else
            log(Level::warn, "cannot store the report: " + done.error().sentence);
    }
}

// -- small things -------------------------------------------------------------------

std::string RunMaster::where() const {
    return " (while " + std::string(name_of(phase_)) + ")";
}

void RunMaster::log(Level level, const std::string& text) const {
    if (options_.log) options_.log(level, options_.run, text);
}

fs::path RunMaster::run_dir() const {
    return options_.runs_dir / options_.run.hex();
}

fs::path RunMaster::model_root() const {
    return options_.out_dir.empty() ? run_dir() : options_.out_dir;
}

// -- alignment ----------------------------------------------------------------------

void RunMaster::ask_ids(TableKind kind) {
    ids_[static_cast<std::size_t>(kind)].of_members.assign(members_.size(), {});
    send_all(message::align, encode(AlignRequest{kind}), static_cast<std::uint64_t>(kind));
}

Result<> RunMaster::take_ids(std::size_t member, const Pending& request, Body body) {
    auto reply = decode_align_reply(body);
    if (!reply) return tl::unexpected(std::move(reply.error()));
    ids_[request.tag].of_members[member] = std::move(*reply);
    return {};
}

Result<bool> RunMaster::present(TableKind kind) const {
    std::vector<std::string> with;
    std::vector<std::string> without;
    (own_->aligned(kind) ? with : without).push_back(options_.name);
    const auto& of_members = ids_[static_cast<std::size_t>(kind)].of_members;
    for (std::size_t i = 0; i < members_.size(); ++i)
        (of_members[i].present ? with : without).push_back(members_[i].name);
    if (with.empty()) return false;
    if (without.empty()) return true;
    const std::string key = kind == TableKind::train  ? "data"
                            : kind == TableKind::test ? "test_data"
                                                      : "predict_data";
    return fail(Errc::bad_config,
                plural(with, "has", "have") + " a " + std::string(actors::name_of(kind)) + ", " +
                    plural(without, "has", "have") + " none: set " + key + " at every party" +
                    (kind == TableKind::test ? " or at none" : ""));
}

Result<> RunMaster::select_common(TableKind kind) {
    TableIds& ids = ids_[static_cast<std::size_t>(kind)];
    std::vector<data::PartyIds> parties;
    const data::LocalIds& own = own_->local(kind);
    parties.push_back({options_.name, own.ids, own.counts});
    for (std::size_t i = 0; i < members_.size(); ++i)
        parties.push_back({members_[i].name, ids.of_members[i].ids, ids.of_members[i].counts});
    const std::uint64_t size = kind == TableKind::train ? options_.config.data.dataset_size : 0;
    const auto common = data::intersect(parties, size);
    if (!common) {
        Failure failure = common.error();
        if (kind != TableKind::train)
            failure.sentence = std::string(actors::name_of(kind)) + ": " + failure.sentence;
        return tl::unexpected(std::move(failure));
    }
    if (common->rows > UINT32_MAX)
        return fail(Errc::bad_data, "the " + std::string(actors::name_of(kind)) + "s have " +
                                        std::to_string(common->rows) +
                                        " aligned rows, more than 2^32 - 1");
    ids.common = common->common;
    ids.rows = common->rows;

    if (kind != TableKind::test) {
        report_.rows_common = common->rows;
        for (std::size_t p = 0; p < parties.size(); ++p) {
            auto& party = report_.parties[p];
            party.rows = p == 0 ? own_->table(kind)->rows() : ids.of_members[p - 1].rows;
            party.rows_matched = common->common;
        }
    }
    log(Level::info, std::to_string(common->common) + " ids of the " +
                         std::string(actors::name_of(kind)) + "s are common, " +
                         std::to_string(common->rows) + " rows are used");
    // Selections go out one by one and are not kept.
    for (std::size_t i = 0; i < members_.size(); ++i) {
        send(i, message::select, encode(SelectRequest{kind, common->selections[i + 1], ids.rows}),
             static_cast<std::uint64_t>(kind));
        ids.of_members[i].ids = {};
        ids.of_members[i].counts = {};
    }
    return own_->select(kind, common->selections[0], ids.rows);
}

Result<> RunMaster::take_selected(std::size_t, const Pending& request, Body body) {
    const auto reply = decode_select_reply(body);
    if (!reply) return tl::unexpected(reply.error());
    const std::uint64_t rows = ids_[request.tag].rows;
    if (reply->rows != rows)
        return fail(Errc::malformed_message, "came to " + std::to_string(reply->rows) +
                                                 " aligned rows, the master to " +
                                                 std::to_string(rows));
    return {};
}

std::uint64_t RunMaster::common_ids(TableKind kind) const {
    return ids_[static_cast<std::size_t>(kind)].common;
}
std::uint64_t RunMaster::aligned_rows(TableKind kind) const {
    return ids_[static_cast<std::size_t>(kind)].rows;
}

}  // namespace vflbus::actors
