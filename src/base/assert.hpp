#pragma once
// Assertions on our own invariants. They stay on in release builds: a process that has lost its own
// invariants must stop before it writes or sends anything wrong. What a peer, a file or a user says
// never trips one: such input is checked and answered with a Failure.

#include <cstdio>
#include <cstdlib>

namespace vflbus {

/// Prints one line to standard error and ends the process by SIGABRT.
[[noreturn]] inline void assertion_failed(const char* condition, const char* what, const char* file,
                                          int line) {
    std::fprintf(stderr, "vflbus: broken invariant at %s:%d: %s (%s)\n", file, line, what,
                 condition);
    std::abort();
}

}  // namespace vflbus

/// `what` is a sentence about the invariant: VFLBUS_ASSERT(index < size, "a rank is within the
/// run").
#define VFLBUS_ASSERT(condition, what)  \
    ((condition) ? static_cast<void>(0) \
                 : ::vflbus::assertion_failed(#condition, what, __FILE__, __LINE__))
