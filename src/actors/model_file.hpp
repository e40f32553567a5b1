#pragma once
// What every party's part of a trained model says about itself, whatever the algorithm:
// runs/<run_id>/<party>/model.json. The rest of the file is its algorithm's.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "actors/run/commit_file.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

struct ModelHead {
    StateFormat format{"linear", 1};  ///< files that name no algorithm are of linear models
    RunId run;
    std::string party;
    std::string role;  ///< "master" or "member"
    std::int64_t rank = -1;
    std::uint64_t world_size = 0;
    std::string protocol;
    std::string task;
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    /// Early stopping has gone back to this step, which `steps` of the part says then.
    std::optional<std::uint64_t> stopped_at = {};
    Hash256 agreed{};  ///< hash of the agreed half
    std::uint64_t outputs = 0;
};

/// What a run says about the parts of its model.
ModelHead model_head(const config::AgreedHalf& agreed, std::string_view party);

/// A JSON object with `format` "vflbus-model", `version`, `algorithm` and the keys above.
/// Errors: bad_data naming `path` and the key.
Result<ModelHead> parse_model_head(std::string_view text, std::string_view path);

/// The file of an algorithm that has no format of its own: the head and `content`, JSON text that
/// the algorithm alone knows. The same head and content make the same bytes.
std::string model_text(const ModelHead& head, std::string_view content);
/// The JSON text of that content. Errors: bad_data naming `path`.
Result<std::string> model_content(std::string_view text, std::string_view path);

/// Refuses a part that another algorithm wrote, or another version of this one, by name.
Result<> check_format(const ModelHead& head, const StateFormat& format, std::string_view path);

/// A larger part is not written: it could not be read back. Errors: too_large.
inline constexpr std::uint64_t model_bytes_max = std::uint64_t{4} << 30;
Result<> check_model_size(std::uint64_t bytes, std::uint64_t bytes_max = model_bytes_max);

}  // namespace vflbus::actors
