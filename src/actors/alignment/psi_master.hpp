#pragma once
// The master's half of private set intersection, of one table in one term: docs/alignment.md.
//
// The master stands in the ring like everybody else, with the number 0, and carries the lists from
// each party to the next. Lists are passed on in parts, so that all parties work at once: while a
// member multiplies a part, the master multiplies another, and the next one is under way.

#include <cstdint>
#include <vector>

#include "actors/alignment/psi_messages.hpp"
#include "actors/party.hpp"
#include "actors/run/parties.hpp"
#include "actors/run/task.hpp"
#include "privacy/psi/lists.hpp"

namespace vflbus::actors {

class Run;

class PsiMaster {
  public:
    /// `members`: the ranks of those who take part. `sizes`: how many ids each party has, the
    /// master first, then these members; the own ones are those of own.local(kind). Both must
    /// outlive this.
    PsiMaster(Run& run, const Party& own, TableKind kind, std::vector<std::size_t> members,
              std::vector<std::uint64_t> sizes);

    /// Afterwards the members' tables have the common ids alone.
    /// Errors: bad_data when fewer than data.common_min are common; nobody knows which then.
    Task<> intersect();
    /// Which of the own ids are common.
    [[nodiscard]] const privacy::psi::Marks& own_marks() const noexcept { return own_marks_; }
    /// How many rows each common id has at these members; empty: one each.
    [[nodiscard]] std::vector<std::vector<std::uint32_t>>& counts() noexcept { return counts_; }

  private:
    /// Points of one list on their way, before they are encoded for the next party.
    using Part = std::vector<privacy::psi::Point>;

    [[nodiscard]] std::size_t parties() const noexcept { return sizes_.size(); }
    /// Who has the list after `round` rounds; 0 rounds: its owner.
    [[nodiscard]] std::size_t holder(std::size_t list, std::size_t round) const noexcept {
        return (list + round) % parties();
    }
    /// Parts of the longest list.
    [[nodiscard]] std::uint64_t parts() const noexcept;
    /// Points of this part of a list; 0 behind its end.
    [[nodiscard]] std::uint64_t points_in(std::size_t list, std::uint64_t part) const noexcept;

    Result<> check_sizes() const;
    /// Part `part` of every list has gone one way further: tells the run's observers.
    void note_progress(std::uint64_t part);
    /// A round of the ring: each list goes from its holder to the next party.
    Task<> pass(std::size_t round);
    /// Asks the members for this part of the lists that they hold.
    void ask_parts(std::size_t round, std::uint64_t part);
    /// What has come of it, by list, and what the master itself holds.
    Task<> receive_parts(std::size_t round, std::uint64_t part);
    /// To the members that are next.
    void give_parts(std::size_t round, std::uint64_t part);
    Result<> take_part(std::size_t round);
    /// Digests of the tags of all lists, which every member hears before tags are seen: nobody can
    /// choose tags by those of others.
    Task<> tell_digests();
    /// The tags of all lists.
    Task<> collect();
    /// To each member those of the lists that ended elsewhere: it compares them by itself.
    Task<> show_tags();
    Result<> compare();
    /// Marks go the way back, list by list in each round.
    Task<> undo();
    Task<> tell();

    /// The rank of a party of the ring that is not the master.
    [[nodiscard]] std::size_t rank(std::size_t party) const { return members_[party - 1]; }
    /// Asks each member of the ring, in its order.
    std::vector<Replies> ask_ring(MessageType type, const std::vector<Bytes>& bodies);

    Run* run_;
    const Party* own_;
    TableKind kind_;
    std::vector<std::size_t> members_;
    std::vector<std::uint64_t> sizes_;
    std::uint64_t done_ = 0;  ///< ids of all lists that have gone one way further
    privacy::psi::OwnList own_list_;
    std::vector<privacy::psi::PassingList> passing_;  ///< by list; the own one stays empty
    std::vector<Part> on_the_way_;                    ///< by list
    std::vector<Replies> asked_;                      ///< for parts
    std::vector<std::size_t> asked_lists_;            ///< which list each is of
    std::vector<Replies> given_;
    std::vector<std::vector<privacy::psi::Tag>> tags_;
    std::vector<privacy::psi::Marks> marks_;
    std::uint64_t common_ = 0;
    privacy::psi::Marks own_marks_;
    std::vector<std::vector<std::uint32_t>> counts_;
};

}  // namespace vflbus::actors
