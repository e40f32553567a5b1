#include "run_files.hpp"

#include <algorithm>
#include <limits>
#include <system_error>
#include <utility>

#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "observe/log.hpp"
#include "observe/log_files.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using bus::Question;

/// Of one answer about metrics: a half of what an ANSWER may hold. One entry always fits.
constexpr std::size_t metrics_answer_bytes_max = 128u << 10;
/// Runs whose parsed files are kept. Each may have told_report_bytes_max.
constexpr std::size_t files_known_max = 4;

/// No less than it takes on the wire.
std::size_t bytes_of(const bus::MetricEntry& entry) {
    std::size_t bytes = 64 + entry.split.size();
    for (const auto& [name, value] : entry.metrics) bytes += name.size() + 16;
    return bytes;
}

/// Whole lines from a position of a log.
bus::LogAnswer read_lines(const fs::path& file, std::uint64_t from) {
    bus::LogAnswer answer;
    observe::LogText read = observe::read_log(file, from, bus::log_text_bytes_max);
    std::string text = std::move(read.text);
    answer.from = answer.next = read.from;
    const bool full = text.size() == bus::log_text_bytes_max;
    const std::size_t end = text.rfind('\n');
    if (end == std::string::npos && !read.more) return answer;  // the line is still written
    if (end != std::string::npos && (full || !read.more)) text.resize(end + 1);
    answer.whole = !read.more;
    answer.next = read.from + text.size();
    answer.text = std::move(text);
    return answer;
}

double loss_of(const observe::Metrics& metrics) {
    for (const auto& [name, value] : metrics)
        if (name == "loss") return value;
    return 0;
}

fs::file_time_type time_of(const fs::path& file) {
    std::error_code ec;
    const auto time = fs::last_write_time(file, ec);
    return ec ? fs::file_time_type::min() : time;
}

}  // namespace

// -- pieces -------------------------------------------------------------------------

Result<bus::Bytes> metrics_answer(const std::vector<bus::MetricEntry>& entries,
                                  std::span<const std::uint8_t> query) {
    const auto from = bus::decode_from(query);
    if (!from) return tl::unexpected(from.error());
    bus::MetricsAnswer answer;
    answer.total = entries.size();
    std::size_t bytes = 0;
    for (std::size_t i = *from;
         i < entries.size() && answer.entries.size() < bus::metric_entries_max; ++i) {
        bytes += bytes_of(entries[i]);
        if (bytes > metrics_answer_bytes_max) break;
        answer.entries.push_back(entries[i]);
    }
    return bus::encode(answer);
}

bus::MetricEntry entry_of(const observe::HistoryEntry& entry) {
    return {entry.step, entry.epoch, entry.split, entry.loss, entry.metrics};
}

std::vector<bus::MetricEntry> all_entries(const observe::RunReport& report) {
    std::vector<bus::MetricEntry> entries;
    for (const observe::HistoryEntry& entry : report.history) entries.push_back(entry_of(entry));
    // `train` and `test` are of the finished model. A run that ended earlier has in them what it
    // measured last, which is above with its own step.
    if (report.status != "completed" && !entries.empty()) return entries;
    for (const auto& [split, metrics] : {std::pair{"train", &report.train}, {"test", &report.test}})
        if (!metrics->empty() && std::ranges::none_of(entries, [&, name = split](const auto& e) {
                return e.split == name && e.step == report.steps;
            }))
            entries.push_back({report.steps, report.epochs, split, loss_of(*metrics), *metrics});
    return entries;
}

std::uint64_t last_epoch(const observe::RunReport& report) {
    if (report.status == "completed") return report.epochs;
    return report.history.empty() ? 0 : report.history.back().epoch;
}

std::string shown_configuration(std::string_view agreed) {
    std::string out;
    while (!agreed.empty()) {
        const std::size_t end = std::min(agreed.find('\n'), agreed.size());
        const std::string_view line = agreed.substr(0, end);
        agreed.remove_prefix(std::min(end + 1, agreed.size()));
        if (line.starts_with("data.id_salt")) continue;
        out += line;
        out += '\n';
    }
    return out;
}

// -- the files ----------------------------------------------------------------------

RunFiles::RunFiles(std::string party, fs::path runs_dir, config::ShareLog share)
    : party_(std::move(party)), runs_dir_(std::move(runs_dir)), share_(share) {}

Result<bus::Bytes> RunFiles::answer(const bus::QueryArrived& query, bool owned) {
    const auto question = static_cast<Question>(query.question);
    if (question == Question::log) return answer_log(query, owned);
    const std::lock_guard lock(mutex_);
    const auto run = known(query.run);
    if (!run) return tl::unexpected(run.error());
    switch (question) {
        case Question::configuration:
            return bus::encode_text((*run)->configuration);
        case Question::metrics:
            return metrics_answer((*run)->entries, query.body);
        case Question::status:
            return bus::encode((*run)->status);
        case Question::reason:
            return bus::encode_text((*run)->reason);
        default:
            return fail(Errc::unknown_message, "no file answers that");
    }
}

RunFiles::Known RunFiles::times_of(const RunId& run) const {
    Known times;
    times.run = run;
    times.record_time = time_of(actors::run_record_path(runs_dir_, run));
    times.report_time = time_of(runs_dir_ / run.hex() / "report.json");
    return times;
}

/// From what was read last, unless the files have changed since.
Result<const RunFiles::Known*> RunFiles::known(const RunId& run) {
    const Known now = times_of(run);
    const auto found = std::ranges::find(known_, run, &Known::run);
    if (found != known_.end()) {
        if (found->record_time == now.record_time && found->report_time == now.report_time) {
            known_.splice(known_.begin(), known_, found);
            return &known_.front();
        }
        known_.erase(found);
    }
    auto read_now = read(run);
    if (!read_now) return tl::unexpected(read_now.error());
    read_now->record_time = now.record_time;
    read_now->report_time = now.report_time;
    if (known_.size() >= files_known_max) known_.pop_back();
    known_.push_front(std::move(*read_now));
    return &known_.front();
}

Result<RunFiles::Known> RunFiles::read(const RunId& run) const {
    const auto env = actors::make_file_env();
    const auto record = actors::read_run_record(*env, runs_dir_, run);
    if (run.none() || !record || record->owner != party_)
        return fail(Errc::not_owner, party_ + " does not drive run " + run.short_hex() + " now");
    Known known;
    known.run = run;
    known.configuration = shown_configuration(record->agreed);
    observe::RunReport report;
    report.status = "interrupted";  // its process was killed: there is no report
    report.steps = record->commits.empty() ? 0 : record->commits.back().step;
    const fs::path file = runs_dir_ / run.hex() / "report.json";
    std::error_code ec;
    if (const std::uint64_t size = fs::file_size(file, ec); !ec && size > told_report_bytes_max)
        return fail(Errc::too_large, "the report of run " + run.short_hex() + " has " +
                                         human_bytes(size) + ", of which at most " +
                                         human_bytes(told_report_bytes_max) +
                                         " are told over the bus; it is in " + run.hex() +
                                         "/report.json where it ran");
    if (const auto text = read_file(file))
        if (auto parsed = observe::from_json(*text)) report = std::move(*parsed);
    known.entries = all_entries(report);
    if (report.status != "completed") known.reason = bus::cut_sentence(report.reason);
    known.status.phase = report.status;
    known.status.step = report.steps;
    // of a run that ended before its last step both are told; 0: that it had more is all we know
    known.status.steps = report.status == "completed" ? report.steps : report.steps_planned;
    known.status.epoch = last_epoch(report);
    known.status.epochs = report.epochs;
    // (a run that has shown no loss yet has none, and not 0)
    known.status.loss = known.entries.empty() ? std::numeric_limits<double>::quiet_NaN()
                                              : known.entries.back().loss;
    return known;
}

Result<bus::Bytes> RunFiles::answer_log(const bus::QueryArrived& query, bool owned) const {
    const auto from = bus::decode_from(query.body);
    if (!from) return tl::unexpected(from.error());
    if (query.run.none()) return fail(Errc::unknown_run, "log lines are those of a run");
    std::error_code ec;
    const fs::path dir = runs_dir_ / query.run.hex();
    // a run is owned by who has its record, also after it is over
    owned = owned || (party_ == "master" && fs::exists(dir / "run.json", ec));
    if (share_ == config::ShareLog::none || (share_ == config::ShareLog::owned && !owned))
        return fail(Errc::refused, party_ + " keeps its log lines to itself (output.share_log)");
    const fs::path file = dir / party_ / "log";
    if (!fs::exists(file, ec))
        return fail(Errc::unknown_run, party_ + " has no log of run " + query.run.short_hex());
    observe::log::settle_run(query.run, party_);  // who asks may count on it: see RunLogReader
    return bus::encode(read_lines(file, *from));
}

}  // namespace vflbus::cli
