#pragma once
// The metrics of runs: how long steps and tasks take, how large messages are, how a run ended. At a
// master of the runs that it drives, at a member of the requests that it answers.

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/env.hpp"
#include "actors/run/observer.hpp"
#include "observers/metrics.hpp"

namespace vflbus::observers {

class RunMetrics final : public actors::RunObserver {
  public:
    /// `parties`: names as Parties counts them; empty at a member.
    RunMetrics(std::shared_ptr<Metrics> metrics, std::vector<std::string> parties,
               std::string experiment_label);

    void on_phase(actors::Phase phase, TimePoint at) override;
    void on_step(const observe::ProgressState& state, TimePoint at) override;
    void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry& entry,
                    TimePoint at) override;
    void on_end(const observe::RunReport& report, const Failure& outcome) override;
    void on_answer(const actors::AnsweredRequest& answer) override;
    void on_work(TimePoint begun, TimePoint ended) override;
    void on_handled(const actors::HandledRequest& handled) override;

    /// What is known of the run now, for `Metrics::text`.
    [[nodiscard]] std::vector<Family> sample() const;

  private:
    std::shared_ptr<Metrics> metrics_;
    std::vector<std::string> parties_;
    Labels labels_;  ///< experiment_label
    TimePoint last_step_at_{};
    std::uint64_t last_step_ = 0;

    mutable std::mutex mutex_;  ///< guards what follows
    std::string phase_;
    std::uint64_t step_ = 0;
    std::uint64_t steps_ = 0;
    std::map<std::pair<std::string, std::string>, double> values_;  ///< by table and metric
};

/// Measures how long commits take and how large they are; otherwise the Env that it is given.
class MeasuredEnv final : public actors::Env {
  public:
    MeasuredEnv(std::unique_ptr<actors::Env> env, std::shared_ptr<Metrics> metrics);
    Result<std::string> read_file(const std::filesystem::path& path) override;
    Result<> write_file(const std::filesystem::path& path, std::string_view content) override;
    [[nodiscard]] bool exists(const std::filesystem::path& path) override;
    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
    Result<> remove(const std::filesystem::path& path) override;
    [[nodiscard]] std::string utc_now() override;

  private:
    std::unique_ptr<actors::Env> env_;
    std::shared_ptr<Metrics> metrics_;
};

}  // namespace vflbus::observers
