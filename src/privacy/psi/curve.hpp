#pragma once
// The group in which sets are compared: Curve25519, by u-coordinates alone.
//
// The problem: two parties want to see which ids both have, and an id that one of them does not
// have must stay a random number to it. So an id is hashed to a point of a group, each party
// multiplies the point by a secret number of its own, and the results are equal exactly when the
// ids are, in whatever order the parties multiplied. docs/alignment.md.
//
// There is one suite, so that no two ends can disagree about it. A point is 32 bytes as in RFC
// 7748. An id becomes a point by Elligator 2 (RFC 9380, section 6.7.1, the map of encode_to_curve),
// multiplied by the cofactor 8; a secret multiplies a point by X25519. Two implementations give the
// same bytes: libsodium's X25519 with a map of our own, and eight points at once where the
// processor has AVX-512 IFMA. Neither branches on, nor indexes by, a secret or an id.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/errc.hpp"
#include "base/hash.hpp"

namespace vflbus::privacy::psi {

/// A u-coordinate, little-endian.
using Point = std::array<std::uint8_t, 32>;

/// Fills bytes that nobody else can know: the system's generator, but in a simulation, which must
/// do the same again.
using Randomness = std::function<void(std::span<std::uint8_t>)>;

/// A secret multiplier, a fresh one each, wiped at its end.
class Secret {
  public:
    explicit Secret(const Randomness& random = random_bytes);
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    ~Secret();

    /// Clamped as RFC 7748 says: a multiple of 8 with bit 254 set.
    [[nodiscard]] const std::array<std::uint8_t, 32>& bytes() const noexcept { return bytes_; }

  private:
    std::array<std::uint8_t, 32> bytes_{};
};

/// Which implementation works.
enum class Path : std::uint8_t { portable, ifma };
/// What this processor allows.
Path best_path() noexcept;
/// "portable", "AVX-512 IFMA".
std::string_view name_of(Path path) noexcept;

/// out[i] = the point of ids[i]. The spans have the same length.
void hash_to_points(std::span<const Hash128> ids, std::span<Point> out, Path path = best_path());

/// The map alone: 32 uniform bytes, of which the top bit is ignored, to 8 times a point of the
/// curve.
void map_to_points(std::span<const Point> uniform, std::span<Point> out, Path path = best_path());

/// out[i] = secret * in[i]. `out` may be `in`.
/// Errors: malformed_message for a point that is not canonical (its u is not below 2^255 - 19) or
/// is of low order, where the product would say nothing of the secret; `out` is void then.
Result<> multiply(const Secret& secret, std::span<const Point> in, std::span<Point> out,
                  Path path = best_path());

}  // namespace vflbus::privacy::psi
