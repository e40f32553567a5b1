#pragma once
// Differential privacy in a run: whose noise it is, where its secret lies, and what each side says
// about it.
//
// The problem: the noise of a party must be the same again after that party was killed, and unknown
// to those from whom it hides something. So each party draws a secret of its own for a run, stores
// it before the first number is sent, and makes all noise of it (privacy/noise). The secret is part
// of no message and of no commit; who has it can take the noise off.
// docs/privacy.md, section 6, has the whole of it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "actors/env.hpp"
#include "actors/protocols/protocol.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"
#include "observe/report.hpp"
#include "privacy/noise/clip.hpp"
#include "privacy/noise/discrete_gaussian.hpp"

namespace vflbus::actors {

// -- the secret -------------------------------------------------------------------------

/// The file in a party's directory of a run.
inline constexpr std::string_view noise_file = "noise.key";
/// The secret of party `name`: read from its directory of the run, or drawn and stored there. With
/// privacy.insecure_testing it is made of the seed. Errors: io, and state_lost for a file that
/// holds none.
Result<privacy::NoiseKey> noise_key(Env& env, const std::filesystem::path& directory,
                                    const config::AgreedHalf& agreed, std::string_view name);

/// What a release is about; the first part of its label.
enum class Release : std::uint8_t { scores, member_step, residuals, opened, own_step, intercept };
/// Every release of a training has another one.
std::vector<std::uint8_t> release_label(Release what, std::uint64_t step, std::uint64_t place = 0,
                                        std::uint64_t row = 0);

// -- what both sides compute of the configuration ------------------------------------------

/// Of residuals in a batch of `rows` rows, of which each counts as 1 / rows.
privacy::Grid residual_grid(const config::AgreedHalf& agreed, std::size_t rows, unsigned bits);
/// Bits of residuals where they are not encrypted.
inline constexpr unsigned plain_residual_bits = 14;
/// Of rows of columns, as gradients have them.
privacy::Grid column_grid(const config::AgreedHalf& agreed);
/// Rows of sums that noise on opened numbers takes the room of (privacy::rlwe::Shape).
std::size_t noise_rows(const config::AgreedHalf& agreed);

/// Rows (n x k) as integers on the grid, column-major like the matrix. Errors: diverged.
Result<std::vector<std::int64_t>> clipped_rows(models::ConstMatrixView rows,
                                               const privacy::Grid& grid);
/// The numbers that integers on a grid stand for.
void to_numbers(std::span<const std::int64_t> integers, int exponent, models::MatrixView out);
/// X' R of integers: columns (rows x features) and residuals (rows x outputs), both column-major.
std::vector<std::int64_t> integer_product(std::span<const std::int64_t> columns,
                                          std::span<const std::int64_t> residuals,
                                          std::size_t rows);

// -- members' scores -----------------------------------------------------------------------

/// Shares scores by `inner`, which outlives it, after they are clipped and noise is added to each
/// row by itself. All else goes to `inner` as it is.
std::unique_ptr<MemberProtocol> make_noisy_member(MemberProtocol& inner,
                                                  const config::AgreedHalf& agreed,
                                                  privacy::NoiseKey key);

// -- what is said ----------------------------------------------------------------------------

/// One line of what the noise of a training, or of a prediction, promises; "" without.
std::string privacy_notice(const config::AgreedHalf& agreed, bool predicts);
/// The same for the report; nothing without noise.
std::optional<observe::PrivacyReport> privacy_report(const config::AgreedHalf& agreed,
                                                     bool predicts);

}  // namespace vflbus::actors
