#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "actors/alignment/alignment.hpp"
#include "actors/alignment/shared_alignment.hpp"
#include "actors/run/run.hpp"
#include "actors/table_notes.hpp"
#include "data/source.hpp"

namespace vflbus::actors {

using observe::log::Level;

std::uint64_t aligned_rows_bound(std::uint64_t rows) noexcept {
    const std::uint64_t most = data::aligned_rows_max / aligned_rows_per_row_max;
    return std::max(aligned_rows_any, std::min(rows, most) * aligned_rows_per_row_max);
}

namespace {

Result<> check_rows(std::uint64_t aligned, std::uint64_t held) {
    if (aligned <= aligned_rows_bound(held)) return {};
    return fail(Errc::bad_data, "the parties' duplicated ids make " + std::to_string(aligned) +
                                    " aligned rows of " + std::to_string(held) + ", more than " +
                                    std::to_string(aligned_rows_bound(held)) +
                                    "; use data.duplicates = \"first\", or remove duplicates");
}

}  // namespace

// -- the master ---------------------------------------------------------------------

Alignment::Alignment(Run& run, Party& own) : run_(&run), own_(&own) {}

std::uint64_t Alignment::ids(TableKind kind, std::size_t party) const {
    return of(kind).ids.at(party);
}

Task<> Alignment::gather(std::vector<TableKind> kinds) {
    if (own_->agreed().data.alignment == config::Alignment::psi)
        co_await gather_common(std::move(kinds));
    else
        co_await gather_hashes(std::move(kinds));
}

Task<> Alignment::gather_hashes(std::vector<TableKind> kinds) {
    const config::DataConfig& data = own_->agreed().data;
    const bool plain = data.alignment == config::Alignment::plain;
    run_->log(
        Level::warn,
        plain
            ? "alignment \"plain\": the master sees all ids of every member as they are, common "
              "or not; data.alignment = \"psi\" shows nothing of ids that are not common"
            : "alignment \"hashed\": ids that can be guessed, such as phone numbers, can be found "
              "from their hashes; data.alignment = \"psi\" shows nothing of ids that are not "
              "common");
    const std::string* const salt = plain ? &data.id_salt : nullptr;
    std::vector<Replies> asked;
    for (const TableKind kind : kinds) {
        AlignRequest request;
        request.table = kind;
        asked.push_back(run_->parties().ask_all(message::align, encode(request)));
    }
    begin_job(kinds.size());
    for (const TableKind kind : kinds) {
        of(kind).own = co_await own_->align(kind);
        note_aligned();
    }
    for (std::size_t k = 0; k < kinds.size(); ++k) {
        TableIds& table = of(kinds[k]);
        const std::vector<Bytes> replies = co_await asked[k];
        table.ids.assign(1, own_->local(kinds[k]).ids.size());
        table.of_members.clear();
        for (std::size_t i = 0; i < replies.size(); ++i) {
            AlignReply reply = co_await run_->said_by(i, decode_align_reply(replies[i], salt));
            co_await run_->said_by(i, check_claims(reply));
            table.ids.push_back(reply.ids.size());
            table.of_members.push_back(std::move(reply));
            note_aligned();
        }
    }
}

/// For each table every party gives its ids, and chooses the rows that are common; between the two
/// the master intersects.
void Alignment::begin_job(std::size_t tables) {
    job_done_ = 0;
    job_total_ = tables * (2 * run_->parties().members() + 3);
    tell_job();
}

void Alignment::note_aligned() {
    ++job_done_;
    tell_job();
}

void Alignment::tell_job() const {
    if (job_total_ == 0) return;
    run_->report_job({run_->options().name + ": aligns the tables, steps done", job_done_,
                      job_total_, observe::JobState::Unit::count});
}

/// Counts say how many rows of its table a member has for each id.
Result<> Alignment::check_claims(const AlignReply& reply) const {
    if (reply.counts.empty()) return {};
    if (own_->agreed().data.duplicates != config::Duplicates::all)
        return fail(Errc::malformed_message,
                    "sent counts of duplicated ids, which data.duplicates does not allow");
    const std::uint64_t rows =
        std::accumulate(reply.counts.begin(), reply.counts.end(), std::uint64_t{0});
    if (rows <= reply.rows) return {};
    return fail(Errc::malformed_message, "sent counts of " + std::to_string(rows) +
                                             " rows for a table of " + std::to_string(reply.rows));
}

Result<bool> Alignment::present(TableKind kind) const {
    std::vector<std::string> with;
    std::vector<std::string> without;
    (own_->aligned(kind) ? with : without).push_back(run_->options().name);
    const auto& of_members = of(kind).of_members;
    for (std::size_t i = 0; i < of_members.size(); ++i)
        (of_members[i].present ? with : without).push_back(run_->parties()[i].name);
    if (with.empty()) return false;
    if (without.empty()) return true;
    const std::string set_key = kind == TableKind::train  ? "data"
                                : kind == TableKind::test ? "test_data"
                                                          : "predict_data";
    return fail(Errc::bad_config, plural(with, "has", "have") + " a " + std::string(name_of(kind)) +
                                      ", " + plural(without, "has", "have") + " none: set " +
                                      set_key + " at every party" +
                                      (kind == TableKind::test ? " or at none" : ""));
}

Result<std::vector<data::Selection>> Alignment::intersect(TableKind kind) {
    TableIds& table = of(kind);
    std::vector<data::PartyIds> parties;
    const data::LocalIds& own = own_->local(kind);
    std::uint64_t held = own.rows.size();
    parties.push_back({run_->options().name, own.ids, own.counts, own.shape});
    for (std::size_t i = 0; i < table.of_members.size(); ++i) {
        const AlignReply& member = table.of_members[i];
        parties.push_back({run_->parties()[i].name, member.ids, member.counts, member.shape});
        held = std::max<std::uint64_t>(held, member.ids.size());
    }
    const std::uint64_t size = kind == TableKind::train ? run_->config().data.dataset_size : 0;
    const bool left = own_->agreed().data.join == config::Join::left;
    auto common = data::intersect(parties, size, left ? data::Join::left : data::Join::inner);
    Result<> good;
    if (common)
        good = check_matches(kind, parties, *common);
    else
        good = tl::unexpected(std::move(common.error()));
    if (!good) {
        Failure failure = std::move(good.error());
        if (kind != TableKind::train)
            for (std::string* sentence : {&failure.sentence, &failure.for_others})
                if (!sentence->empty()) *sentence = std::string(name_of(kind)) + ": " + *sentence;
        return tl::unexpected(std::move(failure));
    }
    if (common->rows > UINT32_MAX)
        return fail(Errc::bad_data, "the " + std::string(name_of(kind)) + "s have " +
                                        std::to_string(common->rows) +
                                        " aligned rows, more than 2^32 - 1");
    if (auto bounded = check_rows(common->rows, held); !bounded)
        return tl::unexpected(std::move(bounded.error()));
    const std::size_t least = *std::ranges::min_element(common->matched);
    if (const std::string line = data::low_match(parties, least); !line.empty())
        run_->log(Level::warn, std::string(name_of(kind)) + ": " + line);
    table.common = common->common;
    table.rows = common->rows;
    table.matched = std::move(common->matched);
    table.rows_matched = std::move(common->rows_matched);
    table.absent = std::move(common->absent);
    return std::move(common->selections);
}

Result<> Alignment::check_matches(TableKind kind, std::span<const data::PartyIds> parties,
                                  const data::Intersection& common) const {
    if (kind != TableKind::train) return {};  // of a few rows a member may have none
    for (std::size_t p = 1; p < parties.size(); ++p) {
        if (common.matched[p] != 0) continue;
        const data::PartyIds two[] = {parties[0], parties[p]};
        return tl::unexpected(data::nothing_common(two));
    }
    return {};
}

/// Where rows are matched by their numbers, one that is missing shifts all later ones.
void Alignment::warn_of_lengths(TableKind kind) {
    const std::uint64_t rows = told(kind, 0).rows;
    for (std::size_t p = 1; p <= of(kind).of_members.size(); ++p)
        if (told(kind, p).rows != rows)
            run_->log(Level::warn,
                      std::string(name_of(kind)) + ": rows are matched by their numbers (id = \"" +
                          std::string(data::row_number_id) + "\"), and " +
                          run_->parties()[p - 1].name + " has " +
                          std::to_string(told(kind, p).rows) + " rows where " +
                          run_->options().name + " has " + std::to_string(rows) +
                          ": behind one that is missing all others are matched wrongly");
}

void Alignment::report(TableKind kind) {
    const TableIds& table = of(kind);
    if (kind != TableKind::test) {
        observe::RunReport& report = run_->results();
        report.rows_common = table.rows;
        // (an arbiter, behind the members, has no table)
        for (std::size_t p = 0; p <= table.of_members.size(); ++p) {
            auto& party = report.parties[p];
            party.rows = p == 0 ? own_->table(kind)->rows() : table.of_members[p - 1].rows;
            party.rows_matched = table.rows_matched[p];
            party.rows_absent = table.absent[p];
        }
    }
    if (id_column(run_->config(), run_->options().name) == data::row_number_id)
        warn_of_lengths(kind);
    if (own_->agreed().data.duplicates == config::Duplicates::first)
        for (std::size_t p = 0; p <= table.of_members.size(); ++p)
            if (const std::uint64_t repeated = told(kind, p).duplicate_rows; repeated != 0)
                run_->log(Level::info,
                          (p == 0 ? run_->options().name : run_->parties()[p - 1].name) +
                              " leaves out " + std::to_string(repeated) +
                              " rows whose ids earlier rows have (data.duplicates = \"first\")");
    if (own_->agreed().data.join == config::Join::inner)
        return run_->log(Level::info, std::to_string(table.common) + " ids of the " +
                                          std::string(name_of(kind)) + "s are common, " +
                                          std::to_string(table.rows) + " rows are used");
    run_->log(Level::info, "all " + std::to_string(table.common) + " ids of the master's " +
                               std::string(name_of(kind)) + " are used, " +
                               std::to_string(table.rows) + " rows");
    for (std::size_t i = 0; i < table.of_members.size(); ++i)
        if (table.absent[i + 1] != 0)
            run_->log(Level::info, run_->parties()[i].name + " lacks " +
                                       std::to_string(table.absent[i + 1]) +
                                       " of them and has zeros there");
}

Task<> Alignment::select(std::vector<TableKind> kinds) {
    std::vector<Replies> asked;
    for (const TableKind kind : kinds) {
        TableIds& table = of(kind);
        std::vector<data::Selection> selections = co_await intersect(kind);
        note_aligned();
        report(kind);
        std::vector<Bytes> bodies;
        for (std::size_t i = 0; i < table.of_members.size(); ++i) {
            SelectRequest request;
            request.table = kind;
            request.selection = std::move(selections[i + 1]);
            request.rows = table.rows;
            bodies.push_back(encode(request));
            table.of_members[i].ids = {};
            table.of_members[i].counts = {};
        }
        asked.push_back(run_->parties().ask_each(message::select, std::move(bodies)));
        co_await own_->select(kind, selections[0], table.rows);
        note_aligned();
    }
    for (std::size_t k = 0; k < kinds.size(); ++k) {
        const std::vector<Bytes> replies = co_await asked[k];
        for (std::size_t i = 0; i < replies.size(); ++i) {
            const auto reply = co_await run_->said_by(i, decode_select_reply(replies[i]));
            Result<> same;
            if (reply.rows != rows(kinds[k]))
                same = fail(Errc::malformed_message, "came to " + std::to_string(reply.rows) +
                                                         " aligned rows, the master to " +
                                                         std::to_string(rows(kinds[k])));
            co_await run_->said_by(i, same);
            of(kinds[k]).selected.push_back(reply);
            note_aligned();
        }
    }
    job_done_ = job_total_;  // a table that nobody has was not selected
    tell_job();
}

Task<bool> Alignment::recall(const MadeAlignment& before) {
    // first all are asked, as none may go on from there alone
    Replies asked =
        run_->parties().ask_all(message::recall, encode(RecallRequest{false, before.made_in}));
    std::vector<Bytes> replies = co_await asked;
    for (std::size_t i = 0; i < replies.size(); ++i) {
        const RecallReply reply = co_await run_->said_by(i, decode_recall_reply(replies[i]));
        if (reply.kept) continue;
        run_->log(Level::info, run_->parties()[i].name +
                                   " has not kept the alignment of the runs before; the parties "
                                   "align anew");
        co_return false;
    }
    Replies taken =
        run_->parties().ask_all(message::recall, encode(RecallRequest{true, before.made_in}));
    replies = co_await taken;
    own_->use(before.tables);
    tables_ = before.told;
    for (std::size_t i = 0; i < replies.size(); ++i) {
        const RecallReply reply = co_await run_->said_by(i, decode_recall_reply(replies[i]));
        Result<> same;
        if (!reply.kept || reply.train_rows != rows(TableKind::train) ||
            reply.test_rows != rows(TableKind::test))
            same = fail(Errc::malformed_message,
                        "goes on from an alignment of " + std::to_string(reply.train_rows) +
                            " and " + std::to_string(reply.test_rows) + " rows, the master from " +
                            std::to_string(rows(TableKind::train)) + " and " +
                            std::to_string(rows(TableKind::test)));
        co_await run_->said_by(i, same);
    }
    run_->log(Level::info, "goes on from the alignment of an earlier run, which all have kept");
    for (const TableKind kind : {TableKind::train, TableKind::test})
        if (own_->selected(kind)) report(kind);
    co_return true;
}

// -- the member ---------------------------------------------------------------------

Result<Bytes> answer_align(Party& party, TableKind kind) {
    const auto reply = party.align(kind);
    if (!reply) return tl::unexpected(reply.error());
    const data::LocalIds& local = party.local(kind);  // empty where there is no table
    if (party.agreed().data.alignment != config::Alignment::plain) return encode(*reply, local);
    std::vector<std::string_view> ids;
    std::size_t row = 0;
    for (std::size_t i = 0; i < local.ids.size(); ++i) {
        ids.push_back(party.table(kind)->ids[local.rows[row]]);
        row += local.counts.empty() ? 1 : local.counts[i];
    }
    return encode(*reply, local, &ids);
}

Result<Bytes> answer_select(Party& party, const SelectRequest& request) {
    // the repeats multiply the party's own rows: how often, it learns from the master alone
    const std::uint64_t held = std::max<std::uint64_t>(party.local(request.table).rows.size(),
                                                       request.selection.held.size() * 8);
    if (auto bounded = check_rows(request.rows, held); !bounded)
        return tl::unexpected(std::move(bounded.error()));
    if (auto done = party.select(request.table, request.selection, request.rows); !done)
        return tl::unexpected(std::move(done.error()));
    SelectReply reply;
    reply.rows = request.rows;
    if (request.table == TableKind::predict) {
        if (auto done = party.build_predict(); !done)
            return tl::unexpected(std::move(done.error()));
        reply.filled_cells = party.transformed().filled_cells;
        reply.unseen_values = party.transformed().unseen_values;
    }
    return encode(reply);
}

}  // namespace vflbus::actors
