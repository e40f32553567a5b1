#include "own_files.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string_view>

#include "base/text.hpp"
#include "config/value.hpp"
#include "data/column_rules.hpp"
#include "data/csv_dialect.hpp"
#include "data/number.hpp"
#include "data/source.hpp"
#include "data/synth.hpp"
#include "data/task_guess.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "tasks.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using Columns = std::vector<std::string>;

constexpr double example_test_fraction = 0.2;

bool has(const Columns& columns, const std::string& name) {
    return std::ranges::find(columns, name) != columns.end();
}

bool same_but_for_case(std::string_view a, std::string_view b) {
    const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
    return std::ranges::equal(a, b, {}, low, low);
}

std::string or_nearest(const std::string& name, const Columns& columns) {
    const auto same = std::ranges::find_if(
        columns, [&](const std::string& column) { return same_but_for_case(column, name); });
    if (same != columns.end()) return "; did you mean " + *same + "?";
    if (const std::string near = nearest(name, columns); !near.empty())
        return "; did you mean " + near + "?";
    Columns shown;
    std::ranges::copy_if(columns, std::back_inserter(shown),
                         [](const std::string& column) { return !column.empty(); });
    // lines of words before the header, or a separator that was not recognised
    if (shown.size() == 1)
        return "; its first line names one column only, " + shown[0] +
               ": the names of the columns must come first, and " +
               "--set party.NAME.separator=... says what is between them (NAME is master for the "
               "file with the label, and member-0, member-1, ... for the others in their order)";
    constexpr std::size_t shown_max = 8;
    const bool more = shown.size() > shown_max;
    const bool numbers = std::ranges::all_of(
        shown, [](const std::string& column) { return data::parse_number(column).has_value(); });
    shown.resize(std::min(shown.size(), shown_max));
    const std::string named = join_and(shown) + (more ? ", ..." : "");
    if (numbers)
        return "; its first line has numbers, " + named +
               ", where the names of the columns must be: put a line with them before it";
    return "; its columns are " + named;
}

// -- the files of `launch --data` -----------------------------------------------------

/// One party's file.
struct OwnFile {
    std::string path;
    std::string id;                        ///< the column of its record ids
    std::unique_ptr<data::Source> source;  ///< null while nobody knows whose section opens it

    [[nodiscard]] const Columns& columns() const { return source->columns(); }
};

Result<> check_usage(const LaunchArguments& arguments) {
    if (!arguments.config.empty())
        return fail(Errc::usage,
                    "--data makes a configuration of its own; leave --config out, or put the files "
                    "into it as party.<name>.data");
    const std::size_t files = arguments.data.size();
    if (files < 2)
        return fail(Errc::usage, "--data " + arguments.data[0] +
                                     " is one file only; give one per party, the label holder's "
                                     "and at least one other");
    if (arguments.label.empty())
        return fail(Errc::usage, "--label is missing: which column is to be predicted?");
    if (arguments.id.size() > 1 && arguments.id.size() != files)
        return fail(Errc::usage, "--id was given " + std::to_string(arguments.id.size()) +
                                     " times for " + std::to_string(files) +
                                     " files; give it once, or once per file");
    return {};
}

/// The record ids when --id does not name them: "id", or the one column that all files have.
Result<std::string> common_id(const LaunchArguments& arguments, const std::vector<OwnFile>& files,
                              std::vector<std::string>& notes) {
    constexpr const char* usual = "id";
    const auto everywhere = [&](const std::string& name) {
        return !name.empty() && std::ranges::all_of(files, [&](const OwnFile& file) {
            return has(file.columns(), name) && !file.source->is_counted(name);
        });
    };
    if (everywhere(usual)) return usual;
    Columns common;
    for (const std::string& name : files.front().columns())
        if (everywhere(name) && !has(arguments.label, name)) common.push_back(name);
    if (common.size() == 1) {
        notes.push_back("record ids are in column " + common[0] +
                        ", the only one that all files have; --id says otherwise");
        return common[0];
    }
    if (!common.empty())
        return fail(Errc::bad_data, "no column is called id, and all files have " +
                                        join_and(common) +
                                        "; say with --id which names the records");
    const bool unnamed = std::ranges::all_of(
        files, [](const OwnFile& file) { return data::begins_with_unnamed(file.columns()); });
    if (unnamed) {
        notes.emplace_back(
            "record ids are in the first column of each file, which has no name, as pandas and R "
            "write the names of rows; --id says otherwise");
        return std::string(data::unnamed_id);
    }
    for (const OwnFile& file : files)
        if (!has(file.columns(), usual))
            return fail(Errc::bad_data, file.path + " has no id column id" +
                                            or_nearest(usual, file.columns()) +
                                            " (say it with --id, once per file; --id @row where "
                                            "the rows of all files are in the same order)");
    return usual;
}

double source_timeout(const config::Config& sections, const std::string& party) {
    return section_of(sections, party).source_timeout;
}

/// Opens one file as the section of `party` says that it is written. `timeout`: seconds for a
/// command or query.
Result<std::unique_ptr<data::Source>> open_as(const config::Config& sections,
                                              const std::string& party, const std::string& path,
                                              double timeout) {
    const config::PartyConfig own = section_of(sections, party);
    auto format = data::parse_text_format(own.encoding, own.separator, own.decimal, own.thousands);
    if (!format) return tl::unexpected(std::move(format.error()));
    data::SourceOptions options;
    options.location = path;
    options.format = *format;
    options.timeout = seconds(timeout);
    return data::open_source(options);
}

/// The i-th file is the master's, or that of the member of this place or the one before it: which
/// one is known when the files have been looked at. Until then the least patient of them counts.
double first_timeout(const config::Config& sections, std::size_t i) {
    double least = std::min(source_timeout(sections, "master"),
                            source_timeout(sections, config::member_name(i)));
    if (i > 0) least = std::min(least, source_timeout(sections, config::member_name(i - 1)));
    return least;
}

/// The first look at a file, when nobody knows whose it is: as the master's section says it is
/// written. A command or query that does not answer in time gets more of it as soon as its party is
/// known to have more.
Result<std::unique_ptr<data::Source>> look_at(const config::Config& sections, std::size_t i,
                                              const std::string& path) {
    const double least = first_timeout(sections, i);
    auto source = open_as(sections, "master", path, least);
    if (!source && source.error().code == Errc::io && least < source_timeout(sections, "master"))
        return nullptr;
    return source;
}

/// What --set and the environment say of the sections of parties, of record ids and of rows without
/// id or label. All other keys are left out, as the rules between them need the task, which is
/// guessed of files that are not open yet. What cannot be read is said when the whole configuration
/// is loaded.
config::Config stated_sections(const LaunchArguments& arguments) {
    Common of_parties = arguments;
    std::erase_if(of_parties.sets, [](const std::string& set) {
        const std::string_view key = trim(set);
        return !key.starts_with("party.") && !key.starts_with("data.id=") &&
               !key.starts_with("data.missing_");
    });
    LoadMore more;
    more.search = false;
    auto config = load_config(of_parties, {}, more);
    return config ? std::move(*config) : config::Config{};
}

/// The files of all parties, and which one of them is the label holder's.
struct OwnFiles {
    std::vector<OwnFile> files;
    std::size_t holder = 0;
};

/// The first file that has all label columns, when it is read as the master's section says. Opened
/// files are kept: a command does not run twice where all sections say the same of their texts.
Result<OwnFiles> open_files(const LaunchArguments& arguments, const config::Config& sections,
                            const Columns& labels) {
    OwnFiles own;
    for (std::size_t i = 0; i < arguments.data.size(); ++i) {
        const std::string& path = arguments.data[i];
        auto source = look_at(sections, i, path);
        if (!source) return tl::unexpected(std::move(source.error()));
        own.files.push_back({path, {}, std::move(*source)});
    }
    const auto is_holder = [&](const OwnFile& file) {
        return file.source && std::ranges::all_of(labels, [&](const auto& label) {
                   return has(file.columns(), label);
               });
    };
    auto found = std::ranges::find_if(own.files, is_holder);
    for (OwnFile& file : own.files) {  // nobody has the label: one that was late may have it
        if (found != own.files.end() || file.source) continue;
        auto source = open_as(sections, "master", file.path, source_timeout(sections, "master"));
        if (!source) return tl::unexpected(std::move(source.error()));
        file.source = std::move(*source);
        found = std::ranges::find_if(own.files, is_holder);
    }
    own.holder = static_cast<std::size_t>(found - own.files.begin());
    if (sections.parties.empty()) return own;
    std::uint64_t rank = 0;
    for (std::size_t i = 0; i < own.files.size(); ++i) {
        if (i == own.holder) continue;
        const std::string member = config::member_name(rank++);
        auto source =
            open_as(sections, member, own.files[i].path, source_timeout(sections, member));
        if (!source) return tl::unexpected(std::move(source.error()));
        own.files[i].source = std::move(*source);
    }
    return own;
}

/// Errors: bad_data when no file has all labels.
Result<> check_holder(const OwnFiles& own, const Columns& labels) {
    if (own.holder < own.files.size()) return {};
    Columns all;
    for (const OwnFile& file : own.files)
        all.insert(all.end(), file.columns().begin(), file.columns().end());
    for (const std::string& label : labels)
        if (!has(all, label))
            return fail(Errc::bad_data,
                        "no file has a label column " + label + or_nearest(label, all));
    return fail(Errc::bad_data, "no file has all label columns " + join_and(labels) +
                                    "; one party must hold them all");
}

/// What --label says, where it may be an array as in a configuration: --label '["y", "z"]'.
Columns label_columns(const Columns& said) {
    Columns columns;
    for (const std::string& text : said) {
        const auto literal = config::parse_literal(text);
        const auto* const list =
            literal ? std::get_if<std::vector<config::Raw>>(&literal->value) : nullptr;
        const auto is_text = [](const config::Raw& one) {
            return std::holds_alternative<std::string>(one.value);
        };
        if (list == nullptr || list->empty() || !std::ranges::all_of(*list, is_text)) {
            columns.push_back(text);
            continue;
        }
        for (const config::Raw& one : *list) columns.push_back(std::get<std::string>(one.value));
    }
    return columns;
}

/// In which column of each file the record ids are.
Result<> name_ids(const LaunchArguments& arguments, std::vector<OwnFile>& files,
                  std::vector<std::string>& notes) {
    if (arguments.id.empty()) {
        const auto id = common_id(arguments, files, notes);
        if (!id) return tl::unexpected(id.error());
        for (OwnFile& file : files) file.id = *id;
        return {};
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
        files[i].id = arguments.id.size() == 1 ? arguments.id[0] : arguments.id[i];
        const bool named = files[i].id != data::row_number_id && files[i].id != data::unnamed_id;
        if (named && !has(files[i].columns(), files[i].id))
            return fail(Errc::bad_data, files[i].path + " has no id column " + files[i].id +
                                            or_nearest(files[i].id, files[i].columns()));
    }
    return {};
}

/// Whether one of --set begins with `key`, "=" included.
bool sets(const LaunchArguments& arguments, std::string_view key) {
    return std::ranges::any_of(arguments.sets,
                               [&](const std::string& set) { return trim(set).starts_with(key); });
}

/// Whether somebody says what model.task is, so that nothing has to be guessed.
bool states_task(const LaunchArguments& arguments) {
    const char* const by_environment = std::getenv("VFLBUS_MODEL_TASK");
    return sets(arguments, "model.task=") || (by_environment != nullptr && *by_environment != '\0');
}

/// What decides the task when nothing states it, as a default of this command: all rules between
/// keys are checked against it.
Result<std::vector<std::string>> task_default(const LaunchArguments& arguments,
                                              const config::Config& sections, OwnFile& holder,
                                              std::vector<std::string>& notes) {
    if (states_task(arguments)) return std::vector<std::string>{};
    if (arguments.label.size() > 1) return std::vector<std::string>{"model.task=multilabel"};
    data::TableRequest request;
    request.skip_missing_ids = sections.data.missing_id == config::MissingRows::skip;
    request.skip_missing_labels = sections.data.missing_label == config::MissingRows::skip;
    if (const auto section = sections.parties.find("master"); section != sections.parties.end()) {
        auto rules = data::parse_column_rules(section->second.columns);
        if (!rules) return tl::unexpected(std::move(rules.error()));
        request.columns = std::move(*rules);
    }
    const auto table =
        data::read_label(*holder.source, holder.id, arguments.label[0], std::move(request));
    if (!table) return tl::unexpected(table.error());
    if (sets(arguments, "party.master.exposure=")) {
        notes.emplace_back("task poisson: an exposure is stated; --task says otherwise");
        return std::vector<std::string>{"model.task=poisson"};
    }
    const auto guess = data::guess_task(*table);
    if (!guess) return tl::unexpected(guess.error());
    const std::string task(name_of(guess->task));
    notes.push_back("task " + task + ": label column " + arguments.label[0] + " has " +
                    guess->because + "; --task says otherwise");
    return std::vector<std::string>{"model.task=" + task};
}

/// `--task`, which counts more than --set and the environment.
Result<std::vector<config::Override>> own_flags(const LaunchArguments& arguments) {
    std::vector<config::Override> flags = folds_flag(arguments);
    if (arguments.task.empty()) return flags;
    const auto task = parse_task(arguments.task);
    if (!task) return tl::unexpected(task.error());
    flags.push_back({"model.task=" + arguments.task, "--task"});
    return flags;
}

/// The sections of all parties: the label holder is the master, the others are members in the
/// order of the files.
Result<> name_parties(const LaunchArguments& arguments, const std::vector<OwnFile>& files,
                      std::size_t holder, config::Config& config, std::vector<std::string>& notes) {
    std::uint64_t rank = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const std::string party = i == holder ? "master" : config::member_name(rank++);
        config::PartyConfig& section = config.parties[party];
        section.data = data::absolute_location(files[i].path);
        section.id = files[i].id;
        if (i == holder) {
            section.label = arguments.label;
            continue;
        }
        for (const std::string& label : arguments.label) {
            if (!has(files[i].columns(), label) || files[i].source->is_counted(label)) continue;
            section.exclude.push_back(label);
            notes.push_back(files[i].path + " has the label column " + label +
                            " as well; it is left out there");
        }
    }
    if (config.stated("run.world_size") && config.run.world_size != rank)
        return fail(Errc::usage, "run.world_size is " + std::to_string(config.run.world_size) +
                                     " (" + config.origin_of("run.world_size") + "), but " +
                                     std::to_string(files.size()) + " files make " +
                                     std::to_string(rank) + " members and a master");
    config.run.world_size = rank;
    return {};
}

void default_test_fraction(config::Config& config, std::vector<std::string>& notes) {
    if (config.data.folds > 0 || config.stated("data.test_fraction")) return;
    config.data.test_fraction = example_test_fraction;
    notes.emplace_back("a fifth of the common ids is kept for the test (data.test_fraction)");
}

}  // namespace

std::vector<config::Override> folds_flag(const LaunchArguments& arguments) {
    if (arguments.folds.empty()) return {};
    return {{"data.folds=" + arguments.folds, "--folds"}};
}

Result<config::Config> configure_files(const LaunchArguments& given,
                                       std::vector<std::string>& notes) {
    LaunchArguments arguments = given;
    arguments.label = label_columns(given.label);
    if (auto ok = check_usage(arguments); !ok) return tl::unexpected(ok.error());
    auto flags = own_flags(arguments);
    if (!flags) return tl::unexpected(flags.error());
    const config::Config sections = stated_sections(arguments);
    if (arguments.id.empty() && !sections.data.id.empty()) arguments.id = {sections.data.id};
    auto own = open_files(arguments, sections, arguments.label);
    if (!own) return tl::unexpected(own.error());
    if (auto ok = name_ids(arguments, own->files, notes); !ok) return tl::unexpected(ok.error());
    if (auto ok = check_holder(*own, arguments.label); !ok) return tl::unexpected(ok.error());

    LoadMore more;
    more.search = false;
    more.defaults = {"bus.rendezvous_timeout=60"};
    if (arguments.task.empty()) {
        const auto task = task_default(arguments, sections, own->files[own->holder], notes);
        if (!task) return tl::unexpected(task.error());
        more.defaults.insert(more.defaults.end(), task->begin(), task->end());
    }
    auto config = load_config(arguments, *flags, more);
    if (!config) return config;
    if (auto ok = name_parties(arguments, own->files, own->holder, *config, notes); !ok)
        return tl::unexpected(ok.error());
    default_test_fraction(*config, notes);
    if (const auto good = config::check(*config); !good) return tl::unexpected(good.error());
    return config;
}

Result<config::Config> configure_example(const LaunchArguments& arguments,
                                         std::vector<std::string>& notes) {
    LoadMore more;
    more.search = false;
    more.defaults = {"bus.rendezvous_timeout=60"};
    const auto flags = own_flags(arguments);
    if (!flags) return tl::unexpected(flags.error());
    auto loaded = load_config(arguments, *flags, more);
    if (!loaded) return loaded;
    config::Config& config = *loaded;
    data::SynthOptions options;
    options.task = config.model.task;
    const std::uint64_t members =
        arguments.members.value_or(config.run.world_size == 0 ? 2 : config.run.world_size);
    options.members = static_cast<std::uint32_t>(std::min<std::uint64_t>(members, 1'000'000));
    options.seed = config.run.seed;
    // of one kind there is one, whatever runs use it: the same bytes are written again
    const fs::path directory =
        fs::path(config.output.runs_dir) / "examples" /
        (std::string(name_of(options.task)) + "-" + std::to_string(options.members) + "-" +
         std::to_string(options.seed));
    options.out_dir = directory;
    options.predict_files = true;
    const auto made = data::synthesize(options);
    if (!made) return tl::unexpected(made.error());
    config.run.world_size = made->parties.size() - 1;
    Columns names;
    for (std::size_t i = 0; i < made->parties.size(); ++i) {
        config::PartyConfig& section =
            config.parties[i == 0 ? "master" : config::member_name(i - 1)];
        section.data = fs::absolute(made->parties[i].data).lexically_normal().string();
        section.predict_data =
            fs::absolute(made->parties[i].predict_data).lexically_normal().string();
        section.id = made->id_column;
        if (i == 0) section.label = made->labels;
        if (i == 0) section.exposure = made->exposure;
        names.push_back(made->parties[i].name);
    }
    default_test_fraction(config, notes);
    if (const auto good = config::check(config); !good) return tl::unexpected(good.error());
    notes.insert(notes.begin(), "no configuration and no --data: the tables are an example of " +
                                    join_and(names) + " in " + directory.string());
    return loaded;
}

}  // namespace vflbus::cli
