#pragma once
// Small parties with made-up tables, and a run of them on the harness.

#include <cmath>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "actors/arbiter.hpp"
#include "actors/env.hpp"
#include "actors/master.hpp"
#include "actors/member.hpp"
#include "actors/run/run_record.hpp"
#include "actors/training/linear/part.hpp"
#include "base/text.hpp"
#include "harness.hpp"

namespace vflbus::actors::test {

using TablePtr = std::shared_ptr<const data::Table>;

/// Another solver, without any key that has no meaning with it.
inline void use_solver(config::ModelConfig& model, config::Solver solver) {
    const config::ModelConfig defaults;
    model.solver = solver;
    model.sequential = solver == config::Solver::sequential;
    model.optimizer =
        solver == config::Solver::adam ? config::Optimizer::adam : config::Optimizer::sgd;
    if (solver != config::Solver::sgd) model.momentum = 0;
    if (model.sequential || solver == config::Solver::lbfgs) model.weight_decay = 0;
    if (solver != config::Solver::lbfgs) return;
    model.epochs = defaults.epochs;
    model.batch_size = defaults.batch_size;
    model.learning_rate = defaults.learning_rate;
}

/// A small network with everything that draws by chance or remembers.
inline void use_network(config::ModelConfig& model, config::ModelName name) {
    model.name = name;
    model.solver = config::Solver::adamw;
    model.momentum = 0;
    model.learning_rate = 0.02;
    model.bottom = "8-5";
    model.top = "6";
    model.norm = config::NormName::batch;
    model.dropout = 0.1;
    model.noise = 0.02;
    model.schedule = config::Schedule::cosine;
    model.eval_batch_size = 40;
}

/// A judge that lets everything in.
struct LetsAllIn : policy::Judge {
    Result<> admit_owner(const policy::Owner&, const RunId&) override { return {}; }
    Result<> admit(const policy::Request&) override { return {}; }
    Result<> columns(const RunId&, const std::string&, std::span<const std::string>,
                     std::uint64_t) override {
        return {};
    }
    Result<> rows(const RunId&, std::uint64_t) override { return {}; }
    Result<> psi_list(const RunId&, std::uint64_t) override { return {}; }
    Result<> batch(const RunId&, std::uint64_t) override { return {}; }
    Result<> model(const RunId&, const RunId&) override { return {}; }
    void ended(const RunId&, const policy::Served&) override {}
};

/// n people; party p holds `features` columns x_p_j about them, the master labels from a linear
/// signal over all columns.
struct World {
    vflbus::Task task = vflbus::Task::logistic;
    std::size_t members = 2;
    std::size_t rows = 300;
    std::size_t features = 3;
    bool master_features = true;
    std::uint64_t seed = 7;
    bool messy = false;  ///< members: missing cells, a text column and a constant one
    config::Solver solver = config::Solver::sgd;
    std::uint64_t folds = 0;
    config::ModelName name = config::ModelName::linear;
    bool early = false;   ///< it stops early
    bool shared = false;  ///< member 0 has the columns of the master

    [[nodiscard]] double value(std::size_t row, std::size_t party, std::size_t column) const {
        if (shared && party == 1) party = 0;
        Rng rng(mix_seed(mix_seed(seed, row), party * 100 + column + 1));
        return rng.uniform() * 4 - 2 + static_cast<double>(column);
    }
    [[nodiscard]] double noise(std::size_t row, std::size_t output) const {
        const double most = shared ? 6 : 0.8;
        return (Rng(mix_seed(mix_seed(seed, row), 9999 + output)).uniform() - 0.5) * most;
    }
    [[nodiscard]] double signal(std::size_t row, std::size_t output) const {
        double z = noise(row, output);
        for (std::size_t p = 0; p <= members; ++p)
            for (std::size_t j = 0; j < features; ++j)
                z += (value(row, p, j) - static_cast<double>(j)) *
                     std::cos(static_cast<double>(p * 7 + j * 3 + output * 5));
        return z;
    }
    [[nodiscard]] std::size_t label_columns() const {
        return task == vflbus::Task::multilabel ? 3 : 1;
    }
    [[nodiscard]] double label(std::size_t row, std::size_t column) const {
        if (task == vflbus::Task::linear) return signal(row, 0);
        if (task != vflbus::Task::softmax) return signal(row, column) > 0 ? 1 : 0;
        std::size_t best = 0;
        for (std::size_t c = 1; c < 3; ++c)
            if (signal(row, c) > signal(row, best)) best = c;
        return static_cast<double>(best);
    }

    /// Party 0 is the master. `order`: which people, in which order.
    [[nodiscard]] data::Table table(std::size_t party,
                                    const std::vector<std::size_t>& order) const {
        data::Table out;
        out.path = "table-" + std::to_string(party) + ".csv";
        for (const std::size_t row : order) out.ids.push_back("u" + std::to_string(row));
        if (party == 0)
            for (std::size_t c = 0; c < label_columns(); ++c) {
                data::Column column;
                column.name = "y" + std::to_string(c);
                for (const std::size_t row : order) column.numbers.push_back(label(row, c));
                out.labels.push_back(std::move(column));
            }
        if (party != 0 || master_features)
            for (std::size_t j = 0; j < features; ++j) {
                data::Column column;
                column.name = "x" + std::to_string(party) + "_" + std::to_string(j);
                for (const std::size_t row : order) column.numbers.push_back(value(row, party, j));
                if (messy && party != 0 && j == 0)
                    for (std::size_t r = 0; r < order.size(); ++r)
                        if (order[r] % 11 == 0) column.numbers[r] = std::nan("");
                out.features.push_back(std::move(column));
            }
        if (name == config::ModelName::efficientnet) out.image = {features, 1, 1};
        if (messy && party != 0) {
            data::Column text;
            text.name = "region, of " + std::to_string(party);
            text.kind = data::ColumnKind::text;
            text.dictionary = {"east", "north", "west"};
            data::Column constant;
            constant.name = "constant";
            for (const std::size_t row : order) {
                text.codes.push_back(row % 13 == 0 ? data::missing_code
                                                   : static_cast<std::uint32_t>(row % 3));
                constant.numbers.push_back(4);
            }
            out.features.push_back(std::move(text));
            out.features.push_back(std::move(constant));
        }
        return out;
    }

    /// Row order of a party: shuffled, without every (party + 7)-th person.
    [[nodiscard]] std::vector<std::size_t> order(std::size_t party, std::uint64_t shuffle) const {
        std::vector<std::size_t> out;
        for (std::size_t row = 0; row < rows; ++row)
            if (row % (party + 7) != 3) out.push_back(row);
        Rng rng(mix_seed(shuffle, party));
        for (std::size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[rng.below(i)]);
        return out;
    }

    [[nodiscard]] config::Config config() const {
        config::Config out;
        out.run.seed = 5;
        out.run.world_size = members;
        out.model.task = task;
        out.model.epochs = 4;
        out.model.batch_size = 32;
        out.model.learning_rate = task == vflbus::Task::linear ? 0.05 : 0.3;
        out.model.momentum = 0.5;
        out.model.weight_decay = 0.001;
        out.data.test_fraction = 0.2;
        out.data.folds = folds;
        out.data.stratify = false;  // so that tests can tell test rows by their ids
        out.bus.rendezvous_timeout = 60;
        out.bus.recv_timeout = 30;
        out.bus.rejoin_grace = 20;
        out.bus.commit_interval = 0;
        use_solver(out.model, solver);
        if (name != config::ModelName::linear) use_network(out.model, name);
        if (early) out.model.early_stopping = "loss";
        if (early) out.model.patience = 2;
        return out;
    }
};

/// Everything around one run; tests change what they like before `play`.
struct Play {
    explicit Play(const World& of, std::uint64_t shuffle = 1)
        : world(of), config(of.config()), member_config(of.members) {
        tables.resize(world.members + 1);
        for (std::size_t p = 0; p <= world.members; ++p)
            tables[p][TableKind::train] =
                std::make_shared<data::Table>(world.table(p, world.order(p, shuffle)));
        run.bytes[0] = 0xab;
    }

    static std::string name(std::size_t party) {
        return party == 0 ? "master" : config::member_name(party - 1);
    }
    TableSource source(std::size_t party) {
        return [this, party](TableKind kind) -> Result<TablePtr> {
            if (const auto failure = failures.find(party); failure != failures.end())
                return tl::unexpected(failure->second);
            const auto found = tables[party].find(kind);
            return found == tables[party].end() ? TablePtr{} : found->second;
        };
    }
    MasterOptions master_options() {
        MasterOptions options;
        options.run = run;
        options.config = config;
        options.tables = source(0);
        options.env = &env;
        options.runs_dir = "runs";
        options.version = "0.1.0";
        options.log = [this](observe::log::Level, const RunId&, const std::string& text) {
            log.push_back(text);
        };
        options.observers.push_back(std::make_shared<Watcher>(*this));
        return options;
    }
    ClientApp member(std::size_t rank) {
        MemberOptions options;
        options.name = config::member_name(rank);
        options.config = member_config[rank];
        options.tables = source(rank + 1);
        options.env = &env;
        options.judge = judge;
        options.runs_dir = "runs";
        options.log = [this](observe::log::Level, const RunId&, const std::string& text) {
            member_log.push_back(text);
        };
        return make_member_app(std::move(options));
    }
    ClientApp arbiter() {
        ArbiterOptions options;
        options.log = [this](observe::log::Level, const RunId&, const std::string& text) {
            member_log.push_back(text);
        };
        return make_arbiter_app(std::move(options));
    }
    /// Without running it.
    Harness& set(std::unique_ptr<Run> app) {
        master = std::move(app);
        harness = std::make_unique<Harness>(*master, harness_seed);
        for (std::size_t rank = 0; rank < world.members; ++rank)
            if (!absent[rank]) harness->serve(rank, member(rank));
        if (master->spec().participants.size() > world.members)
            harness->serve(world.members, arbiter());
        return *harness;
    }
    Harness& set() {
        auto made = make_train_master(master_options());
        if (!made) throw std::runtime_error(made.error().sentence);
        return set(std::move(*made));
    }
    /// A prediction with the model of run `model`, to out.csv.
    Harness& set_prediction(const RunId& model) {
        PredictOptions options;
        options.model = model;
        options.out = "out.csv";
        auto made = make_predict_master(master_options(), options);
        if (!made) throw std::runtime_error(made.error().sentence);
        return set(std::move(*made));
    }
    /// The master dies and comes back with --resume.
    void resume_master() {
        auto options = master_options();
        options.resume = true;
        master.reset();
        auto made = make_train_master(std::move(options));
        if (!made) throw std::runtime_error(made.error().sentence);
        master = std::move(*made);
        harness->replace(*master);
    }
    [[nodiscard]] RunRecord record() { return read_run_record(env, "runs", run).value(); }
    void restart_arbiter() { harness->restart(world.members, arbiter()); }
    void restart_member(std::size_t rank) { harness->restart(rank, member(rank)); }
    /// Files of one party's state directory, by name.
    [[nodiscard]] std::vector<std::string> state(std::size_t party) {
        return env.list("runs/" + run.hex() + "/" + name(party) + "/state").value();
    }
    std::string& state_file(std::size_t party, const std::string& file) {
        return env.files.at("runs/" + run.hex() + "/" + name(party) + "/state/" + file);
    }

    Ending play() { return (harness ? *harness : set()).run(); }

    [[nodiscard]] std::string file(std::size_t party) const {
        const auto found = env.files.find("runs/" + run.hex() + "/" + name(party) + "/model.json");
        return found == env.files.end() ? "" : found->second;
    }
    /// Of all parties.
    [[nodiscard]] std::vector<std::string> files() const {
        std::vector<std::string> all;
        for (std::size_t p = 0; p <= world.members; ++p) all.push_back(file(p));
        return all;
    }
    /// What the folds of a cross-validation predict.
    [[nodiscard]] std::string out_of_fold() const {
        const auto found = env.files.find("runs/" + run.hex() + "/master/out_of_fold.csv");
        return found == env.files.end() ? "" : found->second;
    }
    /// The rows that the model is judged by.
    [[nodiscard]] std::string evaluation() const {
        const auto found = env.files.find("runs/" + run.hex() + "/master/evaluation.npy");
        return found == env.files.end() ? "" : found->second;
    }
    [[nodiscard]] ModelPart part(std::size_t party) const {
        auto part = parse_model_part(file(party), name(party));
        if (!part) throw std::runtime_error(part.error().sentence);
        return *part;
    }
    [[nodiscard]] double metric(const observe::Metrics& metrics, std::string_view which) const {
        for (const auto& [key, value] : metrics)
            if (key == which) return value;
        return std::nan("");
    }

    /// Notes what an observer is told.
    struct Watcher final : RunObserver {
        explicit Watcher(Play& of) : play(&of) {}
        void on_phase(Phase phase, TimePoint) override { play->phases.push_back(phase); }
        void on_job(const observe::JobState& state, TimePoint) override {
            play->jobs.push_back(state);
        }
        void on_step(const observe::ProgressState& state, TimePoint) override {
            play->progress.push_back(state);
        }
        void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry&,
                        TimePoint) override {
            play->progress.push_back(state);
        }
        void on_end(const observe::RunReport& report, const Failure& outcome) override {
            play->ends.emplace_back(report.status, outcome.code);
        }
        Play* play;
    };

    World world;
    config::Config config;
    std::vector<config::Config> member_config;
    std::vector<std::map<TableKind, TablePtr>> tables;
    std::map<std::size_t, Failure> failures;
    std::map<std::size_t, bool> absent;
    std::uint64_t harness_seed = 1;
    RunId run;
    MemoryEnv env;
    policy::Judge* judge = nullptr;  ///< of all members
    std::vector<std::string> log;
    std::vector<std::string> member_log;  ///< of all members
    std::vector<observe::ProgressState> progress;
    std::vector<observe::JobState> jobs;
    std::vector<Phase> phases;
    std::vector<std::pair<std::string, Errc>> ends;
    std::unique_ptr<Run> master;
    std::unique_ptr<Harness> harness;
};

}  // namespace vflbus::actors::test
