#pragma once
// What the halves of all algorithms, networks as well as linear ones, say and check of themselves
// when they begin, are asked for rows or were restored.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "actors/training/algorithm.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

class Run;

// -- when they begin ------------------------------------------------------------------

/// What a member says of itself when it begins.
BeginReply begin_reply(const Party& party);

/// What a member said of itself when it began, for the report. malformed_message when it splits
/// into other rows than the master.
Result<> note_begun(Run& run, std::size_t rank, const BeginReply& reply);

/// That tensors of so many rows and outputs fit into messages. Errors: too_large, with `advice`.
Result<> check_message_rows(std::uint64_t rows, std::uint64_t outputs,
                            std::uint64_t message_bytes_max, std::string_view advice);

// -- rows of a table ------------------------------------------------------------------

/// Bytes of scores that one evaluate reply may hold.
inline constexpr std::uint64_t evaluate_reply_bytes_max = std::uint64_t{16} << 20;

/// What `evaluate` asks a member for. Errors: malformed_message; handler_failed for a table that is
/// not one of this run.
Result<EvaluateRequest> rows_asked(const MemberCall& call);

/// That rows [first, first + count) are there, as `rows` of the side are, and that their numbers
/// (`outputs` each) fit into a message. Errors: malformed_message, too_large.
Result<> check_rows_asked(TableKind side, std::uint64_t rows, std::uint64_t first,
                          std::uint64_t count, std::size_t outputs);

/// Puts `part` into `all` from row `first` on.
void copy_rows(models::ConstMatrixView part, std::uint64_t first, models::Matrix& all);

// -- after a recovery -----------------------------------------------------------------

/// What a member says when it was restored; borrows from `body`. malformed_message when it is at
/// another step than `step`.
Result<RestoreReply> restored_at(std::uint64_t step, Body body);

}  // namespace vflbus::actors
