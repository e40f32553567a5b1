#include "count.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "actors/model_file.hpp"
#include "actors/run/run.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::actors::test {
namespace {

const StateFormat count_format{"count", 1};

/// Both halves: what is counted, in steps of one batch.
class Counter {
  public:
    Counter() = default;
    Counter(const config::ModelConfig& model, std::uint64_t rows)
        : batch_(model.batch_size == 0 ? rows : model.batch_size),
          batches_((rows + batch_ - 1) / batch_),
          epochs_(model.epochs),
          rows_(rows) {}

    [[nodiscard]] std::uint64_t steps() const { return batches_ * epochs_; }
    [[nodiscard]] std::uint64_t epochs() const { return epochs_; }
    [[nodiscard]] std::uint64_t batches() const { return batches_; }
    [[nodiscard]] std::uint64_t rows_of(std::uint64_t step) const {
        const std::uint64_t first = step % batches_ * batch_;
        return std::min(batch_, rows_ - first);
    }
    void count(std::uint64_t rows) { counted_ += rows; }
    [[nodiscard]] std::uint64_t counted() const { return counted_; }
    [[nodiscard]] std::string save() const { return std::to_string(counted_); }
    Result<> restore(std::string_view state) {
        const auto [end, code] =
            std::from_chars(state.data(), state.data() + state.size(), counted_);
        if (code == std::errc() && end == state.data() + state.size()) return {};
        return fail(Errc::bad_data, "the state of a commit is no number");
    }

  private:
    std::uint64_t batch_ = 1;
    std::uint64_t batches_ = 1;
    std::uint64_t epochs_ = 0;
    std::uint64_t rows_ = 0;
    std::uint64_t counted_ = 0;
};

Bytes numbers(std::initializer_list<std::uint64_t> values) {
    bus::Writer w;
    w.array(values.size());
    for (const std::uint64_t value : values) w.u64(value);
    return w.take();
}

Result<std::uint64_t> one_number(std::string_view what, Body body) {
    bus::Reader r(what, body, 1);
    std::uint64_t value = r.u64();
    return finished(r, std::move(value));
}

// -- the master's half ----------------------------------------------------------------

class CountMaster final : public MasterHalf {
  public:
    explicit CountMaster(const MasterSetting& setting)
        : run_(&setting.run), own_(&setting.own), coding_(setting.labels->coding) {}

    Task<> begin(std::uint64_t) override {
        counter_ = Counter(run_->config().model, own_->rows(TableKind::train).size());
        Replies asked = run_->parties().ask_all(message::begin, encode_empty());
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, same_rows(replies[i]));
    }
    std::uint64_t steps() const override { return counter_.steps(); }

    Task<StepResult> step(std::uint64_t step) override {
        const std::uint64_t rows = counter_.rows_of(step);
        const Bytes body = numbers({step, rows});
        Replies asked = run_->parties().ask_all(count_message, body);
        counter_.count(rows);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run_->said_by(i, as_many(replies[i]));
        StepResult result;
        result.loss = static_cast<double>(counter_.steps() - step);
        co_return result;
    }

    Task<models::Matrix> scores(TableKind side, std::uint64_t) override {
        models::Matrix all(own_->rows(side).size(), outputs());
        all.fill(0.5);
        co_return all;
    }
    models::Matrix predict(const models::Matrix& scores) const override { return scores; }
    TrainingPlace place(std::uint64_t step) const override {
        return {step == 0 ? 0 : (step - 1) / counter_.batches() + 1, counter_.epochs()};
    }

    StateFormat format() const override { return count_format; }
    std::string save() const override { return counter_.save(); }
    Result<> restore(std::uint64_t, std::string_view state) override {
        return counter_.restore(state);
    }
    Result<> restored(std::uint64_t, std::size_t, Body reply) override { return as_many(reply); }

    Result<std::string> part(ModelHead head) const override {
        head.steps = counter_.steps();
        head.outputs = outputs();
        return model_text(head, std::to_string(counter_.counted()));
    }
    std::uint64_t features() const override { return 0; }
    std::uint64_t outputs() const override { return coding_.outputs(); }
    const data::LabelCoding& coding() const override { return coding_; }

  private:
    Result<> same_rows(Body body) const {
        const auto rows = one_number("begin reply", body);
        if (!rows) return tl::unexpected(rows.error());
        if (*rows == own_->rows(TableKind::train).size()) return {};
        return fail(Errc::malformed_message, "has other rows");
    }
    Result<> as_many(Body body) const {
        const auto counted = one_number("count reply", body);
        if (!counted) return tl::unexpected(counted.error());
        if (*counted == counter_.counted()) return {};
        return fail(Errc::malformed_message, "has counted " + std::to_string(*counted) +
                                                 " rows, the master " +
                                                 std::to_string(counter_.counted()));
    }

    Run* run_;
    Party* own_;
    data::LabelCoding coding_;
    Counter counter_;
};

Result<std::unique_ptr<MasterHalf>> make_count_master(const MasterSetting& setting) {
    return std::make_unique<CountMaster>(setting);
}
Result<std::unique_ptr<MasterHalf>> predict_count(const MasterSetting&, std::string_view,
                                                  std::string_view path) {
    return fail(Errc::bad_config, std::string(path) + " holds a count, which predicts nothing");
}

// -- the member's half ----------------------------------------------------------------

class CountMember final : public MemberHalf {
  public:
    explicit CountMember(const MemberSetting& setting) : party_(&setting.party) {}

    Result<Bytes> begin() {
        const std::uint64_t rows = party_->rows(TableKind::train).size();
        counter_ = Counter(party_->agreed().model, rows);
        return numbers({rows});
    }
    Result<Bytes> count(const MemberCall& call) {
        bus::Reader r("count", call.body, 2);
        const std::uint64_t step = r.u64();
        const std::uint64_t rows = r.u64();
        if (auto done = r.finish(); !done) return tl::unexpected(done.error());
        if (auto due = call.due(step); !due) return tl::unexpected(due.error());
        if (rows != counter_.rows_of(step))
            return fail(Errc::malformed_message, "the batch has other rows");
        counter_.count(rows);
        return numbers({counter_.counted()});
    }

    std::uint64_t steps() const override { return counter_.steps(); }
    StateFormat format() const override { return count_format; }
    std::string save() const override { return counter_.save(); }
    Result<Bytes> restore(std::uint64_t, std::string_view state) override {
        if (auto done = counter_.restore(state); !done) return tl::unexpected(done.error());
        return numbers({counter_.counted()});
    }
    Result<std::string> part(ModelHead head) const override {
        head.steps = counter_.steps();
        return model_text(head, std::to_string(counter_.counted()));
    }
    Result<> use(std::string_view, std::string_view) override {
        return fail(Errc::bad_config, "a count predicts nothing");
    }
    std::uint64_t features() const override { return 0; }
    std::uint64_t outputs() const override { return 1; }

  private:
    Party* party_;
    Counter counter_;
};

Result<std::unique_ptr<MemberHalf>> make_count_member(const MemberSetting& setting) {
    return std::make_unique<CountMember>(setting);
}
Result<Bytes> answer_count_begin(MemberHalf& half, const MemberCall&) {
    return static_cast<CountMember&>(half).begin();
}
Result<Bytes> answer_count(MemberHalf& half, const MemberCall& call) {
    return static_cast<CountMember&>(half).count(call);
}

bool count_chosen(const config::AgreedHalf& agreed) {
    return agreed.run.experiment_label == count_label;
}

constexpr config::Protocol count_protocols[] = {config::Protocol::honest};
constexpr MemberHandler count_handlers[] = {
    {message::begin, "begin", When::begins, answer_count_begin},
    {count_message, "count", When::ends_step, answer_count},
};

}  // namespace

const Algorithm count_rows{
    .name = "count",
    .format = "count",
    .chosen = count_chosen,
    .protocols = count_protocols,
    .check = nullptr,
    .train = make_count_master,
    .predict = predict_count,
    .member = make_count_member,
    .handlers = count_handlers,
};

Result<std::uint64_t> counted_in(std::string_view part, std::string_view path) {
    const auto content = model_content(part, path);
    if (!content) return tl::unexpected(content.error());
    return std::stoull(*content);
}

}  // namespace vflbus::actors::test
