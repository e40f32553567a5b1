#pragma once
// The master's side of an alignment that several runs of this process share (kept_alignment.hpp).
// The first of them makes it, while those that would begin beside it wait; a run that finds that a
// member no longer has its copy makes a new one, which takes the place of the old one.

#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "actors/alignment/alignment.hpp"
#include "actors/party.hpp"
#include "base/ids.hpp"

namespace vflbus::actors {

/// What the master keeps.
struct MadeAlignment {
    MadeIn made_in;
    AlignedTables tables;  ///< its own
    AlignmentResult told;
};

/// Thread-safe: each run has a thread of its own.
class SharedAlignment {
  public:
    /// `runs`: those that share it.
    SharedAlignment(const RunId& name, std::set<RunId> runs)
        : name_(name), runs_left_(std::move(runs)) {}

    [[nodiscard]] const RunId& name() const noexcept { return name_; }

    // -- around a run -----------------------------------------------------------------
    /// Waits while another run makes the alignment, and looks at `stopped` now and then. Whether
    /// the caller's run makes it.
    bool begin(const std::function<bool()>& stopped);
    /// At the end of run `run`, also when it failed. `makes`: what `begin` returned for it.
    void ended(const RunId& run, bool makes);

    // -- within a run -----------------------------------------------------------------
    /// Null: none has been made.
    [[nodiscard]] std::shared_ptr<const MadeAlignment> made() const;
    void keep(MadeAlignment alignment);
    /// Run `run` needs it no longer. Whether it is the last one: then its master tells the members
    /// that they need not keep it.
    bool is_last(const RunId& run);

  private:
    const RunId name_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool making_ = false;
    std::set<RunId> runs_left_;
    std::shared_ptr<const MadeAlignment> made_;
};

}  // namespace vflbus::actors
