#pragma once
// The processes of one app, as their node sees them. One thread starts them by the helper, writes
// to them and reads from them without ever waiting for one. It gives each a bounded share of its
// time: a process that writes without end is read a piece at a time, between the others and the
// timers, so that it can be told to stop, and killed.
//
// A fork costs a millisecond with all that comes of it, so a few spare processes are kept that wait
// for their first frame. They are replaced a while after they were taken, and not just when there
// is much to do.
//
// All callbacks come on the thread, and all calls but `post` are made on it. A callback that throws
// is reported, and the thread goes on.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "actors/node/app.hpp"
#include "apps/child_frame.hpp"
#include "apps/helper.hpp"
#include "base/ids.hpp"

namespace vflbus::apps {

class Processes {
  public:
    using Id = std::uint64_t;
    struct Callbacks {
        std::function<void(ChildFrame&&)> on_frame;
        /// It is gone; nothing more comes from it. "was ended by signal 9 (Killed)". `clean`: it
        /// ended with exit code 0.
        std::function<void(const std::string& how, bool clean)> on_end;
    };
    struct Options {
        std::size_t spares = 0;
        /// The helper has died, and all processes with it; no process will start any more.
        std::function<void(const std::string& how)> on_lost;
        /// A callback, a timer or posted work has thrown this.
        std::function<void(const std::string& what)> on_fault;
    };

    /// Starts the thread and the spare processes. Errors: io (no descriptors to be had).
    static Result<std::unique_ptr<Processes>> make(Helper helper, Options options);
    /// Ends all processes at once.
    virtual ~Processes() = default;

    /// Calls `work` on the thread. From any thread; all that follows is for that thread alone.
    virtual void post(std::function<void()> work) = 0;

    /// One that has been told nothing yet.
    virtual Id start(Callbacks callbacks) = 0;
    /// `room` is held until the frame has been written, or the process is gone.
    virtual void send(Id process, FrameHead head, Bytes body = {},
                      actors::ContentRoom room = {}) = 0;
    /// Whether what the process writes is left in its socket for now: when that is full, the
    /// process waits in its next write. What it has written when it ends is read in any case.
    virtual void pause(Id process, bool on) = 0;
    /// Ends the process and all that it has started. Repeated until its end is reported.
    virtual void kill(Id process) = 0;

    using Timer = std::uint64_t;
    /// Calls `work` at that time, once, unless it is cancelled before.
    virtual Timer at(TimePoint when, std::function<void()> work) = 0;
    virtual void cancel(Timer timer) = 0;
    [[nodiscard]] virtual TimePoint now() const = 0;
};

}  // namespace vflbus::apps
