#pragma once
// The helper's own life, see helper.hpp.

#include "apps/helper.hpp"

namespace vflbus::apps {

/// Loads the app, says so on `control`, and starts and ends processes of it until `control` is
/// closed at the other end. Call it in a process that was forked for this and has one thread.
[[noreturn]] void run_nursery(int control, const HelperOptions& options);

}  // namespace vflbus::apps
