#include "run_desk.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "actors/run/run_record.hpp"
#include "base/files.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using bus::Question;

/// Of one answer about metrics: a half of what an ANSWER may hold. One entry always fits.
constexpr std::size_t metrics_answer_bytes_max = 128u << 10;

/// No less than it takes on the wire.
std::size_t bytes_of(const bus::MetricEntry& entry) {
    std::size_t bytes = 64 + entry.split.size();
    for (const auto& [name, value] : entry.metrics) bytes += name.size() + 16;
    return bytes;
}

/// Whole lines from a position of a file.
Result<bus::LogAnswer> read_lines(const fs::path& file, std::uint64_t from) {
    bus::LogAnswer answer;
    answer.from = from;
    answer.next = from;
    std::ifstream in(file, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(std::min<std::uint64_t>(from, INT64_MAX)));
    if (!in) return answer;
    std::string text(bus::log_text_bytes_max, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    const bool full = text.size() == bus::log_text_bytes_max;
    const std::size_t end = text.rfind('\n');
    if (end == std::string::npos && !full) return answer;
    if (end != std::string::npos) text.resize(end + 1);
    answer.whole = !full;
    answer.next = from + text.size();
    answer.text = std::move(text);
    return answer;
}

Result<bus::Bytes> metrics_from(const std::vector<bus::MetricEntry>& entries,
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

double loss_of(const observe::Metrics& metrics) {
    for (const auto& [name, value] : metrics)
        if (name == "loss") return value;
    return 0;
}

/// What was asked for on the way, and the end.
std::vector<bus::MetricEntry> all_entries(const observe::RunReport& report) {
    std::vector<bus::MetricEntry> entries;
    for (const observe::HistoryEntry& entry : report.history) entries.push_back(entry_of(entry));
    for (const auto& [split, metrics] : {std::pair{"train", &report.train}, {"test", &report.test}})
        if (!metrics->empty() && std::ranges::none_of(entries, [&, name = split](const auto& e) {
                return e.split == name && e.step == report.steps;
            }))
            entries.push_back({report.steps, report.epochs, split, loss_of(*metrics), *metrics});
    return entries;
}

}  // namespace

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

RunDesk::RunDesk(std::string party, fs::path runs_dir, config::ShareLog share)
    : party_(std::move(party)), runs_dir_(std::move(runs_dir)), share_(share) {}

void RunDesk::drives(const RunId& run, std::string agreed, std::function<void()> stop,
                     History history) {
    const std::lock_guard lock(mutex_);
    run_ = run;
    agreed_ = std::move(agreed);
    stop_ = std::move(stop);
    history_ = std::move(history);
    status_ = {};
    status_.phase = "gathering";
    metrics_.clear();
}

void RunDesk::update(const observe::ProgressState& state) {
    const std::lock_guard lock(mutex_);
    status_.phase = state.steps != 0 && state.step >= state.steps ? "finishing" : "training";
    status_.step = state.step;
    status_.steps = state.steps;
    status_.epoch = state.epoch;
    status_.epochs = state.epochs;
    status_.loss = state.loss;
    if (!history_ || !state.report) return;
    // what a recovery takes back comes again, the same
    const std::vector<observe::HistoryEntry>& history = history_();
    for (std::size_t i = metrics_.size(); i < history.size(); ++i)
        metrics_.push_back(entry_of(history[i]));
}

void RunDesk::add_metrics(std::uint64_t step, const std::map<std::string, double>& values) {
    const auto loss = values.find("loss");
    bus::MetricEntry entry;
    entry.step = step;
    entry.loss = loss == values.end() ? std::nan("") : loss->second;
    entry.metrics.assign(values.begin(), values.end());
    const std::lock_guard lock(mutex_);
    if (metrics_.size() < metrics_kept_max) metrics_.push_back(std::move(entry));
}

void RunDesk::done() {
    const std::lock_guard lock(mutex_);
    stop_ = nullptr;
    history_ = nullptr;
    status_.phase = "done";
}

Result<bus::Bytes> RunDesk::answer(const bus::QueryArrived& query) {
    std::unique_lock lock(mutex_);
    const bool owned = !run_.none() && query.run == run_;
    const auto question = static_cast<Question>(query.question);
    if (question == Question::log) {
        lock.unlock();
        return answer_log(query, owned);
    }
    const bool of_owner = question == Question::status || question == Question::metrics ||
                          question == Question::configuration || question == Question::stop;
    if (!of_owner)
        return fail(Errc::unknown_message,
                    party_ + " knows no question " + std::to_string(query.question));
    if (!owned) {
        lock.unlock();
        return answer_from_files(query);
    }
    switch (question) {
        case Question::status:
            return bus::encode(status_);
        case Question::configuration:
            return bus::encode_text(shown_configuration(agreed_));
        case Question::metrics:
            return metrics_from(metrics_, query.body);
        default:
            break;
    }
    if (!stop_) return fail(Errc::run_ended, "run " + run_.short_hex() + " is ending already");
    const std::function<void()> stop = stop_;
    lock.unlock();
    stop();
    return bus::encode_empty();
}

Result<bus::Bytes> RunDesk::answer_from_files(const bus::QueryArrived& query) const {
    const auto question = static_cast<Question>(query.question);
    const auto env = actors::make_file_env();
    const auto record = actors::read_run_record(*env, runs_dir_, query.run);
    if (query.run.none() || !record || record->owner != party_ || question == Question::stop)
        return fail(Errc::not_owner,
                    party_ + " does not drive run " + query.run.short_hex() + " now");
    if (question == Question::configuration)
        return bus::encode_text(shown_configuration(record->agreed));
    observe::RunReport report;
    report.status = "interrupted";  // its process was killed: there is no report
    report.steps = record->commits.empty() ? 0 : record->commits.back().step;
    const auto text = read_file(runs_dir_ / query.run.hex() / "report.json");
    if (text)
        if (auto parsed = observe::from_json(*text)) report = std::move(*parsed);
    const std::vector<bus::MetricEntry> entries = all_entries(report);
    if (question == Question::metrics) return metrics_from(entries, query.body);
    bus::RunStatus status;
    status.phase = report.status;
    status.step = status.steps = report.steps;
    status.epoch = status.epochs = report.epochs;
    if (!entries.empty()) status.loss = entries.back().loss;
    return bus::encode(status);
}

Result<bus::Bytes> RunDesk::answer_log(const bus::QueryArrived& query, bool owned) const {
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
    const auto answer = read_lines(file, *from);
    if (!answer) return tl::unexpected(answer.error());
    return bus::encode(*answer);
}

}  // namespace vflbus::cli
