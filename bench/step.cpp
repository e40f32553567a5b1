// A training step over the bus against its lower bound.
//
// Ours: a master and three members on actors::Node with a broker between them, six processes with
// the bench, real liveness, real codec, the kernels of src/models: what the app of src/actors does
// in a step, with generated data. Reference: what the same number of processes needs to scatter as
// many bytes through the relay and gather the answers, plus Eigen's time for the bare arithmetic.

#include <array>
#include <iostream>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "actors/messages.hpp"
#include "actors/node.hpp"
#include "base/rng.hpp"
#include "measure.hpp"
#include "models/head.hpp"
#include "models/party_model.hpp"
#include "observe/log.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

constexpr int member_count = 3;
constexpr std::size_t feature_count = 30;
constexpr std::size_t batch_rows = 256;
constexpr std::size_t record_count = 30'000;

/// The rows of step t: the same at all parties.
class Batches {
  public:
    Batches() : order_(record_count) {
        std::iota(order_.begin(), order_.end(), models::RowIndex{0});
        Rng rng(5);
        for (std::size_t i = record_count; i > 1; --i)
            std::swap(order_[i - 1], order_[rng.below(i)]);
    }
    [[nodiscard]] std::span<const models::RowIndex> rows(std::uint64_t step) const {
        const std::uint64_t batches = record_count / batch_rows;
        return std::span(order_).subspan(step % batches * batch_rows, batch_rows);
    }

  private:
    std::vector<models::RowIndex> order_;
};

models::OptimizerConfig optimizer() {
    models::OptimizerConfig config;
    config.learning_rate = 0.05;
    return config;
}

std::unique_ptr<actors::Node> make_node(const std::string& broker, const std::string& state_dir,
                                        const std::string& name, const std::string& role,
                                        std::int64_t rank) {
    observe::log::set_level(observe::log::Level::warn);
    actors::NodeOptions options;
    options.context = bus::make_context();
    options.broker = broker;
    options.name = name;
    options.role = role;
    options.rank = rank;
    options.state_dir = state_dir + "/" + name;
    auto node = actors::Node::create(std::move(options));
    if (!node) throw std::runtime_error(node.error().sentence);
    return std::move(*node);
}

std::string member_name(int rank) {
    return "member-" + std::to_string(rank);
}

// -- the master --------------------------------------------------------------------

class StepMaster final : public actors::ServerApp {
  public:
    StepMaster() : head_(make_head()) {
        spec_.run.bytes.fill(9);
        for (int rank = 0; rank < member_count; ++rank) {
            spec_.participants.push_back({member_name(rank), "member", rank});
            nodes_[static_cast<std::size_t>(rank)] = node_id_of(member_name(rank));
        }
        residual_.residual.resize(batch_rows, 1);
    }

    [[nodiscard]] const actors::RunSpec& spec() const override { return spec_; }
    void on_opened(actors::Driver&) override {}
    void on_join(actors::Driver& driver, NodeId, const bus::Join& join) override {
        if (join.code != Errc::ok) throw std::runtime_error(join.sentence);
        if (++joined_ < member_count) return;
        std::printf("ready\n");
        obey(driver);
    }
    void on_reply(actors::Driver& driver, actors::Message&& reply) override {
        if (!reply.has_content()) throw std::runtime_error(reply.error.sentence);
        for (std::size_t rank = 0; rank < nodes_.size(); ++rank)
            if (nodes_[rank] == reply.metadata.src_node_id)
                replies_[rank] = std::move(reply.content);
        if (++answered_ < member_count) return;
        models::Matrix& z = scores_[0];
        for (std::size_t rank = 0; rank < replies_.size(); ++rank) {
            const auto decoded = actors::decode_step_reply(replies_[rank]);
            if (!decoded) throw std::runtime_error(decoded.error().sentence);
            actors::copy_tensor(decoded->scores, scores_[rank]);
            if (rank > 0) models::add(z.view(), scores_[rank]);
        }
        if (auto done = head_.forward_backward(z, batches_.rows(step_), residual_); !done)
            throw std::runtime_error(done.error().sentence);
        ++step_;
        if (--left_ > 0) return push(driver);
        std::printf("done %.9f\n", now_seconds() - begin_);
        obey(driver);
    }
    void on_peer(actors::Driver&, const actors::PeerEvent&) override {}
    void on_timer(actors::Driver&) override {}
    void on_link(actors::Driver&, bool, const std::string&) override {}
    void on_closed(const actors::Ending&) override {}

  private:
    static models::Head make_head() {
        models::Labels labels;
        labels.task = models::Task::logistic;
        labels.values.resize(record_count, 1);
        Rng rng(3);
        for (double& y : labels.values.span()) y = rng.uniform() < 0.3 ? 1 : 0;
        models::HeadConfig config;
        config.optimizer = optimizer();
        auto head = models::Head::create(std::move(labels), config);
        if (!head) throw std::runtime_error(head.error().sentence);
        return std::move(*head);
    }

    /// Waits for `steps N`. The node's keeper looks after the link meanwhile.
    void obey(actors::Driver& driver) {
        std::fflush(stdout);
        std::string verb;
        if (!(std::cin >> verb >> left_)) return driver.close(Errc::ok, "done");
        begin_ = now_seconds();
        push(driver);
    }

    void push(actors::Driver& driver) {
        answered_ = 0;
        const bus::Bytes body = actors::encode_step(step_, residual_.residual);
        for (const NodeId node : nodes_)
            if (auto sent = driver.push_message(node, actors::message::step, body); !sent)
                throw std::runtime_error(sent.error().sentence);
    }

    actors::RunSpec spec_;
    models::Head head_;
    Batches batches_;
    models::HeadStep residual_;
    std::array<NodeId, member_count> nodes_;
    std::array<bus::Bytes, member_count> replies_;
    std::array<models::Matrix, member_count> scores_;
    int joined_ = 0;
    int answered_ = 0;
    std::uint64_t step_ = 0;
    int left_ = 0;
    double begin_ = 0;
};

// -- a member ------------------------------------------------------------------------

struct StepMember {
    explicit StepMember(std::uint64_t seed)
        : values(record_count * feature_count), model(feature_count, 1, optimizer()) {
        Rng rng(seed);
        for (double& value : values) value = rng.uniform() - 0.5;
        models::gather_batch(design(), batches.rows(0), batch);
    }
    [[nodiscard]] models::DesignView design() const {
        return {values.data(), record_count, feature_count};
    }

    Result<bus::Bytes> step(const actors::Message& message) {
        const auto request = actors::decode_step_request(message.content);
        if (!request) return tl::unexpected(request.error());
        actors::copy_tensor(request->tensor, residual);
        if (auto done = model.update(batch, residual); !done) return tl::unexpected(done.error());
        models::gather_batch(design(), batches.rows(request->step + 1), batch);
        model.scores(batch, scores);
        return actors::encode_scores(scores);
    }

    std::vector<double> values;
    Batches batches;
    models::PartyModel model;
    models::Matrix batch;
    models::Matrix residual;
    models::Matrix scores;
};

std::size_t residual_bytes() {
    return actors::encode_step(1000, models::Matrix(batch_rows, 1)).size();
}
std::size_t scores_bytes() {
    return actors::encode_scores(models::Matrix(batch_rows, 1)).size();
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
    explicit Scatter(bool broker)
        : router_(broker ? Child(own_path(), {"role", "broker", "tcp://127.0.0.1:*"})
                         : Child(neighbor("vflbus-relay"), {"tcp://127.0.0.1:*"})) {
        const std::string endpoint = router_.hear();
        for (int slot = 1; slot <= member_count + 1; ++slot)
            peers_.push_back(
                Child(own_path(), {"role", "peer", broker ? "broker" : "relay", endpoint,
                                   std::to_string(slot), std::to_string(member_count + 1)}));
        for (Child& peer : peers_) peer.hear();
    }
    /// Seconds per scatter and gather.
    double run(int steps) {
        for (std::size_t i = 1; i < peers_.size(); ++i)
            peers_[i].say("serve " + std::to_string(scores_bytes()));
        peers_[0].say("scatter " + std::to_string(steps) + " " + std::to_string(residual_bytes()));
        const double seconds = answer_seconds(peers_[0]);
        for (std::size_t i = 1; i < peers_.size(); ++i) peers_[i].hear();
        return seconds / steps;
    }

  private:
    Child router_;
    std::vector<Child> peers_;
};

}  // namespace

int run_step_master(const std::vector<std::string>& arguments) {
    if (arguments.size() != 2) throw std::runtime_error("master BROKER STATE_DIR");
    const auto node = make_node(arguments[0], arguments[1], "master", "master", -1);
    StepMaster app;
    const bus::StopSignal never;
    const auto ending = node->drive(app, never);
    if (!ending) throw std::runtime_error(ending.error().sentence);
    return 0;
}

int run_step_member(const std::vector<std::string>& arguments) {
    if (arguments.size() != 3) throw std::runtime_error("member BROKER STATE_DIR RANK");
    const int rank = std::stoi(arguments[2]);
    const auto node = make_node(arguments[0], arguments[1], member_name(rank), "member", rank);
    StepMember member(static_cast<std::uint64_t>(rank) + 11);
    actors::ClientApp app;
    app.on(actors::message::step,
           [&](const actors::Message& message, actors::Context&) { return member.step(message); });
    const bus::StopSignal never;
    const auto ending = node->serve(std::move(app), never, true);
    if (!ending) throw std::runtime_error(ending.error().sentence);
    return 0;
}

void measure_step(Report& report, const Settings& settings) {
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 3 : 31;
    const int steps = settings.quick ? 30 : 200;
    report.section("One logistic step",
                   "batch 256, 3 members x 30 features, 5 processes over tcp loopback, against the "
                   "relay's scatter and gather with as many + the bare arithmetic alone");
    const ScratchDirectory scratch;
    Child broker(own_path(), {"role", "broker", "tcp://127.0.0.1:*"});
    const std::string endpoint = broker.hear();
    Child master(own_path(), {"role", "master", endpoint, scratch.path()});
    std::vector<Child> members;
    for (int rank = 0; rank < member_count; ++rank)
        members.push_back(
            Child(own_path(), {"role", "member", endpoint, scratch.path(), std::to_string(rank)}));
    master.hear();
    Scatter relay(false);
    Scatter raw(true);

    std::vector<double> ours;
    std::vector<double> bound;
    std::vector<double> through_relay;
    std::vector<double> through_broker;
    std::vector<double> arithmetic;
    for (int round = -1; round < rounds; ++round) {
        master.say("steps " + std::to_string(steps));
        const double step = answer_seconds(master) / steps;
        const double scatter = relay.run(steps);
        const double bare = bare_arithmetic(steps, member_count, batch_rows, feature_count);
        const double routed = raw.run(steps);
        if (round < 0) continue;
        ours.push_back(1e6 * step);
        bound.push_back(1e6 * (scatter + bare));
        through_relay.push_back(1e6 * scatter);
        through_broker.push_back(1e6 * routed);
        arithmetic.push_back(1e6 * bare);
    }
    report.add(paired("step", "us", ours, bound, Bar{Bar::Kind::at_most, 1.5}));
    report.add(paired("scatter and gather, raw peers", "us", through_broker, through_relay, {},
                      "broker, relay"));
    report.add(single("bare arithmetic (Eigen)", "us", spread_of(arithmetic).median));
    report.add(single("member beyond its table", "MB",
                      static_cast<double>(members[0].memory_bytes("VmHWM") -
                                          record_count * feature_count * sizeof(double)) /
                          1e6,
                      Bar{Bar::Kind::at_most, 40}, "stand-in app: one table, one run"));
}

}  // namespace vflbus::bench
