#pragma once
// The runs that were submitted to a serving master and are not over: a file in its state directory,
// so that whoever is started in its place goes on with them.

#include <cstdint>
#include <deque>
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
    Restarts restarts{};
    /// The key by which it was submitted; empty where questions are not sealed, and nobody shows
    /// one.
    std::string by{};
    /// Of a prediction: where the parts of its model lie. Empty for a training.
    std::string model{};
};

/// Who may fill the queue of a serving master. Of `places`, somebody without a run that waits gets
/// any that is free, and who has some one more only while as many stay free as it then has: nobody
/// keeps the others out by submitting without end. Where askers show no keys all are one, and have
/// all places.
///
/// Error too_many: `by` may not add one to what waits in `queue` now.
[[nodiscard]] Result<> check_room(const std::deque<Submitted>& queue, const std::string& by,
                                  std::uint64_t places);

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
