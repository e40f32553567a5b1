#include "submitted.hpp"

#include <algorithm>
#include <system_error>

#include "base/files.hpp"
#include "base/json.hpp"
#include "bus/core/share.hpp"

namespace vflbus::cli {
namespace {

constexpr std::string_view format_name = "vflbus-submitted";
constexpr int format_version = 1;

}  // namespace

Result<> check_room(const std::deque<Submitted>& queue, const std::string& by,
                    std::uint64_t places) {
    const auto waiting = [](std::size_t runs) {
        return std::to_string(runs) + (runs == 1 ? " run" : " runs");
    };
    const std::size_t all = queue.size();
    if (all >= places)
        return fail(Errc::too_many, waiting(all) + (all == 1 ? " waits" : " wait") +
                                        " already (bus.submitted_max); submit it again later");
    const auto own = static_cast<std::size_t>(
        std::ranges::count(queue, by, [](const auto& run) { return run.by; }));
    if (by.empty() || bus::may_take_one_more(own, places - all - 1)) return {};
    return fail(Errc::too_many, waiting(own) + " of " + by + (own == 1 ? " waits" : " wait") +
                                    " already, and the other places (bus.submitted_max) are for "
                                    "others; submit it again later");
}

Result<std::vector<Submitted>> SubmittedFile::load() const {
    std::error_code ec;
    if (!std::filesystem::exists(path_, ec)) return std::vector<Submitted>{};
    const auto text = read_file(path_);
    if (!text) return tl::unexpected(text.error());
    const auto damaged = [this](const std::string& why) {
        return fail(Errc::bad_data, path_.string() + ", the runs that were submitted, " + why +
                                        "; remove it to begin without them");
    };
    const Json in = Json::parse(*text);
    if (!in.is_object()) return damaged("is no JSON object");
    try {
        if (in.at("format") != format_name || in.at("version") != format_version)
            return damaged("was written by another version");
        std::vector<Submitted> runs;
        for (const Json& entry : in.at("runs")) {
            const auto run = parse_run_id(entry.at("run_id").get<std::string>());
            if (!run) return damaged("is damaged: " + run.error().sentence);
            Submitted submitted{*run, entry.at("label").get<std::string>(),
                                entry.at("begun").get<bool>()};
            submitted.restarts.restore(entry.at("restarts").get<std::uint64_t>(),
                                       entry.at("commit").get<std::uint64_t>());
            submitted.by = entry.value("by", std::string());
            submitted.model = entry.value("model", std::string());
            runs.push_back(std::move(submitted));
        }
        return runs;
    } catch (const JsonError& wrong) {
        return damaged(std::string("is damaged: ") + wrong.what());
    }
}

Result<> SubmittedFile::store(const std::vector<const Submitted*>& runs) const {
    Json all = Json::array();
    for (const Submitted* const run : runs) {
        Json entry{{"run_id", run->run.hex()},
                   {"label", run->label},
                   {"by", run->by},
                   {"begun", run->begun},
                   {"restarts", run->restarts.count()},
                   {"commit", run->restarts.progress()}};
        if (!run->model.empty()) entry["model"] = run->model;
        all.push_back(std::move(entry));
    }
    Json out;
    out["format"] = format_name;
    out["version"] = format_version;
    out["runs"] = std::move(all);
    return write_file_atomically(path_, out.dump(1) + "\n");
}

}  // namespace vflbus::cli
