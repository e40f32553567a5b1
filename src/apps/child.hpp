#pragma once
// What runs in the process of an app: the handlers of a ClientApp for one run, or main of a
// ServerApp. Talks with the node over a socket (docs/apps.md, section 6) and ends when that does.

#include <vflbus/app.hpp>

namespace vflbus::apps {

/// Both return what the process is to exit with.
int run_client(int socket, const app::Exported& exported);
int run_server(int socket, const app::Exported& exported);

}  // namespace vflbus::apps
