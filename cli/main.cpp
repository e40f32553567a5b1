// vflbus: one binary for all parts. Reads the command line and hands over to one command.

#include <fcntl.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <variant>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "process.hpp"
#include "signals.hpp"

namespace {

using namespace vflbus;

/// A cron job or a service may start us without standard streams. The next file or socket that is
/// opened would get their numbers, and what is printed would go into it.
void fill_standard_streams() {
    for (int fd = 0; fd <= 2; ++fd)
        if (::fcntl(fd, F_GETFD) == -1 && ::open("/dev/null", O_RDWR) != fd) std::abort();
}

int dispatch(const cli::Command& command) {
    return std::visit(
        [](const auto& arguments) -> int {
            if constexpr (std::is_same_v<std::decay_t<decltype(arguments)>, cli::Exit>)
                return arguments.code;
            else {
                if (const int code = cli::prepare_process(arguments); code != 0) return code;
                return run(arguments);
            }
        },
        command);
}

}  // namespace

int main(int argc, char** argv) {
    fill_standard_streams();
    if (argc > 1 && std::string_view(argv[1]) == "--tied") return cli::run_tied(argc, argv);
    std::signal(SIGPIPE, SIG_IGN);
    const char* const started = std::getenv("VFLBUS_PROGRAM");  // a script that starts this one
    if (argc > 0) cli::set_program(started != nullptr ? started : argv[0]);
    try {
        return cli::finish_output(dispatch(cli::parse(argc, argv)));
    } catch (const std::exception& failure) {
        cli::error_line(std::string("internal error: ") + failure.what() +
                        "; please report it with the command line");
        return static_cast<int>(ExitCode::internal);
    }
}
