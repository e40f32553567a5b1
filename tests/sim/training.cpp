#include "training.hpp"

#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "actors/master.hpp"
#include "actors/member.hpp"
#include "actors/run_record.hpp"

namespace vflbus::sim {
namespace {

constexpr std::size_t rows = 120;

/// A table of `columns` numbers under ids 0 .. rows - 1, in an order of its own; some ids are
/// missing.
std::shared_ptr<const data::Table> make_table(const std::string& party, std::size_t columns,
                                              bool labels, std::uint64_t seed) {
    auto table = std::make_shared<data::Table>();
    table->path = party + ".csv";
    table->party = party;
    Rng order(seed);
    std::vector<std::uint32_t> ids(rows);
    for (std::uint32_t i = 0; i < rows; ++i) ids[i] = i;
    for (std::size_t i = rows - 1; i > 0; --i) std::swap(ids[i], ids[order.below(i + 1)]);
    ids.resize(rows - 7);
    for (const std::uint32_t id : ids) table->ids.push_back("id" + std::to_string(id));
    const auto cell = [](std::uint32_t id, std::size_t column, std::uint64_t salt) {
        return Rng(mix_seed(salt * 1000 + column, id)).uniform() * 2 - 1;
    };
    for (std::size_t c = 0; c < columns; ++c) {
        data::Column column;
        column.name = party + "_x" + std::to_string(c);
        for (const std::uint32_t id : ids) column.numbers.push_back(cell(id, c, seed));
        table->features.push_back(std::move(column));
    }
    if (labels) {
        data::Column label;
        label.name = "y";
        for (const std::uint32_t id : ids)
            label.numbers.push_back(cell(id, 0, seed) + cell(id, 0, 2) + cell(id, 1, 3) > 0 ? 1
                                                                                            : 0);
        table->labels.push_back(std::move(label));
    }
    return table;
}

actors::TableSource source(std::shared_ptr<const data::Table> table) {
    return [table](actors::TableKind kind) -> Result<std::shared_ptr<const data::Table>> {
        return kind == actors::TableKind::train ? table : nullptr;
    };
}

config::Config configuration(std::uint64_t seed, const Scenario& scenario) {
    config::LoadOptions options;
    options.search = false;
    options.self = "master";
    for (const char* set :
         {"model.task=logistic", "model.epochs=6", "model.batch_size=16", "model.learning_rate=0.1",
          "run.world_size=2", "data.test_fraction=0.2", "model.report_test_metrics_iteration=10",
          "party.master.data=none.csv", "party.master.id=id", "party.master.label=y"})
        options.sets.push_back({set, "--set"});
    if (scenario.sequential) {
        options.sets.push_back({"model.task=linear", "--set"});
        options.sets.push_back({"model.sequential=true", "--set"});
        options.sets.push_back({"model.reg_lambda=0.5", "--set"});
    }
    options.sets.push_back({"bus.commit_interval=0", "--set"});
    options.sets.push_back({"bus.commit_steps=" + std::to_string(scenario.commit_steps), "--set"});
    // restarts are what is tested, not their limit
    options.sets.push_back({"bus.restarts_max=1000", "--set"});
    options.sets.push_back({"run.seed=" + std::to_string(seed), "--set"});
    auto config = config::load(options);
    if (!config) throw std::runtime_error(config.error().sentence);
    return *config;
}

}  // namespace

Outcome train(std::uint64_t world_seed, const Scenario& scenario) {
    World world(world_seed, scenario.faults);
    Rng deaths(mix_seed(world_seed, 1234));
    const std::vector<std::string> names{"member-0", "member-1", "master-a", "master-b"};
    std::vector<std::unique_ptr<Disk>> disks;
    Outcome out;
    bool faults_on = true;
    for (std::size_t n = 0; n < names.size(); ++n) {
        disks.push_back(std::make_unique<Disk>());
        disks[n]->fate = [&, n](const std::string&) {
            const std::uint64_t write = ++out.writes[names[n]];
            bool dies = faults_on && scenario.deaths_per_write > 0 &&
                        deaths.uniform() < scenario.deaths_per_write;
            bool after = dies && deaths.below(2) == 0;
            if (scenario.death && scenario.death->node == names[n] &&
                scenario.death->write == write) {
                dies = true;
                after = scenario.death->after;
            }
            if (!dies) return Disk::Fate::written;
            ++world.coverage()[after ? "death after a write" : "death before a write"];
            world.die_now(n, std::chrono::milliseconds(100 + deaths.below(1500)));
            return after ? Disk::Fate::dies_after : Disk::Fate::dies_before;
        };
    }
    const actors::LogHook log = [&world](observe::log::Level, const RunId& run,
                                         const std::string& text) {
        world.tell(run.short_hex() + " " + text);
    };
    for (std::size_t k = 0; k < 2; ++k) {
        world.add_node(names[k], "member", static_cast<std::int64_t>(k),
                       [&, k](actors::NodeCore& core) {
                           actors::MemberOptions options;
                           options.name = names[k];
                           options.tables = source(make_table(names[k], 3 + k, false, 2 + k));
                           options.env = disks[k].get();
                           options.runs_dir = "runs";
                           options.log = log;
                           core.serve(actors::make_member_app(std::move(options)));
                       });
    }
    std::vector<std::unique_ptr<actors::RunMaster>> masters(2);
    out.runs.resize(2);
    for (std::size_t r = 0; r < 2; ++r) {
        world.add_node(names[2 + r], "master", -1, [&, r](actors::NodeCore& core) {
            actors::MasterOptions options;
            options.run.bytes[0] = static_cast<std::uint8_t>(r + 1);
            options.name = names[2 + r];
            options.config = configuration(r + 5, scenario);
            options.tables = source(make_table("master", 2, true, 1));
            options.env = disks[2 + r].get();
            options.runs_dir = "runs";
            options.log = log;
            options.resume = disks[2 + r]->exists(actors::run_record_path("runs", options.run));
            auto master = actors::make_train_master(std::move(options));
            if (!master && world.will_return(2 + r)) return;  // it died in its first write
            if (!master) throw std::runtime_error(master.error().sentence);
            masters[r] = std::move(*master);
            ++out.runs[r].lives;
            core.drive(*masters[r]);
        });
    }
    if (scenario.fault) scenario.fault(world);
    // a master that dies, or is down for now, is not done before its last life is
    const auto done = [&] {
        for (std::size_t n = 0; n < names.size(); ++n)
            if (world.will_return(n)) return false;
        return masters[0] && masters[1] && masters[0]->done() && masters[1]->done();
    };
    world.run_until([&] { return done() || world.elapsed() > std::chrono::seconds(60); },
                    std::chrono::seconds(61));
    world.heal();
    faults_on = false;
    out.ended = world.run_until(done, std::chrono::minutes(20));
    // the members hear of it; a master that is gone for good is noticed
    world.run_until([] { return false; }, std::chrono::seconds(60));
    for (std::size_t node = 0; node < 2; ++node)
        if (world.core(node) != nullptr) out.contexts_left += world.core(node)->runs();
    for (std::size_t r = 0; r < 2; ++r) {
        Training& training = out.runs[r];
        training.status = masters[r]->report().status;
        training.reason = masters[r]->outcome().sentence;
        for (std::size_t n = 0; n < names.size(); ++n)
            for (const auto& [name, content] : disks[n]->files())
                if (name.find(masters[r]->spec().run.hex()) != std::string::npos &&
                    name.ends_with("model.json"))
                    training.models += name + "\n" + content + "\n";
    }
    for (std::size_t n = 0; n < 2; ++n)
        for (const auto& [name, content] : disks[n]->files())
            if (name.find("/state/") != std::string::npos) ++out.states_left;
    out.trace = world.trace();
    out.coverage = world.coverage().counts;
    out.violation = world.violation();
    out.seconds = std::chrono::duration<double>(world.elapsed()).count();
    for (const std::string& line : world.story()) out.story += line + "\n";
    return out;
}

Seeds seeds(std::uint64_t otherwise) {
    const char* only = std::getenv("VFLBUS_SIM_SEED");
    const char* wanted = std::getenv("VFLBUS_SIM_SEEDS");
    if (only != nullptr) {
        const std::uint64_t seed = std::strtoull(only, nullptr, 10);
        return {seed, seed, true};
    }
    return {1, wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : otherwise, false};
}

}  // namespace vflbus::sim
