#include "actors/alignment/psi_master.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "actors/alignment/alignment.hpp"
#include "actors/run/run.hpp"
#include "base/assert.hpp"

namespace vflbus::actors {

using observe::log::Level;
using privacy::psi::Marks;
using privacy::psi::Point;
using privacy::psi::Tag;

PsiMaster::PsiMaster(Run& run, const Party& own, TableKind kind, std::vector<std::size_t> members,
                     std::vector<std::uint64_t> sizes)
    : run_(&run),
      own_(&own),
      kind_(kind),
      members_(std::move(members)),
      sizes_(std::move(sizes)),
      own_list_(own.local(kind).ids,
                [&run](std::span<std::uint8_t> out) { run.env().random(out); }),
      passing_(sizes_.size()),
      on_the_way_(sizes_.size()),
      tags_(sizes_.size()) {
    VFLBUS_ASSERT(sizes_.size() == members_.size() + 1, "every party has a list");
    VFLBUS_ASSERT(sizes_[0] == own_list_.size(), "the master's list is the first");
}

std::uint64_t PsiMaster::parts() const noexcept {
    const std::uint64_t longest = *std::ranges::max_element(sizes_);
    return (longest + psi_points_max - 1) / psi_points_max;
}

std::uint64_t PsiMaster::points_in(std::size_t list, std::uint64_t part) const noexcept {
    const std::uint64_t first = part * psi_points_max;
    return first < sizes_[list] ? std::min(psi_points_max, sizes_[list] - first) : 0;
}

Task<> PsiMaster::intersect() {
    co_await check_sizes();
    std::string sizes;
    for (const std::uint64_t size : sizes_)
        sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
    run_->log(Level::info, "private set intersection of the " + std::string(name_of(kind_)) +
                               "s: " + sizes + " ids, " +
                               std::string(name_of(privacy::psi::best_path())) + " path here");
    for (std::size_t round = 1; round < parties(); ++round) co_await pass(round);
    co_await tell_digests();
    co_await collect();
    co_await compare();
    co_await show_tags();
    co_await undo();
    co_await tell();
}

Result<> PsiMaster::check_sizes() const {
    const std::uint64_t least = run_->config().data.common_min;
    for (std::size_t p = 0; p < parties(); ++p) {
        if (sizes_[p] >= least) continue;
        const std::string& name = p == 0 ? run_->options().name : run_->parties()[rank(p)].name;
        return fail(Errc::bad_data, name + " has " + std::to_string(sizes_[p]) + " ids in its " +
                                        std::string(name_of(kind_)) +
                                        ", fewer than must be common (data.common_min = " +
                                        std::to_string(least) + ")");
    }
    return {};
}

/// Every list passes every party once more than it has parties, and its tags go to the others: so
/// many ids are worked on in all, part by part.
void PsiMaster::note_progress(std::uint64_t part) {
    std::uint64_t ids = 0;
    for (std::size_t list = 0; list < parties(); ++list) {
        done_ += points_in(list, part);
        ids += sizes_[list];
    }
    run_->report_job({run_->options().name + ": private set intersection of the " +
                          std::string(name_of(kind_)) + "s",
                      done_, ids * (parties() + 1), observe::JobState::Unit::count});
}

// -- rounds -----------------------------------------------------------------------------

Task<> PsiMaster::pass(std::size_t round) {
    ask_parts(round, 0);
    co_await receive_parts(round, 0);
    for (std::uint64_t part = 0; part < parts(); ++part) {
        give_parts(round, part);
        ask_parts(round, part + 1);  // the members turn to it when they have multiplied this one
        co_await take_part(round);
        for (Replies& replies : given_) co_await replies;
        given_.clear();
        note_progress(part);
        co_await receive_parts(round, part + 1);
    }
    for (std::size_t list = 0; list < parties(); ++list) {
        if (round > 1 && holder(list, round - 1) == 0) passing_[list].drop();
        if (holder(list, round) != 0) continue;
        Result<> closed = passing_[list].close();
        co_await run_->said_by(rank(holder(list, round - 1)), std::move(closed));
    }
}

void PsiMaster::ask_parts(std::size_t round, std::uint64_t part) {
    asked_.clear();
    asked_lists_.clear();
    for (std::size_t list = 0; list < parties(); ++list) {
        const std::size_t from = holder(list, round - 1);
        PsiTakeRequest request;
        request.table = kind_;
        request.list = list;
        request.first = part * psi_points_max;
        request.count = points_in(list, part);
        if (from == 0 || request.count == 0) continue;
        asked_.push_back(run_->parties().ask(rank(from), message::psi_take, encode(request)));
        asked_lists_.push_back(list);
    }
}

Task<> PsiMaster::receive_parts(std::size_t round, std::uint64_t part) {
    for (std::size_t list = 0; list < parties(); ++list) {
        on_the_way_[list].clear();
        const std::uint64_t count = points_in(list, part);
        if (holder(list, round - 1) != 0 || count == 0) continue;
        const std::uint64_t first = part * psi_points_max;
        if (list == 0) {
            on_the_way_[list] = own_list_.points(first, count);
        } else {
            const std::span<const Point> points = passing_[list].points().subspan(first, count);
            on_the_way_[list].assign(points.begin(), points.end());
        }
    }
    for (std::size_t i = 0; i < asked_.size(); ++i) {
        const std::vector<Bytes> replies = co_await asked_[i];
        const std::size_t list = asked_lists_[i];
        auto points = decode_points(replies[0], points_in(list, part));
        on_the_way_[list] =
            co_await run_->said_by(rank(holder(list, round - 1)), std::move(points));
    }
}

void PsiMaster::give_parts(std::size_t round, std::uint64_t part) {
    for (std::size_t list = 0; list < parties(); ++list) {
        const std::size_t to = holder(list, round);
        if (to == 0 || points_in(list, part) == 0) continue;
        const Part& points = on_the_way_[list];
        PsiGiveRequest request;
        request.table = kind_;
        request.list = list;
        request.total = sizes_[list];
        request.points = {reinterpret_cast<const std::uint8_t*>(points.data()),
                          points.size() * sizeof(Point)};
        given_.push_back(run_->parties().ask(rank(to), message::psi_give, encode(request)));
    }
}

Result<> PsiMaster::take_part(std::size_t round) {
    for (std::size_t list = 1; list < parties(); ++list) {
        if (holder(list, round) != 0 || on_the_way_[list].empty()) continue;
        auto taken = passing_[list].take(own_list_.secret(), on_the_way_[list]);
        if (auto good = run_->said_by(rank(holder(list, round - 1)), std::move(taken)); !good)
            return good;
    }
    return {};
}

// -- what is common -----------------------------------------------------------------------

Task<> PsiMaster::tell_digests() {
    const std::size_t rounds = parties() - 1;
    std::vector<Hash256> digests(parties());
    std::vector<Replies> asked = ask_ring(
        message::psi_digest, std::vector<Bytes>(members_.size(), encode_psi_digest(kind_)));
    for (std::size_t list = 1; list < parties(); ++list) {
        if (holder(list, rounds) != 0) continue;
        tags_[list] = passing_[list].tags(0, passing_[list].size());
        passing_[list].drop();
        digests[list] = digest_of_tags(tags_[list]);
    }
    for (std::size_t list = 0; list < parties(); ++list) {
        const std::size_t at = holder(list, rounds);
        if (at == 0) continue;
        const std::vector<Bytes> replies = co_await asked[at - 1];
        auto digest = decode_digest(replies[0]);
        digests[list] = co_await run_->said_by(rank(at), std::move(digest));
    }
    PsiDigestsRequest request;
    request.table = kind_;
    request.digests = {reinterpret_cast<const std::uint8_t*>(digests.data()),
                       digests.size() * sizeof(Hash256)};
    std::vector<Replies> told =
        ask_ring(message::psi_digests, std::vector<Bytes>(members_.size(), encode(request)));
    for (Replies& replies : told) co_await replies;
}

Task<> PsiMaster::show_tags() {
    const std::size_t rounds = parties() - 1;
    for (std::uint64_t part = 0; part < parts(); ++part) {
        std::vector<Replies> shown;
        for (std::size_t list = 0; list < parties(); ++list) {
            const std::uint64_t count = points_in(list, part);
            if (count == 0) continue;
            PsiTagsRequest request;
            request.table = kind_;
            request.list = list;
            request.tags = {
                reinterpret_cast<const std::uint8_t*>(&tags_[list][part * psi_points_max]),
                count * sizeof(Tag)};
            for (std::size_t to = 1; to < parties(); ++to)
                if (holder(list, rounds) != to)
                    shown.push_back(
                        run_->parties().ask(rank(to), message::psi_tags, encode(request)));
        }
        for (Replies& replies : shown) co_await replies;
        note_progress(part);
    }
    std::vector<std::vector<Tag>>().swap(tags_);
}

Task<> PsiMaster::collect() {
    const std::size_t rounds = parties() - 1;
    for (std::uint64_t part = 0; part < parts(); ++part) {
        ask_parts(rounds + 1, part);
        for (std::size_t i = 0; i < asked_.size(); ++i) {
            const std::vector<Bytes> replies = co_await asked_[i];
            const std::size_t list = asked_lists_[i];
            std::vector<Tag>& tags = tags_[list];
            auto decoded = decode_tags(replies[0], points_in(list, part));
            if (decoded &&
                !privacy::psi::ascending(*decoded, tags.empty() ? nullptr : &tags.back()))
                decoded = fail(Errc::malformed_message, "sent tags that are not ascending");
            const std::vector<Tag> next =
                co_await run_->said_by(rank(holder(list, rounds)), std::move(decoded));
            tags.insert(tags.end(), next.begin(), next.end());
        }
        note_progress(part);
    }
}

Result<> PsiMaster::compare() {
    marks_ = privacy::psi::common_of(tags_);
    common_ = privacy::psi::marked(marks_[0]);
    const std::uint64_t least = run_->config().data.common_min;
    if (common_ >= least) return {};
    // none and few in the same words, as all parties read them: how many would tell whether an id
    // that somebody has put in is one of them
    const std::string of_whom =
        members_.size() == run_->parties().members()
            ? "all parties"
            : run_->options().name + " and " + run_->parties()[rank(1)].name;
    return fail(Errc::bad_data,
                "the ids that are common to the " + std::string(name_of(kind_)) + "s of " +
                    of_whom + ", if any, are fewer than data.common_min (" + std::to_string(least) +
                    "): nobody has learnt which; see whether all write their ids "
                    "in the same way");
}

Task<> PsiMaster::undo() {
    for (std::size_t round = parties() - 1; round >= 1; --round) {
        std::vector<Replies> asked;
        std::vector<std::size_t> lists;
        for (std::size_t list = 0; list < parties(); ++list) {
            const std::size_t from = holder(list, round);
            if (from == 0) {
                auto marks = passing_[list].marks_back(marks_[list]);
                VFLBUS_ASSERT(marks.has_value(), "the marks are of the list as it left");
                marks_[list] = std::move(*marks);
                continue;
            }
            PsiUndoRequest request;
            request.table = kind_;
            request.list = list;
            request.marks = marks_[list];
            asked.push_back(run_->parties().ask(rank(from), message::psi_undo, encode(request)));
            lists.push_back(list);
        }
        for (std::size_t i = 0; i < asked.size(); ++i) {
            const std::vector<Bytes> replies = co_await asked[i];
            const std::size_t list = lists[i];
            auto marks = decode_marks(replies[0], sizes_[list], common_);
            marks_[list] = co_await run_->said_by(rank(holder(list, round)), std::move(marks));
        }
    }
}

Task<> PsiMaster::tell() {
    const auto own = own_list_.own_marks(marks_[0]);
    VFLBUS_ASSERT(own.has_value(), "the marks are of the list as it was sent");
    own_marks_ = *own;
    PsiCommonRequest request;
    request.table = kind_;
    request.digest = digest_of_common(data::restricted(own_->local(kind_), own_marks_).ids);
    std::vector<Bytes> bodies;
    for (std::size_t list = 1; list < parties(); ++list) {
        request.marks = marks_[list];
        bodies.push_back(encode(request));
    }
    std::vector<Replies> asked = ask_ring(message::psi_common, bodies);
    for (std::size_t i = 0; i < asked.size(); ++i) {
        const std::vector<Bytes> replies = co_await asked[i];
        auto counts = decode_counts(replies[0]);
        counts_.push_back(co_await run_->said_by(members_[i], std::move(counts)));
    }
}

std::vector<Replies> PsiMaster::ask_ring(MessageType type, const std::vector<Bytes>& bodies) {
    std::vector<Replies> asked;
    for (std::size_t i = 0; i < members_.size(); ++i)
        asked.push_back(run_->parties().ask(members_[i], type, bodies[i]));
    return asked;
}

// -- as one way of an alignment -----------------------------------------------------------

Task<> Alignment::gather_common(std::vector<TableKind> kinds) {
    std::vector<Replies> asked;
    for (const TableKind kind : kinds)
        asked.push_back(run_->parties().ask_all(message::psi_begin, encode_psi_begin(kind)));
    for (const TableKind kind : kinds) of(kind).own = co_await own_->align(kind);
    for (std::size_t k = 0; k < kinds.size(); ++k) {
        TableIds& table = of(kinds[k]);
        const std::vector<Bytes> replies = co_await asked[k];
        table.ids.assign(1, own_->local(kinds[k]).ids.size());
        table.of_members.clear();
        for (std::size_t i = 0; i < replies.size(); ++i) {
            std::uint64_t ids = 0;
            auto begun = decode_psi_begun(replies[i], ids);
            table.of_members.push_back(co_await run_->said_by(i, std::move(begun)));
            table.ids.push_back(ids);
        }
    }
    for (const TableKind kind : kinds) {
        bool all = own_->aligned(kind);
        for (const AlignReply& member : of(kind).of_members) all = all && member.present;
        if (!all) continue;  // `present` says who has none
        if (own_->agreed().data.join == config::Join::left)
            co_await intersect_pairs(kind);
        else
            co_await intersect_privately(kind);
    }
}

Task<> Alignment::intersect_privately(TableKind kind) {
    TableIds& table = of(kind);
    std::vector<std::vector<std::uint32_t>> counts;
    {
        std::vector<std::size_t> members(table.of_members.size());
        std::iota(members.begin(), members.end(), std::size_t{0});
        PsiMaster psi(*run_, *own_, kind, std::move(members), table.ids);
        co_await psi.intersect();
        own_->restrict_to(kind, psi.own_marks());
        counts = std::move(psi.counts());
    }
    const std::vector<Hash128>& common = own_->local(kind).ids;
    for (std::size_t i = 0; i < table.of_members.size(); ++i)
        co_await take_common(kind, i, common, std::move(counts[i]));
    for (std::size_t p = 0; p < table.ids.size(); ++p) warn_of_few(kind, p, common.size());
}

Task<> Alignment::intersect_pairs(TableKind kind) {
    TableIds& table = of(kind);
    for (std::size_t i = 0; i < table.of_members.size(); ++i) {
        PsiMaster psi(*run_, *own_, kind, {i}, {table.ids[0], table.ids[i + 1]});
        co_await psi.intersect();
        std::vector<Hash128> common = data::restricted(own_->local(kind), psi.own_marks()).ids;
        warn_of_few(kind, i + 1, common.size());
        co_await take_common(kind, i, std::move(common), std::move(psi.counts()[0]));
    }
}

Task<> Alignment::take_common(TableKind kind, std::size_t member, std::vector<Hash128> ids,
                              std::vector<std::uint32_t> counts) {
    AlignReply& reply = of(kind).of_members[member];
    reply.ids = std::move(ids);
    reply.counts = std::move(counts);
    co_await run_->said_by(member, check_claims(reply));
}

void Alignment::warn_of_few(TableKind kind, std::size_t party, std::size_t common) {
    const std::uint64_t ids = of(kind).ids[party];
    if (static_cast<double>(common) >= data::match_share_low * static_cast<double>(ids)) return;
    run_->log(Level::warn,
              std::string(name_of(kind)) + ": few ids match: " + std::to_string(common) +
                  " are common, of " +
                  (party == 0 ? run_->options().name : run_->parties()[party - 1].name) + "'s " +
                  std::to_string(ids) + "; see whether all write their ids in the same way");
}

}  // namespace vflbus::actors
