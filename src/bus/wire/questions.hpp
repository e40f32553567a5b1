#pragma once
// What QUERY asks and ANSWER says: docs/protocol.md, section 12.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::bus {

enum class Question : std::uint16_t {
    // -- of the broker
    runs = 1,
    nodes = 2,
    run = 3,
    note = 4,
    // -- of those who take part in a run
    status = 16,
    metrics = 17,
    configuration = 18,
    log = 19,
    stop = 20,
    timing = 21,
    reason = 22,
    // -- of a master that waits for submissions
    submit = 24,
    // -- of every node that seals: docs/protocol.md, section 14
    key = 32,
    terms = 33,
    // -- of every node
    load = 34,
    // -- asked by the owner of a sealed run, of a participant: docs/protocol.md, section 14
    join_again = 35,
};
std::string_view name_of(Question question) noexcept;

enum class RunState : std::uint8_t {
    pending = 0,
    starting = 1,
    running = 2,
    completed = 3,
    failed = 4,
    stopped = 5,
    unknown = 6,
};
std::string_view name_of(RunState state) noexcept;
/// Whether the run is over.
constexpr bool finished(RunState state) noexcept {
    return state == RunState::completed || state == RunState::failed || state == RunState::stopped;
}

/// Whether the filter `status` (a name of a state, "finished", or empty) includes the state.
inline bool matches(RunState state, std::string_view status) noexcept {
    return status.empty() || status == name_of(state) || (status == "finished" && finished(state));
}

enum class NodeState : std::uint8_t { up = 0, suspect = 1, lost = 2, left = 3, unknown = 4 };
std::string_view name_of(NodeState state) noexcept;

/// What the registry keeps of a run: no data, no metrics, no configuration. Times: milliseconds
/// since 1970, 0 for not yet.
struct RunRow {
    RunId run;
    RunState state = RunState::starting;
    Errc code = Errc::ok;
    std::string reason;  ///< one sentence; why it ended so
    std::string owner;
    std::string role;   ///< of the owner
    bool open = false;  ///< to every node that serves apps
    std::uint64_t participants = 0;
    std::vector<std::string> names;  ///< row_names_max of them at most
    std::uint64_t created_ms = 0;
    std::uint64_t started_ms = 0;  ///< all had joined
    std::uint64_t finished_ms = 0;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint32_t term = 0;
    friend bool operator==(const RunRow&, const RunRow&) = default;
};

struct NodeRow {
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    NodeState state = NodeState::up;
    std::string version;
    std::vector<std::string> features;
    std::uint64_t first_seen_ms = 0;
    std::uint64_t last_seen_ms = 0;
    std::uint64_t runs = 0;  ///< it takes part in now
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const NodeRow&, const NodeRow&) = default;
};

// -- of the broker -----------------------------------------------------------------

struct RunsQuery {
    std::string status;  ///< empty: all
    std::uint64_t limit = 0;
};
struct NoteQuery {
    RunState state = RunState::pending;
    Errc code = Errc::ok;  ///< why it failed or was stopped
    std::string sentence;
};

Bytes encode(const RunsQuery& m);
Bytes encode_nodes_query(std::uint64_t limit);
Bytes encode_run_query(std::string_view prefix);
Bytes encode_join_again(std::uint64_t joining);
Bytes encode(const NoteQuery& m);
/// Rows that do not fit into an answer are left out from the end.
Bytes encode(std::span<const RunRow> rows);
Bytes encode(std::span<const NodeRow> rows);

Result<RunsQuery> decode_runs_query(std::span<const std::uint8_t> body);
Result<std::uint64_t> decode_nodes_query(std::span<const std::uint8_t> body);
Result<std::string> decode_run_query(std::span<const std::uint8_t> body);
Result<std::uint64_t> decode_join_again(std::span<const std::uint8_t> body);
Result<NoteQuery> decode_note_query(std::span<const std::uint8_t> body);
Result<std::vector<RunRow>> decode_run_rows(std::span<const std::uint8_t> body);
Result<std::vector<NodeRow>> decode_node_rows(std::span<const std::uint8_t> body);

// -- of those who take part in a run ---------------------------------------------------

struct RunStatus {
    std::string phase;
    std::uint64_t step = 0;
    std::uint64_t steps = 0;
    std::uint64_t epoch = 0;
    std::uint64_t epochs = 0;
    double loss = 0;
    friend bool operator==(const RunStatus&, const RunStatus&) = default;
};

struct MetricEntry {
    std::uint64_t step = 0;
    std::uint64_t epoch = 0;
    std::string split;
    double loss = 0;
    std::vector<std::pair<std::string, double>> metrics;
    friend bool operator==(const MetricEntry&, const MetricEntry&) = default;
};

struct MetricsAnswer {
    std::uint64_t total = 0;
    std::vector<MetricEntry> entries;
};
inline constexpr std::size_t metric_entries_max = 256;

struct LogAnswer {
    std::uint64_t from = 0;
    std::uint64_t next = 0;
    bool whole = true;  ///< there is no more at present
    std::string text;
};
inline constexpr std::size_t log_text_bytes_max = 128u << 10;

/// Where the last steps' time went. Times are microseconds; points of time are of the wall clock of
/// whoever answers, `now_us` among them, so that an asker can lay the clocks over one another.
struct PartyWait {
    std::uint64_t party = 0;     ///< as the owner counts those that it asks, members by rank
    std::uint64_t asked_us = 0;  ///< when
    std::uint64_t took_us = 0;   ///< until its answer
    friend bool operator==(const PartyWait&, const PartyWait&) = default;
};
struct StepTiming {
    std::uint64_t step = 0;
    std::uint64_t begun_us = 0;
    std::uint64_t took_us = 0;
    std::uint64_t compute_us = 0;  ///< in which the owner itself has computed
    std::vector<PartyWait> waits;
    friend bool operator==(const StepTiming&, const StepTiming&) = default;
};
/// A request that a member has worked on.
struct WorkTiming {
    std::uint64_t type = 0;
    std::uint64_t begun_us = 0;
    std::uint64_t took_us = 0;
    friend bool operator==(const WorkTiming&, const WorkTiming&) = default;
};
struct TimingAnswer {
    std::uint64_t now_us = 0;
    std::vector<StepTiming> steps;  ///< of the owner
    std::vector<WorkTiming> work;   ///< of a member
};
inline constexpr std::size_t timing_steps_max = 32;
inline constexpr std::size_t timing_waits_max = 16;
inline constexpr std::size_t timing_work_max = 128;

/// What a node's process costs its machine.
struct LoadAnswer {
    std::uint64_t now_us = 0;        ///< of its wall clock
    std::uint64_t cpu_ms = 0;        ///< user and system time since it began
    std::uint64_t memory_bytes = 0;  ///< resident
    std::uint64_t started_ms = 0;    ///< since 1970
};

struct SubmitQuery {
    std::string agreed;  ///< canonical text, see config/agreed
    std::string label;   ///< for people; may be empty
};
struct SubmitAnswer {
    RunState state = RunState::pending;
    std::uint64_t ahead = 0;  ///< how many wait before it
};

/// `[]`: status, configuration, timing, load.
Bytes encode_empty();
/// `[from]`: metrics, log.
Bytes encode_from(std::uint64_t from);
/// `[text]`: stop, and the answer to configuration.
Bytes encode_text(std::string_view text);
Bytes encode(const RunStatus& m);
Bytes encode(const MetricsAnswer& m);
Bytes encode(const LogAnswer& m);
Bytes encode(const TimingAnswer& m);
Bytes encode(const LoadAnswer& m);
Bytes encode(const SubmitQuery& m);
Bytes encode(const SubmitAnswer& m);

Result<std::uint64_t> decode_from(std::span<const std::uint8_t> body);
Result<std::string> decode_text(std::span<const std::uint8_t> body);
Result<RunStatus> decode_status(std::span<const std::uint8_t> body);
Result<MetricsAnswer> decode_metrics(std::span<const std::uint8_t> body);
Result<LogAnswer> decode_log(std::span<const std::uint8_t> body);
Result<TimingAnswer> decode_timing(std::span<const std::uint8_t> body);
Result<LoadAnswer> decode_load(std::span<const std::uint8_t> body);
Result<SubmitQuery> decode_submit(std::span<const std::uint8_t> body);
Result<SubmitAnswer> decode_submit_answer(std::span<const std::uint8_t> body);

}  // namespace vflbus::bus
