#include "data/file_source.hpp"

#include <utility>
#include <vector>

#include "data/csv.hpp"
#include "data/input.hpp"
#include "data/place.hpp"

namespace vflbus::data {

Result<std::unique_ptr<Source>> open_file(const SourceOptions& options) {
    auto input = Input::open(options.location);
    if (!input) {
        return tl::unexpected(fault(input.error().code, {options.party, options.location},
                                    " " + input.error().sentence));
    }
    std::vector<CsvFile> files;
    files.push_back({options.location, std::move(*input), {}});
    return open_csv(options, std::move(files));
}

}  // namespace vflbus::data
