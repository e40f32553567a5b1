#pragma once
// Scores of whole tables, which every linear algorithm is asked for in the same way: metrics in the
// course of a training, and predictions. And what the halves of all algorithms, networks included,
// say and check of themselves when they begin, are asked for rows or were restored.

#include <cstdint>
#include <vector>

#include "actors/party.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/run/run.hpp"
#include "actors/training/algorithm.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors::linear {

/// Bytes of scores that one evaluate reply may hold.
inline constexpr std::uint64_t evaluate_reply_bytes_max = std::uint64_t{16} << 20;

/// Puts `part` into `all` from row `first` on.
void copy_rows(models::ConstMatrixView part, std::uint64_t first, models::Matrix& all);

/// One party's share of the scores.
class RowScores {
  public:
    virtual ~RowScores() = default;
    /// Scores of rows [first, first + count) of one side, without intercept. malformed_message for
    /// rows that are not there, too_large for more than a message holds.
    virtual Result<> scores(TableKind side, std::uint64_t first, std::uint64_t count,
                            models::Matrix& z) const = 0;
};

/// The checks of `scores`: `rows` of the side there are.
Result<> check_rows(TableKind side, std::uint64_t rows, std::uint64_t first, std::uint64_t count,
                    std::size_t outputs);

/// The master's side of `evaluate`: the scores of all `rows` rows, summed over all parties, `own`
/// first and then by rank, after `step` steps. `shares`: what each party has added, where the
/// protocol shows it; else empty. All references outlive the Task.
Task<models::Matrix> summed_scores(Run& run, MasterProtocol& protocol, const RowScores& own,
                                   TableKind side, std::uint64_t rows, std::uint64_t outputs,
                                   std::uint64_t step, std::vector<models::Matrix>& shares);

/// What `evaluate` asks a member for. Errors: malformed_message; handler_failed for a table that is
/// not one of this run.
Result<EvaluateRequest> rows_asked(const MemberCall& call);
/// The member's side. `scratch` holds the scores until they are encoded.
Result<Bytes> answer_rows(const RowScores& own, MemberProtocol& protocol, std::uint32_t term,
                          const MemberCall& call, models::Matrix& scratch);

/// What a member said of itself when it began, for the report. malformed_message when it splits
/// into other rows than the master.
Result<> note_begun(Run& run, std::size_t rank, const BeginReply& reply);

/// What a member says when it was restored; borrows from `body`. malformed_message when it is at
/// another step than `step`.
Result<RestoreReply> restored_at(std::uint64_t step, Body body);

/// A line when the gradients of a member with so many columns may tell it the labels of a batch
/// (`rows`: of the shortest one, or all of L-BFGS): they are as many equations as it has columns
/// for as many unknowns as there are rows.
void warn_of_few_rows(const Run& run, std::size_t rank, std::uint64_t features, std::uint64_t rows);
/// How a member's residuals are encrypted; nothing for "".
void say_encryption(const Run& run, std::size_t rank, const std::string& plan);

/// What a member says of itself when it begins.
BeginReply begin_reply(const Party& party);

/// That tensors of so many rows and outputs fit into messages. Errors: too_large, with `advice`.
Result<> check_message_rows(std::uint64_t rows, std::uint64_t outputs,
                            std::uint64_t message_bytes_max, std::string_view advice);

}  // namespace vflbus::actors::linear
