// Whether a command line makes sense, without doing anything: exit code 0 or 2.

#include <variant>

#include "arguments.hpp"

int main(int argc, char** argv) {
    const auto command = vflbus::cli::parse(argc, argv);
    const auto* const exit = std::get_if<vflbus::cli::Exit>(&command);
    return exit == nullptr ? 0 : exit->code;
}
