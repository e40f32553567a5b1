#pragma once
// What a process answers when it is asked about its runs (docs/protocol.md, section 12): status,
// metrics and configuration of the run that it drives, log lines, stop. Nothing of it goes through
// an app, so that it answers while a handler computes. Of trainings that it does not drive (now) it
// answers what their files say, if it has them.

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/core/link_core.hpp"
#include "config/config.hpp"
#include "observe/progress.hpp"
#include "observe/report.hpp"

namespace vflbus::cli {

inline constexpr std::size_t metrics_kept_max = 10'000;

/// All calls from any thread.
class RunDesk {
  public:
    /// Files of a run are those in `runs_dir`/RUN, log lines those of `party`/log there.
    RunDesk(std::string party, std::filesystem::path runs_dir, config::ShareLog share);

    using History = std::function<const std::vector<observe::HistoryEntry>&()>;
    /// From now on this process drives `run`. `stop` asks it to end in order, `history` is called
    /// within `update` only; both may be empty.
    void drives(const RunId& run, std::string agreed, std::function<void()> stop, History history);
    void update(const observe::ProgressState& state);
    /// One step of a run of an app. What is beyond `metrics_kept_max` steps is not kept.
    void add_metrics(std::uint64_t step, const std::map<std::string, double>& values);
    /// That run is over, and nothing given to `drives` is called any more.
    void done();

    [[nodiscard]] Result<bus::Bytes> answer(const bus::QueryArrived& query);

  private:
    Result<bus::Bytes> answer_log(const bus::QueryArrived& query, bool owned) const;
    Result<bus::Bytes> answer_from_files(const bus::QueryArrived& query) const;

    const std::string party_;
    const std::filesystem::path runs_dir_;
    const config::ShareLog share_;
    std::mutex mutex_;
    RunId run_;
    std::string agreed_;
    std::function<void()> stop_;
    History history_;
    bus::RunStatus status_;
    std::vector<bus::MetricEntry> metrics_;
};

/// The agreed half for people, without what protects the ids of records.
std::string shown_configuration(std::string_view agreed);

}  // namespace vflbus::cli
