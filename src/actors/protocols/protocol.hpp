#pragma once
// How sums of scores and gradients are reached. Algorithms go through these two interfaces with
// everything that a privacy protocol masks or encrypts (scores of steps and of evaluations,
// residuals), so that such a protocol is a further implementation and no change of an algorithm.
//
// A step as the interfaces see it, for the scores z of batch t:
//   member  share(stamp, z_k)              what travels as its scores
//   master  start(stamp, own, sum); add(stamp, rank, ..., sum) by rank; finish(stamp, sum) -> z
//   master  outgoing(stamp, r)             what travels as the residual
//   member  incoming(stamp, ..., r)        what it steps its weights with
//
// Every tensor has a stamp, which says what it covers. Masks are keyed by it, and never by the step
// alone: an evaluation between two steps has scores of the same step as the batch that waits, and
// the difference of two tensors under one mask would be in the clear.
//
// Extra rounds (key agreement before the first step; decryption of blinded gradients within one)
// are messages of type `round`, which a protocol sends to whom it likes: all members, some of
// them, or an arbiter (run/parties.hpp).

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "actors/messages.hpp"
#include "actors/run/parties.hpp"
#include "actors/run/task.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// What a tensor covers. No two tensors of one run have the same stamp, and a stamp means the same
/// tensor at all parties.
struct Stamp {
    enum class Tensor : std::uint8_t {
        scores,           ///< of rows of a batch, or of a side
        residual,         ///< of a batch
        products,         ///< numbers of a round of a solver that are no rows
        gradient_scores,  ///< X g of all rows, in a round of a solver
    };
    std::uint32_t term = 0;
    std::uint64_t step = 0;
    /// Of scores that are evaluated: which side. Of a batch: TableKind::train.
    TableKind table = TableKind::train;
    /// Of scores that are evaluated: the first row. Of a batch: `batch`, as its rows are those of
    /// the step.
    std::uint64_t first_row = batch;
    Tensor tensor = Tensor::scores;

    static constexpr std::uint64_t batch = UINT64_MAX;
    friend auto operator<=>(const Stamp&, const Stamp&) = default;
};

class MasterProtocol {
  public:
    virtual ~MasterProtocol() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;
    /// What others get to see in this protocol with so many members; logged at the start of every
    /// run.
    [[nodiscard]] virtual std::string notice(std::uint64_t members) const = 0;

    /// Whether the scores of one member reach the master as they are, so that it can say what each
    /// party is worth. Where they are masked or encrypted it cannot.
    [[nodiscard]] virtual bool sees_scores() const noexcept { return false; }

    /// Before the first request of the algorithm in a term: key agreement and the like.
    virtual Task<> begin(Parties& parties) = 0;
    /// Whether `within_step` has something to do; false costs a step nothing.
    [[nodiscard]] virtual bool has_rounds_in_step() const noexcept { return false; }
    /// After the replies to a step have come: rounds that end it.
    virtual Task<> within_step(Parties& parties, std::uint64_t step) = 0;

    /// The sum (b x k) begins with the master's own scores.
    virtual Result<> start(const Stamp& stamp, models::ConstMatrixView own,
                           models::Matrix& sum) = 0;
    /// Scores of one member as they came. Called by rank, so that the terms are added in that
    /// order. malformed_message when the shape differs.
    virtual Result<> add(const Stamp& stamp, std::size_t rank, const TensorView& scores,
                         models::Matrix& sum) = 0;
    /// All members have been added: `sum` is what it is called, without intercept.
    virtual Result<> finish(const Stamp& stamp, models::Matrix& sum) = 0;

    /// A number that the master and member `rank` both know and neither has chosen alone, made for
    /// `use`: public, and another one after each begin(). Zeros in protocols without.
    [[nodiscard]] virtual Hash256 public_seed(std::size_t /*rank*/, std::uint64_t /*use*/) const {
        return {};
    }
    /// What members receive for the residual (b x k). Valid until the next call.
    virtual Result<models::ConstMatrixView> outgoing(const Stamp& stamp,
                                                     models::ConstMatrixView residual) = 0;
};

class MemberProtocol {
  public:
    virtual ~MemberProtocol() = default;

    /// What travels in place of the scores `z` (b x k). Valid until the next call for the same sort
    /// of tensor.
    virtual Result<SentTensor> share(const Stamp& stamp, models::ConstMatrixView z) = 0;
    /// The residual (b x k) of what outgoing() sent.
    virtual Result<> incoming(const Stamp& stamp, const TensorView& sent,
                              models::Matrix& residual) = 0;
    virtual Result<Bytes> answer(const RoundRequest& request) = 0;
    /// As of MasterProtocol, for this member.
    [[nodiscard]] virtual Hash256 public_seed(std::uint64_t /*use*/) const { return {}; }
};

/// What others get to see of each party in this training; "" for a protocol that is not built.
std::string protocol_notice(const config::AgreedHalf& agreed);
/// What of a run's own settings takes the protection away, for its notice and its report; or empty.
std::string weakness(const config::RunConfig& run);
/// The same of a prediction, in which nothing comes back to the members.
std::string prediction_notice(const config::AgreedHalf& agreed);

/// What the broker and the lines to it read of a run that masks or encrypts, when nothing seals its
/// messages beyond this machine; "" for other runs.
std::string unsealed_notice(const config::Config& config);
/// ... and that one of several members alone has features: a mask of members that add nothing to a
/// sum hides nobody. "" where more have some, and where there is no mask or one member anyway.
/// `features`: of each member.
std::string lonely_notice(const config::AgreedHalf& agreed,
                          std::span<const std::uint64_t> features);

/// Errors: bad_config.
Result<std::unique_ptr<MasterProtocol>> make_master_protocol(std::string_view name);
/// `agreed`: says which protocol, and how many members there are.
Result<std::unique_ptr<MemberProtocol>> make_member_protocol(const config::AgreedHalf& agreed);

}  // namespace vflbus::actors
