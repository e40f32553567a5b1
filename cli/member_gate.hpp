#pragma once
// What a member process asks before it serves a run of others: its policy, the word of somebody
// there, its audit log (docs/policy.md).

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "actors/node/app.hpp"
#include "actors/node/node.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "party.hpp"
#include "policy/gate.hpp"

namespace vflbus::cli {

/// The gate of this member, or null: where neither a policy nor an audit log is asked for.
/// `party`: whose section of the configuration says which tables there are.
Result<std::unique_ptr<policy::Gate>> open_gate(const config::Config& config,
                                                const PartyOptions& options,
                                                const std::string& party);

/// `app` with runs of apps judged as well; those of trainings are judged by their own app. `digest`
/// is that of the shared object here. `judge` must outlive what is returned.
actors::ClientApp with_judged_apps(actors::ClientApp app, policy::Judge& judge,
                                   const std::string& digest);

/// While it lives, held runs are asked about again when somebody has said something about them.
class HeldWatch {
  public:
    /// `gate` may be null; both must outlive this.
    HeldWatch(policy::Gate* gate, actors::Node& node);
    ~HeldWatch();
    HeldWatch(const HeldWatch&) = delete;
    HeldWatch& operator=(const HeldWatch&) = delete;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool over_ = false;
    std::thread thread_;
};

}  // namespace vflbus::cli
