#pragma once
// With which one thread wakes another one that polls. Private to this room.

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace vflbus::bus {

/// An eventfd that a signal handler may write to.
class Bell {
  public:
    Bell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    ~Bell() {
        if (fd_ >= 0) ::close(fd_);
    }
    Bell(const Bell&) = delete;
    Bell& operator=(const Bell&) = delete;
    void ring() const noexcept {
        const std::uint64_t one = 1;
        const int saved = errno;
        [[maybe_unused]] const ssize_t n = ::write(fd_, &one, sizeof one);
        errno = saved;
    }
    [[nodiscard]] bool rung() const noexcept {
        std::uint64_t count = 0;
        return ::read(fd_, &count, sizeof count) > 0;
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }

  private:
    int fd_;
};

}  // namespace vflbus::bus
