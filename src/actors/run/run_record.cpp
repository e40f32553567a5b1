#include "actors/run/run_record.hpp"

#include <utility>

#include "actors/hex.hpp"
#include "base/json.hpp"

namespace vflbus::actors {
namespace {

constexpr std::string_view format_name = "vflbus-run";
constexpr int record_version = 1;

}  // namespace

std::string to_json(const RunRecord& record) {
    Json out;
    out["format"] = format_name;
    out["version"] = record_version;
    out["run_id"] = record.run.hex();
    out["owner"] = record.owner;
    out["term"] = record.term;
    out["phase"] = record.phase == RunRecord::Phase::finished ? "finished" : "running";
    out["members"] = record.members;
    Json commits = Json::array();
    for (const RecordedCommit& commit : record.commits) {
        Json digests = Json::object();
        for (const auto& [party, digest] : commit.digests) digests[party] = to_hex(digest);
        commits.push_back({{"step", commit.step}, {"digests", std::move(digests)}});
    }
    out["commits"] = std::move(commits);
    out["restarts"] = Json::object();
    for (const auto& [party, count] : record.restarts) out["restarts"][party] = count;
    out["agreed"] = record.agreed;
    return out.dump(1) + "\n";
}

Result<RunRecord> parse_run_record(std::string_view text, std::string_view path) {
    const auto damaged = [&](const std::string& why) {
        return fail(Errc::state_lost, std::string(path) + " is damaged: " + why);
    };
    const Json in = Json::parse(text);
    if (in.is_discarded() || !in.is_object()) return damaged("it is not a JSON object");
    try {
        if (in.at("format") != format_name) return damaged("it is no record of a run");
        if (in.at("version") != record_version)
            return damaged("it has another version; use the vflbus that wrote it");
        RunRecord record;
        const auto run = parse_run_id(in.at("run_id").get<std::string>());
        if (!run) return damaged(run.error().sentence);
        record.run = *run;
        record.owner = in.at("owner").get<std::string>();
        record.term = in.at("term").get<std::uint32_t>();
        if (record.term == 0) return damaged("its term is 0");
        record.phase =
            in.at("phase") == "finished" ? RunRecord::Phase::finished : RunRecord::Phase::running;
        record.members = in.at("members").get<std::vector<std::string>>();
        for (const Json& commit : in.at("commits")) {
            RecordedCommit out;
            out.step = commit.at("step").get<std::uint64_t>();
            for (const auto& [party, digest] : commit.at("digests").items())
                if (!from_hex(digest.get<std::string>(), out.digests[party]))
                    return damaged("the digest of " + party + " is none");
            record.commits.push_back(std::move(out));
        }
        for (const auto& [party, count] : in.at("restarts").items())
            record.restarts[party] = count.get<std::uint64_t>();
        record.agreed = in.at("agreed").get<std::string>();
        return record;
    } catch (const JsonError& e) {
        return damaged(e.what());
    }
}

std::filesystem::path run_record_path(const std::filesystem::path& runs_dir, const RunId& run) {
    return runs_dir / run.hex() / "run.json";
}

Result<RunRecord> read_run_record(Env& env, const std::filesystem::path& runs_dir,
                                  const RunId& run) {
    const std::filesystem::path path = run_record_path(runs_dir, run);
    if (!env.exists(path))
        return fail(Errc::state_lost, "there is no training run " + run.short_hex() + " in " +
                                          runs_dir.string() + " (" + path.string() +
                                          " is missing): see `vflbus runs`, or set "
                                          "output.runs_dir");
    const auto text = env.read_file(path);
    if (!text) return tl::unexpected(text.error());
    auto record = parse_run_record(*text, path.string());
    if (record && record->run != run)
        return fail(Errc::state_lost, path.string() + " is of run " + record->run.short_hex());
    return record;
}

Result<> write_run_record(Env& env, const std::filesystem::path& runs_dir,
                          const RunRecord& record) {
    return env.write_file(run_record_path(runs_dir, record.run), to_json(record));
}

}  // namespace vflbus::actors
