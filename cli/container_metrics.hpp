#pragma once
// How Prometheus reaches containers that no network reaches.
//
// The containers of `launch --podman` are in a network without a way in or out, and so they stay:
// each answers at a socket file in a directory that this machine sees as well, and a server here
// passes on what Prometheus asks at a port of this machine.

#include <filesystem>
#include <memory>
#include <string>

#include "base/errc.hpp"

namespace vflbus::observers {
class HttpServer;
}

namespace vflbus::cli {

/// Where a container sees its directory, and where it answers (observe.metrics).
inline constexpr const char* metrics_inside = "/run/vflbus";
inline constexpr const char* metrics_address_inside = "unix:/run/vflbus/metrics";

/// A server at `address` (HOST:PORT) that passes requests on to the socket file in `directory`,
/// where a container answers; 503 while nothing answers there. Errors: as of HttpServer, io.
Result<std::unique_ptr<observers::HttpServer>> relay_metrics(
    const std::string& address, bool remote, const std::filesystem::path& directory);

}  // namespace vflbus::cli
