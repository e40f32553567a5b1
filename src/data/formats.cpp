#include "data/formats.hpp"

#include <utility>

#include "base/assert.hpp"
#include "data/csv.hpp"
#include "data/libsvm.hpp"
#include "data/npy.hpp"
#include "data/place.hpp"
#include "data/text_input.hpp"
#include "data/unpack.hpp"

namespace vflbus::data {
namespace {

/// Unpacks a part, and refuses what is no table.
Result<> unpack_part(const SourceOptions& options, NamedInput& part) {
    const Place place{options.party, part.name};
    auto head = part.input.head(magic_bytes);
    if (!head) return tl::unexpected(fault(head.error().code, place, " " + head.error().sentence));
    if (const Packing packing = packing_of(*head); packing != Packing::none) {
        auto input = unpack(part.input, packing);
        if (!input) return tl::unexpected(fault(input.error().code, place, input.error().sentence));
        part.input = std::move(*input);
        head = part.input.head(magic_bytes);
        if (!head)
            return tl::unexpected(fault(head.error().code, place, " " + head.error().sentence));
    }
    if (const std::string why = why_no_table(*head, part.name); !why.empty())
        return tl::unexpected(fault(Errc::bad_data, place, why, why_no_table(*head, "FILE")));
    return {};
}

}  // namespace

Result<std::unique_ptr<Source>> open_bytes(const SourceOptions& options,
                                           std::vector<NamedInput> parts) {
    VFLBUS_ASSERT(!parts.empty(), "a table consists of one part or more");
    for (NamedInput& part : parts)
        if (auto ok = unpack_part(options, part); !ok) return tl::unexpected(ok.error());
    const auto head = parts[0].input.head(magic_bytes);
    if (head && is_npy(*head) && parts.size() == 1) return open_npy(options, std::move(parts[0]));

    std::vector<CsvFile> files;
    for (NamedInput& part : parts) {
        auto text = open_text(std::move(part.input), options.format, {options.party, part.name});
        if (!text) return tl::unexpected(std::move(text.error()));
        files.push_back({std::move(part.name), std::move(*text), 0, {}});
    }
    if (files.size() == 1 && is_libsvm(files[0].text))
        return open_libsvm(options, std::move(files[0].name), std::move(files[0].text));
    return open_csv(options, std::move(files));
}

}  // namespace vflbus::data
