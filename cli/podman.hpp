#pragma once
// The podman of this machine.

#include <chrono>
#include <string>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::cli {

struct CommandEnd {
    int exit_code = -1;  ///< 128 + signal when ended by one
    std::string out;
    std::string err;
};

/// A command found in PATH, to its end. Errors: io when it cannot be started; timed_out, after
/// which it is gone.
Result<CommandEnd> run_command(const std::vector<std::string>& words,
                               std::chrono::seconds at_most = std::chrono::seconds(60));

class Podman {
  public:
    /// Errors: usage when there is none.
    static Result<Podman> find();

    /// `podman` and what it must be told on this machine, then `words`.
    [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& words) const;

    /// What it prints, without the newline at the end. Errors: a sentence with what podman said.
    Result<std::string> operator()(const std::vector<std::string>& words) const;

    /// Errors: usage, when the image is not here, or podman does not work for this user.
    Result<> has_image(const std::string& image) const;

  private:
    std::vector<std::string> words_;
};

/// What --image says, otherwise the image of this version.
std::string image_or_default(const std::string& image);

/// The last line of what podman said, without its "Error: ".
std::string podman_reason(const std::string& err);

}  // namespace vflbus::cli
