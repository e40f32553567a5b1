#pragma once
// How sums of scores and gradients are reached. Master and members go through these two interfaces
// and nothing else, so that a protocol that hides scores (masked, encrypted, arbitered: DESIGN.md,
// section 6) is a further implementation and no change of the training.
//
// A step as the interfaces see it, for batch t:
//   member  share(t, z_k)                  what travels as its scores
//   master  start(t, own) ; add(rank, ...) for every member ; sum(t) -> z
//   master  outgoing(t, r)                 what travels as the residual
//   member  gradient(t, ..., party)        steps the member's weights
// Extra rounds (key agreement before the first step; decryption of blinded gradients within a step)
// are messages of type `round`: the master sends what rounds() gives until it gives nothing, each
// answered by the member's answer().

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

class MasterProtocol {
  public:
    virtual ~MasterProtocol() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;
    /// What others get to see in this protocol; logged at the start of every run.
    [[nodiscard]] virtual std::string notice() const = 0;

    /// Bodies of extra round `round`, one per member by rank; empty when there is no (further) one.
    /// `honest` has none at all; it is asked nevertheless, before the first step of a term and in
    /// every one that is not sequential, where protocols with key agreement or decryption (not
    /// built yet) have theirs. An empty vector allocates nothing.
    virtual Result<std::vector<Bytes>> rounds(Moment moment, std::uint64_t step,
                                              std::uint64_t round) = 0;
    virtual Result<> on_round(Moment moment, std::uint64_t step, std::uint64_t round,
                              std::size_t rank, Body payload) = 0;

    /// The sum begins with the master's own scores (b x k).
    virtual Result<> start(std::uint64_t step, models::ConstMatrixView own) = 0;
    /// Scores of one member as they came, in any order. malformed_message when the shape differs.
    virtual Result<> add(std::uint64_t step, std::size_t rank, const TensorView& scores) = 0;
    /// b x k, without intercept; the terms are added by rank, whatever the order of arrival.
    /// Valid until the next call.
    virtual Result<models::ConstMatrixView> sum(std::uint64_t step) = 0;

    /// What members receive for the residual of `step`. Valid until the next call.
    virtual Result<models::ConstMatrixView> outgoing(std::uint64_t step,
                                                     models::ConstMatrixView residual) = 0;
};

class MemberProtocol {
  public:
    virtual ~MemberProtocol() = default;

    /// What travels in place of the scores `z` (b x k). Valid until the next call.
    virtual Result<models::ConstMatrixView> share(std::uint64_t step,
                                                  models::ConstMatrixView z) = 0;
    /// Steps the party's weights with what outgoing() sent (b x k).
    virtual Result<> gradient(std::uint64_t step, const TensorView& residual, Party& party) = 0;
    virtual Result<Bytes> answer(Moment moment, std::uint64_t step, std::uint64_t round,
                                 Body payload) = 0;
};

/// Errors: bad_config, "not built yet" for protocols that DESIGN.md names, otherwise unknown.
Result<std::unique_ptr<MasterProtocol>> make_master_protocol(std::string_view name,
                                                             std::size_t members);
Result<std::unique_ptr<MemberProtocol>> make_member_protocol(std::string_view name);

}  // namespace vflbus::actors
