#pragma once
// What the files of a training tell about it, for whoever asks: status, metrics, configuration and
// log lines (docs/protocol.md, section 12).
//
// A run that is over is told of by its files alone. They are read and parsed again for each asker,
// and a metric history may have megabytes; so sizes are bounded, what was parsed last is kept, and
// a node calls this beside its link's lock (RunDesk).

#include <cstdint>
#include <filesystem>
#include <list>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/core/link_core.hpp"
#include "config/config.hpp"
#include "observe/report.hpp"

namespace vflbus::cli {

/// The longest report.json that is parsed for somebody who asks. 10,000 entries of 20 metrics have
/// a third of it.
inline constexpr std::uint64_t told_report_bytes_max = std::uint64_t{16} << 20;

class RunFiles {
  public:
    /// Files of a run are those in `runs_dir`/RUN, log lines those of `party`/log there.
    RunFiles(std::string party, std::filesystem::path runs_dir, config::ShareLog share);

    /// Answers status, metrics, configuration, reason and log. `owned`: this process drives the
    /// run. Errors: not_owner for a run without a record of this party's; too_large; refused for
    /// log lines that are not shared; those of the codecs. From any thread.
    [[nodiscard]] Result<bus::Bytes> answer(const bus::QueryArrived& query, bool owned);

  private:
    /// What was read of one run.
    struct Known {
        RunId run;
        std::filesystem::file_time_type record_time;
        std::filesystem::file_time_type report_time;
        bus::RunStatus status;
        std::string configuration;
        std::string reason;  ///< why it is not completed
        std::vector<bus::MetricEntry> entries;
    };

    Result<bus::Bytes> answer_log(const bus::QueryArrived& query, bool owned) const;
    Result<const Known*> known(const RunId& run);
    Result<Known> read(const RunId& run) const;
    [[nodiscard]] Known times_of(const RunId& run) const;

    const std::string party_;
    const std::filesystem::path runs_dir_;
    const config::ShareLog share_;
    std::mutex mutex_;
    std::list<Known> known_;  ///< the last ones asked for, the youngest first
};

/// One page of metrics, as ANSWER carries it, from where the query's body says.
Result<bus::Bytes> metrics_answer(const std::vector<bus::MetricEntry>& entries,
                                  std::span<const std::uint8_t> query);
bus::MetricEntry entry_of(const observe::HistoryEntry& entry);
/// The history of a report, and its metrics at the end.
std::vector<bus::MetricEntry> all_entries(const observe::RunReport& report);
/// The epoch in which a run that is over ended; of one that ended early that of its last measured
/// step, 0 without one.
std::uint64_t last_epoch(const observe::RunReport& report);

/// The agreed half for people, without what protects the ids of records.
std::string shown_configuration(std::string_view agreed);

}  // namespace vflbus::cli
