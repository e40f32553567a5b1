#include "training.hpp"

#include <stdexcept>

#include "actors/master.hpp"
#include "actors/member.hpp"
#include "actors/run/run_record.hpp"

namespace vflbus::sim {

std::shared_ptr<const data::Table> make_table(const std::string& party, std::size_t rows,
                                              std::size_t columns, bool labels,
                                              std::uint64_t seed) {
    auto table = std::make_shared<data::Table>();
    table->path = party + ".csv";
    table->party = party;
    Rng order(seed);
    std::vector<std::uint32_t> ids(rows);
    for (std::uint32_t i = 0; i < rows; ++i) ids[i] = i;
    for (std::size_t i = rows - 1; i > 0; --i) std::swap(ids[i], ids[order.below(i + 1)]);
    ids.resize(rows - rows / 16);
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

config::Config configure(const std::vector<std::string>& settings) {
    config::LoadOptions options;
    options.search = false;
    options.self = "master";
    for (const std::string& setting : settings) options.sets.push_back({setting, "--set"});
    auto config = config::load(options);
    if (!config) throw std::runtime_error(config.error().sentence);
    return *config;
}

namespace {

constexpr std::size_t rows = 120;

config::Config configuration(std::uint64_t seed, const Scenario& scenario) {
    std::vector<std::string> settings{
        "model.task=logistic", "model.epochs=6", "model.batch_size=16", "model.learning_rate=0.1",
        "run.world_size=2", "data.test_fraction=0.2", "model.report_test_metrics_iteration=10",
        "party.master.data=none.csv", "party.master.id=id", "party.master.label=y",
        "bus.commit_interval=0",
        // restarts are what is tested, not their limit
        "bus.restarts_max=1000"};
    if (scenario.sequential) {
        settings.emplace_back("model.task=linear");
        settings.emplace_back("model.sequential=true");
        settings.emplace_back("model.reg_lambda=0.5");
    }
    settings.push_back("bus.commit_steps=" + std::to_string(scenario.commit_steps));
    settings.push_back("run.seed=" + std::to_string(seed));
    return configure(settings);
}

}  // namespace

Outcome train(std::uint64_t world_seed, const Scenario& scenario) {
    World world(world_seed, scenario.faults);
    Rng deaths(mix_seed(world_seed, 1234));
    const std::vector<std::string> names{"member-0", "member-1", "master-a", "master-b"};
    std::vector<std::unique_ptr<Disk>> disks;
    Outcome out;
    std::vector<bool> power_lost(names.size());
    for (std::size_t n = 0; n < names.size(); ++n) {
        disks.push_back(std::make_unique<Disk>(mix_seed(world_seed, n)));
        disks[n]->fate = [&, n] {
            if (!scenario.death || scenario.death->node != names[n] ||
                scenario.death->step != disks[n]->steps())
                return Disk::Fate::done;
            power_lost[n] = scenario.death->power;
            world.die_now(n, std::chrono::milliseconds(100 + deaths.below(1500)));
            return Disk::Fate::dies;
        };
    }
    const auto boot = [&](std::size_t n) {
        if (power_lost[n]) disks[n]->lose_power();
        power_lost[n] = false;
        disks[n]->begin();
    };
    const actors::LogHook log = [&world](observe::log::Level, const RunId& run,
                                         const std::string& text) {
        world.tell(run.short_hex() + " " + text);
    };
    for (std::size_t k = 0; k < 2; ++k) {
        world.add_node(names[k], "member", static_cast<std::int64_t>(k),
                       [&, k](actors::NodeCore& core) {
                           boot(k);
                           actors::MemberOptions options;
                           options.name = names[k];
                           options.tables = source(make_table(names[k], rows, 3 + k, false, 2 + k));
                           options.env = disks[k].get();
                           options.runs_dir = "runs";
                           options.log = log;
                           core.serve(actors::make_member_app(std::move(options)));
                       });
    }
    std::vector<std::unique_ptr<actors::Run>> masters(2);
    out.runs.resize(2);
    for (std::size_t r = 0; r < 2; ++r) {
        world.add_node(names[2 + r], "master", -1, [&, r](actors::NodeCore& core) {
            boot(2 + r);
            actors::MasterOptions options;
            options.run.bytes[0] = static_cast<std::uint8_t>(r + 1);
            options.name = names[2 + r];
            options.config = configuration(r + 5, scenario);
            options.tables = source(make_table("master", rows, 2, true, 1));
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
    out.ended = world.run_until(done, std::chrono::minutes(20));
    // the members hear of it; a master that is gone for good is noticed
    world.run_until([] { return false; }, std::chrono::seconds(60));
    for (std::size_t node = 0; node < 2; ++node)
        if (world.core(node) != nullptr) out.contexts_left += world.core(node)->runs();
    for (std::size_t r = 0; r < 2; ++r) {
        Training& training = out.runs[r];
        training.status = masters[r]->report().status;
        training.reason = masters[r]->outcome().sentence;
        for (const auto& disk : disks)
            disk->for_each_file([&](const std::string& name, const std::string& content) {
                if (name.find(masters[r]->spec().run.hex()) != std::string::npos &&
                    name.ends_with("model.json"))
                    training.models += name + "\n" + content + "\n";
            });
    }
    for (std::size_t n = 0; n < names.size(); ++n) out.steps[names[n]] = disks[n]->steps();
    for (std::size_t n = 0; n < 2; ++n)
        disks[n]->for_each_file([&](const std::string& name, const std::string&) {
            if (name.find("/state/") != std::string::npos) ++out.states_left;
        });
    out.trace = world.trace();
    out.coverage = world.coverage().counts;
    out.violation = world.violation();
    out.seconds = std::chrono::duration<double>(world.elapsed()).count();
    for (const std::string& line : world.story()) out.story += line + "\n";
    return out;
}

}  // namespace vflbus::sim
