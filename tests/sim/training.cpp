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

/// Two trainings of two masters, which share two members: who they are, what dies, and what came of
/// it.
class TwoTrainings {
  public:
    TwoTrainings(std::uint64_t world_seed, const Scenario& scenario)
        : scenario_(scenario),
          world_(world_seed, scenario.faults),
          deaths_(mix_seed(world_seed, 1234)) {
        for (std::size_t n = 0; n < names_.size(); ++n) add_disk(n, world_seed);
        for (std::size_t k = 0; k < 2; ++k)
            world_.add_node(names_[k], "member", static_cast<std::int64_t>(k),
                            [this, k](actors::NodeCore& core) { setup_member(k, core); });
        out_.runs.resize(2);
        for (std::size_t r = 0; r < 2; ++r)
            world_.add_node(names_[2 + r], "master", -1,
                            [this, r](actors::NodeCore& core) { setup_master(r, core); });
    }

    Outcome play() {
        if (scenario_.fault) scenario_.fault(world_);
        world_.run_until([&] { return done() || world_.elapsed() > std::chrono::seconds(60); },
                         std::chrono::seconds(61));
        world_.heal();
        out_.ended = world_.run_until([this] { return done(); }, std::chrono::minutes(20));
        // the members hear of it; a master that is gone for good is noticed
        world_.run_until([] { return false; }, std::chrono::seconds(60));
        collect();
        return std::move(out_);
    }

  private:
    /// A disk on which its node dies at the step that the scenario names.
    void add_disk(std::size_t n, std::uint64_t world_seed) {
        disks_.push_back(std::make_unique<Disk>(mix_seed(world_seed, n)));
        disks_[n]->fate = [this, n] {
            if (!scenario_.death || scenario_.death->node != names_[n] ||
                scenario_.death->step != disks_[n]->steps())
                return Disk::Fate::done;
            power_lost_[n] = scenario_.death->power;
            world_.die_now(n, std::chrono::milliseconds(100 + deaths_.below(1500)));
            return Disk::Fate::dies;
        };
    }

    void boot(std::size_t n) {
        if (power_lost_[n]) disks_[n]->lose_power();
        power_lost_[n] = false;
        disks_[n]->begin();
    }

    actors::LogHook log() {
        return [this](observe::log::Level, const RunId& run, const std::string& text) {
            world_.tell(run.short_hex() + " " + text);
        };
    }

    void setup_member(std::size_t k, actors::NodeCore& core) {
        boot(k);
        actors::MemberOptions options;
        options.name = names_[k];
        options.tables = source(make_table(names_[k], rows, 3 + k, false, 2 + k));
        options.env = disks_[k].get();
        options.runs_dir = "runs";
        options.log = log();
        core.serve(actors::make_member_app(std::move(options)));
    }

    void setup_master(std::size_t r, actors::NodeCore& core) {
        boot(2 + r);
        actors::MasterOptions options;
        options.run.bytes[0] = static_cast<std::uint8_t>(r + 1);
        options.name = names_[2 + r];
        options.config = configuration(r + 5, scenario_);
        options.tables = source(make_table("master", rows, 2, true, 1));
        options.env = disks_[2 + r].get();
        options.runs_dir = "runs";
        options.log = log();
        options.resume = disks_[2 + r]->exists(actors::run_record_path("runs", options.run));
        auto master = actors::make_train_master(std::move(options));
        if (!master && world_.will_return(2 + r)) return;  // it died in its first write
        if (!master) throw std::runtime_error(master.error().sentence);
        masters_[r] = std::move(*master);
        ++out_.runs[r].lives;
        core.drive(*masters_[r]);
    }

    /// A master that dies, or is down for now, is not done before its last life is.
    bool done() {
        for (std::size_t n = 0; n < names_.size(); ++n)
            if (world_.will_return(n)) return false;
        return masters_[0] && masters_[1] && masters_[0]->done() && masters_[1]->done();
    }

    void collect() {
        for (std::size_t node = 0; node < 2; ++node)
            if (world_.core(node) != nullptr) out_.contexts_left += world_.core(node)->runs();
        for (std::size_t r = 0; r < 2; ++r) {
            Training& training = out_.runs[r];
            training.status = masters_[r]->report().status;
            training.reason = masters_[r]->outcome().sentence;
            for (const auto& disk : disks_)
                disk->for_each_file([&](const std::string& name, const std::string& content) {
                    if (name.find(masters_[r]->spec().run.hex()) != std::string::npos &&
                        name.ends_with("model.json"))
                        training.models += name + "\n" + content + "\n";
                });
        }
        for (std::size_t n = 0; n < names_.size(); ++n) out_.steps[names_[n]] = disks_[n]->steps();
        for (std::size_t n = 0; n < 2; ++n)
            disks_[n]->for_each_file([&](const std::string& name, const std::string&) {
                if (name.find("/state/") != std::string::npos) ++out_.states_left;
            });
        out_.trace = world_.trace();
        out_.coverage = world_.coverage().counts;
        out_.violation = world_.violation();
        out_.seconds = std::chrono::duration<double>(world_.elapsed()).count();
        for (const std::string& line : world_.story()) out_.story += line + "\n";
    }

    const std::vector<std::string> names_{"member-0", "member-1", "master-a", "master-b"};
    const Scenario& scenario_;
    Outcome out_;
    World world_;
    Rng deaths_;
    std::vector<std::unique_ptr<Disk>> disks_;
    std::vector<bool> power_lost_ = std::vector<bool>(names_.size());
    std::vector<std::unique_ptr<actors::Run>> masters_ =
        std::vector<std::unique_ptr<actors::Run>>(2);
};

}  // namespace

Outcome train(std::uint64_t world_seed, const Scenario& scenario) {
    return TwoTrainings(world_seed, scenario).play();
}

}  // namespace vflbus::sim
