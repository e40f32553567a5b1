// Tables and configurations: what people hand over.

#include <string>

#include "config/agreed.hpp"
#include "config/config.hpp"
#include "config/value.hpp"
#include "data/formats.hpp"
#include "data/source.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_files {
namespace {

// -- tables ------------------------------------------------------------------------------------

/// The ways of asking for a table; the first byte of an input chooses one.
data::TableRequest request_of(std::size_t kind) {
    data::TableRequest request;
    if (kind % 2 == 1) request.id = data::row_number_id;
    if (kind % 3 == 1) request.labels = {"y"};
    if (kind % 5 == 1) request.skip_missing_ids = request.skip_missing_labels = true;
    return request;
}

bool try_table(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 30);
    data::SourceOptions options;
    options.threads = 1;
    auto source =
        data::open_bytes(options, {{"table", data::Input::of_bytes(std::string(text_of(body)))}});
    if (!source) return false;
    std::uint64_t rows = 0;
    const bool counted =
        (*source)->for_each_row([&](std::span<const std::string_view>) { ++rows; }).has_value();
    const auto table = (*source)->read(request_of(kind));
    if (!table) {
        require(!table.error().sentence.empty(), "a table is refused without a reason");
        return false;
    }
    // (where rows are numbered, lines of separators alone are rows too)
    require(!counted || kind % 2 == 1 || table->rows() <= rows,
            "a table has more rows than its source");
    return true;
}

std::vector<Bytes> table_seeds() {
    return {
        seed(0, "id,a,b\n1,2.5,x\n2,3.5,y\n"),
        seed(4, "id;a;y\r\n1;2,5;yes\r\n2;3,5;no\r\n"),
        seed(3, "a\tb\n1\t2\n3\t4\n"),
        seed(0, "sep=;\nid;a\n1;\"x;\"\"y\"\n"),
        seed(6, "\xEF\xBB\xBFid,a,b\n1,2020-01-02,12 %\n2,2021-01-02,\n"),
        seed(3, "1 1:.5 7:2\n-1 2:.25\n"),
        seed(0, std::string_view("\xFF\xFEi\0d\0,\0a\0\n\0001\0,\0002\0\n\0", 20)),
    };
}

// -- configurations ----------------------------------------------------------------------------

bool try_config(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 2);
    if (kind == 0) {
        const auto settings = config::read_toml(text_of(body), "vflbus.toml");
        require(settings.has_value() || !settings.error().sentence.empty(),
                "a configuration is refused without a reason");
        return settings.has_value();
    }
    return round_trip(
        body,
        [](const auto& bytes) {
            return config::parse_canonical(text_of(bytes), config::Members::may_be_unsaid);
        },
        [](const config::AgreedHalf& half) {
            const std::string text = config::canonical_agreed(half);
            return Bytes(text.begin(), text.end());
        });
}

std::vector<Bytes> config_seeds() {
    config::Config some;
    some.run.world_size = 2;
    return {
        seed(0,
             "[run]\nworld_size = 2\n[model]\ntask = \"logistic\"\nl2 = 1.0\n"
             "[party.master]\ndata = \"bank.csv\"\nlabel = [\"y\"]\n"),
        seed(1, config::canonical_agreed(some)),
    };
}

}  // namespace
}  // namespace of_files

const Target tables_target{"tables", "CSV, libsvm, npy and packed tables", of_files::try_table,
                           of_files::table_seeds};
const Target config_target{"config", "configuration files and the agreed half of another party",
                           of_files::try_config, of_files::config_seeds};

}  // namespace vflbus::fuzz
