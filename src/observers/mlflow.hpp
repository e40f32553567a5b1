#pragma once
// Logs a training to MLflow.
//
// The problem: a tracking server is slow, dead or silent at times, and neither must a step wait for
// it nor must anything be missing once it is back. So everything goes into a buffer; a thread sends
// it in batches and tries again until it arrives; what has not arrived when the run ends is kept in
// a file of the run, from which `--resume` sends it. That file also says which run of MLflow it is,
// so that a training that is gone on with goes on there, and logs no step twice.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "actors/run/observer.hpp"
#include "base/errc.hpp"
#include "observers/mlflow_store.hpp"

namespace vflbus::observers {

/// A file of the run that is uploaded at its end if it is there.
struct MlflowArtifact {
    std::string name;  ///< at MLflow; may have slashes
    std::filesystem::path path;
    /// What of its text is shown there; empty: all of it.
    std::function<std::string(std::string_view)> shown = {};
};

struct MlflowJob {
    std::string uri;  ///< see open_mlflow
    std::string experiment;
    std::string run_name;
    MlflowPairs params;
    MlflowPairs tags;
    std::filesystem::path state_file;
    std::vector<MlflowArtifact> artifacts;
    /// All is kept in `state_file`, without a warning, and nothing is sent from here: in a
    /// container `uri` may be a directory of its own. A process outside sends what is kept.
    bool keeps_all = false;
    /// How long the end of the run waits for what has not arrived.
    std::chrono::milliseconds wait{10'000};
    std::chrono::milliseconds batch_every{1000};
    std::chrono::milliseconds retry_max{15'000};
    std::function<void(const std::string&)> info;  ///< one line; may be empty, also below
    std::function<void(const std::string&)> warn;
};

/// Metric values that wait; of what comes when there are so many, nothing is kept but the count.
inline constexpr std::size_t mlflow_waiting_max = 1'000'000;
/// Of the loss of single steps so many values are logged at most, evenly.
inline constexpr std::uint64_t mlflow_losses_max = 2000;

/// What is to be sent, and a thread that sends it. All calls from any thread.
class MlflowSender {
  public:
    /// Takes up what an earlier process of the run has left in `state_file`. Errors: bad_config
    /// (the uri), io and bad_data (a state file that cannot be read).
    static Result<std::unique_ptr<MlflowSender>> start(MlflowJob job);
    /// Without `finish`: what waits is kept in the state file.
    ~MlflowSender();
    MlflowSender(const MlflowSender&) = delete;
    MlflowSender& operator=(const MlflowSender&) = delete;

    /// A step that was logged under this key already is not logged again.
    void add(MlflowMetric metric);
    void add_param(std::string key, std::string value);
    void add_tag(std::string key, std::string value);
    /// A run that was ended there goes on.
    void reopen();
    /// Nothing more comes. `status`: FINISHED, FAILED or KILLED; empty: as it was said earlier.
    /// Waits for `job.wait`, then keeps the rest. False: something did not arrive, and `warn` was
    /// told what.
    bool finish(const std::string& status);
    /// Whether anything waits.
    [[nodiscard]] bool anything_left() const;

  private:
    explicit MlflowSender(MlflowJob job);
    struct Pending {
        std::vector<MlflowMetric> metrics;
        MlflowPairs params;
        MlflowPairs tags;
        std::vector<std::string> artifacts;
        std::string status;
        std::int64_t end_ms = 0;
        [[nodiscard]] bool empty() const {
            return metrics.empty() && params.empty() && tags.empty() && artifacts.empty() &&
                   status.empty();
        }
    };
    /// What one request carries: taken from the front of `pending_`.
    struct Batch {
        std::vector<MlflowMetric> metrics;
        MlflowPairs params;
        MlflowPairs tags;
        std::string artifact;
        std::string status;
    };
    void work();
    /// An exception ends the thread, and not the process.
    void work_until_broken();
    [[nodiscard]] Batch next_batch() const;
    Result<> send(const Batch& batch, std::int64_t end_ms, MlflowRun& run);
    Result<> upload(const MlflowRun& run, const std::string& name);
    void note_done(const Batch& batch);
    void add_artifacts();
    void note_silence();
    Result<> load();
    void move_here(const std::string& from);
    void save();
    [[nodiscard]] std::string what_is_left() const;

    MlflowJob job_;
    std::atomic<bool> cancelled_{false};
    std::unique_ptr<MlflowStore> store_;
    std::int64_t start_ms_ = 0;

    mutable std::mutex mutex_;  ///< guards what follows
    std::condition_variable changed_;
    MlflowRun run_;
    Pending pending_;
    std::map<std::string, std::uint64_t> last_steps_;  ///< by key, of what was added
    std::uint64_t dropped_ = 0;
    std::uint64_t refused_ = 0;
    std::string trouble_;  ///< of the last attempt
    std::string refusal_;
    std::optional<TimePoint> asked_at_;  ///< when a request is under way
    std::string ended_;                  ///< the status with which the run has ended
    bool broken_ = false;                ///< the thread has ended by an exception
    bool finishing_ = false;
    bool ending_ = false;
    std::thread thread_;
};

class MlflowObserver final : public actors::RunObserver {
  public:
    explicit MlflowObserver(std::unique_ptr<MlflowSender> sender);
    void on_step(const observe::ProgressState& state, TimePoint at) override;
    void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry& entry,
                    TimePoint at) override;
    void on_end(const observe::RunReport& report, const Failure& outcome) override;

  private:
    std::unique_ptr<MlflowSender> sender_;
};

/// `uri` without what stands before an @, for sentences.
std::string without_password(const std::string& uri);

}  // namespace vflbus::observers
