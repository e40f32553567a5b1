#include "apps/processes.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "actors/node/thrown.hpp"
#include "base/assert.hpp"
#include "base/clock.hpp"

namespace vflbus::apps {
namespace {

/// Read at once of small frames, and of a large body straight into its place.
constexpr std::size_t small_read_bytes = 16 << 10;
constexpr std::size_t large_read_bytes = 256 << 10;
/// Read from, or written to, one process before the others have their turn.
constexpr std::size_t turn_bytes = 1 << 20;
/// Read of a process that has ended: more than a socket can hold of it.
constexpr std::size_t last_words_bytes = 8 << 20;
/// A frame so small is written in one piece with its head.
constexpr std::size_t one_piece_bytes = 64 << 10;
/// From the taking of a spare process to its replacement.
constexpr Duration refill_after = std::chrono::milliseconds(500);
/// A kill that has not led to an end is said again.
constexpr Duration kill_again_after = std::chrono::seconds(1);

constexpr std::uint64_t wake_key = 0;  ///< of epoll; processes have theirs from 1 on
constexpr std::uint64_t helper_key = UINT64_MAX;

using actors::what_was_thrown;

/// A descriptor that closes itself.
class Fd {
  public:
    explicit Fd(int fd = -1) noexcept : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }
    void reset(int fd = -1) noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }
    [[nodiscard]] int get() const noexcept { return fd_; }

  private:
    int fd_;
};

/// What waits to be written to one process.
class Outbound {
  public:
    void add(const FrameHead& head, Bytes body, actors::ContentRoom room) {
        const FrameHeadBytes encoded = encode(head);
        Bytes first(encoded.begin(), encoded.end());
        if (body.size() <= one_piece_bytes) {
            first.insert(first.end(), body.begin(), body.end());
            pieces_.push_back({std::move(first), std::move(room)});
        } else {
            pieces_.push_back({std::move(first), {}});
            pieces_.push_back({std::move(body), std::move(room)});
        }
    }
    [[nodiscard]] bool empty() const noexcept { return pieces_.empty(); }
    void clear() {
        pieces_.clear();
        at_ = 0;
    }
    /// Up to one share of it. False: the process reads no more.
    bool write(int socket) {
        std::size_t left = turn_bytes;
        while (!pieces_.empty() && left > 0) {
            std::array<iovec, 8> parts{};
            std::size_t n = 0;
            for (; n < parts.size() && n < pieces_.size(); ++n)
                parts[n] = {pieces_[n].bytes.data(), pieces_[n].bytes.size()};
            parts[0] = {pieces_[0].bytes.data() + at_, pieces_[0].bytes.size() - at_};
            msghdr message{};
            message.msg_iov = parts.data();
            message.msg_iovlen = n;
            const ssize_t put = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return errno == EAGAIN;
            written(static_cast<std::size_t>(put));
            left -= std::min(left, static_cast<std::size_t>(put));
        }
        return true;
    }

  private:
    struct Piece {
        Bytes bytes;
        actors::ContentRoom room;
    };
    void written(std::size_t bytes) {
        at_ += bytes;
        while (!pieces_.empty() && at_ >= pieces_.front().bytes.size()) {
            at_ -= pieces_.front().bytes.size();
            pieces_.pop_front();
        }
        VFLBUS_ASSERT(!pieces_.empty() || at_ == 0, "no more is written than there was");
    }
    std::deque<Piece> pieces_;
    std::size_t at_ = 0;  ///< written of the first piece
};

/// Frames out of the bytes that come from one process.
class Inbound {
  public:
    /// Takes what belongs to the frame under way, and returns how much that was. `whole` is set
    /// when the frame is. A head that makes no sense: malformed_message.
    Result<std::size_t> take(std::span<const std::uint8_t> bytes, bool& whole) {
        std::size_t taken = 0;
        whole = false;
        if (head_at_ < head_.size()) {
            taken = std::min(bytes.size(), head_.size() - head_at_);
            std::memcpy(head_.data() + head_at_, bytes.data(), taken);
            head_at_ += taken;
            if (head_at_ < head_.size()) return taken;
            const auto head = decode_head(head_);
            if (!head) return tl::unexpected(head.error());
            frame_.head = *head;
            // address space only: a length is a claim, and memory is taken as the bytes come
            frame_.body.reserve(head->length);
        }
        const std::size_t part = std::min<std::uint64_t>(bytes.size() - taken, missing());
        frame_.body.insert(frame_.body.end(), bytes.begin() + static_cast<std::ptrdiff_t>(taken),
                           bytes.begin() + static_cast<std::ptrdiff_t>(taken + part));
        whole = missing() == 0;
        return taken + part;
    }
    /// Bytes of the body that is under way; 0 when none is.
    [[nodiscard]] std::uint64_t missing() const noexcept {
        return head_at_ < head_.size() ? 0 : frame_.head.length - frame_.body.size();
    }
    /// Where the next bytes of a large body belong. `grew_by` says how many came.
    std::span<std::uint8_t> room(std::size_t bytes) {
        had_ = frame_.body.size();
        frame_.body.resize(had_ + std::min<std::uint64_t>(bytes, missing()));
        return std::span(frame_.body).subspan(had_);
    }
    void grew_by(std::size_t bytes) { frame_.body.resize(had_ + bytes); }
    ChildFrame take_frame() {
        head_at_ = 0;
        return std::exchange(frame_, {});
    }

  private:
    FrameHeadBytes head_{};
    std::size_t head_at_ = 0;
    ChildFrame frame_;
    std::size_t had_ = 0;
};

class ProcessesImpl final : public Processes {
  public:
    ProcessesImpl(Helper helper, Options options, Fd wake, Fd epoll)
        : helper_(std::move(helper)),
          options_(std::move(options)),
          wake_(std::move(wake)),
          epoll_(std::move(epoll)) {
        watch(wake_.get(), wake_key, EPOLLIN, EPOLL_CTL_ADD);
        watch(helper_->fd(), helper_key, EPOLLIN, EPOLL_CTL_ADD);
        thread_ = std::thread([this] { run(); });
    }

    ~ProcessesImpl() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        wake();
        thread_.join();
        children_.clear();
        helper_.reset();
    }

    void post(std::function<void()> work) override {
        {
            const std::lock_guard lock(mutex_);
            if (ending_) return;
            posted_.push_back(std::move(work));
        }
        wake();
    }

    Id start(Callbacks callbacks) override {
        assert_on_thread();
        if (spares_.empty()) return fork(std::move(callbacks));
        const Id id = spares_.front();
        spares_.pop_front();
        children_.at(id).callbacks = std::move(callbacks);
        refill_later();
        return id;
    }

    void send(Id process, FrameHead head, Bytes body, actors::ContentRoom room) override {
        assert_on_thread();
        const auto found = children_.find(process);
        if (found == children_.end() || found->second.socket.get() < 0) return;
        head.length = body.size();
        found->second.out.add(head, std::move(body), std::move(room));
        write(process, found->second);
    }

    void pause(Id process, bool on) override {
        assert_on_thread();
        const auto found = children_.find(process);
        if (found == children_.end()) return;
        found->second.paused = on;
        watch_child(process, found->second);
    }

    void kill(Id process) override {
        assert_on_thread();
        const auto found = children_.find(process);
        if (found == children_.end() || !helper_ || found->second.killed) return;
        found->second.killed = true;
        kill_until_gone(process);
    }

    Timer at(TimePoint when, std::function<void()> work) override {
        assert_on_thread();
        const Timer timer = ++last_timer_;
        timers_.emplace(std::pair(when, timer), std::move(work));
        timer_times_[timer] = when;
        return timer;
    }
    void cancel(Timer timer) override {
        assert_on_thread();
        const auto found = timer_times_.find(timer);
        if (found == timer_times_.end()) return;
        timers_.erase({found->second, timer});
        timer_times_.erase(found);
    }

    TimePoint now() const override { return clock_now(); }

  private:
    struct Child {
        Fd socket;
        Callbacks callbacks;
        Outbound out;
        Inbound in;
        bool killed = false;
        bool silent = false;        ///< nothing more can be read of it
        bool paused = false;        ///< nothing is read of it for now
        bool over = false;          ///< it has ended, and only its last words are left
        std::uint32_t watched = 0;  ///< what epoll looks for

        [[nodiscard]] bool reads() const noexcept { return !silent && (!paused || over); }
    };
    /// What the helper could not be told yet.
    struct Untold {
        bool fork = false;  ///< otherwise a kill
        Id id = 0;
        Fd socket;  ///< of a fork: the process's end
    };

    void assert_on_thread() const {
        VFLBUS_ASSERT(std::this_thread::get_id() == own_thread_,
                      "all but `post` is called on the thread of the processes");
    }

    // -- starting and ending --------------------------------------------------------------
    Id fork(Callbacks callbacks) {
        const Id id = ++last_id_;
        std::array<int, 2> pair{-1, -1};
        const bool made = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0;
        const int error = errno;
        Child& child = children_[id];
        child.callbacks = std::move(callbacks);
        child.socket.reset(pair[0]);
        Fd far_end(pair[1]);
        if (!made || !helper_) {
            const std::string how =
                "could not be started: " + (made ? "its helper has died" : text_of(error));
            post([this, id, how] { ended(id, how, false); });
            return id;
        }
        watch_child(id, child);
        tell_helper({true, id, std::move(far_end)});
        return id;
    }

    void kill_until_gone(Id id) {
        if (children_.count(id) == 0 || !helper_) return;
        tell_helper({false, id, Fd()});
        at(now() + kill_again_after, [this, id] { kill_until_gone(id); });
    }

    void tell_helper(Untold what) {
        untold_.push_back(std::move(what));
        tell_helper_more();
    }

    /// The helper's socket holds some hundred commands; those beyond wait here for their turn.
    void tell_helper_more() {
        while (helper_ && !untold_.empty()) {
            const Untold& next = untold_.front();
            const Helper::Sent sent =
                next.fork ? helper_->fork(next.id, next.socket.get()) : helper_->kill(next.id);
            if (sent == Helper::Sent::full) break;
            untold_.pop_front();  // told; or the helper is gone, and its end of the socket says so
        }
        if (!helper_ || helper_full_ == !untold_.empty()) return;
        helper_full_ = !untold_.empty();
        watch(helper_->fd(), helper_key, helper_full_ ? EPOLLIN | EPOLLOUT : EPOLLIN,
              EPOLL_CTL_MOD);
    }

    void refill() {
        refilling_ = false;
        while (helper_ && spares_.size() < options_.spares) spares_.push_back(fork({}));
    }
    void refill_later() {
        if (std::exchange(refilling_, true)) return;
        at(now() + refill_after, [this] { refill(); });
    }

    void reports() {
        while (helper_) {
            bool gone = false;
            const auto event = helper_->next(gone);
            if (gone) return lost();
            if (!event) return;
            if (event->started) continue;
            if (event->error != 0) {
                ended(event->id, "could not be started: " + text_of(event->error), false);
                continue;
            }
            if (const auto found = children_.find(event->id); found != children_.end())
                found->second.over = true;
            read(event->id, last_words_bytes);  // what it had said before
            ended(event->id, ending_of(event->status),
                  WIFEXITED(event->status) && WEXITSTATUS(event->status) == 0);
        }
    }

    void lost() {
        const std::string how = helper_->bury();
        helper_.reset();
        untold_.clear();
        while (!children_.empty())
            ended(children_.begin()->first, "ended with its helper, which " + how, false);
        guarded([&] {
            if (options_.on_lost) options_.on_lost(how);
        });
    }

    void ended(Id id, const std::string& how, bool clean) {
        const auto found = children_.find(id);
        if (found == children_.end()) return;
        const Callbacks callbacks = std::move(found->second.callbacks);
        children_.erase(found);  // closes its socket, which epoll forgets by that
        if (std::erase(spares_, id) != 0 && helper_) refill_later();
        guarded([&] {
            if (callbacks.on_end) callbacks.on_end(how, clean);
        });
    }

    // -- the thread -----------------------------------------------------------------------
    void wake() noexcept {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
    }

    void watch(int fd, std::uint64_t key, std::uint32_t events, int how) {
        epoll_event event{};
        event.events = events;
        event.data.u64 = key;
        ::epoll_ctl(epoll_.get(), how, fd, &event);
    }

    void watch_child(Id id, Child& child) {
        std::uint32_t wanted = child.reads() ? static_cast<std::uint32_t>(EPOLLIN) : 0u;
        if (!child.out.empty()) wanted |= EPOLLOUT;
        if (wanted == child.watched) return;
        // an end that is closed would be reported again and again while it is registered
        const int how = child.watched == 0 ? EPOLL_CTL_ADD
                        : wanted == 0      ? EPOLL_CTL_DEL
                                           : EPOLL_CTL_MOD;
        watch(child.socket.get(), id, wanted, how);
        child.watched = wanted;
    }

    template <class Call>
    void guarded(Call&& call) {
        try {
            call();
        } catch (...) {
            fault(what_was_thrown());
        }
    }
    void fault(const std::string& what) noexcept {
        try {
            if (options_.on_fault) options_.on_fault(what);
        } catch (...) {  // nothing is left to say it with
        }
    }

    void run() {
        own_thread_ = std::this_thread::get_id();
        guarded([this] { refill(); });
        std::array<epoll_event, 64> ready{};
        for (;;) {
            if (!run_posted()) return;
            run_timers();
            const int n = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()),
                                       milliseconds_to_timer());
            for (int i = 0; i < n; ++i) {
                const epoll_event& event = ready[static_cast<std::size_t>(i)];
                guarded([&] { handle(event.data.u64, event.events); });
            }
        }
    }

    /// False: it is to end.
    bool run_posted() {
        std::deque<std::function<void()>> work;
        {
            const std::lock_guard lock(mutex_);
            if (ending_) return false;
            work.swap(posted_);
        }
        for (const auto& each : work) guarded(each);
        return true;
    }

    void run_timers() {
        while (!timers_.empty() && timers_.begin()->first.first <= now()) {
            const auto call = std::move(timers_.begin()->second);
            timer_times_.erase(timers_.begin()->first.second);
            timers_.erase(timers_.begin());
            guarded(call);
        }
    }

    int milliseconds_to_timer() const {
        if (timers_.empty()) return -1;
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first - now());
        return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
    }

    void handle(std::uint64_t key, std::uint32_t events) {
        if (key == wake_key) {
            std::uint64_t count;
            [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
        } else if (key == helper_key) {
            tell_helper_more();
            reports();
        } else if (const auto found = children_.find(key); found != children_.end()) {
            if ((events & EPOLLOUT) != 0) write(key, found->second);
            if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(key, turn_bytes);
        }
    }

    void write(Id id, Child& child) {
        // one that is gone takes no more: its end will be reported
        if (!child.out.write(child.socket.get())) child.out.clear();
        watch_child(id, child);
    }

    /// Takes up to `share` bytes of what can be read without waiting. What cannot be dealt with
    /// ends the process.
    void read(Id id, std::size_t share) {
        std::string why;
        try {
            if (const auto done = read_share(id, share); !done) why = done.error().sentence;
        } catch (...) {
            why = what_was_thrown();
        }
        const auto found = children_.find(id);
        if (found == children_.end()) return;
        if (!why.empty()) {
            fault("a process of the app is killed: " + why);
            found->second.silent = true;
            kill(id);
        }
        watch_child(id, found->second);
    }

    Result<> read_share(Id id, std::size_t share) {
        std::array<std::uint8_t, small_read_bytes> small;
        while (share > 0) {
            const auto found = children_.find(id);
            if (found == children_.end() || !found->second.reads()) return {};
            Child& child = found->second;
            const bool large = child.in.missing() > small.size();
            const std::span<std::uint8_t> room =
                large ? child.in.room(std::min(share, large_read_bytes)) : std::span(small);
            const ssize_t got = ::recv(child.socket.get(), room.data(), room.size(), MSG_DONTWAIT);
            const int error = errno;
            const std::size_t bytes = got > 0 ? static_cast<std::size_t>(got) : 0;
            if (large) child.in.grew_by(bytes);
            if (got < 0 && error == EINTR) continue;
            if (got < 0 && error == EAGAIN) return {};
            if (got <= 0) {
                child.silent = true;
                return {};
            }
            share -= std::min(share, bytes);
            if (!large) {
                if (auto done = feed(id, room.first(bytes)); !done) return done;
                continue;
            }
            if (child.in.missing() == 0) deliver(child);
        }
        return {};
    }

    Result<> feed(Id id, std::span<const std::uint8_t> bytes) {
        while (!bytes.empty()) {
            const auto found = children_.find(id);  // a callback may have ended it
            if (found == children_.end()) return {};
            bool whole = false;
            const auto taken = found->second.in.take(bytes, whole);
            if (!taken) return tl::unexpected(taken.error());
            bytes = bytes.subspan(*taken);
            if (whole) deliver(found->second);
        }
        return {};
    }

    void deliver(Child& child) {
        const auto on_frame = child.callbacks.on_frame;  // the child may go away in the call
        ChildFrame frame = child.in.take_frame();
        guarded([&] {
            if (on_frame) on_frame(std::move(frame));
        });
    }

    std::optional<Helper> helper_;  ///< empty once it has died
    const Options options_;
    Fd wake_;
    Fd epoll_;
    std::deque<Id> spares_;  ///< of children_: without callbacks so far
    bool refilling_ = false;
    std::map<Id, Child> children_;
    std::deque<Untold> untold_;
    bool helper_full_ = false;  ///< epoll tells when it can be told more
    std::map<std::pair<TimePoint, Timer>, std::function<void()>> timers_;
    std::map<Timer, TimePoint> timer_times_;
    Timer last_timer_ = 0;
    Id last_id_ = 0;
    std::mutex mutex_;  ///< guards what follows
    bool ending_ = false;
    std::deque<std::function<void()>> posted_;
    std::thread::id own_thread_;  ///< written by the thread itself before all else
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Processes>> Processes::make(Helper helper, Options options) {
    Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (wake.get() < 0) return fail(Errc::io, "cannot make an eventfd: " + text_of(errno));
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (epoll.get() < 0) return fail(Errc::io, "cannot make an epoll: " + text_of(errno));
    return std::make_unique<ProcessesImpl>(std::move(helper), std::move(options), std::move(wake),
                                           std::move(epoll));
}

}  // namespace vflbus::apps
