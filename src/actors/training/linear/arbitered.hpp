#pragma once
// Trainings in which nobody sees scores or residuals: protocol `arbitered` (Hardy et al. 2017), for
// mini-batches.
//
// The problem: a step needs X' d, and d of a row is made of what several parties know of it: of the
// scores of each, and of the label. Here d is linear in the scores (linear models as they are;
// logistic ones by the Taylor series of the sigmoid at 0, d = z / 4 + 1/2 - y), so it is a sum that
// can be formed under encryption: each party encrypts its share under the key of an arbiter, who
// has no data; the master adds the shares; each party multiplies the sum by its columns and hides
// the result under random numbers; the arbiter opens numbers that tell it nothing; the party takes
// its random numbers off. A step:
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
#include <span>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"
#include "privacy/masks/secret.hpp"

namespace vflbus::actors::linear {

// -- the plan -------------------------------------------------------------------------------

/// What all parties know of the numbers of a training, each by itself.
struct SharePlan {
    config::Encryption encryption = config::Encryption::paillier;
    std::uint32_t key_bits = 0;
    std::size_t rows = 0;  ///< of a batch, at most
    std::size_t outputs = 0;
    std::size_t parties = 0;          ///< that have shares: the master and the members
    std::uint32_t residual_bits = 0;  ///< of a sum of shares, beside its sign
    std::uint32_t slot_bits = 0;      ///< of a result in a plaintext of Paillier's
    double share_most = 0;            ///< no integer of a share is larger
    privacy::rlwe::Plan lattice;      ///< the layout for all parties, whatever their columns

    /// Paillier: outputs in one ciphertext of a row, and how many such ciphertexts a row has.
    [[nodiscard]] std::size_t output_group() const;
    [[nodiscard]] std::size_t output_groups() const;
    /// Outputs of group `group`.
    [[nodiscard]] std::size_t outputs_in(std::size_t group) const;
    /// Features whose results share one ciphertext of an answer.
    [[nodiscard]] std::size_t features_together(std::size_t group) const;
    /// Ciphertexts of an answer for so many features.
    [[nodiscard]] std::size_t answer_ciphertexts(std::size_t features) const;
    /// Words of the ciphertexts of so many rows.
    [[nodiscard]] std::size_t words(std::size_t batch_rows) const;
    /// Bytes of an answer; 0 where so many columns are too many.
    [[nodiscard]] std::size_t answer_bytes(std::size_t features) const;
};

/// `rows`: of a batch, at most; `steps`: of one training of the run. Errors: too_large when sums
/// over the rows do not fit, or a message of `message_bytes_max` does not hold the shares of a
/// batch.
Result<SharePlan> plan_shares(const config::AgreedHalf& agreed, std::size_t rows,
                              std::size_t outputs, std::uint64_t steps,
                              std::uint64_t message_bytes_max);

/// Columns of one party, at most: an answer for more does not fit into a message.
inline constexpr std::size_t share_columns_max = std::size_t{1} << 20;
/// That a party may have so many columns. Errors: too_large.
Result<> check_columns(const SharePlan& plan, std::size_t features);

// -- messages of setup ----------------------------------------------------------------------

/// `round` of setup number 2: what members need before `begin`.
inline constexpr std::uint64_t round_arbiter_key = 2;
struct ShareSetup {
    std::vector<std::int64_t> exponents;  ///< of each output: shares are multiplied by 2^exponent
    Hash256 seed{};                       ///< of ArbiterKeyRequest
    Bytes key;                            ///< the arbiter's public one
};
Bytes encode(const ShareSetup& m);
Result<ShareSetup> decode_share_setup(Body body);

/// arbiter_key: a key for one training, of so many rows of a batch, outputs and steps.
struct ArbiterKeyRequest {
    std::uint64_t rows = 0;
    std::uint64_t outputs = 0;
    std::uint64_t steps = 0;
    Hash256 seed{};  ///< the master's: of a lattice key the part that its owner may not choose
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

// -- encryption ------------------------------------------------------------------------------

/// Numbers of several parties under the arbiter's key: whoever has its public part encrypts, adds
/// and multiplies.
class ShareCipher {
  public:
    /// malformed_message when `setup` has no public key of the plan.
    static Result<std::unique_ptr<ShareCipher>> create(const SharePlan& plan,
                                                       const ShareSetup& setup);
    virtual ~ShareCipher() = default;

    /// The ciphertexts of rows x outputs integers, column-major.
    virtual std::vector<std::uint64_t> encrypt(std::span<const std::int64_t> values,
                                               std::size_t rows) = 0;
    /// That these are ciphertexts. Their count was checked. malformed_message.
    [[nodiscard]] virtual Result<> check(std::span<const std::uint64_t> words) const = 0;
    /// sum = sum + other, both checked.
    virtual void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const = 0;

    struct Answer {
        Bytes bytes;
        privacy::SecretVector<std::uint64_t> masks;  ///< features x outputs, column-major
    };
    /// X' D for checked ciphertexts of D, hidden: a random number is added to each result.
    /// too_large when the columns are too many.
    virtual Result<Answer> product(std::span<const std::int16_t> columns, std::size_t features,
                                   std::size_t rows, std::span<const std::uint64_t> sum) = 0;
};

/// The arbiter's side: one key.
class ShareOpener {
  public:
    static std::unique_ptr<ShareOpener> create(const SharePlan& plan, const Hash256& seed);
    virtual ~ShareOpener() = default;
    [[nodiscard]] virtual Bytes public_key() const = 0;
    /// The hidden numbers of an answer of plan.answer_bytes(features) bytes, features x outputs.
    /// malformed_message when they are no ciphertexts.
    [[nodiscard]] virtual Result<std::vector<std::uint64_t>> open(std::size_t features,
                                                                  Body answer) = 0;
};

/// For the simulation: told what the arbiter reads of one party. Null in the product.
using OpenedWatch = void (*)(std::size_t party, std::span<const std::uint64_t> numbers);
void watch_opened(OpenedWatch watch) noexcept;
void note_opened(std::size_t party, std::span<const std::uint64_t> numbers);

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
    std::unique_ptr<ShareCipher> cipher_;
    std::vector<std::uint64_t> words_;
    struct Pending {
        std::uint64_t step = 0;
        std::size_t rows = 0;
        std::vector<int> columns;
        privacy::SecretVector<std::uint64_t> masks;
    };
    std::optional<Pending> pending_;
};

}  // namespace vflbus::actors::linear
