#include "data/align.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <compare>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "base/assert.hpp"
#include "base/hash_many.hpp"
#include "base/text.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

/// An id as two numbers in the same order: millions of comparisons go without a call of memcmp.
struct IdKey {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend auto operator<=>(const IdKey&, const IdKey&) = default;
};

IdKey key_of(const Hash128& id) noexcept {
    static_assert(std::endian::native == std::endian::little, "bytes are swapped here");
    IdKey key;
    std::memcpy(&key.high, id.data(), sizeof key.high);
    std::memcpy(&key.low, id.data() + sizeof key.high, sizeof key.low);
    return {__builtin_bswap64(key.high), __builtin_bswap64(key.low)};
}

struct HashedRow {
    Hash128 id;
    std::uint32_t row;
};

bool hashed_less(const HashedRow& a, const HashedRow& b) noexcept {
    const IdKey x = key_of(a.id);
    const IdKey y = key_of(b.id);
    if (x.high != y.high) return x.high < y.high;
    if (x.low != y.low) return x.low < y.low;
    return a.row < b.row;
}

std::vector<HashedRow> hash_rows(const Ids& ids, std::string_view salt) {
    constexpr std::size_t at_once = 512;
    std::array<std::string_view, at_once> texts;
    std::array<Hash128, at_once> hashes;
    std::vector<HashedRow> rows(ids.size());
    for (std::size_t first = 0; first < rows.size(); first += at_once) {
        const std::size_t count = std::min(at_once, rows.size() - first);
        for (std::size_t i = 0; i < count; ++i) texts[i] = ids[first + i];
        hash128_each({texts.data(), count}, salt, {hashes.data(), count});
        for (std::size_t i = 0; i < count; ++i)
            rows[first + i] = {hashes[i], static_cast<std::uint32_t>(first + i)};
    }
    return rows;
}

/// By hash, then by row. The first bits of hashes are spread evenly: they put each row into a
/// bucket of a few, which are sorted one by one.
std::vector<HashedRow> sorted(std::vector<HashedRow> rows) {
    constexpr std::size_t bucket_rows = 8;
    constexpr int bits_max = 20;
    const int bits = std::min<int>(std::bit_width(rows.size() / bucket_rows), bits_max);
    if (bits == 0) {
        std::sort(rows.begin(), rows.end(), hashed_less);
        return rows;
    }
    const auto bucket_of = [&](const HashedRow& row) {
        return static_cast<std::size_t>(key_of(row.id).high >> (64 - bits));
    };
    std::vector<std::uint32_t> ends(std::size_t{1} << bits, 0);
    for (const HashedRow& row : rows) ++ends[bucket_of(row)];
    std::uint32_t before = 0;
    for (std::uint32_t& end : ends) end = std::exchange(before, before + end);
    std::vector<HashedRow> spread(rows.size());
    for (const HashedRow& row : rows) spread[ends[bucket_of(row)]++] = row;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : ends) {
        std::sort(spread.begin() + begin, spread.begin() + end, hashed_less);
        begin = end;
    }
    return spread;
}

/// Three-way order of two rows by content, missing cells first.
int compare_rows(const Column& column, std::uint32_t a, std::uint32_t b) noexcept {
    if (column.kind == ColumnKind::text) {
        // dictionaries are sorted; missing_code + 1 wraps to 0
        const std::uint32_t x = column.codes[a] + 1;
        const std::uint32_t y = column.codes[b] + 1;
        return x < y ? -1 : static_cast<int>(x > y);
    }
    const double x = column.numbers[a];
    const double y = column.numbers[b];
    if (std::isnan(x) || std::isnan(y))
        return static_cast<int>(std::isnan(y)) - static_cast<int>(std::isnan(x));
    return x < y ? -1 : static_cast<int>(x > y);
}

bool content_less(const Table& table, std::uint32_t a, std::uint32_t b) noexcept {
    for (const auto* columns : {&table.labels, &table.features})
        for (const Column& column : *columns)
            if (const int order = compare_rows(column, a, b); order != 0) return order < 0;
    return a < b;
}

tl::unexpected<Failure> malformed(std::string_view party, const char* what) {
    return fail(Errc::malformed_message, std::string(party) + " " + what);
}

/// `second`: the first row of the table whose id was on an earlier one, `first`.
Failure duplicate(const Table& table, std::string_view party, std::uint32_t first,
                  std::uint32_t second, std::size_t duplicate_rows) {
    Place place = table.place_of(second);
    place.party = std::string(party);
    const std::string rest = on_line(table.place_of(first), place.file) + " already (" +
                             std::to_string(duplicate_rows) +
                             (duplicate_rows == 1 ? " such row" : " such rows") +
                             " in all); remove them, or set data.duplicates to \"first\" "
                             "or \"all\"";
    return fault(Errc::bad_data, place, ": the id " + shown(table.ids[second]) + " was " + rest,
                 ": its id was " + rest);
}

std::uint64_t count_at(std::span<const std::uint32_t> counts, std::size_t index) noexcept {
    return counts.empty() ? 1 : counts[index];
}

}  // namespace

Result<LocalIds> hash_ids(const Table& table, std::string_view salt, Duplicates duplicates,
                          std::string_view party) {
    const std::vector<HashedRow> hashed = sorted(hash_rows(table.ids, salt));

    LocalIds local;
    local.shape = shape_of(table.ids);
    local.ids.reserve(hashed.size());
    local.rows.reserve(hashed.size());
    std::uint32_t refused = missing_code;  // the first row of the file whose id came before
    std::uint32_t refused_first = 0;
    for (std::size_t begin = 0, end = 0; begin < hashed.size(); begin = end) {
        while (end < hashed.size() && hashed[end].id == hashed[begin].id) ++end;
        const std::size_t count = end - begin;
        local.ids.push_back(hashed[begin].id);
        local.duplicate_rows += count - 1;
        if (count > 1 && hashed[begin + 1].row < refused) {
            refused = hashed[begin + 1].row;
            refused_first = hashed[begin].row;
        }
        const std::size_t kept = duplicates == Duplicates::all ? count : 1;
        const auto at = local.rows.size();
        for (std::size_t i = 0; i < kept; ++i) local.rows.push_back(hashed[begin + i].row);
        if (kept == 1) {
            if (!local.counts.empty()) local.counts.push_back(1);
            continue;
        }
        if (local.counts.empty()) local.counts.assign(local.ids.size() - 1, 1);
        local.counts.push_back(static_cast<std::uint32_t>(kept));
        std::sort(local.rows.begin() + static_cast<std::ptrdiff_t>(at), local.rows.end(),
                  [&](std::uint32_t a, std::uint32_t b) { return content_less(table, a, b); });
    }
    if (duplicates == Duplicates::refuse && refused != missing_code)
        return tl::unexpected(
            duplicate(table, party, refused_first, refused, local.duplicate_rows));
    VFLBUS_ASSERT(local.counts.empty() || local.counts.size() == local.ids.size(),
                  "every id has a count, or none has");
    return local;
}

LocalIds restricted(const LocalIds& local, std::span<const std::uint8_t> marks) {
    VFLBUS_ASSERT(marks.size() == (local.ids.size() + 7) / 8, "every id has a mark");
    LocalIds kept;
    kept.duplicate_rows = local.duplicate_rows;
    kept.shape = local.shape;
    std::size_t row = 0;
    for (std::size_t i = 0; i < local.ids.size(); ++i) {
        const std::size_t count = count_at(local.counts, i);
        if ((marks[i / 8] >> (i % 8) & 1) != 0) {
            kept.ids.push_back(local.ids[i]);
            if (!local.counts.empty()) kept.counts.push_back(local.counts[i]);
            const auto from = local.rows.begin() + static_cast<std::ptrdiff_t>(row);
            kept.rows.insert(kept.rows.end(), from, from + static_cast<std::ptrdiff_t>(count));
        }
        row += count;
    }
    return kept;
}

namespace {

/// A party's ids are unique and ascending, and its counts positive and as many.
Result<> check_sent(const PartyIds& sent) {
    if (!sent.counts.empty() && sent.counts.size() != sent.ids.size())
        return malformed(sent.party, "sent ids and counts of different lengths");
    if (std::find(sent.counts.begin(), sent.counts.end(), 0U) != sent.counts.end())
        return malformed(sent.party, "sent an id that it has on no row");
    for (std::size_t i = 1; i < sent.ids.size(); ++i)
        if (!(key_of(sent.ids[i - 1]) < key_of(sent.ids[i])))
            return malformed(sent.party, "sent ids that are not unique and ascending");
    return {};
}

/// What to do about ids that do not match.
constexpr const char* mend_ids =
    "choose other columns with --id (party.<name>.id), or write one side's ids as the other's with "
    "--data 'exec:COMMAND' (party.<name>.data)";

/// How the ids of the `members` differ in kind from the master's, three members at most.
std::string differences(std::span<const PartyIds> parties, std::span<const std::size_t> members) {
    constexpr std::size_t shown_max = 3;
    std::string text;
    std::size_t shown = 0;
    for (const std::size_t p : members) {
        const std::string difference = shape_difference(parties[0].party, parties[0].shape,
                                                        parties[p].party, parties[p].shape);
        if (difference.empty() || shown++ == shown_max) continue;
        text += (text.empty() ? "" : "; ") + difference;
    }
    return text.empty() ? "they look alike: do their id columns mean the same?"
                        : "they differ in shape: " + text;
}

}  // namespace

Failure nothing_common(std::span<const PartyIds> parties) {
    std::vector<std::string> sizes;
    std::vector<std::size_t> members;
    for (const PartyIds& sent : parties) {
        sizes.push_back(std::string(sent.party) + " has " + std::to_string(sent.ids.size()));
        if (sizes.size() > 1) members.push_back(sizes.size() - 1);
    }
    const std::string none =
        "no id is common to all parties (" + join_and(sizes) + " different ids)";
    Failure failure{Errc::bad_data, none + "; " + differences(parties, members) + "; " + mend_ids};
    failure.for_others = none + "; the master's log says what the ids look like";
    return failure;
}

namespace {

std::size_t common_of_two(std::span<const Hash128> a, std::span<const Hash128> b) noexcept {
    std::size_t common = 0;
    for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
        const IdKey x = key_of(a[i]);
        const IdKey y = key_of(b[j]);
        if (x == y) ++common;
        if (!(x < y)) ++j;
        if (!(y < x)) ++i;
    }
    return common;
}

double fraction_of(std::size_t part, std::size_t all) noexcept {
    return all == 0 ? 1 : static_cast<double>(part) / static_cast<double>(all);
}

/// "0.35", "8.3", "99.8", "100": never with an exponent.
std::string percent_text(double percent) {
    if (percent > 0 && percent < 0.01) return "below 0.01";
    char text[16];
    std::snprintf(text, sizeof text, percent < 10 ? "%.2g" : "%.3g", percent);
    return text;
}

/// "master's 3000 (0.4 %)"
std::string part_of(std::size_t part, const PartyIds& whole) {
    const std::string percent = percent_text(100 * fraction_of(part, whole.ids.size()));
    return std::string(whole.party) + "'s " + std::to_string(whole.ids.size()) + " (" + percent +
           " %)";
}

void set_bit(std::vector<std::uint8_t>& bits, std::size_t i) noexcept {
    bits[i / 8] |= static_cast<std::uint8_t>(1U << (i % 8));
}

bool bit_of(std::span<const std::uint8_t> bits, std::size_t i) noexcept {
    return (bits[i / 8] >> (i % 8) & 1U) != 0;
}

/// Notes the next id in use: who has it, and how many rows it makes.
std::uint64_t take_id(std::span<const PartyIds> parties, std::span<const std::size_t> at,
                      std::span<const char> has, Join join, Intersection& result) {
    const std::size_t place = result.ids.size();
    result.ids.push_back(parties[0].ids[at[0]]);
    std::uint64_t rows = 1;
    for (std::size_t p = 0; p < parties.size(); ++p) {
        Selection& selection = result.selections[p];
        if (join == Join::left && place % 8 == 0) selection.held.push_back(0);
        if (has[p] == 0) continue;
        if (join == Join::left) set_bit(selection.held, place);
        set_bit(selection.bitmap, at[p]);
        // both factors are below 2^32
        rows = std::min(rows * count_at(parties[p].counts, at[p]), aligned_rows_max + 1);
    }
    for (std::size_t p = 0; p < parties.size(); ++p)
        if (has[p] == 0) result.absent[p] += rows;
    return rows;
}

/// Walks through all lists at once, led by the master's, and marks what is in use of each of them.
/// True when an id has several rows.
Result<bool> mark_common(std::span<const PartyIds> parties, std::uint64_t dataset_size, Join join,
                         Intersection& result) {
    std::vector<std::size_t> at(parties.size(), 0);
    std::vector<char> has(parties.size(), 1);
    bool repeats = false;
    for (at[0] = 0; at[0] < parties[0].ids.size(); ++at[0]) {
        const IdKey key = key_of(parties[0].ids[at[0]]);
        bool common = true;
        for (std::size_t p = 1; p < parties.size() && common; ++p) {
            const auto ids = parties[p].ids;
            while (at[p] < ids.size() && key_of(ids[at[p]]) < key) ++at[p];
            has[p] = static_cast<char>(at[p] < ids.size() && key_of(ids[at[p]]) == key);
            common = has[p] != 0 || join == Join::left;
        }
        if (!common) continue;
        ++result.common;
        for (std::size_t p = 0; p < parties.size(); ++p) {
            if (has[p] == 0) continue;
            ++result.matched[p];
            result.rows_matched[p] += count_at(parties[p].counts, at[p]);
        }
        if (dataset_size != 0 && result.common > dataset_size) continue;
        const std::uint64_t rows = take_id(parties, at, has, join, result);
        repeats |= rows > 1;
        result.rows += rows;
        if (result.rows > aligned_rows_max)
            return fail(Errc::bad_data,
                        "with data.duplicates = \"all\" the parties' duplicated ids "
                        "make more than " +
                            std::to_string(aligned_rows_max) +
                            " rows; use \"first\", or remove duplicates");
    }
    return repeats;
}

/// Of each common id: how often a party's rows are repeated, and that sequence again, so that all
/// parties come to the same cross product.
void fill_repeats(std::span<const PartyIds> parties, Intersection& result) {
    const std::size_t n = result.ids.size();
    std::vector<std::vector<std::uint32_t>> counts(parties.size());
    for (std::size_t p = 0; p < parties.size(); ++p) {
        const Selection& selection = result.selections[p];
        for (std::size_t i = 0; i < parties[p].ids.size(); ++i) {
            if (!bit_of(selection.bitmap, i)) continue;
            while (!selection.held.empty() && !bit_of(selection.held, counts[p].size()))
                counts[p].push_back(1);
            counts[p].push_back(static_cast<std::uint32_t>(count_at(parties[p].counts, i)));
        }
        if (!selection.held.empty()) counts[p].resize(n, 1);
        VFLBUS_ASSERT(counts[p].size() == n, "every party has every common id once");
    }
    std::vector<std::uint32_t> product(n, 1);
    for (std::size_t p = 0; p < parties.size(); ++p) {
        result.selections[p].outer = product;
        for (std::size_t i = 0; i < n; ++i) product[i] *= counts[p][i];
    }
    product.assign(n, 1);
    for (std::size_t p = parties.size(); p-- > 0;) {
        result.selections[p].inner = product;
        for (std::size_t i = 0; i < n; ++i) product[i] *= counts[p][i];
    }
}

}  // namespace

Result<Intersection> intersect(std::span<const PartyIds> parties, std::uint64_t dataset_size,
                               Join join) {
    VFLBUS_ASSERT(!parties.empty(), "an alignment has parties");
    Intersection result;
    result.selections.resize(parties.size());
    result.matched.assign(parties.size(), 0);
    result.rows_matched.assign(parties.size(), 0);
    result.absent.assign(parties.size(), 0);
    for (std::size_t p = 0; p < parties.size(); ++p) {
        if (auto ok = check_sent(parties[p]); !ok) return tl::unexpected(ok.error());
        result.selections[p].bitmap.assign((parties[p].ids.size() + 7) / 8, 0);
    }
    const auto repeats = mark_common(parties, dataset_size, join, result);
    if (!repeats) return tl::unexpected(repeats.error());
    if (result.ids.empty()) return tl::unexpected(nothing_common(parties));
    if (*repeats) fill_repeats(parties, result);
    return result;
}

std::string low_match(std::span<const PartyIds> parties, std::size_t common) {
    const bool low = std::ranges::any_of(parties, [&](const PartyIds& sent) {
        return fraction_of(common, sent.ids.size()) < match_share_low;
    });
    if (!low) return {};
    const PartyIds& master = parties[0];
    std::vector<std::size_t> members;  // who is far from the master alone
    std::vector<std::size_t> unlike;   // of them, whose ids may be written in another way
    std::string pairs;
    constexpr std::size_t shown_max = 3;
    for (std::size_t p = 1; p < parties.size(); ++p) {
        const std::size_t shared = common_of_two(master.ids, parties[p].ids);
        if (fraction_of(shared, master.ids.size()) >= match_share_low &&
            fraction_of(shared, parties[p].ids.size()) >= match_share_low)
            continue;
        members.push_back(p);
        // half of a small table is in a large one only if the ids are written in the same way
        if (fraction_of(shared, std::min(master.ids.size(), parties[p].ids.size())) <
            match_share_well)
            unlike.push_back(p);
        if (members.size() > shown_max) continue;
        pairs += (pairs.empty() ? "" : ", ") + std::to_string(shared) + " are both among " +
                 part_of(shared, master) + " and " + part_of(shared, parties[p]);
    }
    std::string line =
        "few ids match: " +
        (members.empty()
             ? std::to_string(common) + " are common to all parties, of " + part_of(common, master)
             : pairs);
    if (members.empty()) return line + "; each member alone has more of them";
    if (unlike.empty()) return line;
    return line + "; " + differences(parties, unlike) + "; " + mend_ids;
}

namespace {

tl::unexpected<Failure> unfit(const char* what) {
    return fail(Errc::malformed_message,
                std::string("the master's alignment does not fit the ids sent to it: ") + what);
}

std::size_t marks_in(std::span<const std::uint8_t> bits) noexcept {
    std::size_t marks = 0;
    for (const std::uint8_t byte : bits) marks += static_cast<std::size_t>(std::popcount(byte));
    return marks;
}

/// What a selection says of the ids in use, one after another.
class IdsInUse {
  public:
    IdsInUse(const LocalIds& local, const Selection& selection, std::uint64_t count)
        : local_(&local),
          selection_(&selection),
          repeats_(!selection.outer.empty() || !selection.inner.empty()),
          count_(count) {}

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] bool repeats() const noexcept { return repeats_; }
    [[nodiscard]] std::uint32_t outer(std::size_t id) const {
        return repeats_ ? selection_->outer[id] : 1;
    }
    [[nodiscard]] std::uint32_t inner(std::size_t id) const {
        return repeats_ ? selection_->inner[id] : 1;
    }
    /// The party's own id that this one is, with its rows: for each id in turn, once.
    struct Own {
        bool held = false;
        std::size_t at = 0;     ///< of the own ids
        std::size_t begin = 0;  ///< of the own rows
        std::uint64_t rows = 1;
    };
    Own next(std::size_t id) {
        if (!selection_->held.empty() && !bit_of(selection_->held, id)) return {};
        for (; !bit_of(selection_->bitmap, at_); ++at_) begin_ += count_at(local_->counts, at_);
        Own own{true, at_, begin_, count_at(local_->counts, at_)};
        begin_ += own.rows;
        ++at_;
        return own;
    }

  private:
    const LocalIds* local_;
    const Selection* selection_;
    bool repeats_;
    std::uint64_t count_;
    std::size_t at_ = 0;
    std::size_t begin_ = 0;
};

/// How many ids are in use, if the lengths of all parts of the selection fit each other.
Result<std::uint64_t> count_in_use(const LocalIds& local, const Selection& selection,
                                   std::uint64_t rows_max) {
    const std::size_t n = local.ids.size();
    if (selection.bitmap.size() != (n + 7) / 8) return unfit("the bitmap has another length");
    if (n % 8 != 0 && selection.bitmap.back() >> (n % 8) != 0)
        return unfit("the bitmap selects what is not there");
    const std::size_t chosen = marks_in(selection.bitmap);
    const bool repeats = !selection.outer.empty() || !selection.inner.empty();
    const auto& held = selection.held;
    // of the ids in use a party may lack some, where it is told which it has
    const std::uint64_t in_use = held.empty() ? chosen
                                 : repeats    ? selection.outer.size()
                                              : rows_max;
    if (repeats && (selection.outer.size() != in_use || selection.inner.size() != in_use))
        return unfit("the repeats have another length");
    if (!held.empty() && (held.size() != (in_use + 7) / 8 || marks_in(held) != chosen ||
                          (in_use % 8 != 0 && held.back() >> (in_use % 8) != 0)))
        return unfit("the ids that are there are not as many");
    return in_use;
}

/// Rows of all ids in use. Nothing is allocated on a peer's word alone.
Result<std::uint64_t> rows_in_use(IdsInUse ids, std::uint64_t rows_max) {
    std::uint64_t total = 0;
    for (std::size_t id = 0; id < ids.count(); ++id) {
        std::uint64_t rows = ids.next(id).rows;
        if (ids.repeats()) {
            const std::uint64_t outer = ids.outer(id);
            const std::uint64_t inner = ids.inner(id);
            if (outer == 0 || inner == 0 || outer > aligned_rows_max || inner > aligned_rows_max)
                return unfit("a repeat is out of range");
            rows = std::min(rows * outer, aligned_rows_max + 1) * inner;
        } else if (rows != 1) {
            return unfit("a duplicated id has no repeats");
        }
        total += std::min(rows, aligned_rows_max + 1);
        if (total > rows_max) return unfit("it has too many rows");
    }
    return total;
}

}  // namespace

Result<Aligned> apply(const LocalIds& local, const Selection& selection, std::uint64_t rows_max) {
    const auto count = count_in_use(local, selection, rows_max);
    if (!count) return tl::unexpected(count.error());
    IdsInUse ids(local, selection, *count);
    const auto total = rows_in_use(ids, rows_max);
    if (!total) return tl::unexpected(total.error());
    try {
        Aligned aligned;
        aligned.rows.reserve(*total);
        aligned.ids.reserve(*total);
        for (std::size_t id = 0; id < ids.count(); ++id) {
            const IdsInUse::Own own = ids.next(id);
            const std::uint32_t inner = ids.inner(id);
            for (std::uint32_t o = 0; o < ids.outer(id); ++o) {
                if (!own.held) aligned.rows.insert(aligned.rows.end(), inner, absent_row);
                for (std::size_t r = own.begin; own.held && r < own.begin + own.rows; ++r)
                    aligned.rows.insert(aligned.rows.end(), inner, local.rows[r]);
            }
            aligned.ids.resize(aligned.rows.size(), own.held ? local.ids[own.at] : Hash128{});
        }
        return aligned;
    } catch (const std::bad_alloc&) {
        return fail(Errc::bad_data, "the aligned rows do not fit into memory");
    }
}

Repeats repeats_of(const Aligned& common, std::span<const std::uint32_t> rows) {
    // rows of one id follow one another, and a table row has one id wherever it stands
    Repeats repeats;
    std::uint64_t of_this = 0;
    const Hash128* last = nullptr;
    std::size_t at = 0;
    for (const std::uint32_t row : rows) {
        if (row == absent_row) continue;  // nobody is behind it
        while (at < common.rows.size() && common.rows[at] != row) ++at;
        VFLBUS_ASSERT(at < common.rows.size(), "the rows are of the alignment, in its order");
        const Hash128* const id = &common.ids[at++];
        const bool other = last == nullptr || *id != *last;
        if (other) ++repeats.ids;
        of_this = other ? 1 : of_this + 1;
        repeats.most = std::max(repeats.most, of_this);
        last = id;
    }
    return repeats;
}

}  // namespace vflbus::data
