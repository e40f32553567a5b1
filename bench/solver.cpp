// Training to convergence by the solver's halves, without a bus: what the arithmetic costs, against
// scikit-learn's L-BFGS on the joined table in the same run.

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "base/rng.hpp"
#include "measure.hpp"
#include "models/lbfgs_master.hpp"
#include "models/lbfgs_party.hpp"
#include "models/metrics.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

struct Table {
    std::size_t rows = 0;
    std::vector<std::size_t> columns;          ///< of each party
    std::vector<std::vector<double>> parties;  ///< row-major
    std::vector<double> labels;
};

/// Columns that share eight factors, scaled to variance 1, and labels by their logistic model.
Table make_table(std::size_t rows, const std::vector<std::size_t>& columns) {
    Table out{rows, columns, {}, std::vector<double>(rows)};
    std::size_t all = 0;
    for (const std::size_t count : columns) {
        out.parties.emplace_back(rows * count);
        all += count;
    }
    Rng rng(17);
    const auto normal = [&rng] {  // variance 1, of three uniforms
        return 2 * (rng.uniform() + rng.uniform() + rng.uniform() - 1.5);
    };
    std::vector<double> loads(8 * all);
    std::vector<double> weights(all);
    for (double& load : loads) load = normal() * std::sqrt(0.6 / 8);
    for (double& weight : weights) weight = 1.5 * normal() / std::sqrt(static_cast<double>(all));
    double factors[8];
    for (std::size_t i = 0; i < rows; ++i) {
        for (double& factor : factors) factor = normal();
        double z = 0;
        std::size_t j = 0;
        for (std::size_t p = 0; p < columns.size(); ++p)
            for (std::size_t c = 0; c < columns[p]; ++c, ++j) {
                double x = std::sqrt(0.4) * normal();
                for (std::size_t f = 0; f < 8; ++f) x += loads[8 * j + f] * factors[f];
                out.parties[p][i * columns[p] + c] = x;
                z += weights[j] * x;
            }
        out.labels[i] = rng.uniform() < 1 / (1 + std::exp(-z)) ? 1 : 0;
    }
    return out;
}

void write_joined(const Table& table, const std::string& path) {
    std::ofstream out(path, std::ios::binary);
    const auto put = [&out](const double* values, std::size_t count) {
        out.write(reinterpret_cast<const char*>(values),
                  static_cast<std::streamsize>(count * sizeof(double)));
    };
    put(table.labels.data(), table.rows);
    for (std::size_t i = 0; i < table.rows; ++i)
        for (std::size_t p = 0; p < table.parties.size(); ++p)
            put(table.parties[p].data() + i * table.columns[p], table.columns[p]);
    if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

struct Trained {
    double seconds = 0;  ///< of processor time, all parties in one thread
    std::uint64_t round_trips = 0;
    double auc = 0;
    models::LbfgsEnd end = models::LbfgsEnd::running;
};

template <class T>
T checked(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().sentence);
    return *std::move(result);
}
void checked(const Result<>& result) {
    if (!result) throw std::runtime_error(result.error().sentence);
}

double process_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// From tables in memory to a converged model; the tables are used up.
Trained train(Table&& table) {
    models::Labels labels{
        vflbus::Task::logistic,
        models::Matrix(models::ConstMatrixView{table.labels.data(), table.rows, 1}),
        0,
        {}};
    const double begin = process_seconds();
    auto master = checked(models::LbfgsMaster::create(
        checked(models::Objective::create(labels, true, {})), true, {}));
    std::vector<models::SolverColumns> columns;
    for (std::size_t p = 0; p < table.parties.size(); ++p)
        columns.push_back(models::SolverColumns::in_place(
            table.parties[p], table.rows, table.columns[p], master.column_options()));
    std::vector<models::LbfgsParty> parties;
    for (const auto& mine : columns) parties.emplace_back(mine, 1, 1);
    models::LbfgsAnswer answer;
    while (!master.done()) {
        master.begin_answers();
        for (auto& party : parties) {
            checked(party.answer(master.request().coefficients, master.request().residual, answer));
            checked(master.add(answer.scores, answer.scalars));
        }
        checked(master.advance());
    }
    Trained out;
    out.seconds = process_seconds() - begin;
    out.round_trips = master.iterations() + 1;
    out.end = master.end();
    out.auc = models::metrics_for(labels, master.predict_training_rows()).get("auc");
    return out;
}

/// scikit-learn beside us, one thread; null where there is none.
std::unique_ptr<Child> scikit_learn(const Table& table, const std::string& path) {
    ::setenv("OPENBLAS_NUM_THREADS", "1", 1);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    std::size_t columns = 0;
    for (const std::size_t count : table.columns) columns += count;
    write_joined(table, path);
    try {
        auto child = std::make_unique<Child>(
            "/usr/bin/python3",
            std::vector<std::string>{VFLBUS_BENCH_SOURCE "/solver.py", path,
                                     std::to_string(table.rows), std::to_string(columns)});
        if (child->hear() == "ready") return child;
    } catch (const std::exception&) {
    }
    std::printf("(python3-sklearn is not installed: no reference)\n");
    return nullptr;
}

}  // namespace

int run_solver(const std::vector<std::string>& arguments) {
    if (arguments.size() != 2) throw std::runtime_error("solver ROWS COLUMNS");
    const std::size_t rows = std::stoul(arguments[0]);
    Table table = make_table(rows, {std::stoul(arguments[1])});
    const Trained trained = train(std::move(table));
    std::printf("%.9f %llu %llu\n", trained.seconds,
                static_cast<unsigned long long>(trained.round_trips),
                static_cast<unsigned long long>(own_memory_bytes("VmHWM")));
    return 0;
}

void measure_solver(Report& report, const Settings& settings) {
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 1 : 5;
    const std::size_t rows = settings.quick ? 5'000 : 100'000;
    const std::vector<std::size_t> columns =
        settings.quick ? std::vector<std::size_t>{3, 30} : std::vector<std::size_t>{30, 300};
    report.section("Solver", std::to_string(rows) + " x (" + std::to_string(columns[0]) + " + " +
                                 std::to_string(columns[1]) +
                                 ") of correlated columns to convergence, both parties and the "
                                 "master in one thread, without a bus; against scikit-learn's "
                                 "L-BFGS on the joined table, one thread");
    const ScratchDirectory scratch;
    const Table table = make_table(rows, columns);
    const auto reference = scikit_learn(table, scratch.path() + "/joined.bin");
    std::vector<double> ours;
    std::vector<double> theirs;
    Trained trained;
    double their_iterations = 0;
    double their_auc = 0;
    for (int round = 0; round < rounds; ++round) {
        trained = train(Table(table));
        if (trained.end != models::LbfgsEnd::converged)
            throw std::runtime_error("the training did not converge");
        ours.push_back(trained.seconds);
        if (!reference) continue;
        double seconds = 0;
        reference->say("fit");
        std::istringstream answer(reference->hear(std::chrono::minutes(5)));
        answer >> seconds >> their_iterations >> their_auc;
        theirs.push_back(seconds);
    }
    const double median = spread_of(ours).median;
    report.add(single("training, processor time", "s", median, Bar{Bar::Kind::at_most, 3}));
    if (reference)
        report.add(paired("training, processor time", "s", ours, theirs,
                          Bar{Bar::Kind::at_most, 1.5}, "ours, scikit-learn's"));
    report.add(single(
        "round trips", "", static_cast<double>(trained.round_trips), {},
        reference
            ? "scikit-learn: " + std::to_string(static_cast<int>(their_iterations)) + " iterations"
            : ""));
    report.add(single("AUC", "", trained.auc, {},
                      reference ? "scikit-learn: " + std::to_string(their_auc) : ""));

    const std::string long_rows = settings.quick ? "20000" : "2000000";
    Child child(own_path(), {"role", "solver", long_rows, "10"});
    std::istringstream answer(child.hear(std::chrono::minutes(5)));
    double seconds = 0;
    double round_trips = 0;
    double memory = 0;
    answer >> seconds >> round_trips >> memory;
    report.add(single(long_rows + " x 10, processor time", "s", seconds,
                      Bar{Bar::Kind::at_most, 10},
                      std::to_string(static_cast<int>(round_trips)) + " round trips"));
    report.add(single(long_rows + " x 10, peak memory", "MB", memory / 1e6,
                      Bar{Bar::Kind::at_most, 500}, "master and its columns"));
}

}  // namespace vflbus::bench
