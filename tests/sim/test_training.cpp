// Whole trainings under faults, method: two masters train on the same two members in one world. A
// run that finishes must have the model of the undisturbed run, bit for bit; one that does not must
// end with a reason, at everybody, in bounded time.

#include <algorithm>
#include <cstdlib>

#include "actors/env.hpp"
#include "actors/master.hpp"
#include "actors/member.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::sim;

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

config::Config configuration(std::uint64_t seed) {
    config::LoadOptions options;
    options.search = false;
    options.self = "master";
    for (const char* set :
         {"model.task=logistic", "model.epochs=6", "model.batch_size=16", "model.learning_rate=0.1",
          "run.world_size=2", "data.test_fraction=0.2", "model.report_test_metrics_iteration=10",
          "party.master.data=none.csv", "party.master.id=id", "party.master.label=y"})
        options.sets.push_back({set, "--set"});
    options.sets.push_back({"run.seed=" + std::to_string(seed), "--set"});
    auto config = config::load(options);
    if (!config) FAIL(config.error().sentence);
    return *config;
}

struct Training {
    std::string status;
    std::string reason;
    std::string models;  ///< of all parties, one after another
    double auc = 0;
};

struct Outcome {
    std::vector<Training> runs;
    bool ended = false;
    std::uint64_t trace = 0;
    std::size_t contexts_left = 0;
    double seconds = 0;
    std::map<std::string, std::uint64_t> coverage;
    std::string violation;
    std::string story;
};

/// `fault` is called once when the world runs, for faults by hand.
Outcome train(std::uint64_t world_seed, Faults faults,
              const std::function<void(World&)>& fault = {}) {
    World world(world_seed, faults);
    actors::MemoryEnv env;
    const std::vector<std::string> members{"member-0", "member-1"};
    const actors::LogHook log = [&world](observe::log::Level, const RunId& run,
                                         const std::string& text) {
        world.tell(run.short_hex() + " " + text);
    };
    for (std::size_t k = 0; k < members.size(); ++k) {
        world.add_node(members[k], "member", static_cast<std::int64_t>(k),
                       [&, k](actors::NodeCore& core) {
                           actors::MemberOptions options;
                           options.name = members[k];
                           options.tables = source(make_table(members[k], 3 + k, false, 2 + k));
                           options.env = &env;
                           options.runs_dir = "runs";
                           options.log = log;
                           core.serve(actors::make_member_app(std::move(options)));
                       });
    }
    std::vector<std::unique_ptr<actors::RunMaster>> masters;
    for (std::uint64_t r = 0; r < 2; ++r) {
        actors::MasterOptions options;
        options.run.bytes[0] = static_cast<std::uint8_t>(r + 1);
        options.name = r == 0 ? "master-a" : "master-b";
        options.config = configuration(r + 5);
        options.tables = source(make_table("master", 2, true, 1));
        options.env = &env;
        options.runs_dir = "runs";
        options.log = log;
        auto master = actors::make_train_master(std::move(options));
        if (!master) FAIL(master.error().sentence);
        masters.push_back(std::move(*master));
        world.add_node(r == 0 ? "master-a" : "master-b", "master", -1,
                       [&, r](actors::NodeCore& core) { core.drive(*masters[r]); });
    }
    if (fault) fault(world);
    const auto done = [&] { return masters[0]->done() && masters[1]->done(); };
    Outcome out;
    world.run_until([&] { return done() || world.elapsed() > std::chrono::seconds(60); },
                    std::chrono::seconds(61));
    world.heal();
    out.ended = world.run_until(done, std::chrono::minutes(10));
    world.run_until([] { return false; }, std::chrono::seconds(60));  // the members hear of it
    for (std::size_t node = 0; node < 2; ++node)
        if (world.core(node) != nullptr) out.contexts_left += world.core(node)->runs();
    for (const auto& master : masters) {
        Training training;
        training.status = master->report().status;
        training.reason = master->outcome().sentence;
        for (const auto& [name, content] : env.files)
            if (name.find(master->spec().run.hex()) != std::string::npos &&
                name.ends_with("model.json"))
                training.models += name + "\n" + content + "\n";
        out.runs.push_back(std::move(training));
    }
    out.trace = world.trace();
    out.coverage = world.coverage().counts;
    out.violation = world.violation();
    out.seconds = std::chrono::duration<double>(world.elapsed()).count();
    for (const std::string& line : world.story()) out.story += line + "\n";
    return out;
}

/// Faults that no process notices as more than a delay or a reconnect.
Faults passing(std::uint64_t seed) {
    Faults faults;
    Rng rng(mix_seed(seed, 99));
    faults.delay_max = std::chrono::milliseconds(30);
    if (rng.below(3) != 0) faults.cuts = 0.2;
    if (rng.below(3) != 0) faults.broker_restarts = 0.05;
    if (rng.below(3) != 0) faults.partitions = 0.1;
    if (rng.below(3) != 0) faults.pauses = 0.1;
    if (rng.below(3) != 0) faults.garbage = 0.5;
    // no chain of these keeps a peer silent for the 10 s after which it is lost
    faults.pause_max = std::chrono::milliseconds(500);
    faults.partition_max = std::chrono::milliseconds(500);
    faults.handler_max =
        rng.below(2) == 0 ? std::chrono::milliseconds(5) : std::chrono::milliseconds(300);
    return faults;
}

}  // namespace

TEST_CASE("two trainings on the same members finish, and their models do not depend on timing") {
    const Outcome calm = train(1, Faults{});
    INFO(calm.story);
    REQUIRE(calm.ended);
    CHECK(calm.violation.empty());
    for (const Training& run : calm.runs) {
        INFO(run.reason);
        REQUIRE(run.status == "completed");
        CHECK(std::count(run.models.begin(), run.models.end(), '\n') > 3);
    }
    CHECK(calm.runs[0].models != calm.runs[1].models);
    CHECK(calm.contexts_left == 0);
    const Outcome again = train(1, Faults{});
    CHECK(again.trace == calm.trace);
}

TEST_CASE("what passes leaves no mark on the model; what does not pass ends with a reason") {
    const Outcome calm = train(1, Faults{});
    std::map<std::string, std::uint64_t> coverage;
    std::size_t completed = 0;
    const char* only = std::getenv("VFLBUS_SIM_SEED");
    const char* wanted = std::getenv("VFLBUS_SIM_SEEDS");
    const std::uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
    const std::uint64_t last = only != nullptr     ? first
                               : wanted != nullptr ? std::strtoull(wanted, nullptr, 10)
                                                   : 60;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        const Outcome out = train(seed, passing(seed));
        for (const auto& [name, count] : out.coverage) coverage[name] += count;
        INFO("replay with VFLBUS_SIM_SEED=" << seed << "\n" << out.story << "\n" << out.violation);
        REQUIRE(out.violation.empty());
        REQUIRE(out.ended);
        CHECK(out.contexts_left == 0);
        for (std::size_t r = 0; r < out.runs.size(); ++r) {
            if (out.runs[r].status == "completed") {
                ++completed;
                REQUIRE(out.runs[r].models == calm.runs[r].models);
            } else {
                REQUIRE_FALSE(out.runs[r].reason.empty());
            }
        }
    }
    if (only != nullptr) return;
    INFO("completed " << completed << " of " << 2 * last);
    CHECK(completed * 10 >= 2 * last * 9);
    for (const char* fault :
         {"broker restarted", "cut told to both sides", "cut told to the node",
          "cut told to the broker", "cut told to nobody", "partition", "pause", "garbage"}) {
        INFO(fault);
        CHECK(coverage[fault] > 0);
    }
}

TEST_CASE(
    "a member that is killed and stays away ends both runs by name, and nothing is left of them") {
    const Outcome out = train(3, Faults{}, [](World& world) {
        world.run_until([&world] { return world.elapsed() > std::chrono::milliseconds(60); },
                        std::chrono::seconds(1));
        world.kill(1, std::nullopt);
    });
    INFO(out.story);
    REQUIRE(out.ended);
    CHECK(out.violation.empty());
    CHECK(out.contexts_left == 0);
    for (const Training& run : out.runs) {
        CHECK(run.status == "failed");
        INFO(run.reason);
        CHECK(run.reason.find("member-1") != std::string::npos);
    }
}
