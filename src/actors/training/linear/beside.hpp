#pragma once
// Work that is done on a thread of its own while a party waits for a message: what the next step
// needs and no message says anything about.

#include <future>
#include <system_error>
#include <utility>

namespace vflbus::actors::linear {

/// Runs `work` beside this thread; not at all where no thread is to be had, as nothing depends on
/// it. The future waits for its end when it goes.
template <class Work>
std::future<void> beside(Work work) {
    try {
        return std::async(std::launch::async, std::move(work));
    } catch (const std::system_error&) {
        return {};
    }
}

inline void await_end(std::future<void>& work) {
    if (work.valid()) work.get();
}

}  // namespace vflbus::actors::linear
