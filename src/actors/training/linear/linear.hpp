#pragma once
// Linear models: one score per row and output, the sum over all parties of their columns times
// their weights. The master turns the sums into residuals, with which every party steps its own
// weights; the rows of the table for each way to do so.
//
//   lbfgs/           all rows at once, until it converges
//   honest.cpp       mini-batches: one round trip per step
//   encrypted.hpp    gradients of members that do not see the residuals, with L-BFGS
//   padded.hpp       the same for mini-batches, with all encryption ahead of the step
//   arbitered.hpp    trainings in which nobody sees scores or residuals: their messages and what
//                    each party does; arbitered_steps.cpp the master's half, share_plan.hpp the
//                    layout of numbers, share_cipher.hpp their encryption
//   differential.hpp noise for differential privacy in mini-batches
//   sequential.cpp   the seed's mode: one party after another solves for what the others leave
//   master.hpp       what their master's halves share; member.cpp their member's half
//   rows.hpp         scores of whole tables, for metrics and predictions
//   block.hpp        weights and batches of one party; part.hpp its file;
//                    ../state.hpp its commits

#include "actors/training/algorithm.hpp"
#include "actors/training/linear/messages.hpp"

namespace vflbus::actors::linear {

extern const Algorithm honest;
extern const Algorithm sequential;
extern const Algorithm arbitered;

/// The halves that all linear algorithms have in common.
Result<std::unique_ptr<MasterHalf>> make_predicting_master(const MasterSetting& setting,
                                                           std::string_view text,
                                                           std::string_view path);
Result<std::unique_ptr<MemberHalf>> make_member(const MemberSetting& setting);
/// Models with a log link work with protocol honest alone. Errors: bad_config.
Result<> check_link(const config::AgreedHalf& agreed);

// -- what the member's half answers, for the rows of linear algorithms -------------------

Result<Bytes> answer_begin(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_product(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_step(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_solve(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_evaluate(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_round(MemberHalf& half, const MemberCall& call);

inline constexpr MemberHandler on_begin{message::begin, "begin", When::begins, answer_begin};
inline constexpr MemberHandler on_product{product_message, "product", When::in_step,
                                          answer_product};
inline constexpr MemberHandler on_step{message::step, "step", When::ends_step, answer_step};
inline constexpr MemberHandler on_solve{message::solve, "solve", When::ends_step, answer_solve};
inline constexpr MemberHandler on_evaluate{message::evaluate, "evaluate", When::any_rows,
                                           answer_evaluate};
inline constexpr MemberHandler on_round{message::round, "round", When::any_moment, answer_round};

/// Of all linear models, whatever the way to train them.
inline constexpr std::string_view format_name = "linear";
inline constexpr std::uint64_t format_version = 1;

}  // namespace vflbus::actors::linear
