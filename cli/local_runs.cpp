#include "local_runs.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/value.hpp"
#include "observe/log_files.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "run_directory.hpp"
#include "run_files.hpp"
#include "run_log.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t run_id_digits = 32;
constexpr std::size_t named_runs_max = 4;  // of those that some digits could mean

std::uint64_t changed_ms(const fs::path& file) {
    std::error_code ec;
    const auto time = fs::last_write_time(file, ec);
    if (ec) return 0;
    const auto wall = std::chrono::file_clock::to_sys(time).time_since_epoch();
    return static_cast<std::uint64_t>(std::max<std::int64_t>(
        0, std::chrono::duration_cast<std::chrono::milliseconds>(wall).count()));
}

/// party.master.label of the configuration that is saved with a run.
std::vector<std::string> labels_in(const fs::path& configuration) {
    std::vector<std::string> labels;
    const auto text = read_file(configuration);
    if (!text) return labels;
    bool of_master = false;
    for (const std::string& line : split(*text, '\n')) {
        constexpr std::string_view key = "label = ";
        if (line.starts_with("[")) of_master = line.starts_with("[party.master]");
        if (!of_master || !line.starts_with(key)) continue;
        const auto literal = config::parse_literal(line.substr(key.size()));
        const auto* const list =
            literal ? std::get_if<std::vector<config::Raw>>(&literal->value) : nullptr;
        if (list == nullptr) return labels;
        for (const config::Raw& one : *list)
            if (const auto* name = std::get_if<std::string>(&one.value)) labels.push_back(*name);
        return labels;
    }
    return labels;
}

/// What its record and its report say.
void read_run(LocalRun& run) {
    const auto env = actors::make_file_env();
    const auto record = actors::read_run_record(*env, run.directory.parent_path(), run.run);
    const fs::path report = run.directory / "report.json";
    bool reported = false;
    if (const auto text = read_file(report))
        if (auto parsed = observe::from_json(*text)) {
            run.report = std::move(*parsed);
            reported = true;
        }
    run.purpose = run.report.purpose;
    if (run.purpose.empty()) run.purpose = noted_purpose(run.directory).value_or("");
    if (record) {
        run.purpose = "train";
        run.configuration = shown_configuration(record->agreed);
        const bool finished = record->phase == actors::RunRecord::Phase::finished;
        run.resumable = !finished;
        run.status = reported ? run.report.status : finished ? "completed" : "interrupted";
        if (!reported && !record->commits.empty()) run.report.steps = record->commits.back().step;
    } else {
        for (const auto& [key, value] : run.report.configuration)
            run.configuration += key + " = " + value + "\n";
        run.status = reported ? run.report.status : "not begun";
        std::error_code ec;
        // a check leaves no report; its log tells that it has run
        if (!reported && noted_failure(run.directory)) run.status = "failed";
        if (run.status == "not begun" && run.purpose != "train" &&
            fs::exists(run.directory / "master", ec))
            run.status = "ended";
    }
    // no party has told why it failed: the command that started them may have noted it
    if (!reported)
        if (auto failure = noted_failure(run.directory)) {
            run.report.reason = failure->sentence;
            run.report.failure = std::move(*failure);
        }
    if (run.purpose == "train") run.labels = labels_in(run.directory / "vflbus.toml");
    if (is_held(run.directory)) run.status = "running";
    run.changed_ms =
        std::max({changed_ms(report), changed_ms(run.directory / "run.json"),
                  changed_ms(run.directory / "launch" / "launch.json"), changed_ms(run.directory)});
}

LocalRun read_run(const RunId& id, fs::path directory) {
    LocalRun run;
    run.run = id;
    run.directory = std::move(directory);
    read_run(run);
    return run;
}

bool is_lower_hex(std::string_view text) {
    return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The directories that are runs by their name.
std::map<std::string, fs::path> run_directories(const fs::path& runs_dir) {
    std::map<std::string, fs::path> found;
    std::error_code ec;
    for (const fs::path& entry : entries_of(runs_dir)) {
        const std::string name = entry.filename().string();
        if (name.size() == run_id_digits && is_lower_hex(name) && fs::is_directory(entry, ec))
            found.emplace(name, entry);
    }
    return found;
}

}  // namespace

std::string LocalRun::headline() const {
    for (const auto& [split, metrics] :
         {std::pair{"test", &report.test}, std::pair{"train", &report.train}})
        for (const auto& [name, value] : *metrics)
            if (name != "loss")
                return std::string(split) + " " + name + " " + observe::metric_text(value);
    return {};
}

std::vector<LocalRun> local_runs(const fs::path& runs_dir) {
    std::vector<LocalRun> runs;
    for (const auto& [name, directory] : run_directories(runs_dir))
        if (const auto id = parse_run_id(name)) runs.push_back(read_run(*id, directory));
    std::ranges::stable_sort(runs, std::greater<>(), &LocalRun::changed_ms);
    return runs;
}

Result<LocalRun> local_run(const fs::path& runs_dir, std::string_view digits) {
    std::string text(digits);
    for (char& c : text)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (text.empty() || text.size() > run_id_digits || !is_lower_hex(text))
        return fail(Errc::usage, "\"" + text +
                                     "\" is no run; say its id, 32 hexadecimal digits, or the "
                                     "first of them");
    const auto all = run_directories(runs_dir);
    std::vector<std::string> fitting;
    for (const auto& [name, directory] : all)
        if (name.starts_with(text)) fitting.push_back(name);
    if (fitting.empty())
        return fail(Errc::unknown_run, "there is no run " + text + " in " + runs_dir.string() +
                                           "; `vflbus runs --local` lists those that are there");
    if (fitting.size() > 1) {
        if (fitting.size() > named_runs_max) {
            fitting.resize(named_runs_max);
            fitting.emplace_back("others");
        }
        return fail(Errc::usage, "several runs begin with " + text + ": " + join_and(fitting) +
                                     "; say more digits");
    }
    const auto id = parse_run_id(fitting.front());
    if (!id) return tl::unexpected(id.error());
    LocalRun run = read_run(*id, all.at(fitting.front()));
    std::error_code ec;
    for (fs::recursive_directory_iterator at(run.directory, ec), end; !ec && at != end;
         at.increment(ec)) {
        std::error_code none;
        if (const auto size = at->is_regular_file(none) ? at->file_size(none) : 0; !none)
            run.bytes += size;
    }
    return run;
}

bus::RunState state_of(const LocalRun& run) {
    using bus::RunState;
    for (const RunState state :
         {RunState::running, RunState::completed, RunState::failed, RunState::stopped})
        if (run.status == bus::name_of(state)) return state;
    return RunState::unknown;
}

std::vector<bus::MetricEntry> entries_of_run(const LocalRun& run) {
    return all_entries(run.report);
}

std::vector<LocalLogLine> local_log(const LocalRun& run) {
    struct Timed {
        std::string time;
        LocalLogLine line;
    };
    std::vector<Timed> lines;
    for (const fs::path& party : entries_of(run.directory)) {
        std::string time;
        for (const std::string& written : split(observe::whole_log(party / "log"), '\n')) {
            if (written.empty()) continue;
            std::string line = plain_line(written);
            if (const std::string_view own = time_of_line(line); !own.empty()) time = own;
            lines.push_back({time, {party.filename().string(), std::move(line)}});
        }
    }
    std::ranges::stable_sort(lines, {}, &Timed::time);
    std::vector<LocalLogLine> ordered;
    for (Timed& timed : lines) ordered.push_back(std::move(timed.line));
    return ordered;
}

std::string to_json(const LocalRun& run) {
    const observe::RunReport& report = run.report;
    const auto metrics = [](const observe::Metrics& values) {
        JsonObject object;
        for (const auto& [name, value] : values) object.add(name, value);
        return object.text();
    };
    return JsonObject()
        .add("run_id", run.run.hex())
        .add("purpose", run.purpose)
        .add("status", run.status)
        .add("resumable", run.resumable)
        .add("reason", report.reason)
        .add("task", report.task)
        .add("algorithm", report.algorithm)
        .add("experiment_label", report.experiment_label)
        .add("labels", run.labels)
        .add("rows", report.rows_train)
        .add("rows_test", report.rows_test)
        .add("steps", report.steps)
        .add("steps_planned", report.steps_planned)
        .add("started", report.started)
        .add("finished", report.finished)
        .add("seconds", report.total_seconds)
        .add_json("metrics", JsonObject()
                                 .add_json("train", metrics(report.train))
                                 .add_json("test", metrics(report.test))
                                 .text())
        .add("directory", run.directory.string())
        .text();
}

Result<> remove_local_run(const LocalRun& run, bool force) {
    if (run.status == "running")
        return fail(Errc::usage,
                    "run " + run.run.short_hex() + " is under way; stop it before you remove it");
    if (run.resumable && !force)
        return fail(Errc::usage, "run " + run.run.short_hex() + " is " + run.status +
                                     " and could be resumed; --force removes it all the same");
    std::error_code ec;
    fs::remove_all(run.directory, ec);
    if (ec) return fail(Errc::io, "cannot remove " + run.directory.string() + ": " + ec.message());
    return {};
}

}  // namespace vflbus::cli
