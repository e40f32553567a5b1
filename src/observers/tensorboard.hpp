#pragma once
// Event files of TensorBoard: the loss of each step, and metrics by table.
//
// The format is written here, as it is small: a file of TFRecords (length, masked CRC-32C of it,
// data, masked CRC-32C of that), each an Event in protocol buffers (tensorflow/core/util/
// event.proto: wall_time 1, step 2, file_version 3, summary 5, session_log 7). Pulling in
// TensorFlow's writers would cost more than the program.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "actors/run/observer.hpp"
#include "base/errc.hpp"

namespace vflbus::observers {

/// CRC-32C (Castagnoli), as TFRecords have it before masking.
std::uint32_t crc32c(std::string_view bytes) noexcept;
/// One TFRecord around `data`.
std::string tf_record(std::string_view data);
/// Events as protocol buffers.
std::string version_event(double wall_time);
std::string scalar_event(double wall_time, std::uint64_t step, std::string_view tag, float value);
/// What TensorBoard has of later steps, of an earlier process of the run, is forgotten there.
std::string restart_event(double wall_time, std::uint64_t step);

class TensorBoardObserver final : public actors::RunObserver {
  public:
    /// Writes `directory`/events.out.tfevents.SECONDS.HOST.PID. `resumed`: an earlier process has
    /// written there. Errors: io.
    static Result<std::shared_ptr<TensorBoardObserver>> open(const std::filesystem::path& directory,
                                                             bool resumed);
    ~TensorBoardObserver() override;

    void on_step(const observe::ProgressState& state, TimePoint at) override;
    void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry& entry,
                    TimePoint at) override;
    void on_end(const observe::RunReport& report, const Failure& outcome) override;

    /// For its warning, when a write has failed.
    [[nodiscard]] bool failed() const noexcept { return error_ != 0; }

  private:
    TensorBoardObserver(std::FILE* file, std::string path, bool resumed)
        : file_(file), path_(std::move(path)), restarts_(resumed) {}
    void scalar(const std::string& tag, double value, std::uint64_t step, TimePoint at);
    void write(const std::string& event);
    void flush();

    std::FILE* file_;
    std::string path_;
    bool restarts_;  ///< the first value says so
    int error_ = 0;  ///< the errno of the first write that failed
    TimePoint flushed_{};
    std::map<std::string, std::uint64_t> last_steps_;  ///< by tag
};

}  // namespace vflbus::observers
