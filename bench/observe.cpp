// What it costs that everybody watches: the same training with everything on and with everything
// off, and the page that Prometheus is given by a large broker.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/files.hpp"
#include "base/json.hpp"
#include "fake_mlflow.hpp"
#include "measure.hpp"
#include "observers/http_server.hpp"
#include "observers/metrics.hpp"
#include "observers/samples.hpp"
#include "process.hpp"
#include "socket.hpp"

namespace vflbus::bench {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

/// A page that is open: reads what it is told until the other end goes away.
class OpenPage {
  public:
    OpenPage(const std::string& url, const std::string& path)
        : connection_(url), thread_([this, path] {
              connection_.send("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
              while (!connection_.receive().empty()) continue;
          }) {}
    ~OpenPage() { thread_.join(); }
    OpenPage(const OpenPage&) = delete;
    OpenPage& operator=(const OpenPage&) = delete;

  private:
    test::Connected connection_;
    std::thread thread_;
};

/// What a training has cost.
struct Cost {
    double seconds = 0;      ///< of the training alone, without reading and alignment
    double cpu_seconds = 0;  ///< of broker, members and master, from their start to the end
};

/// Trains `default_credit_hetero`, where VFLBUS_SHARED_DATA says where it is; else a table of its
/// size that is made for it.
class WatchedPlay {
  public:
    WatchedPlay(int rows, int epochs) {
        const char* const shared = std::getenv("VFLBUS_SHARED_DATA");
        const std::string set =
            (shared == nullptr ? std::string() : std::string(shared)) + "/default_credit_hetero_";
        std::string own = "[bus]\nrendezvous_timeout = 120\n";
        std::string masters;
        if (shared != nullptr && rows == full_rows && fs::exists(set + "host.csv")) {
            members_ = 1;
            own += "[party.member-0]\nid = \"id\"\ndata = \"" + set + "host.csv\"\n";
            masters = "id = \"id\"\nlabel = \"y\"\ndata = \"" + set + "guest.csv\"\n";
        } else {
            members_ = 2;
            Child synth(vflbus_, {"data", "synth", "--task", "logistic", "--out", dir_ + "/data",
                                  "--members", "2", "--rows", std::to_string(rows), "--quiet"});
            if (synth.wait() != 0) throw std::runtime_error("vflbus data synth has failed");
            own += "[party.member-0]\nid = \"customer_id\"\ndata = \"" + dir_ +
                   "/data/telecom.csv\"\n[party.member-1]\nid = \"customer_id\"\ndata = \"" + dir_ +
                   "/data/shop.csv\"\n";
            masters = "id = \"customer_id\"\nlabel = \"default\"\ndata = \"" + dir_ +
                      "/data/bank.csv\"\n";
        }
        std::ofstream(dir_ + "/members.toml") << own;
        std::ofstream(dir_ + "/run.toml")
            << "[run]\nseed = 1\nworld_size = " << members_
            << "\n[model]\ntask = \"logistic\"\nsolver = \"sgd\"\n"
            << "report_train_metrics_iteration = 200\nepochs = " << epochs
            << "\nbatch_size = 256\nlearning_rate = 0.05\n"
            << own << "[party.master]\n"
            << masters;
    }
    static constexpr int full_rows = 30'000;

    Cost train(const std::string& name, bool watched) {
        const std::string runs = dir_ + "/runs-" + name;
        const Strings quiet{"--quiet", "--set", "output.runs_dir=" + runs};
        const Strings metrics = watched ? Strings{"--metrics", "127.0.0.1:0"} : Strings{};
        const auto words = [&](Strings all, bool with_metrics = true) {
            all.insert(all.end(), quiet.begin(), quiet.end());
            if (with_metrics) all.insert(all.end(), metrics.begin(), metrics.end());
            return all;
        };
        Child broker(vflbus_, words({"broker", "--bind", "tcp://127.0.0.1:0", "--json"}));
        const std::string address = Json::parse(broker.hear())["endpoints"][0].get<std::string>();
        std::vector<std::unique_ptr<Child>> members;
        for (int rank = 0; rank < members_; ++rank)
            members.push_back(std::make_unique<Child>(
                vflbus_, words({"actor", "--role", "member", "--rank", std::to_string(rank),
                                "--broker", address, "--config", dir_ + "/members.toml"})));
        std::unique_ptr<Child> ui;
        std::string url;
        Strings master{"actor",    "--role",           "master",   "--broker", address,
                       "--config", dir_ + "/run.toml", "--run-id", run_id};
        if (watched) {
            ui = std::make_unique<Child>(
                vflbus_, words({"ui", "--http", "127.0.0.1:0", "--broker", address}, false));
            url = ui->hear();
            url.pop_back();  // the slash
            for (const std::string& set :
                 {"observe.mlflow.uri=" + mlflow_.url(), "observe.tensorboard=" + runs + "-tb"}) {
                master.emplace_back("--set");
                master.push_back(set);
            }
            master.insert(master.end(), {"--trace", runs + "-trace.json"});
        }
        std::unique_ptr<OpenPage> page;
        if (watched)
            page = std::make_unique<OpenPage>(url, std::string("/events?details=") + run_id);
        Child driver(vflbus_, words(master), dir_ + "/errors");
        const int code = driver.wait();
        ui.reset();  // killed, so that its page ends
        page.reset();
        const auto report = read_file(fs::path(runs) / run_id / "report.json");
        if (code != 0 || !report)
            throw std::runtime_error("a training ended with exit code " + std::to_string(code));
        Cost cost{Json::parse(*report)["train_seconds"].get<double>(),
                  driver.cpu_seconds() + broker.cpu_seconds()};
        for (const auto& member : members) cost.cpu_seconds += member->cpu_seconds();
        return cost;
    }

  private:
    static constexpr const char* run_id = "00112233445566778899aabbccddeeff";
    ScratchDirectory scratch_;
    std::string dir_ = scratch_.path();
    std::string vflbus_ = neighbor("../cli/vflbus");
    int members_ = 2;
    test::FakeMlflow mlflow_;
};

bus::BrokerSample sample_of(std::size_t nodes, std::size_t runs) {
    bus::BrokerSample sample;
    for (std::size_t i = 0; i < nodes; ++i) {
        bus::BrokerSample::Node& node = sample.nodes.emplace_back();
        node.name = "member-" + std::to_string(i);
        node.role = "member";
        node.connected = true;
        node.messages = 1'000'000 + i;
        node.bytes = 1'000'000'000'000 + i;
    }
    sample.runs_by_state[bus::RunState::running] = runs;
    for (std::size_t i = 0; i < std::min(runs, bus::sampled_runs_max); ++i) {
        bus::BrokerSample::Run& run = sample.runs.emplace_back();
        run.run.bytes[0] = static_cast<std::uint8_t>(i);
        run.bytes = 1'000'000'000 + i;
    }
    return sample;
}

struct Scrapes {
    std::vector<double> ms;  ///< from asking for the page to its last byte
    double megabytes = 0;    ///< of the page
};

Scrapes scrapes(int times) {
    const bus::BrokerSample sample = sample_of(1000, 1000);
    observers::HttpServer::Options options;
    options.address = "127.0.0.1:0";
    options.pages["/metrics"] = [&sample](const observers::HttpQuery&) {
        const observers::Metrics metrics(observers::Labels{{"node", "broker"}});
        return observers::HttpAnswer{200, observers::metrics_type,
                                     metrics.text(observers::families_of(sample))};
    };
    const auto server = observers::HttpServer::start(std::move(options));
    if (!server) throw std::runtime_error(server.error().sentence);
    Scrapes took;
    for (int i = 0; i < times; ++i) {
        const double begin = now_seconds();
        const std::string page = test::get((*server)->url(), "/metrics");
        took.ms.push_back(1000 * (now_seconds() - begin));
        took.megabytes = static_cast<double>(page.size()) / 1e6;
        if (page.find("member-999\"") == std::string::npos)
            throw std::runtime_error("the page of metrics is not whole");
    }
    return took;
}

}  // namespace

void measure_observe(Report& report, const Settings& settings) {
    report.section("Observing",
                   "a training with metrics at all processes, MLflow (a server in this process), "
                   "TensorBoard, a trace and an open page of `vflbus ui`, against one with none");
    WatchedPlay play(settings.quick ? 700 : WatchedPlay::full_rows, settings.quick ? 2 : 40);
    // Pairs, each of whose two trainings follow at once, and every second one in the other order:
    // what the machine does besides meets both alike.
    std::vector<double> on;
    std::vector<double> off;
    std::vector<double> on_cpu;
    std::vector<double> off_cpu;
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 1 : 9;
    for (int round = 0; round < rounds; ++round) {
        const std::string name = std::to_string(round);
        Cost watched;
        Cost alone;
        if (round % 2 == 0) watched = play.train("on" + name, true);
        alone = play.train("off" + name, false);
        if (round % 2 != 0) watched = play.train("on" + name, true);
        on.push_back(watched.seconds);
        off.push_back(alone.seconds);
        on_cpu.push_back(watched.cpu_seconds);
        off_cpu.push_back(alone.cpu_seconds);
    }
    report.add(paired("time of the training", "s", on, off, Bar{Bar::Kind::at_most, 1.05}));
    report.add(paired("processor time of the parties", "s", on_cpu, off_cpu));
    const Scrapes asked = scrapes(settings.quick ? 2 : 50);
    report.add(single("a scrape of 1,000 nodes and 1,000 runs", "ms", spread_of(asked.ms).median,
                      Bar{Bar::Kind::at_most, 50}));
    report.add(single("its size", "MB", asked.megabytes, Bar{Bar::Kind::at_most, 2}));
}

}  // namespace vflbus::bench
