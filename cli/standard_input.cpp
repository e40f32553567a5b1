#include "standard_input.hpp"

#include <string>
#include <system_error>
#include <vector>

#include "base/text.hpp"
#include "data/source.hpp"
#include "output.hpp"

namespace vflbus::cli {

Result<> keep_standard_input(const Common& common, config::Config& config,
                             const std::filesystem::path& run_dir) {
    std::vector<std::string*> wanted;
    std::vector<std::string> names;
    for (auto& [name, party] : config.parties)
        for (const auto& [key, location] : {std::pair{"data", &party.data},
                                            {"test_data", &party.test_data},
                                            {"predict_data", &party.predict_data}})
            if (*location == "-") {
                wanted.push_back(location);
                names.push_back("party." + name + "." + key);
            }
    if (wanted.empty()) return {};
    if (wanted.size() > 1)
        return fail(Errc::usage, join_and(names) +
                                     " are all standard input (-), which can be read once; put the "
                                     "others into files");
    const std::filesystem::path directory = run_dir / "data";
    std::error_code ec;
    std::filesystem::create_directories(directory, ec);
    const std::filesystem::path file =
        std::filesystem::absolute(directory / "standard_input", ec).lexically_normal();
    if (auto kept = data::keep_standard_input(file.string()); !kept) return kept;
    *wanted[0] = file.string();
    note(common, names[0] + " is standard input, kept in " + file.string());
    return {};
}

}  // namespace vflbus::cli
