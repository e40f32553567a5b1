#include "bus/wire/questions.hpp"

namespace vflbus::bus {
namespace {

constexpr DecodeLimits query_limits{array_elements_max, depth_max, query_body_bytes_max};
constexpr DecodeLimits answer_limits{array_elements_max, depth_max, answer_body_bytes_max};
constexpr std::size_t text_bytes_max = query_body_bytes_max;
constexpr std::size_t rows_bytes_max = answer_body_bytes_max - 1024;

constexpr std::array<std::string_view, 7> run_states = {
    "pending", "starting", "running", "completed", "failed", "stopped", "unknown"};
constexpr std::array<std::string_view, 5> node_states = {"up", "suspect", "lost", "left",
                                                         "unknown"};

template <class State, std::size_t n>
State state_of(Reader& reader, const std::array<std::string_view, n>& names) {
    const std::string text = reader.str(16);
    for (std::size_t i = 0; i < n; ++i)
        if (names[i] == text) return static_cast<State>(i);
    if (reader.ok()) reader.fault("not a state");
    return State{};
}

/// Enters an array of at most `most` elements; more are a fault.
std::size_t enter_up_to(Reader& reader, std::size_t most, std::string_view what) {
    const std::size_t n = reader.enter();
    if (n <= most) return n;
    reader.fault("too many " + std::string(what));
    return 0;
}

/// An upper bound for the bytes of the row on the wire.
std::size_t room_of(const RunRow& row) {
    std::size_t bytes = 160 + cut_sentence(row.reason).size() + row.owner.size() + row.role.size();
    for (const std::string& name : row.names) bytes += name.size() + 5;
    return bytes;
}
std::size_t room_of(const NodeRow& row) {
    std::size_t bytes = 160 + row.name.size() + row.role.size() + row.version.size();
    for (const std::string& name : row.features) bytes += name.size() + 5;
    return bytes;
}

/// From the first on as many as an answer holds, without those that would take the room of many
/// others.
template <class Row>
std::vector<const Row*> that_fit(std::span<const Row> rows) {
    std::vector<const Row*> out;
    std::size_t room = 0;
    for (const Row& row : rows) {
        const std::size_t bytes = room_of(row);
        if (bytes > row_bytes_max) continue;
        room += bytes;
        if (out.size() == rows_max || room > rows_bytes_max) break;
        out.push_back(&row);
    }
    return out;
}

}  // namespace

std::string_view name_of(Question question) noexcept {
    switch (question) {
        case Question::runs:
            return "runs";
        case Question::nodes:
            return "nodes";
        case Question::run:
            return "run";
        case Question::note:
            return "note";
        case Question::status:
            return "status";
        case Question::metrics:
            return "metrics";
        case Question::configuration:
            return "configuration";
        case Question::log:
            return "log";
        case Question::stop:
            return "stop";
        case Question::timing:
            return "timing";
        case Question::reason:
            return "reason";
        case Question::submit:
            return "submit";
        case Question::key:
            return "key";
        case Question::terms:
            return "terms";
        case Question::load:
            return "load";
        case Question::join_again:
            return "join again";
    }
    return "unknown question";
}

std::string_view name_of(RunState state) noexcept {
    return run_states[static_cast<std::size_t>(state)];
}
std::string_view name_of(NodeState state) noexcept {
    return node_states[static_cast<std::size_t>(state)];
}

// -- of the broker -----------------------------------------------------------------

Bytes encode(const RunsQuery& m) {
    Writer w;
    w.array(2).str(m.status).u64(m.limit);
    return w.take();
}
Result<RunsQuery> decode_runs_query(std::span<const std::uint8_t> body) {
    Reader r("runs", body, 2, query_limits);
    RunsQuery m;
    m.status = r.str(16);
    m.limit = r.u64();
    return finished(r, std::move(m));
}

Bytes encode_nodes_query(std::uint64_t limit) {
    return encode_from(limit);
}
Result<std::uint64_t> decode_nodes_query(std::span<const std::uint8_t> body) {
    return decode_from(body);
}

Bytes encode_join_again(std::uint64_t joining) {
    return encode_from(joining);
}
Result<std::uint64_t> decode_join_again(std::span<const std::uint8_t> body) {
    return decode_from(body);
}

Bytes encode_run_query(std::string_view prefix) {
    return encode_text(prefix);
}
Result<std::string> decode_run_query(std::span<const std::uint8_t> body) {
    Reader r("run", body, 1, query_limits);
    std::string prefix = r.str(32);
    if (r.ok() && prefix.find_first_not_of("0123456789abcdef") != std::string::npos)
        r.fault("an id is made of hexadecimal digits");
    return finished(r, std::move(prefix));
}

Bytes encode(const NoteQuery& m) {
    Writer w;
    w.array(3).str(name_of(m.state)).u64(static_cast<std::uint64_t>(m.code)).sentence(m.sentence);
    return w.take();
}
Result<NoteQuery> decode_note_query(std::span<const std::uint8_t> body) {
    Reader r("note", body, 3, query_limits);
    NoteQuery m;
    m.state = state_of<RunState>(r, run_states);
    m.code = static_cast<Errc>(r.u64(UINT16_MAX));
    m.sentence = r.sentence();
    return finished(r, std::move(m));
}

Bytes encode(std::span<const RunRow> rows) {
    const auto fitting = that_fit(rows);
    Writer w;
    w.array(1).array(fitting.size());
    for (const RunRow* at : fitting) {
        const RunRow& row = *at;
        w.array(15).bin(row.run.bytes).str(name_of(row.state));
        w.u64(static_cast<std::uint64_t>(row.code))
            .sentence(row.reason)
            .str(row.owner)
            .str(row.role);
        w.boolean(row.open).u64(row.participants).strs(row.names);
        w.u64(row.created_ms).u64(row.started_ms).u64(row.finished_ms);
        w.u64(row.messages).u64(row.bytes).u64(row.term);
    }
    return w.take();
}
Result<std::vector<RunRow>> decode_run_rows(std::span<const std::uint8_t> body) {
    Reader r("run rows", body, 1, answer_limits);
    std::vector<RunRow> rows(enter_up_to(r, rows_max, "rows"));
    for (RunRow& row : rows) {
        r.enter(15);
        r.fixed_bin(row.run.bytes);
        row.state = state_of<RunState>(r, run_states);
        row.code = static_cast<Errc>(r.u64(UINT16_MAX));
        row.reason = r.sentence();
        row.owner = r.str(64);
        row.role = r.str(16);
        row.open = r.boolean();
        row.participants = r.u64();
        row.names = r.strs();
        row.created_ms = r.u64();
        row.started_ms = r.u64();
        row.finished_ms = r.u64();
        row.messages = r.u64();
        row.bytes = r.u64();
        row.term = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
        r.leave();
        if (!r.ok()) break;
    }
    r.leave();
    return finished(r, std::move(rows));
}

Bytes encode(std::span<const NodeRow> rows) {
    const auto fitting = that_fit(rows);
    Writer w;
    w.array(1).array(fitting.size());
    for (const NodeRow* at : fitting) {
        const NodeRow& row = *at;
        w.array(11).str(row.name).str(row.role).i64(row.rank).str(name_of(row.state));
        w.str(row.version).strs(row.features).u64(row.first_seen_ms).u64(row.last_seen_ms);
        w.u64(row.runs).u64(row.messages).u64(row.bytes);
    }
    return w.take();
}
Result<std::vector<NodeRow>> decode_node_rows(std::span<const std::uint8_t> body) {
    Reader r("node rows", body, 1, answer_limits);
    std::vector<NodeRow> rows(enter_up_to(r, rows_max, "rows"));
    for (NodeRow& row : rows) {
        r.enter(11);
        row.name = r.str(64);
        row.role = r.str(16);
        row.rank = r.i64();
        row.state = state_of<NodeState>(r, node_states);
        row.version = r.str(64);
        row.features = r.strs();
        row.first_seen_ms = r.u64();
        row.last_seen_ms = r.u64();
        row.runs = r.u64();
        row.messages = r.u64();
        row.bytes = r.u64();
        r.leave();
        if (!r.ok()) break;
    }
    r.leave();
    return finished(r, std::move(rows));
}

// -- of those who take part in a run ---------------------------------------------------

Bytes encode_empty() {
    Writer w;
    w.array(0);
    return w.take();
}

Bytes encode_from(std::uint64_t from) {
    Writer w;
    w.array(1).u64(from);
    return w.take();
}
Result<std::uint64_t> decode_from(std::span<const std::uint8_t> body) {
    Reader r("question", body, 1, query_limits);
    const std::uint64_t from = r.u64();
    return finished(r, std::uint64_t{from});
}

Bytes encode_text(std::string_view text) {
    Writer w;
    w.array(1).str(text);
    return w.take();
}
Result<std::string> decode_text(std::span<const std::uint8_t> body) {
    Reader r("text", body, 1, answer_limits);
    std::string text = r.str(text_bytes_max);
    return finished(r, std::move(text));
}

Bytes encode(const RunStatus& m) {
    Writer w;
    w.array(6).str(m.phase).u64(m.step).u64(m.steps).u64(m.epoch).u64(m.epochs).f64(m.loss);
    return w.take();
}
Result<RunStatus> decode_status(std::span<const std::uint8_t> body) {
    Reader r("status", body, 6, answer_limits);
    RunStatus m;
    m.phase = r.str(64);
    m.step = r.u64();
    m.steps = r.u64();
    m.epoch = r.u64();
    m.epochs = r.u64();
    m.loss = r.f64();
    return finished(r, std::move(m));
}

Bytes encode(const MetricsAnswer& m) {
    Writer w;
    w.array(2).u64(m.total).array(m.entries.size());
    for (const MetricEntry& entry : m.entries) {
        w.array(5).u64(entry.step).u64(entry.epoch).str(entry.split).f64(entry.loss);
        w.array(entry.metrics.size());
        for (const auto& [name, value] : entry.metrics) w.array(2).str(name).f64(value);
    }
    return w.take();
}
Result<MetricsAnswer> decode_metrics(std::span<const std::uint8_t> body) {
    Reader r("metrics", body, 2, answer_limits);
    MetricsAnswer m;
    m.total = r.u64();
    m.entries.resize(enter_up_to(r, metric_entries_max, "entries"));
    for (MetricEntry& entry : m.entries) {
        r.enter(5);
        entry.step = r.u64();
        entry.epoch = r.u64();
        entry.split = r.str(64);
        entry.loss = r.f64();
        entry.metrics.resize(r.enter());
        for (auto& [name, value] : entry.metrics) {
            r.enter(2);
            name = r.str(64);
            value = r.f64();
            r.leave();
            if (!r.ok()) break;
        }
        r.leave();
        r.leave();
        if (!r.ok()) break;
    }
    r.leave();
    return finished(r, std::move(m));
}

Bytes encode(const LogAnswer& m) {
    Writer w;
    w.array(4).u64(m.from).u64(m.next).boolean(m.whole).str(m.text);
    return w.take();
}
Result<LogAnswer> decode_log(std::span<const std::uint8_t> body) {
    Reader r("log", body, 4, answer_limits);
    LogAnswer m;
    m.from = r.u64();
    m.next = r.u64();
    m.whole = r.boolean();
    m.text = r.str(log_text_bytes_max);
    return finished(r, std::move(m));
}

Bytes encode(const TimingAnswer& m) {
    Writer w;
    w.array(3).u64(m.now_us).array(m.steps.size());
    for (const StepTiming& step : m.steps) {
        w.array(5).u64(step.step).u64(step.begun_us).u64(step.took_us).u64(step.compute_us);
        w.array(step.waits.size());
        for (const PartyWait& wait : step.waits)
            w.array(3).u64(wait.party).u64(wait.asked_us).u64(wait.took_us);
    }
    w.array(m.work.size());
    for (const WorkTiming& work : m.work)
        w.array(3).u64(work.type).u64(work.begun_us).u64(work.took_us);
    return w.take();
}
Result<TimingAnswer> decode_timing(std::span<const std::uint8_t> body) {
    Reader r("timing", body, 3, answer_limits);
    TimingAnswer m;
    m.now_us = r.u64();
    m.steps.resize(enter_up_to(r, timing_steps_max, "steps"));
    for (StepTiming& step : m.steps) {
        r.enter(5);
        step.step = r.u64();
        step.begun_us = r.u64();
        step.took_us = r.u64();
        step.compute_us = r.u64();
        step.waits.resize(enter_up_to(r, timing_waits_max, "waits"));
        for (PartyWait& wait : step.waits) {
            r.enter(3);
            wait.party = r.u64();
            wait.asked_us = r.u64();
            wait.took_us = r.u64();
            r.leave();
            if (!r.ok()) break;
        }
        r.leave();
        r.leave();
        if (!r.ok()) break;
    }
    r.leave();
    m.work.resize(enter_up_to(r, timing_work_max, "requests"));
    for (WorkTiming& work : m.work) {
        r.enter(3);
        work.type = r.u64();
        work.begun_us = r.u64();
        work.took_us = r.u64();
        r.leave();
        if (!r.ok()) break;
    }
    r.leave();
    return finished(r, std::move(m));
}

Bytes encode(const LoadAnswer& m) {
    Writer w;
    w.array(4).u64(m.now_us).u64(m.cpu_ms).u64(m.memory_bytes).u64(m.started_ms);
    return w.take();
}
Result<LoadAnswer> decode_load(std::span<const std::uint8_t> body) {
    Reader r("load", body, 4, answer_limits);
    LoadAnswer m;
    m.now_us = r.u64();
    m.cpu_ms = r.u64();
    m.memory_bytes = r.u64();
    m.started_ms = r.u64();
    return finished(r, std::move(m));
}

Bytes encode(const SubmitQuery& m) {
    Writer w;
    w.array(2).str(m.agreed).str(m.label);
    return w.take();
}
Result<SubmitQuery> decode_submit(std::span<const std::uint8_t> body) {
    Reader r("submit", body, 2, query_limits);
    SubmitQuery m;
    m.agreed = r.str(text_bytes_max);
    m.label = r.str(256);
    return finished(r, std::move(m));
}

Bytes encode(const SubmitAnswer& m) {
    Writer w;
    w.array(2).str(name_of(m.state)).u64(m.ahead);
    return w.take();
}
Result<SubmitAnswer> decode_submit_answer(std::span<const std::uint8_t> body) {
    Reader r("submitted", body, 2, answer_limits);
    SubmitAnswer m;
    m.state = state_of<RunState>(r, run_states);
    m.ahead = r.u64();
    return finished(r, std::move(m));
}

}  // namespace vflbus::bus
