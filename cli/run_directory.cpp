#include "run_directory.hpp"

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "base/clock.hpp"
#include "base/json.hpp"
#include "observe/report.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr auto look_again = std::chrono::milliseconds(20);
constexpr int any_depth = 3;  // <run_id>/<party>/state/commit-...

fs::path lock_directory(const fs::path& directory) {
    return directory / "launch";
}
fs::path note_file(const fs::path& directory) {
    return directory / "launch" / "launch.json";
}

/// The party there that still has a process, and which: "master (process 4711)"; empty: none.
std::string party_with_process(const fs::path& directory) {
    for (const fs::path& party : entries_of(directory))
        if (const auto holder = lock_holder(party / "node"))
            return party.filename().string() + " (process " + std::to_string(*holder) + ")";
    return {};
}

/// Whether a master that was started by hand drives the run now: its node lies beside the runs, and
/// it has the run's log open for writing.
bool is_written_by_node(const fs::path& directory) {
    std::error_code ec;
    const fs::path log = fs::weakly_canonical(directory, ec) / "master" / "log";
    if (ec || !fs::exists(log, ec)) return false;
    for (const fs::path& node : entries_of(directory.parent_path() / "nodes")) {
        const auto holder = lock_holder(node);
        if (!holder) continue;
        for (const fs::path& file : entries_of("/proc/" + std::to_string(*holder) + "/fd")) {
            const auto mode = fs::symlink_status(file, ec).permissions();
            if (!ec && (mode & fs::perms::owner_write) != fs::perms::none &&
                fs::read_symlink(file, ec) == log)
                return true;
        }
    }
    return false;
}

/// Whether a run has begun there: it has a record, a report, predictions or part of a model.
bool holds_run(const fs::path& directory) {
    std::error_code ec;
    for (const char* const file : {"run.json", "report.json", "predictions.csv"})
        if (fs::exists(directory / file, ec)) return true;
    for (const fs::path& party : entries_of(directory))
        if (fs::exists(party / "model.json", ec)) return true;
    return false;
}

}  // namespace

Result<DirectoryLock> RunDirectory::lock(const fs::path& directory) {
    auto lock = DirectoryLock::acquire(lock_directory(directory));
    if (lock) return lock;
    const auto holder = lock_holder(lock_directory(directory));
    if (!holder) return lock;
    return fail(Errc::io, "the run in " + directory.string() + " is in use by process " +
                              std::to_string(*holder) + "; wait for it, or stop it first");
}

Result<RunDirectory> RunDirectory::begin(const fs::path& directory, actors::Purpose purpose) {
    auto held = lock(directory);
    if (!held) return tl::unexpected(held.error());
    if (holds_run(directory))
        return fail(Errc::usage, directory.string() +
                                     " holds an earlier run, which is never overwritten; choose "
                                     "another --run-id");
    sweep_unfinished(directory, any_depth);
    RunDirectory made(directory, std::move(*held));
    if (auto written = made.write_note(std::string(actors::name_of(purpose)), nullptr); !written)
        return tl::unexpected(std::move(written.error()));
    return made;
}

Result<> RunDirectory::write_note(const std::string& purpose, const Failure* failure) const {
    Json note = Json::object();
    note["format"] = "vflbus-launch";
    note["version"] = 1;
    note["purpose"] = purpose;
    if (failure != nullptr) note["failure"] = Json::parse(observe::to_json(*failure));
    return write_file_atomically(note_file(directory_), note.dump(1) + "\n");
}

void RunDirectory::note_end(const Failure& ended) const {
    if (ended.code == Errc::ok) return;
    if (auto noted = write_note(noted_purpose(directory_).value_or("train"), &ended); !noted)
        return;  // what has failed is said anyway
}

Result<RunDirectory> RunDirectory::resume(const fs::path& directory,
                                          const std::function<void(const std::string&)>& say,
                                          Duration patience) {
    auto held = lock(directory);
    if (!held) return tl::unexpected(held.error());
    std::string ending = party_with_process(directory);
    if (!ending.empty())
        say("the processes that an earlier launch of this run has started are still ending; "
            "waiting for them");
    for (const TimePoint until = clock_now() + patience; !ending.empty();) {
        if (clock_now() >= until)
            return fail(Errc::io, "the run in " + directory.string() + " is still in use by " +
                                      ending +
                                      ", which an earlier launch has started; end it, then give "
                                      "the same command again");
        std::this_thread::sleep_for(look_again);
        ending = party_with_process(directory);
    }
    sweep_unfinished(directory, any_depth);
    RunDirectory made(directory, std::move(*held));
    if (noted_failure(directory))
        if (auto noted = made.write_note(noted_purpose(directory).value_or("train"), nullptr);
            !noted)
            return tl::unexpected(std::move(noted.error()));
    return made;
}

void RunDirectory::abandon() noexcept {
    std::error_code ec;
    fs::remove_all(lock_directory(directory_), ec);
    fs::remove(directory_ / "data", ec);  // each of these only when it is empty
    fs::remove(directory_, ec);
    fs::remove(directory_.parent_path(), ec);
}

std::optional<std::string> noted_purpose(const fs::path& directory) {
    const auto text = read_file(note_file(directory));
    if (!text) return std::nullopt;
    const Json note = Json::parse(*text);
    const Json* const purpose = note.find("purpose");
    if (purpose == nullptr || !purpose->is_string()) return std::nullopt;
    return purpose->get<std::string>();
}

std::optional<Failure> noted_failure(const fs::path& directory) {
    const auto text = read_file(note_file(directory));
    return text ? observe::failure_in(*text) : std::nullopt;
}

bool is_held(const fs::path& directory) {
    // a run that was submitted, or whose master was started by hand, has no launch
    return lock_holder(lock_directory(directory)).has_value() ||
           !party_with_process(directory).empty() || is_written_by_node(directory);
}

}  // namespace vflbus::cli
