#pragma once
// The agreed text of a run of apps (docs/apps.md, section 6): its first line says that the run is
// one, the others are its run configuration. And key=value as users write it.

#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include <vflbus/app.hpp>

#include "base/errc.hpp"

namespace vflbus::apps {

namespace app = vflbus::app;

/// "vflbus-app 1", and the run configuration, one `name = value` in a line.
std::string agreed_text(const app::Values& run_config);
/// Empty when the text is not that of a run of apps.
std::optional<Result<app::Values>> run_config_of(std::string_view agreed);
/// "key=value" as on the command line: true and false, integers, numbers, and text for the rest.
Result<app::Values> parse_values(const std::vector<std::string>& words, const std::string& flag);

}  // namespace vflbus::apps
