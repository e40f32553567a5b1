#include "actors/tables.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>

#include "actors/features.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/select.hpp"
#include "data/column_rules.hpp"
#include "data/csv_dialect.hpp"

namespace vflbus::actors {
namespace {

/// A table that is in use somewhere, and what it was read as.
struct Shared {
    std::weak_ptr<const data::Table> table;
    data::Stamp stamp;
    config::AgreedHalf agreed;
    std::optional<std::vector<data::KnownColumn>> known;
};

/// Columns that a line of the log names.
constexpr std::size_t told_max = 20;

/// Whether a column keeps the bounds of data.select.
bool keeps(const data::FeatureFigures& one, const std::vector<data::FeatureFigures>& all,
           const config::ColumnSelect& select) {
    if (one.information < select.information || one.inflation > select.inflation ||
        static_cast<double>(one.missing) > select.missing)
        return false;
    if (std::abs(one.correlation) <= select.correlation) return true;
    // of two that are too much alike, the one that says more stays; of equal ones the first
    for (const data::FeatureFigures& other : all)
        if (other.name == one.nearest)
            return one.information > other.information ||
                   (one.information == other.information && &one < &other);
    return true;
}

struct Files {
    config::PartyConfig party;
    std::filesystem::path runs_dir;
    config::AgreedHalf agreed;
    std::string name;
    ReadWatch watch;
    std::mutex mutex;
    std::array<Shared, table_kinds> shared;

    const std::string& path(TableKind kind) const {
        if (kind == TableKind::train) return party.data;
        return kind == TableKind::test ? party.test_data : party.predict_data;
    }

    Result<std::shared_ptr<const data::Table>> get(const TableAsk& ask) {
        const TableKind kind = ask.kind;
        const config::AgreedHalf& of_run = ask.agreed == nullptr ? agreed : *ask.agreed;
        std::optional<std::vector<data::KnownColumn>> known;
        if (ask.known != nullptr) known = *ask.known;
        const std::lock_guard lock(mutex);
        Shared& in_use = shared[static_cast<std::size_t>(kind)];
        data::Stamp now = data::stamp_of(path(kind));
        if (now.known() && now == in_use.stamp && of_run == in_use.agreed && known == in_use.known)
            if (auto table = in_use.table.lock()) return table;
        auto table = read(kind, of_run, ask.known);
        if (table) in_use = {*table, std::move(now), of_run, std::move(known)};
        return table;
    }

    Result<std::shared_ptr<const data::Table>> read(TableKind kind,
                                                    const config::AgreedHalf& of_run,
                                                    const std::vector<data::KnownColumn>* known) {
        auto format = data::parse_text_format(party.encoding, party.separator, party.decimal,
                                              party.thousands);
        if (!format) return tl::unexpected(in_section(std::move(format.error())));
        auto rules = data::parse_column_rules(party.columns);
        if (!rules) return tl::unexpected(in_section(std::move(rules.error())));
        auto prepare = data::parse_prepare_rules(party.prepare);
        if (!prepare) return tl::unexpected(in_section(std::move(prepare.error())));
        if (known != nullptr) format->usual_decimal = data::usual_decimal(*known);
        data::SourceOptions options;
        options.location = path(kind);
        options.format = *format;
        options.timeout = std::chrono::duration<double>(party.source_timeout);
        auto source = data::open_source(options);
        if (!source) return tl::unexpected(with_source(source.error()));
        data::TableRequest request;
        request.id = of_run.data.id.empty() ? party.id : of_run.data.id;
        request.labels = party.label;
        request.features = party.features;
        request.exclude = party.exclude;
        request.columns = std::move(*rules);
        request.labels_as =
            predicts_numbers(of_run.model.task) ? data::LabelsAs::guess : data::LabelsAs::classes;
        request.skip_missing_ids = of_run.data.missing_id == config::MissingRows::skip;
        request.skip_missing_labels =
            kind != TableKind::predict && of_run.data.missing_label == config::MissingRows::skip;
        if (kind == TableKind::predict) without_absent_labels((*source)->columns(), request);
        if (known != nullptr) of_model(kind, *known, (*source)->columns(), request);
        const bool weighted = kind == TableKind::train && !party.sample_weight.empty();
        if (weighted) {  // read beside the labels, whose rows may not lack them either
            request.labels.push_back(party.sample_weight);
            request.known.push_back({party.sample_weight, data::ColumnKind::numeric});
        } else if (!party.sample_weight.empty() && known == nullptr) {
            if (std::ranges::find((*source)->columns(), party.sample_weight) !=
                (*source)->columns().end())
                request.exclude.push_back(party.sample_weight);
        }
        const bool exposed = !party.exposure.empty();
        if (exposed) {  // of rows that are predicted as well
            request.labels.push_back(party.exposure);
            request.known.push_back({party.exposure, data::ColumnKind::numeric});
        }
        if (kind == TableKind::train)
            if (auto there = columns_there(*prepare, (*source)->columns()); !there)
                return tl::unexpected(in_section(std::move(there.error())));
        const auto dropped = not_selected(kind, of_run);
        if (!dropped) return tl::unexpected(dropped.error());
        leave_out(*dropped, request);
        auto table =
            (*source)->read(request, watch ? watch(options.location) : data::ReadProgress());
        if (!table) return tl::unexpected(with_source(table.error()));
        table->prepare = std::move(*prepare);
        if (!dropped->empty())
            table->notes.push_back("left out by data.select: " + join_some(*dropped, told_max));
        if (const auto image = config::image_of(party.image))
            table->image = {image->height, image->width, image->channels};
        if (exposed) {
            table->exposure = std::move(table->labels.back());
            table->labels.pop_back();
        }
        if (weighted) {
            table->weights = std::move(table->labels.back());
            table->labels.pop_back();
        }
        return std::make_shared<const data::Table>(std::move(*table));
    }

    /// A rule for one column that the table does not have is a misspelt one.
    static Result<> columns_there(const std::vector<data::PrepareRule>& rules,
                                  const std::vector<std::string>& columns) {
        for (const data::PrepareRule& rule : rules) {
            if (rule.pattern.find_first_of("*?") != std::string::npos ||
                std::ranges::find(columns, rule.pattern) != columns.end())
                continue;
            const std::string near = nearest(rule.pattern, columns);
            Failure failure{Errc::bad_data,
                            "prepare: there is no column " + data::shown(rule.pattern) +
                                (near.empty() ? "" : "; did you mean " + data::shown(near) + "?")};
            failure.for_others = "prepare: a column is not there";
            return tl::unexpected(std::move(failure));
        }
        return {};
    }

    /// The columns of a training table that data.select leaves out. Those of other tables are said
    /// by the model.
    Result<std::vector<std::string>> not_selected(TableKind kind,
                                                  const config::AgreedHalf& of_run) const {
        std::vector<std::string> names;
        if (kind != TableKind::train || of_run.data.select.empty()) return names;
        const auto select = config::parse_select(of_run.data.select);
        if (!select) return fail(Errc::bad_config, "data.select: " + select.error().sentence);
        const std::string path = (runs_dir / select->run / name / "features.json").string();
        const auto text = read_file(path);
        if (!text)
            return fail(text.error().code, "data.select: " + text.error().sentence +
                                               "; `vflbus features` makes it, with the same "
                                               "output.runs_dir");
        const auto all = parse_features(*text, path);
        if (!all) return tl::unexpected(all.error());
        for (const data::FeatureFigures& one : *all)
            if (!keeps(one, *all, *select)) names.push_back(one.name);
        return names;
    }

    static void leave_out(const std::vector<std::string>& names, data::TableRequest& request) {
        const bool listed = !request.features.empty();
        for (const std::string& name : names) {
            const bool known = std::ranges::find(request.exclude, name) != request.exclude.end();
            if (std::erase(request.features, name) == 0 && !known) request.exclude.push_back(name);
        }
        // an empty list would mean all columns
        if (listed && request.features.empty()) request.of_model = true;
    }

    Failure in_section(Failure failure) const {
        failure.sentence = "[party." + name + "]: " + failure.sentence;
        return failure;
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

    /// The columns of a model and nothing else. A test table may lack one that the model turns out
    /// not to use: whether one is needed is known when the model is fitted (data::transform).
    static void of_model(TableKind kind, const std::vector<data::KnownColumn>& known,
                         const std::vector<std::string>& columns, data::TableRequest& request) {
        request.of_model = true;
        request.known = known;
        request.columns.clear();
        request.exclude.clear();
        request.features.clear();
        for (const data::KnownColumn& column : known)
            if (kind != TableKind::test || std::ranges::find(columns, column.name) != columns.end())
                request.features.push_back(column.name);
    }

    Failure with_source(Failure failure) const {
        if (failure.code == Errc::io && !party.source.empty())
            failure.sentence += " (the data set can be had from " + party.source + ")";
        return failure;
    }
};

}  // namespace

TableSource csv_tables(const config::Config& config, const std::string& party, ReadWatch watch) {
    auto files = std::make_shared<Files>();
    files->name = party;
    files->watch = std::move(watch);
    const auto found = config.parties.find(party);
    if (found != config.parties.end()) files->party = found->second;
    files->agreed = config;
    files->runs_dir = config.output.runs_dir;
    return [files](const TableAsk& ask) -> Result<std::shared_ptr<const data::Table>> {
        if (files->path(ask.kind).empty()) {
            if (ask.kind == TableKind::train)
                return fail(Errc::bad_config, "no table is given: set data in [party." +
                                                  files->name + "] or give --data FILE");
            return nullptr;
        }
        return files->get(ask);
    };
}

TableSource ids_only(TableSource tables) {
    return [tables = std::move(tables)](
               const TableAsk& ask) -> Result<std::shared_ptr<const data::Table>> {
        if (ask.kind != TableKind::train) return nullptr;
        static const std::vector<data::KnownColumn> none;
        TableAsk ids = ask;
        ids.known = &none;
        return tables(ids);
    };
}

}  // namespace vflbus::actors
