#pragma once
// Scores of whole tables, which every linear algorithm is asked for in the same way: metrics in the
// course of a training, and predictions. And what the log says of a member's columns when it
// begins.

#include <cstdint>
#include <string>
#include <vector>

#include "actors/party.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/run/run.hpp"
#include "actors/training/algorithm.hpp"
#include "actors/training/halves.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors::linear {

/// One party's share of the scores.
class RowScores {
  public:
    virtual ~RowScores() = default;
    /// Scores of rows [first, first + count) of one side, without intercept. malformed_message for
    /// rows that are not there, too_large for more than a message holds.
    virtual Result<> scores(TableKind side, std::uint64_t first, std::uint64_t count,
                            models::Matrix& z) const = 0;
};

/// The master's side of `evaluate`: the scores of all `rows` rows, summed over all parties, `own`
/// first and then by rank, after `step` steps. `shares`: what each party has added, where the
/// protocol shows it; else empty. All references outlive the Task.
Task<models::Matrix> summed_scores(Run& run, MasterProtocol& protocol, const RowScores& own,
                                   TableKind side, std::uint64_t rows, std::uint64_t outputs,
                                   std::uint64_t step, std::vector<models::Matrix>& shares);

/// The member's side. `scratch` holds the scores until they are encoded.
Result<Bytes> answer_rows(const RowScores& own, MemberProtocol& protocol, std::uint32_t term,
                          const MemberCall& call, models::Matrix& scratch);

/// A line when the gradients of a member with so many columns may tell it the labels of a batch
/// (`rows`: of the shortest one, or all of L-BFGS): they are as many equations as it has columns
/// for as many unknowns as there are rows.
void warn_of_few_rows(const Run& run, std::size_t rank, std::uint64_t features, std::uint64_t rows);
/// How a member's residuals are encrypted; nothing for "".
void say_encryption(const Run& run, std::size_t rank, const std::string& plan);
/// What was chosen for the line to each member, by rank, once it is known; nothing for "".
void say_lines(const Run& run, const std::vector<std::string>& lines);

}  // namespace vflbus::actors::linear
