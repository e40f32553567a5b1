#include "submission.hpp"

#include <string>
#include <utility>

#include "config/agreed.hpp"

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

}  // namespace vflbus::cli
