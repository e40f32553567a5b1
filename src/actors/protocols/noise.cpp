#include "actors/protocols/noise.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "config/privacy.hpp"
#include "privacy/noise/accountant.hpp"
#include "privacy/rlwe/plan.hpp"

namespace vflbus::actors {
namespace {

privacy::Key key_of(std::string_view bytes) {
    privacy::Key key;
    std::memcpy(key.bytes().data(), bytes.data(), privacy::Key::size);
    return key;
}

/// Four digits, for people.
std::string short_number(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.4g", value);
    return text.data();
}

/// "epsilon 3.2 at delta 1e-06 (rho 0.12 of zCDP)"
std::string promise(double rho, double delta) {
    return "epsilon " + short_number(privacy::epsilon_of(rho, delta)) + " at delta " +
           shortest(delta) + " (rho " + short_number(rho) + " of zCDP)";
}

/// The noise of one member: each row of scores has a release of its own, so that it does not matter
/// with which others it is asked for.
class NoisyMember final : public MemberProtocol {
  public:
    NoisyMember(MemberProtocol& inner, const config::AgreedHalf& agreed, privacy::NoiseKey key)
        : inner_(&inner),
          key_(std::move(key)),
          grid_(privacy::grid_of(agreed.privacy.score_clip_norm, bits)),
          // a row may change from one end to the other
          sigma_(privacy::sigma_of(agreed.privacy.score_noise_multiplier, 2 * grid_.most)) {}

    Result<SentTensor> share(const Stamp& stamp, models::ConstMatrixView z) override {
        auto rows = clipped_rows(z, grid_);
        if (!rows) return tl::unexpected(std::move(rows.error()));
        std::vector<std::int64_t> row(z.cols);
        for (std::size_t i = 0; i < z.rows; ++i) {
            for (std::size_t k = 0; k < z.cols; ++k) row[k] = (*rows)[k * z.rows + i];
            const bool batch = stamp.first_row == Stamp::batch;
            const auto label =
                release_label(Release::scores, stamp.step,
                              2 * static_cast<std::uint64_t>(stamp.table) + (batch ? 1 : 0),
                              batch ? i : stamp.first_row + i);
            privacy::add_noise(key_, label, sigma_, row);
            for (std::size_t k = 0; k < z.cols; ++k) (*rows)[k * z.rows + i] = row[k];
        }
        noised_.resize_uninitialized(z.rows, z.cols);
        to_numbers(*rows, grid_.exponent, noised_.view());
        auto shared = inner_->share(stamp, noised_);
        // the scores are finite and shortened, so it is the noise that does not fit into masks
        if (!shared && shared.error().code == Errc::diverged)
            return fail(Errc::too_large,
                        "the noise on its scores does not fit into the numbers of masks: lower "
                        "privacy.score_clip_norm or privacy.score_noise_multiplier");
        return shared;
    }
    Result<> incoming(const Stamp& stamp, const TensorView& sent,
                      models::Matrix& residual) override {
        return inner_->incoming(stamp, sent, residual);
    }
    Result<Bytes> answer(const RoundRequest& request) override { return inner_->answer(request); }
    Hash256 public_seed(std::uint64_t use) const override { return inner_->public_seed(use); }

  private:
    static constexpr unsigned bits = 20;
    MemberProtocol* inner_;
    privacy::NoiseKey key_;
    privacy::Grid grid_;
    std::uint64_t sigma_;
    models::Matrix noised_;
};

}  // namespace

Result<privacy::NoiseKey> noise_key(Env& env, const std::filesystem::path& directory,
                                    const config::AgreedHalf& agreed, std::string_view name) {
    if (agreed.privacy.insecure_testing) {
        const Hash256 known =
            hash256("vflbus noise of nobody's secret:" + std::to_string(agreed.run.seed) + ":" +
                    std::string(name));
        return privacy::NoiseKey(
            key_of({reinterpret_cast<const char*>(known.data()), known.size()}));
    }
    const std::filesystem::path file = directory / noise_file;
    if (env.exists(file)) {
        auto text = env.read_file(file);
        if (!text) return tl::unexpected(std::move(text.error()));
        if (text->size() != privacy::Key::size)
            return fail(Errc::state_lost, file.string() + " holds no secret of " +
                                              std::to_string(privacy::Key::size) +
                                              " bytes: the noise of this run cannot be made again");
        return privacy::NoiseKey(key_of(*text));
    }
    std::string secret(privacy::Key::size, '\0');
    env.random({reinterpret_cast<std::uint8_t*>(secret.data()), secret.size()});
    // before anything is sent that it hides
    if (auto stored = env.write_secret(file, secret); !stored)
        return fail(stored.error().code,
                    "cannot store the secret of its noise: " + stored.error().sentence);
    return privacy::NoiseKey(key_of(secret));
}

std::vector<std::uint8_t> release_label(Release what, std::uint64_t step, std::uint64_t place,
                                        std::uint64_t row) {
    std::vector<std::uint8_t> label{static_cast<std::uint8_t>(what)};
    for (const std::uint64_t part : {step, place, row})
        for (int byte = 0; byte < 8; ++byte)
            label.push_back(static_cast<std::uint8_t>(part >> (8 * byte)));
    return label;
}

privacy::Grid residual_grid(const config::AgreedHalf& agreed, std::size_t rows, unsigned bits) {
    return privacy::grid_of(
        agreed.privacy.residual_clip_norm / static_cast<double>(std::max<std::size_t>(1, rows)),
        bits);
}

privacy::Grid column_grid(const config::AgreedHalf& agreed) {
    privacy::Grid grid =
        privacy::grid_of(agreed.privacy.feature_clip_norm, privacy::rlwe::column_bits);
    // what a number of a column holds
    grid.most = std::min<std::int64_t>(grid.most, (1 << privacy::rlwe::column_bits) - 1);
    return grid;
}

std::size_t noise_rows(const config::AgreedHalf& agreed) {
    if (agreed.privacy.noise_multiplier <= 0) return 0;
    // ten deviations, of which each is so many times what a row can change
    return static_cast<std::size_t>(std::ceil(20 * agreed.privacy.noise_multiplier)) + 1;
}

Result<std::vector<std::int64_t>> clipped_rows(models::ConstMatrixView rows,
                                               const privacy::Grid& grid) {
    std::vector<std::int64_t> out(rows.size());
    std::vector<double> row(rows.cols);
    std::vector<std::int64_t> integers(rows.cols);
    for (std::size_t i = 0; i < rows.rows; ++i) {
        for (std::size_t k = 0; k < rows.cols; ++k) row[k] = rows(i, k);
        if (auto done = privacy::clip_row(row, grid, integers); !done)
            return tl::unexpected(std::move(done.error()));
        for (std::size_t k = 0; k < rows.cols; ++k) out[k * rows.rows + i] = integers[k];
    }
    return out;
}

void to_numbers(std::span<const std::int64_t> integers, int exponent, models::MatrixView out) {
    for (std::size_t i = 0; i < integers.size(); ++i)
        out.data[i] = std::ldexp(static_cast<double>(integers[i]), -exponent);
}

std::vector<std::int64_t> integer_product(std::span<const std::int64_t> columns,
                                          std::span<const std::int64_t> residuals,
                                          std::size_t rows) {
    if (rows == 0) return {};
    const std::size_t features = columns.size() / rows;
    const std::size_t outputs = residuals.size() / rows;
    std::vector<std::int64_t> out(features * outputs);
    for (std::size_t k = 0; k < outputs; ++k)
        for (std::size_t j = 0; j < features; ++j) {
            std::int64_t sum = 0;
            for (std::size_t i = 0; i < rows; ++i)
                sum += columns[j * rows + i] * residuals[k * rows + i];
            out[k * features + j] = sum;
        }
    return out;
}

std::unique_ptr<MemberProtocol> make_noisy_member(MemberProtocol& inner,
                                                  const config::AgreedHalf& agreed,
                                                  privacy::NoiseKey key) {
    return std::make_unique<NoisyMember>(inner, agreed, std::move(key));
}

// -- what is said ----------------------------------------------------------------------------

std::string privacy_notice(const config::AgreedHalf& agreed, bool predicts) {
    const auto report = privacy_report(agreed, predicts);
    if (!report) return {};
    std::string line = "differential privacy: over the whole run, ";
    if (report->labels)
        line += "what members receive tells of a row's label " +
                promise(report->labels->rho, report->delta);
    if (report->labels && report->features) line += ", ";
    if (report->features)
        line += "what leaves a member tells of a row of its columns " +
                promise(report->features->rho, report->delta);
    if (report->insecure_testing)
        line +=
            ". NONE OF IT HOLDS: privacy.insecure_testing makes the noise of run.seed, which "
            "all know";
    return line;
}

std::optional<observe::PrivacyReport> privacy_report(const config::AgreedHalf& agreed,
                                                     bool predicts) {
    const config::PrivacyConfig& asked = agreed.privacy;
    observe::PrivacyReport report;
    report.delta = asked.delta;
    report.insecure_testing = asked.insecure_testing;
    const auto promised = [&](double multiplier, double rho) {
        return observe::PrivacyPromise{multiplier, rho, privacy::epsilon_of(rho, asked.delta)};
    };
    if (asked.noise_multiplier > 0 && !predicts)
        report.labels = promised(asked.noise_multiplier, config::rho_of_labels(agreed));
    if (asked.score_noise_multiplier > 0)
        report.features = promised(
            asked.score_noise_multiplier,
            predicts ? config::rho_of_predicted_features(agreed) : config::rho_of_features(agreed));
    if (!report.labels && !report.features) return std::nullopt;
    return report;
}

}  // namespace vflbus::actors
