#pragma once
// Gradients of members whose residuals nobody but the master reads: protocol `encrypted`, with
// L-BFGS, and of split networks (../split). (For mini-batches of linear models the same encryption
// is done ahead of the residual: padded.hpp.)
//
// The problem: a member's step needs X' r, and r tells the labels. The master encrypts r under a
// key of its own, the member multiplies the ciphertexts by its columns and hides the result under
// random numbers, the master decrypts these sums, and the member takes its numbers off
// (docs/privacy.md; privacy/rlwe/cipher.hpp). So a round has one round trip more than in `honest`:
//
//   product   [t, settings, exponent, line, zero, switch keys, ciphertexts]   -> [answer]
//   iterate, whose residual is an integer tensor: the opened numbers (features x outputs); of
//   networks step
//
// On a slow line most of the bytes of a step are coefficients that nobody wants. The master times
// the first messages, and where it pays it tells the member how slow the line is (`line`): from
// then on both make the plan for such a line, which packs answers (privacy/rlwe/packing.hpp). The
// results are the same integers, and so is the model.
//
// Columns become integers below 2^15, each column with a power of two of its own; residuals
// integers of the plan's width, with a power of two that the message says (`exponent`).

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/training/linear/beside.hpp"
#include "actors/training/linear/line_meter.hpp"
#include "actors/training/linear/messages.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"
#include "privacy/rlwe/cipher.hpp"

namespace vflbus::actors::linear {

/// Of the powers of two that residuals, shares and columns are multiplied by: far more than numbers
/// need.
inline constexpr int exponent_max = 1100;

struct ProductRequest {
    std::uint64_t step = 0;
    TensorView settings;  ///< of L-BFGS in round 0, otherwise without rows
    std::int64_t exponent = 0;
    std::uint32_t line = 0;  ///< as of rlwe::Shape
    Body zero;               ///< with a new key; otherwise empty
    Body switch_keys;        ///< where the plan packs and those of the key have not come
    Body ciphertexts;
};

Bytes encode(const ProductRequest& m, models::ConstMatrixView settings);
Result<ProductRequest> decode_product_request(Body body);
Bytes encode_product_reply(Body answer);
/// The answer. Borrows from `body`.
Result<Body> decode_product_reply(Body body);

// -- the master ---------------------------------------------------------------------------

/// Answers of one member in a whole run, when a training has `steps` of them: each fold is one more
/// training on columns that the flood of each answer hides.
std::uint64_t products_of(const config::AgreedHalf& agreed, std::uint64_t steps);

/// The plan of both sides for one member. Errors: too_large, when the numbers of a step do not fit
/// into what encryption or messages of `message_bytes_max` hold. Each side asks with its own limit
/// before the first step, as a message that is too large there would be found in the middle.
Result<privacy::rlwe::Plan> plan_within(const privacy::rlwe::Shape& shape,
                                        std::uint64_t message_bytes_max);

/// The plans of all members, by rank.
class MemberPlans {
  public:
    /// The next member. Errors as of plan_within.
    Result<> add(const privacy::rlwe::Shape& shape, std::uint64_t message_bytes_max);
    /// How member `rank` is answered, in one line; "" for one without columns.
    [[nodiscard]] std::string describe(std::size_t rank) const;
    [[nodiscard]] std::size_t size() const noexcept { return plans_.size(); }
    [[nodiscard]] std::size_t features(std::size_t rank) const {
        return plans_[rank].shape.features;
    }
    [[nodiscard]] const privacy::rlwe::Plan& operator[](std::size_t rank) const {
        return plans_[rank];
    }
    /// What messages to member `rank` took.
    [[nodiscard]] LineMeter& meter(std::size_t rank) { return meters_[rank]; }
    /// Enough messages are timed, and no lines are chosen yet.
    [[nodiscard]] bool lines_are_due() const;
    /// Once in a term: takes the plan for each member's line where a step takes a fifth less with
    /// it. What was chosen and why, by rank; "" for one without columns. `ms_of_transform`: see
    /// transform_ms().
    std::vector<std::string> choose_lines(double ms_of_transform);
    /// Of the residuals of all members that have columns; most where none has.
    [[nodiscard]] unsigned residual_bits() const;

  private:
    std::string choose_line(std::size_t rank, double ms_of_transform);
    std::vector<privacy::rlwe::Plan> plans_;
    std::vector<LineMeter> meters_;
    std::uint64_t message_bytes_max_ = 0;
    bool chosen_ = false;
};

/// The largest number of a residual, without its sign. Errors: diverged, when one is not finite.
Result<double> largest_residual(std::uint64_t step, models::ConstMatrixView residual);
/// The power of two by which residuals up to `largest` become integers of `bits` bits.
std::int64_t residual_exponent(double largest, std::uint32_t bits);
/// Residuals times 2^exponent as integers of `bits` bits.
void residual_integers(models::ConstMatrixView residual, int exponent, std::uint32_t bits,
                       std::span<std::int32_t> out);

/// Keys and residuals of one term, for all members.
class EncryptedResiduals {
  public:
    explicit EncryptedResiduals(const MasterProtocol& protocol) : protocol_(&protocol) {}

    /// The next member, by rank. Errors as of plan_within.
    Result<> add_member(const privacy::rlwe::Shape& shape, std::uint64_t message_bytes_max);
    [[nodiscard]] const MemberPlans& plans() const noexcept { return plans_; }

    /// The bodies of `product` for all members, by rank. `key`: its number; another one than before
    /// makes new keys. Residuals are multiplied by a power of two as large as the largest of them
    /// allows.
    Result<std::vector<Bytes>> encrypt(std::uint64_t step, std::uint64_t key,
                                       models::ConstMatrixView residual,
                                       models::ConstMatrixView settings);
    /// Begins all of the next encrypt(), which is under key number `key`, that does not need the
    /// residual: on a thread of its own, while members compute. open() may be called meanwhile.
    void prepare(std::uint64_t key);
    /// The opened numbers of member `rank`, each answer once; `took`: since it was asked.
    /// malformed_message when it is not of the plan's size.
    Result<std::vector<std::uint64_t>> open(std::size_t rank, Body reply, Duration took);
    /// Member `rank` took so long for the round.
    void stepped(std::size_t rank, Duration took) { plans_.meter(rank).step(took); }
    /// As of MemberPlans.
    [[nodiscard]] bool lines_are_due() const { return plans_.lines_are_due(); }
    std::vector<std::string> choose_lines(double ms_of_transform);

  private:
    struct Member {
        std::unique_ptr<privacy::rlwe::KeyOwner> owner;
        std::unique_ptr<privacy::rlwe::KeyOwner> next;  ///< of the key that is prepared
        bool waits = false;                             ///< for an answer
        bool switched = false;                          ///< the owner's switch keys are sent
        std::size_t sent = 0;                           ///< bytes of the product
    };
    const MasterProtocol* protocol_;
    std::optional<std::uint64_t> key_;
    std::optional<std::uint64_t> next_key_;
    MemberPlans plans_;
    std::vector<Member> members_;
    Beside ahead_;  ///< the last member: it is awaited before the others go
};

// -- a member -------------------------------------------------------------------------------

/// Columns as integers: column j is values times 2^exponent[j], rounded to the nearest.
struct IntegerColumns {
    std::vector<std::int16_t> values;  ///< rows x features, column-major
    std::vector<int> exponents;
};
/// The exponents with which no number of a column passes 2^15.
std::vector<int> column_exponents(models::DesignView design);
/// The exponent for a column whose largest number is `largest`.
int column_exponent(double largest);
/// No integer of a column is larger.
inline constexpr double column_most = (1 << privacy::rlwe::column_bits) - 1;
/// The rows of a batch (b x d).
void to_integers(models::ConstMatrixView batch, IntegerColumns& columns);

/// The plan for the line that a request names, and the keys that are due with it: a key when its
/// number is a new one, switch keys when the plan packs and those of the key have not come. Each is
/// malformed_message at another time. Errors as of plan_within.
struct MemberKeys {
    std::optional<privacy::rlwe::Plan>& plan;
    std::optional<std::uint64_t>& key;
    std::optional<privacy::rlwe::Answerer>& answerer;
};
Result<> take_keys(const MemberKeys& keys, const MemberProtocol& protocol,
                   const ProductRequest& request, std::uint64_t key,
                   std::uint64_t message_bytes_max);

/// The member's answers of one term.
class EncryptedGradients {
  public:
    explicit EncryptedGradients(const MemberProtocol& protocol) : protocol_(&protocol) {}

    /// Errors as of plan_within.
    Result<> plan(const privacy::rlwe::Shape& shape, std::uint64_t message_bytes_max);
    /// Begins all of the next answer that does not need the ciphertexts, on a thread of its own,
    /// while the member waits for them: they will be under key number `key`. `make`, which may be
    /// empty, is run first and fills `columns`; nobody else touches these, nor what `make` reads,
    /// until await() or answer().
    void prepare(const IntegerColumns& columns, std::size_t rows, std::uint64_t key,
                 std::function<void()> make = {});
    /// Until nothing looks at columns any more.
    void await();
    /// The reply to `product` of step `step`, under key number `key`. Once in a step.
    Result<Bytes> answer(const ProductRequest& request, std::uint64_t key,
                         const IntegerColumns& columns, std::size_t rows);
    /// X' r (features x outputs) from the opened numbers of the same step.
    Result<> open(std::uint64_t step, const TensorView& opened, models::Matrix& gradient);

  private:
    const MemberProtocol* protocol_;
    std::uint64_t message_bytes_max_ = 0;
    std::optional<privacy::rlwe::Plan> plan_;
    std::optional<std::uint64_t> key_;
    std::optional<privacy::rlwe::Answerer> answerer_;
    struct Pending {
        std::uint64_t step = 0;
        int exponent = 0;
        std::vector<int> columns;
        privacy::SecretVector<std::uint64_t> masks;
    };
    std::optional<Pending> pending_;
    std::optional<privacy::rlwe::Ahead> prepared_;
    Beside ahead_;  ///< the last member: it is awaited before the others go
};

}  // namespace vflbus::actors::linear
