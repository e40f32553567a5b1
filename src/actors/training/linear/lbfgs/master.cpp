// The master's half of L-BFGS: one round after the other until it has converged, and the same for
// the label holder's columns alone.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/protocols/protocol.hpp"
#include "actors/run/run.hpp"
#include "actors/training/linear/lbfgs/block.hpp"
#include "actors/training/linear/lbfgs/lbfgs.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "actors/training/linear/linear.hpp"
#include "actors/training/linear/rows.hpp"
#include "actors/training/state.hpp"
#include "models/lbfgs_master.hpp"
#include "models/lbfgs_trainer.hpp"

namespace vflbus::actors::linear {
namespace {

models::LbfgsConfig solver_config(const config::ModelConfig& model) {
    models::LbfgsConfig out;
    out.l2 = model.l2;
    out.tolerance = model.tolerance;
    out.max_iterations = model.max_iterations;
    return out;
}

Result<models::LbfgsMaster> make_solver(const models::Labels& labels,
                                        const config::ModelConfig& model) {
    auto objective = models::Objective::create(labels, model.intercept, class_weights_of(model));
    if (!objective) return tl::unexpected(std::move(objective.error()));
    return models::LbfgsMaster::create(std::move(*objective), model.intercept,
                                       solver_config(model));
}

/// The label holder's columns alone, by the same solver to the same tolerance.
class LbfgsBaseline final : public Baseline {
  public:
    LbfgsBaseline(models::LbfgsTrainer trainer, const Party& own)
        : trainer_(std::move(trainer)), own_(&own) {}

    Result<bool> slice() override {
        if (auto done = trainer_.step(); !done) return tl::unexpected(std::move(done.error()));
        return !trainer_.done();
    }
    models::Matrix predict(TableKind side) const override {
        if (side == TableKind::train) return trainer_.predict_training_rows();
        return trainer_.predict(own_->design(side));
    }

  private:
    models::LbfgsTrainer trainer_;
    const Party* own_;
};

// -- states -----------------------------------------------------------------------------

void write_state(StateWriter& writer, const models::LbfgsMasterState& state) {
    writer.u64(state.rounds)
        .doubles(state.scores)
        .doubles(state.memory)
        .doubles(state.products)
        .doubles(state.intercept)
        .doubles(state.intercept_step)
        .doubles(state.offsets)
        .doubles(state.coefficients)
        .doubles(state.losses)
        .u64(state.groups.size());
    for (const models::LbfgsGroupState& group : state.groups)
        writer.u64(static_cast<std::uint64_t>(group.end))
            .doubles({group.start_norm, group.norm, group.least_norm, group.least_value,
                      group.step_error})
            .u64(group.idle_rounds);
}

models::LbfgsMasterState read_state(StateReader& reader, std::size_t groups) {
    models::LbfgsMasterState state;
    state.rounds = reader.u64();
    for (std::vector<double>* values :
         {&state.scores, &state.memory, &state.products, &state.intercept, &state.intercept_step,
          &state.offsets, &state.coefficients, &state.losses})
        *values = reader.doubles();
    if (reader.u64() != groups) return state;  // refused by its size
    for (std::size_t g = 0; g < groups; ++g) {
        models::LbfgsGroupState group;
        const std::uint64_t end = reader.u64();
        const std::vector<double> values = reader.doubles();
        group.idle_rounds = reader.u64();
        if (end > static_cast<std::uint64_t>(models::LbfgsEnd::no_progress) || values.size() != 5)
            return state;
        group.end = static_cast<models::LbfgsEnd>(end);
        group.start_norm = values[0];
        group.norm = values[1];
        group.least_norm = values[2];
        group.least_value = values[3];
        group.step_error = values[4];
        state.groups.push_back(group);
    }
    return state;
}

// -- the half ---------------------------------------------------------------------------

class LbfgsMasterHalf final : public MasterHalf {
  public:
    explicit LbfgsMasterHalf(const MasterSetting& setting)
        : run_(&setting.run), own_(&setting.own), labels_(setting.labels) {}

    Result<> prepare() {
        auto protocol = make_master_protocol(config::name_of(run_->config().run.protocol));
        if (!protocol) return tl::unexpected(std::move(protocol.error()));
        protocol_ = std::move(*protocol);
        auto solver = make_solver(labels_->train, model());
        if (!solver) return tl::unexpected(std::move(solver.error()));
        solver_.emplace(std::move(*solver));
        const auto unit = solver_->objective().unit();
        settings_ = {solver_->penalty(), {unit.begin(), unit.end()}};
        if (auto fits = check_message_rows(
                labels_->train.rows(), outputs(), run_->config().bus.message_bytes_max,
                "state model.solver = \"sgd\" or \"adam\", which take the rows in batches");
            !fits)
            return fits;
        if (auto fits = check_penalty(); !fits) return fits;
        block_ = std::make_unique<LbfgsBlock>(*own_, settings_, outputs());
        // as members do: a column that two parties have would otherwise differ by what was rounded,
        // and where nothing is penalized that difference would get a weight
        if (encrypts()) block_->round_columns();
        return {};
    }

    // -- training -----------------------------------------------------------------------
    Task<> agree_anew() override { co_await protocol_->begin(run_->parties()); }
    Task<> begin(std::uint64_t first) override {
        co_await protocol_->begin(run_->parties());
        BeginRequest request;
        request.outputs = outputs();
        request.test_rows = own_->test_bitmap();
        request.first = first;
        Replies asked = run_->parties().ask_all(message::begin, encode(request));
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, begun(i, replies[i]));
    }

    std::uint64_t steps() const override { return model().max_iterations + 1; }
    bool done(std::uint64_t step) const override { return step > 0 && solver_->done(); }

    Task<StepResult> step(std::uint64_t step) override {
        const models::LbfgsRequest& request = solver_->request();
        std::vector<Bytes> bodies;
        if (encrypts()) {
            co_await encrypted_products(step, bodies);
        } else {
            const models::ConstMatrixView sent = co_await protocol_->outgoing(
                stamp(step, Stamp::Tensor::residual), request.residual);
            const Bytes body = encode_iterate(step, settings_, request.coefficients, sent);
            bodies.assign(run_->parties().members(), body);
        }
        const TimePoint sent_at = run_->now();
        Replies asked = run_->parties().ask_each(iterate_message, std::move(bodies));
        // while the members are at it
        co_await block_->answer(request.coefficients, request.residual, answer_);
        co_await start_sums(step);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, take_reply(step, i, replies[i]));
        if (encrypts()) know_lines(sent_at, asked.arrived());
        co_await protocol_->finish(stamp(step, Stamp::Tensor::gradient_scores), scores_);
        co_await protocol_->finish(stamp(step, Stamp::Tensor::products), products_);
        if (protocol_->has_rounds_in_step()) co_await protocol_->within_step(run_->parties(), step);
        co_await advance();
        StepResult result;
        result.loss = solver_->loss();
        co_return result;
    }

    TrainingPlace place(std::uint64_t) const override { return {}; }

    /// The training rows' scores are known here without asking anybody.
    Task<models::Matrix> scores(TableKind side, std::uint64_t step) override {
        shares_.clear();
        if (side == TableKind::train) co_return solver_->training_scores();
        const std::uint64_t rows = own_->rows(side).size();
        models::Matrix sum = co_await summed_scores(*run_, *protocol_, *block_, side, rows,
                                                    outputs(), step, shares_);
        solver_->finish_scores(sum.view());
        co_return sum;
    }
    std::span<const models::Matrix> shares() const override { return shares_; }
    models::Matrix predict(const models::Matrix& scores) const override {
        return models::predict(solver_->objective().task(), scores, {});
    }

    bool converges() const override { return true; }
    std::optional<Convergence> convergence() const override {
        Convergence out;
        out.iterations = solver_->iterations();
        out.converged = solver_->end() == models::LbfgsEnd::converged;
        if (solver_->end() == models::LbfgsEnd::max_iterations)
            out.why_not = "model.max_iterations = " + std::to_string(model().max_iterations) +
                          " are done and it was still getting better";
        if (solver_->end() == models::LbfgsEnd::no_progress)
            out.why_not = "neither the loss nor the gradient became any smaller";
        return out;
    }

    Baseline* baseline() override {
        if (!model().label_holder_alone) return nullptr;
        if (baseline_) return baseline_.get();
        auto solver = make_solver(labels_->train, model());
        if (!solver) return nullptr;  // it could be made before
        auto trainer = models::LbfgsTrainer::create(block_->columns(), std::move(*solver));
        if (!trainer) return nullptr;
        baseline_ = std::make_unique<LbfgsBaseline>(std::move(*trainer), *own_);
        return baseline_.get();
    }

    // -- commits ------------------------------------------------------------------------
    StateFormat format() const override {
        return {std::string(lbfgs_state_name), lbfgs_state_version};
    }
    StateFormat part_format() const override { return {std::string(format_name), format_version}; }
    std::string save() const override {
        StateWriter writer;
        block_->save(writer);
        write_state(writer, solver_->state());
        return writer.take();
    }
    Result<> restore(std::uint64_t step, std::string_view bytes) override {
        StateReader reader(bytes);
        LbfgsBlock::saved_settings(reader);  // of the same labels and configuration: ours
        const models::LbfgsPartyState own = LbfgsBlock::saved_solver(reader);
        models::LbfgsMasterState state = read_state(reader, solver_->objective().groups());
        if (auto done = reader.finish(); !done) return done;
        if (state.rounds != step)
            return fail(Errc::state_lost, "the state of a commit is that of another step");
        if (auto done = block_->restore(own); !done) return done;
        return solver_->set_state(std::move(state));
    }
    Result<> restored(std::uint64_t step, std::size_t, Body body) override {
        const auto reply = restored_at(step, body);
        if (!reply) return tl::unexpected(reply.error());
        return {};
    }

    // -- the model ------------------------------------------------------------------------
    Result<std::string> part(ModelHead head) const override {
        auto part = block_->part(std::move(head));
        if (!part) return tl::unexpected(std::move(part.error()));
        part->intercept = solver_->intercept();
        part->labels = labels_->coding;
        return to_json(*part);
    }
    std::uint64_t features() const override { return block_->features(); }
    std::uint64_t outputs() const override { return solver_->objective().outputs(); }
    const data::LabelCoding& coding() const override { return labels_->coding; }

  private:
    [[nodiscard]] const config::ModelConfig& model() const { return run_->config().model; }
    [[nodiscard]] Stamp stamp(std::uint64_t step, Stamp::Tensor tensor) const {
        return {run_->term(), step, TableKind::train, Stamp::batch, tensor};
    }
    [[nodiscard]] bool encrypts() const {
        return run_->config().run.protocol == config::Protocol::encrypted;
    }
    /// Scores shrink as the penalty grows, and travel in steps of 2^-32 where they are masked.
    Result<> check_penalty() const {
        constexpr double most_per_row = 1e6;
        const double most = most_per_row * static_cast<double>(labels_->train.rows());
        if (run_->config().run.protocol == config::Protocol::honest || model().l2 <= most)
            return {};
        return fail(Errc::bad_config,
                    "model.l2 = " + shortest(model().l2) + " makes scores of " +
                        std::to_string(labels_->train.rows()) +
                        " rows smaller than the steps in which run.protocol = \"" +
                        std::string(config::name_of(run_->config().run.protocol)) +
                        "\" has them travel; it goes up to " + shortest(most) + " here");
    }
    Result<> begun(std::size_t rank, Body body) {
        const auto reply = decode_begin_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        if (auto noted = note_begun(*run_, rank, *reply); !noted) return noted;
        warn_of_few_rows(*run_, rank, reply->features, labels_->train.rows());
        if (!encrypts()) return {};
        if (rank == 0) residuals_.emplace(*protocol_);
        auto added = residuals_->add_member({labels_->train.rows(), reply->features, outputs(),
                                             products_of(run_->config(), steps())},
                                            run_->message_bytes_max());
        if (added) say_encryption(*run_, rank, residuals_->plans().describe(rank));
        return added;
    }

    /// The residual goes out encrypted, under a key for each member and round; `bodies`: the
    /// requests of the round, with what was opened of their answers.
    Task<> encrypted_products(std::uint64_t step, std::vector<Bytes>& bodies) {
        const models::LbfgsRequest& request = solver_->request();
        const models::Matrix settings =
            step == 0 ? settings_tensor(settings_) : models::Matrix(0, 1);
        std::vector<Bytes> sent =
            co_await residuals_->encrypt(step, step, request.residual, settings);
        const TimePoint asked = run_->now();
        Replies computing = run_->parties().ask_each(product_message, std::move(sent));
        residuals_->prepare(step + 1);
        const std::vector<Bytes> answers = co_await computing;
        for (std::size_t i = 0; i < answers.size(); ++i)
            co_await run_->said_by(
                i, open(step, i, answers[i], computing.arrived()[i] - asked, bodies));
    }
    /// What the messages of a round took says how slow lines are.
    void know_lines(TimePoint sent, std::span<const TimePoint> arrived) {
        for (std::size_t i = 0; i < arrived.size(); ++i) residuals_->stepped(i, arrived[i] - sent);
        if (residuals_->lines_are_due())
            say_lines(*run_,
                      residuals_->choose_lines(transform_ms([this] { return run_->now(); })));
    }
    Result<> open(std::uint64_t step, std::size_t rank, Body answer, Duration took,
                  std::vector<Bytes>& bodies) {
        const auto numbers = residuals_->open(rank, answer, took);
        if (!numbers) return tl::unexpected(numbers.error());
        const SentTensor opened(*numbers, residuals_->plans().features(rank), outputs());
        bodies.push_back(encode_iterate(step, settings_, solver_->request().coefficients, opened));
        return {};
    }
    Result<> start_sums(std::uint64_t step) {
        if (auto done = protocol_->start(stamp(step, Stamp::Tensor::gradient_scores),
                                         answer_.scores, scores_);
            !done)
            return done;
        const models::ConstMatrixView products{answer_.scalars.data(), answer_.scalars.size(), 1};
        return protocol_->start(stamp(step, Stamp::Tensor::products), products, products_);
    }
    Result<> take_reply(std::uint64_t step, std::size_t rank, Body body) {
        const auto reply = decode_iterate_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        if (auto done = protocol_->add(stamp(step, Stamp::Tensor::gradient_scores), rank,
                                       reply->scores, scores_);
            !done)
            return done;
        return protocol_->add(stamp(step, Stamp::Tensor::products), rank, reply->products,
                              products_);
    }
    Result<> advance() {
        solver_->begin_answers();
        if (auto done = solver_->add(scores_, products_.span()); !done) return done;
        return solver_->advance();
    }

    Run* run_;
    Party* own_;
    const Labels* labels_;
    std::unique_ptr<MasterProtocol> protocol_;
    std::optional<models::LbfgsMaster> solver_;
    LbfgsSettings settings_;
    std::unique_ptr<LbfgsBlock> block_;
    std::optional<EncryptedResiduals> residuals_;
    std::unique_ptr<LbfgsBaseline> baseline_;
    models::LbfgsAnswer answer_;
    models::Matrix scores_;    ///< X g, summed
    models::Matrix products_;  ///< summed
    std::vector<models::Matrix> shares_;
};

bool lbfgs_chosen(const config::AgreedHalf& agreed) {
    return agreed.model.solver == config::Solver::lbfgs;
}

constexpr config::Protocol lbfgs_protocols[] = {config::Protocol::honest, config::Protocol::masked,
                                                config::Protocol::encrypted};
constexpr MemberHandler lbfgs_handlers[] = {
    {message::begin, "begin", When::begins, answer_lbfgs_begin},
    {product_message, "product", When::in_step, answer_lbfgs_product},
    {iterate_message, "iterate", When::ends_step, answer_lbfgs_round},
    {message::evaluate, "evaluate", When::any_rows, answer_lbfgs_evaluate},
    {message::round, "round", When::any_moment, answer_lbfgs_protocol},
};

}  // namespace

Result<std::unique_ptr<MasterHalf>> make_lbfgs_master(const MasterSetting& setting) {
    auto master = std::make_unique<LbfgsMasterHalf>(setting);
    if (auto done = master->prepare(); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

const Algorithm lbfgs{
    .name = "lbfgs",
    .format = format_name,
    .chosen = lbfgs_chosen,
    .protocols = lbfgs_protocols,
    .check = check_link,
    .train = make_lbfgs_master,
    .predict = make_predicting_master,
    .member = make_lbfgs_member,
    .handlers = lbfgs_handlers,
};

}  // namespace vflbus::actors::linear
