#pragma once
// The trainings of `vflbus tune`, some at the same time on the same members: threads of this
// process, or members that serve at a bus which stands.

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "bus/zmq/context.hpp"
#include "party.hpp"
#include "tune_grid.hpp"

namespace vflbus::cli {

class Search {
  public:
    /// All points have a job and an alignment. All three outlive this.
    Search(const TuneArguments& arguments, const std::vector<Axis>& grid,
           std::vector<Point>& points)
        : arguments_(&arguments), grid_(&grid), points_(&points) {}

    /// Drives them all; what has come of each is in its point. Errors: cancelled, when a signal
    /// ends it; those of broker and members that are threads of this process.
    Failure run();

  private:
    Failure run_with_threads();
    Failure run_on_bus();
    Failure drive_all(const PartyOptions& options, const bus::StopSignal& stop);
    void work(const PartyOptions& options, const bus::StopSignal& stop);
    static Failure drive_point(Point& point, PartyOptions options, const bus::StopSignal& stop);
    void tell(const Point& point);

    const TuneArguments* arguments_;
    const std::vector<Axis>* grid_;
    std::vector<Point>* points_;
    std::atomic<std::size_t> next_{0};
    std::mutex mutex_;
    std::size_t done_ = 0;
};

}  // namespace vflbus::cli
