#pragma once
// What the command line can say, as plain structs: made once by arguments.cpp, and read by help,
// the completion of shells and the manual pages.

#include <string>
#include <vector>

namespace vflbus::cli {

struct OptionText {
    std::vector<std::string> names;  ///< "-c", "--config"; of an argument without dashes: "RUN"
    std::string value;               ///< "FILE"; empty: takes none
    std::string help;
    bool argument = false;  ///< stands without a name
    bool required = false;
    bool many = false;  ///< an argument that may be repeated
};

struct CommandText {
    std::string name;     ///< "synth"
    std::string path;     ///< "vflbus data synth"
    std::string summary;  ///< one sentence
    std::string footer;   ///< remarks, then "Examples:" and one command per line
    std::vector<OptionText> options;
    std::vector<CommandText> commands;
};

/// The whole program.
CommandText command_text();

/// The command lines after "Example:" or "Examples:" in a footer, without the remarks behind them:
/// what stands after four blanks or more explains the command.
std::vector<std::string> examples_in(const std::string& footer);

}  // namespace vflbus::cli
