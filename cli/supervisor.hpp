#pragma once
// Child processes of one command, from their start to their end.
//
// `launch`, `launch --client` and a serving master each start several processes of this program,
// wait for whichever ends first, start it again when a signal has ended it, and at last end all of
// them in order. A Supervisor does these steps; which child may be started again, and what the end
// of one means for the others, is decided by the command that owns it.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "process.hpp"

namespace vflbus::cli {

/// How often a child that a signal has ended was started again.
class Restarts {
  public:
    /// Counts one more. False, and nothing is counted, when there were `at_most` already since
    /// `progress` was another number.
    bool again(std::uint64_t at_most, std::uint64_t progress) noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }  ///< since then
    [[nodiscard]] std::uint64_t ever() const noexcept { return ever_; }
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }
    /// Goes on counting where an earlier process of ours has stopped.
    void restore(std::uint64_t count, std::uint64_t progress) noexcept;

  private:
    std::uint64_t count_ = 0;
    std::uint64_t progress_ = 0;
    std::uint64_t ever_ = 0;
};

/// " after `what` had been started again 3 times without a newer commit (bus.restarts_max)"; empty
/// for none.
std::string restarted_text(const std::string& what, std::uint64_t times);

/// When a child that has ended is started again, and how.
struct RestartRule {
    std::uint64_t at_most = 0;                ///< times without progress; 0: never
    std::function<std::uint64_t()> progress;  ///< a number that changes when the child gets on
    std::string_view since = "without a newer commit";  ///< what `at_most` is counted in
    /// A child that was started again may find its address still taken by the process that was
    /// killed. It then exits with one of these, and is started once more.
    std::vector<int> address_taken;
    /// Exit codes that are taken like a signal: the child itself could do no more.
    std::vector<int> also_after;
    std::function<std::vector<std::string>()> arguments;  ///< in place of those of its first start
    /// A child that is killed while it writes a file leaves FILE.tmp-PID. Those below these
    /// directories are removed.
    std::vector<std::filesystem::path> files;
    std::optional<int> pid_inside;  ///< PID in those names, for a child within a container
    std::function<void(const std::string&)> say;  ///< told of each restart; may be empty
};

/// One child, and those that took its place.
class Supervised {
  public:
    [[nodiscard]] const Child& child() const noexcept { return *child_; }
    [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
    [[nodiscard]] bool running() const noexcept { return child_->running(); }
    [[nodiscard]] ChildOptions& options() noexcept { return options_; }  ///< of its next start
    [[nodiscard]] const Restarts& restarts() const noexcept { return restarts_; }
    void restore(const Restarts& restarts) noexcept { restarts_ = restarts; }
    void signal(int number) const noexcept { child_->signal(number); }

    bool told = false;       ///< for the owner: it was told to end
    bool accounted = false;  ///< for the owner: its end was dealt with

  private:
    friend class Supervisor;
    Supervised(ChildOptions options, RestartRule rule, Child child);

    ChildOptions options_;
    RestartRule rule_;
    std::unique_ptr<Child> child_;
    Restarts restarts_;
};

class Supervisor {
  public:
    using Clock = std::chrono::steady_clock;
    using Group = std::vector<Supervised*>;

    /// Starts a child. The pointer is valid until `forget` or the end of this object, which ends
    /// whatever still runs. Errors: io.
    Result<Supervised*> start(ChildOptions options, RestartRule rule = {});

    /// Waits until a child has written something or has ended, until `also` (a file descriptor; -1:
    /// none) is readable, or until `until`; a second at most. Takes what was written and reaps what
    /// has ended.
    void wait(Clock::time_point until, int also = -1);
    /// The same without waiting.
    void look();
    /// Waits until `condition` holds or `at_most` has passed.
    template <class Condition>
    void wait_for(Condition condition, Clock::duration at_most) {
        const auto until = Clock::now() + at_most;
        while (!condition() && Clock::now() < until) wait(until);
    }

    /// Puts another process in the place of a child that has ended, if its rule allows that, and
    /// says so. False when it stays ended.
    bool start_again(Supervised& place);
    /// Removes what the processes of this place have begun to write and not put in place.
    static void remove_unfinished_files(const Supervised& place);

    /// SIGTERM to those that still run, SIGKILL to those that have not ended after `patience`;
    /// returns when all have ended.
    void end(const Group& group, Clock::duration patience);

    /// Takes a child out, and ends it at once if it still runs.
    void forget(const Supervised& place);
    void forget_all() noexcept { places_.clear(); }

    /// In the order in which they were started.
    [[nodiscard]] Group all() const;

  private:
    std::vector<std::unique_ptr<Supervised>> places_;
};

[[nodiscard]] bool any_running(const Supervisor::Group& group);

}  // namespace vflbus::cli
