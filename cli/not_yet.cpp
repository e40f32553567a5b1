// Commands that wait for master and member.

#include "commands.hpp"
#include "output.hpp"

namespace vflbus::cli {

namespace {
const Failure not_yet{Errc::usage, "this command is not built yet: master and member are missing"};
}

int run(const ActorArguments& arguments) {
    return report_failure(arguments, not_yet);
}
int run(const LaunchArguments& arguments) {
    return report_failure(arguments, not_yet);
}
int run(const CheckArguments& arguments) {
    return report_failure(arguments, not_yet);
}
int run(const PredictArguments& arguments) {
    return report_failure(arguments, not_yet);
}

}  // namespace vflbus::cli
