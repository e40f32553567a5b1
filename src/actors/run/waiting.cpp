// How long a master waits for whom, and what it says meanwhile.

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "actors/run/run.hpp"

namespace vflbus::actors {
namespace {

/// A run is complete before RELEASE; it does not wait long for those who do not answer.
constexpr Duration release_timeout = std::chrono::seconds(10);

}  // namespace

using observe::log::Level;

void Run::tick() {
    const TimePoint now = driver_->now();
    const auto& bus = options_.config.bus;
    if (phase_ == Phase::gathering) return tick_gathering();
    const bool report = now - reported_ >= from_seconds(bus.wait_report_interval);
    if (report) reported_ = now;
    if (!link_up_ && phase_ != Phase::releasing) {
        (void)fail_without_broker();
        return;
    }
    const auto names = parties_.not_answered();
    const Duration waited = now - parties_.waiting_since(false);
    if (phase_ == Phase::releasing) {
        if (waited < std::min(release_timeout, from_seconds(bus.recv_timeout))) return;
        log(Level::warn, plural(names, "has", "have") + " not confirmed the end of the run");
        return close(Errc::ok, "completed");
    }
    if (fail_for_gone() || fail_for_late()) return;
    if (report && !names.empty() && waited >= from_seconds(bus.wait_report_interval))
        log(Level::info, "waits for " + join_and(names) + " since " + text_of(waited) + where());
}

bool Run::fail_without_broker() {
    const Duration gone = driver_->now() - link_down_since_;
    if (gone < from_seconds(options_.config.bus.recv_timeout)) return false;
    fail(then_again(Errc::unreachable, {},
                    "the broker has not been reachable for " + text_of(gone) + where() + " (" +
                        link_sentence_ + ")",
                    "start it again"));
    return true;
}

void Run::release_without(const std::vector<std::string>& names) {
    log(Level::warn, "does not wait for " + join_and(names) + " any longer: the run is complete");
    task_.reset();
    release_all();
}

void Run::tick_gathering() {
    const TimePoint now = driver_->now();
    const auto& bus = options_.config.bus;
    const auto names = parties_.not_joined();
    const Duration waited = now - gathering_since_;
    const std::string phase(name_of(phase_));
    const std::string party = names.empty() ? std::string() : names.front();
    if (only_releases_ && waited >= from_seconds(bus.rejoin_grace)) return release_without(names);
    if (!started_ever_ && waited >= from_seconds(bus.rendezvous_timeout)) {
        std::vector<std::string> held;
        for (const Parties::Peer& peer : parties_.all())
            if (peer.held && !peer.joined) held.push_back(peer.name);
        return fail({Errc::timed_out,
                     join_and(names) + " did not join within " + text_of(waited) +
                         (held.empty() ? ""
                                       : "; " + join_and(held) +
                                             " would, once somebody there approves the run"),
                     party,
                     phase,
                     {},
                     held.empty() ? "start what is missing, or raise bus.rendezvous_timeout"
                                  : "have it approved there, or raise bus.rendezvous_timeout"});
    }
    if (started_ever_) {
        if (link_up_ && fail_for_gone()) return;
        if (waited >= from_seconds(bus.recv_timeout))
            return fail(then_again(
                Errc::timed_out, party,
                plural(names, "has", "have") + " not joined again within " + text_of(waited) +
                    (link_up_ ? "" : ", without a broker (" + link_sentence_ + ")"),
                "see to it"));
    }
    if (now - reported_ < from_seconds(bus.wait_report_interval)) return;
    reported_ = now;
    std::vector<std::string> whom = names;
    for (const Parties::Peer& peer : parties_.all())
        for (std::string& name : whom)
            if (peer.held && peer.name == name)
                name += " (for somebody there to approve the run: vflbus approve " +
                        options_.run.short_hex() + " --node " + peer.name + ")";
    if (!names.empty())
        log(Level::info,
            "waits for " + join_and(whom) + " since " + text_of(waited) + " of " +
                text_of(from_seconds(started_ever_ ? bus.recv_timeout : bus.rendezvous_timeout)));
}

/// Fails the run when a party has been gone for too long.
bool Run::fail_for_gone() {
    const Duration grace = from_seconds(options_.config.bus.rejoin_grace);
    for (const Parties::Peer& peer : parties_.all()) {
        const Duration gone = driver_->now() - peer.down_since;
        if (!peer.down || gone < grace) continue;
        // who says goodbye has not been silent
        const std::string since = peer.gone_by == Errc::ok
                                      ? ", " + text_of(gone) + " ago,"
                                      : ", silent for " + text_of(peer.silent + gone);
        fail(then_again(
            Errc::peer_lost, peer.name,
            peer.gone_words() + where() + since + " and not back within " + text_of(grace),
            "start it again"));
        return true;
    }
    return false;
}

/// Fails the run when a party that is there has not answered for too long.
bool Run::fail_for_late() {
    for (const bool aside : {false, true}) {
        const Duration waited = driver_->now() - parties_.waiting_since(aside);
        if (waited < from_seconds(options_.config.bus.recv_timeout)) continue;
        const Parties::Peer* late = parties_.first_late(aside);
        if (late == nullptr) continue;
        const std::size_t others = parties_.not_answered().size() - 1;
        // (a broker that is gone is found out later than this where bus.recv_timeout is short)
        const bool nobody = others > 0 && others + 1 == parties_.size();
        fail({Errc::timed_out,
              late->name + (others > 0 ? " (and " + std::to_string(others) + " more)" : "") +
                  " did not answer " + message::name_of(Parties::oldest(*late, aside)->type) +
                  " within " + text_of(waited) + where(),
              late->name, std::string(name_of(phase_)), step_under_way(),
              nobody ? "nobody answers: see whether the broker is there, or raise bus.recv_timeout"
                     : "see to it, or raise bus.recv_timeout"});
        return true;
    }
    return false;
}

void Run::arm() {
    const auto& bus = options_.config.bus;
    const TimePoint now = driver_->now();
    TimePoint at = now + from_seconds(std::min(bus.wait_report_interval, bus.recv_timeout));
    const Duration reply = from_seconds(bus.recv_timeout);
    if (phase_ == Phase::gathering) {
        at = std::min(
            at, gathering_since_ + (started_ever_ ? reply : from_seconds(bus.rendezvous_timeout)));
        if (only_releases_) at = std::min(at, gathering_since_ + from_seconds(bus.rejoin_grace));
    } else if (!link_up_ && phase_ != Phase::releasing) {
        at = std::min(at, link_down_since_ + reply);
    } else {
        const bool releasing = phase_ == Phase::releasing;
        if (parties_.first_late(false) != nullptr)
            at = std::min(at, parties_.waiting_since(false) +
                                  (releasing ? std::min(reply, release_timeout) : reply));
        if (parties_.first_late(true) != nullptr)
            at = std::min(at, parties_.waiting_since(true) + reply);
    }
    if (recoverable() && started_ever_ && link_up_ && phase_ != Phase::releasing)
        for (const Parties::Peer& peer : parties_.all())
            if (peer.down) at = std::min(at, peer.down_since + from_seconds(bus.rejoin_grace));
    driver_->set_timer(std::max(at, now + std::chrono::milliseconds(1)));
}

}  // namespace vflbus::actors
