// vflbus report: what came of a training, as a page to hand on, or for programs

#include <filesystem>
#include <string>

#include "base/files.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "local_runs.hpp"
#include "output.hpp"
#include "report_data.hpp"
#include "report_page.hpp"
#include "report_text.hpp"
#include "settings.hpp"

namespace vflbus::cli {

int run(const ReportArguments& arguments) {
    const auto config = load_config(arguments);
    if (!config) return report_failure(arguments, config.error());
    auto found = local_run(config->output.runs_dir, arguments.run);
    if (!found) return report_failure(arguments, found.error());
    const std::filesystem::path directory = found->directory;
    const auto data = report_data(std::move(*found), arguments.party, arguments.threshold);
    if (!data) return report_failure(arguments, data.error());
    const bool page = !arguments.csv && !arguments.json;
    const std::string text = page            ? report_page(*data)
                             : arguments.csv ? report_csv(*data)
                                             : report_json(*data);
    std::string out = arguments.out;
    if (out.empty()) out = page ? (directory / "report.html").string() : "-";
    if (out == "-") {
        print(text);
        return 0;
    }
    if (auto done = write_file_atomically(out, text); !done)
        return report_failure(arguments,
                              {Errc::io, "the report cannot be written: " + done.error().sentence});
    note(arguments, "the report is in " + out + ", " + human_bytes(text.size()) +
                        "; it names columns of " + (data->part ? data->part->party : "nobody") +
                        " and figures of the label holder");
    print(out + "\n");
    return 0;
}

}  // namespace vflbus::cli
