// A training step over the bus against its lower bound.
//
// Ours: the master and the member app of src/actors with a broker between them, five processes, on
// generated tables; a round begins and ends in the master's progress callback. Reference: what as
// many processes need to scatter as many bytes through the relay and gather the answers, plus
// Eigen's time for the bare arithmetic.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "actors/master.hpp"
#include "actors/messages.hpp"
#include "actors/node/node.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"
#include "measure.hpp"
#include "party.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

constexpr std::size_t batch_rows = 256;

/// What is trained.
struct Job {
    std::string name;
    int members;
    std::size_t features;  ///< of each member
    std::size_t records;
    std::size_t numbers;  ///< of a record that a member sends in a step, and gets
    config::Protocol protocol = config::Protocol::honest;
};
const Job logistic_job{"logistic", 3, 30, 30'000, 1};
const Job network_job{"network", 2, 392, 5'000, 64};

/// One member, so that a step is what the protocol makes of it and no waiting for several.
const Job protocol_jobs[] = {
    {"honest", 1, 30, 30'000, 1, config::Protocol::honest},
    {"masked", 1, 30, 30'000, 1, config::Protocol::masked},
    {"encrypted", 1, 30, 30'000, 1, config::Protocol::encrypted},
};

const Job& job_named(const std::string& name) {
    for (const Job& job : protocol_jobs)
        if (name == job.name) return job;
    return name == network_job.name ? network_job : logistic_job;
}

/// Ids p0, p1, ... in one order for all.
std::shared_ptr<const data::Table> make_table(const Job& job, const std::string& party, int rank) {
    data::Ids ids;
    for (std::size_t row = 0; row < job.records; ++row) ids.push_back("p" + std::to_string(row));
    Rng rng = numbers_of(rank);
    return made_table(party, rank, std::move(ids), job.features, rng);
}

actors::TableSource make_tables(const Job& job, const std::string& party, int rank) {
    return
        [&job, party, rank](actors::TableKind kind) -> Result<std::shared_ptr<const data::Table>> {
            if (kind != actors::TableKind::train) return nullptr;
            return make_table(job, party, rank);
        };
}

config::Config make_config(const Job& job) {
    config::Config config;
    config.run.world_size = static_cast<std::uint64_t>(job.members);
    config.model.task = vflbus::Task::logistic;
    config.model.solver = config::Solver::sgd;
    config.model.epochs = 10'000;  // more than anybody waits for
    config.run.protocol = job.protocol;
    config.model.batch_size = batch_rows;
    config.model.learning_rate = 0.05;
    if (&job != &network_job) return config;
    config.model.name = config::ModelName::mlp;
    config.model.solver = config::Solver::adamw;
    config.model.learning_rate = 0.001;
    config.model.dropout = 0;
    return config;
}

std::size_t residual_bytes(const Job& job) {
    return actors::encode_step(1000, models::Matrix(batch_rows, job.numbers)).size();
}
std::size_t scores_bytes(const Job& job) {
    return actors::encode_scores(models::Matrix(batch_rows, job.numbers)).size();
}

double answer_seconds(Child& child) {
    std::istringstream answer(child.hear());
    std::string done;
    double seconds = 0;
    answer >> done >> seconds;
    return seconds;
}

/// A router with a scatterer and members that answer.
class Scatter {
  public:
    Scatter(const Job& job, bool broker)
        : job_(&job),
          router_(broker ? Child(own_path(), {"role", "broker", "tcp://127.0.0.1:*"})
                         : Child(neighbor("vflbus-relay"), {"tcp://127.0.0.1:*"})) {
        const std::string endpoint = router_.hear();
        for (int slot = 1; slot <= job.members + 1; ++slot)
            peers_.push_back(
                Child(own_path(), {"role", "peer", broker ? "broker" : "relay", endpoint,
                                   std::to_string(slot), std::to_string(job.members + 1)}));
        for (Child& peer : peers_) peer.hear();
    }
    /// Processor time of all its processes so far.
    [[nodiscard]] double cpu_seconds() const {
        double sum = router_.cpu_seconds();
        for (const Child& peer : peers_) sum += peer.cpu_seconds();
        return sum;
    }
    /// Seconds per scatter and gather.
    double run(int steps) {
        for (std::size_t i = 1; i < peers_.size(); ++i)
            peers_[i].say("serve " + std::to_string(scores_bytes(*job_)));
        peers_[0].say("scatter " + std::to_string(steps) + " " +
                      std::to_string(residual_bytes(*job_)));
        const double seconds = answer_seconds(peers_[0]);
        for (std::size_t i = 1; i < peers_.size(); ++i) peers_[i].hear();
        return seconds / steps;
    }

  private:
    const Job* job_;
    Child router_;
    std::vector<Child> peers_;
};

}  // namespace

/// Between two steps: waits for `steps N`; the node's keeper looks after the link meanwhile.
class Rounds final : public actors::RunObserver {
  public:
    void on_step(const observe::ProgressState&, TimePoint) override {
        if (--left_ > 0) return;
        if (begun_)
            std::printf("done %.9f\n", now_seconds() - begin_);
        else
            std::printf("ready\n");
        begun_ = true;
        std::fflush(stdout);
        std::string verb;
        if (!(std::cin >> verb >> left_)) std::_Exit(0);
        begin_ = now_seconds();
    }

  private:
    bool begun_ = false;
    int left_ = 0;
    double begin_ = 0;
};

int run_step_master(const std::vector<std::string>& arguments) {
    if (arguments.size() != 4) throw std::runtime_error("master BROKER STATE_DIR CERTIFICATES JOB");
    const Job& job = job_named(arguments[3]);
    const auto node = made_node(arguments[0], arguments[1], "master", "master", -1, arguments[2]);
    const auto env = actors::make_file_env();
    actors::MasterOptions options;
    options.run.bytes.fill(9);
    options.config = make_config(job);
    options.tables = make_tables(job, "master", -1);
    options.env = env.get();
    options.runs_dir = arguments[1] + "/runs";
    options.version = "bench";
    options.observers.push_back(std::make_shared<Rounds>());
    auto app = actors::make_train_master(std::move(options));
    if (!app) throw std::runtime_error(app.error().sentence);
    const bus::StopSignal never;
    const auto ending = node->drive(**app, never);
    if (!ending) throw std::runtime_error(ending.error().sentence);
    throw std::runtime_error(ending->sentence);  // it was to train until it is killed
}

int run_step_member(const std::vector<std::string>& arguments) {
    if (arguments.size() != 5)
        throw std::runtime_error("member BROKER STATE_DIR CERTIFICATES RANK JOB");
    const int rank = std::stoi(arguments[3]);
    const std::string name = config::member_name(static_cast<std::uint64_t>(rank));
    const auto node = made_node(arguments[0], arguments[1], name, "member", rank, arguments[2]);
    const auto env = actors::make_file_env();
    actors::MemberOptions options;
    options.name = name;
    options.tables = make_tables(job_named(arguments[4]), name, rank);
    options.env = env.get();
    options.runs_dir = arguments[1] + "/runs";
    const bus::StopSignal never;
    const auto ending = node->serve(actors::make_member_app(std::move(options)), never, true);
    if (!ending) throw std::runtime_error(ending.error().sentence);
    throw std::runtime_error(ending->sentence);
}

bus::KeySource keys_of(const std::string& text) {
    bus::KeySource keys;
    const bool sealed = !text.starts_with(unsealed);
    keys.directory = sealed ? text : text.substr(unsealed.size());
    if (!sealed) keys.seal = bus::SealMode::off;
    return keys;
}

std::string make_keys(const std::string& directory,
                      const std::vector<std::pair<std::string, std::string>>& parties) {
    const bus::Seconds expires = bus::wall_seconds() + bus::key_lifetime_s;
    const auto made = [&](const std::string& name) {
        auto key = bus::make_key_files(directory, name, expires);
        if (!key) throw std::runtime_error(key.error().sentence);
        return *key;
    };
    (void)made("broker");
    const auto allow = [&](const std::string& name, const std::string& role) {
        bus::Allowed entry;
        entry.name = name;
        entry.key = made(name).pair.public_key;
        entry.roles = {role};
        entry.expires = expires;
        const auto changed = bus::change_allow_list(directory, [&](const std::string& text) {
            return Result<std::string>(bus::with_line(text, bus::line_of(entry)));
        });
        if (!changed) throw std::runtime_error(changed.error().sentence);
    };
    for (const auto& [name, role] : parties) allow(name, role);
    return directory;
}

/// Connects again and again without a word, with 500 connections open at a time.
class Flood {
  public:
    explicit Flood(const std::string& endpoint) {
        to_.sin_family = AF_INET;
        to_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to_.sin_port =
            htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
        thread_ = std::thread([this] { run(); });
    }
    ~Flood() {
        ending_ = true;
        thread_.join();
    }
    Flood(const Flood&) = delete;
    Flood& operator=(const Flood&) = delete;
    [[nodiscard]] std::uint64_t connections() const { return connections_; }

  private:
    static constexpr std::size_t open_at_once = 500;
    void run() {
        std::vector<int> open(open_at_once, -1);
        for (std::size_t i = 0; !ending_; i = (i + 1) % open.size()) {
            if (open[i] >= 0) ::close(open[i]);
            open[i] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            const linger at_once{1, 0};  // no port stays behind
            (void)::setsockopt(open[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            if (::connect(open[i], reinterpret_cast<const sockaddr*>(&to_), sizeof to_) == 0)
                ++connections_;
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        for (const int fd : open)
            if (fd >= 0) ::close(fd);
    }

    sockaddr_in to_{};
    std::atomic<bool> ending_{false};
    std::atomic<std::uint64_t> connections_{0};
    std::thread thread_;
};

/// What trains: broker, master, members.
class Training {
  public:
    enum class Keys { none, curve, sealed };
    explicit Training(const Job& job, Keys keys = Keys::none)
        : keys_(keys == Keys::none ? std::string() : made_keys(scratch_.path() + "/keys", keys)),
          broker_(own_path(), keys == Keys::none
                                  ? std::vector<std::string>{"role", "broker", "tcp://127.0.0.1:*"}
                                  : std::vector<std::string>{"role", "broker", "tcp://127.0.0.1:*",
                                                             keys_of(keys_).directory}),
          endpoint_(broker_.hear()),
          master_(own_path(), {"role", "master", endpoint_, scratch_.path(), keys_, job.name}) {
        for (int rank = 0; rank < job.members; ++rank)
            members_.push_back(Child(own_path(), {"role", "member", endpoint_, scratch_.path(),
                                                  keys_, std::to_string(rank), job.name}));
        master_.hear();
    }
    /// Seconds per step.
    double run(int steps) {
        master_.say("steps " + std::to_string(steps));
        return answer_seconds(master_) / steps;
    }
    [[nodiscard]] double cpu_seconds() const {
        double sum = broker_.cpu_seconds() + master_.cpu_seconds();
        for (const Child& member : members_) sum += member.cpu_seconds();
        return sum;
    }
    [[nodiscard]] const Child& member() const noexcept { return members_.front(); }
    [[nodiscard]] const Child& broker() const noexcept { return broker_; }
    [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] const std::string& keys() const noexcept { return keys_; }

  private:
    static std::string made_keys(const std::string& directory, Keys keys) {
        std::vector<std::pair<std::string, std::string>> parties{{"master", "master"}};
        for (std::uint64_t rank = 0; rank < static_cast<std::uint64_t>(logistic_job.members);
             ++rank)
            parties.emplace_back(config::member_name(rank), "member");
        for (const auto& [name, role] :
             {std::pair("rival", "node"), std::pair("owner", "master"), std::pair("other", "node")})
            parties.emplace_back(name, role);
        const std::string made = make_keys(directory, parties);
        return keys == Keys::curve ? std::string(unsealed) + made : made;
    }

    ScratchDirectory scratch_;
    std::string keys_;
    Child broker_;
    std::string endpoint_;
    Child master_;
    std::vector<Child> members_;
};

/// A peer with an allowed key that means no good, while it lives.
class Attack {
  public:
    /// `body_bytes`: of kind `bodies`, which takes two processes with a link of ours.
    Attack(const std::string& endpoint, const std::string& keys, const std::string& kind,
           std::size_t body_bytes) {
        if (kind != "bodies") {
            peers_.emplace_back(own_path(),
                                std::vector<std::string>{"role", "attacker", endpoint, keys, kind});
        } else {
            for (const char* who : {"owner", "other"})
                peers_.emplace_back(
                    own_path(), std::vector<std::string>{"role", "sharer", endpoint, who, keys});
        }
        for (Child& peer : peers_) (void)peer.hear();
        if (kind == "bodies")
            for (int i = 0; i < 100; ++i) peers_[0].say("bulk " + std::to_string(body_bytes));
    }

  private:
    std::vector<Child> peers_;
};

/// How much is measured. Which processes share a core changes all figures by a factor and lasts:
/// many short rounds, and new processes now and then.
struct Extent {
    int placements;
    int rounds;
    int steps;
};

Extent extent_of(const Settings& settings) {
    Extent extent = settings.quick ? Extent{1, 3, 30} : Extent{5, 30, 60};
    if (settings.rounds > 0) extent.rounds = settings.rounds;
    return extent;
}

void measure_step(Report& report, const Settings& settings) {
    const auto [placements, rounds, steps] = extent_of(settings);
    report.section("One logistic step",
                   "batch 256, 3 members x 30 features, 5 processes over tcp loopback, against the "
                   "relay's scatter and gather with as many + the bare arithmetic alone");
    std::vector<double> ours;
    std::vector<double> bound;
    std::vector<double> ours_cpu;
    std::vector<double> bound_cpu;
    std::vector<double> through_relay;
    std::vector<double> through_broker;
    std::vector<double> arithmetic;
    double table = 0;
    double member = 0;
    for (int placement = 0; placement < placements; ++placement) {
        Training training(logistic_job);
        Scatter relay(logistic_job, false);
        Scatter raw(logistic_job, true);
        for (int round = -1; round < rounds; ++round) {
            double cpu = training.cpu_seconds();
            const double step = training.run(steps);
            const double step_cpu = (training.cpu_seconds() - cpu) / steps;
            cpu = relay.cpu_seconds();
            const double scatter = relay.run(steps);
            const double scatter_cpu = (relay.cpu_seconds() - cpu) / steps;
            const double bare = bare_arithmetic(steps, logistic_job.members, batch_rows,
                                                static_cast<int>(logistic_job.features));
            const double routed = raw.run(steps);
            if (round < 0) continue;
            ours.push_back(1e6 * step);
            bound.push_back(1e6 * (scatter + bare));
            ours_cpu.push_back(1e6 * step_cpu);
            bound_cpu.push_back(1e6 * (scatter_cpu + bare));
            through_relay.push_back(1e6 * scatter);
            through_broker.push_back(1e6 * routed);
            arithmetic.push_back(1e6 * bare);
        }
        table = static_cast<double>(logistic_job.records * logistic_job.features * sizeof(double));
        member = static_cast<double>(training.member().memory_bytes("VmHWM"));
    }
    report.add(paired("step", "us", ours, bound, Bar{Bar::Kind::at_most, 1.5}));
    report.add(paired("step, CPU of all processes", "us", ours_cpu, bound_cpu));
    report.add(paired("scatter and gather, raw peers", "us", through_broker, through_relay, {},
                      "broker, relay"));
    report.add(single("bare arithmetic (Eigen)", "us", spread_of(arithmetic).median));
    report.add(single("member, peak beyond its numbers", "MB", (member - table) / 1e6,
                      Bar{Bar::Kind::at_most, 40}, "30,000 rows x 30: 7.2 MB"));
}

void measure_split(Report& report, const Settings& settings) {
    const auto [placements, rounds, steps] = extent_of(settings);
    report.section("One step of a split network",
                   "batch 256, 2 members x 392 features, 128-64 each and 64-1 on top, 4 processes "
                   "over tcp loopback, against the relay's scatter and gather with as many + the "
                   "same arithmetic in one process with Eigen");
    std::vector<double> ours;
    std::vector<double> bound;
    std::vector<double> through_relay;
    std::vector<double> arithmetic;
    for (int placement = 0; placement < placements; ++placement) {
        Training training(network_job);
        Scatter relay(network_job, false);
        for (int round = -1; round < rounds; ++round) {
            const double step = training.run(steps);
            const double scatter = relay.run(steps);
            const double bare = bare_network(steps, network_job.members, batch_rows,
                                             static_cast<int>(network_job.features));
            if (round < 0) continue;
            ours.push_back(1e6 * step);
            bound.push_back(1e6 * (scatter + bare));
            through_relay.push_back(1e6 * scatter);
            arithmetic.push_back(1e6 * bare);
        }
    }
    report.add(paired("step", "us", ours, bound, Bar{Bar::Kind::at_most, 1.5}));
    report.add(
        single("scatter and gather through the relay", "us", spread_of(through_relay).median));
    report.add(single("the same arithmetic (Eigen)", "us", spread_of(arithmetic).median));
}

void measure_protocols(Report& report, const Settings& settings, Training::Keys keys,
                       const std::string& with) {
    const auto [placements, rounds, steps] = extent_of(settings);
    std::vector<double> us[3];
    std::vector<double> cpu_us[3];
    for (int placement = 0; placement < placements; ++placement) {
        std::vector<std::unique_ptr<Training>> trainings;
        for (const Job& job : protocol_jobs)
            trainings.push_back(std::make_unique<Training>(job, keys));
        for (int round = -1; round < rounds; ++round)
            for (std::size_t p = 0; p < trainings.size(); ++p) {
                const double cpu = trainings[p]->cpu_seconds();
                const double step = 1e6 * trainings[p]->run(steps);
                if (round < 0) continue;
                us[p].push_back(step);
                cpu_us[p].push_back(1e6 * (trainings[p]->cpu_seconds() - cpu) / steps);
            }
    }
    report.add(paired("step, masked" + with, "us", us[1], us[0], Bar{Bar::Kind::at_most, 1.2},
                      "masked, honest"));
    report.add(paired("step, encrypted" + with, "us", us[2], us[0], Bar{Bar::Kind::at_most, 4},
                      "encrypted, honest"));
    report.add(paired("step, encrypted" + with + ", CPU of all processes", "us", cpu_us[2],
                      cpu_us[0], {}, "encrypted, honest"));
}

void measure_protocols(Report& report, const Settings& settings) {
    report.section("Protocols",
                   "one logistic step, batch 256, 1 member x 30 features, 3 processes over tcp "
                   "loopback: under each protocol against honest, in turns, in the clear and with "
                   "keys and sealing");
    measure_protocols(report, settings, Training::Keys::none, "");
    measure_protocols(report, settings, Training::Keys::sealed, ", keys and sealing");
}

/// A training beside peers that have an allowed key and mean no good.
void measure_hostile_peers(Report& report, const Settings& settings) {
    struct Row {
        const char* kind;
        const char* title;
        const char* remark;
    };
    constexpr Row rows[] = {
        {"garbage", "step beside 1,000,000 frames of garbage", "cut, and held off"},
        {"deaf", "step beside a peer that never reads", "asks as fast as it can"},
        {"bodies", "step beside a peer that sends bodies of 1 GB", "one after another"},
        {"questions", "step beside 1,000 questions a second", "64 a second are answered"},
    };
    const auto [placements, rounds, steps] = extent_of(settings);
    double memory = 0;
    for (const Row& row : rows) {
        std::vector<double> attacked;
        std::vector<double> alone;
        for (int placement = 0; placement < std::min(2, placements); ++placement) {
            Training training(logistic_job, Training::Keys::sealed);
            (void)training.run(steps);
            for (int round = 0; round < std::max(1, rounds / 10); ++round) {
                {
                    const Attack attack(training.endpoint(), training.keys(), row.kind,
                                        settings.quick ? 20'000'000 : 1'000'000'000);
                    attacked.push_back(1e6 * training.run(10 * steps));
                }
                alone.push_back(1e6 * training.run(10 * steps));
            }
            memory = std::max(memory, static_cast<double>(training.broker().memory_bytes("VmHWM")));
        }
        report.add(
            paired(row.title, "us", attacked, alone, Bar{Bar::Kind::at_most, 3}, row.remark));
    }
    report.add(single("broker beside these, most memory", "MB", memory / 1e6,
                      Bar{Bar::Kind::at_most, 256}, ""));
}

/// From the moment in which a key is taken from the list until its session has heard that it is
/// over, beside a training.
double revocation_seconds() {
    Training training(logistic_job, Training::Keys::sealed);
    Child revoked(own_path(),
                  {"role", "attacker", training.endpoint(), training.keys(), "revoked"});
    if (revoked.hear() != "ready" || revoked.hear() != "welcome")
        throw std::runtime_error("a key that is allowed is not welcomed");
    const double begin = now_seconds();
    const auto changed = bus::change_allow_list(
        keys_of(training.keys()).directory, [](const std::string& text) -> Result<std::string> {
            const std::size_t from = text.find("rival ");
            return text.substr(0, from) + text.substr(text.find('\n', from) + 1);
        });
    if (!changed) throw std::runtime_error(changed.error().sentence);
    std::istringstream answer(revoked.hear());
    std::string over;
    double end = 0;
    if (!(answer >> over >> end)) throw std::runtime_error("a revoked key is heard on");
    return end - begin;
}

void measure_security(Report& report, const Settings& settings) {
    const auto [placements, rounds, steps] = extent_of(settings);
    report.section("Keys and sealing",
                   "one logistic step, batch 256, 3 members x 30 features, 5 processes over tcp "
                   "loopback: with CURVE and sealing, with CURVE alone, in the clear");
    std::vector<double> sealed;
    std::vector<double> keyed;
    std::vector<double> clear;
    std::vector<double> sealed_cpu;
    std::vector<double> keyed_cpu;
    std::vector<double> clear_cpu;
    std::vector<double> flooded;
    std::vector<double> beside;
    double memory = 0;
    std::uint64_t connections = 0;
    for (int placement = 0; placement < placements; ++placement) {
        Training with_seal(logistic_job, Training::Keys::sealed);
        Training with_curve(logistic_job, Training::Keys::curve);
        Training plain(logistic_job);
        const auto measure = [](Training& training, std::vector<double>& step, int many,
                                std::vector<double>* cpu_of = nullptr) {
            const double cpu = training.cpu_seconds();
            step.push_back(1e6 * training.run(many));
            if (cpu_of != nullptr) cpu_of->push_back(1e6 * (training.cpu_seconds() - cpu) / many);
        };
        for (Training* training : {&with_seal, &with_curve, &plain}) (void)training->run(steps);
        for (int round = 0; round < rounds; ++round) {
            measure(with_seal, sealed, steps, &sealed_cpu);
            measure(with_curve, keyed, steps, &keyed_cpu);
            measure(plain, clear, steps, &clear_cpu);
        }
        for (int round = 0; round < std::max(1, rounds / 10); ++round) {
            {
                const Flood flood(with_seal.endpoint());
                measure(with_seal, flooded, 30 * steps);
                connections += flood.connections();
            }
            measure(with_seal, beside, 30 * steps);
        }
        memory = static_cast<double>(with_seal.broker().memory_bytes("VmHWM"));
    }
    report.add(paired("step", "us", sealed, clear, Bar{Bar::Kind::at_most, 1.5},
                      "keys and sealing, clear"));
    report.add(paired("share of CURVE", "us", keyed, clear, {}, "keys alone, clear"));
    report.add(paired("share of sealing", "us", sealed, keyed, {}, "keys and sealing, keys alone"));
    report.add(paired("step, CPU of all processes", "us", sealed_cpu, clear_cpu, {},
                      "keys and sealing, clear"));
    report.add(paired("share of sealing, CPU", "us", sealed_cpu, keyed_cpu, {},
                      "keys and sealing, keys alone"));
    const std::size_t bytes = settings.quick ? 20'000'000 : 256'000'000;
    const int bodies = settings.quick ? 1 : 5;
    const auto rate = [&](const char* keys) {
        return spread_of(bulk_rates(bytes, bodies, keys)).median / 1e6;
    };
    std::vector<double> beside_small;
    const std::vector<double> whole = bulk_rates(bytes, bodies, "sealed", &beside_small);
    report.add(single("large bodies, keys and sealing", "MB/s", spread_of(whole).median / 1e6,
                      Bar{Bar::Kind::at_least, 250}, "one body at a time, end to end"));
    report.add(paired("large bodies beside a small message each 50 ms", "bytes/s", beside_small,
                      whole, Bar{Bar::Kind::at_least, 1.0 / 3}, "of two peers in another run"));
    report.add(single("large bodies, keys alone", "MB/s", rate("unsealed:")));
    report.add(single("large bodies, clear", "MB/s", rate("")));
    report.add(paired("step beside a flood of connections", "us", flooded, beside,
                      Bar{Bar::Kind::at_most, 3}, std::to_string(connections) + " connections"));
    report.add(single("broker, most memory", "MB", memory / 1e6, Bar{Bar::Kind::at_most, 256}, ""));
    measure_hostile_peers(report, settings);
    std::vector<double> gone;
    for (int i = 0; i < (settings.quick ? 1 : 5); ++i) gone.push_back(1e3 * revocation_seconds());
    report.add(single("a key is revoked: until its session is over", "ms",
                      *std::max_element(gone.begin(), gone.end()), Bar{Bar::Kind::at_most, 1000},
                      "the longest of " + std::to_string(gone.size())));
}

}  // namespace vflbus::bench
