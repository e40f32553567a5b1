// What can be said on the command line, put together of the groups in arguments/; what is said of a
// line that makes no sense; and help.

#include "arguments.hpp"

#include <algorithm>

#include "arguments/command_line.hpp"
#include "base/errc.hpp"
#include "base/text.hpp"
#include "command_text.hpp"
#include "config/keys.hpp"
#include "output.hpp"

namespace vflbus::cli {

CommandLine::CommandLine() {
    app.require_subcommand(0, 1);
    app.footer(
        "Examples:\n"
        "  vflbus launch --local                     an example of its own, trained over "
        "processes\n"
        "  vflbus launch --local --data bank.csv --data shop.csv --label y --id id\n"
        "  vflbus launch --local --config conf/logistic.toml --set model.epochs=5\n"
        "  vflbus broker                             and, in other shells or on other machines,\n"
        "  vflbus actor --role master --config conf/parties/master.toml\n"
        "  vflbus actor --role member --rank 0 --config conf/parties/member-0.toml\n"
        "\n"
        "Results go to standard output, progress and logs to standard error. Exit codes, files "
        "and\n"
        "environment variables: docs/operating.md. Configuration keys: vflbus config reference.");
    add_launch(*this);
    add_broker(*this);
    add_actor(*this);
    add_check(*this);
    add_psi(*this);
    add_predict(*this);
    add_tune(*this);
    add_features(*this);
    add_train_joined(*this);
    add_runs_and_nodes(*this);
    add_looks(*this);
    add_run(*this);
    add_model(*this);
    add_report(*this);
    add_data(*this);
    add_config_commands(*this);
    add_health(*this);
    add_agent(*this);
    add_prerequisites(*this);
    add_export(*this);
    add_audit(*this);
    add_keys(*this);
    add_allow(*this);
    add_invite(*this);
    add_join(*this);
    add_preflight(*this);
    add_approval(*this);
    add_grant(*this);
    add_completion(*this);
    add_version(*this);
}

namespace {

constexpr int usage = static_cast<int>(ExitCode::usage);

// -- what is wrong with a command line ----------------------------------------------------

/// "vflbus data synth"
std::string path_of(const CLI::App& app) {
    const CLI::App* const above = app.get_parent();
    return (above == nullptr ? "" : path_of(*above) + " ") + app.get_name();
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    return app.get_subcommands(
        [](const CLI::App* command) { return !command->get_group().empty(); });
}

std::vector<std::string> command_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
    return names;
}

/// The innermost command that was named.
const CLI::App& deepest(const CLI::App& app) {
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return *at;
}

/// The key of the configuration that an unknown flag is called like, as people of other systems
/// know it: "model.solver" for --solver, "model.learning_rate" for --lr. Empty: none but keys of
/// single parties.
std::string key_called(std::string flag) {
    flag.erase(0, flag.find_first_not_of('-'));
    flag.resize(std::min(flag.find('='), flag.size()));
    std::ranges::replace(flag, '-', '_');
    if (flag == "lr") flag = "learning_rate";
    for (const config::Section& section : config::sections())
        if (section.name != "party" && config::find_key(section.name, flag) != nullptr)
            return std::string(section.name) + "." + flag;
    return {};
}

/// "; did you mean --rank?", or where to read on.
std::string hint(const CLI::App& app, const std::string& unknown) {
    if (unknown.starts_with("--") && app.get_option_no_throw("--set") != nullptr)
        if (const std::string key = key_called(unknown); !key.empty())
            return "; did you mean --set " + key + "=VALUE?";
    std::vector<std::string> known;
    if (unknown.starts_with('-')) {
        for (const CLI::Option* option : app.get_options())
            if (!option->get_group().empty())
                for (const std::string& name : option->get_lnames()) known.push_back(name);
    } else {
        known = command_names(app);
    }
    const std::size_t name = std::min(unknown.find_first_not_of('-'), unknown.size());
    const std::string near = nearest(std::string_view(unknown).substr(name), known);
    if (!near.empty())
        return "; did you mean " + (unknown.starts_with('-') ? "--" + near : near) + "?";
    return "; see " + path_of(app) + " --help";
}

std::string first_line(std::string text) {
    text.resize(std::min(text.size(), text.find('\n')));
    return text;
}

int wrong(const std::string& sentence) {
    error_line(sentence);
    return usage;
}

/// What CLI11 could not make sense of.
int explain(const CLI::App& app, const CLI::ParseError& failure) {
    const CLI::App& at = deepest(app);
    const std::vector<std::string> names = command_names(at);
    const std::vector<std::string> left = app.remaining(true);
    // a word that is no command comes as one too few
    if (!left.empty())
        return wrong(
            (names.empty() || left[0].starts_with('-')
                 ? "unknown argument " + left[0]
                 : path_of(at) + " has no command " + left[0] + "; there are " + join_and(names)) +
            hint(at, left[0]));
    if (!names.empty() && dynamic_cast<const CLI::RequiredError*>(&failure) != nullptr)
        return wrong(path_of(at) + " needs one of " + join_and(names) + "; see " + path_of(at) +
                     " --help");
    return wrong(first_line(failure.what()) + hint(at, {}));
}

// -- help -------------------------------------------------------------------------------

void print_help(const CLI::App& app) {
    const CLI::App* const above = app.get_parent();
    print(app.help(above == nullptr ? "" : path_of(*above)));
}

/// `vflbus help run show`: the help of that command.
Command help_on(const CLI::App& app, std::vector<std::string> path) {
    const CLI::App* at = &app;
    for (const std::string& name : path) {
        const auto commands = commands_of(*at);
        const auto found = std::ranges::find(
            commands, name, [](const CLI::App* command) { return command->get_name(); });
        if (found == commands.end())
            return Exit{wrong(path_of(*at) + " has no command " + name + hint(*at, name))};
        at = *found;
    }
    print_help(*at);
    return Exit{0};
}

/// The commands that `vflbus help ...` or `vflbus ... help` asks about; none when it does not. A
/// "help" that follows a flag may be its value.
std::optional<std::vector<std::string>> asked_for_help(int argc, const char* const* argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    if (words.empty()) return std::nullopt;
    const auto is_word = [](const std::string& word) { return !word.starts_with('-'); };
    if (!std::ranges::all_of(words, is_word)) return std::nullopt;
    if (words.front() == "help") {
        words.erase(words.begin());
        return words;
    }
    if (words.back() != "help") return std::nullopt;
    words.pop_back();
    return words;
}

OptionText text_of(const CLI::Option& option) {
    OptionText text;
    text.argument = option.get_positional() && option.get_lnames().empty();
    for (const std::string& name : option.get_snames()) text.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) text.names.push_back("--" + name);
    if (text.argument) text.names.push_back(option.get_name());
    if (option.get_items_expected_max() > 0 && !text.argument) text.value = option.get_type_name();
    text.help = option.get_description();
    text.required = option.get_required();
    text.many = text.argument && option.get_items_expected_max() > 1;
    return text;
}

CommandText text_of(const CLI::App& app) {
    CommandText text;
    text.name = app.get_name();
    text.path = path_of(app);
    text.summary = app.get_description();
    text.footer = app.get_footer();
    for (const CLI::Option* option : app.get_options())
        if (!option->get_group().empty()) text.options.push_back(text_of(*option));
    for (const CLI::App* command : commands_of(app)) text.commands.push_back(text_of(*command));
    return text;
}

}  // namespace

std::vector<std::string> examples_in(const std::string& footer) {
    std::vector<std::string> examples;
    bool begun = false;
    for (const std::string& line : split(footer, '\n')) {
        if (line == "Example:" || line == "Examples:") {
            begun = true;
        } else if (begun && line.starts_with("  ")) {
            const std::string command(trim(line));
            examples.push_back(command.substr(0, command.find("    ")));
        } else {
            begun = false;
        }
    }
    return examples;
}

CommandText command_text() {
    return text_of(CommandLine().app);
}

Command parse(int argc, const char* const* argv) {
    CommandLine line;
    if (const auto path = asked_for_help(argc, argv)) return help_on(line.app, *path);
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        print_help(deepest(line.app));
        return Exit{0};
    } catch (const CLI::ParseError& failure) {
        return Exit{explain(line.app, failure)};
    }
    if (line.version) return line.version_arguments;
    if (line.any) return line.chosen;
    print_help(line.app);
    return Exit{0};
}

}  // namespace vflbus::cli
