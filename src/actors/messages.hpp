#pragma once
// Every message of vertical training, in one place: docs/training.md, section 2. Structs that hold
// spans or tensors borrow from the body they were decoded from.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "actors/node/app.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "bus/wire/codec.hpp"
#include "data/align.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

namespace message {
inline constexpr MessageType echo = 1;
inline constexpr MessageType finish = 2;
inline constexpr MessageType release = 3;
inline constexpr MessageType commit = 4;
inline constexpr MessageType commits = 5;
inline constexpr MessageType restore = 6;
inline constexpr MessageType keep = 7;
/// Private set intersection: alignment/psi_messages.hpp.
inline constexpr MessageType psi_begin = 8;
inline constexpr MessageType psi_take = 9;
inline constexpr MessageType psi_give = 10;
inline constexpr MessageType psi_undo = 11;
inline constexpr MessageType psi_common = 12;
inline constexpr MessageType psi_digest = 13;
inline constexpr MessageType psi_digests = 14;
inline constexpr MessageType psi_tags = 15;
inline constexpr MessageType align = 16;
inline constexpr MessageType select = 17;
inline constexpr MessageType begin = 18;
inline constexpr MessageType step = 19;
inline constexpr MessageType solve = 20;
inline constexpr MessageType evaluate = 21;
inline constexpr MessageType load_model = 22;
inline constexpr MessageType round = 23;
/// What columns tell of the label: features.hpp.
inline constexpr MessageType describe = 60;
inline constexpr MessageType bins = 61;
inline constexpr MessageType count = 62;
inline constexpr MessageType informed = 63;
/// Of an alignment that several runs share: alignment/kept_alignment.hpp.
inline constexpr MessageType recall = 64;
inline constexpr MessageType forget = 65;
/// Of protocol arbitered: training/linear/arbitered.hpp.
inline constexpr MessageType arbiter_key = 41;
inline constexpr MessageType open = 42;

/// "step"; "message 77" when it is none of ours.
std::string name_of(MessageType type);
}  // namespace message

/// Which of a party's tables.
enum class TableKind : std::uint8_t { train = 0, test = 1, predict = 2 };
inline constexpr std::size_t table_kinds = 3;
/// "training table", "test table", "prediction table".
std::string_view name_of(TableKind kind) noexcept;

using Body = std::span<const std::uint8_t>;
using TensorView = bus::Reader::TensorView;

/// A tensor that is to be sent: numbers, or integers modulo 2^64 (words of the same size, as they
/// lie in memory).
struct SentTensor {
    SentTensor(models::ConstMatrixView numbers) : values(numbers) {}       // NOLINT: a view
    SentTensor(const models::Matrix& numbers) : values(numbers.view()) {}  // NOLINT: a view
    SentTensor(std::span<const std::uint64_t> ring, std::size_t rows, std::size_t cols)
        : values{nullptr, rows, cols}, words(ring), is_ring(true) {}

    models::ConstMatrixView values;        ///< of a ring tensor only the shape
    std::span<const std::uint64_t> words;  ///< of a ring tensor
    bool is_ring = false;
};
bus::Writer& put_tensor(bus::Writer& writer, const SentTensor& tensor);

/// out (resized) = the tensor.
void copy_tensor(const TensorView& from, models::Matrix& out);

// -- requests -----------------------------------------------------------------

struct AlignRequest {
    TableKind table = TableKind::train;
};
struct AlignReply {
    bool present = false;
    std::vector<Hash128> ids;           ///< unique, ascending
    std::vector<std::uint32_t> counts;  ///< empty: one row per id
    std::uint64_t rows = 0;             ///< of the party's table
    std::uint64_t duplicate_rows = 0;
    std::uint64_t missing_cells = 0;
    std::uint64_t columns = 0;  ///< feature columns of the table
    data::IdShape shape;        ///< what its ids look like
};

struct SelectRequest {
    TableKind table = TableKind::train;
    data::Selection selection;
    std::uint64_t rows = 0;
};
struct SelectReply {
    std::uint64_t rows = 0;
    /// Of the selected rows of a prediction table: missing numbers that get the training mean, and
    /// texts that training did not know. 0 for other tables.
    std::uint64_t filled_cells = 0;
    std::uint64_t unseen_values = 0;
};

/// The run and its term in which all parties have come to an alignment together.
struct MadeIn {
    RunId run;
    std::uint32_t term = 0;
    friend bool operator==(const MadeIn&, const MadeIn&) = default;
};
/// recall: whether the member has kept the alignment that was made in this run and term, and
/// whether it is to go on from it. Another one of the same name is of other tables, perhaps.
struct RecallRequest {
    bool take = false;
    MadeIn made_in;
};
struct RecallReply {
    bool kept = false;             ///< by this member, and what follows is of it
    std::uint64_t train_rows = 0;  ///< aligned ones
    std::uint64_t test_rows = 0;   ///< of a test table
};

struct BeginRequest {
    std::uint64_t outputs = 1;
    /// Bit i % 8 of byte i / 8: aligned row i is a test row. Empty: the ids decide.
    Body test_rows = {};
    /// Steps of the run that were done before this training, in earlier folds; commits are numbered
    /// from there.
    std::uint64_t first = 0;
};
struct BeginReply {
    std::uint64_t features = 0;
    std::uint64_t filled_cells = 0;
    /// How many columns are not used, by kind, ascending; their names stay at home.
    std::vector<std::pair<data::LeftOutKind, std::uint64_t>> left_out;
    std::uint64_t train_rows = 0;
    std::uint64_t test_rows = 0;
    TensorView scores;
};

/// step and solve.
struct StepRequest {
    std::uint64_t step = 0;
    TensorView tensor;  ///< residual or target
};
struct StepReply {
    TensorView scores;
};
struct SolveReply {
    TensorView scores;  ///< of this batch with the new weights
    TensorView next;    ///< of the next batch
};

struct EvaluateRequest {
    TableKind table = TableKind::train;
    std::uint64_t first = 0;
    std::uint64_t rows = 0;
};
struct EvaluateReply {
    TensorView scores;
};

struct LoadModelRequest {
    RunId run;
};
struct LoadModelReply {
    RunId run;
    Hash256 agreed{};
    std::uint64_t features = 0;
    std::uint64_t outputs = 0;
};

/// One extra round of a protocol; what `payload` holds is the protocol's business.
enum class Moment : std::uint8_t { setup = 0, step = 1 };
struct RoundRequest {
    Moment moment = Moment::setup;
    std::uint64_t step = 0;
    std::uint64_t round = 0;
    Body payload;
};
struct RoundReply {
    Body payload;
};

struct FinishReply {
    Hash256 digest{};
    std::string path;
    std::uint64_t bytes = 0;
};

/// Commits that one party lists at most; it keeps two.
inline constexpr std::size_t commits_listed_max = 16;

/// A commit as it lies at one party; what commit answers and restore asks for.
struct StoredCommit {
    std::uint64_t step = 0;
    Hash256 digest{};  ///< of the file
    friend bool operator==(const StoredCommit&, const StoredCommit&) = default;
};
struct RestoreReply {
    std::uint64_t step = 0;
    TensorView scores;  ///< of batch `step`
};

// -- encoding -------------------------------------------------------------------

Bytes encode_empty();  ///< `[]`
Bytes encode(const AlignRequest& m);
/// `local` and the numbers of `m`; ids, counts and shape of `m` are not looked at.
/// `clear`: the ids themselves, which travel in place of their hashes; none: the hashes do.
Bytes encode(const AlignReply& m, const data::LocalIds& local,
             const std::vector<std::string_view>* clear = nullptr);
Bytes encode(const SelectRequest& m);
Bytes encode(const SelectReply& m);
Bytes encode(const RecallRequest& m);
Bytes encode(const RecallReply& m);
Bytes encode(const BeginRequest& m);
Bytes encode(const BeginReply& m, const SentTensor& scores);
Bytes encode_step(std::uint64_t step, const SentTensor& tensor);  ///< step and solve
Bytes encode_scores(const SentTensor& scores);                    ///< step and evaluate reply
Bytes encode_solved(models::ConstMatrixView scores, models::ConstMatrixView next);
Bytes encode(const EvaluateRequest& m);
Bytes encode(const LoadModelRequest& m);
Bytes encode(const LoadModelReply& m);
Bytes encode(const RoundRequest& m);
Bytes encode(const RoundReply& m);
Bytes encode(const FinishReply& m);
Bytes encode_commit(std::uint64_t step);
/// `back`: the state that was kept after `step` steps is to be the present one again.
Bytes encode_keep(std::uint64_t step, bool back);
Bytes encode(const StoredCommit& m);  ///< commit reply and restore
Bytes encode(std::span<const StoredCommit> commits);
Bytes encode_restored(std::uint64_t step, const SentTensor& scores);

// -- decoding: malformed_message with the first fault ---------------------------

Result<> decode_empty(std::string_view what, Body body);
Result<AlignRequest> decode_align_request(Body body);
/// `salt`: ids travel as they are, and are hashed under it here; null: their hashes do.
Result<AlignReply> decode_align_reply(Body body, const std::string* salt = nullptr);
Result<SelectRequest> decode_select_request(Body body);
Result<SelectReply> decode_select_reply(Body body);
/// Whether the member is to take it.
Result<RecallRequest> decode_recall_request(Body body);
Result<RecallReply> decode_recall_reply(Body body);
Result<BeginRequest> decode_begin_request(Body body);
Result<BeginReply> decode_begin_reply(Body body);
Result<StepRequest> decode_step_request(Body body);
Result<StepReply> decode_step_reply(Body body);
Result<StepRequest> decode_solve_request(Body body);
Result<SolveReply> decode_solve_reply(Body body);
Result<EvaluateRequest> decode_evaluate_request(Body body);
Result<EvaluateReply> decode_evaluate_reply(Body body);
Result<LoadModelRequest> decode_load_model_request(Body body);
Result<LoadModelReply> decode_load_model_reply(Body body);
Result<RoundRequest> decode_round_request(Body body);
Result<RoundReply> decode_round_reply(Body body);
Result<FinishReply> decode_finish_reply(Body body);
Result<std::uint64_t> decode_commit_request(Body body);
struct KeepRequest {
    std::uint64_t step = 0;
    bool back = false;
};
Result<KeepRequest> decode_keep(Body body);
Result<StoredCommit> decode_commit_reply(Body body);
Result<std::vector<StoredCommit>> decode_commits_reply(Body body);
Result<StoredCommit> decode_restore_request(Body body);
Result<RestoreReply> decode_restore_reply(Body body);

}  // namespace vflbus::actors
