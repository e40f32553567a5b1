#pragma once
// What travels in a round of L-BFGS: docs/training.md, section 5.

#include <cstdint>

#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors::linear {

inline constexpr MessageType iterate_message = 24;

/// What all parties have to know before the first round: lambda of the penalty, and the unit of
/// each output's labels, by which the weights of the model parts are multiplied.
struct LbfgsSettings {
    double penalty = 0;
    std::vector<double> units;  ///< one per output; 1 unless linear
};

/// `settings` has 1 + outputs rows in round 0 (the penalty, then the units), none later.
struct IterateRequest {
    std::uint64_t step = 0;
    TensorView settings;
    TensorView coefficients;  ///< (m + 1) x groups
    TensorView residual;      ///< n x outputs
};
struct IterateReply {
    TensorView scores;    ///< n x outputs
    TensorView products;  ///< models::LbfgsSlots::scalars() x 1
};

/// The settings as they travel: 1 + outputs rows.
models::Matrix settings_tensor(const LbfgsSettings& settings);
Bytes encode_iterate(std::uint64_t step, const LbfgsSettings& settings,
                     models::ConstMatrixView coefficients, const SentTensor& residual);
Result<IterateRequest> decode_iterate_request(Body body);

Bytes encode_iterated(const SentTensor& scores, const SentTensor& products);
Result<IterateReply> decode_iterate_reply(Body body);

/// Errors: malformed_message when the shape is another one or a number makes no sense.
Result<LbfgsSettings> settings_of(const TensorView& settings, std::size_t outputs);

}  // namespace vflbus::actors::linear
