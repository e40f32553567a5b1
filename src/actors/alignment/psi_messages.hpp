#pragma once
// Messages of private set intersection: docs/alignment.md. Structs that hold spans borrow from the
// body they were decoded from.

#include <cstdint>
#include <span>
#include <vector>

#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "privacy/psi/lists.hpp"

namespace vflbus::actors {

/// Points of one message: 128 KiB, and some tens of milliseconds of work at either end.
inline constexpr std::uint64_t psi_points_max = 4096;

/// Points `first` .. `first + count - 1` of the list of party `list` (the master is 0, a member its
/// rank + 1), as they leave the party that is asked.
struct PsiTakeRequest {
    TableKind table = TableKind::train;
    std::uint64_t list = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
};

/// The next points of a list that passes the party; it has `total` in all.
struct PsiGiveRequest {
    TableKind table = TableKind::train;
    std::uint64_t list = 0;
    std::uint64_t total = 0;
    Body points;  ///< 32 bytes each
};

/// Digests of the tags of all lists, by list: each from the party where that list ends.
struct PsiDigestsRequest {
    TableKind table = TableKind::train;
    Body digests;  ///< 32 bytes each
};

/// The next tags of a list that ended elsewhere.
struct PsiTagsRequest {
    TableKind table = TableKind::train;
    std::uint64_t list = 0;
    Body tags;  ///< 16 bytes each
};

/// What is marked in the list as it left the party; answered with the marks of the list as it came.
struct PsiUndoRequest {
    TableKind table = TableKind::train;
    std::uint64_t list = 0;
    Body marks;
};

/// What is marked in the list of the member itself, as it sent it.
struct PsiCommonRequest {
    TableKind table = TableKind::train;
    Body marks;
    Hash256 digest{};  ///< of the common ids: `digest_of_common`
};

/// Of the hashes of all common ids, ascending.
Hash256 digest_of_common(std::span<const Hash128> ids);

/// Of all tags of a list, ascending.
Hash256 digest_of_tags(std::span<const privacy::psi::Tag> tags);

Bytes encode_psi_begin(TableKind table);
/// present, ids, and the numbers of an AlignReply; the ids of `m` are not looked at.
Bytes encode_psi_begun(const AlignReply& m, std::uint64_t ids);
Bytes encode(const PsiTakeRequest& m);
Bytes encode_points(std::span<const privacy::psi::Point> points);
Bytes encode_tags(std::span<const privacy::psi::Tag> tags);
Bytes encode(const PsiGiveRequest& m);
Bytes encode_psi_digest(TableKind table);
Bytes encode_digest(const Hash256& digest);
Bytes encode(const PsiDigestsRequest& m);
Bytes encode(const PsiTagsRequest& m);
Bytes encode(const PsiUndoRequest& m);
Bytes encode_marks(std::span<const std::uint8_t> marks);
Bytes encode(const PsiCommonRequest& m);
Bytes encode_counts(std::span<const std::uint32_t> counts);

Result<TableKind> decode_psi_begin(Body body);
Result<AlignReply> decode_psi_begun(Body body, std::uint64_t& ids);
Result<PsiTakeRequest> decode_psi_take(Body body);
/// The bytes of exactly `count` points, or tags.
Result<std::vector<privacy::psi::Point>> decode_points(Body body, std::uint64_t count);
Result<std::vector<privacy::psi::Tag>> decode_tags(Body body, std::uint64_t count);
Result<PsiGiveRequest> decode_psi_give(Body body);
Result<TableKind> decode_psi_digest(Body body);
Result<Hash256> decode_digest(Body body);
Result<PsiDigestsRequest> decode_psi_digests(Body body);
Result<PsiTagsRequest> decode_psi_tags(Body body);
Result<PsiUndoRequest> decode_psi_undo(Body body);
/// Of a list of `places`, with `marked` marks.
Result<privacy::psi::Marks> decode_marks(Body body, std::uint64_t places, std::uint64_t marked);
Result<PsiCommonRequest> decode_psi_common(Body body);
Result<std::vector<std::uint32_t>> decode_counts(Body body);

}  // namespace vflbus::actors
