#pragma once
// Serves runs of apps on a node: each run's messages go to a process of its own, one at a time, and
// its answers back (docs/apps.md, section 2). So many handlers are at work as there are workers;
// further runs wait, and take turns message by message.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "actors/node/app.hpp"
#include "apps/helper.hpp"
#include "apps/wire.hpp"

namespace vflbus::apps {

using LogHook = std::function<void(app::Level level, const RunId& run, const std::string& text)>;

struct ClientHostOptions {
    std::string node_name;
    app::Values node_config;
    /// Handlers at work at a time. 0: as actors::workers_of.
    std::size_t workers = 0;
    /// From being told to stop to being killed.
    Duration grace = std::chrono::seconds(5);
    LogHook log;
    /// Nothing more is logged of this run, for now.
    std::function<void(const RunId& run)> run_over;
};

class ClientHost {
  public:
    virtual ~ClientHost() = default;  ///< ends all processes at once
    static std::unique_ptr<ClientHost> make(Helper helper, ClientHostOptions options);

    /// `others` with runs of apps besides: what is no run of apps is left to it. Must not outlive
    /// this.
    [[nodiscard]] virtual actors::ClientApp with(actors::ClientApp others) = 0;
};

}  // namespace vflbus::apps
