#include "actors/alignment/psi_messages.hpp"

#include <cstring>
#include <string>
#include <utility>

namespace vflbus::actors {
namespace {

using bus::Reader;
using bus::Writer;
using privacy::psi::Marks;
using privacy::psi::Point;
using privacy::psi::Tag;

TableKind table_in(Reader& r) {
    return static_cast<TableKind>(r.u64(table_kinds - 1));
}

Writer& table(Writer& w, TableKind kind) {
    return w.u64(static_cast<std::uint64_t>(kind));
}

template <class T>
Bytes encode_bytes(std::span<const T> values) {
    Writer w;
    w.reserve(values.size_bytes() + 16);
    w.array(1).bin({reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
    return w.take();
}

template <class T>
Result<std::vector<T>> decode_bytes(std::string_view what, Body body, std::uint64_t count) {
    Reader r(what, body, 1);
    const Body bytes = r.bin();
    if (r.ok() && bytes.size() != count * sizeof(T))
        r.fault("it has another number of them than was asked for");
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    std::vector<T> values(count);
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

}  // namespace

Hash256 digest_of_common(std::span<const Hash128> ids) {
    return hash256({reinterpret_cast<const std::uint8_t*>(ids.data()), ids.size_bytes()});
}

Hash256 digest_of_tags(std::span<const Tag> tags) {
    return hash256({reinterpret_cast<const std::uint8_t*>(tags.data()), tags.size_bytes()});
}

// -- encoding -------------------------------------------------------------------------

Bytes encode_psi_begin(TableKind kind) {
    Writer w;
    return table(w.array(1), kind).take();
}

Bytes encode_psi_begun(const AlignReply& m, std::uint64_t ids) {
    Writer w;
    w.array(6).boolean(m.present).u64(ids).u64(m.rows).u64(m.duplicate_rows);
    return w.u64(m.missing_cells).u64(m.columns).take();
}

Bytes encode(const PsiTakeRequest& m) {
    Writer w;
    return table(w.array(4), m.table).u64(m.list).u64(m.first).u64(m.count).take();
}

Bytes encode_points(std::span<const Point> points) {
    return encode_bytes(points);
}

Bytes encode_tags(std::span<const Tag> tags) {
    return encode_bytes(tags);
}

Bytes encode(const PsiGiveRequest& m) {
    Writer w;
    w.reserve(m.points.size() + 64);
    return table(w.array(4), m.table).u64(m.list).u64(m.total).bin(m.points).take();
}

Bytes encode_psi_digest(TableKind kind) {
    return encode_psi_begin(kind);
}

Bytes encode_digest(const Hash256& digest) {
    Writer w;
    return w.array(1).bin(digest).take();
}

Bytes encode(const PsiDigestsRequest& m) {
    Writer w;
    return table(w.array(2), m.table).bin(m.digests).take();
}

Bytes encode(const PsiTagsRequest& m) {
    Writer w;
    w.reserve(m.tags.size() + 64);
    return table(w.array(3), m.table).u64(m.list).bin(m.tags).take();
}

Bytes encode(const PsiUndoRequest& m) {
    Writer w;
    return table(w.array(3), m.table).u64(m.list).bin(m.marks).take();
}

Bytes encode_marks(std::span<const std::uint8_t> marks) {
    return encode_bytes(marks);
}

Bytes encode(const PsiCommonRequest& m) {
    Writer w;
    return table(w.array(3), m.table).bin(m.marks).bin(m.digest).take();
}

Bytes encode_counts(std::span<const std::uint32_t> counts) {
    Writer w;
    return w.array(1).u32s(counts).take();
}

// -- decoding -------------------------------------------------------------------------

Result<TableKind> decode_psi_begin(Body body) {
    Reader r("psi_begin", body, 1);
    return finished(r, table_in(r));
}

Result<AlignReply> decode_psi_begun(Body body, std::uint64_t& ids) {
    Reader r("psi_begin reply", body, 6);
    AlignReply m;
    m.present = r.boolean();
    ids = r.u64(UINT32_MAX);
    m.rows = r.u64();
    m.duplicate_rows = r.u64();
    m.missing_cells = r.u64();
    m.columns = r.u64();
    if (r.ok() && ids > m.rows) r.fault("there are more ids than rows");
    return finished(r, std::move(m));
}

Result<PsiTakeRequest> decode_psi_take(Body body) {
    Reader r("psi_take", body, 4);
    PsiTakeRequest m;
    m.table = table_in(r);
    m.list = r.u64();
    m.first = r.u64(UINT32_MAX);
    m.count = r.u64(psi_points_max);
    return finished(r, std::move(m));
}

Result<std::vector<Point>> decode_points(Body body, std::uint64_t count) {
    return decode_bytes<Point>("the points", body, count);
}

Result<std::vector<Tag>> decode_tags(Body body, std::uint64_t count) {
    return decode_bytes<Tag>("the tags", body, count);
}

Result<PsiGiveRequest> decode_psi_give(Body body) {
    Reader r("psi_give", body, 4);
    PsiGiveRequest m;
    m.table = table_in(r);
    m.list = r.u64();
    m.total = r.u64(UINT32_MAX);
    m.points = r.bin(psi_points_max * sizeof(Point));
    if (r.ok() && (m.points.empty() || m.points.size() % sizeof(Point) != 0))
        r.fault("the points are not a multiple of 32 bytes");
    return finished(r, std::move(m));
}

Result<TableKind> decode_psi_digest(Body body) {
    Reader r("psi_digest", body, 1);
    return finished(r, table_in(r));
}

Result<Hash256> decode_digest(Body body) {
    Reader r("psi_digest reply", body, 1);
    Hash256 digest{};
    r.fixed_bin(digest);
    return finished(r, std::move(digest));
}

Result<PsiDigestsRequest> decode_psi_digests(Body body) {
    Reader r("psi_digests", body, 2);
    PsiDigestsRequest m;
    m.table = table_in(r);
    m.digests = r.bin();
    return finished(r, std::move(m));
}

Result<PsiTagsRequest> decode_psi_tags(Body body) {
    Reader r("psi_tags", body, 3);
    PsiTagsRequest m;
    m.table = table_in(r);
    m.list = r.u64();
    m.tags = r.bin(psi_points_max * sizeof(Tag));
    if (r.ok() && (m.tags.empty() || m.tags.size() % sizeof(Tag) != 0))
        r.fault("the tags are not a multiple of 16 bytes");
    return finished(r, std::move(m));
}

Result<PsiUndoRequest> decode_psi_undo(Body body) {
    Reader r("psi_undo", body, 3);
    PsiUndoRequest m;
    m.table = table_in(r);
    m.list = r.u64();
    m.marks = r.bin();
    return finished(r, std::move(m));
}

Result<Marks> decode_marks(Body body, std::uint64_t places, std::uint64_t marked) {
    auto marks = decode_bytes<std::uint8_t>("the marks", body, privacy::psi::marks_bytes(places));
    if (marks && privacy::psi::marked(*marks) != marked)
        return fail(Errc::malformed_message, "the marks are " +
                                                 std::to_string(privacy::psi::marked(*marks)) +
                                                 " where " + std::to_string(marked) + " were sent");
    return marks;
}

Result<PsiCommonRequest> decode_psi_common(Body body) {
    Reader r("psi_common", body, 3);
    PsiCommonRequest m;
    m.table = table_in(r);
    m.marks = r.bin();
    r.fixed_bin(m.digest);
    return finished(r, std::move(m));
}

Result<std::vector<std::uint32_t>> decode_counts(Body body) {
    Reader r("psi_common reply", body, 1);
    return finished(r, r.u32s());
}

}  // namespace vflbus::actors
