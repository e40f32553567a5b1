// vflbus completion SHELL: a script that completes commands, flags and their values. It is made
// from the same description as the help, so it cannot say anything else.

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.hpp"
#include "base/text.hpp"
#include "command_text.hpp"
#include "commands.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

std::string words_of_tasks() {
    std::string words;
    for (const std::string_view task : task_names)
        words += (words.empty() ? "" : " ") + std::string(task);
    return words;
}

/// What may stand where the help says VALUE; files and directories are completed by the shell.
const std::map<std::string, std::string, std::less<>>& words_of_values() {
    static const std::map<std::string, std::string, std::less<>> words{
        {"ROLE", "master member arbiter broker serverapp"},
        {"STATUS",
         "pending starting running completed failed stopped finished unknown interrupted ended"},
        {"TASK", words_of_tasks()},
        {"tcp|ipc", "tcp ipc"},
        {"SHELL", "bash zsh fish"},
    };
    return words;
}

bool is_path(const std::string& value) {
    return value == "FILE" || value == "DIR";
}
bool is_run(const std::string& value) {
    return value == "RUN" || value == "OTHER";
}

std::string words_of(std::string_view value) {
    const auto found = words_of_values().find(value);
    return found == words_of_values().end() ? std::string() : found->second;
}

void visit(const CommandText& command, const auto& with) {
    with(command);
    for (const CommandText& below : command.commands) visit(below, with);
}

/// "data synth", empty for the program itself: what follows "vflbus".
std::string words_after_program(const CommandText& command) {
    const std::size_t blank = command.path.find(' ');
    return blank == std::string::npos ? "" : command.path.substr(blank + 1);
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
}

/// The names of its commands and flags.
std::string next_words(const CommandText& command) {
    std::vector<std::string> words;
    for (const CommandText& below : command.commands) words.push_back(below.name);
    for (const OptionText& option : command.options)
        for (const std::string& name : option.names)
            if (!option.argument) words.push_back(name);
    return joined(words);
}

// -- bash ---------------------------------------------------------------------------

/// "--task|--to" of all flags whose value `fits`; of arguments nothing.
template <class Fits>
std::string flags_where(const CommandText& root, Fits fits) {
    std::vector<std::string> names;
    visit(root, [&](const CommandText& command) {
        for (const OptionText& option : command.options)
            if (!option.argument && fits(option.value))
                names.insert(names.end(), option.names.begin(), option.names.end());
    });
    std::ranges::sort(names);
    names.erase(std::ranges::unique(names).begin(), names.end());
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : "|") + name;
    return out;
}

std::string bash_script(const CommandText& root) {
    std::string out =
        "# bash completion for vflbus; `source <(vflbus completion bash)` for this shell\n"
        "_vflbus() {\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
        "    local command=\"\" word\n"
        "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
        "        case \"$command $word\" in\n";
    visit(root, [&](const CommandText& command) {
        for (const CommandText& below : command.commands) {
            const std::string above = words_after_program(command);
            out += "            \"" + above + " " + below.name + "\") command=\"" +
                   words_after_program(below) + "\" ;;\n";
        }
    });
    out +=
        "        esac\n"
        "    done\n"
        "    COMPREPLY=()\n"
        "    case \"$previous\" in\n";
    for (const auto& [value, words] : words_of_values()) {
        const std::string flags =
            flags_where(root, [&](const std::string& of) { return of == value; });
        if (!flags.empty())
            out += "        " + flags + ") COMPREPLY=($(compgen -W \"" + words +
                   "\" -- \"$current\")); return ;;\n";
    }
    const std::string runs = flags_where(root, is_run);
    if (!runs.empty())
        out +=
            "        " + runs +
            ") COMPREPLY=($(compgen -W \"$(ls runs 2>/dev/null)\" -- \"$current\")); return ;;\n";
    out += "        " + flags_where(root, is_path) +
           ") COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
           "    esac\n"
           "    local words=\"\"\n"
           "    case \"$command\" in\n";
    visit(root, [&](const CommandText& command) {
        std::string words = next_words(command);
        for (const OptionText& option : command.options)
            if (option.argument && is_run(option.names[0]))
                words += " $(ls runs 2>/dev/null)";
            else if (option.argument)
                words += " " + words_of(option.names[0]);
        out += "        \"" + words_after_program(command) + "\") words=\"" + words + "\" ;;\n";
    });
    out +=
        "    esac\n"
        "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
        "}\n"
        "complete -o filenames -F _vflbus vflbus\n";
    return out;
}

// -- zsh ----------------------------------------------------------------------------

/// In single quotes, and as _arguments wants it: no colon or bracket of its own.
std::string zsh_text(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\'')
            out += "'\\''";
        else if (c == ':' || c == '[' || c == ']')
            out += std::string("\\") + c;
        else
            out += c;
    }
    return out;
}

std::string zsh_value(const std::string& value) {
    if (value.empty()) return {};
    if (const std::string words = words_of(value); !words.empty())
        return ":" + zsh_text(value) + ":(" + words + ")";
    if (is_path(value)) return ":" + value + ":_files";
    if (is_run(value)) return ":RUN:_files -W runs -/";
    return ":" + zsh_text(value) + ": ";
}

std::string zsh_function_name(const CommandText& command) {
    std::string name = "_" + command.path;
    std::ranges::replace(name, ' ', '_');
    return name;
}

std::string zsh_function(const CommandText& command) {
    std::string out = zsh_function_name(command) + "() {\n";
    if (!command.commands.empty()) {
        out += "    local -a commands=(\n";
        for (const CommandText& below : command.commands)
            out += "        '" + below.name + ":" + zsh_text(below.summary) + "'\n";
        out += "    )\n";
    }
    out += "    _arguments -C \\\n";
    for (const OptionText& option : command.options) {
        if (option.argument) {
            const std::string& name = option.names[0];
            const std::string words = words_of(name);
            out += std::string("        '") + (option.many ? "*" : "") + ":" + name + ":" +
                   (is_run(name)     ? "_files -W runs -/"
                    : !words.empty() ? "(" + words + ")"
                                     : " ") +
                   "' \\\n";
            continue;
        }
        for (const std::string& name : option.names)
            out += "        '*" + name + "[" + zsh_text(option.help) + "]" +
                   zsh_value(option.value) + "' \\\n";
    }
    if (command.commands.empty()) return out + "        && return 0\n}\n";
    out +=
        "        '1:command:->command' '*::argument:->argument'\n"
        "    case $state in\n"
        "        command) _describe command commands ;;\n"
        "        argument)\n"
        "            case $words[1] in\n";
    for (const CommandText& below : command.commands)
        out += "                " + below.name + ") " + zsh_function_name(below) + " ;;\n";
    return out + "            esac ;;\n    esac\n}\n";
}

std::string zsh_script(const CommandText& root) {
    std::string out = "#compdef vflbus\n# zsh completion for vflbus\n";
    visit(root, [&](const CommandText& command) { out += zsh_function(command); });
    return out +
           "if [ \"$funcstack[1]\" = \"_vflbus\" ]; then _vflbus; else compdef _vflbus vflbus; "
           "fi\n";
}

// -- fish ---------------------------------------------------------------------------

std::string fish_text(std::string_view text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("\\'") : std::string(1, c);
    return out + "'";
}

/// When the command line has come to this command, and to none below it.
std::string fish_condition(const CommandText& command) {
    std::string out;
    for (const std::string& word : split(words_after_program(command), ' '))
        if (!word.empty())
            out += (out.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + word);
    std::vector<std::string> names;
    for (const CommandText& below : command.commands) names.push_back(below.name);
    if (!names.empty())
        out += (out.empty() ? "not " : "; and not ") +
               ("__fish_seen_subcommand_from " + joined(names));
    return out;
}

std::string fish_script(const CommandText& root) {
    std::string out = "# fish completion for vflbus\ncomplete -c vflbus -f\n";
    visit(root, [&](const CommandText& command) {
        const std::string when = "complete -c vflbus -n \"" + fish_condition(command) + "\"";
        for (const CommandText& below : command.commands)
            out += when + " -a " + below.name + " -d " + fish_text(below.summary) + "\n";
        for (const OptionText& option : command.options) {
            std::string value;
            if (const std::string words = words_of(option.value); !words.empty())
                value = " -x -a \"" + words + "\"";
            else if (is_run(option.value) || (option.argument && is_run(option.names[0])))
                value = " -x -a \"(ls runs 2>/dev/null)\"";
            else if (is_path(option.value))
                value = " -r -F";
            else if (!option.value.empty())
                value = " -x";
            else if (option.argument)
                value = " -a \"" + words_of(option.names[0]) + "\"";
            std::string names;
            for (const std::string& name : option.names)
                if (name.starts_with("--"))
                    names += " -l " + name.substr(2);
                else if (name.starts_with('-'))
                    names += " -s " + name.substr(1);
            out += when + names + value + " -d " + fish_text(option.help) + "\n";
        }
    });
    return out;
}

}  // namespace

int run(const CompletionArguments& arguments) {
    const CommandText root = command_text();
    const std::map<std::string, std::string (*)(const CommandText&), std::less<>> scripts{
        {"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    const auto script = scripts.find(arguments.shell);
    if (script == scripts.end())
        return report_failure(arguments,
                              {Errc::usage, "there is no completion for " + arguments.shell +
                                                "; there are bash, zsh and fish"});
    print(script->second(root));
    return 0;
}

}  // namespace vflbus::cli
