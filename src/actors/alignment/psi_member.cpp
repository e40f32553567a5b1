#include "actors/alignment/psi_member.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/planted.hpp"

namespace vflbus::actors {
namespace {

using privacy::psi::Marks;
using privacy::psi::PassingList;
using privacy::psi::Point;
using privacy::psi::Tag;

tl::unexpected<Failure> refused(const std::string& why) {
    return fail(Errc::malformed_message, "refuses the intersection: " + why);
}

tl::unexpected<Failure> too_few(std::uint64_t least) {
    return refused("the ids that are common, if any, are fewer than data.common_min (" +
                   std::to_string(least) + ")");
}

/// For the planted bug alone.
void same_for_ever(std::span<std::uint8_t> out) {
    for (std::uint8_t& byte : out) byte = 77;
}

}  // namespace

bool PsiMember::revealed(TableKind kind) const noexcept {
    const auto& table = tables_[static_cast<std::size_t>(kind)];
    return done(kind) || (table && table->revealed);
}

Result<Bytes> PsiMember::begin(Party& party, TableKind kind,
                               const privacy::psi::Randomness& random) {
    const auto reply = party.align(kind);
    if (!reply) return tl::unexpected(reply.error());
    const std::vector<Hash128>& ids = party.local(kind).ids;
    if (reply->present)
        tables_[static_cast<std::size_t>(kind)] = std::make_unique<Table>(
            ids, parties_, VFLBUS_PLANTED(set_secret_kept) ? same_for_ever : random);
    else
        done_[static_cast<std::size_t>(kind)] = true;
    return encode_psi_begun(*reply, ids.size());
}

Result<Bytes> PsiMember::take(const PsiTakeRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr) return refused("it has no list of this table");
    if (request.list == place_) {
        if (request.first != table->sent || request.count > table->own.size() - table->sent)
            return refused("its own list is asked for in another order than it is sent in");
        table->sent += request.count;
        return encode_points(table->own.points(request.first, request.count));
    }
    if (!passes(request.list)) return refused("there is no such list");
    Passing& passing = table->passing[request.list];
    const std::uint64_t left = passing.list.closed() ? passing.list.size() - passing.sent : 0;
    if (request.first != passing.sent || request.count > left)
        return refused("a list is asked for that has not come, or in another order");
    // behind the last party of the ring nobody multiplies the points any more: tags are enough
    const bool last = request.list == ends_here();
    if (last && table->digests.empty())
        return refused(
            "tags are asked for before the digests of those of the other lists are told");
    passing.sent += request.count;
    Bytes reply = last ? encode_tags(passing.list.tags(request.first, request.count))
                       : encode_points(passing.list.points().subspan(request.first, request.count));
    if (passing.sent == passing.list.size()) passing.list.drop();
    return reply;
}

Result<Bytes> PsiMember::give(const PsiGiveRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr || !passes(request.list)) return refused("it takes no such list");
    Passing& passing = table->passing[request.list];
    const std::uint64_t count = request.points.size() / sizeof(Point);
    if (request.total < least_)
        return refused("a list of " + std::to_string(request.total) +
                       " ids cannot have data.common_min (" + std::to_string(least_) +
                       ") in common with others");
    if ((passing.total != 0 && passing.total != request.total) || passing.list.closed() ||
        count > request.total - passing.list.size())
        return refused("a list has more points than it said");
    std::vector<Point> points(count);
    std::memcpy(points.data(), request.points.data(), request.points.size());
    passing.total = request.total;
    if (auto taken = passing.list.take(table->own.secret(), points); !taken)
        return tl::unexpected(std::move(taken.error()));
    if (passing.list.size() == passing.total)
        if (auto closed = passing.list.close(); !closed)
            return tl::unexpected(std::move(closed.error()));
    return encode_empty();
}

Result<Bytes> PsiMember::digest(TableKind kind) {
    Table* const table = this->table(kind);
    if (table == nullptr) return refused("it has no list of this table");
    const PassingList& list = table->passing[ends_here()].list;
    if (!list.closed()) return refused("the list that ends here has not come");
    std::vector<Tag>& tags = table->tags[ends_here()];
    if (!tags.empty()) return refused("a digest is asked for twice");
    tags = list.tags(0, list.size());
    return encode_digest(digest_of_tags(tags));
}

Result<Bytes> PsiMember::digests(const PsiDigestsRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr) return refused("it has no list of this table");
    const std::vector<Tag>& own = table->tags[ends_here()];
    if (own.empty() || !table->digests.empty())
        return refused("digests are told before its own was asked for, or twice");
    if (request.digests.size() != parties_ * sizeof(Hash256))
        return refused("there are not as many digests as parties");
    std::vector<Hash256> digests(parties_);
    std::memcpy(digests.data(), request.digests.data(), request.digests.size());
    if (digests[ends_here()] != digest_of_tags(own))
        return refused("another digest is told than its own");
    table->digests = std::move(digests);
    return encode_empty();
}

Result<Bytes> PsiMember::tags(const PsiTagsRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr || request.list >= parties_ || request.list == ends_here())
        return refused("it takes no tags of such a list");
    if (table->digests.empty() || table->common != 0)
        return refused("tags come before their digests were told, or twice");
    std::vector<Tag>& tags = table->tags[request.list];
    const std::uint64_t size = size_of(*table, request.list);
    const std::uint64_t count = request.tags.size() / sizeof(Tag);
    if (count > size - tags.size()) return refused("a list has more tags than points");
    std::vector<Tag> next(count);
    std::memcpy(next.data(), request.tags.data(), request.tags.size());
    if (!privacy::psi::ascending(next, tags.empty() ? nullptr : &tags.back()))
        return refused("tags are not ascending");
    tags.insert(tags.end(), next.begin(), next.end());
    if (tags.size() == size && digest_of_tags(tags) != table->digests[request.list])
        return refused("the tags of a list are not those whose digest was told");
    for (std::size_t list = 0; list < parties_; ++list)
        if (table->tags[list].empty() || table->tags[list].size() != size_of(*table, list))
            return encode_empty();
    if (auto compared = compare(*table); !compared)
        return tl::unexpected(std::move(compared.error()));
    return encode_empty();
}

Result<> PsiMember::compare(Table& table) const {
    std::vector<Marks> marks = privacy::psi::common_of(table.tags);
    const std::uint64_t common = privacy::psi::marked(marks[ends_here()]);
    if (common < least_) return too_few(least_);
    table.ends_here = std::move(marks[ends_here()]);
    table.common = common;
    for (std::vector<Tag>& tags : table.tags) std::vector<Tag>().swap(tags);
    return {};
}

Result<> PsiMember::check_marks(Table& table, std::span<const std::uint8_t> marks) const {
    const std::uint64_t common = privacy::psi::marked(marks);
    if (common < least_) return too_few(least_);
    for (std::size_t p = 0; p < parties_; ++p)
        if (passes(p) &&
            (table.passing[p].sent == 0 || table.passing[p].sent != table.passing[p].total))
            return refused("not all lists have passed");
    if (table.sent != table.own.size()) return refused("its own list has not been sent");
    if (table.common == 0) return refused("it has not seen the tags of all lists");
    if (table.common != common)
        return refused("another number of ids is marked than all lists have");
    table.revealed = true;
    return {};
}

Result<Bytes> PsiMember::undo(const PsiUndoRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr || !passes(request.list)) return refused("it has no such list");
    Passing& passing = table->passing[request.list];
    if (passing.undone) return refused("a list is asked for twice");
    if (auto good = check_marks(*table, request.marks); !good)
        return tl::unexpected(std::move(good.error()));
    if (request.list == ends_here() && !std::ranges::equal(request.marks, table->ends_here))
        return refused("other places are marked than those of ids that all lists have");
    const auto marks = passing.list.marks_back(request.marks);
    if (!marks) return tl::unexpected(marks.error());
    passing.undone = true;
    return encode_marks(*marks);
}

Result<Bytes> PsiMember::common(Party& party, const PsiCommonRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr) return refused("it has no list of this table");
    if (auto good = check_marks(*table, request.marks); !good)
        return tl::unexpected(std::move(good.error()));
    const auto marks = table->own.own_marks(request.marks);
    if (!marks) return tl::unexpected(marks.error());
    const std::vector<Hash128>& ids = party.local(request.table).ids;
    std::vector<Hash128> common;
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (privacy::psi::is_marked(*marks, i)) common.push_back(ids[i]);
    // either way this was the only answer
    tables_[static_cast<std::size_t>(request.table)].reset();
    if (digest_of_common(common) != request.digest)
        return refused("the ids that are said to be common are not those that the master has");
    party.restrict_to(request.table, *marks);
    done_[static_cast<std::size_t>(request.table)] = true;
    return encode_counts(party.local(request.table).counts);
}

}  // namespace vflbus::actors
