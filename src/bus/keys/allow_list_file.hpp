#pragma once
// The allow-list as a file: read again by itself when it has changed, and changed by writing a new
// one.

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/errc.hpp"
#include "bus/keys/allow_list.hpp"
#include "bus/keys/file_mark.hpp"

namespace vflbus::bus {

inline constexpr std::string_view allow_list_name = "allow-list";

/// A file beside the keys with one line, a directory: the list is there, as keys that are mounted
/// (a Secret of Kubernetes) lie in a directory that cannot be written.
inline constexpr std::string_view allow_list_elsewhere_name = "allow-list.at";

/// Of the keys in `directory`.
std::filesystem::path allow_list_path(const std::filesystem::path& directory);
/// Where the list is elsewhere and nobody has written it yet, it begins as the one beside the keys.
/// Errors: io.
Result<> begin_allow_list(const std::filesystem::path& directory);

/// The list that counts now. Any thread asks; one thread calls `refresh`.
class AllowListFile {
  public:
    /// For what is wrong with the file.
    using Log = std::function<void(const std::string& line)>;

    /// A file that is not there is a list of nobody. Errors: io; bad_config with the first line
    /// that makes no sense: a broker begins with a list that is whole.
    static Result<std::shared_ptr<AllowListFile>> open(std::filesystem::path file, Log log);

    [[nodiscard]] std::shared_ptr<const AllowList> list() const;
    /// Reads the file when it is another one than before, or `always`. Lines that make no sense
    /// count as not there, and are logged, the first of them. One that cannot be read, is larger
    /// than 8 MiB or is no file changes nothing, and the log says so once a minute. True: the list
    /// was read.
    bool refresh(bool always = false);

  private:
    AllowListFile(std::filesystem::path file, Log log);
    /// Why the file could not be read; empty: it was.
    [[nodiscard]] std::string read(std::vector<std::string>& faults);
    void tell_unreadable(const std::string& why);
    void tell_faults(const std::vector<std::string>& faults) const;

    std::filesystem::path file_;
    Log log_;
    FileMark read_at_;
    std::string told_;  ///< why it could not be read, so that it is said once a minute
    TimePoint told_at_{};
    mutable std::mutex lock_;
    std::shared_ptr<const AllowList> list_;
};

/// What to do while somebody else changes the list: the gate, which lets parties in meanwhile, must
/// not wait for whoever holds the lock.
enum class OnLocked : std::uint8_t { wait, fail };

/// Replaces the file by what `change` makes of its text, while nobody else does. The new one has
/// owner, group and mode of the old one, so that the broker can read it whoever made it; where that
/// cannot be had nothing is changed. Errors: io; timed_out with OnLocked::fail; those of `change`.
Result<> change_allow_list(const std::filesystem::path& directory,
                           const std::function<Result<std::string>(const std::string&)>& change,
                           OnLocked on_locked = OnLocked::wait);

}  // namespace vflbus::bus
