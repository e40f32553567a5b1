// A run that asks what the members' columns tell of the label, beside the trainings: begun again
// until it has completed, and compared with that of an undisturbed world.

#include <cinttypes>
#include <cstdio>

#include "actors/features.hpp"
#include "actors/master.hpp"
#include "swarm_state.hpp"

namespace vflbus::sim {

using std::chrono::milliseconds;

/// (In the place of an arbiter: no seed has both.)
void Swarm::build_explorer() {
    if (!plan_.explores) return;
    world_.add_node("master-x", "master", -1,
                    [this](actors::NodeCore& core) { setup_explorer(core); });
}

void Swarm::setup_explorer(actors::NodeCore& core) {
    boot(explorer);
    answer_queries(explorer, core);
    actors::MasterOptions options;
    options.run.bytes[0] = 0x78;
    options.run.bytes[1] = static_cast<std::uint8_t>(++explorers_);
    options.name = world_.name(explorer);
    options.config = configuration(encrypted_variant, 0, 2, plan_);
    options.tables = source(table_of(master_a));
    options.env = machines_[explorer].disk.get();
    options.runs_dir = "runs";
    options.log = [this](observe::log::Level, const RunId& run, const std::string& text) {
        world_.tell(run.short_hex() + " " + text);
    };
    auto master = actors::make_features_master(std::move(options));
    if (!master)
        return world_.violate("a run of features does not start: " + master.error().sentence);
    explorer_settled_ = false;
    explored_ = std::move(*master);
    core.drive(*explored_);
}

void Swarm::poll_explorer() {
    if (!plan_.explores || explorer_settled_ || !explored_ || !explored_->done() ||
        !world_.running(explorer))
        return;
    explorer_settled_ = true;
    const Failure outcome = explored_->outcome();
    world_.tell("the run of features ended (" + std::string(name_of(outcome.code)) +
                "): " + outcome.sentence);
    if (outcome.code == Errc::ok) {
        ++count("columns told of the label");
        figures_ = figures_text(explored_->features());
    } else if (outcome.code != Errc::peer_restarted && !excusable(outcome.code)) {
        // (it keeps nothing that a member which is back could go on with)
        world_.violate("without a fault that explains it, the run of features ended (" +
                       std::string(name_of(outcome.code)) + "): " + outcome.sentence);
    }
    const bool again = figures_.empty();
    world_.after(milliseconds(1), [this, again, life = world_.incarnation(explorer)] {
        if (world_.incarnation(explorer) != life || !world_.running(explorer)) return;
        world_.leave(explorer);
        if (!again) return;
        world_.after(milliseconds(700), [this] {
            if (!world_.running(explorer)) world_.start(explorer);
        });
    });
}

/// Every figure that the master has been told, to the last bit.
std::string Swarm::figures_text(const actors::FeaturesResult& result) {
    std::string out = std::to_string(result.rows) + " rows\n";
    char text[160];
    for (const actors::PartyFeatures& party : result.parties)
        for (const data::FeatureFigures& one : party.columns) {
            std::snprintf(text, sizeof text, "%s %a %" PRIu64 " %a %a:", party.name.c_str(),
                          one.information, one.missing, one.inflation, one.correlation);
            out += text;
            for (const data::FeatureBin& bin : one.bins)
                out += " " + std::to_string(bin.positives) + "/" + std::to_string(bin.rows);
            out += "\n";
        }
    return out;
}

/// A member counts once in a term: each answer tells the master sums over rows of its choice.
void Swarm::watch_count(const std::function<Result<actors::Bytes>()>& once_more) {
    if (once_more()) world_.violate("a member has counted for labels twice in a term");
}

}  // namespace vflbus::sim
