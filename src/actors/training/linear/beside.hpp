#pragma once
// Work that is done on a thread of its own while a party waits for a message: what the next step
// needs and no message says anything about.

#include <future>
#include <memory>
#include <utility>

namespace vflbus::actors::linear {

/// One thread for one piece of work after another: to start a thread for each takes as long as the
/// work of a small step. It begins with the first piece, and goes with this.
class Beside {
  public:
    Beside() noexcept;
    ~Beside();  ///< waits for the end of the work
    Beside(Beside&&) noexcept;
    Beside& operator=(Beside&&) noexcept;

    /// Runs `work` beside this thread; not at all where no thread is to be had, as nothing depends
    /// on it: false. The work before it was awaited.
    template <class Work>
    bool begin(Work work) {
        return start(std::packaged_task<void()>(std::move(work)));
    }
    /// Until the work has ended, if any was begun. Throws what it has thrown.
    void await();

  private:
    struct Helper;
    bool start(std::packaged_task<void()> work);
    std::unique_ptr<Helper> helper_;
    std::future<void> done_;
};

}  // namespace vflbus::actors::linear
