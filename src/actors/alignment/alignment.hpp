#pragma once
// Which rows all parties have, and in what order all take them.
//
// data.alignment says how the common ids are found; docs/alignment.md compares the ways.
//
//   hashed  Every party hashes its ids under the salt of the agreed configuration and sends the
//           hashes; the master intersects them. docs/training.md, section 2; both halves are in
//           hashed.cpp.
//   psi     Private set intersection, psi_master.* and psi_member.*: afterwards each party has a
//           list of the common ids alone, and none was sent.
//
// data.join says whose records are used: those that all parties have, or all of the master's
// ("left"). With "left" a private set intersection is one of the master with each member alone, so
// that no member learns anything of another's ids.
//
// Then the master tells each party which of its ids are in use (dataset_size may be smaller), and
// how often its rows are repeated: the same for both ways, and the same rows in the same order.
//
// What others claim is bounded by what they have sent: a member's counts must fit its rows and the
// policy for duplicates, and the aligned rows, which both sides allocate, may not be more than
// `aligned_rows_max` of what the parties hold. Both are checked before anything is allocated.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "actors/run/task.hpp"
#include "base/errc.hpp"

namespace vflbus::actors {

class Run;
struct MadeAlignment;

/// Aligned rows for every row (or id) that a party really holds. Duplicated ids multiply: somebody
/// with 5 rows at one party and 6 at another makes 30.
inline constexpr std::uint64_t aligned_rows_per_row_max = 256;
/// ... but so many are fine for any table.
inline constexpr std::uint64_t aligned_rows_any = 100'000;

/// The most aligned rows that parties with `rows` rows or ids at hand may make of them.
std::uint64_t aligned_rows_bound(std::uint64_t rows) noexcept;

/// What the master knows of one table of all parties.
struct TableIds {
    AlignReply own;
    std::vector<AlignReply> of_members;
    std::vector<SelectReply> selected;        ///< by rank
    std::vector<std::uint64_t> ids;           ///< how many each party has
    std::vector<std::size_t> matched;         ///< of them, by party: those that are common
    std::vector<std::uint64_t> rows_matched;  ///< by party: its rows that have these
    std::vector<std::uint64_t> absent;        ///< aligned rows that a party lacks
    std::uint64_t common = 0;
    std::uint64_t rows = 0;
};
using AlignmentResult = std::array<TableIds, table_kinds>;

/// The master's half, for one term.
class Alignment {
  public:
    /// Both must outlive this.
    Alignment(Run& run, Party& own);

    /// Hashed: the ids of these tables of all members. Psi: the common ones.
    Task<> gather(std::vector<TableKind> kinds);
    /// Whether all parties have this table; an error that names the parties when only some have.
    [[nodiscard]] Result<bool> present(TableKind kind) const;
    /// Intersects, sends each member its selection, and selects the own rows.
    Task<> select(std::vector<TableKind> kinds);

    /// In place of `gather` and `select`: asks the members to go on from the alignment `before` of
    /// an earlier run. True: all of them have kept it, and they and the own party have its rows
    /// now. False: one has not, nothing has changed, and the parties have to align anew.
    Task<bool> recall(const MadeAlignment& before);
    /// After `select`: what `recall` takes.
    [[nodiscard]] const AlignmentResult& result() const noexcept { return tables_; }

    [[nodiscard]] std::uint64_t common_ids(TableKind kind) const { return of(kind).common; }
    [[nodiscard]] std::uint64_t rows(TableKind kind) const { return of(kind).rows; }
    /// What a party said of its table: the master first, then members by rank. `ids` are gone
    /// after `select`.
    [[nodiscard]] const AlignReply& told(TableKind kind, std::size_t party) const {
        return party == 0 ? of(kind).own : of(kind).of_members[party - 1];
    }
    [[nodiscard]] std::uint64_t ids(TableKind kind, std::size_t party) const;
    /// Of the common ids (with data.join = "left" all of the master's): those that a party has.
    [[nodiscard]] std::uint64_t matched(TableKind kind, std::size_t party) const {
        return of(kind).matched[party];
    }
    /// What a member said of the rows that are in use, after `select`.
    [[nodiscard]] const SelectReply& selected(TableKind kind, std::size_t rank) const {
        return of(kind).selected[rank];
    }

  private:
    void warn_of_lengths(TableKind kind);
    TableIds& of(TableKind kind) { return tables_[static_cast<std::size_t>(kind)]; }
    [[nodiscard]] const TableIds& of(TableKind kind) const {
        return tables_[static_cast<std::size_t>(kind)];
    }
    Task<> gather_hashes(std::vector<TableKind> kinds);
    Task<> gather_common(std::vector<TableKind> kinds);
    Task<> intersect_privately(TableKind kind);
    /// data.join = "left": the master with each member.
    Task<> intersect_pairs(TableKind kind);
    Task<> take_common(TableKind kind, std::size_t member, std::vector<Hash128> ids,
                       std::vector<std::uint32_t> counts);
    void warn_of_few(TableKind kind, std::size_t party, std::size_t common);
    /// A training needs every member to have something to bring in.
    Result<> check_matches(TableKind kind, std::span<const data::PartyIds> parties,
                           const data::Intersection& common) const;
    [[nodiscard]] Result<> check_claims(const AlignReply& reply) const;
    /// The selections, the master's first.
    Result<std::vector<data::Selection>> intersect(TableKind kind);
    void report(TableKind kind);
    // how far it is, for progress lines (a private intersection of ids tells its own progress)
    void begin_job(std::size_t tables);
    void note_aligned();
    void tell_job() const;

    Run* run_;
    Party* own_;
    AlignmentResult tables_;
    std::uint64_t job_done_ = 0;
    std::uint64_t job_total_ = 0;
};

// -- the member's half --------------------------------------------------------------

/// The reply to `align` of a table that has not been aligned yet.
Result<Bytes> answer_align(Party& party, TableKind kind);
/// The reply to `select` of a table that has been. Of a prediction table it builds the design, so
/// the columns of the model part are in use by then.
Result<Bytes> answer_select(Party& party, const SelectRequest& request);

}  // namespace vflbus::actors
