#pragma once
// Steps of mini-batches under protocol `encrypted` with one round trip: what is encrypted are
// random numbers, and all of it is done before the residual is known.
//
// The problem: a member's step needs X' r without r (encrypted.hpp). If the residual itself is
// encrypted, a step waits for two round trips and for every transform, and a ciphertext is seventy
// times as long as the residual in it. But which rows a step takes is known long before their
// residuals are. So the master draws a *pad* p for each step, as many numbers as the residual has,
// uniform modulo t (Beaver, Efficient multiparty protocols using circuit randomization, CRYPTO
// 1991):
//
//   ahead   product  [t, -, 0, line, zero, switch keys, encrypted p]  -> [X' p + R, encrypted]
//   step    step     [t, X' p + R, exponent, r - p modulo t]    -> [scores of batch t + 1]
//
// The member hides X' p under random numbers R as always, and the master opens X' p + R. In the
// step the member computes X' (r - p) + (X' p + R) - R = X' r modulo t, which is exact. It learns
// what it would learn otherwise: r - p is uniform for whoever does not know p, and a pad serves one
// step and one member. `product` of a step is sent while the steps before it are under way.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/training/linear/beside.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/schedule.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"
#include "privacy/masks/secret.hpp"
#include "privacy/rlwe/cipher.hpp"

namespace vflbus::actors::linear {

/// So many steps at most may a product be ahead of the step that is due.
inline constexpr std::uint64_t products_ahead_max = 2;

/// `step` under protocol `encrypted`. Words are below 2^plain_bits of the member's plan.
struct PaddedStep {
    std::uint64_t step = 0;
    TensorView opened;  ///< features x outputs: X' p under the member's masks
    std::int64_t exponent = 0;
    TensorView residual;  ///< rows x outputs: residuals times 2^exponent, less the pad
};
Bytes encode(const PaddedStep& m, std::span<const std::uint64_t> opened,
             std::span<const std::uint64_t> residual, std::size_t outputs);
Result<PaddedStep> decode_padded_step(Body body);

// -- the master ---------------------------------------------------------------------------

/// Pads and keys of one term, for all members.
class PaddedResiduals {
  public:
    explicit PaddedResiduals(const MasterProtocol& protocol) : protocol_(&protocol) {}

    /// The next member, by rank. Errors as of plan_within.
    Result<> add_member(const privacy::rlwe::Shape& shape, std::uint64_t message_bytes_max) {
        return plans_.add(shape, message_bytes_max);
    }
    [[nodiscard]] const MemberPlans& plans() const noexcept { return plans_; }
    /// Bytes of the longest `product` under a key that members have.
    [[nodiscard]] std::size_t request_bytes() const;

    /// Which product is meant: of step `step`, of a batch of `rows`, under key number `key`.
    struct Due {
        std::uint64_t step = 0;
        std::uint64_t key = 0;
        std::size_t rows = 0;
        friend bool operator==(const Due&, const Due&) = default;
    };
    /// The bodies of `product`, by rank, with new pads. Another key number than before makes new
    /// keys. Each step once, in order.
    std::vector<Bytes> request(const Due& due);
    /// Whether the product of the step that was asked for last brought keys.
    [[nodiscard]] bool brought_keys() const noexcept { return brought_keys_; }
    /// Begins the next request() on a thread of its own. open() and correct() may be called
    /// meanwhile.
    void prepare(const Due& due);
    /// Opens the answer of member `rank` for the oldest step that was asked for and is not
    /// corrected yet, each once. malformed_message when it is not of the plan's size.
    /// `took`: since it was asked for.
    Result<> open(std::size_t rank, Body reply, Duration took);
    /// Member `rank` took so long for a step.
    void stepped(std::size_t rank, Duration took) { plans_.meter(rank).step(took); }
    /// As of MemberPlans: for products that are not asked for yet.
    [[nodiscard]] bool lines_are_due() const { return plans_.lines_are_due(); }
    std::vector<std::string> choose_lines(double ms_of_transform);
    /// The opened numbers of that step, features x outputs, to which noise may be added.
    [[nodiscard]] std::span<std::uint64_t> opened(std::size_t rank) {
        return steps_.front()[rank].opened;
    }
    /// The bodies of `step`, by rank, for that step, whose pads are gone then. `exponent`: the
    /// power of two that residuals are multiplied by; none: as large as the largest of them
    /// allows. Errors: diverged.
    Result<std::vector<Bytes>> correct(std::uint64_t step, models::ConstMatrixView residual,
                                       std::optional<int> exponent = {});
    /// Nothing that was asked for will be answered.
    void forget();

  private:
    struct Pad {
        privacy::rlwe::Plan plan;
        std::shared_ptr<privacy::rlwe::KeyOwner> owner;
        privacy::SecretVector<std::uint64_t> numbers;  ///< rows x outputs, column-major
        std::vector<std::uint64_t> opened;
        bool waits = true;     ///< for an answer
        std::size_t sent = 0;  ///< bytes of the product
    };
    /// What is drawn before a thread of its own makes the rest.
    struct Draws {
        std::vector<Hash256> seeds;        ///< of new keys
        std::vector<privacy::Key> secret;  ///< the same
        std::vector<privacy::Key> pads;
    };
    struct Made {
        Due due;
        std::vector<Pad> pads;
        std::vector<Bytes> bodies;
        bool keys = false;
    };
    [[nodiscard]] Draws draw(std::uint64_t key) const;
    Made make(const Due& due, Draws draws);

    const MasterProtocol* protocol_;
    MemberPlans plans_;
    std::optional<std::uint64_t> key_;
    std::vector<std::shared_ptr<privacy::rlwe::KeyOwner>> owners_;  ///< under `key_`
    std::vector<bool> switched_;                                    ///< their switch keys are sent
    std::vector<std::vector<Pad>> steps_;                           ///< the oldest first
    bool brought_keys_ = false;
    std::optional<Made> made_;
    Beside ahead_;  ///< the last member: it is awaited before the others go
};

/// For the simulation: told what a member reads of residuals. Null in the product.
using PaddedWatch = void (*)(std::size_t rank, std::span<const std::uint64_t> words,
                             std::uint32_t bits);
void watch_padded(PaddedWatch watch) noexcept;

// -- a member -------------------------------------------------------------------------------

/// Where a member's batches come from.
struct BatchSource {
    /// The rows of a step; called on the thread of the member.
    std::function<void(std::uint64_t step, models::Matrix& batch)> gather;
    /// Their integers; called on any thread, one at a time.
    std::function<Result<>(models::ConstMatrixView batch, IntegerColumns& columns)> convert;
};

/// The member's answers of one training.
class PaddedGradients {
  public:
    PaddedGradients(const MemberProtocol& protocol, BatchSchedule schedule, BatchSource source)
        : protocol_(&protocol), schedule_(std::move(schedule)), source_(std::move(source)) {}

    /// Errors as of plan_within.
    Result<> plan(const privacy::rlwe::Shape& shape, std::uint64_t message_bytes_max);
    /// Step `step` is the next one, and nothing was answered for it or later ones.
    void begin(std::uint64_t step);
    /// The reply to `product` while step `due` is due: of that step or a later one, once each.
    Result<Bytes> answer(const ProductRequest& request, std::uint64_t due);
    /// The rows of a step whose product was answered, which were gathered for it: once. None where
    /// all steps have the same.
    [[nodiscard]] std::optional<models::Matrix> take_rows(std::uint64_t step);
    /// X' r (features x outputs) of the step, which was answered.
    Result<> correct(const PaddedStep& message, models::Matrix& gradient);
    [[nodiscard]] unsigned residual_bits() const { return plan_->residual_bits; }

  private:
    struct Batch {
        std::uint64_t step = 0;
        models::Matrix rows;
        std::shared_ptr<IntegerColumns> columns;
        Result<> converted;
    };
    struct Pending {
        std::shared_ptr<const IntegerColumns> columns;
        std::optional<models::Matrix> rows;  ///< none where steps have the same
        privacy::SecretVector<std::uint64_t> masks;
    };
    void load(std::uint64_t step);
    void convert();
    void prepare(std::uint64_t step);
    [[nodiscard]] Result<> check(const ProductRequest& request, std::uint64_t due) const;
    [[nodiscard]] Result<> check(const PaddedStep& message, std::size_t rows) const;

    const MemberProtocol* protocol_;
    BatchSchedule schedule_;
    BatchSource source_;
    std::uint64_t message_bytes_max_ = 0;
    std::optional<privacy::rlwe::Plan> plan_;
    std::optional<std::uint64_t> key_;
    std::optional<privacy::rlwe::Answerer> answerer_;
    std::map<std::uint64_t, Pending> pending_;  ///< answered, by step
    Batch batch_;                               ///< whose product is expected next
    bool loaded_ = false;                       ///< `batch_` is of some step
    privacy::rlwe::Ahead prepared_;
    Beside ahead_;  ///< the last member: it is awaited before the others go
};

}  // namespace vflbus::actors::linear
