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

/// Whether the key `by` may submit one more run to a serving master, whose `queue` has `places`.
/// A key without a waiting run may take any free place. A key with n waiting runs may take another
/// one only if n + 1 places stay free then, so that nobody keeps the others out by submitting
/// without end. Where no keys are shown (`by` is empty) all places may be taken.
///
/// Error too_many: it may not.
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
