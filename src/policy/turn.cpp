#include "policy/turn.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace vflbus::policy {

Turn::Turn(const std::filesystem::path& file)
    : fd_(::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0)
        if (errno != EINTR) ::close(std::exchange(fd_, -1));
}

Turn::~Turn() {
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace vflbus::policy
