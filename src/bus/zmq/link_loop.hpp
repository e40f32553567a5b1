#pragma once
// A link's socket and its waiting. Not thread-safe: whoever holds the node's lock calls it; only
// `wake` may be called from anywhere.

#include <memory>
#include <mutex>
#include <string>

#include "base/errc.hpp"
#include "bus/core/link_core.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {

/// The sentence that warns of a link that leaves this machine without keys; empty for a link that
/// has keys, or stays on the machine. `broker` as in `LinkLoop::create`.
std::string clear_link_warning(const std::string& broker, const KeySource& keys);

class LinkLoop {
  public:
    virtual ~LinkLoop() = default;
    /// Errors: address (malformed); io (no descriptor to be had with which `wake` wakes a poll).
    /// With `keys` every tcp connection is encrypted, and only the broker whose key is in
    /// broker.pub is talked to; errors then: those of `load_link_keys`. Does not connect before
    /// `start`. A connection for which there is no descriptor is tried again
    /// later, see `trouble`.
    static Result<std::unique_ptr<LinkLoop>> create(std::shared_ptr<Context> context,
                                                    const std::string& broker, LinkConfig config,
                                                    KeySource keys = {});

    [[nodiscard]] virtual LinkCore& core() = 0;
    virtual void start() = 0;
    /// Waits for frames, `wake`, `stop` (may be null) or `until`, whichever comes first, and feeds
    /// what there is to the core. `held` is the caller's lock on the link: it is released while
    /// nothing is there to do, so that others may use the core; who does so then calls `wake`. One
    /// thread at a time polls.
    virtual void poll(TimePoint until, const StopSignal* stop,
                      std::unique_lock<std::mutex>* held = nullptr) = 0;
    /// Makes the present or next `poll` return.
    virtual void wake() noexcept = 0;
    /// Closes the connection after what was sent has left, or after three seconds.
    virtual void close() = 0;
    /// Why the last attempt to reach the broker failed; empty when nothing is known to be wrong.
    [[nodiscard]] virtual std::string trouble() const = 0;
    /// Whether that is because of who answers there, such as a broker that does not let the key in.
    [[nodiscard]] virtual bool turned_away() const = 0;
};

}  // namespace vflbus::bus
