#pragma once
// Encryption for protocol `arbitered` (arbitered.hpp): numbers of several parties under one key,
// which is that of an arbiter. By lattices, by Paillier, or not at all, for finding faults.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "actors/messages.hpp"
#include "actors/training/linear/share_plan.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "privacy/masks/secret.hpp"

namespace vflbus::actors::linear {

/// The words of ciphertexts that have travelled as bytes.
std::vector<std::uint64_t> words_of(Body bytes);

/// Numbers of several parties under the arbiter's key: whoever has its public part encrypts, adds
/// and multiplies.
class ShareCipher {
  public:
    /// `key`: the arbiter's public one, `seed`: of its request. malformed_message when they are
    /// none of this plan.
    static Result<std::unique_ptr<ShareCipher>> create(const SharePlan& plan, const Hash256& seed,
                                                       Body key);
    virtual ~ShareCipher() = default;

    /// The ciphertexts of rows x outputs integers, column-major.
    virtual std::vector<std::uint64_t> encrypt(std::span<const std::int64_t> values,
                                               std::size_t rows) = 0;
    /// Makes ahead what the next encrypt() of so many rows and the next product() need whatever the
    /// numbers are. Nothing else may be called meanwhile.
    virtual void prepare(std::size_t /*rows*/, std::size_t /*features*/) {}
    /// That these are ciphertexts. Their count was checked. malformed_message.
    [[nodiscard]] virtual Result<> check(std::span<const std::uint64_t> words) const = 0;
    /// sum = sum + other, both checked.
    virtual void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const = 0;

    /// Each of `rows` rows times its weight, all outputs of it, of checked ciphertexts; encrypted
    /// anew, so that who has the ciphertexts of before cannot try weights.
    virtual void weigh(std::span<std::uint64_t> words, std::size_t rows,
                       std::span<const std::int16_t> weights) = 0;

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

}  // namespace vflbus::actors::linear
