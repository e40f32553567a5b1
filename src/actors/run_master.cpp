#include "actors/run_master.hpp"

#include <algorithm>
#include <utility>

#include "actors/run_master_text.hpp"
#include "base/planted.hpp"
#include "bus/wire/limits.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {
namespace {

namespace fs = std::filesystem;
using observe::log::Level;

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

/// Several problems of a configuration come one per line.
std::string one_line(std::string text) {
    for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at))
        text.replace(at, 1, "; ");
    return text;
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
    member.declined = join.code != Errc::ok;
    if (member.declined) {
        const std::string why = about(member.name, one_line(join.sentence));
        if (!only_releases_) return fail_run(join.code, why);
        log(Level::warn, why);
        return gather();
    }
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
    const auto answered = [](const Member& member) { return member.joined || member.declined; };
    if (!std::ranges::all_of(members_, answered)) return;
    if (const auto names = missing(); !names.empty()) return release_without(names);
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
            return fail_run(then_again(
                error.code, member.name + " was lost" + where() + " (" + error.sentence + ")",
                "see to it"));
        if (on_refused(request, {error.code, about(member.name, error.sentence)}))
            return answered();
        Failure failure{error.code == Errc::ok ? Errc::handler_failed : error.code,
                        about(member.name, error.sentence) + where()};
        add_advice(failure);
        return fail_run(std::move(failure));
    }
    const auto index = static_cast<std::size_t>(found - members_.begin());
    if (auto taken = on_answer(index, request, std::move(reply.content)); !taken) {
        Failure failure = taken.error();
        failure.sentence = about(member.name, failure.sentence) + where();
        add_advice(failure);
        return fail_run(std::move(failure));
    }
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
            return warn_of(member, event);
        case PeerEvent::What::down:
            // it is there, and a member that has joined will not join again when it gets on
            if (event.reason == Errc::stalled && phase_ != Phase::releasing)
                return stalled(member, event.silent);
            return gone(member, event);
    }
}

void RunMaster::warn_of(const Member& member, const PeerEvent& event) {
    const std::string since = text_of(event.silent);
    if (event.reason == Errc::stalled)
        log(Level::warn, member.name + " is alive but has not got on for " + since + where() +
                             "; after as long again the run fails");
    else if (event.reason == Errc::timed_out)
        log(Level::warn, member.name + " has taken nothing from the broker for " + since + where());
    else
        log(Level::warn, member.name + " has been silent for " + since);
}

void RunMaster::gone(Member& member, const PeerEvent& event) {
    member.up = false;
    member.down = true;
    member.down_since = driver_->now();
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
        outcome_.party = options_.name;
        add_resume_hint(outcome_);
        report_.status = ending.code == Errc::cancelled ? "stopped" : "failed";
        report_.reason = told();
        on_ending();
        write_report();
    }
    enter(Phase::done);
    driver_ = nullptr;
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

// -- ending -------------------------------------------------------------------------

void RunMaster::fail_run(Failure failure) {
    if (over() || outcome_.code != Errc::ok) return;
    outcome_ = std::move(failure);
    if (outcome_.party.empty()) outcome_.party = options_.name;  // at least who has said it
    const Errc code = outcome_.code;
    report_.status = code == Errc::cancelled ? "stopped" : "failed";
    report_.reason = told();
    log(code == Errc::cancelled ? Level::info : Level::error, report_.reason);
    close(code, report_.reason);
}

std::string RunMaster::told() const {
    return explained(outcome_, "--resume " + options_.run.hex());
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
    if (purpose_ == Purpose::check || files_are_others()) return;
    const fs::path path = run_dir() / "report.json";
    if (auto done = options_.env->write_file(path, observe::to_json(report_)); !done) {
        if (phase_ == Phase::releasing)
            fail_run(
                then_again(done.error().code,
                           options_.name + " cannot store the report: " + done.error().sentence,
                           "make room there"));
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

}  // namespace vflbus::actors
