#include "apps/processes.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace vflbus::apps {
namespace {

constexpr std::size_t read_bytes = 256 << 10;
/// A frame so small is written at once, so that its reader wakes up once.
constexpr std::size_t one_piece_bytes = 64 << 10;
/// From the taking of a spare process to its replacement.
constexpr Duration refill_after = std::chrono::milliseconds(500);

class ProcessesImpl final : public Processes {
  public:
    ProcessesImpl(Helper helper, std::size_t spares, std::function<void()> on_lost)
        : helper_(std::make_unique<Helper>(std::move(helper))),
          spares_wanted_(spares),
          on_lost_(std::move(on_lost)),
          wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
          thread_([this] { run(); }) {}

    ~ProcessesImpl() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        wake();
        thread_.join();
        for (auto& [id, child] : children_) ::close(child.socket);
        helper_.reset();
        ::close(wake_);
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
        if (spares_.empty()) return fork(std::move(callbacks));
        const Id id = spares_.front();
        spares_.pop_front();
        children_.at(id).callbacks = std::move(callbacks);
        refill_later();
        return id;
    }

    void tell(Id process, Told kind, Bytes body) override {
        const auto found = children_.find(process);
        if (found == children_.end() || found->second.shut || found->second.socket < 0) return;
        Bytes head(told_head_bytes);
        put_head(kind, body.size(), head.data());
        if (body.size() <= one_piece_bytes) {
            head.insert(head.end(), body.begin(), body.end());
            body.clear();
        }
        found->second.out.push_back(std::move(head));
        if (!body.empty()) found->second.out.push_back(std::move(body));
        write(found->second);
    }

    void close(Id process) override {
        const auto found = children_.find(process);
        if (found == children_.end()) return;
        found->second.shut = true;
        write(found->second);
    }

    void kill(Id process) override {
        if (children_.count(process) != 0 && !lost_) helper_->kill(process);
    }

    Timer at(TimePoint when, std::function<void()> work) override {
        const Timer timer = ++last_timer_;
        timers_.emplace(std::pair(when, timer), std::move(work));
        timer_times_[timer] = when;
        return timer;
    }
    void cancel(Timer timer) override {
        const auto found = timer_times_.find(timer);
        if (found == timer_times_.end()) return;
        timers_.erase({found->second, timer});
        timer_times_.erase(found);
    }

    TimePoint now() const override { return std::chrono::steady_clock::now(); }

  private:
    struct Child {
        int socket = -1;
        Callbacks callbacks;
        std::deque<Bytes> out;
        std::size_t out_at = 0;  ///< written of out.front()
        bool shut = false;       ///< nothing more is told
        bool shut_done = false;
        bool silent = false;  ///< it has closed its end
        Bytes in;             ///< of the frame under way, head first
        std::size_t in_at = 0;
        std::uint64_t in_total = 0;  ///< 0: the head is not whole yet
    };

    Id fork(Callbacks callbacks) {
        const Id id = ++last_id_;
        std::array<int, 2> pair{-1, -1};
        const bool made = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0;
        Child& child = children_[id];
        child.callbacks = std::move(callbacks);
        child.socket = pair[0];
        const bool asked = made && !lost_ && helper_->fork(id, pair[1]);
        if (made) ::close(pair[1]);
        if (!asked) post([this, id] { ended(id, "could not be started", false); });
        return id;
    }

    void refill() {
        refilling_ = false;
        while (!lost_ && spares_.size() < spares_wanted_) spares_.push_back(fork({}));
    }
    void refill_later() {
        if (std::exchange(refilling_, true)) return;
        at(now() + refill_after, [this] { refill(); });
    }

    void wake() noexcept {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(wake_, &one, sizeof one);
    }

    void run() {
        std::vector<pollfd> ready;
        std::vector<Id> ids;
        refill();
        for (;;) {
            std::deque<std::function<void()>> work;
            {
                const std::lock_guard lock(mutex_);
                if (ending_) return;
                work.swap(posted_);
            }
            for (const auto& each : work) each();
            while (!timers_.empty() && timers_.begin()->first.first <= now()) {
                const auto call = std::move(timers_.begin()->second);
                timer_times_.erase(timers_.begin()->first.second);
                timers_.erase(timers_.begin());
                call();
            }
            ready.clear();
            ids.clear();
            ready.push_back({wake_, POLLIN, 0});
            ready.push_back({lost_ ? -1 : helper_->fd(), POLLIN, 0});
            for (const auto& [id, child] : children_) {
                if (child.socket < 0 || child.silent) continue;
                const bool more = !child.out.empty();
                ready.push_back(
                    {child.socket, static_cast<short>(more ? POLLIN | POLLOUT : POLLIN), 0});
                ids.push_back(id);
            }
            int wait = -1;
            if (!timers_.empty())
                wait = static_cast<int>(std::max<std::int64_t>(
                    0, std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first -
                                                                    now())
                           .count()));
            ::poll(ready.data(), static_cast<nfds_t>(ready.size()), wait);
            if ((ready[0].revents & POLLIN) != 0) {
                std::uint64_t count;
                [[maybe_unused]] const ssize_t got = ::read(wake_, &count, sizeof count);
            }
            for (std::size_t i = 0; i < ids.size(); ++i) {
                const short what = ready[i + 2].revents;
                if (what == 0) continue;
                const auto found = children_.find(ids[i]);
                if (found == children_.end()) continue;
                if ((what & POLLOUT) != 0) write(found->second);
                if ((what & (POLLIN | POLLHUP | POLLERR)) != 0) read(ids[i]);
            }
            if (ready[1].revents != 0) reports();
        }
    }

    void write(Child& child) {
        while (!child.out.empty()) {
            const Bytes& part = child.out.front();
            const ssize_t put = ::send(child.socket, part.data() + child.out_at,
                                       part.size() - child.out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0 && errno == EAGAIN) return;
            if (put < 0) {  // it is gone: its end will be reported
                child.out.clear();
                child.out_at = 0;
                return;
            }
            child.out_at += static_cast<std::size_t>(put);
            if (child.out_at == part.size()) {
                child.out.pop_front();
                child.out_at = 0;
            }
        }
        if (child.shut && !child.shut_done) {
            child.shut_done = true;
            ::shutdown(child.socket, SHUT_WR);
        }
    }

    /// Takes what can be read without waiting.
    void read(Id id) {
        for (;;) {
            const auto found = children_.find(id);
            if (found == children_.end() || found->second.silent) return;
            Child& child = found->second;
            const std::uint64_t want =
                child.in_total == 0 ? told_head_bytes : told_head_bytes + child.in_total;
            // a length is only a claim: what is large grows as it comes
            if (child.in.size() < std::min<std::uint64_t>(want, child.in_at + read_bytes))
                child.in.resize(std::min<std::uint64_t>(
                    want, std::max<std::size_t>(child.in_at + read_bytes, child.in_at * 2)));
            const ssize_t got =
                ::recv(child.socket, child.in.data() + child.in_at,
                       std::min<std::uint64_t>(want, child.in.size()) - child.in_at, MSG_DONTWAIT);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0 && errno == EAGAIN) return;
            if (got <= 0) {
                child.silent = true;
                return;
            }
            child.in_at += static_cast<std::size_t>(got);
            if (child.in_at < want) continue;
            const auto head = get_head(child.in.data());
            if (!head) {
                helper_->kill(id);
                child.silent = true;
                return;
            }
            if (child.in_total == 0 && head->length > 0) {
                child.in_total = head->length;
                continue;
            }
            Bytes body;
            if (head->length > 0) {
                child.in.resize(told_head_bytes + head->length);
                body.assign(child.in.begin() + told_head_bytes, child.in.end());
            }
            child.in.clear();
            if (child.in.capacity() > read_bytes) Bytes().swap(child.in);
            child.in_at = 0;
            child.in_total = 0;
            const auto told = child.callbacks.on_told;  // the child may go away in the call
            if (told) told(head->kind, std::move(body));
        }
    }

    void reports() {
        for (;;) {
            bool gone = false;
            const auto event = helper_->next(gone);
            if (gone) {
                lost_ = true;
                while (!children_.empty())
                    ended(children_.begin()->first, "ended with its helper", false);
                if (on_lost_) on_lost_();
                return;
            }
            if (!event) return;
            if (event->started) continue;
            read(event->id);  // what it had said before
            ended(event->id, ending_of(event->status),
                  WIFEXITED(event->status) && WEXITSTATUS(event->status) == 0);
        }
    }

    void ended(Id id, const std::string& how, bool clean) {
        const auto found = children_.find(id);
        if (found == children_.end()) return;
        const Callbacks callbacks = std::move(found->second.callbacks);
        if (found->second.socket >= 0) ::close(found->second.socket);
        children_.erase(found);
        if (std::erase(spares_, id) != 0 && !lost_) refill_later();
        if (callbacks.on_end) callbacks.on_end(how, clean);
    }

    std::unique_ptr<Helper> helper_;
    const std::size_t spares_wanted_;
    std::deque<Id> spares_;  ///< of children_: without callbacks so far
    bool refilling_ = false;
    std::function<void()> on_lost_;
    int wake_;
    std::map<Id, Child> children_;
    std::map<std::pair<TimePoint, Timer>, std::function<void()>> timers_;
    std::map<Timer, TimePoint> timer_times_;
    Timer last_timer_ = 0;
    Id last_id_ = 0;
    bool lost_ = false;
    std::mutex mutex_;  ///< guards what follows
    bool ending_ = false;
    std::deque<std::function<void()>> posted_;
    std::thread thread_;
};

}  // namespace

std::unique_ptr<Processes> Processes::make(Helper helper, std::size_t spares,
                                           std::function<void()> on_lost) {
    return std::make_unique<ProcessesImpl>(std::move(helper), spares, std::move(on_lost));
}

}  // namespace vflbus::apps
