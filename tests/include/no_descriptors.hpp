#pragma once
// A process that has no descriptor left, for as long as this lives.

#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

namespace vflbus {

class NoDescriptors {
  public:
    NoDescriptors() {
        if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) throw std::runtime_error("getrlimit");
        const int lowest = ::dup(STDERR_FILENO);
        if (lowest < 0) throw std::runtime_error("dup");
        ::close(lowest);
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(lowest);
        if (::setrlimit(RLIMIT_NOFILE, &none) != 0) throw std::runtime_error("setrlimit");
    }
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

  private:
    rlimit before_{};
};

}  // namespace vflbus
