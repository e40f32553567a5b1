// vflbus manual: the pages of `man vflbus`, made from the same description as the help.

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/files.hpp"
#include "base/text.hpp"
#include "command_text.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "version.hpp"

namespace vflbus::cli {
namespace {

/// Text as roff takes it: no request at the beginning of a line, dashes that can be copied.
std::string roff(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
    }
    if (out.starts_with('.') || out.starts_with('\'')) out.insert(0, "\\&");
    return out;
}

std::string upper(std::string text) {
    for (char& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
}

/// "vflbus-run", as `man vflbus-run` finds it.
std::string page_name(const CommandText& command) {
    std::string name = command.path;
    std::ranges::replace(name, ' ', '-');
    return name;
}

std::string synopsis(const CommandText& command) {
    std::string out = ".B " + roff(command.path) + "\n";
    if (!command.commands.empty()) out += ".I COMMAND\n";
    out += "[\\fIOPTIONS\\fR]\n";
    for (const OptionText& option : command.options)
        if (option.argument) out += ".I " + roff(option.names[0]) + "\n";
    return out + ".br\n";
}

std::string options(const CommandText& command) {
    std::string out;
    for (const OptionText& option : command.options) {
        std::string names;
        for (const std::string& name : option.names)
            names += (names.empty() ? "" : ", ") + ("\\fB" + roff(name) + "\\fR");
        if (!option.value.empty()) names += " \\fI" + roff(option.value) + "\\fR";
        out += ".TP\n" + names + "\n" + roff(option.help) + (option.required ? " (required)" : "") +
               "\n";
    }
    return out;
}

/// Remarks as a paragraph, examples as they are typed.
std::string footer(const std::string& text) {
    std::string out;
    bool examples = false;
    for (const std::string& line : split(text, '\n')) {
        if (line == "Example:" || line == "Examples:") {
            out += ".PP\n" + line + "\n.PP\n.nf\n";
            examples = true;
        } else if (examples && line.empty()) {
            out += ".fi\n.PP\n";
            examples = false;
        } else {
            out += roff(line) + "\n";
        }
    }
    return examples ? out + ".fi\n" : out;
}

void append_below(std::string& out, const CommandText& command) {
    for (const CommandText& below : command.commands) {
        out += ".SS " + roff(below.path) + "\n" + roff(below.summary) + "\n" + options(below) +
               footer(below.footer);
        append_below(out, below);
    }
}

/// The page of a command, with those below it.
std::string page(const CommandText& command) {
    const std::string name = page_name(command);
    std::string out = ".TH " + upper(name) + " 1 \"\" \"vflbus " + std::string(version_text) +
                      "\" \"vflbus\"\n.SH NAME\n" + roff(name) + " \\- " + roff(command.summary) +
                      "\n.SH SYNOPSIS\n" + synopsis(command) + ".SH DESCRIPTION\n" +
                      footer(command.footer);
    if (!command.options.empty()) out += ".SH OPTIONS\n" + options(command);
    const bool program = command.path == command.name;
    if (!command.commands.empty() && program) {
        out += ".SH COMMANDS\n";
        for (const CommandText& below : command.commands)
            out += ".TP\n\\fB" + roff(below.path) + "\\fR\n" + roff(below.summary) + " See \\fB" +
                   roff(page_name(below)) + "\\fR(1).\n";
    } else if (!command.commands.empty()) {
        out += ".SH COMMANDS\n";
        append_below(out, command);
    }
    if (!program) out += ".SH SEE ALSO\n\\fBvflbus\\fR(1)\n";
    return out;
}

}  // namespace

int run(const ManualArguments& arguments) {
    const CommandText root = command_text();
    if (arguments.out.empty()) {
        print(page(root));
        return 0;
    }
    const std::filesystem::path directory = arguments.out;
    const auto write = [&](const CommandText& command) {
        return write_file_atomically(directory / (page_name(command) + ".1"), page(command));
    };
    Result<> written = write(root);
    for (const CommandText& command : root.commands)
        if (written) written = write(command);
    if (!written) return report_failure(arguments, written.error());
    return 0;
}

}  // namespace vflbus::cli
