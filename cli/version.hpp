#pragma once

namespace vflbus::cli {

inline constexpr const char* version_text = VFLBUS_VERSION;

}  // namespace vflbus::cli
