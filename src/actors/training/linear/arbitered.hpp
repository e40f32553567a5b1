#pragma once
// Trainings in which nobody sees scores or residuals: protocol `arbitered` (Hardy et al. 2017), for
// mini-batches.
//
// The problem: a step needs X' d, and d of a row is made of what several parties know of it: of the
// scores of each, and of the label. Here d is linear in the scores (linear models as they are;
// logistic ones by the Taylor series of the sigmoid at 0, d = z / 4 + 1/2 - y; classes by that of
// softmax at 0, d_k = (z_k - mean z) / K + 1/K - y_k), so it is a sum that can be formed under
// encryption: each party encrypts its share under the key of an arbiter, who has no data; the
// master adds the shares (and multiplies each row by its weight, where rows or classes have
// weights); each party multiplies the sum by its columns and hides the result under random numbers;
// the arbiter opens numbers that tell it nothing; the party takes its random numbers off. A step:
//
//   product   (40) master -> members   [t, -, 0, -, sum]        -> [hidden gradient]
//   open      (42) master -> arbiter   [t, features, answers]   -> [opened numbers]
//   step      (19) master -> members   opened numbers           -> shares of the next batch
//
// and before `begin`, in each training of a run: arbiter_key (41) to the arbiter, and its public
// key to the members in a `round` of setup.
//
// Shares are integers: the exponent is the same for all parties and is said with the key, so that
// integers add up to d exactly. Each party's share has the same part of the range; one that leaves
// it ends the run with `diverged`.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "actors/messages.hpp"
#include "actors/training/linear/beside.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/linear/share_cipher.hpp"
#include "actors/training/linear/share_plan.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"
#include "privacy/masks/secret.hpp"

namespace vflbus::actors::linear {

// -- messages -------------------------------------------------------------------------------

/// `round` of setup number 2: what members need before `begin`.
inline constexpr std::uint64_t round_arbiter_key = 2;
struct ShareSetup {
    std::vector<std::int64_t> exponents;  ///< of each output: shares are multiplied by 2^exponent
    Hash256 seed{};                       ///< of ArbiterKeyRequest
    Bytes key;                            ///< the arbiter's public one
    bool weighted = false;
    std::int64_t weight_exponent = 0;  ///< weights of rows are multiplied by 2^weight_exponent
};
Bytes encode(const ShareSetup& m);
Result<ShareSetup> decode_share_setup(Body body);

/// arbiter_key: a key for one training, of so many rows of a batch, outputs and steps.
struct ArbiterKeyRequest {
    std::uint64_t rows = 0;
    std::uint64_t outputs = 0;
    std::uint64_t steps = 0;
    Hash256 seed{};  ///< the master's: of a lattice key the part that its owner may not choose
    bool weighted = false;
};
Bytes encode(const ArbiterKeyRequest& m);
Result<ArbiterKeyRequest> decode_arbiter_key_request(Body body);
Bytes encode_arbiter_key_reply(Body key);
Result<Body> decode_arbiter_key_reply(Body body);

/// open: the hidden gradients of all parties, the master's first.
struct OpenRequest {
    std::uint64_t step = 0;
    std::vector<std::uint64_t> features;  ///< of each party
    std::vector<Body> answers;
};
Bytes encode(const OpenRequest& m);
Result<OpenRequest> decode_open_request(Body body);
/// The opened numbers of each party: features x outputs words, column-major.
Bytes encode_open_reply(const std::vector<std::vector<std::uint64_t>>& opened);
Result<std::vector<TensorView>> decode_open_reply(Body body);

/// Scores (rows x outputs) become what they are in the residual of an arbitered training: linear
/// models as they are, logistic ones a quarter, of K classes what each is above their mean,
/// divided by K.
void share_of_scores(vflbus::Task task, models::Matrix& scores);

// -- a party with columns ---------------------------------------------------------------------

/// What the master and each member do in a step, in one training.
class SharingParty {
  public:
    /// malformed_message when the setup does not fit the plan.
    static Result<SharingParty> create(const SharePlan& plan, const ShareSetup& setup);

    /// Encrypts rows x outputs real numbers. Valid until the next call. Errors: diverged.
    Result<SentTensor> share(models::ConstMatrixView numbers);
    /// Adds the shares of another party to what share() gave. malformed_message.
    Result<> add(const TensorView& other);
    /// Multiplies each row of the sum by its weight: an integer up to 2^weight_bits_max.
    void weigh(std::span<const std::int16_t> weights);
    /// The ciphertexts that share() gave and add() added to.
    [[nodiscard]] Body sum() const;

    /// The hidden gradient for the sum of a step, once in a step: `columns` are rows x features
    /// integers. malformed_message when `sum` is none.
    Result<Bytes> product(std::uint64_t step, const IntegerColumns& columns, std::size_t features,
                          std::size_t rows, Body sum);
    /// The gradient (features x outputs) divided by the rows, from the opened numbers of that step.
    Result<> open(std::uint64_t step, const TensorView& opened, models::Matrix& gradient);

    [[nodiscard]] const SharePlan& plan() const noexcept { return plan_; }

  private:
    SharePlan plan_;
    std::vector<int> exponents_;
    int weight_exponent_ = 0;
    std::unique_ptr<ShareCipher> cipher_;
    std::vector<std::uint64_t> words_;
    struct Pending {
        std::uint64_t step = 0;
        std::size_t rows = 0;
        std::vector<int> columns;
        privacy::SecretVector<std::uint64_t> masks;
    };
    std::optional<Pending> pending_;
    /// What is made for the next step meanwhile; the last member: it is awaited before the others
    /// go.
    Beside ahead_;
};

}  // namespace vflbus::actors::linear
