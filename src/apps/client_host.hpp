#pragma once
// Serves runs of apps on a node: each run's messages go to a process of its own, one at a time, and
// its answers back (docs/apps.md, section 5). So many handlers are at work as there are workers;
// further runs wait, and take turns message by message.
//
// Whoever opens a run here can cost the node no more than stated bounds: one process (and 256 of
// them for all runs), 16 messages that wait, of which large ones keep their room of the node's
// budget until they are answered and small ones take 64 MiB for all runs together, half of it for
// one owner at most, and a MiB of log lines a second.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "actors/node/app.hpp"
#include "apps/helper.hpp"
#include "apps/wire.hpp"

namespace vflbus::apps {

using LogHook = std::function<void(app::Level level, const RunId& run, const std::string& text)>;

/// Runs that may have a process here at a time.
inline constexpr std::size_t served_runs_max = 256;
/// Bytes of messages that wait or are handled and need no room of the node's budget. One owner gets
/// as much of it as stays free for the others.
inline constexpr std::uint64_t small_messages_bytes_max = 64 << 20;

/// How the line begins by which a node logs that a run of apps is over.
inline constexpr std::string_view run_has_ended = "the run has ended";

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
    /// Errors: io (no descriptors to be had).
    static Result<std::unique_ptr<ClientHost>> make(Helper helper, ClientHostOptions options);

    /// `others` with runs of apps besides: what is no run of apps is left to it. Must not outlive
    /// this.
    [[nodiscard]] virtual actors::ClientApp with(actors::ClientApp others) = 0;

    /// Who is told when the host can serve no more, since its helper has died: at once when that
    /// has happened, else on the thread of the processes. When `on_failure({})` has returned,
    /// nobody is told any more.
    virtual void on_failure(std::function<void(const Failure&)> tell) = 0;
};

}  // namespace vflbus::apps
