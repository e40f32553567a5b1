// vflbus agent
#include "commands.hpp"
#include "output.hpp"
namespace vflbus::cli {
int run(const AgentArguments& arguments) {
    return report_failure(arguments, {Errc::usage, "agent is not built yet"});
}
}  // namespace vflbus::cli
