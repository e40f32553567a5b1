// A ServerApp that tries what --run-config play=... says, with the nodes that are there.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>
#include <stdexcept>
#include <thread>
#include <vflbus/app.hpp>

using namespace vflbus::app;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

void demand(bool what, const std::string& else_say) {
    if (!what) throw std::runtime_error("not so: " + else_say);
}

class Play {
  public:
    Play(Driver& driver, Context& context) : driver_(driver), context_(context) {
        const auto nodes = context.run_config<std::size_t>("nodes", 1);
        demand(driver.wait_for_nodes(nodes, seconds(30)), "the nodes came in time");
        nodes_ = driver.get_node_ids();
    }

    Message ask(const std::string& type, NodeId node, Duration ttl = seconds(30),
                Record record = {}) {
        auto replies = driver_.send_and_receive(
            {driver_.create_message(std::move(record), type, node, "g", ttl)}, seconds(60));
        demand(replies.size() == 1, "one reply to " + type);
        return replies[0];
    }

    /// One message of each kind of trouble, and that the node goes on after each.
    void trouble() {
        const NodeId node = nodes_.at(0);
        log(INFO, "throws: ", ask("train.throws", node).error().reason);
        demand(count(node) == 1, "an exception leaves the state");
        log(INFO, "refuses: ", ask("evaluate", node).error().code, " ",
            ask("evaluate", node).error().reason);
        log(INFO, "unknown: ", ask("query.nobody", node).error().reason);
        demand(count(node) == 2, "errors leave the state");
        log(INFO, "crashes: ", ask("train.crashes", node).error().reason);
        demand(count(node) == 1, "a crash loses the state");
        const Message waited = ask("train.waits", node, milliseconds(300));
        demand(waited.error().code == Error::expired, "who waits too long expires");
        log(INFO, "waits: ", waited.error().reason);
        demand(count(node) == 2, "who returns when told keeps the state");
        const Message hung = ask("train.hangs", node, milliseconds(300));
        demand(hung.error().code == Error::expired, "who hangs expires");
        demand(count(node) == 1, "who is killed loses the state");
        log(INFO, "all as promised");
    }

    /// Rounds of two nodes each, all of which must answer; how many ms they took together.
    double rounds(int number) {
        const auto begin = std::chrono::steady_clock::now();
        for (int round = 0; round < number; ++round) {
            std::vector<Message> messages;
            for (std::size_t i = 0; i < 2; ++i)
                messages.push_back(driver_.create_message(
                    {}, "train", nodes_[random_() % nodes_.size()], std::to_string(round)));
            const auto replies = driver_.send_and_receive(messages, seconds(60));
            demand(replies.size() == 2 && replies[0].has_content() && replies[1].has_content(),
                   "two answers in a round");
        }
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count();
    }

    std::int64_t count(NodeId node) {
        const Message reply = ask("train", node);
        demand(reply.has_content(), "a count, not: " + reply.error().reason);
        return std::get<std::int64_t>(reply.content().metrics.at("count"));
    }

    /// Many messages to every node, whose answers come back each once.
    void many() {
        const int total = context_.run_config("total", 100);
        for (int i = 0; i < total; ++i)
            for (const NodeId node : nodes_) {
                Record record;
                record.config["i"] = i;
                record.tensors["x"] = Tensor::of(std::vector<float>(100, static_cast<float>(i)));
                const auto ids =
                    driver_.push_messages({driver_.create_message(record, "train", node)});
                demand(!ids[0].empty(), "a message is taken");
            }
        std::size_t replies = 0;
        std::map<NodeId, std::int64_t> next;
        while (auto reply = driver_.next_reply(seconds(30))) {
            demand(reply->has_content(), reply->error().reason);
            const NodeId from = reply->metadata().src_node_id;
            demand(std::get<std::int64_t>(reply->content().metrics.at("count")) == ++next[from],
                   "in order, each once");
            demand(std::get<std::string>(reply->content().config.at("run")) == context_.run_id(),
                   "of this run");
            demand(std::get<std::string>(reply->content().config.at("label")) ==
                       context_.run_config<std::string>("label", ""),
                   "this run's configuration");
            if (++replies == nodes_.size() * static_cast<std::size_t>(total)) break;
        }
        demand(replies == nodes_.size() * static_cast<std::size_t>(total), "all replies");
        log(INFO, replies, " replies, all of this run");
    }

    /// A tensor of so many MiB there and back, one after another; how long the fastest took.
    void large() {
        const auto mebibytes = context_.run_config<std::size_t>("mib", 100);
        Record record;
        record.tensors["x"] =
            Tensor::of(std::vector<std::uint8_t>(mebibytes << 20, std::uint8_t{7}));
        double best = 1e9;
        for (int i = 0; i < context_.run_config("total", 3); ++i) {
            const auto begin = std::chrono::steady_clock::now();
            const Message reply = ask("query.echo", nodes_.at(0), seconds(60), record);
            demand(reply.has_content(), reply.error().reason);
            demand(reply.content().tensors.at("x").raw().size() == mebibytes << 20, "all of it");
            best = std::min(best, std::chrono::duration<double, std::milli>(
                                      std::chrono::steady_clock::now() - begin)
                                      .count());
        }
        log(INFO, mebibytes, " MiB there and back took ", best, " ms");
    }

    void callback() {
        std::atomic<int> came{0};
        driver_.on_reply([&](Message reply) {
            if (reply.has_content()) ++came;
        });
        for (int i = 0; i < 10; ++i)
            (void)driver_.push_messages({driver_.create_message({}, "train", nodes_.at(0))});
        for (int i = 0; i < 10'000 && came < 10; ++i) std::this_thread::sleep_for(milliseconds(1));
        demand(came == 10, "all replies are called back");
        driver_.on_reply({});
        log(INFO, "called back");
    }

    void refused() {
        const auto ids = driver_.push_messages(
            {driver_.create_message({}, "train", 12345), driver_.create_message({}, "", nodes_[0]),
             driver_.create_message({}, "train", nodes_[0], "", seconds(0)),
             driver_.create_message({}, "train", nodes_[0])});
        demand(ids[0].empty() && ids[1].empty() && ids[2].empty() && !ids[3].empty(),
               "what cannot be sent has an empty id");
        demand(driver_.wait_for_reply(seconds(30)), "a reply");
        demand(driver_.pull_messages(ids).size() == 1, "one reply");
        demand(driver_.pull_messages(ids).empty(), "each reply once");
        log(INFO, "refused what it should");
    }

  private:
    Driver& driver_;
    Context& context_;
    std::vector<NodeId> nodes_;
    std::mt19937 random_{std::random_device{}()};
};

void server(Driver& driver, Context& context) {
    const auto play = context.run_config<std::string>("play", "many");
    if (play == "throws") throw std::runtime_error("main has had enough");
    if (play == "crashes") std::raise(SIGABRT);
    if (play == "hangs")
        for (log(INFO, "hangs");;) std::this_thread::sleep_for(seconds(1));
    if (play == "waits") {
        log(INFO, "waits to be stopped");
        while (!context.cancelled()) std::this_thread::sleep_for(milliseconds(5));
        return;
    }
    if (play == "metrics") {
        for (std::uint64_t step = 1; step <= 300; ++step)
            driver.log_metrics({{"loss", 1.0 / static_cast<double>(step)}, {"accuracy", 0.5}},
                               step);
        for (const std::string& name : {std::string(), std::string(65, 'x')}) {
            bool refused = false;
            try {
                driver.log_metrics({{name, 1}}, 1);
            } catch (const std::invalid_argument&) {
                refused = true;
            }
            demand(refused, "a name out of range is refused");
        }
        log(INFO, "logged");
        while (!context.cancelled()) std::this_thread::sleep_for(milliseconds(5));
        return;
    }
    Play scene(driver, context);
    if (play == "many") scene.many();
    if (play == "trouble") scene.trouble();
    if (play == "callback") scene.callback();
    if (play == "large") scene.large();
    if (play == "refused") scene.refused();
    if (play == "holds") {  // a node at work for this run, until it is stopped
        const Message reply = scene.ask("train.waits", driver.get_node_ids().at(0), seconds(60));
        log(INFO, "held: ", reply.error().reason);
    }
    if (play == "floods") {
        const auto ttl = milliseconds(context.run_config("ttl-ms", 500));
        const Message reply = scene.ask("train.floods", driver.get_node_ids().at(0), ttl);
        log(INFO, "flooded: ", reply.error().code, " ", reply.error().reason);
        demand(scene.count(driver.get_node_ids().at(0)) == 1, "a new process goes on");
    }
    if (play == "spawns") {  // what a handler starts, and then nothing
        const Message reply = scene.ask("train.spawns", driver.get_node_ids().at(0));
        demand(reply.has_content(), reply.error().reason);
        log(INFO,
            "started: ", std::get<std::vector<std::int64_t>>(reply.content().config.at("pids")));
        while (context.run_config("stay", true) && !context.cancelled())
            std::this_thread::sleep_for(milliseconds(5));
    }
    if (play == "scribbles") {
        const Message reply = scene.ask("train.scribbles", driver.get_node_ids().at(0));
        log(INFO, "scribbled: ", reply.error().code, " ", reply.error().reason);
        demand(scene.count(driver.get_node_ids().at(0)) == 1, "a new process goes on");
    }
    if (play == "fills") {  // more than a node has room for, to a handler that never returns
        const auto mebibytes = context.run_config<std::size_t>("mib", 100);
        Record record;
        record.tensors["x"] = Tensor::of(std::vector<std::uint8_t>(mebibytes << 20));
        for (int i = 0; i < context.run_config("total", 10); ++i)
            (void)driver.push_messages({driver.create_message(
                record, "train.hangs", driver.get_node_ids().at(0), "", std::chrono::hours(1))});
        log(INFO, "pushed");
        while (!context.cancelled()) std::this_thread::sleep_for(milliseconds(5));
    }
    if (play == "hangs_there") {  // a handler that never returns
        const Message reply = scene.ask("train.hangs", driver.get_node_ids().at(0), seconds(60));
        log(INFO, "hung: ", reply.error().reason);
    }
    if (play == "talks") {  // all nodes, as long as it may
        for (int i = 0; !context.cancelled(); ++i) {
            log(INFO, "round ", i);
            for (const NodeId node : driver.get_node_ids()) (void)scene.count(node);
            std::this_thread::sleep_for(milliseconds(1));
        }
    }
    if (play == "asks") {  // who is there, round after round
        while (!context.cancelled()) {
            std::vector<Message> messages;
            for (const NodeId node : driver.get_node_ids())
                messages.push_back(driver.create_message({}, "train", node));
            std::size_t answered = 0;
            for (const Message& reply : driver.send_and_receive(messages, seconds(60))) {
                if (reply.has_content())
                    ++answered;
                else
                    log(INFO, "failed: ", reply.error().code, " ", reply.error().reason);
            }
            log(INFO, answered, " of ", messages.size(), " answered");
            std::this_thread::sleep_for(milliseconds(20));
        }
    }
    if (play == "rounds") {  // from a moment on that others know as well
        const std::chrono::duration<double> at(context.run_config<double>("begin-at", 0));
        std::this_thread::sleep_until(std::chrono::system_clock::time_point(
            std::chrono::duration_cast<std::chrono::system_clock::duration>(at)));
        log(INFO, "3 rounds took ", scene.rounds(3), " ms");
    }
    if (play == "late") {
        const Message reply = scene.ask("train", driver.get_node_ids().at(0), milliseconds(300));
        log(INFO, "late: ", reply.error().code, " ", reply.error().reason);
    }
    if (play == "long") {
        const auto name = context.run_config<std::string>("node", "node-a");
        for (const NodeId node : driver.get_node_ids()) {
            if (driver.name_of(node) != name) continue;
            log(INFO, "asks");
            const Message reply = scene.ask(context.run_config<std::string>("type", ""), node);
            log(INFO, reply.has_content() ? "came back" : reply.error().reason);
        }
    }
    if (play == "gone") {  // a node that goes away in a handler
        const Message reply = scene.ask("train.waits", driver.get_node_ids().at(0), seconds(60));
        demand(!reply.has_content(), "no reply of a node that is gone");
        log(INFO, "gone: ", reply.error().code, " ", reply.error().reason);
    }
}

}  // namespace

VFLBUS_SERVER_APP(server)
