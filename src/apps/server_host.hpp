#pragma once
// The owner of a run of apps. Main of the ServerApp runs in a process of its own, which may crash
// or hang; this connects it to the run: what main pushes goes to the nodes, replies and news of
// nodes go to main, and the end of either ends the other (docs/apps.md, section 5).

#include <chrono>
#include <memory>
#include <string>

#include "actors/node/app.hpp"
#include "apps/child_frame.hpp"
#include "apps/client_host.hpp"

namespace vflbus::apps {

struct ServerHostOptions {
    std::string node_name;
    RunId run;
    app::Values run_config;
    /// Empty: every node that serves apps, now and later.
    std::vector<bus::Participant> participants;
    /// From being told to stop to being killed; and how much longer than the time to live of a
    /// message the owner waits for the word of the node that has it.
    Duration grace = std::chrono::seconds(5);
    /// What messages may cost that main has pushed and nobody has answered. Beyond it main waits in
    /// `push_messages`.
    std::uint64_t unanswered_bytes_max = std::uint64_t{1} << 30;
    LogHook log;
    /// What main says of itself over time; may be empty.
    std::function<void(Metrics metrics)> metrics;
};

class ServerHost : public actors::ServerApp {
  public:
    ~ServerHost() override = default;  ///< ends the process at once
    /// Errors: io (no descriptors to be had).
    static Result<std::unique_ptr<ServerHost>> make(Helper helper, ServerHostOptions options);

    /// Once the run has ended: lets main return, for the grace at most. ok, or why the run failed.
    virtual Failure finish() = 0;
    /// Messages pushed, replies with content, errors.
    struct Counts {
        std::uint64_t pushed = 0;
        std::uint64_t replies = 0;
        std::uint64_t errors = 0;
        std::uint64_t unanswered_bytes = 0;  ///< the most that they have cost at a time
    };
    [[nodiscard]] virtual Counts counts() const = 0;
};

}  // namespace vflbus::apps
