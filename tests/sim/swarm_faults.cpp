// The faults of a seed.

#include <cstdlib>

#include "swarm_state.hpp"

namespace vflbus::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

// -- faults -----------------------------------------------------------------------------

Disk::Fate Swarm::fate_of_step(std::size_t place) {
    if (place >= honest_places) return Disk::Fate::done;
    Machine& machine = machines_[place];
    if (world_.now() < machine.full_until) {
        ++count("write to a full disk");
        if (!std::exchange(machine.full_noticed, true)) ++struck_;
        return Disk::Fate::full;
    }
    if (healed_ || plan_.deaths_per_step == 0 || struck_ >= plan_.faults ||
        rng_.uniform() >= plan_.deaths_per_step)
        return Disk::Fate::done;
    ++struck_;
    machine.power_lost = rng_.below(2) == 0;
    drawn_.insert(FaultKind::death_in_write);
    ++count(machine.power_lost ? "power lost in a write" : "death in a write");
    // the twin of a master has the same machine, and may be the one who writes
    if (place == master_a) world_.die_now(twin_master, milliseconds(50 + rng_.below(1500)));
    world_.die_now(place, milliseconds(50 + rng_.below(1500)));
    return Disk::Fate::dies;
}

void Swarm::plan_next_fault() {
    const auto mean = static_cast<std::uint64_t>(plan_.gap.count());
    world_.after(Duration(1 + static_cast<std::int64_t>(rng_.below(2 * mean))), [this] {
        if (healed_) return;
        strike();
        if (struck_ < plan_.faults) plan_next_fault();
    });
}

void Swarm::strike() {
    for (int tries = 0; tries < 20; ++tries) {
        const auto kind = static_cast<FaultKind>(rng_.below(fault_kinds));
        if (!plan_.on.contains(kind)) continue;
        drawn_.insert(kind);
        if (!strike(kind)) continue;
        ++struck_;
        return;
    }
}

/// Most are short, some longer than `suspect`, few longer than `lost` or the rejoin grace.
Duration Swarm::length() {
    const std::uint64_t draw = rng_.below(20);
    if (draw < 10) return milliseconds(5 + rng_.below(500));
    if (draw < 16) return milliseconds(500 + rng_.below(4500));
    if (draw < 19) return milliseconds(5000 + rng_.below(10000));
    return milliseconds(15000 + rng_.below(50000));
}

std::size_t Swarm::any_place() {
    std::vector<std::size_t> up;
    for (std::size_t place = 0; place < honest_places; ++place)
        if (world_.running(place)) up.push_back(place);
    return up.empty() ? 0 : up[rng_.below(up.size())];
}

/// False: nothing has struck, or it counts when it does.
bool Swarm::strike(FaultKind kind) {
    const std::size_t place = any_place();
    if (!world_.running(place)) return false;
    switch (kind) {
        case FaultKind::cut:
        case FaultKind::cut_in_body:
        case FaultKind::partition:
        case FaultKind::choke:
        case FaultKind::broker_restart:
        case FaultKind::broker_pause:
        case FaultKind::broker_leap:
            return strike_network(kind, place);
        case FaultKind::pause:
        case FaultKind::owner_asleep:
        case FaultKind::kill:
        case FaultKind::quick_restart:
        case FaultKind::power_loss:
        case FaultKind::leap:
        case FaultKind::slow:
        case FaultKind::hang:
        case FaultKind::stop:
        case FaultKind::stop_now:
            return strike_process(kind, place);
        case FaultKind::garbage:
        case FaultKind::intrusion:
        case FaultKind::trespass:
        case FaultKind::false_answer:
        case FaultKind::twin_member:
        case FaultKind::twin_master:
            return strike_stranger(kind, place);
        case FaultKind::death_in_write:
        case FaultKind::disk_full:
        case FaultKind::damage:
        case FaultKind::wipe:
        case FaultKind::set_back:
            return strike_disk(kind, place);
        case FaultKind::count:
            break;
    }
    return false;
}

bool Swarm::strike_network(FaultKind kind, std::size_t place) {
    switch (kind) {
        case FaultKind::cut:
            return world_.cut(
                place, static_cast<World::Told>(rng_.below(4)),
                world_.has_bulk(place) && rng_.below(2) == 0 ? bus::Lane::bulk : bus::Lane::main);
        case FaultKind::cut_in_body:
            world_.cut_in_body([this] { ++struck_; });
            return false;  // counts when it happens
        case FaultKind::partition:
            world_.partition(place, length());
            return true;
        case FaultKind::choke:
            world_.choke(place, std::min<Duration>(length(), milliseconds(300)));
            return true;
        case FaultKind::broker_restart:
            world_.restart_broker(std::min<Duration>(length(), seconds(20)));
            return true;
        case FaultKind::broker_pause:
            world_.pause_broker(length());
            return true;
        case FaultKind::broker_leap:
            world_.leap_broker(length());
            return true;
        default:
            return false;
    }
}

// -- processes --------------------------------------------------------------------------

bool Swarm::strike_process(FaultKind kind, std::size_t place) {
    switch (kind) {
        case FaultKind::pause:
            world_.pause(place, length());
            return true;
        case FaultKind::owner_asleep:
            return sleep_of_owner();
        case FaultKind::kill:
            world_.kill(place, length());
            return true;
        case FaultKind::quick_restart:
            // the broker may read the next process's HELLO before the last words of this one
            ++count("restarted while the broker is stopped");
            world_.pause_broker(milliseconds(50 + rng_.below(1000)));
            world_.kill(place, milliseconds(1 + rng_.below(40)));
            return true;
        case FaultKind::power_loss:
            return lose_power(place);
        case FaultKind::leap:
            world_.leap(place, length());
            return true;
        case FaultKind::slow:
            world_.slow(place, length(), length());
            return true;
        case FaultKind::hang:
            return hang(place);
        case FaultKind::stop:
        case FaultKind::stop_now:
            return stop(kind);
        default:
            return false;
    }
}

/// For longer than the broker keeps its run, which the members forget then.
bool Swarm::sleep_of_owner() {
    const std::size_t owner = rng_.below(2) == 0 ? asker : master_a + rng_.below(2);
    if (!world_.running(owner)) return false;
    ++count("an owner sleeps until its run is closed");
    world_.pause(owner, milliseconds(41'000 + rng_.below(8000)));
    return true;
}

bool Swarm::lose_power(std::size_t place) {
    if (!has_disk(place)) return false;
    const std::size_t machine = machine_of(place);
    machines_[machine].power_lost = true;
    ++count("power lost");
    if (machine == master_a && place != twin_master && world_.running(twin_master))
        world_.kill(twin_master, {});
    if (place == twin_master && world_.running(master_a)) world_.kill(master_a, length());
    world_.kill(place, length());
    return true;
}

/// Of a member or a master, rather; half of the time until after it is given up.
bool Swarm::hang(std::size_t place) {
    const Duration patience = plan_.world.timings.progress_stall;
    const auto most = static_cast<std::uint64_t>(2 * patience.count());
    const Duration more(1 + static_cast<std::int64_t>(rng_.below(most)));
    const std::size_t whose = rng_.below(4);
    world_.hang(world_.running(whose) ? whose : place, patience > seconds(60) ? length()
                                                       : rng_.below(2) == 0
                                                           ? more
                                                           : 2 * patience + seconds(3) + more);
    return true;
}

bool Swarm::stop(FaultKind kind) {
    const std::size_t r = rng_.below(2);
    if (!world_.running(master_a + r) || runs_[r].over) return false;
    const bool at_once = kind == FaultKind::stop_now;
    ++count(at_once ? "stopped at once" : "stopped in order");
    world_.tell("fault: a user stops " + world_.name(master_a + r) + (at_once ? " at once" : ""));
    world_.act(master_a + r, [&](actors::NodeCore& core) { core.stop_driven(at_once); });
    return true;
}

// -- strangers and second processes -------------------------------------------------------

bool Swarm::strike_stranger(FaultKind kind, std::size_t place) {
    switch (kind) {
        case FaultKind::garbage:
            if (rng_.below(2) == 0 && world_.lie_of_windows(place)) return true;
            for (int i = 0; i < 5; ++i) world_.send_garbage(place);
            return true;
        case FaultKind::intrusion:
            return world_.intrude(intruder);
        case FaultKind::trespass:
            return world_.trespass();
        case FaultKind::false_answer:
            if (rng_.below(2) == 0)
                world_.repeat_answer();
            else
                world_.forge_answer(intruder);
            return true;
        case FaultKind::twin_member:
        case FaultKind::twin_master:
            return start_twin(kind);
        default:
            return false;
    }
}

bool Swarm::start_twin(FaultKind kind) {
    const std::size_t twin = kind == FaultKind::twin_member ? twin_member : twin_master;
    if (world_.running(twin) || world_.will_return(twin)) return false;
    if (twin == twin_master && runs_[0].over) return false;
    twin_came_ = true;
    ++count(twin == twin_member ? "a second process of a member" : "a second process of a master");
    // the first one is there, or asleep for longer than `suspect`, or dead
    const std::size_t first = twin == twin_member ? 0 : master_a;
    const std::uint64_t how = rng_.below(4);
    if (how == 0) world_.pause(first, milliseconds(4500 + rng_.below(4000)));
    if (how == 1 && world_.running(first)) world_.kill(first, milliseconds(4500));
    world_.after(milliseconds(how == 0 ? 3500 : 1), [this, twin] {
        if (world_.running(twin) || world_.will_return(twin)) return;
        world_.tell("fault: a second process of " + world_.name(twin) + " starts");
        world_.start(twin, rng_.below(3));
    });
    return true;
}

// -- disks --------------------------------------------------------------------------------

bool Swarm::strike_disk(FaultKind kind, std::size_t place) {
    switch (kind) {
        case FaultKind::death_in_write:
            return false;  // comes with the writes
        case FaultKind::disk_full:
            if (!has_disk(place)) return false;
            machines_[machine_of(place)].full_until = world_.now() + length();
            machines_[machine_of(place)].full_noticed = false;
            ++count("disk full for a while");
            world_.tell("fault: the disk of " + world_.name(place) + " is full for a while");
            return false;  // counts when something is to be written
        case FaultKind::damage:
            return damage_commit();
        case FaultKind::wipe:
            return lose_disk();
        case FaultKind::set_back:
            return plan_set_back();
        default:
            return false;
    }
}

/// The newest commit of a member in one of the runs.
bool Swarm::damage_commit() {
    const std::size_t member = rng_.below(2);
    std::string newest;
    std::uint64_t best = 0;
    machines_[member].disk->for_each_file([&](const std::string& path, const std::string&) {
        const std::size_t at = path.find("/commit-");
        if (at == std::string::npos || path.ends_with(".tmp") ||
            path.find(runs_[rng_.below(2)].id.hex()) == std::string::npos)
            return;
        const std::uint64_t step = std::strtoull(path.c_str() + at + 8, nullptr, 10);
        if (step >= best) newest = path;
        best = std::max(best, step);
    });
    if (newest.empty()) return false;
    state_hurt_ = true;
    ++count("a commit is damaged");
    world_.tell("fault: " + newest + " of " + world_.name(member) +
                " is damaged, and the process dies");
    machines_[member].disk->damage(newest);
    if (world_.running(member)) world_.kill(member, milliseconds(100));
    return true;
}

bool Swarm::lose_disk() {
    const std::size_t member = rng_.below(2);
    if (!world_.running(member)) return false;
    state_hurt_ = true;
    ++count("a member's disk is lost");
    world_.tell("fault: " + world_.name(member) + " dies and loses its disk");
    world_.kill(member, milliseconds(100 + rng_.below(1000)));
    machines_[member].disk->wipe();
    std::erase_if(terms_, [&](const auto& entry) { return entry.first.first == member; });
    return true;
}

bool Swarm::plan_set_back() {
    const std::size_t r = rng_.below(2);
    if (!world_.running(master_a + r) || runs_[r].over) return false;
    world_.after(length(),
                 [this, r, id = runs_[r].id, backup = machines_[master_a + r].disk->backup()] {
                     set_back(r, id, backup);
                 });
    return false;  // counts when it happens
}

/// A master's machine is restored from a backup: its run is in an earlier term there.
void Swarm::set_back(std::size_t r, const RunId& run, const Disk::Backup& backup) {
    const std::size_t place = master_a + r;
    if (healed_ || runs_[r].over || runs_[r].id != run || !world_.running(place)) return;
    ++struck_;
    state_hurt_ = true;
    ++count("a master's disk is set back");
    world_.tell("fault: " + world_.name(place) + " dies, and its disk is set back");
    if (r == 0 && world_.running(twin_master)) world_.kill(twin_master, {});
    world_.kill(place, milliseconds(100 + rng_.below(1000)));
    machines_[place].disk->set_back(backup);
}

}  // namespace vflbus::sim
