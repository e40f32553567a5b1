#include "bus/core/run_table.hpp"

#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "bus/core/share.hpp"

namespace vflbus::bus {
namespace {

auto place_in(std::vector<BrokerMember>& members, NodeId node) noexcept {
    return std::ranges::lower_bound(members, node, {}, &BrokerMember::id);
}

}  // namespace

BrokerMember* BrokerRun::find(NodeId node) noexcept {
    const auto at = place_in(members_, node);
    return at != members_.end() && at->id == node ? &*at : nullptr;
}

bool BrokerRun::takes_part(NodeId node) const noexcept {
    if (node == owner) return owner_here;
    const BrokerMember* const member = find(node);
    return member != nullptr && member->joined;
}

// -- what is there -----------------------------------------------------------------

const BrokerRun* RunTable::find(const RunId& id) const noexcept {
    const auto found = runs_.find(id);
    return found == runs_.end() ? nullptr : found->second.get();
}

BrokerRun* RunTable::find(const RunId& id) noexcept {
    return const_cast<BrokerRun*>(std::as_const(*this).find(id));
}

const BrokerRun& RunTable::at(const RunId& id) const {
    const BrokerRun* const run = find(id);
    VFLBUS_ASSERT(run != nullptr, "a run that a node is named in stands in the table");
    return *run;
}

BrokerRun& RunTable::at(const RunId& id) {
    return const_cast<BrokerRun&>(std::as_const(*this).at(id));
}

const std::set<RunId>& RunTable::runs_of(NodeId node) const noexcept {
    static const std::set<RunId> none;
    const auto found = runs_of_.find(node);
    return found == runs_of_.end() ? none : found->second;
}

// -- room --------------------------------------------------------------------------

std::size_t RunTable::places_of(NodeId payer) const noexcept {
    const auto found = places_taken_.find(payer);
    return found == places_taken_.end() ? 0 : found->second;
}

std::size_t RunTable::most_places() const noexcept {
    std::size_t most = 0;
    for (const auto& [payer, places] : places_taken_) most = std::max(most, places);
    return most;
}

std::uint64_t RunTable::kept_bytes_of(NodeId payer, const BrokerRun* but_for) const {
    const auto joins = joins_kept_.find(payer);
    std::uint64_t bytes = joins == joins_kept_.end() ? 0 : joins->second;
    if (places_of(payer) == 0) return bytes;
    for (const auto& [id, run] : runs_)
        if (run->payer == payer && run.get() != but_for) bytes += run->kept_bytes();
    return bytes;
}

std::uint64_t RunTable::most_kept_bytes() const {
    std::uint64_t most = 0;
    for (const auto& [payer, places] : places_taken_)
        most = std::max(most, kept_bytes_of(payer, nullptr));
    for (const auto& [payer, bytes] : joins_kept_)
        most = std::max(most, kept_bytes_of(payer, nullptr));
    return most;
}

RunTable::Room RunTable::room_for_open(const RunId& id, NodeId payer, std::uint64_t kept) const {
    const BrokerRun* const run = find(id);
    if (run == nullptr && runs_.size() >= places_) return Room::no_place;
    if (run == nullptr && !may_take_one_more(places_of(payer), places_ - runs_.size() - 1) &&
        !VFLBUS_PLANTED(runs_not_shared))
        return Room::share_taken;
    std::uint64_t all = kept;
    for (const auto& [other_id, other] : runs_)
        if (other.get() != run) all += other->kept_bytes();
    const NodeId pays = run == nullptr ? payer : run->payer;
    if (!VFLBUS_PLANTED(kept_not_counted) &&
        (kept_bytes_of(pays, run) + kept > kept_of_one_ || all > kept_opens_))
        return Room::too_many_bytes;
    return Room::free;
}

bool RunTable::room_for_join(const BrokerRun& run, NodeId node, NodeId payer,
                             std::uint64_t bytes) const {
    const BrokerMember* const member = run.find(node);
    const std::uint64_t replaced =
        member != nullptr && member->payer == payer ? member->kept_bytes() : 0;
    return kept_bytes_of(payer, nullptr) - replaced + bytes + waiting_frame_bytes <= kept_of_one_ ||
           VFLBUS_PLANTED(kept_not_counted);
}

// -- changes -----------------------------------------------------------------------

void RunTable::index(NodeId node, const RunId& id) {
    runs_of_[node].insert(id);
}

/// Unless the node is in the run in another way: an owner may have named itself.
void RunTable::unindex(NodeId node, const BrokerRun& run) {
    if (node == run.owner || run.find(node) != nullptr) return;
    const auto found = runs_of_.find(node);
    if (found == runs_of_.end()) return;
    found->second.erase(run.id);
    if (found->second.empty()) runs_of_.erase(found);
}

BrokerRun& RunTable::open(const RunId& id, NodeId owner, NodeId payer) {
    const auto [at, is_new] = runs_.try_emplace(id);
    VFLBUS_ASSERT(is_new, "a run is opened once");
    at->second = std::make_unique<BrokerRun>();
    BrokerRun& run = *at->second;
    run.id = id;
    run.owner = owner;
    run.payer = payer;
    ++places_taken_[payer];
    index(owner, id);
    return run;
}

std::vector<BrokerMember> RunTable::set_members(BrokerRun& run, std::vector<BrokerMember> members) {
    VFLBUS_ASSERT(std::ranges::adjacent_find(members, std::ranges::greater_equal{},
                                             &BrokerMember::id) == members.end(),
                  "members are ascending by node id, each of them once");
    std::vector<BrokerMember> before = std::exchange(run.members_, std::move(members));
    for (const BrokerMember& member : before) {
        unindex(member.id, run);
        forget_join(member);
    }
    for (const BrokerMember& member : run.members_) index(member.id, run.id);
    return before;
}

void RunTable::add_member(BrokerRun& run, NodeId node, Participant participant) {
    const auto at = place_in(run.members_, node);
    if (at != run.members_.end() && at->id == node)
        at->participant = std::move(participant);
    else
        run.members_.insert(at, BrokerMember{std::move(participant), node, false, {}});
    index(node, run.id);
}

void RunTable::remove_member(BrokerRun& run, NodeId node) {
    const BrokerMember* const member = run.find(node);
    if (member == nullptr) return;
    forget_join(*member);
    std::erase_if(run.members_, [&](const BrokerMember& one) { return one.id == node; });
    unindex(node, run);
}

void RunTable::keep_join(BrokerMember& member, NodeId payer, std::shared_ptr<const Bytes> join) {
    forget_join(member);
    member.join = std::move(join);
    member.payer = payer;
    joins_kept_[payer] += member.kept_bytes();
}

/// Its bytes count no longer; the member itself is about to go, or to say something else.
void RunTable::forget_join(const BrokerMember& member) {
    if (member.join == nullptr) return;
    const auto kept = joins_kept_.find(member.payer);
    VFLBUS_ASSERT(kept != joins_kept_.end() && kept->second >= member.kept_bytes(),
                  "a JOIN that is kept is counted for who pays for it");
    kept->second -= member.kept_bytes();
    if (kept->second == 0) joins_kept_.erase(kept);
}

void RunTable::close(const RunId& id) {
    const auto found = runs_.find(id);
    VFLBUS_ASSERT(found != runs_.end(), "a run that is closed is open");
    const std::unique_ptr<BrokerRun> run = std::move(found->second);
    runs_.erase(found);
    const NodeId owner = std::exchange(run->owner, NodeId{});
    set_members(*run, {});
    unindex(owner, *run);
    const auto places = places_taken_.find(run->payer);
    VFLBUS_ASSERT(places != places_taken_.end(), "who pays for a run has a place");
    if (--places->second == 0) places_taken_.erase(places);
}

}  // namespace vflbus::bus
