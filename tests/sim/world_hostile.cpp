// Places that lie: what they say beside their link, and what they do not read.

#include "world_state.hpp"

namespace vflbus::sim {

void World::make_hostile(std::size_t index, Hostile hostile) {
    nodes_[index]->hostile = std::move(hostile);
}

bool World::hostile(std::size_t index) const {
    return nodes_[index]->hostile.has_value();
}

bool World::inject(std::size_t index, const bus::Header& header, bus::Payload part, bus::Lane lane,
                   std::size_t frames) {
    Node& node = *nodes_[index];
    const auto found = connections_.find(lane == bus::Lane::main ? node.connection : node.bulk);
    if (!node.link || node.dying || found == connections_.end() || !found->second.alive ||
        now_ < node.paused_until)
        return false;
    to_broker(node, found->second, {bus::Payload::copy_of(bus::encode(header)), std::move(part)},
              frames);
    return true;
}

void World::read_nothing(std::size_t index, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    tell("hostile: " + node.name + " reads nothing for a while");
    node.deaf_until = std::max(node.deaf_until, now_ + length);
    delay(node, now_ + length);
}

std::uint64_t World::sent_to(std::size_t index) const {
    const auto found = connections_.find(nodes_[index]->connection);
    return found == connections_.end() ? 0 : found->second.by_broker.sent;
}

std::vector<World::KnownRun> World::honest_runs() const {
    std::vector<KnownRun> runs;
    for (const auto& [id, run] : open_runs_) runs.push_back({id, run.term, run.owner});
    return runs;
}

}  // namespace vflbus::sim
