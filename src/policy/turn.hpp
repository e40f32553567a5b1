#pragma once
// Several processes may change one file of a node's directory: two `vflbus grant` at a time, or the
// members of two `vflbus launch` that have one policy. Each reads the file, changes what it read
// and replaces the whole, which would undo what another has written in between. So each waits for
// its turn first.

#include <filesystem>

namespace vflbus::policy {

/// A lock among processes (and among objects of one process), from construction to destruction. It
/// is on a file of its own, as a file that is replaced cannot be locked.
class Turn {
  public:
    /// Waits for it. The directory of `file` must be there.
    explicit Turn(const std::filesystem::path& file);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    /// False when the file cannot be opened or locked.
    [[nodiscard]] bool mine() const noexcept { return fd_ >= 0; }

  private:
    int fd_;
};

}  // namespace vflbus::policy
