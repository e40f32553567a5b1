// Prediction of a million rows with three members, from tables in memory to predictions at the
// master: what `vflbus predict` does but for the reading of files.
//
// Five processes over tcp on loopback train once on a small table; every round is a prediction run
// of its own over the same members, whose tables were made before. It begins when the master opens
// the run and ends when it has the predictions, as the text of the file that it would write. All
// ids are common, and each party has them in an order of its own.

#include <algorithm>
#include <iostream>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "actors/master.hpp"
#include "actors/node/node.hpp"
#include "measure.hpp"
#include "party.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

constexpr int member_count = 3;
constexpr std::size_t feature_count = 10;
constexpr std::size_t training_rows = 2'000;

/// Ids of all customers, in an order of this party's own.
std::shared_ptr<const data::Table> make_rows(std::size_t rows, const std::string& party, int rank) {
    Rng rng = numbers_of(rank);
    std::vector<std::uint32_t> order(rows);
    std::iota(order.begin(), order.end(), 0U);
    for (std::size_t i = rows; i > 1; --i)
        std::swap(order[i - 1],
                  order[static_cast<std::size_t>(rng.uniform() * static_cast<double>(i))]);
    data::Ids ids;
    for (const std::uint32_t row : order) ids.push_back("customer-" + std::to_string(row));
    return made_table(party, rank, std::move(ids), feature_count, rng);
}

/// Both tables of a party, made once.
actors::TableSource make_source(std::size_t rows, const std::string& party, int rank) {
    const auto train = make_rows(training_rows, party, rank);
    const auto predict = make_rows(rows, party, rank);
    return [train,
            predict](const actors::TableAsk& ask) -> Result<std::shared_ptr<const data::Table>> {
        if (ask.kind == actors::TableKind::train) return train;
        if (ask.kind == actors::TableKind::predict) return predict;
        return nullptr;
    };
}

config::Config make_config() {
    config::Config config;
    config.run.world_size = member_count;
    config.model.task = vflbus::Task::logistic;
    return config;
}

/// Drives a run to its end, as a process of its own does: with a node that joins for it.
template <class Master>
void drive(const std::string& broker, const std::string& state_dir,
           Result<std::unique_ptr<Master>>& made) {
    if (!made) throw std::runtime_error(made.error().sentence);
    const auto node = made_node(broker, state_dir, "master", "master", -1);
    const bus::StopSignal never;
    const auto ending = node->drive(**made, never);
    if (!ending) throw std::runtime_error(ending.error().sentence);
    if (ending->code != Errc::ok) throw std::runtime_error(ending->sentence);
}

}  // namespace

int run_predict_master(const std::vector<std::string>& arguments) {
    if (arguments.size() != 3) throw std::runtime_error("predict-master BROKER STATE_DIR ROWS");
    const auto tables = make_source(std::stoul(arguments[2]), "master", -1);
    const auto env = actors::make_file_env();
    std::uint8_t runs = 1;
    const auto options_of = [&] {
        actors::MasterOptions options;
        options.run.bytes.fill(runs++);
        options.config = make_config();
        options.tables = tables;
        options.env = env.get();
        options.runs_dir = arguments[1] + "/runs";
        options.version = "bench";
        return options;
    };
    auto training = options_of();
    const RunId model = training.run;
    auto trained = actors::make_train_master(std::move(training));
    drive(arguments[0], arguments[1], trained);
    std::printf("ready\n");
    std::fflush(stdout);
    for (std::string verb; std::cin >> verb;) {
        const double begin = now_seconds();
        auto predicting = actors::make_predict_master(options_of(), {model, {}});
        drive(arguments[0], arguments[1], predicting);
        const double seconds = now_seconds() - begin;
        std::printf("done %.9f %llu %zu\n", seconds,
                    static_cast<unsigned long long>((*predicting)->rows()),
                    (*predicting)->csv().size());
        std::fflush(stdout);
    }
    return 0;
}

int run_predict_member(const std::vector<std::string>& arguments) {
    if (arguments.size() != 4)
        throw std::runtime_error("predict-member BROKER STATE_DIR ROWS RANK");
    const int rank = std::stoi(arguments[3]);
    const std::string name = config::member_name(static_cast<std::uint64_t>(rank));
    const auto tables = make_source(std::stoul(arguments[2]), name, rank);
    const auto node = made_node(arguments[0], arguments[1], name, "member", rank);
    const auto env = actors::make_file_env();
    actors::MemberOptions options;
    options.name = name;
    options.tables = tables;
    options.env = env.get();
    options.runs_dir = arguments[1] + "/runs";
    const bus::StopSignal never;
    const auto ending = node->serve(actors::make_member_app(std::move(options)), never, false);
    if (!ending) throw std::runtime_error(ending.error().sentence);
    throw std::runtime_error(ending->sentence);
}

void measure_predict(Report& report, const Settings& settings) {
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 2 : 9;
    const std::string rows = settings.quick ? "20000" : "1000000";
    report.section("Prediction",
                   rows + " rows x (" + std::to_string(member_count) + " members x " +
                       std::to_string(feature_count) +
                       " features), from tables in memory to predictions at the master; 5 "
                       "processes over tcp loopback");
    const ScratchDirectory scratch;
    Child broker(own_path(), {"role", "broker", "tcp://127.0.0.1:*"});
    const std::string endpoint = broker.hear();
    std::vector<Child> members;
    for (int rank = 0; rank < member_count; ++rank)
        members.push_back(Child(own_path(), {"role", "predict-member", endpoint, scratch.path(),
                                             rows, std::to_string(rank)}));
    Child master(own_path(), {"role", "predict-master", endpoint, scratch.path(), rows});
    master.hear(std::chrono::minutes(2));
    const auto cpu_of_all = [&] {
        double sum = broker.cpu_seconds() + master.cpu_seconds();
        for (const Child& member : members) sum += member.cpu_seconds();
        return sum;
    };
    std::vector<double> seconds;
    std::vector<double> rates;
    const double cpu_before = cpu_of_all();
    for (int round = 0; round < rounds; ++round) {
        master.say("go");
        std::istringstream answer(master.hear(std::chrono::minutes(2)));
        std::string done;
        double took = 0;
        std::size_t predicted = 0;
        answer >> done >> took >> predicted;
        if (done != "done" || std::to_string(predicted) != rows)
            throw std::runtime_error("a prediction of " + std::to_string(predicted) +
                                     " rows, not of " + rows);
        seconds.push_back(took);
        rates.push_back(static_cast<double>(predicted) / took);
    }
    const double cpu = (cpu_of_all() - cpu_before) / rounds;
    report.add(single("a prediction", "s", spread_of(seconds).median, {},
                      "processor time of all " + std::to_string(cpu) + " s"));
    report.add(single("rows", "/s", spread_of(rates).median, Bar{Bar::Kind::at_least, 1e6},
                      "best " + std::to_string(static_cast<long>(
                                    *std::max_element(rates.begin(), rates.end())))));
}

}  // namespace vflbus::bench
