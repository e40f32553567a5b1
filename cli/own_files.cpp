#include "own_files.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/text.hpp"
#include "data/csv.hpp"
#include "data/synth.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "tasks.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using Columns = std::vector<std::string>;

/// Whole numbers of up to this many different values are classes, more are a quantity.
constexpr std::size_t guessed_classes_max = 20;
constexpr double example_test_fraction = 0.2;

bool has(const Columns& columns, const std::string& name) {
    return std::ranges::find(columns, name) != columns.end();
}

std::string or_nearest(const std::string& name, const Columns& columns) {
    if (const std::string near = nearest(name, columns); !near.empty())
        return "; did you mean " + near + "?";
    Columns shown(columns.begin(),
                  columns.begin() + std::min<std::ptrdiff_t>(8, std::ssize(columns)));
    return "; its columns are " + join_and(shown) + (columns.size() > shown.size() ? ", ..." : "");
}

config::Task to_config(data::Task task) {
    switch (task) {
        case data::Task::linear:
            return config::Task::linear;
        case data::Task::logistic:
            return config::Task::logistic;
        case data::Task::multilabel:
            return config::Task::multilabel;
        case data::Task::softmax:
            return config::Task::softmax;
    }
    return config::Task::logistic;
}

/// What the label column looks like, and in words.
struct Guess {
    data::Task task;
    std::string because;
};

Result<Guess> guess_task(const std::string& file, const std::string& id, const std::string& label,
                         const Columns& columns) {
    data::CsvOptions options;
    options.path = file;
    options.id_column = id;
    options.labels = {label};
    for (const std::string& column : columns)
        if (column != id && column != label) options.exclude.push_back(column);
    const auto table = data::read_csv(options);
    if (!table) return tl::unexpected(table.error());
    const data::Column& column = table->labels.front();
    const std::string of = "label column " + label + " of " + file;
    if (column.kind == data::ColumnKind::text) {
        const std::size_t values = column.dictionary.size();
        if (values == 2) return Guess{data::Task::logistic, "two values"};
        if (values > 50 * guessed_classes_max)
            return fail(Errc::bad_data, of + " has " + std::to_string(values) +
                                            " different texts; a label is a number, or one of a "
                                            "few classes: choose another column, or --task");
        return Guess{data::Task::softmax, std::to_string(values) + " classes"};
    }
    std::set<double> values;
    bool whole = true;
    for (const double value : column.numbers) {
        if (std::isnan(value)) continue;
        whole = whole && value == std::floor(value);
        values.insert(value);
        if (values.size() > guessed_classes_max) break;
    }
    if (values.size() <= 2) return Guess{data::Task::logistic, "two values"};
    if (whole && values.size() <= guessed_classes_max)
        return Guess{data::Task::softmax, std::to_string(values.size()) + " whole numbers"};
    return Guess{data::Task::linear, "many numbers"};
}

void default_test_fraction(config::Config& config) {
    if (!config.stated("data.test_fraction")) config.data.test_fraction = example_test_fraction;
}

}  // namespace

Result<config::Config> configure_files(const LaunchArguments& arguments) {
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
    const auto id_of = [&](std::size_t file) -> std::string {
        if (arguments.id.empty()) return "id";
        return arguments.id.size() == 1 ? arguments.id[0] : arguments.id[file];
    };

    // -- who holds the label ---------------------------------------------------------
    std::vector<Columns> columns(files);
    std::size_t holder = files;
    Columns all;
    for (std::size_t i = 0; i < files; ++i) {
        auto header = data::read_csv_header(arguments.data[i]);
        if (!header) return tl::unexpected(header.error());
        columns[i] = std::move(*header);
        all.insert(all.end(), columns[i].begin(), columns[i].end());
        if (!has(columns[i], id_of(i)))
            return fail(Errc::bad_data, arguments.data[i] + " has no id column " + id_of(i) +
                                            or_nearest(id_of(i), columns[i]) + " Say it with --id");
        const bool holds = std::ranges::all_of(
            arguments.label, [&](const std::string& label) { return has(columns[i], label); });
        if (holds && holder == files) holder = i;
    }
    if (holder == files) {
        for (const std::string& label : arguments.label)
            if (!has(all, label))
                return fail(Errc::bad_data,
                            "no file has a label column " + label + or_nearest(label, all));
        return fail(Errc::bad_data, "no file has all label columns " + join_and(arguments.label) +
                                        "; one party must hold them all");
    }

    // -- the parties -----------------------------------------------------------------
    LoadMore more;
    more.search = false;
    more.defaults = {"bus.rendezvous_timeout=60"};
    auto loaded = load_config(arguments, {}, more);
    if (!loaded) return loaded;
    config::Config& config = *loaded;
    std::uint64_t rank = 0;
    for (std::size_t i = 0; i < files; ++i) {
        const std::string party = i == holder ? "master" : config::member_name(rank++);
        config::PartyConfig& section = config.parties[party];
        section.data = fs::absolute(arguments.data[i]).lexically_normal().string();
        section.id = id_of(i);
        if (i == holder) {
            section.label = arguments.label;
            continue;
        }
        for (const std::string& label : arguments.label) {
            if (!has(columns[i], label)) continue;
            section.exclude.push_back(label);
            note(arguments, arguments.data[i] + " has the label column " + label +
                                " as well; it is left out there");
        }
    }
    if (config.stated("run.world_size") && config.run.world_size != rank)
        return fail(Errc::usage, "run.world_size is " + std::to_string(config.run.world_size) +
                                     " (" + config.origin_of("run.world_size") + "), but " +
                                     std::to_string(files) + " files make " + std::to_string(rank) +
                                     " members and a master");
    config.run.world_size = rank;

    // -- the task --------------------------------------------------------------------
    if (!arguments.task.empty()) {
        const auto task = parse_task(arguments.task);
        if (!task) return tl::unexpected(task.error());
        config.model.task = to_config(*task);
    } else if (!config.stated("model.task")) {
        if (arguments.label.size() > 1) {
            config.model.task = config::Task::multilabel;
        } else {
            const auto guess = guess_task(arguments.data[holder], id_of(holder), arguments.label[0],
                                          columns[holder]);
            if (!guess) return tl::unexpected(guess.error());
            config.model.task = to_config(guess->task);
            note(arguments, "task " + std::string(data::name_of(guess->task)) + ": label column " +
                                arguments.label[0] + " has " + guess->because +
                                "; --task says otherwise");
        }
    }
    default_test_fraction(config);
    if (const auto good = config::check(config); !good) return tl::unexpected(good.error());
    return loaded;
}

Result<config::Config> configure_example(const LaunchArguments& arguments,
                                         const fs::path& directory) {
    LoadMore more;
    more.search = false;
    more.defaults = {"bus.rendezvous_timeout=60"};
    auto loaded = load_config(arguments, {}, more);
    if (!loaded) return loaded;
    config::Config& config = *loaded;
    data::SynthOptions options;
    if (!arguments.task.empty()) {
        const auto task = parse_task(arguments.task);
        if (!task) return tl::unexpected(task.error());
        options.task = *task;
        config.model.task = to_config(*task);
    } else {
        const auto task = parse_task(config::name_of(config.model.task));
        if (!task) return tl::unexpected(task.error());
        options.task = *task;
    }
    const std::uint64_t members =
        arguments.members.value_or(config.run.world_size == 0 ? 2 : config.run.world_size);
    options.members = static_cast<std::uint32_t>(std::min<std::uint64_t>(members, 1'000'000));
    options.seed = config.run.seed;
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
        names.push_back(made->parties[i].name);
    }
    default_test_fraction(config);
    if (const auto good = config::check(config); !good) return tl::unexpected(good.error());
    note(arguments, "no configuration and no --data: made an example of " + join_and(names) +
                        " in " + directory.string());
    return loaded;
}

}  // namespace vflbus::cli
