#pragma once
// Who breaks the protocol, and how long each is kept out for it.
//
// The problem: a key that is allowed is still not trusted. Its owner may send frames that make no
// sense as fast as the network carries them, and who is only cut comes back in the next moment. So
// what breaks the protocol is counted by whom it comes from, not by connection: who passes the
// bound is cut, and kept out for a second; the next time for two, then four, up to ten minutes. Who
// has behaved for an hour after that begins anew. A broker that is started again goes on from what
// the one before it has noted: to have it restarted is no way out.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "bus/core/allowance.hpp"

namespace vflbus::bus {

/// Frames that break the protocol: of one key or address, before it is cut. An honest peer of
/// another make may have a fault that shows now and then.
inline constexpr AllowanceLimits breaches_borne{.most = 64, .per_second = 0.5};
inline constexpr Duration first_hold_off = std::chrono::seconds(1);
inline constexpr Duration longest_hold_off = std::chrono::minutes(10);
inline constexpr Duration forgiven_after = std::chrono::hours(1);
/// Keys and addresses that are remembered; past that the one that was heard of longest ago is not.
inline constexpr std::size_t conduct_entries_max = 4096;

/// What is held against one key or address, for those who watch.
struct ConductRow {
    std::string who;             ///< a name of the allow-list, or an address
    std::uint64_t breaches = 0;  ///< frames that broke the protocol
    std::uint64_t cuts = 0;      ///< how often it was cut for them
    Duration held_off{};         ///< how long it is still kept out; 0: it may come
    Duration quiet{};            ///< how long ago its last breach was
};

class Conduct {
  public:
    /// What a broker before this one held against keys; of each it is not held off for longer, and
    /// not remembered for longer, than had it gone on. Precondition: nothing is remembered yet.
    void restore(std::span<const ConductRow> rows, TimePoint now);
    /// One frame of `who` has broken the protocol. True: it is one too many, and `who` is held off
    /// from now on.
    [[nodiscard]] bool breach(const std::string& who, TimePoint now);
    /// How long `who` is still held off; zero: it may come.
    [[nodiscard]] Duration held_off(const std::string& who, TimePoint now) const;
    /// How often it was cut. 0: never, or long ago.
    [[nodiscard]] std::uint64_t cuts(const std::string& who) const;
    /// Forgets those that have behaved for long enough.
    void forget(TimePoint now);
    /// All that is remembered, by name.
    [[nodiscard]] std::vector<ConductRow> rows(TimePoint now) const;
    /// Another one whenever what `rows` tells may have become more.
    [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

  private:
    struct Entry {
        Allowance left;
        std::uint64_t breaches = 0;
        std::uint64_t cuts = 0;
        TimePoint until{};  ///< held off until then
        TimePoint last{};   ///< of its last breach
    };
    std::map<std::string, Entry> entries_;
    std::uint64_t changes_ = 0;
};

}  // namespace vflbus::bus
