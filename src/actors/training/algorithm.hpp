#pragma once
// What a training algorithm is, and the table of those that there are.
//
// The problem: every way to train (mini-batches, solvers, trees, split networks) is a protocol of
// its own between a master and its members, and each must commit, recover, evaluate and predict
// like all others. So a run knows two interfaces: MasterHalf is what the master drives, MemberHalf
// is what a member answers with. Everything else, from gathering to recovery and reports, is the
// same for all (run/, train.cpp, predict.cpp, member.cpp).
//
// How an algorithm is added:
//   1. A folder training/NAME/ with a class for each half. The master's half is written as Tasks:
//      it asks all members, works while they do, and waits for the replies (run/parties.hpp). The
//      member's half is a table of handlers, each with *when* it is allowed.
//   2. Its messages, with numbers from 24 to 255 that no other algorithm uses, declared and encoded
//      in that folder (and in docs/training.md). `begin` (18) and `evaluate` (21) are there for
//      all.
//   3. A row in training/algorithms.cpp: name, which configurations choose it, which protocols it
//      works with, and how the halves are made.
//   4. Its keys in the agreed half of the configuration (src/config); the rules between them are
//      in `check` of the row.
// Tests show a whole one: tests/unit/actors/training/count.
//
// Rules for the halves:
//   - The same configuration, seed and data make the same bits, on any layout and after any death:
//     sums over parties are taken by rank, and nothing that the model depends on is kept outside
//     of `save`.
//   - A state is bytes with a version (`format`): whoever changes their meaning raises the version.
//   - What a privacy protocol may mask goes through it before it is sent, with a stamp: purpose,
//     term, step, table, first row, tensor (protocols/protocol.hpp). `honest` masks nothing: scores
//     and residuals travel in the clear.
//   - What comes from other parties is checked: shapes, sizes, steps. The master's half wraps the
//     check of a reply in `Run::said_by`, which puts the member's name in front. A member's half
//     names nobody: the master does that for its errors.
//
// Words of FATE: the master is the guest, a member is a host; there is no arbiter, and the broker
// only relays. A *design* is the matrix of numbers that is made of a party's table.
//
// Who calls a MasterHalf: the program of a training (train.cpp) makes it once per term and calls
// begin; Commits calls restore and then restored for each member, if the term goes on from a
// commit; the program calls step until done, scores at the intervals and at the end, then
// convergence, baseline and part. Commits calls save between two steps, never while a Task of the
// half waits. A prediction (predict.cpp) makes it of a model part and calls scores and predict
// alone.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "actors/messages.hpp"
#include "actors/node/app.hpp"
#include "actors/party.hpp"
#include "actors/run/commit_file.hpp"
#include "actors/run/task.hpp"
#include "actors/training/labels.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"
#include "privacy/noise/discrete_gaussian.hpp"

namespace vflbus::actors {

class Run;
struct ModelHead;

// -- the master's half --------------------------------------------------------------

struct StepResult {
    double loss = 0;  ///< of the rows of this step, before it
};

/// Where a training is, for people.
struct TrainingPlace {
    std::uint64_t epoch = 0;  ///< of the step done last, counted from 1
    std::uint64_t epochs = 0;
};

/// How a training that looks for a minimum has ended.
struct Convergence {
    bool converged = true;
    std::uint64_t iterations = 0;
    std::string why_not;  ///< the rest of a sentence; empty when converged
};

/// A model of the label holder's columns alone, for comparison with the common one.
class Baseline {
  public:
    virtual ~Baseline() = default;
    /// Trains a little, so that the bus is looked after in between; false when it is trained, and
    /// then it is not called again.
    virtual Result<bool> slice() = 0;
    /// Predictions for the training or test rows (n x outputs).
    [[nodiscard]] virtual models::Matrix predict(TableKind side) const = 0;
};

/// The master's side of an algorithm, for one term of a training, or for one prediction.
class MasterHalf {
  public:
    virtual ~MasterHalf() = default;

    // -- training -------------------------------------------------------------------
    /// All parties begin: after it the first step can be done, or a commit be restored. `first`:
    /// as of BeginRequest.
    virtual Task<> begin(std::uint64_t first) = 0;
    /// How many steps the training has at most.
    [[nodiscard]] virtual std::uint64_t steps() const = 0;
    /// Whether it is over after `step` steps; one that converges may say so early.
    [[nodiscard]] virtual bool done(std::uint64_t step) const { return step >= steps(); }
    /// Step `step`, counted from 0; each once, in order.
    virtual Task<StepResult> step(std::uint64_t step) = 0;
    /// Scores of the training, test or prediction rows, summed over all parties (n x outputs).
    /// `step` steps are done, which the messages say for protocols.
    virtual Task<models::Matrix> scores(TableKind side, std::uint64_t step) = 0;
    /// The share of each party in what `scores` gave last: the master's first, then the members' by
    /// rank (n x outputs each, without intercept). Empty where nobody was asked, and where the
    /// protocol hides it from the master. Valid until the next call of `scores`.
    [[nodiscard]] virtual std::span<const models::Matrix> shares() const { return {}; }
    /// What `scores`, called last for the same rows, would have given if the numbers of one party
    /// were the same for every row, their mean over these rows: without the master first, then
    /// without each member by rank. Empty where the protocol hides single parties' numbers.
    /// An algorithm whose scores are sums has `shares` and need not do more.
    virtual Task<std::vector<models::Matrix>> scores_without(TableKind side, std::uint64_t step,
                                                             const models::Matrix& scores);
    /// What the scores mean (n x outputs): values, or probabilities.
    [[nodiscard]] virtual models::Matrix predict(const models::Matrix& scores) const = 0;
    [[nodiscard]] virtual TrainingPlace place(std::uint64_t step) const = 0;
    /// Null: the algorithm has none, or the configuration does not ask for one.
    [[nodiscard]] virtual Baseline* baseline() { return nullptr; }
    /// It looks for the minimum over all rows: `steps` is only a bound, the loss of a step is that
    /// of all training rows with the weights that it begins with, and `convergence` tells how it
    /// ended.
    [[nodiscard]] virtual bool converges() const { return false; }
    /// Whether steps have a loss. Under a protocol in which nobody sees scores or residuals they do
    /// not; the metrics of evaluations are all that there is.
    [[nodiscard]] virtual bool knows_loss() const { return true; }
    /// New keys for what follows, where the protocol has any: `restore` of an earlier state of the
    /// same term comes behind it, whose step's masks have been used.
    virtual Task<> agree_anew() { co_return; }
    /// Of a training that is done.
    [[nodiscard]] virtual std::optional<Convergence> convergence() const { return {}; }
    /// Whether the metrics of the test rows are needed after `step` steps, also where the
    /// configuration asks for no report of them. Of early stopping; algorithms need not say.
    [[nodiscard]] virtual bool looks_after(std::uint64_t /*step*/) const { return false; }

    // -- commits --------------------------------------------------------------------
    /// Of states, and of model parts unless `part_format` says otherwise.
    [[nodiscard]] virtual StateFormat format() const = 0;
    [[nodiscard]] virtual StateFormat part_format() const { return format(); }
    /// The state between two steps. The same steps make the same bytes.
    [[nodiscard]] virtual std::string save() const = 0;
    /// The state after `step` steps is again what `save` gave then. Errors: bad_data.
    virtual Result<> restore(std::uint64_t step, std::string_view state) = 0;
    /// What a member's `restore` answered, by rank. Errors as of any reply.
    virtual Result<> restored(std::uint64_t step, std::size_t rank, Body reply) = 0;

    // -- the model --------------------------------------------------------------------
    /// The text of the master's model part. The caller has filled `head`, but for the fields that
    /// only the algorithm knows.
    [[nodiscard]] virtual Result<std::string> part(ModelHead head) const = 0;
    /// Features of the master's own, and outputs.
    [[nodiscard]] virtual std::uint64_t features() const = 0;
    [[nodiscard]] virtual std::uint64_t outputs() const = 0;
    /// How labels were coded, for predictions and their metrics.
    [[nodiscard]] virtual const data::LabelCoding& coding() const = 0;
};

/// What a master's half is made of. All that it refers to outlives the half.
struct MasterSetting {
    Run& run;
    Party& own;            ///< built, for a training; aligned, for a prediction
    const Labels* labels;  ///< null in a prediction
};

// -- the member's half --------------------------------------------------------------

class MemberHalf;

/// When a member takes a message (docs/training.md, section 3). Anything else is refused and
/// changes nothing.
enum class When : std::uint8_t {
    begins,      ///< once, when the training table is selected; the designs are built then, and
                 ///< the training begins with it
    in_step,     ///< while a step is due, any number of times; it belongs to that step
    ends_step,   ///< while a step is due; the step is over when it has been answered
    any_rows,    ///< once training has begun, also after its end; and of a loaded model: evaluate
    any_moment,  ///< whatever the state: rounds of protocols
};

/// A request as its handler sees it.
struct MemberCall {
    MessageType type = 0;
    Body body;
    std::uint64_t step = 0;   ///< the step that is due
    std::uint64_t steps = 0;  ///< of the whole training
    bool predicts = false;    ///< the run is a prediction, and has TableKind::predict alone

    /// For messages of a step, once the handler knows which one is meant: refuses any other.
    [[nodiscard]] Result<> due(std::uint64_t asked) const;
};

/// What a member does of an algorithm in one term of a run.
class MemberHalf {
  public:
    virtual ~MemberHalf() = default;

    // -- training -------------------------------------------------------------------
    /// What the body of `begin` says of rows and of earlier folds. An algorithm whose `begin` says
    /// nothing of them takes no part in cross-validation.
    [[nodiscard]] virtual Result<BeginRequest> beginning(Body /*begin*/) const {
        return BeginRequest{};
    }
    /// Valid once the training has begun.
    [[nodiscard]] virtual std::uint64_t steps() const = 0;
    [[nodiscard]] virtual bool done(std::uint64_t step) const { return step >= steps(); }
    /// Whether the master may ask for the model part after `step` steps. An algorithm whose end
    /// only the master can see says yes after every step, although another step would be taken as
    /// well.
    [[nodiscard]] virtual bool may_finish(std::uint64_t step) const { return done(step); }

    // -- commits --------------------------------------------------------------------
    [[nodiscard]] virtual StateFormat format() const = 0;
    [[nodiscard]] virtual StateFormat part_format() const { return format(); }
    [[nodiscard]] virtual std::string save() const = 0;
    /// The state after `step` steps is again what `save` gave; the body of the reply to `restore`.
    virtual Result<Bytes> restore(std::uint64_t step, std::string_view state) = 0;

    // -- the model --------------------------------------------------------------------
    [[nodiscard]] virtual Result<std::string> part(ModelHead head) const = 0;
    /// Prediction: takes over a stored part (the text of the file); the designs of the rows are
    /// made when they have been selected. Errors: bad_data.
    virtual Result<> use(std::string_view text, std::string_view path) = 0;
    [[nodiscard]] virtual std::uint64_t features() const = 0;
    [[nodiscard]] virtual std::uint64_t outputs() const = 0;
};

struct MemberSetting {
    Party& party;  ///< outlives the half
    std::uint32_t term = 0;
    std::uint64_t rank = 0;  ///< of this member; what it draws by chance depends on it
    std::uint64_t message_bytes_max = UINT64_MAX;  ///< that it takes and its broker passes on
    /// The secret of its noise in this run (protocols/noise.hpp); asked for when it is needed.
    std::function<Result<privacy::NoiseKey>()> noise_key = {};
};

struct MemberHandler {
    MessageType type = 0;
    std::string_view name;
    When when = When::in_step;
    /// The body of the reply. `half` is the one that this row's algorithm has made.
    Result<Bytes> (*handle)(MemberHalf& half, const MemberCall& call) = nullptr;
};

// -- the table ----------------------------------------------------------------------

struct Algorithm {
    std::string_view name;
    /// Of its model parts: algorithms of one format predict with each other's parts.
    std::string_view format;
    /// Whether this configuration means it. Of the rows that are built in exactly one says so.
    bool (*chosen)(const config::AgreedHalf& agreed) = nullptr;
    /// The protocols that it works with.
    std::span<const config::Protocol> protocols;
    /// Why it works with no other: the rest of a sentence, or empty.
    std::string_view no_other_because = {};
    /// Rules of its configuration beyond those of single keys. Errors: bad_config.
    Result<> (*check)(const config::AgreedHalf& agreed) = nullptr;
    Result<std::unique_ptr<MasterHalf>> (*train)(const MasterSetting& setting) = nullptr;
    /// For a prediction with the part in `text`, the file at `path`. Errors: bad_data.
    Result<std::unique_ptr<MasterHalf>> (*predict)(const MasterSetting& setting,
                                                   std::string_view text,
                                                   std::string_view path) = nullptr;
    Result<std::unique_ptr<MemberHalf>> (*member)(const MemberSetting& setting) = nullptr;
    /// What its members answer.
    std::span<const MemberHandler> handlers;
};

/// All rows, those of tests first: the first one that is chosen counts.
std::span<const Algorithm* const> algorithms();
/// The algorithm that this configuration means. Errors: bad_config when there is none, when it does
/// not work with the protocol, or when its rules are broken.
Result<const Algorithm*> algorithm_of(const config::AgreedHalf& agreed);
/// Puts a row into the table, before those that are built in. For tests: before any run begins.
void add_algorithm(const Algorithm& row);

}  // namespace vflbus::actors
