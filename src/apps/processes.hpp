#pragma once
// The processes of one app, as their node sees them: one thread that forks them by the helper,
// writes to them and reads from them without ever waiting for one. All callbacks come on that
// thread, and all calls but `post` are made on it.
//
// A fork costs a millisecond with all that comes of it, so a few spare processes are kept that wait
// for their first frame. They are replaced a while after they were taken, and not just when there
// is much to do.

#include <cstdint>
#include <functional>
#include <memory>

#include "apps/helper.hpp"
#include "apps/wire.hpp"
#include "base/ids.hpp"

namespace vflbus::apps {

class Processes {
  public:
    using Id = std::uint64_t;
    struct Callbacks {
        std::function<void(Told kind, Bytes&& body)> on_told;
        /// It is gone; nothing more comes from it. "was ended by signal 9 (Killed)". `clean`: it
        /// ended with exit code 0.
        std::function<void(const std::string& how, bool clean)> on_end;
    };

    /// Starts the thread, and as many processes as `spares` says. `on_lost` is called when the
    /// helper has died, and all its processes.
    static std::unique_ptr<Processes> make(Helper helper, std::size_t spares,
                                           std::function<void()> on_lost);
    /// Ends all processes at once.
    virtual ~Processes() = default;

    /// Calls `work` on the thread. From any thread.
    virtual void post(std::function<void()> work) = 0;

    /// One that has been told nothing yet.
    virtual Id start(Callbacks callbacks) = 0;
    virtual void tell(Id process, Told kind, Bytes body) = 0;
    /// Nothing more comes; the process ends when it has read what was sent.
    virtual void close(Id process) = 0;
    virtual void kill(Id process) = 0;
    using Timer = std::uint64_t;
    /// Calls `work` at that time, once, unless it is cancelled before.
    virtual Timer at(TimePoint when, std::function<void()> work) = 0;
    virtual void cancel(Timer timer) = 0;
    [[nodiscard]] virtual TimePoint now() const = 0;
};

}  // namespace vflbus::apps
