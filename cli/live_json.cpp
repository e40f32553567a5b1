#include "live_json.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/text.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

std::string node_json(const LiveNode& node) {
    return json_of(node.row)
        .add("latency_seconds", node.latency)
        .add("cpu", node.cpu)
        .add("memory_bytes", node.memory_bytes)
        .add("trouble", node.trouble)
        .text();
}

/// The last value of the metric that tells most of how good the model is; empty: there is none.
std::string headline(const LiveRun& run) {
    for (const char* const split : {"test", "train", ""})
        for (auto entry = run.metrics.rbegin(); entry != run.metrics.rend(); ++entry) {
            if (entry->split != split || entry->metrics.empty()) continue;
            const auto& [name, value] = entry->metrics.front();
            return (entry->split.empty() ? "" : entry->split + " ") + name + " " + shortest(value);
        }
    return {};
}

std::string run_json(const LiveRun& run) {
    JsonObject object = json_of(run.row);
    if (run.status) object.add_json("progress", to_json(*run.status));
    object.add("headline", headline(run)).add("local", run.local).add("trouble", run.trouble);
    return object.text();
}

/// How long of an answer's way went by in work of the member: where what it has worked on, by its
/// own clock, lies between the owner's question and the answer.
std::uint64_t worked_us(const LiveTiming& owner, const LiveTiming* member,
                        const bus::PartyWait& wait) {
    if (member == nullptr) return 0;
    const auto begin = static_cast<std::int64_t>(wait.asked_us) - owner.ahead_us;
    const auto end = begin + static_cast<std::int64_t>(wait.took_us);
    std::int64_t sum = 0;
    for (const bus::WorkTiming& work : member->told.work) {
        const auto from = static_cast<std::int64_t>(work.begun_us) - member->ahead_us;
        const auto to = from + static_cast<std::int64_t>(work.took_us);
        sum += std::max<std::int64_t>(0, std::min(end, to) - std::max(begin, from));
    }
    return static_cast<std::uint64_t>(std::min(sum, end - begin));
}

std::string wait_json(const LiveRun& run, const LiveTiming& owner, const bus::StepTiming& step,
                      const bus::PartyWait& wait) {
    // members are counted by rank, in the order of their names in the row of a training
    const std::string name = wait.party < run.row.names.size()
                                 ? run.row.names[wait.party]
                                 : "member-" + std::to_string(wait.party);
    const auto told = run.timing.find(name);
    const LiveTiming* const member = told == run.timing.end() ? nullptr : &told->second;
    const std::uint64_t asked = wait.asked_us > step.begun_us ? wait.asked_us - step.begun_us : 0;
    JsonObject object;
    object.add("party", name).add("asked_us", asked).add("took_us", wait.took_us);
    // without its own word nobody knows what of that was work
    if (member != nullptr && !member->told.work.empty())
        object.add("compute_us", worked_us(owner, member, wait));
    return object.text();
}

std::vector<std::string> steps_json(const LiveRun& run) {
    std::vector<std::string> steps;
    const auto owner = run.timing.find(run.row.owner);
    if (owner == run.timing.end()) return steps;
    for (const bus::StepTiming& step : owner->second.told.steps) {
        std::vector<std::string> waits;
        for (const bus::PartyWait& wait : step.waits)
            waits.push_back(wait_json(run, owner->second, step, wait));
        steps.push_back(JsonObject()
                            .add("step", step.step)
                            .add("took_us", step.took_us)
                            .add("compute_us", step.compute_us)
                            .add_json("waits", json_array(waits))
                            .text());
    }
    return steps;
}

}  // namespace

std::string overview_json(const Live& live) {
    std::vector<std::string> nodes;
    for (const LiveNode& node : live.nodes()) nodes.push_back(node_json(node));
    std::vector<std::string> runs;
    for (const RunId& id : live.order())
        if (const LiveRun* const run = live.find(id)) runs.push_back(run_json(*run));
    return versioned("vflbus-overview")
        .add_json("broker", JsonObject()
                                .add("address", live.broker())
                                .add("version", live.broker_version())
                                .add("answers", live.trouble().empty())
                                .add("trouble", live.trouble())
                                .text())
        .add_json("nodes", json_array(nodes))
        .add_json("runs", json_array(runs))
        .text();
}

std::string facts_json(const LiveRun& run) {
    JsonObject object;
    object.add("run_id", run.row.run.hex());
    object.add("configuration", run.configuration.value_or(""));
    object.add_json("steps", json_array(steps_json(run)));
    std::vector<std::string> missing;
    for (const auto& [party, why] : run.log_missing)
        missing.push_back(json_array({json_string(party), json_string(why)}));
    object.add_json("log_missing", json_array(missing));
    return object.text();
}

std::string point_json(const std::pair<std::uint64_t, double>& point) {
    return json_array({std::to_string(point.first), shortest(point.second)});
}

}  // namespace vflbus::cli
