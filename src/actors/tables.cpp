#include "actors/tables.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

namespace vflbus::actors {
namespace {

struct Files {
    config::PartyConfig party;
    std::string name;
    data::CsvProgress progress;
    std::mutex mutex;
    std::array<std::weak_ptr<const data::Table>, table_kinds> shared;

    const std::string& path(TableKind kind) const {
        if (kind == TableKind::train) return party.data;
        return kind == TableKind::test ? party.test_data : party.predict_data;
    }

    Result<std::shared_ptr<const data::Table>> read(TableKind kind) {
        data::CsvOptions options;
        options.path = path(kind);
        options.id_column = party.id;
        options.labels = party.label;
        options.features = party.features;
        options.exclude = party.exclude;
        options.party = name;
        if (kind == TableKind::predict && !options.labels.empty()) {
            const auto header = data::read_csv_header(options.path, name);
            if (!header) return tl::unexpected(with_source(header.error()));
            const bool all = std::ranges::all_of(options.labels, [&](const std::string& label) {
                return std::ranges::find(*header, label) != header->end();
            });
            if (!all) {
                // what is there of the labels is still no feature
                for (const std::string& label : options.labels)
                    if (std::ranges::find(*header, label) != header->end())
                        options.exclude.push_back(label);
                options.labels.clear();
            }
        }
        auto table = data::read_csv(options, progress);
        if (!table) return tl::unexpected(with_source(table.error()));
        return std::make_shared<const data::Table>(std::move(*table));
    }

    Failure with_source(Failure failure) const {
        if (failure.code == Errc::io && !party.source.empty())
            failure.sentence += " (the data set can be had from " + party.source + ")";
        return failure;
    }
};

}  // namespace

TableSource csv_tables(const config::Config& config, const std::string& party,
                       data::CsvProgress progress) {
    auto files = std::make_shared<Files>();
    files->name = party;
    files->progress = std::move(progress);
    const auto found = config.parties.find(party);
    if (found != config.parties.end()) files->party = found->second;
    return [files](TableKind kind) -> Result<std::shared_ptr<const data::Table>> {
        if (files->path(kind).empty()) {
            if (kind == TableKind::train)
                return fail(Errc::bad_config, files->name + " has no table: set data in [party." +
                                                  files->name + "] or give --data FILE");
            return nullptr;
        }
        const std::lock_guard lock(files->mutex);
        auto& shared = files->shared[static_cast<std::size_t>(kind)];
        if (auto table = shared.lock()) return table;
        auto table = files->read(kind);
        if (table) shared = *table;
        return table;
    };
}

}  // namespace vflbus::actors
