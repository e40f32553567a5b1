#include "actors/feature_counts.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "privacy/rlwe/cipher.hpp"

namespace vflbus::actors {

namespace rlwe = privacy::rlwe;

Hash256 counts_seed(Body nonce_of_master, Body nonce_of_member) {
    std::string all = "vflbus counts of bins";
    all.append(nonce_of_master.begin(), nonce_of_master.end());
    all.append(nonce_of_member.begin(), nonce_of_member.end());
    return sha256(all);
}

// -- messages -------------------------------------------------------------------------

Bytes encode(const CountRequest& m) {
    bus::Writer w;
    w.reserve(m.zero.size() + m.ciphertexts.size() + 32);
    return w.array(2).bin(m.zero).bin(m.ciphertexts).take();
}

Result<CountRequest> decode_count_request(Body body) {
    bus::Reader r("count", body, 2);
    CountRequest m;
    m.zero = r.bin();
    m.ciphertexts = r.bin();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    return m;
}

// -- the plan -------------------------------------------------------------------------

namespace {

/// Marks of bins that a member holds at once: two bytes for each row and bin.
constexpr std::size_t marks_bytes_max = 64 << 20;

}  // namespace

class CountPlan {
  public:
    CountPlan(rlwe::Plan layout, std::size_t bins) : bins_(bins) {
        const std::size_t of_bin = 2 * layout.shape.rows;
        const std::size_t groups =
            std::max<std::size_t>(1, marks_bytes_max / (of_bin * layout.feature_group));
        together_ = groups * layout.feature_group;
        layout_ = layout;
    }

    [[nodiscard]] std::size_t rows() const noexcept { return layout_.shape.rows; }
    [[nodiscard]] std::size_t bins() const noexcept { return bins_; }
    [[nodiscard]] const rlwe::Plan& layout() const noexcept { return layout_; }
    /// Bins of the product that begins with bin `first`.
    [[nodiscard]] std::size_t together(std::size_t first) const noexcept {
        return std::min(together_, bins_ - first);
    }
    /// The plan of that product. It hides no less than that of all bins does.
    [[nodiscard]] rlwe::Plan of(std::size_t first) const {
        rlwe::Plan plan = layout_;
        plan.shape.features = together(first);
        return plan;
    }
    [[nodiscard]] static std::size_t answer_bytes(const rlwe::Plan& plan) {
        std::size_t bytes = 0;
        for (std::size_t group = 0; group < plan.feature_groups(); ++group)
            bytes += rlwe::answer_bytes(plan, plan.wanted(group, 0).size());
        return bytes;
    }

  private:
    rlwe::Plan layout_;
    std::size_t bins_;
    std::size_t together_;
};

Result<std::shared_ptr<const CountPlan>> plan_counts(std::size_t rows, std::size_t bins,
                                                     std::uint64_t message_bytes_max) {
    rlwe::Shape shape;
    shape.rows = rows;
    shape.features = std::max<std::size_t>(1, bins);
    shape.outputs = 1;
    shape.residual_most = 1;
    auto layout = rlwe::make_plan(shape);
    if (!layout)
        return fail(layout.error().code,
                    "the labels of " + std::to_string(rows) +
                        " rows cannot be counted under encryption: " + layout.error().sentence);
    const std::uint64_t down =
        layout->ciphertexts() * rlwe::ciphertext_bytes() + rlwe::polynomial_bytes();
    const std::uint64_t up = CountPlan::answer_bytes(*layout) + bins * sizeof(std::uint64_t);
    if (std::max(down, up) > message_bytes_max - message_bytes_max / 4)
        return fail(Errc::too_large,
                    "encrypted labels of " + std::to_string(rows) + " rows and counts of " +
                        std::to_string(bins) + " bins need messages of " +
                        human_bytes(std::max(down, up)) + ", more than " +
                        human_bytes(message_bytes_max) +
                        " (bus.message_bytes_max, of this party or its broker) hold: raise it, or "
                        "name fewer columns (features, exclude)");
    return std::make_shared<const CountPlan>(*layout, bins);
}

// -- the master -----------------------------------------------------------------------

struct LabelCounts::Hidden {
    Hidden(std::shared_ptr<const CountPlan> of, const Hash256& seed)
        : plan(std::move(of)), owner(seed) {}
    std::shared_ptr<const CountPlan> plan;
    rlwe::KeyOwner owner;
};

LabelCounts::LabelCounts(std::shared_ptr<const CountPlan> plan, const Hash256& seed)
    : hidden_(std::make_unique<Hidden>(std::move(plan), seed)) {}
LabelCounts::~LabelCounts() = default;
LabelCounts::LabelCounts(LabelCounts&&) noexcept = default;
LabelCounts& LabelCounts::operator=(LabelCounts&&) noexcept = default;

Bytes LabelCounts::request(std::span<const std::uint8_t> positive) {
    privacy::SecretVector<std::int32_t> values(positive.size());
    for (std::size_t i = 0; i < positive.size(); ++i) values[i] = positive[i];
    const Bytes ciphertexts =
        hidden_->owner.encrypt(hidden_->plan->layout(), values.span(), positive.size());
    return encode(CountRequest{hidden_->owner.zero(), ciphertexts});
}

Result<std::vector<std::int64_t>> LabelCounts::open(Body reply) {
    bus::Reader r("counts", reply, 2);
    Body answers = r.bin();
    const TensorView masks = r.tensor();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    const CountPlan& plan = *hidden_->plan;
    if (!masks.ring || masks.rows != plan.bins() || masks.cols != 1)
        return fail(Errc::malformed_message, "sent " + std::to_string(masks.rows) +
                                                 " masks for counts of " +
                                                 std::to_string(plan.bins()) + " bins");
    std::vector<std::uint64_t> words(plan.bins());
    masks.copy_to(words);
    std::vector<std::int64_t> counts;
    for (std::size_t first = 0; first < plan.bins();) {
        const rlwe::Plan product = plan.of(first);
        const std::size_t bins = product.shape.features;
        const std::size_t bytes = CountPlan::answer_bytes(product);
        if (answers.size() < bytes)
            return fail(Errc::malformed_message, "sent encrypted counts that are too short");
        const auto opened = hidden_->owner.decrypt(product, answers.first(bytes));
        if (!opened) return tl::unexpected(opened.error());
        answers = answers.subspan(bytes);
        privacy::SecretVector<std::uint64_t> under(bins);
        std::ranges::copy(std::span(words).subspan(first, bins), under.span().begin());
        const auto sums = rlwe::unmask(product, *opened, under);
        if (!sums) return tl::unexpected(sums.error());
        counts.insert(counts.end(), sums->begin(), sums->end());
        first += bins;
    }
    if (!answers.empty())
        return fail(Errc::malformed_message, "sent encrypted counts that are too long");
    return counts;
}

// -- a member -------------------------------------------------------------------------

namespace {

/// Which feature and which of its bins is bin `n` of all.
std::vector<std::pair<std::size_t, std::uint8_t>> all_bins(const data::BinnedTable& table) {
    std::vector<std::pair<std::size_t, std::uint8_t>> out;
    for (std::size_t c = 0; c < table.figures.size(); ++c)
        for (std::size_t b = 0; b < table.figures[c].bins.size(); ++b)
            out.emplace_back(c, static_cast<std::uint8_t>(b));
    return out;
}

}  // namespace

Result<Bytes> count_positives(const CountPlan& plan, const Hash256& seed,
                              const CountRequest& request, const data::BinnedTable& table) {
    auto answerer = rlwe::Answerer::create(seed, request.zero);
    if (!answerer) return tl::unexpected(std::move(answerer.error()));
    const auto bins = all_bins(table);
    Bytes answers;
    std::vector<std::uint64_t> masks;
    std::vector<std::int16_t> marks;
    for (std::size_t first = 0; first < plan.bins();) {
        const rlwe::Plan product = plan.of(first);
        const std::size_t together = product.shape.features;
        marks.assign(together * plan.rows(), 0);
        for (std::size_t b = 0; b < together; ++b) {
            const auto& [column, bin] = bins[first + b];
            const std::vector<std::uint8_t>& of_row = table.bins[column];
            for (std::size_t i = 0; i < of_row.size(); ++i)
                marks[b * plan.rows() + i] = of_row[i] == bin ? 1 : 0;
        }
        auto answer = answerer->answer(product, marks, plan.rows(), request.ciphertexts);
        if (!answer) return tl::unexpected(std::move(answer.error()));
        answers.insert(answers.end(), answer->bytes.begin(), answer->bytes.end());
        masks.insert(masks.end(), answer->masks.span().begin(), answer->masks.span().end());
        first += together;
    }
    bus::Writer w;
    w.reserve(answers.size() + masks.size() * sizeof(std::uint64_t) + 64);
    return w.array(2).bin(answers).ring_tensor(masks, masks.size(), 1).take();
}

}  // namespace vflbus::actors
