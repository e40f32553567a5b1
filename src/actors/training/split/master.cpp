// The master's half of split networks.

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "actors/protocols/protocol.hpp"
#include "actors/run/run.hpp"
#include "actors/training/halves.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/linear/line_meter.hpp"
#include "actors/training/linear/rows.hpp"
#include "actors/training/split/bottom.hpp"
#include "actors/training/split/encryption.hpp"
#include "actors/training/split/split.hpp"
#include "actors/training/split/top.hpp"
#include "base/assert.hpp"

namespace vflbus::actors::split {
namespace {

using models::nn::Records;

constexpr std::string_view divergence_advice =
    "lower model.learning_rate, or state model.clip_norm = 1";

/// The label holder's columns alone, in a network of the same shape without members.
class SplitBaseline final : public Baseline {
  public:
    static Result<std::unique_ptr<Baseline>> create(const Party& own, const Labels& labels,
                                                    const models::nn::RateConfig& rates) {
        auto bottom = Bottom::create(own, Place::master);
        if (!bottom) return tl::unexpected(std::move(bottom.error()));
        auto top = Top::create(own.agreed(), labels, 1, rates);
        if (!top) return tl::unexpected(std::move(top.error()));
        return std::unique_ptr<Baseline>(
            new SplitBaseline(own, std::move(*bottom), std::move(*top)));
    }

    Result<bool> slice() override {
        // without features the constant predictor stays where the labels put it
        if (own_->features() == 0) return false;
        std::size_t rows = 0;
        while (step_ < bottom_->schedule().steps() && rows < baseline_slice_rows) {
            const Records* const part = &bottom_->forward(step_);
            const auto batch = bottom_->schedule().rows(step_);
            rows += batch.size();
            auto loss = top_->step(step_, {&part, 1}, batch, gradients_);
            if (!loss) return tl::unexpected(std::move(loss.error()));
            if (auto done = bottom_->backward(step_, gradients_[0]); !done)
                return tl::unexpected(std::move(done.error()));
            ++step_;
        }
        return step_ < bottom_->schedule().steps();
    }

    models::Matrix predict(TableKind side) const override {
        const std::uint64_t rows = own_->design(side).rows;
        const std::uint64_t most = own_->agreed().model.eval_batch_size;
        models::Matrix all;
        models::Matrix some;
        all.resize_uninitialized(rows, top_->outputs());
        Records part;
        for (std::uint64_t first = 0; first < rows; first += most) {
            const std::uint64_t count = std::min(most, rows - first);
            if (!bottom_->infer(side, first, count, part)) break;
            if (own_->features() == 0) part.resize(part.width(), part.count());
            const Records* const parts[] = {&part};
            top_->scores(parts, some);
            copy_rows(some, first, all);
        }
        return models::predict(own_->agreed().model.task, all, {});
    }

  private:
    SplitBaseline(const Party& own, std::unique_ptr<Bottom> bottom, std::unique_ptr<Top> top)
        : own_(&own), bottom_(std::move(bottom)), top_(std::move(top)) {}

    const Party* own_;
    std::unique_ptr<Bottom> bottom_;
    std::unique_ptr<Top> top_;
    std::uint64_t step_ = 0;
    std::vector<Records> gradients_;
};

/// Adds the numbers of all records to `sums`, number by number.
void add_to(std::vector<double>& sums, const Records& part) {
    for (std::size_t i = 0; i < part.count(); ++i)
        for (std::size_t k = 0; k < sums.size(); ++k)
            sums[k] += static_cast<double>(part.record(i)[k]);
}

/// `count` times the mean of the `rows` records whose sums these are.
void fill_with_mean(const std::vector<double>& sums, std::uint64_t rows, std::uint64_t count,
                    Records& out) {
    out.resize(sums.size(), count);
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t k = 0; k < sums.size(); ++k)
            out.record(i)[k] = static_cast<float>(sums[k] / static_cast<double>(rows));
}

class SplitMaster final : public MasterHalf {
  public:
    explicit SplitMaster(const MasterSetting& setting)
        : run_(&setting.run), own_(&setting.own), labels_(setting.labels) {}

    /// For a training. Errors: bad_config, bad_data.
    Result<> prepare() {
        const config::AgreedHalf& agreed = own_->agreed();
        if (auto done = make_protocol(); !done) return done;
        coding_ = labels_->coding;
        schedule_ =
            BatchSchedule(agreed, static_cast<std::uint32_t>(own_->rows(TableKind::train).size()));
        const auto rates = rate_config(agreed.model, schedule_.steps(), schedule_.batches());
        if (own_->features() > 0) {
            auto bottom = Bottom::create(*own_, Place::master);
            if (!bottom) return tl::unexpected(std::move(bottom.error()));
            own_bottom_ = std::move(*bottom);
        }
        auto top = Top::create(agreed, *labels_, embeddings(), rates);
        if (!top) return tl::unexpected(std::move(top.error()));
        top_ = std::move(*top);
        received_.resize(run_->parties().members());
        if (auto fits = check_message_rows(
                schedule_.batch_rows(0), top_->width(), run_->config().bus.message_bytes_max,
                "lower model.batch_size, or the last number of model.bottom");
            !fits)
            return fits;
        if (!agreed.model.label_holder_alone) return {};
        auto baseline = SplitBaseline::create(*own_, *labels_, rates);
        if (!baseline) return tl::unexpected(std::move(baseline.error()));
        baseline_ = std::move(*baseline);
        return {};
    }

    /// For a prediction with a stored part.
    Result<> prepare(const SplitPart& part) {
        if (auto done = make_protocol(); !done) return done;
        coding_ = part.top->labels;
        received_.resize(run_->parties().members());
        if (part.top->own) {
            auto bottom = Bottom::create(*own_, part);
            if (!bottom) return tl::unexpected(std::move(bottom.error()));
            own_bottom_ = std::move(*bottom);
        } else {
            own_->use(part.columns);
        }
        if (part.top->embeddings != embeddings())
            return fail(Errc::bad_data,
                        "the model has networks of " + std::to_string(part.top->embeddings) +
                            " parties, and this run has " + std::to_string(embeddings()));
        auto top = Top::create(own_->agreed(), *part.top);
        if (!top) return tl::unexpected(std::move(top.error()));
        top_ = std::move(*top);
        return {};
    }

    // -- training -----------------------------------------------------------------------
    Task<> begin(std::uint64_t first) override {
        co_await agree();
        BeginRequest request;
        request.outputs = outputs();
        request.test_rows = own_->test_bitmap();
        request.first = first;
        Replies asked = run_->parties().ask_all(message::begin, encode(request));
        co_await start(0);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, begun(i, replies[i]));
    }
    Task<> agree_anew() override { co_await agree(); }
    std::uint64_t steps() const override { return schedule_.steps(); }

    Task<StepResult> step(std::uint64_t step) override {
        if (protocol_) co_await protocol_->finish(stamp(step), sum_);
        const std::vector<const Records*> parts = all_parts();
        const auto rows = schedule_.rows(step);
        Result<double> made = top_->step(step, parts, rows, gradients_);
        StepResult result;
        result.loss = co_await diverged(std::move(made));
        std::vector<Bytes> sent = encrypts() ? std::vector<Bytes>() : requests(step);
        if (encrypts()) co_await encrypted_gradients(step, sent);
        const TimePoint sent_at = run_->now();
        Replies asked = run_->parties().ask_each(message::step, std::move(sent));
        // members work on their gradients meanwhile
        if (own_bottom_ && !encrypts()) co_await own_bottom_->backward(step, gradients_[0]);
        co_await start(step + 1);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, stepped(step + 1, i, replies[i]));
        know_lines(sent_at, asked.arrived());
        co_return result;
    }

    Task<models::Matrix> scores(TableKind side, std::uint64_t step) override {
        if (!agreed_) co_await agree();  // a prediction has no begin
        const std::uint64_t rows = own_->design(side).rows;
        const std::uint64_t most = rows_of_a_request();
        models::Matrix all;
        models::Matrix some;
        all.resize_uninitialized(rows, outputs());
        const bool adds_up = labels_ != nullptr && !protocol_;
        sums_.assign(adds_up ? embeddings() : 0, std::vector<double>(top_->width()));
        Gathered got(received_.size());
        for (std::uint64_t first = 0; first < rows; first += most) {
            co_await gather(side, step, first, std::min(most, rows - first), got);
            for (std::size_t p = 0; p < sums_.size(); ++p) add_to(sums_[p], *got.parts[p]);
            top_->scores(got.parts, some);
            copy_rows(some, first, all);
        }
        co_return all;
    }
    /// The parties' numbers are asked for once more: to keep those of all rows would take more
    /// memory than the tables do. They are what `scores` has seen, so they tell nothing new.
    Task<std::vector<models::Matrix>> scores_without(TableKind side, std::uint64_t step,
                                                     const models::Matrix& scores) override {
        if (sums_.empty()) co_return std::vector<models::Matrix>();
        const std::uint64_t rows = own_->design(side).rows;
        const std::uint64_t most = rows_of_a_request();
        std::vector<models::Matrix> all(received_.size() + 1, scores);
        const std::size_t first_party = all.size() - sums_.size();  // 1: the master has no network
        models::Matrix some;
        Records mean;
        Gathered got(received_.size());
        for (std::uint64_t first = 0; first < rows; first += most) {
            const std::uint64_t count = std::min(most, rows - first);
            co_await gather(side, step, first, count, got);
            for (std::size_t p = 0; p < sums_.size(); ++p) {
                fill_with_mean(sums_[p], rows, count, mean);
                const Records* const own = std::exchange(got.parts[p], &mean);
                top_->scores(got.parts, some);
                got.parts[p] = own;
                copy_rows(some, first, all[first_party + p]);
            }
        }
        co_return all;
    }
    models::Matrix predict(const models::Matrix& scores) const override {
        return models::predict(coding_.task, scores, {});
    }
    TrainingPlace place(std::uint64_t step) const override {
        return {step == 0 ? 0 : schedule_.epoch_of(step - 1) + 1, schedule_.epochs()};
    }
    Baseline* baseline() override { return baseline_.get(); }

    // -- commits ------------------------------------------------------------------------
    StateFormat format() const override { return format_of(own_->agreed()); }
    std::string save() const override {
        StateWriter writer;
        write_state(writer, top_->state());
        write_state(writer, own_bottom_ ? own_bottom_->state() : NetworkState{});
        return writer.take();
    }
    Result<> restore(std::uint64_t step, std::string_view bytes) override {
        StateReader reader(bytes);
        const NetworkState top = read_state(reader);
        const NetworkState own = read_state(reader);
        if (auto done = reader.finish(); !done) return done;
        if (auto done = top_->restore(top); !done) return done;
        if (own_bottom_)
            if (auto done = own_bottom_->restore(own); !done) return done;
        return start(step);
    }
    Result<> restored(std::uint64_t step, std::size_t rank, Body body) override {
        const auto reply = restored_at(step, body);
        if (!reply) return tl::unexpected(reply.error());
        return take_batch(step, rank, reply->scores);
    }

    // -- the model ------------------------------------------------------------------------
    Result<std::string> part(ModelHead head) const override {
        head.outputs = outputs();
        SplitPart part = own_bottom_ ? own_bottom_->part(std::move(head))
                                     : party_part(*own_, std::move(head), schedule_.steps());
        part.top = top_->part();
        part.top->own = own_bottom_ != nullptr;
        part.top->labels = coding_;
        return to_json(part);
    }
    std::uint64_t features() const override { return own_bottom_ ? own_bottom_->features() : 0; }
    std::uint64_t outputs() const override { return top_->outputs(); }
    const data::LabelCoding& coding() const override { return coding_; }

  private:
    /// What the parties' networks make of some rows.
    struct Gathered {
        explicit Gathered(std::size_t members) : theirs(members) {}
        Records mine;
        std::vector<Records> theirs;
        models::Matrix sum;                 ///< of all; that of a batch is under way meanwhile
        std::vector<const Records*> parts;  ///< of each party with a network; or one, their sum
    };
    /// Rows [first, first + count) of `side`, by all parties' networks.
    Task<> gather(TableKind side, std::uint64_t step, std::uint64_t first, std::uint64_t count,
                  Gathered& got) {
        EvaluateRequest request;
        request.table = side;
        request.first = first;
        request.rows = count;
        Replies asked = run_->parties().ask_all(message::evaluate, encode(request));
        if (own_bottom_) co_await own_bottom_->infer(side, first, count, got.mine);
        const Stamp rows_stamp{run_->term(), step, side, first, Stamp::Tensor::scores};
        if (protocol_) co_await protocol_->start(rows_stamp, own_numbers(got.mine, count), got.sum);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, evaluated(rows_stamp, count, i, replies[i], got));
        got.parts.clear();
        if (protocol_) {
            co_await protocol_->finish(rows_stamp, got.sum);
            models::nn::from_matrix(got.sum, got.mine);
            got.parts.push_back(&got.mine);
            co_return;
        }
        if (own_bottom_) got.parts.push_back(&got.mine);
        for (const Records& part : got.theirs) got.parts.push_back(&part);
    }
    [[nodiscard]] bool encrypts() const {
        return run_->config().run.protocol == config::Protocol::encrypted;
    }
    /// The gradient by the parties' sum goes out encrypted, for each member under a key of its own
    /// that is new in every epoch; what comes back is opened. `opened`: the step requests, by rank.
    Task<> encrypted_gradients(std::uint64_t step, std::vector<Bytes>& opened) {
        models::nn::to_rows(gradients_[0], by_rows_);
        const models::Matrix settings(0, 1);
        std::vector<Bytes> sent =
            co_await residuals_->encrypt(step, schedule_.epoch_of(step), by_rows_, settings);
        const TimePoint asked = run_->now();
        Replies computing = run_->parties().ask_each(linear::product_message, std::move(sent));
        if (step + 1 < schedule_.steps()) residuals_->prepare(schedule_.epoch_of(step + 1));
        // while the members are at it
        if (own_bottom_) co_await own_bottom_->backward(step, gradients_[0]);
        const std::vector<Bytes> answers = co_await computing;
        for (std::size_t i = 0; i < answers.size(); ++i)
            co_await run_->said_by(
                i, open(step, i, answers[i], computing.arrived()[i] - asked, opened));
    }
    Result<> open(std::uint64_t step, std::size_t rank, Body answer, Duration took,
                  std::vector<Bytes>& opened) {
        const auto numbers = residuals_->open(rank, answer, took);
        if (!numbers) return tl::unexpected(numbers.error());
        opened.push_back(encode_step(
            step, SentTensor(*numbers, residuals_->plans().features(rank), top_->width())));
        return {};
    }
    /// What the messages of a step took says how slow lines are.
    void know_lines(TimePoint sent, std::span<const TimePoint> arrived) {
        if (!encrypts()) return;
        for (std::size_t i = 0; i < arrived.size(); ++i) residuals_->stepped(i, arrived[i] - sent);
        if (residuals_->lines_are_due())
            linear::say_lines(*run_, residuals_->choose_lines(
                                         linear::transform_ms([this] { return run_->now(); })));
    }
    /// A member has begun whose gradients will be encrypted.
    Result<> plan_encryption(std::size_t rank, std::uint64_t features) {
        if (!encrypts()) return {};
        const std::uint64_t batches = schedule_.batches();
        linear::warn_of_few_rows(
            *run_, rank, features,
            std::min(schedule_.batch_rows(0), schedule_.batch_rows(batches - 1)));
        if (rank == 0) residuals_.emplace(*protocol_);
        auto added = residuals_->add_member(encrypted_shape(own_->agreed(), schedule_, features),
                                            run_->message_bytes_max());
        if (added) linear::say_encryption(*run_, rank, residuals_->plans().describe(rank));
        return added;
    }
    /// Parties with a bottom network.
    [[nodiscard]] std::size_t embeddings() const {
        return run_->parties().members() + (own_bottom_ ? 1 : 0);
    }
    /// Under a protocol that hides single parties' numbers: what sums them. None under honest.
    Result<> make_protocol() {
        if (run_->config().run.protocol == config::Protocol::honest) return {};
        auto protocol = make_master_protocol(config::name_of(run_->config().run.protocol));
        if (!protocol) return tl::unexpected(std::move(protocol.error()));
        protocol_ = std::move(*protocol);
        return {};
    }
    Task<> agree() {
        if (protocol_) co_await protocol_->begin(run_->parties());
        agreed_ = true;
    }
    [[nodiscard]] Stamp stamp(std::uint64_t step) const {
        return {run_->term(), step, TableKind::train, Stamp::batch, Stamp::Tensor::scores};
    }
    /// As they are added to those of others; zeros where the master has no network.
    models::ConstMatrixView own_numbers(const Records& mine, std::uint64_t rows) {
        if (own_bottom_)
            models::nn::to_matrix(mine, travels_);
        else
            travels_ = models::Matrix(top_->width(), rows);
        return travels_;
    }
    /// The own numbers of a batch, to which those of the members come.
    Result<> start(std::uint64_t step) {
        if (own_bottom_) own_part_ = &own_bottom_->forward(step);
        if (!protocol_) return {};
        const Records none;
        return protocol_->start(
            stamp(step), own_numbers(own_bottom_ ? *own_part_ : none, schedule_.batch_rows(step)),
            sum_);
    }
    /// The own numbers first, then by rank; or their sum alone.
    [[nodiscard]] std::vector<const Records*> all_parts() {
        std::vector<const Records*> parts;
        if (protocol_) {
            models::nn::from_matrix(sum_, summed_);
            parts.push_back(&summed_);
            return parts;
        }
        if (own_bottom_) parts.push_back(own_part_);
        for (const Records& part : received_) parts.push_back(&part);
        return parts;
    }
    /// The step request of each member, by rank.
    std::vector<Bytes> requests(std::uint64_t step) {
        std::vector<Bytes> out;
        for (std::size_t i = 0; i < received_.size(); ++i) {
            const std::size_t place = own_bottom_ ? i + 1 : i;
            if (gradients_.size() > 1 || i == 0)
                models::nn::to_matrix(gradients_[gradients_.size() > 1 ? place : 0], travels_);
            out.push_back(encode_step(step, travels_));
        }
        return out;
    }
    Result<double> diverged(Result<double> loss) const {
        if (!loss && loss.error().code == Errc::diverged) loss.error().hint = divergence_advice;
        return loss;
    }
    [[nodiscard]] std::uint64_t rows_of_a_request() const {
        const std::uint64_t room = evaluate_reply_bytes_max / (top_->width() * sizeof(double));
        return std::max<std::uint64_t>(1, std::min(room, run_->config().model.eval_batch_size));
    }

    Result<> take(const TensorView& numbers, std::uint64_t rows, Records& out) {
        if (numbers.rows != top_->width() || numbers.cols != rows)
            return fail(Errc::malformed_message, "sent " + std::to_string(numbers.rows) + " x " +
                                                     std::to_string(numbers.cols) +
                                                     " numbers where " +
                                                     std::to_string(top_->width()) + " x " +
                                                     std::to_string(rows) + " belong");
        copy_tensor(numbers, travels_);
        models::nn::from_matrix(travels_, out);
        if (models::nn::all_finite(out.all())) return {};
        Failure failure{Errc::diverged, "its network's numbers are no longer finite"};
        failure.hint = divergence_advice;
        return tl::unexpected(std::move(failure));
    }
    Result<> take_batch(std::uint64_t step, std::size_t rank, const TensorView& numbers) {
        if (protocol_) return protocol_->add(stamp(step), rank, numbers, sum_);
        return take(numbers, schedule_.batch_rows(step), received_[rank]);
    }
    Result<> begun(std::size_t rank, Body body) {
        const auto reply = decode_begin_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        if (auto noted = note_begun(*run_, rank, *reply); !noted) return noted;
        if (auto planned = plan_encryption(rank, reply->features); !planned) return planned;
        return take_batch(0, rank, reply->scores);
    }
    Result<> stepped(std::uint64_t next, std::size_t rank, Body body) {
        const auto reply = decode_step_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        return take_batch(next, rank, reply->scores);
    }
    Result<> evaluated(const Stamp& stamp_of_rows, std::uint64_t rows, std::size_t rank, Body body,
                       Gathered& got) {
        const auto reply = decode_evaluate_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        if (protocol_) return protocol_->add(stamp_of_rows, rank, reply->scores, got.sum);
        return take(reply->scores, rows, got.theirs[rank]);
    }

    Run* run_;
    Party* own_;
    const Labels* labels_;
    BatchSchedule schedule_;
    std::unique_ptr<Bottom> own_bottom_;  ///< none where the master has no features
    std::unique_ptr<Top> top_;
    std::unique_ptr<Baseline> baseline_;
    data::LabelCoding coding_;
    const Records* own_part_ = nullptr;
    std::vector<Records> received_;  ///< of the next batch, by rank
    std::vector<Records> gradients_;
    models::Matrix travels_;
    // -- under a protocol that hides single parties' numbers ----
    std::unique_ptr<MasterProtocol> protocol_;
    bool agreed_ = false;
    models::Matrix sum_;      ///< of all parties' numbers of the next batch
    Records summed_;          ///< of the batch of a step
    models::Matrix by_rows_;  ///< the gradient by that sum
    std::optional<linear::EncryptedResiduals> residuals_;  ///< under protocol encrypted
    // -- of the rows of the last call of scores, in a training in which each party is seen ----
    std::vector<std::vector<double>> sums_;  ///< of the numbers of each party with a network
};

bool networks_chosen(const config::AgreedHalf& agreed) {
    return agreed.model.name != config::ModelName::linear;
}

/// What `encrypted` can compute: the first layer alone.
Result<> check_encrypted(const config::ModelConfig& model) {
    const auto widths = config::widths_of(model.bottom);
    if (model.name == config::ModelName::mlp && widths && widths->size() == 1) return {};
    const bool dense = model.name == config::ModelName::mlp;
    return fail(Errc::bad_config,
                "run.protocol = \"encrypted\" computes the gradients of one dense layer at each "
                "party, and " +
                    (dense ? "model.bottom = \"" + model.bottom + "\" has more"
                           : "model.name = \"" + std::string(config::name_of(model.name)) +
                                 "\" has more than that") +
                    ": state " + (dense ? "" : "model.name = \"mlp\" and ") +
                    "a single width, as model.bottom = \"64\"; the layers behind it are the "
                    "master's, model.top. More layers at the parties work with run.protocol = "
                    "\"masked\", which shows members the gradients of each row");
}

Result<> check_protocol(const config::AgreedHalf& agreed) {
    if (agreed.run.protocol == config::Protocol::honest) return {};
    if (agreed.model.combine == config::Combine::concat)
        return fail(Errc::bad_config,
                    "run.protocol = \"" + std::string(config::name_of(agreed.run.protocol)) +
                        "\" hides each party's numbers in the sum of all, and model.combine = "
                        "\"concat\" sets them side by side: state model.combine = \"sum\" or "
                        "\"mean\"");
    return agreed.run.protocol == config::Protocol::encrypted ? check_encrypted(agreed.model)
                                                              : Result<>();
}

constexpr config::Protocol network_protocols[] = {
    config::Protocol::honest, config::Protocol::masked, config::Protocol::encrypted};
constexpr MemberHandler network_handlers[] = {
    {message::begin, "begin", When::begins, answer_begin},
    {linear::product_message, "product", When::in_step, answer_product},
    {message::step, "step", When::ends_step, answer_step},
    {message::evaluate, "evaluate", When::any_rows, answer_evaluate},
    {message::round, "round", When::any_moment, answer_round},
};

}  // namespace

Result<std::unique_ptr<MasterHalf>> make_master(const MasterSetting& setting) {
    auto master = std::make_unique<SplitMaster>(setting);
    if (auto done = master->prepare(); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

Result<std::unique_ptr<MasterHalf>> make_predicting_master(const MasterSetting& setting,
                                                           std::string_view text,
                                                           std::string_view path) {
    const auto part = parse_split_part(text, path);
    if (!part) return tl::unexpected(part.error());
    if (!part->top) return fail(Errc::bad_data, std::string(path) + " is not the part of a master");
    auto master = std::make_unique<SplitMaster>(setting);
    if (auto done = master->prepare(*part); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

const Algorithm networks{
    .name = "split networks",
    .format = format_name,
    .chosen = networks_chosen,
    .protocols = network_protocols,
    .no_other_because =
        "the master goes on with the sum of the parties' numbers through layers that no arbiter "
        "computes; state run.protocol = \"encrypted\" with model.combine = \"sum\" and one width "
        "in model.bottom, which shows members the gradients of their own weights alone, "
        "\"masked\", or \"honest\"",
    .check = check_protocol,
    .train = make_master,
    .predict = make_predicting_master,
    .member = make_member,
    .handlers = network_handlers,
};

}  // namespace vflbus::actors::split
