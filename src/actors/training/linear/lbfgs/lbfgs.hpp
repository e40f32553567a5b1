#pragma once
// Linear models to convergence: all rows at once, one round trip per iteration, nothing to choose
// but the penalty. models/lbfgs.hpp has the algorithm; this folder puts it on the bus.
//
//   messages.hpp   what travels in a round
//   block.hpp      one party's columns and its half of the solver
//   master.cpp     the master's half: a round, what the label holder reaches alone
//   member.cpp     the member's half
//
// A step of the training is a round of the solver: step t applies the step that round t - 1 has
// chosen (none in round 0) and computes the gradient there. So a training of i iterations has
// i + 1 steps, and the master alone knows which one is the last.

#include "actors/training/algorithm.hpp"

namespace vflbus::actors::linear {

extern const Algorithm lbfgs;

/// Of the commits of this algorithm; its model parts are those of all linear models.
inline constexpr std::string_view lbfgs_state_name = "lbfgs";
inline constexpr std::uint64_t lbfgs_state_version = 1;

Result<std::unique_ptr<MasterHalf>> make_lbfgs_master(const MasterSetting& setting);
Result<std::unique_ptr<MemberHalf>> make_lbfgs_member(const MemberSetting& setting);

Result<Bytes> answer_lbfgs_begin(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_lbfgs_product(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_lbfgs_round(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_lbfgs_evaluate(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_lbfgs_protocol(MemberHalf& half, const MemberCall& call);

}  // namespace vflbus::actors::linear
