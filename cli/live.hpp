#pragma once
// What goes on at a broker, asked for again and again: what `vflbus top` and `vflbus ui` show.
//
// The problem: one owner that hangs must not hold up what the others tell. So no question waits for
// the answer of another one: each thing that is wanted is asked for when it is due, one question at
// a time of each node, and who does not answer is asked more seldom. What is told here is what the
// asking key may see; the broker and the parties judge that, question by question.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ask.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "run_log.hpp"
#include "run_view.hpp"

namespace vflbus::cli {

/// Of what a run's owner has told a little at a time, so much is kept.
inline constexpr std::size_t live_points_max = 2'000;
inline constexpr std::size_t live_log_lines_max = 2'000;
/// Further entries of metrics are not asked for.
inline constexpr std::size_t live_metrics_max = 20'000;

struct LiveNode {
    bus::NodeRow row;
    /// From a question to its answer, in seconds; NaN: it has not answered, or may not be asked.
    double latency = 0;
    double cpu = 0;  ///< share of one core since the question before; NaN: not known
    std::uint64_t memory_bytes = 0;
    std::string trouble;  ///< why it tells nothing of its load
};

/// One party's part in the last steps; points of time are of the clock here.
struct LiveTiming {
    bus::TimingAnswer told;
    std::int64_t ahead_us = 0;  ///< so far its clock is ahead of ours
};

struct LiveRun {
    bus::RunRow row;
    bool local = false;  ///< only its files here tell of it
    std::optional<bus::RunStatus> status;
    std::string trouble;  ///< why its owner tells nothing
    /// Loss by step, as it was seen; thinned out evenly when there is much of it.
    std::vector<std::pair<std::uint64_t, double>> losses;
    std::uint64_t losses_thinned = 0;  ///< how often that was done
    std::vector<bus::MetricEntry> metrics;
    std::optional<std::string> configuration;
    // -- only while it is looked at
    std::vector<LogLine> log;
    std::uint64_t log_lines = 0;  ///< all that came; `log` has the last of them
    std::map<std::string, std::string> log_missing;
    std::map<std::string, LiveTiming> timing;  ///< by party
};

class Live {
  public:
    /// Goes on without a broker, and looks for it again. `stop` outlives it.
    Live(config::Config config, const bus::StopSignal& stop);

    struct Wanted {
        std::set<RunId> curves;   ///< their metrics over time
        std::set<RunId> details;  ///< log lines, timing and configuration as well
    };
    void want(Wanted wanted) { wanted_ = std::move(wanted); }

    /// Asks and listens for so long, or until something has come.
    void turn(Duration patience);

    // -- what is known now -----------------------------------------------------------
    /// Empty while the broker answers; otherwise why it does not.
    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
    /// Whether there is, or was, a session with the broker.
    [[nodiscard]] bool connected() const noexcept { return asker_.has_value(); }
    /// Whether all that is wanted has been answered once, or refused.
    [[nodiscard]] bool settled() const;
    [[nodiscard]] std::string broker_version() const;
    [[nodiscard]] const std::string& broker() const noexcept { return config_.bus.broker; }
    [[nodiscard]] const std::vector<LiveNode>& nodes() const noexcept { return nodes_; }
    /// Those that run first, then the youngest first.
    [[nodiscard]] const std::vector<RunId>& order() const noexcept { return order_; }
    [[nodiscard]] const LiveRun* find(const RunId& run) const;
    /// Rises with every answer that has told something.
    [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }

    /// Asks the owner to end a run; what came of it is handed to `answered` during a later turn.
    void stop_run(const RunId& run, std::string sentence,
                  std::function<void(const Failure&)> answered);
    /// Whether an owner that was asked has not answered yet.
    [[nodiscard]] bool is_stopping() const noexcept { return !stops_.empty(); }

  private:
    using Key = std::string;
    struct Item {
        NodeId of{};
        RunId run{};
        bus::Question what{};
        bus::Bytes body;
        std::string name;  ///< of the node or party that is asked
    };
    struct Due {
        TimePoint at{};
        bool open = false;
        bool wanted = false;
        Item item;
    };
    struct Open {
        Key key;
        TimePoint asked{};
        std::uint64_t asked_us = 0;
    };
    struct LogSource {
        std::uint64_t position = 0;
        bool refuses = false;
    };
    struct Load {
        bus::LoadAnswer last;
        double latency;
        double cpu;
        std::string trouble;
    };

    bool connect();
    void look_at_files();
    void want_all();
    void want_run(const LiveRun& run);
    void want_item(const Key& key, Item item);
    void ask_due(TimePoint now);
    void heard(const Open& open, Result<bus::Bytes> body);
    Duration take(const Open& open, const Item& item, const bus::Bytes& body);
    Duration take_rows(std::vector<bus::RunRow> rows);
    Duration take_nodes(const bus::Bytes& body);
    Duration take_status(LiveRun& run, const bus::Bytes& body);
    Duration take_metrics(LiveRun& run, const bus::Bytes& body);
    Duration take_log(LiveRun& run, const std::string& party, const bus::Bytes& body);
    void show_load(LiveNode& node) const;
    void take_load(const Open& open, const std::string& name, const bus::Bytes& body);
    Duration failed(const Item& item, const Failure& failure);
    void read_files_of(LiveRun& run);
    [[nodiscard]] std::string owner_of(const LiveRun& run) const;

    config::Config config_;
    const bus::StopSignal& stop_;
    std::optional<Asker> asker_;
    TimePoint connect_at_{};
    TimePoint files_at_{};
    std::string trouble_;
    Wanted wanted_;
    std::map<Key, Due> due_;
    std::map<std::uint64_t, Open> open_;
    std::set<NodeId> busy_;
    std::map<std::uint64_t, std::function<void(const Failure&)>> stops_;
    std::vector<LiveNode> nodes_;
    std::map<std::string, Load> loads_;
    std::map<RunId, LiveRun> runs_;
    std::vector<RunId> order_;
    std::map<std::pair<RunId, std::string>, LogSource> logs_;
    std::set<RunId> masters_instead_;  ///< runs whose owner's process is gone
    bool rows_fresh_ = false;          ///< since what is wanted was last put together
    std::uint64_t changes_ = 0;
};

}  // namespace vflbus::cli
