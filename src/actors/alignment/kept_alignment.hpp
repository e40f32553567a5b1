#pragma once
// The rows that all parties have, kept from one training for the next.
//
// The problem: a search trains many models on the same rows of the same parties, and to align is
// often the longest part of a short training, above all with a private set intersection. So an
// alignment may have a name, which is a line of OPEN. The parties of a run with such a name keep
// the rows that they have found, and a later run with the same name begins with these instead of
// aligning anew, when the master and all members still have them.
//
// Nobody is believed. The tables that are kept are the very objects that were aligned, so nothing
// can have changed in them. A member goes on from its own copy alone, for an owner with the same
// key, the same parties and the same words about tables and ids, and its policy is asked about
// owner, columns and rows again. The name is 16 random bytes that only the parties of its runs have
// heard.

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "base/ids.hpp"
#include "bus/wire/control.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

/// `agreed` with the default for every key that an alignment does not depend on. Two runs for which
/// this is the same may share one.
config::AgreedHalf aligned_by(const config::AgreedHalf& agreed);

/// Two runs may share an alignment when all of this is the same in both.
struct AlignmentKey {
    RunId name;
    std::string owner;  ///< its name, as its key has it where there are keys: without suffix
    std::string owner_fingerprint;  ///< of its key; empty in a run that is not sealed
    std::vector<bus::Participant> participants;
    config::AgreedHalf agreed;  ///< as of aligned_by
    friend bool operator==(const AlignmentKey&, const AlignmentKey&) = default;
};

/// What a member keeps.
struct KeptAlignment {
    AlignmentKey key;
    MadeIn made_in;
    AlignedTables tables;
    std::uint64_t people = 0;  ///< different ids of the training table that are in use
};

/// The alignments that a member keeps, the newest ones of all owners together. Thread-safe.
class KeptAlignments {
  public:
    /// Each holds the tables that were aligned.
    static constexpr std::size_t kept_max = 4;
    /// So one owner leaves room for others, and what it never forgets is bounded.
    static constexpr std::size_t kept_of_owner_max = 2;

    /// In place of an older one with the same key; the one that was used longest ago goes when
    /// there are too many, of this owner or of all.
    void keep(std::shared_ptr<const KeptAlignment> alignment);
    /// Null when there is none.
    std::shared_ptr<const KeptAlignment> find(const AlignmentKey& key);
    /// Its owner needs it no longer. A run that goes on from it now keeps it alive by its pointer.
    void drop(const AlignmentKey& key);

  private:
    std::mutex mutex_;
    std::deque<std::shared_ptr<const KeptAlignment>> kept_;  ///< used last in front
};

}  // namespace vflbus::actors
