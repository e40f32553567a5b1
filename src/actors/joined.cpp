#include "actors/joined.hpp"

#include <map>
#include <set>
#include <span>
#include <utility>

#include "actors/party.hpp"
#include "base/text.hpp"

namespace vflbus::actors {
namespace {

data::Column picked(const data::Column& column, std::span<const std::uint32_t> rows) {
    data::Column out;
    out.name = column.name;
    out.kind = column.kind;
    out.date = column.date;
    out.missing_words = column.missing_words;
    out.decimal = column.decimal;
    out.dictionary = column.dictionary;
    for (const std::uint32_t row : rows) {
        if (column.kind == data::ColumnKind::numeric)
            out.numbers.push_back(column.numbers[row]);
        else
            out.codes.push_back(column.codes[row]);
    }
    return out;
}

/// A rule for this column alone, which says what the rules of its party say of it.
void add_rule(const data::Column& column, const std::string& name, const data::Table& from,
              data::Table& out) {
    if (from.prepare.empty()) return;
    data::PrepareRule rule;
    rule.pattern = name;
    rule.how = data::preparing_of(column.name, from.prepare);
    out.prepare.push_back(std::move(rule));
}

void add_columns(const Party& party, TableKind kind, std::set<std::string>& taken,
                 data::Table& out) {
    const data::Table& from = *party.table(kind);
    const std::span<const std::uint32_t> rows = party.common(kind).rows;
    for (const data::Column& column : from.features) {
        data::Column own = picked(column, rows);
        if (!taken.insert(own.name).second) own.name = party.name() + "." + own.name;
        taken.insert(own.name);
        add_rule(column, own.name, from, out);
        out.features.push_back(std::move(own));
    }
    for (data::LeftOut column : from.left_out) {
        column.name = party.name() + "." + column.name;
        out.left_out.push_back(std::move(column));
    }
}

std::shared_ptr<const data::Table> table_of(const std::vector<std::unique_ptr<Party>>& parties,
                                            TableKind kind) {
    auto out = std::make_shared<data::Table>();
    const data::Table& first = *parties[0]->table(kind);
    const std::span<const std::uint32_t> rows = parties[0]->common(kind).rows;
    out->path = "the joined table";
    for (const std::uint32_t row : rows) out->ids.push_back(first.ids[row]);
    for (const data::Column& label : first.labels) out->labels.push_back(picked(label, rows));
    if (first.weights) out->weights = picked(*first.weights, rows);
    if (first.exposure) out->exposure = picked(*first.exposure, rows);
    std::set<std::string> taken;
    for (const auto& party : parties) add_columns(*party, kind, taken, *out);
    return out;
}

/// Which rows all have, of one kind of table.
Result<> align(const std::vector<std::unique_ptr<Party>>& parties, TableKind kind,
               const config::AgreedHalf& agreed) {
    std::vector<data::PartyIds> sent;
    for (const auto& party : parties) {
        if (auto aligned = party->align(kind); !aligned) return tl::unexpected(aligned.error());
        const data::LocalIds& local = party->local(kind);
        sent.push_back({party->name(), local.ids, local.counts, local.shape});
    }
    const std::uint64_t size = kind == TableKind::train ? agreed.data.dataset_size : 0;
    const auto common = data::intersect(sent, size);
    if (!common) return tl::unexpected(common.error());
    for (std::size_t p = 0; p < parties.size(); ++p)
        if (auto done = parties[p]->select(kind, common->selections[p], common->rows); !done)
            return done;
    return {};
}

/// Whether all parties have this table.
Result<bool> present(const std::vector<std::unique_ptr<Party>>& parties, TableKind kind) {
    std::vector<std::string> with;
    std::vector<std::string> without;
    for (const auto& party : parties) {
        const auto there = party->load(kind);
        if (!there) return tl::unexpected(there.error());
        (*there ? with : without).push_back(party->name());
    }
    if (with.empty()) return false;
    if (without.empty()) return true;
    return fail(Errc::bad_config, join_and(with) + (with.size() == 1 ? " has a " : " have a ") +
                                      std::string(name_of(kind)) + ", " + join_and(without) +
                                      (without.size() == 1 ? " has none" : " have none"));
}

}  // namespace

Result<TableSource> joined_tables(const config::AgreedHalf& agreed,
                                  const std::vector<JoinedParty>& parties) {
    if (agreed.data.join == config::Join::left)
        return fail(Errc::bad_config,
                    "data.join = \"left\" cannot be joined into one table, as the zeros of records "
                    "that a member lacks are not cells: set data.join = \"inner\"");
    std::vector<std::unique_ptr<Party>> all;
    for (const JoinedParty& party : parties)
        all.push_back(std::make_unique<Party>(party.name, agreed, party.tables));
    std::map<TableKind, std::shared_ptr<const data::Table>> tables;
    for (const TableKind kind : {TableKind::train, TableKind::test}) {
        const auto there = present(all, kind);
        if (!there) return tl::unexpected(there.error());
        if (!*there) continue;
        if (auto done = align(all, kind, agreed); !done) return tl::unexpected(done.error());
        tables[kind] = table_of(all, kind);
    }
    return [tables](const TableAsk& ask) -> Result<std::shared_ptr<const data::Table>> {
        const auto found = tables.find(ask.kind);
        return found == tables.end() ? nullptr : found->second;
    };
}

TableSource ids_alone(TableSource tables) {
    return [tables = std::move(tables)](
               const TableAsk& ask) -> Result<std::shared_ptr<const data::Table>> {
        auto whole = tables(ask);
        if (!whole || *whole == nullptr) return whole;
        auto out = std::make_shared<data::Table>();
        out->path = (*whole)->path;
        std::set<std::string_view> seen;
        for (std::size_t row = 0; row < (*whole)->rows(); ++row)
            if (seen.insert((*whole)->ids[row]).second) out->ids.push_back((*whole)->ids[row]);
        return out;
    };
}

}  // namespace vflbus::actors
