#pragma once
// The runs that were submitted to a serving master and are not over: a file in its state directory,
// so that whoever is started in its place goes on with them.

#include <filesystem>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "supervisor.hpp"

namespace vflbus::cli {

/// What is trained is in runs/<run_id>/vflbus.toml.
struct Submitted {
    RunId run;
    std::string label;  ///< for people
    bool begun = false;
    Restarts restarts;
};

/// In the order in which they were submitted.
class SubmittedFile {
  public:
    explicit SubmittedFile(const std::filesystem::path& state_dir)
        : path_(state_dir / "submitted.json") {}

    /// None when there is no such file. Errors: bad_data naming the file, io.
    [[nodiscard]] Result<std::vector<Submitted>> load() const;
    /// Whole or not at all.
    [[nodiscard]] Result<> store(const std::vector<const Submitted*>& runs) const;

  private:
    std::filesystem::path path_;
};

}  // namespace vflbus::cli
