#pragma once
// Task<T>: a function that can wait for events in the middle, and goes on where it stopped.
//
// The problem: what a master does in a run is a sequence ("ask all for their ids, intersect, send
// the selections, begin, then step after step"), but it is driven by events: replies come one by
// one, parties die, the user wants to stop. Written as a class with one method per event, the
// sequence falls apart into states and flags. Written as a Task it reads from top to bottom:
//
//   Task<> check(Run& run) {
//       co_await run.gathered();                        // a Wait: until all have joined
//       Replies asked = run.parties().ask_all(message::echo, body);
//       const std::vector<Bytes> echoes = co_await asked;    // a Wait: until all have answered
//       co_await take(echoes);                          // a Result: a failure ends the Task here
//       co_await align(run);                            // a Task: runs it, then goes on
//   }
//
//   co_await Task<U>     runs the inner Task. Its failure is the failure of the outermost one.
//   co_await Result<U>   gives the value, or ends the outermost Task with the failure.
//   co_await Wait        suspends until the Wait is ready (see WaitingPlace).
//
// After a failure no frame goes on: the outermost Task is over (`done`), and whoever owns it
// destroys it, and with it all frames below, wherever they are suspended. An exception that leaves
// a frame is such a failure as well. So nothing of a term of a run survives its Task.
//
// This is the only file that includes <coroutine>. Rules for those who write Tasks, because g++ 12
// destroys the captures of lambda temporaries in a statement with co_await twice, and newer ones
// leak what a structured binding is made from (tests/tidy looks for all five):
//   1. no lambda and no braced temporary (`f({a, b})`, `Type{a}`) in a statement with co_await,
//   2. no structured binding from a co_await,
//   3. no co_await inside `?:`,
//   4. no lambda that is a coroutine itself,
//   5. only the files of run/ destroy, start or resume a Task, and only while it is suspended.
// Besides, parameters are values, or references to what outlives the run.
// Tried with g++ 12 and clang 19 under both sanitizers (tests/unit/actors/run/test_task.cpp).
// Debian 12 has no g++ 14, so that one is untried.

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/assert.hpp"
#include "base/errc.hpp"

namespace vflbus::actors {

template <class T = void>
class Task;
class Wait;

/// The place where the innermost frame of one Task waits for an event. Whoever owns the Task calls
/// `resume_if_ready` after each event.
class WaitingPlace {
  public:
    WaitingPlace() = default;
    WaitingPlace(const WaitingPlace&) = delete;
    WaitingPlace& operator=(const WaitingPlace&) = delete;

    /// A frame is suspended here.
    [[nodiscard]] bool occupied() const noexcept { return wait_ != nullptr; }
    /// Lets the frame go on if what it waits for has come. It runs until it waits again or ends.
    void resume_if_ready();

  private:
    friend class Wait;
    Wait* wait_ = nullptr;
    std::coroutine_handle<> frame_;
};

/// Something that a Task can wait for. It lives in the frame that waits, and leaves its place when
/// that frame is destroyed.
class Wait {
  public:
    explicit Wait(WaitingPlace& place) noexcept : place_(&place) {}
    Wait(const Wait& other) noexcept : place_(other.place_) {}
    Wait& operator=(const Wait& other) noexcept {
        place_ = other.place_;
        return *this;
    }
    virtual ~Wait() {
        if (place_->wait_ != this) return;
        place_->wait_ = nullptr;
        place_->frame_ = {};
    }

    [[nodiscard]] virtual bool ready() const noexcept = 0;

    // -- for co_await ---------------------------------------------------------------
    [[nodiscard]] bool await_ready() const noexcept { return ready(); }
    void await_suspend(std::coroutine_handle<> frame) noexcept {
        VFLBUS_ASSERT(place_->wait_ == nullptr, "one frame of a Task waits at a time");
        place_->wait_ = this;
        place_->frame_ = frame;
    }
    void await_resume() const noexcept {}

  private:
    WaitingPlace* place_;
};

inline void WaitingPlace::resume_if_ready() {
    if (wait_ == nullptr || !wait_->ready()) return;
    wait_ = nullptr;
    std::exchange(frame_, {}).resume();
}

namespace detail {

/// What the frames of all Tasks have: who waits for them, and how they fail.
class PromiseBase {
  public:
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) noexcept {
            PromiseBase& promise = frame.promise();
            const bool goes_on = promise.outer && promise.outermost().failure_ == nullptr;
            return goes_on ? promise.outer : std::noop_coroutine();
        }
        void await_resume() const noexcept {}
    };
    Final final_suspend() noexcept { return {}; }

    void unhandled_exception() {
        try {
            throw;
        } catch (const std::exception& e) {
            fail({Errc::handler_failed, e.what()});
        } catch (...) {
            fail({Errc::handler_failed, "an exception that is no std::exception"});
        }
    }

    /// No frame goes on; the outermost one carries the failure.
    void fail(Failure failure) {
        outermost().failure_ = std::make_unique<Failure>(std::move(failure));
    }
    [[nodiscard]] const Failure* failure() noexcept { return outermost().failure_.get(); }

    template <class U>
    class AwaitResult {
      public:
        AwaitResult(Result<U> result, PromiseBase& promise)
            : result_(std::move(result)), promise_(&promise) {}
        [[nodiscard]] bool await_ready() const noexcept { return result_.has_value(); }
        void await_suspend(std::coroutine_handle<>) { promise_->fail(std::move(result_.error())); }
        U await_resume() {
            if constexpr (!std::is_void_v<U>) return std::move(*result_);
        }

      private:
        Result<U> result_;
        PromiseBase* promise_;
    };
    template <class U>
    AwaitResult<U> await_transform(Result<U> result) {
        return {std::move(result), *this};
    }
    template <class U>
    Task<U>&& await_transform(Task<U>&& inner) {
        inner.enter(*this);
        return std::move(inner);
    }
    template <class W>
        requires std::is_base_of_v<Wait, std::remove_cvref_t<W>>
    W&& await_transform(W&& wait) {
        return std::forward<W>(wait);
    }

    std::coroutine_handle<> outer;         ///< resumed when this one has returned
    PromiseBase* outer_promise = nullptr;  ///< of the frame that awaits this one

  private:
    PromiseBase& outermost() noexcept {
        PromiseBase* promise = this;
        while (promise->outer_promise != nullptr) promise = promise->outer_promise;
        return *promise;
    }
    std::unique_ptr<Failure> failure_;
};

template <class T>
class Promise : public PromiseBase {
  public:
    Task<T> get_return_object();
    void return_value(T value) { value_ = std::move(value); }
    T take() {
        VFLBUS_ASSERT(value_.has_value(), "a Task that returned has a value");
        return std::move(*value_);
    }

  private:
    std::optional<T> value_;
};

template <>
class Promise<void> : public PromiseBase {
  public:
    Task<void> get_return_object();
    void return_void() {}
    void take() {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
  public:
    using promise_type = detail::Promise<T>;
    explicit Task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
    Task& operator=(Task&&) = delete;
    ~Task() {
        if (frame_) frame_.destroy();
    }

    // -- for the owner of the outermost one -----------------------------------------
    /// Runs it until it waits for the first time, or to its end.
    void start() { frame_.resume(); }
    /// It has returned or failed.
    [[nodiscard]] bool done() const { return frame_.done() || failure() != nullptr; }
    /// Why it failed; null while it has not.
    [[nodiscard]] const Failure* failure() const { return frame_.promise().failure(); }

    // -- for co_await ---------------------------------------------------------------
    void enter(detail::PromiseBase& outer) noexcept { frame_.promise().outer_promise = &outer; }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    /// Runs the inner Task at once. One that returns without waiting costs no depth of stack, so
    /// that a loop over such Tasks may be as long as it likes.
    bool await_suspend(std::coroutine_handle<> outer) {
        frame_.resume();
        if (failure() != nullptr) return true;
        if (frame_.done()) return false;
        frame_.promise().outer = outer;
        return true;
    }
    T await_resume() { return frame_.promise().take(); }

  private:
    std::coroutine_handle<promise_type> frame_;
};

namespace detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
    return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
    return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

}  // namespace detail

}  // namespace vflbus::actors
