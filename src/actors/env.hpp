#pragma once
// Files, wall time and randomness as actors see them: the seam where tests and the simulation put
// theirs.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::actors {

class Env {
  public:
    virtual ~Env() = default;

    virtual Result<std::string> read_file(const std::filesystem::path& path) = 0;
    /// Whole or not at all; makes the directories above and syncs them.
    virtual Result<> write_file(const std::filesystem::path& path, std::string_view content) = 0;
    /// The same, and nobody but this user can read it at any moment.
    virtual Result<> write_secret(const std::filesystem::path& path, std::string_view content) {
        return write_file(path, content);
    }
    [[nodiscard]] virtual bool exists(const std::filesystem::path& path) = 0;
    /// Names of what is in a directory, ascending; none when there is no such directory.
    virtual Result<std::vector<std::string>> list(const std::filesystem::path& directory) = 0;
    /// A file, or a directory with all that is in it. What is not there is no error.
    virtual Result<> remove(const std::filesystem::path& path) = 0;
    /// UTC, "2026-02-03T04:05:06Z"; for reports only.
    [[nodiscard]] virtual std::string utc_now() = 0;
    /// Bytes that nobody else can know, for secrets: from the operating system, but in a
    /// simulation.
    virtual void random(std::span<std::uint8_t> out);
};

/// The real one. Safe to use from several threads.
std::unique_ptr<Env> make_file_env();

/// Files in memory. Not thread safe.
class MemoryEnv final : public Env {
  public:
    Result<std::string> read_file(const std::filesystem::path& path) override;
    Result<> write_file(const std::filesystem::path& path, std::string_view content) override;
    [[nodiscard]] bool exists(const std::filesystem::path& path) override;
    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
    Result<> remove(const std::filesystem::path& path) override;
    [[nodiscard]] std::string utc_now() override { return now; }

    std::map<std::string, std::string> files;
    std::string now = "2026-01-01T00:00:00Z";
    Failure write_failure{Errc::ok, {}};  ///< what the next writes fail with, unless ok
    std::string refused;                  ///< ... if they are to a file of this name; empty: all
};

}  // namespace vflbus::actors
