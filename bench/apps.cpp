// What many runs on the same nodes cost each other: round trips of run B on a member with two
// workers, alone and while the handler of run A computes there; and runs of an app one after
// another on one node, how long each takes and what memory they leave.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/node/node.hpp"
#include "apps/outbox.hpp"
#include "apps/run_config.hpp"
#include "apps/wire.hpp"
#include "base/hash.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "measure.hpp"
#include "process.hpp"

namespace {

using namespace vflbus;
using namespace vflbus::actors;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr MessageType echo_type = 1;
constexpr MessageType compute_type = 300;

double ms(Clock::duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
}

/// One run that sends `total` messages, one after another, each at least `pause` after the last.
class Asker final : public ServerApp {
  public:
    Asker(std::vector<bus::Participant> who, std::string agreed, MessageType type, Bytes body,
          std::size_t total)
        : type_(type), body_(std::move(body)), total_(total) {
        spec_.run = random_run_id();
        spec_.participants = std::move(who);
        spec_.agreed = std::move(agreed);
    }
    const RunSpec& spec() const override { return spec_; }
    void on_opened(Driver&) override {}
    void on_join(Driver& driver, NodeId node, const bus::Join& join) override {
        if (join.code != Errc::ok) return driver.close(join.code, join.sentence);
        if (node_.value != 0) return;
        node_ = node;
        push(driver);
    }
    void on_reply(Driver& driver, Message&& reply) override {
        if (!reply.has_content()) return driver.close(reply.error.code, reply.error.sentence);
        round_trips.push_back(ms(Clock::now() - sent_));
        if (round_trips.size() == total_) return driver.close(Errc::ok, "done");
        driver.set_timer(driver.now() + milliseconds(1));
    }
    void on_timer(Driver& driver) override { push(driver); }
    void on_peer(Driver&, const PeerEvent&) override {}
    void on_link(Driver&, bool, const std::string&) override {}
    void on_closed(const Ending&) override {}

    std::vector<double> round_trips;

  private:
    void push(Driver& driver) {
        sent_ = Clock::now();
        if (const auto number = driver.push_message(node_, type_, body_); !number)
            driver.close(number.error().code, number.error().sentence);
    }
    RunSpec spec_;
    MessageType type_;
    Bytes body_;
    std::size_t total_;
    NodeId node_{};
    Clock::time_point sent_{};
};

std::unique_ptr<Node> make_node(const std::shared_ptr<bus::Context>& context,
                                const std::string& broker, const std::string& name,
                                const std::string& role, const std::string& dir) {
    NodeOptions options;
    options.context = context;
    options.broker = broker;
    options.name = name;
    options.role = role;
    options.state_dir = dir + "/" + name;
    options.connect_timeout = seconds(30);
    options.workers = 2;
    auto node = Node::create(std::move(options));
    if (!node) throw std::runtime_error(node.error().sentence);
    return std::move(*node);
}

void drive(Node& node, ServerApp& app) {
    const bus::StopSignal stop;
    const auto ending = node.drive(app, stop);
    if (!ending || ending->code != Errc::ok)
        throw std::runtime_error(ending ? ending->sentence : ending.error().sentence);
}

void busy(bench::Report& report, double length) {
    const bench::ScratchDirectory dir;
    const auto context = bus::make_context();
    bus::BrokerOptions options;
    options.context = context;
    options.bind = {"ipc://" + dir.path() + "/bus"};
    auto broker = bus::BrokerLoop::bind(std::move(options));
    if (!broker) throw std::runtime_error(broker.error().sentence);
    const std::string address = (*broker)->endpoints()[0];
    bus::StopSignal stop;
    std::thread broker_thread([&] { (*broker)->run(stop); });
    std::atomic<bool> computing{false};
    ClientApp app;
    app.on(compute_type, [&](const Message&, Context& run) -> Result<Bytes> {
        computing = true;
        volatile double x = 1;
        while (computing && !run.cancelled())
            for (int i = 0; i < 10'000; ++i) x = x * 1.0000001;
        return Bytes{1};
    });
    auto member = make_node(context, address, "member-0", "member", dir.path());
    std::thread serving([&] { (void)member->serve(app, stop, false); });
    const std::vector<bus::Participant> who{{"member-0", "member", 0}};
    const auto measure = [&](const std::string& name) {
        Asker owner(who, "", echo_type, Bytes(64), static_cast<std::size_t>(length * 500));
        drive(*make_node(context, address, name, "master", dir.path()), owner);
        owner.round_trips.erase(owner.round_trips.begin(),
                                owner.round_trips.begin() + 10);  // the first, cold
        return owner.round_trips;
    };
    const auto alone = measure("master-alone");
    std::thread other([&] {
        Asker owner(who, "", compute_type, Bytes(1), 1);
        drive(*make_node(context, address, "master-a", "master", dir.path()), owner);
    });
    while (!computing) std::this_thread::sleep_for(milliseconds(1));
    const auto loaded = measure("master-b");
    computing = false;
    other.join();
    stop.stop();
    serving.join();
    broker_thread.join();
    using bench::quantile;
    report.add(bench::paired("round trip beside a busy worker, p50", "ms", {quantile(loaded, 0.5)},
                             {quantile(alone, 0.5)}, bench::Bar{bench::Bar::Kind::at_most, 3}));
    report.add(bench::single("round trip beside a busy worker, p99", "ms", quantile(loaded, 0.99),
                             bench::Bar{bench::Bar::Kind::at_most, 20}));
    report.add(bench::single("round trip alone, p99", "ms", quantile(alone, 0.99)));
}

void one_after_another(bench::Report& report, std::size_t total) {
    const std::string vflbus = bench::neighbor("../cli/vflbus");
    const std::string client = bench::neighbor("bench_client.so");
    const bench::ScratchDirectory dir;
    const std::string address = "ipc://" + dir.path() + "/bus";
    bench::Child broker(vflbus, {"broker", "--bind", address, "--quiet"});
    broker.hear();
    bench::Child node(vflbus,
                      {"actor", "--role", "member", "--app", client, "--name", "node-0", "--broker",
                       address, "--quiet", "--state-dir", dir.path() + "/node-0", "--set",
                       "output.runs_dir=" + dir.path() + "/runs"});
    const auto context = bus::make_context();
    apps::Envelope envelope;
    envelope.message_type = "train";
    envelope.ttl_ms = 60'000;
    const Bytes record = apps::encode(app::Record{});
    envelope.record = record;
    const std::vector<bus::Participant> everybody{{"*", "member", -1}};
    std::vector<double> starts;
    std::uint64_t node_early = 0, broker_early = 0;
    for (std::size_t i = 0; i < total; ++i) {
        Asker owner(everybody, apps::agreed_text({}), apps::app_message_type,
                    apps::encode(envelope), 1);
        const auto begin = Clock::now();
        drive(*make_node(context, address, "serverapp", "serverapp", dir.path()), owner);
        starts.push_back(ms(Clock::now() - begin));
        if (i == total / 10) {
            node_early = node.memory_bytes("VmRSS");
            broker_early = broker.memory_bytes("VmRSS");
        }
    }
    const std::size_t tenth = std::max<std::size_t>(1, total / 10);
    const std::vector<double> first(starts.begin(),
                                    starts.begin() + static_cast<std::ptrdiff_t>(tenth));
    const std::vector<double> last(starts.end() - static_cast<std::ptrdiff_t>(tenth), starts.end());
    const auto megabytes = [](std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; };
    report.add(bench::paired("a run, last tenth against first", "ms", {bench::quantile(last, 0.5)},
                             {bench::quantile(first, 0.5)},
                             bench::Bar{bench::Bar::Kind::at_most, 1.2}));
    report.add(bench::paired("node, memory at the end against a tenth", "MB",
                             {megabytes(node.memory_bytes("VmRSS"))}, {megabytes(node_early)},
                             bench::Bar{bench::Bar::Kind::at_most, 1.05}));
    report.add(bench::paired("broker, memory at the end against a tenth", "MB",
                             {megabytes(broker.memory_bytes("VmRSS"))}, {megabytes(broker_early)},
                             bench::Bar{bench::Bar::Kind::at_most, 1.05}));
}

/// What an app costs beyond the bus: a tensor to a handler that echoes it, against the same bytes
/// to the node's own echo, both as frames of one run of one owner.
void large_message(bench::Report& report, std::size_t mebibytes, std::size_t rounds) {
    const std::string vflbus = bench::neighbor("../cli/vflbus");
    const std::string client = bench::neighbor("bench_client.so");
    const bench::ScratchDirectory dir;
    const std::string address = "ipc://" + dir.path() + "/bus";
    bench::Child broker(vflbus, {"broker", "--bind", address, "--quiet"});
    broker.hear();
    bench::Child node(vflbus,
                      {"actor", "--role", "member", "--app", client, "--name", "node-0", "--broker",
                       address, "--quiet", "--state-dir", dir.path() + "/node-0", "--set",
                       "output.runs_dir=" + dir.path() + "/runs"});
    const auto context = bus::make_context();
    apps::app::Record content;
    content.tensors["x"] =
        apps::app::Tensor::of(std::vector<std::uint8_t>(mebibytes << 20, std::uint8_t{7}));
    const Bytes record = apps::encode(content);
    apps::Envelope envelope;
    envelope.message_type = "train";
    envelope.ttl_ms = 600'000;
    envelope.record = record;
    const Bytes body = apps::encode(envelope);
    const auto measure = [&](MessageType type) {
        Asker owner({{"*", "member", -1}}, apps::agreed_text({}), type, body, rounds + 1);
        drive(*make_node(context, address, "serverapp", "serverapp", dir.path()), owner);
        owner.round_trips.erase(owner.round_trips.begin());  // the first, cold
        return bench::quantile(owner.round_trips, 0.5);
    };
    std::vector<double> through_app, echoed;
    for (int i = 0; i < 3; ++i) {
        echoed.push_back(measure(echo_type));
        through_app.push_back(measure(apps::app_message_type));
    }
    report.add(bench::paired(
        std::to_string(mebibytes) + " MiB to an app and back, against the node's own echo", "ms",
        through_app, echoed, bench::Bar{bench::Bar::Kind::at_most, 2}));
}

/// Microseconds per message that main pushes: taken in, sent, and answered, but for every tenth,
/// which expires.
double outbox_us(std::uint64_t nodes, std::uint64_t messages) {
    apps::Outbox outbox(bus::outstanding_requests_max);
    std::vector<std::deque<std::uint64_t>> at_link(nodes + 1);  // numbers of what was sent
    std::uint64_t number = 0;
    const TimePoint start{std::chrono::hours(1)};
    const auto send = [&](std::uint64_t node) {
        const auto refused = outbox.send(NodeId{node}, [&](Bytes) -> Result<std::uint64_t> {
            at_link[node].push_back(++number);
            return number;
        });
        if (!refused.empty()) throw std::runtime_error("a message was refused");
    };
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < messages; ++i) {
        const std::uint64_t node = 1 + i % nodes;
        outbox.add(NodeId{node}, i + 1, start + seconds(i % 10 == 0 ? 1 : 1000), Bytes(64));
        send(node);
    }
    (void)outbox.expire(start + seconds(2));
    while (outbox.size() > 0)
        for (std::uint64_t node = 1; node <= nodes; ++node) {
            if (at_link[node].empty()) continue;
            (void)outbox.answered(NodeId{node}, at_link[node].front());
            at_link[node].pop_front();
            send(node);
        }
    return ms(Clock::now() - begin) * 1000 / static_cast<double>(messages);
}

void many_messages(bench::Report& report) {
    std::vector<double> many, few;
    for (int i = 0; i < 3; ++i) {
        few.push_back(outbox_us(10, 1000));
        many.push_back(outbox_us(1000, 100'000));
    }
    report.add(bench::paired("a message of 100,000 to 1,000 nodes, against one of 1,000 to 10",
                             "us", many, few, bench::Bar{bench::Bar::Kind::at_most, 10}));
}

}  // namespace

void bench::measure_apps(Report& report, const Settings& settings) {
    const std::size_t runs = settings.rounds > 0 ? static_cast<std::size_t>(settings.rounds)
                             : settings.quick    ? 20
                                                 : 2000;
    report.section("Many runs on the same nodes",
                   "64 B to a member with two workers, one of which another run keeps; then " +
                       std::to_string(runs) +
                       " runs of an app, one after another; large messages, and many");
    busy(report, settings.quick ? 0.1 : 5);
    one_after_another(report, runs);
    large_message(report, settings.quick ? 4 : 100, settings.quick ? 2 : 5);
    many_messages(report);
}
