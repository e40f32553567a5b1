#include "observers/trace.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "actors/messages.hpp"
#include "base/clock.hpp"
#include "base/json.hpp"
#include "observe/log.hpp"
#include "observers/trace_clocks.hpp"
#include "observers/wall_time.hpp"

namespace vflbus::observers {
namespace {

constexpr auto flush_trace_every = std::chrono::seconds(1);
/// Shorter work of the master is looking at an event, and no computing.
constexpr auto work_min = std::chrono::microseconds(2);

// the rows of a process in the picture
constexpr unsigned phases = 1;
constexpr unsigned steps = 2;
constexpr unsigned compute = 3;
constexpr unsigned asks = 10;  ///< and one more for each party

/// A process that was killed has left its last line cut. What goes on with the file begins a line
/// of its own. Whether the file has anything.
bool cut_to_whole_lines(const std::filesystem::path& path) {
    std::error_code ec;
    const std::uintmax_t size = std::filesystem::file_size(path, ec);
    if (ec || size == 0) return false;
    std::ifstream file(path, std::ios::binary);
    char head = 0;
    if (!file.get(head) || head != '[') return true;  // no trace of ours: keeps what it has
    std::uintmax_t end = size;
    for (char last = 0; end > 1; --end) {
        file.seekg(static_cast<std::streamoff>(end - 1));
        if (!file.get(last) || last == '\n') break;
    }
    if (end == 1) end = 0;
    if (end < size) std::filesystem::resize_file(path, end, ec);
    return end > 0;
}

double microseconds(Duration duration) {
    return std::chrono::duration<double, std::micro>(duration).count();
}

}  // namespace

TraceObserver::TraceObserver(Options options, std::FILE* file)
    : options_(std::move(options)), file_(file), to_wall_(since_1970(TimePoint{})) {}

Result<std::shared_ptr<TraceObserver>> TraceObserver::open(Options options) {
    std::error_code ec;
    if (options.file.has_parent_path())
        std::filesystem::create_directories(options.file.parent_path(), ec);
    const bool goes_on = options.goes_on && cut_to_whole_lines(options.file);
    std::FILE* const file = std::fopen(options.file.c_str(), goes_on ? "abe" : "wbe");
    if (file == nullptr)
        return fail(Errc::io, "cannot write the trace " + options.file.string() + ": " +
                                  std::strerror(errno));
    std::shared_ptr<TraceObserver> trace(new TraceObserver(std::move(options), file));
    // (an array that is not closed is a trace as well, since a process may be killed)
    if (!goes_on) std::fwrite("[\n", 1, 2, file);
    const Options& made = trace->options_;
    trace->line(
        fmt::format(R"({{"name":"process_name","ph":"M","pid":{},"tid":0,"args":{{"name":{}}}}})",
                    made.place, Json(made.party).dump()));
    trace->line(fmt::format(
        R"({{"name":"process_sort_index","ph":"M","pid":{},"tid":0,"args":{{"sort_index":{}}}}})",
        made.place, made.place));
    trace->name_thread(compute, "compute");
    if (made.parties.empty()) return trace;
    trace->name_thread(phases, "phases");
    trace->name_thread(steps, "steps");
    for (std::size_t i = 0; i < made.parties.size(); ++i)
        trace->name_thread(asks + static_cast<unsigned>(i), "asks " + made.parties[i]);
    return trace;
}

TraceObserver::~TraceObserver() {
    std::fclose(file_);
}

void TraceObserver::name_thread(unsigned thread, const std::string& name) {
    line(fmt::format(R"({{"name":"thread_name","ph":"M","pid":{},"tid":{},"args":{{"name":{}}}}})",
                     options_.place, thread, Json(name).dump()));
}

void TraceObserver::slice(unsigned thread, std::string_view name, TimePoint begun, TimePoint ended,
                          const std::string& arguments) {
    line(fmt::format(R"({{"name":"{}","ph":"X","ts":{:.3f},"dur":{:.3f},"pid":{},"tid":{}{}}})",
                     name, microseconds(begun.time_since_epoch() + to_wall_),
                     microseconds(ended - begun), options_.place, thread,
                     arguments.empty() ? "" : ",\"args\":{" + arguments + "}"));
    if (ended - flushed_ < flush_trace_every) return;
    flushed_ = ended;
    std::fflush(file_);
}

void TraceObserver::line(const std::string& event) {
    if (events_ >= trace_events_max) {
        ++dropped_;
        return;
    }
    ++events_;
    const std::string whole = event + ",\n";
    std::fwrite(whole.data(), 1, whole.size(), file_);
}

void TraceObserver::on_phase(actors::Phase phase, TimePoint at) {
    if (!phase_.empty()) slice(phases, phase_, phase_since_, at);
    phase_ = name_of(phase);
    phase_since_ = at;
    if (phase == actors::Phase::training && step_since_ == TimePoint{}) step_since_ = at;
}

void TraceObserver::on_step(const observe::ProgressState& state, TimePoint at) {
    if (step_since_ != TimePoint{})
        slice(steps, "step " + std::to_string(state.step), step_since_, at);
    step_since_ = at;
}

void TraceObserver::on_end(const observe::RunReport&, const Failure&) {
    if (!phase_.empty()) slice(phases, phase_, phase_since_, clock_now());
    phase_.clear();
    std::fflush(file_);
    if (dropped_ > 0)
        observe::log::warn({.part = "observe"},
                           "the trace {} is full: {} later events are not in it",
                           options_.file.string(), dropped_);
}

void TraceObserver::on_answer(const actors::AnsweredRequest& answer) {
    slice(asks + static_cast<unsigned>(answer.party), actors::message::name_of(answer.type),
          answer.asked, answer.answered,
          fmt::format(R"("bytes_to":{},"bytes_from":{})", answer.bytes_to, answer.bytes_from));
}

void TraceObserver::on_work(TimePoint begun, TimePoint ended) {
    if (ended - begun >= work_min) slice(compute, "compute", begun, ended);
}

void TraceObserver::on_handled(const actors::HandledRequest& handled) {
    slice(compute, actors::message::name_of(handled.type), handled.begun, handled.ended,
          fmt::format(R"("run":"{}","bytes_in":{},"bytes_out":{})", handled.run.short_hex(),
                      handled.bytes_in, handled.bytes_out));
}

namespace {

/// The next whole event of a part; a last one that was cut by a kill is none.
bool next_event(std::ifstream& part, std::string& event) {
    while (std::getline(part, event)) {
        if (!event.starts_with('{') || !event.ends_with("},")) continue;
        event.pop_back();
        return true;
    }
    return false;
}

/// What a file tells of its party's clock: when it asked which party, and when it worked itself.
struct Clock {
    std::string party;
    std::map<std::string, TraceSpans> asked;
    TraceSpans worked;
    std::set<std::size_t> damaged;  ///< which of its events are no JSON, counted from 0
};

Clock clock_of(const std::filesystem::path& file) {
    Clock clock;
    constexpr std::string_view asks_of = "asks ";
    std::map<std::uint64_t, std::string> threads;
    std::ifstream part(file, std::ios::binary);
    std::string text;
    for (std::size_t at = 0; next_event(part, text); ++at) {
        const Json event = Json::parse(text);
        if (!event.is_object()) {
            clock.damaged.insert(at);
            continue;
        }
        const Json* const name = event.find("name");
        const Json* const thread = event.find("tid");
        const Json* const arguments = event.find("args");
        if (name == nullptr || thread == nullptr || !thread->is_number_unsigned()) continue;
        if (event.find("ph") != nullptr && event["ph"] == "M") {
            const Json* const named = arguments == nullptr ? nullptr : arguments->find("name");
            if (named == nullptr || !named->is_string()) continue;
            if (*name == "process_name") clock.party = named->get<std::string>();
            if (*name == "thread_name")
                threads[thread->get<std::uint64_t>()] = named->get<std::string>();
            continue;
        }
        const Json* const begin = event.find("ts");
        const Json* const lasted = event.find("dur");
        if (begin == nullptr || lasted == nullptr || !begin->is_number() || !lasted->is_number() ||
            !name->is_string())
            continue;
        const TraceSpan span{begin->get<double>(), begin->get<double>() + lasted->get<double>()};
        const std::string& who = threads[thread->get<std::uint64_t>()];
        if (who.starts_with(asks_of))
            clock.asked[who.substr(asks_of.size())][name->get<std::string>()].push_back(span);
        else if (who == "compute")
            clock.worked[name->get<std::string>()].push_back(span);
    }
    return clock;
}

/// Adds to the time of an event.
std::string moved(const std::string& event, double microseconds) {
    constexpr std::string_view key = "\"ts\":";
    const std::size_t at = event.find(key);
    if (microseconds == 0 || at == std::string::npos) return event;
    const std::size_t begin = at + key.size();
    const std::size_t end = event.find_first_of(",}", begin);
    const double time = std::strtod(event.c_str() + begin, nullptr);
    return event.substr(0, begin) + fmt::format("{:.3f}", time + microseconds) + event.substr(end);
}

/// For each part the microseconds that its clock is behind that of the part that asks it.
std::vector<double> offsets_of(const std::vector<Clock>& clocks) {
    std::vector<double> offsets(clocks.size(), 0);
    for (std::size_t i = 0; i < clocks.size(); ++i)
        for (const Clock& master : clocks)
            if (const auto asked = master.asked.find(clocks[i].party); asked != master.asked.end())
                offsets[i] = clock_offset(asked->second, clocks[i].worked);
    return offsets;
}

}  // namespace

bool has_events(const std::filesystem::path& part) {
    std::ifstream in(part, std::ios::binary);
    std::string event;
    return next_event(in, event);
}

Result<> merge_traces(const std::vector<std::filesystem::path>& parts,
                      const std::filesystem::path& out) {
    std::error_code ec;
    if (out.has_parent_path()) std::filesystem::create_directories(out.parent_path(), ec);
    std::vector<Clock> clocks;
    for (const std::filesystem::path& part : parts) clocks.push_back(clock_of(part));
    const std::vector<double> offsets = offsets_of(clocks);
    errno = 0;
    std::ofstream merged(out, std::ios::binary | std::ios::trunc);
    merged << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
    const char* between = "\n";
    for (std::size_t i = 0; i < parts.size(); ++i) {
        std::ifstream events(parts[i], std::ios::binary);
        std::string event;
        for (std::size_t at = 0; next_event(events, event); ++at) {
            if (clocks[i].damaged.contains(at)) continue;
            merged << between << moved(event, offsets[i]);
            between = ",\n";
        }
    }
    merged << "\n]}\n";
    merged.close();
    if (!merged)
        return fail(Errc::io,
                    "cannot write the trace " + out.string() +
                        (errno == 0 ? std::string() : std::string(": ") + std::strerror(errno)));
    return {};
}

}  // namespace vflbus::observers
