// How long a master waits for whom, and what it says meanwhile.

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "actors/run_master.hpp"
#include "actors/run_master_text.hpp"

namespace vflbus::actors {
namespace {

/// A run is complete before RELEASE; it does not wait long for those who do not answer.
constexpr Duration release_timeout = std::chrono::seconds(10);

}  // namespace

using observe::log::Level;

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
        return fail_run(then_again(Errc::unreachable,
                                   "the broker has not been reachable for " +
                                       text_of(now - link_down_since_) + where() + " (" +
                                       link_sentence_ + ")",
                                   "start it again"));
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

void RunMaster::release_without(const std::vector<std::string>& names) {
    log(Level::warn, "does not wait for " + join_and(names) + " any longer: the run is complete");
    release_all();
}

void RunMaster::tick_gathering() {
    const TimePoint now = driver_->now();
    const auto& bus = options_.config.bus;
    const auto names = missing();
    const Duration waited = now - gathering_since_;
    if (only_releases_ && waited >= seconds(bus.rejoin_grace)) return release_without(names);
    if (!started_ever_ && waited >= seconds(bus.rendezvous_timeout))
        return fail_run(Errc::timed_out, plural(names, "did not join", "did not join") +
                                             " within " + text_of(waited) +
                                             ": start what is missing, or raise "
                                             "bus.rendezvous_timeout");
    if (started_ever_) {
        if (link_up_ && tick_down()) return;
        if (waited >= seconds(bus.recv_timeout))
            return fail_run(then_again(
                Errc::timed_out,
                plural(names, "has", "have") + " not joined again within " + text_of(waited) +
                    (link_up_ ? "" : ", without a broker (" + link_sentence_ + ")"),
                "see to it"));
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
        fail_run(then_again(Errc::peer_lost,
                            member.name + " is gone" + where() + ", silent for " +
                                text_of(member.silent + gone) + " and not back within " +
                                text_of(grace),
                            "start it again"));
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

/// The process lives, so there is nobody to wait for: what it was asked will not be answered.
void RunMaster::stalled(const Member& member, Duration since) {
    if (member.pending.empty()) {
        log(Level::warn, member.name + " is alive but has not got on for " + text_of(since));
        return;
    }
    fail_run(then_again(Errc::stalled,
                        member.name + " is alive but has not got on for " + text_of(since) +
                            " and did not answer " + message::name_of(member.pending.front().type) +
                            where(),
                        "see what it does and start it again, or raise bus.progress_stall_after"));
}

}  // namespace vflbus::actors
