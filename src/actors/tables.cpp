#include "actors/tables.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <mutex>
#include <utility>

namespace vflbus::actors {
namespace {

struct Files {
    config::PartyConfig party;
    std::string name;
    data::ReadProgress progress;
    std::mutex mutex;
    std::array<std::weak_ptr<const data::Table>, table_kinds> shared;

    const std::string& path(TableKind kind) const {
        if (kind == TableKind::train) return party.data;
        return kind == TableKind::test ? party.test_data : party.predict_data;
    }

    Result<std::shared_ptr<const data::Table>> read(TableKind kind) {
        auto source = data::open_source({.location = path(kind)});
        if (!source) return tl::unexpected(with_source(source.error()));
        data::TableRequest request{party.id, party.label, party.features, party.exclude};
        if (kind == TableKind::predict) without_absent_labels((*source)->columns(), request);
        auto table = (*source)->read(request, progress);
        if (!table) return tl::unexpected(with_source(table.error()));
        return std::make_shared<const data::Table>(std::move(*table));
    }

    /// Rows to be predicted may come without labels. When not all label columns are there none is
    /// used, and those that are there do not become features.
    static void without_absent_labels(const std::vector<std::string>& columns,
                                      data::TableRequest& request) {
        const auto there = [&](const std::string& label) {
            return std::ranges::find(columns, label) != columns.end();
        };
        if (std::ranges::all_of(request.labels, there)) return;
        std::ranges::copy_if(request.labels, std::back_inserter(request.exclude), there);
        request.labels.clear();
    }

    Failure with_source(Failure failure) const {
        if (failure.code == Errc::io && !party.source.empty())
            failure.sentence += " (the data set can be had from " + party.source + ")";
        return failure;
    }
};

}  // namespace

TableSource csv_tables(const config::Config& config, const std::string& party,
                       data::ReadProgress progress) {
    auto files = std::make_shared<Files>();
    files->name = party;
    files->progress = std::move(progress);
    const auto found = config.parties.find(party);
    if (found != config.parties.end()) files->party = found->second;
    return [files](TableKind kind) -> Result<std::shared_ptr<const data::Table>> {
        if (files->path(kind).empty()) {
            if (kind == TableKind::train)
                return fail(Errc::bad_config, "no table is given: set data in [party." +
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
