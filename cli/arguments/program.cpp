// About the program itself: completion, manual, version.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

void add_version(CommandLine& line) {
    CLI::App& on = line.command(line.app, "version", "The version of this program.",
                                "Example:\n"
                                "  vflbus version --json",
                                line.version_arguments);
    add_output(on, line.version_arguments);
    line.app.add_flag("--version", line.version, "the version of this program");
}

void add_completion(CommandLine& line) {
    CLI::App& on = line.command(
        line.app, "completion", "A script with which a shell completes commands and flags.",
        "Examples:\n"
        "  vflbus completion bash > vflbus.bash    source it, or put it where bash looks\n"
        "  vflbus completion zsh > _vflbus         into a directory of $fpath\n"
        "  vflbus completion fish > vflbus.fish    into ~/.config/fish/completions",
        line.completion);
    on.add_option("SHELL", line.completion.shell, "bash, zsh or fish")->type_name("")->required();
    CLI::App& manual = line.command(line.app, "manual", "The pages of man, for the build.",
                                    "Example:\n"
                                    "  vflbus manual --out man",
                                    line.manual);
    manual.add_option("--out", line.manual.out, "directory of the pages")->type_name("DIR");
    manual.group("");
}

}  // namespace vflbus::cli
