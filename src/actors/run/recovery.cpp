// Parties that are gone, back, or restarted: the run goes on in a new term. docs/recovery.md,
// section 3.

#include <string>
#include <utility>

#include "actors/run/commits.hpp"
#include "actors/run/run.hpp"
#include "base/assert.hpp"

namespace vflbus::actors {

using observe::log::Level;

void Run::warn_of(const Parties::Peer& peer, const PeerEvent& event) {
    const std::string since = text_of(event.silent);
    if (event.reason == Errc::stalled)
        log(Level::warn, peer.name + " is alive but has not got on for " + since + where() +
                             "; after as long again the run fails");
    else if (event.reason == Errc::timed_out)
        log(Level::warn, peer.name + " has taken nothing from the broker for " + since + where());
    else
        log(Level::warn, peer.name + " has been silent for " + since);
}

void Run::gone(std::size_t party, const PeerEvent& event) {
    Parties::Peer& peer = parties_.at(party);
    peer.up = false;
    peer.down = true;
    peer.held = false;
    peer.down_since = driver_->now();
    peer.silent = event.silent;
    peer.gone_by = event.reason;
    if (!started_) {
        if (peer.joined) log(Level::warn, peer.gone_words() + " again, before the start");
        peer.was_joined = (peer.joined || peer.was_joined) && event.reason != Errc::refused;
        peer.joined = false;
        return;
    }
    if (phase_ == Phase::releasing) {
        log(Level::warn, peer.gone_words() + " before it confirmed the end of the run");
        parties_.drop_requests(party);
        if (!parties_.waiting()) close(Errc::ok, "completed");
        return;
    }
    const Errc code = event.reason == Errc::refused ? event.reason : Errc::peer_lost;
    const std::string how =
        event.silent > Duration::zero() ? ", silent for " + text_of(event.silent) : "";
    if (!recoverable())
        return fail({code, peer.gone_words() + where() + how, peer.name,
                     std::string(name_of(phase_)), step_under_way(),
                     "start it again, then the run"});
    if (stopped_without(peer.name)) return;
    log(Level::warn, peer.gone_words() + where() + how + "; waits " +
                         text_of(from_seconds(options_.config.bus.rejoin_grace)) + " for it");
    if (phase_ != Phase::comparing) arm();
}

/// The process lives, so there is nobody to wait for: what it was asked will not be answered.
void Run::stalled(const Parties::Peer& peer, Duration since) {
    const std::string what = peer.name + " is alive but has not got on for " + text_of(since);
    if (peer.pending.empty()) return log(Level::warn, what);
    fail(then_again(
        Errc::stalled, peer.name,
        what + " and did not answer " + message::name_of(peer.pending.front().type) + where(),
        "see what it does and start it again, or raise bus.progress_stall_after"));
}

/// The same process as before; its requests are sent again now.
void Run::back(Parties::Peer& peer) {
    peer.up = true;
    if (!std::exchange(peer.down, false) || !started_) return;
    log(Level::info, peer.name + " is back");
    parties_.excuse_all(driver_->now());
}

bool Run::count_restart(const Parties::Peer& peer) {
    const std::uint64_t restarts = commits_ == nullptr ? 0 : commits_->count_restart(peer.name);
    if (restarts <= options_.config.bus.restarts_max) return true;
    fail(then_again(Errc::too_many_restarts, peer.name,
                    peer.name + " was restarted " + std::to_string(restarts) +
                        " times without a newer commit" + where(),
                    "see its log, or raise bus.restarts_max"));
    return false;
}

void Run::restarted(Parties::Peer& peer, std::uint64_t incarnation) {
    if (!recoverable())
        return fail({Errc::peer_restarted,
                     peer.name + " was restarted" + where() + "; its state of this run is gone",
                     peer.name, std::string(name_of(phase_)), step_under_way(),
                     "start the run again"});
    peer.incarnation = incarnation;
    peer.up = true;
    peer.down = false;
    if (stopped_without(peer.name) || !count_restart(peer)) return;
    log(Level::warn, peer.name + " was restarted" + where() + "; the run begins term " +
                         std::to_string(spec_.term + 1));
    begin_term();
}

void Run::begin_term() {
    VFLBUS_ASSERT(!in_task_, "a Task does not end its own term");
    VFLBUS_ASSERT(recoverable(), "only a run with commits has a second term");
    task_.reset();
    if (auto done = commits_->begin_term(spec_.term + 1); !done)
        return fail(std::move(done.error()));
    ++spec_.term;
    reset_results();
    parties_.begin_term();
    started_ = false;
    gathering_since_ = reported_ = driver_->now();
    parties_.wait_from(driver_->now());
    enter(Phase::gathering);
    // the members load their tables while the master loads its own
    driver_->reopen(spec_.term);
    start_program();
    if (!over()) arm();
}

Result<> Run::stops_without(const std::string& party) const {
    Failure stopped{Errc::cancelled, "stopped" + where() + ", without " + party + ", which is gone",
                    party, std::string(name_of(phase_)), step_under_way()};
    commits_->add_last_commit(stopped);
    return tl::unexpected(std::move(stopped));
}

bool Run::stopped_without(const std::string& party) {
    if (stopping_) fail(stops_without(party).error());
    return stopping_;
}

}  // namespace vflbus::actors
