#pragma once
// A member's half of private set intersection: docs/alignment.md.
//
// The problem: the master carries all messages, so what it asks for must be refused unless it is
// what the protocol asks for at that moment. A member decides from its own place in the ring which
// lists it gets and what it answers; it takes points in order and undoes a list once. It does not
// believe how many ids are common: it is shown the tags of all lists, whose digests had to be told
// before anybody saw the tags of the list that ends here, compares them itself, and undoes that
// list for exactly the places that it has found, when these are enough.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "actors/alignment/psi_messages.hpp"
#include "actors/party.hpp"
#include "base/errc.hpp"
#include "privacy/psi/lists.hpp"

namespace vflbus::actors {

class PsiMember {
  public:
    /// `place`: rank + 1, below `parties`. `least`: data.common_min.
    PsiMember(std::size_t place, std::size_t parties, std::uint64_t least)
        : place_(place), parties_(parties), least_(least) {}

    /// Loads the table and draws a secret. Answers with numbers alone.
    Result<Bytes> begin(Party& party, TableKind kind, const privacy::psi::Randomness& random);
    Result<Bytes> take(const PsiTakeRequest& request);
    Result<Bytes> give(const PsiGiveRequest& request);
    /// Of the tags of the list that ends here.
    Result<Bytes> digest(TableKind kind);
    /// Those of all lists; the tags of the list that ends here are given after them alone.
    Result<Bytes> digests(const PsiDigestsRequest& request);
    /// Of a list that ends elsewhere. With the last of them all lists are compared.
    Result<Bytes> tags(const PsiTagsRequest& request);
    Result<Bytes> undo(const PsiUndoRequest& request);
    /// Afterwards the ids of the party's table are the common ones, and the secret is gone.
    Result<Bytes> common(Party& party, const PsiCommonRequest& request);

    /// Whether `undo` or `common` has been answered for this table: how many ids are common has
    /// been accepted then.
    [[nodiscard]] bool revealed(TableKind kind) const noexcept;
    /// Whether any list has been begun.
    [[nodiscard]] bool begun() const noexcept {
        return std::ranges::any_of(tables_, [](const auto& table) { return table != nullptr; }) ||
               std::ranges::any_of(done_, [](bool done) { return done; });
    }
    /// The party goes on from an alignment that it has kept: of its tables nothing is to be done.
    void recalled(const Party& party) noexcept {
        for (std::size_t k = 0; k < table_kinds; ++k)
            if (party.selected(static_cast<TableKind>(k))) done_[k] = true;
    }
    /// All is done for this table, or for a table that the party does not have.
    [[nodiscard]] bool done(TableKind kind) const noexcept {
        return done_[static_cast<std::size_t>(kind)];
    }

  private:
    struct Passing {
        privacy::psi::PassingList list;
        std::uint64_t total = 0;  ///< 0: nothing has come
        std::uint64_t sent = 0;
        bool undone = false;
    };
    struct Table {
        Table(std::vector<Hash128> ids, std::size_t parties, const privacy::psi::Randomness& random)
            : own(std::move(ids), random), passing(parties), tags(parties) {}
        privacy::psi::OwnList own;
        std::uint64_t sent = 0;                            ///< of the own list
        std::vector<Passing> passing;                      ///< by the number of their party
        std::vector<Hash256> digests;                      ///< of the tags of all lists, once told
        std::vector<std::vector<privacy::psi::Tag>> tags;  ///< of all lists, until compared
        std::uint64_t common = 0;                          ///< ids, as compared here; 0: not yet
        privacy::psi::Marks ends_here;  ///< their places in the list that ends here
        bool revealed = false;          ///< a list was undone
    };
    /// Null unless it has begun and is not done.
    Table* table(TableKind kind) noexcept { return tables_[static_cast<std::size_t>(kind)].get(); }
    /// Lists of the others alone pass.
    [[nodiscard]] bool passes(std::uint64_t list) const noexcept {
        return list < parties_ && list != place_;
    }
    /// The list that nobody multiplies after this member.
    [[nodiscard]] std::size_t ends_here() const noexcept { return (place_ + 1) % parties_; }
    [[nodiscard]] std::uint64_t size_of(const Table& table, std::size_t list) const noexcept {
        return list == place_ ? table.own.size() : table.passing[list].total;
    }
    Result<> compare(Table& table) const;
    /// Every other list has left this member, and as many ids are marked as it has found common.
    Result<> check_marks(Table& table, std::span<const std::uint8_t> marks) const;

    std::size_t place_;
    std::size_t parties_;
    std::uint64_t least_;
    std::array<std::unique_ptr<Table>, table_kinds> tables_;
    std::array<bool, table_kinds> done_{};
};

}  // namespace vflbus::actors
