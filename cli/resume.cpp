#include "resume.hpp"

#include <algorithm>
#include <cstdlib>

#include "actors/env.hpp"
#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/agreed.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t id_digits = 32;
constexpr std::size_t named_max = 4;  // of those that some digits could mean

bool is_hex(std::string_view text) {
    return std::ranges::all_of(
        text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<RunId> find_run(const fs::path& runs_dir, std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (text.empty() || text.size() > id_digits || !is_hex(text))
        return fail(Errc::usage, "--resume " + text +
                                     " is no run; say its 32 hexadecimal digits, or the first of "
                                     "them");
    std::vector<std::string> trainings;
    std::vector<std::string> others;  // checks, predictions, and what never began
    std::error_code ec;
    for (const fs::path& entry : entries_of(runs_dir)) {
        const std::string name = entry.filename().string();
        if (name.size() != id_digits || !is_hex(name) || !name.starts_with(text)) continue;
        const bool training = fs::exists(entry / "run.json", ec);
        (training ? trainings : others).push_back(name);
    }
    if (trainings.empty() && others.size() == 1) trainings = others;
    if (trainings.empty())
        return fail(Errc::usage, "there is no run " + text + " in " + runs_dir.string() +
                                     "; if it is elsewhere, say where with "
                                     "--set output.runs_dir=DIR");
    if (trainings.size() == 1) return parse_run_id(trainings.front());
    std::ranges::sort(trainings);
    const std::size_t more = trainings.size() - std::min(trainings.size(), named_max);
    trainings.resize(trainings.size() - more);
    return fail(Errc::usage, "--resume " + text + " may be " + join_and(trainings) +
                                 (more == 0 ? "" : " (and " + std::to_string(more) + " more)") +
                                 ": say more digits");
}

/// The report of a run that is over and has left nothing that its parties could still need.
Result<std::optional<observe::RunReport>> completed(const fs::path& run_dir,
                                                    const actors::RunRecord& record) {
    if (record.phase != actors::RunRecord::Phase::finished) return std::nullopt;
    for (const fs::path& file : entries_of(run_dir / record.owner / "state"))
        if (file.filename().string().starts_with("commit-")) return std::nullopt;
    const auto text = read_file(run_dir / "report.json");
    if (!text) return tl::unexpected(text.error());
    auto report = observe::from_json(*text);
    if (!report) return tl::unexpected(report.error());
    return std::move(*report);
}

/// A run that is over cannot be trained otherwise: whoever says another key wants another run.
Result<> is_that_of(const config::Config& config, const actors::RunRecord& record) {
    if (!config.has_agreed_half()) return {};
    const auto trained = config::parse_canonical(record.agreed);
    if (!trained) return tl::unexpected(trained.error());
    const auto differing = config::differing_keys(config, *trained, "that run");
    if (differing.empty()) return {};
    return fail(Errc::config_differs,
                "run " + record.run.short_hex() + " is completed, with another configuration: " +
                    join_and(differing) + "; leave --resume out for a new run");
}

}  // namespace

Result<Resumed> find_resumed(const Common& common, const std::string& text,
                             const std::vector<config::Override>& flags, const LoadMore& more) {
    auto config = load_config(common, flags, more);
    if (!config) return tl::unexpected(config.error());
    const fs::path runs_dir = config->output.runs_dir;
    const auto run = find_run(runs_dir, text);
    if (!run) return tl::unexpected(run.error());
    Resumed resumed{*run, runs_dir / run->hex(), {}, {}};

    const auto env = actors::make_file_env();
    const auto record = actors::read_run_record(*env, runs_dir, *run);
    if (!record) return tl::unexpected(record.error());
    const fs::path saved = resumed.run_dir / "vflbus.toml";
    std::error_code ec;
    if (common.config.empty() && std::getenv("VFLBUS_CONFIG") == nullptr && fs::exists(saved, ec)) {
        Common with_saved = common;
        with_saved.config = saved.string();
        std::vector<config::Override> all = flags;
        all.push_back({"output.runs_dir=" + fs::absolute(runs_dir).string(), "--resume"});
        config = load_config(with_saved, all, more);
        if (!config) return tl::unexpected(config.error());
    }
    auto report = completed(resumed.run_dir, *record);
    if (!report) return tl::unexpected(report.error());
    if (*report)
        if (const auto same = is_that_of(*config, *record); !same)
            return tl::unexpected(same.error());
    resumed.completed = std::move(*report);
    resumed.config = std::move(*config);
    return resumed;
}

bool can_resume(const fs::path& runs_dir, const RunId& run) {
    std::error_code ec;
    return fs::exists(actors::run_record_path(runs_dir, run), ec);
}

std::uint64_t last_commit(const fs::path& runs_dir, const RunId& run) {
    const auto env = actors::make_file_env();
    const auto record = actors::read_run_record(*env, runs_dir, run);
    return record && !record->commits.empty() ? record->commits.back().step : 0;
}

std::string shell_word(const std::string& word) {
    const auto plain = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("%+,-./:=@_").find(c) != std::string_view::npos;
    };
    if (!word.empty() && std::ranges::all_of(word, plain)) return word;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

std::string resume_command(std::string_view command, const config::Config& config, const RunId& run,
                           const std::string& out) {
    std::string text = std::string(command) + " --resume " + run.hex();
    std::error_code ec;
    if (!fs::equivalent(config.output.runs_dir, "runs", ec))
        text +=
            " --set output.runs_dir=" + shell_word(fs::absolute(config.output.runs_dir).string());
    if (!out.empty()) text += " --out " + shell_word(fs::absolute(out).string());
    return text;
}

std::string settings_again(const Common& common, const fs::path& run_dir) {
    std::string text;
    std::error_code ec;
    if (!common.config.empty() && !fs::equivalent(common.config, run_dir / "vflbus.toml", ec))
        text += " --config " + shell_word(fs::absolute(common.config).string());
    for (const std::string& set : common.sets)
        if (!set.starts_with("output.runs_dir=")) text += " --set " + shell_word(set);
    if (!common.certificates.empty())
        text += " --certificates " + shell_word(fs::absolute(common.certificates).string());
    return text;
}

}  // namespace vflbus::cli
