#include "actors/training/linear/beside.hpp"

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/assert.hpp"

namespace vflbus::actors::linear {

struct Beside::Helper {
    Helper() : thread([this] { run(); }) {}
    ~Helper() {
        {
            const std::lock_guard lock(mutex);
            ending = true;
        }
        changed.notify_one();
        thread.join();
    }
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;

    void take(std::packaged_task<void()> work) {
        {
            const std::lock_guard lock(mutex);
            task = std::move(work);
        }
        changed.notify_one();
    }
    void run() {
        std::unique_lock lock(mutex);
        for (;;) {
            changed.wait(lock, [this] { return ending || task.valid(); });
            if (!task.valid()) return;  // what was begun is done before the end
            std::packaged_task<void()> work = std::move(task);
            lock.unlock();
            work();
            work = {};  // what it holds goes with it
            lock.lock();
        }
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::packaged_task<void()> task;
    bool ending = false;
    std::thread thread;  ///< the last member: it uses the others
};

Beside::Beside() noexcept = default;
Beside::Beside(Beside&&) noexcept = default;
Beside& Beside::operator=(Beside&&) noexcept = default;
Beside::~Beside() = default;

bool Beside::start(std::packaged_task<void()> work) {
    VFLBUS_ASSERT(!done_.valid(), "one piece of work is awaited before the next one begins");
    try {
        if (helper_ == nullptr) helper_ = std::make_unique<Helper>();
    } catch (const std::system_error&) {
        return false;
    }
    done_ = work.get_future();
    helper_->take(std::move(work));
    return true;
}

void Beside::await() {
    if (done_.valid()) done_.get();
}

}  // namespace vflbus::actors::linear
