#include "trained_model.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/files.hpp"
#include "base/json.hpp"
#include "base/location.hpp"
#include "base/text.hpp"
#include "config/agreed.hpp"
#include "data/source.hpp"
#include "local_runs.hpp"
#include "output.hpp"
#include "resume.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using Columns = std::vector<std::string>;

constexpr std::size_t short_digits = 8;

std::optional<fs::path> any_part(const fs::path& directory) {
    std::error_code ec;
    const fs::path of_master = directory / "master" / "model.json";
    if (fs::exists(of_master, ec)) return of_master;
    for (const fs::path& entry : entries_of(directory))
        if (fs::exists(entry / "model.json", ec)) return entry / "model.json";
    return std::nullopt;
}

tl::unexpected<Failure> no_model(const std::string& text, const std::string& why) {
    return fail(Errc::io, "--model " + text + ": " + why +
                              "; name a run that completed (`vflbus runs --local` lists them) or "
                              "the directory of its model");
}

/// Where the parts of the run in `directory` are: there, or where `--out` has put them.
std::optional<fs::path> parts_of_run(const fs::path& directory) {
    if (any_part(directory)) return directory;
    const auto text = read_file(directory / "report.json");
    if (!text) return std::nullopt;
    const auto report = observe::from_json(*text);
    if (report && !report->model_dir.empty() && any_part(report->model_dir))
        return fs::path(report->model_dir);
    return std::nullopt;
}

Result<TrainedModel> read_model(const fs::path& parts, fs::path run_dir) {
    const fs::path part = *any_part(parts);
    const auto text = read_file(part);
    if (!text) return tl::unexpected(text.error());
    auto head = actors::parse_model_head(*text, part.string());
    if (!head) return tl::unexpected(std::move(head.error()));
    return TrainedModel{std::move(*head), fs::absolute(parts).lexically_normal(),
                        std::move(run_dir)};
}

Result<fs::path> runs_directory(const Common& common) {
    auto config = load_config(common);
    if (!config) {
        // several label columns are wrong until the task is known, which only the model says
        LoadMore more;
        more.defaults = {"model.task=multilabel"};
        auto again = load_config(common, {}, more);
        if (!again) return tl::unexpected(config.error());
        config = std::move(again);
    }
    return fs::path(config->output.runs_dir);
}

// -- files of rows ------------------------------------------------------------------------

/// What a party's rows must have.
struct Wanted {
    std::string party;
    Columns columns;
};

Result<Wanted> wanted_by(const config::Config& config, const TrainedModel& model,
                         const std::string& party) {
    Wanted wanted{party, {}};
    const auto section = config.parties.find(party);
    const std::string id = !config.data.id.empty()           ? config.data.id
                           : section != config.parties.end() ? section->second.id
                                                             : "id";
    if (id != data::row_number_id && id != data::unnamed_id) wanted.columns.push_back(id);
    const fs::path path = model.parts / party / "model.json";
    const auto text = read_file(path);
    if (!text) return fail(Errc::io, party + " has no part of the model: " + text.error().sentence);
    const Json part = Json::parse(*text);
    // a network keeps what it has learned below a key of its own (docs/networks.md)
    const Json* const content = part.find("content");
    const Json* const columns = (content != nullptr ? *content : part).find("columns");
    if (columns == nullptr || !columns->is_array()) return wanted;
    for (std::size_t i = 0; i < columns->size(); ++i) {
        // no column of a table: which records the party has
        const Json* const kind = (*columns)[i].find("kind");
        if (kind != nullptr && kind->is_string() && kind->get<std::string>() == "presence")
            continue;
        if (const Json* name = (*columns)[i].find("name"); name != nullptr && name->is_string())
            wanted.columns.push_back(name->get<std::string>());
    }
    return wanted;
}

/// A file of rows; its columns are not looked at where that would use up what is read.
struct Rows {
    std::string location;
    bool known = false;
    Columns columns;

    [[nodiscard]] Columns missing(const Wanted& wanted) const {
        Columns out;
        if (!known) return out;
        for (const std::string& name : wanted.columns)
            if (std::ranges::find(columns, name) == columns.end()) out.push_back(name);
        return out;
    }
};

Result<Rows> rows_at(const std::string& location) {
    // what can be read once, or costs a command each time, is not opened just to look at its
    // columns
    const std::string absolute = data::absolute_location(location);
    if (is_pathless(absolute) || absolute.starts_with(sqlite_scheme))
        return Rows{absolute, false, {}};
    std::error_code ec;
    if (location.find_first_of(":*?[") == std::string::npos && !fs::exists(location, ec))
        return fail(Errc::io, "--data " + location + ": there is no such file");
    const auto source = data::open_source({location});
    if (!source) return tl::unexpected(source.error());
    return Rows{absolute, true, (*source)->columns()};
}

/// For each party the file that it takes, so that all fit; as many as possible stay in order.
std::optional<std::vector<std::size_t>> match(const std::vector<Wanted>& parties,
                                              const std::vector<Rows>& files) {
    constexpr auto nobody = static_cast<std::size_t>(-1);
    std::vector<std::size_t> taken_by(files.size(), nobody);
    for (std::size_t p = 0; p < parties.size(); ++p) {
        std::vector<char> tried(files.size(), 0);
        // a path of parties that pass files on to one another
        const std::function<bool(std::size_t)> place = [&](std::size_t party) {
            for (std::size_t k = 0; k < files.size(); ++k) {
                const std::size_t f = (party + k) % files.size();
                if (tried[f] != 0 || !files[f].missing(parties[party]).empty()) continue;
                tried[f] = 1;
                if (taken_by[f] != nobody && !place(taken_by[f])) continue;
                taken_by[f] = party;
                return true;
            }
            return false;
        };
        if (!place(p)) return std::nullopt;
    }
    std::vector<std::size_t> file_of(parties.size());
    for (std::size_t f = 0; f < files.size(); ++f) file_of[taken_by[f]] = f;
    return file_of;
}

tl::unexpected<Failure> no_match(const std::vector<Wanted>& parties,
                                 const std::vector<Rows>& files) {
    for (std::size_t p = 0; p < parties.size(); ++p) {
        Columns nearest = files[p].missing(parties[p]);
        for (const Rows& file : files)
            if (Columns other = file.missing(parties[p]); other.size() < nearest.size())
                nearest = std::move(other);
        if (nearest.empty()) continue;
        constexpr std::size_t columns_named_max = 8;
        const std::size_t all = nearest.size();
        nearest.resize(std::min(all, columns_named_max));
        return fail(Errc::bad_data, "no --data file has all columns of " + parties[p].party +
                                        "'s part of the model; the one that comes nearest lacks " +
                                        join_and(nearest) +
                                        (all > columns_named_max ? ", ..." : ""));
    }
    return fail(Errc::bad_data,
                "two parties' columns are in the same --data file only; give one "
                "file per party");
}

bool has_rows(const config::Config& config) {
    return !config.parties.empty() && std::ranges::all_of(config.parties, [](const auto& party) {
        return !party.second.predict_data.empty();
    });
}

}  // namespace

std::string typed_location(const std::string& location) {
    std::error_code ec;
    if (!fs::exists(location, ec)) return shell_word(location);
    const fs::path near = fs::proximate(location, ec);
    const bool below = !ec && !near.empty() && *near.begin() != "..";
    return shell_word(below ? near.string() : location);
}

Result<TrainedModel> find_model(const fs::path& runs_dir, const std::string& digits) {
    const auto run = local_run(runs_dir, digits);
    if (!run) {
        if (run.error().code == Errc::usage && digits.find_first_of("/.") == std::string::npos)
            return tl::unexpected(run.error());
        return no_model(digits,
                        "there is neither such a directory nor such a run in " + runs_dir.string());
    }
    const auto parts = parts_of_run(run->directory);
    if (!parts)
        return no_model(digits, "run " + run->run.short_hex() + " (" +
                                    (run->purpose.empty() ? "" : run->purpose + ", ") +
                                    run->status + ") holds no model");
    return read_model(*parts, run->directory);
}

Result<TrainedModel> find_model(const Common& common, const std::string& text) {
    std::error_code ec;
    if (!fs::is_directory(text, ec)) {
        const auto runs_dir = runs_directory(common);
        if (!runs_dir) return tl::unexpected(runs_dir.error());
        return find_model(*runs_dir, text);
    }
    const auto parts = parts_of_run(text);
    if (!parts) return no_model(text, "no party has a model.json there");
    auto model = read_model(*parts, {});
    if (!model) return model;
    // the run may be this directory, or lie among the runs while --out has put its parts here
    if (fs::exists(fs::path(text) / "vflbus.toml", ec))
        model->run_dir = text;
    else if (const auto runs_dir = runs_directory(common);
             runs_dir && fs::exists(*runs_dir / model->head.run.hex(), ec))
        model->run_dir = *runs_dir / model->head.run.hex();
    return model;
}

fs::path saved_configuration(const TrainedModel& model) {
    std::error_code ec;
    fs::path saved = model.run_dir / "vflbus.toml";
    return !model.run_dir.empty() && fs::exists(saved, ec) ? saved : fs::path();
}

std::optional<config::AgreedHalf> agreed_of(const TrainedModel& model) {
    for (const fs::path& place : {model.run_dir, model.parts}) {
        if (place.empty()) continue;
        const auto text = read_file(place / "agreed.txt");
        if (!text) continue;
        auto agreed = config::parse_canonical(*text);
        if (agreed && config::agreed_hash(*agreed) == model.head.agreed) return std::move(*agreed);
    }
    return std::nullopt;
}

Result<> take_agreed(config::Config& config, const TrainedModel& model) {
    if (const auto agreed = agreed_of(model)) return config::take_unsaid(config, *agreed);
    if (config.run.world_size == 0) config.run.world_size = model.head.world_size;
    return {};
}

Result<> take_rows(config::Config& config, const TrainedModel& model,
                   const std::vector<std::string>& files, bool all_parties) {
    Columns names{"master"};
    if (all_parties)
        for (std::uint64_t rank = 0; rank < model.head.world_size; ++rank)
            names.push_back(config::member_name(rank));
    if (files.size() != names.size()) {
        if (!all_parties)
            return fail(Errc::usage,
                        "--data was given " + std::to_string(files.size()) +
                            " times; a master on its own gives its own rows, and each member has "
                            "predict_data in its section: with --local or --threads this process "
                            "is all parties, and takes a file of each");
        return fail(Errc::usage,
                    "--data was given " +
                        (files.size() == 1 ? "once" : std::to_string(files.size()) + " times") +
                        "; give it once for each of " + join_and(names));
    }
    std::vector<Wanted> parties;
    std::vector<Rows> rows;
    for (std::size_t i = 0; i < names.size(); ++i) {
        auto wanted = wanted_by(config, model, names[i]);
        if (!wanted) return tl::unexpected(std::move(wanted.error()));
        parties.push_back(std::move(*wanted));
        auto file = rows_at(files[i]);
        if (!file) return tl::unexpected(std::move(file.error()));
        rows.push_back(std::move(*file));
    }
    const auto file_of = match(parties, rows);
    if (!file_of) return no_match(parties, rows);
    for (std::size_t i = 0; i < names.size(); ++i)
        config.parties[names[i]].predict_data = rows[(*file_of)[i]].location;
    return {};
}

std::string predict_command(const config::Config& config, const fs::path& run_dir) {
    std::error_code ec;
    const std::string name = run_dir.filename().string();
    const bool here = fs::equivalent(run_dir, fs::path("runs") / name, ec);
    std::string command = program() + " predict --local --model " +
                          (here ? name.substr(0, short_digits) : typed_location(run_dir.string()));
    if (has_rows(config)) return command;
    Columns names{"master"};
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        names.push_back(config::member_name(rank));
    for (const std::string& party : names) {
        const auto section = config.parties.find(party);
        command +=
            " --data " +
            (section == config.parties.end() ? "FILE" : typed_location(section->second.data));
    }
    return command;
}

}  // namespace vflbus::cli
