// Members that are back, or restarted: the run goes on in a new term.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "actors/run_master.hpp"

namespace vflbus::actors {

using observe::log::Level;

/// The same process as before; its requests are sent again now.
void RunMaster::back(Member& member) {
    member.up = true;
    if (!std::exchange(member.down, false) || !started_) return;
    log(Level::info, member.name + " is back");
    waiting_since_ = aside_since_ = driver_->now();
}

const RunMaster::Member* RunMaster::first_down() const {
    const auto found = std::ranges::find(members_, true, &Member::down);
    return found == members_.end() ? nullptr : &*found;
}

/// Notes a restart; false when it was one too many and the run has failed.
bool RunMaster::count(const Member& member) {
    const std::uint64_t restarts = count_restart(member.name);
    if (restarts <= options_.config.bus.restarts_max) return true;
    fail_run(then_again(Errc::too_many_restarts,
                        member.name + " was restarted " + std::to_string(restarts) +
                            " times without a newer commit" + where(),
                        "see its log, or raise bus.restarts_max"));
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

Failure RunMaster::then_again(Errc code, std::string sentence, const std::string& what) const {
    Failure failure{code, std::move(sentence)};
    failure.resumable = recoverable();
    failure.hint = failure.resumable ? what : what + ", then start the run again";
    return failure;
}

}  // namespace vflbus::actors
