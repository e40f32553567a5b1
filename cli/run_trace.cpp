// vflbus run trace: the traces of the parties of a run as one, on one clock

#include <filesystem>
#include <system_error>
#include <vector>

#include "commands.hpp"
#include "observers/trace.hpp"
#include "output.hpp"

namespace vflbus::cli {

int run(const RunTraceArguments& arguments) {
    std::vector<std::filesystem::path> parts;
    for (const std::string& file : arguments.files) {
        std::error_code ec;
        if (!std::filesystem::is_regular_file(file, ec))
            return report_failure(arguments, {Errc::io, "there is no trace " + file});
        if (!observers::has_events(file))
            return report_failure(arguments,
                                  {Errc::bad_data, file + " is no trace of a party: it has "
                                                          "no events, one in each line"});
        if (std::filesystem::equivalent(file, arguments.out, ec))
            return report_failure(arguments,
                                  {Errc::usage, "--out " + arguments.out +
                                                    " would write over one of the traces "
                                                    "that it is made of"});
        parts.emplace_back(file);
    }
    if (const auto merged = observers::merge_traces(parts, arguments.out); !merged)
        return report_failure(arguments, merged.error());
    if (arguments.json)
        print(versioned("vflbus-trace").add("out", arguments.out).text() + "\n");
    else
        note(arguments, "wrote " + arguments.out + ", to be opened at ui.perfetto.dev");
    return 0;
}

}  // namespace vflbus::cli
