#pragma once
// Shared objects of apps: loaded, and refused when they are not for this program.

#include <filesystem>
#include <string>
#include <vflbus/app.hpp>

#include "base/errc.hpp"

namespace vflbus::apps {

enum class AppKind : std::uint8_t { client, server };
std::string_view name_of(AppKind kind) noexcept;  ///< "ClientApp"

/// Loads it for the rest of the process's life. Errors: usage; the sentence names the file and,
/// when the app was built with headers of another version, both versions. Runs what the file runs
/// when it is loaded, so call it in a process that may die.
Result<const app::Exported*> load_app(const std::filesystem::path& file, AppKind kind);

}  // namespace vflbus::apps
