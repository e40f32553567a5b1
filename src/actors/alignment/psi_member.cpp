#include "actors/alignment/psi_member.hpp"

#include <cstring>
#include <string>
#include <utility>

#include "base/planted.hpp"

namespace vflbus::actors {
namespace {

using privacy::psi::Marks;
using privacy::psi::PassingList;
using privacy::psi::Point;

tl::unexpected<Failure> refused(const std::string& why) {
    return fail(Errc::malformed_message, "refuses the intersection: " + why);
}

/// For the planted bug alone.
void same_for_ever(std::span<std::uint8_t> out) {
    for (std::uint8_t& byte : out) byte = 77;
}

}  // namespace

bool PsiMember::revealed(TableKind kind) const noexcept {
    const auto& table = tables_[static_cast<std::size_t>(kind)];
    return done(kind) || (table && table->common != 0);
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
    passing.sent += request.count;
    // behind the last party of the ring nobody multiplies the points any more: tags are enough
    const bool last = (place_ + 1) % parties_ == request.list;
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

Result<> PsiMember::check_marks(Table& table, std::span<const std::uint8_t> marks) const {
    const std::uint64_t common = privacy::psi::marked(marks);
    if (common < least_)
        return refused("the ids that are common, if any, are fewer than data.common_min (" +
                       std::to_string(least_) + ")");
    if (table.common != 0 && table.common != common)
        return refused("lists have different numbers of common ids");
    for (std::size_t p = 0; p < parties_; ++p)
        if (passes(p) &&
            (table.passing[p].sent == 0 || table.passing[p].sent != table.passing[p].total))
            return refused("not all lists have passed");
    if (table.sent != table.own.size()) return refused("its own list has not been sent");
    table.common = common;
    return {};
}

Result<Bytes> PsiMember::undo(const PsiUndoRequest& request) {
    Table* const table = this->table(request.table);
    if (table == nullptr || !passes(request.list)) return refused("it has no such list");
    Passing& passing = table->passing[request.list];
    if (passing.undone) return refused("a list is asked for twice");
    if (auto good = check_marks(*table, request.marks); !good)
        return tl::unexpected(std::move(good.error()));
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
