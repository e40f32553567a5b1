#pragma once
// Programs that an app has started may have left its process group and lost their parent: a daemon,
// a `setsid sleep 300 &`. A process that is their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) gets
// such orphans as its own children, wherever they went. So who they are is a matter of looking at
// one's children.

#include <sys/types.h>

#include <functional>
#include <vector>

namespace vflbus::apps {

/// From now on orphans among the descendants of this process become its children.
void adopt_orphans() noexcept;

/// The children of this process, those included that have ended and were not waited for.
std::vector<pid_t> children_of_this_process();

/// Sends SIGKILL to every child that `known` does not claim, and to its process group when that is
/// not this process's own and none of whose leader is known. What they had started in turn becomes
/// a child by that: call it again until nothing is left. Returns how many there were.
std::size_t kill_unknown_children(const std::function<bool(pid_t)>& known);

}  // namespace vflbus::apps
