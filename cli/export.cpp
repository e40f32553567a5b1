// vflbus export
#include "commands.hpp"
#include "output.hpp"
namespace vflbus::cli {
int run(const ExportArguments& arguments) {
    return report_failure(arguments, {Errc::usage, "export is not built yet"});
}
}  // namespace vflbus::cli
