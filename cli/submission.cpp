#include "submission.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "config/agreed.hpp"
#include "trained_model.hpp"

namespace vflbus::cli {

Result<config::Config> accept_submission(const config::Config& own, std::string_view agreed) {
    auto submitted = config::parse_canonical(agreed, config::Members::may_be_unsaid);
    if (!submitted) return tl::unexpected(submitted.error());
    const std::uint64_t known = own.run.world_size;
    config::Config config = own;
    static_cast<config::AgreedHalf&>(config) = std::move(*submitted);
    if (config.run.world_size == 0) config.run.world_size = known;
    if (config.run.world_size == 0)
        return fail(Errc::bad_config,
                    "run.world_size, the number of members, is missing in the submission");
    if (known != 0 && config.run.world_size > known)
        return fail(Errc::bad_config,
                    "the submission is for " + std::to_string(config.run.world_size) +
                        " members (run.world_size), but the master knows of " +
                        std::to_string(known) +
                        " only; submit it for those, or change run.world_size there");
    if (const auto good = config::check(config); !good) return tl::unexpected(good.error());
    if (const auto good = config::check_party(config, "master"); !good)
        return tl::unexpected(good.error());
    if (const auto good = config::check_files(config, "master"); !good)
        return tl::unexpected(good.error());
    return config;
}

// -- predictions ------------------------------------------------------------------------------

namespace {

constexpr std::string_view predict_key = "predict = ";

}  // namespace

std::string prediction_text(std::string_view model) {
    return std::string(predict_key) + std::string(model) + "\n";
}

Result<std::string> predicted_model(std::string_view submitted) {
    if (!submitted.starts_with(predict_key)) return std::string();
    std::string digits(submitted.substr(predict_key.size()));
    if (digits.ends_with('\n')) digits.pop_back();
    const bool hex = std::ranges::all_of(
        digits, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    if (!hex || digits.size() < 4 || digits.size() > 32)
        return fail(Errc::malformed_message,
                    "a model is named by its run: 4 to 32 hexadecimal digits");
    return digits;
}

Result<Prediction> accept_prediction(const config::Config& own, const std::string& model) {
    const auto found = find_model(own.output.runs_dir, model);
    if (!found) return tl::unexpected(found.error());
    Prediction prediction{own, found->parts};
    const auto agreed = agreed_of(*found);
    if (!agreed)
        return fail(Errc::bad_config, "the agreed half of the training of model " + model +
                                          " (agreed.txt beside it) is not here any more; predict "
                                          "with `vflbus predict` there");
    static_cast<config::AgreedHalf&>(prediction.config) = *agreed;
    const auto section = own.parties.find("master");
    if (section == own.parties.end() || section->second.predict_data.empty())
        return fail(Errc::bad_config,
                    "the master has no rows to predict: predict_data is not set in its section");
    if (const auto good = config::check(prediction.config); !good)
        return tl::unexpected(good.error());
    if (const auto good = config::check_party(prediction.config, "master"); !good)
        return tl::unexpected(good.error());
    return prediction;
}

}  // namespace vflbus::cli
