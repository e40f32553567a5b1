#pragma once
// What a process says must be stored by then, so that it still holds after a loss of power
// (docs/recovery.md, section 1): looked at when the frame leaves.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "bus/wire/header.hpp"
#include "disk.hpp"

namespace vflbus::sim {

/// Of one process.
class StoredFirst {
  public:
    /// `party`: the process's name. Runs are under `runs_dir` of `disk`.
    StoredFirst(const Disk& disk, std::filesystem::path runs_dir, std::string party)
        : disk_(&disk), runs_dir_(std::move(runs_dir)), party_(std::move(party)) {}

    /// What is not as it should be; empty: all is.
    [[nodiscard]] std::string on_send(const bus::Header& header,
                                      std::span<const std::uint8_t> part);
    /// After `step` was restored: a later commit belongs to a course that was given up.
    [[nodiscard]] std::string on_restored(const RunId& run, std::uint64_t step) const;

  private:
    [[nodiscard]] std::filesystem::path state_of(const RunId& run) const {
        return runs_dir_ / run.hex() / party_ / "state";
    }
    [[nodiscard]] std::string term_of_owner(const bus::Header& open) const;
    [[nodiscard]] std::string term_of_member(const bus::Header& join,
                                             std::span<const std::uint8_t> body);
    [[nodiscard]] std::string commit(const bus::Header& reply,
                                     std::span<const std::uint8_t> body) const;
    [[nodiscard]] std::string finished(const bus::Header& release) const;

    const Disk* disk_;
    std::filesystem::path runs_dir_;
    std::string party_;
    std::set<std::pair<RunId, std::uint32_t>> joined_;  ///< said so already
};

}  // namespace vflbus::sim
