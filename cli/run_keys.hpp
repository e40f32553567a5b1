#pragma once
// The keys of a run whose parties are all started here: made for it, and gone with it.

#include <filesystem>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "process.hpp"

namespace vflbus::cli {

class RunKeys {
  public:
    /// A key for the broker, the master and each member, and an allow-list of just these, in a
    /// directory that only this user may enter. Errors: io.
    static Result<RunKeys> make(const std::string& master, const std::vector<std::string>& members);
    [[nodiscard]] const std::filesystem::path& directory() const noexcept {
        return directory_.path();
    }

  private:
    explicit RunKeys(PrivateDirectory directory) : directory_(std::move(directory)) {}
    PrivateDirectory directory_;
};

}  // namespace vflbus::cli
