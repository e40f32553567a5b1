#pragma once
// Scores of one side at all parties, in parts small enough for one message each.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "actors/protocols/protocol.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// Bytes of scores that one evaluate reply may hold.
inline constexpr std::uint64_t evaluate_reply_bytes_max = std::uint64_t{16} << 20;

class Evaluation {
  public:
    /// Begins with the first rows of one side.
    void begin(TableKind kind, const Party& own) {
        kind_ = kind;
        rows_ = own.design(kind).rows;
        first_ = 0;
        const std::uint64_t row_bytes = own.outputs() * sizeof(double);
        part_ = std::max<std::uint64_t>(1, evaluate_reply_bytes_max / row_bytes);
        scores_.resize_uninitialized(rows_, own.outputs());
    }

    /// The request for the present part.
    [[nodiscard]] EvaluateRequest request() const {
        return {kind_, first_, std::min(part_, rows_ - first_)};
    }

    /// The master's own scores of the present part start the sum.
    Result<> start(const Party& own, MasterProtocol& protocol) {
        const auto part = request();
        if (auto done = own.scores(kind_, part.first, part.rows, own_); !done) return done;
        return protocol.start(part.first, own_);
    }

    /// Takes the sum; true when there are more parts.
    Result<bool> take(MasterProtocol& protocol) {
        const auto part = request();
        const auto sum = protocol.sum(part.first);
        if (!sum) return tl::unexpected(sum.error());
        for (std::size_t c = 0; c < sum->cols; ++c)
            std::ranges::copy(sum->col(c),
                              scores_.col(c).begin() + static_cast<std::ptrdiff_t>(part.first));
        first_ += part.rows;
        return first_ < rows_;
    }

    [[nodiscard]] TableKind kind() const noexcept { return kind_; }
    /// n x k sums without intercept.
    [[nodiscard]] const models::Matrix& scores() const noexcept { return scores_; }

  private:
    TableKind kind_ = TableKind::train;
    std::uint64_t rows_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t part_ = 1;
    models::Matrix scores_;
    models::Matrix own_;
};

}  // namespace vflbus::actors
