#pragma once
// Who may come in, as what, and what each may do: the text of the allow-list.
//
// One line for each key, words with spaces between them; '#' begins a line of remarks:
//
//   NAME KEY-OR-FINGERPRINT role=member rank=0 may=see,logs expires=2027-11-29T00:00:00Z
//
// A name with two keys has two lines, both of which are good: so keys are exchanged. A key stands
// in one line only, as it has one name.
//
// Somebody who is invited (invitation.hpp) has a line as well, until he has joined and after it, so
// that nobody joins twice. Its fingerprint is that of the key which comes of the invitation's
// secret:
//
//   NAME invitation FINGERPRINT role=member rank=0 expires=2026-12-07T08:00:00Z lifetime=365d

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "base/node_names.hpp"
#include "bus/keys/dates.hpp"
#include "bus/keys/key.hpp"

namespace vflbus::bus {

/// What a key may do beside taking part in runs and asking about its own. The values are bits.
enum class Right : std::uint8_t {
    submit = 1,  ///< hand runs to masters that wait for them
    stop = 2,    ///< stop runs of others
    see = 4,     ///< see runs of others, and all nodes
    status = 8,  ///< ask owners of other runs for status, metrics and configuration
    logs = 16,   ///< ask for log lines of other runs
};

inline constexpr std::array<std::pair<Right, std::string_view>, 5> right_names{
    {{Right::submit, "submit"},
     {Right::stop, "stop"},
     {Right::see, "see"},
     {Right::status, "status"},
     {Right::logs, "logs"}}};
std::string_view name_of(Right right) noexcept;

struct Allowed {
    std::string name;
    std::string fingerprint;
    std::optional<PublicKey> key;      ///< where the list has it
    std::vector<std::string> roles;    ///< master, member, arbiter, serverapp, node
    std::vector<std::uint64_t> ranks;  ///< of a member; empty: any
    std::uint8_t rights = 0;           ///< bits of Right
    Seconds expires = 0;               ///< never allowed from then on
    std::size_t line = 0;              ///< where it stands, counted from 1

    [[nodiscard]] bool may(Right right) const noexcept {
        return (rights & static_cast<std::uint8_t>(right)) != 0;
    }
    [[nodiscard]] bool has_role(std::string_view role) const noexcept;
    [[nodiscard]] bool has_rank(std::int64_t rank) const noexcept;
};

inline constexpr std::uint64_t rank_max = 4095;
[[nodiscard]] bool is_role(std::string_view text) noexcept;

/// What becomes of other keys of a name that gets one.
enum class Beside : std::uint8_t {
    alone,     ///< there must be none
    also,      ///< they stay good
    in_place,  ///< they are taken from the list
};

/// Somebody who may make a key and have it put on the list, once.
struct Invited {
    Allowed as;            ///< without a key; fingerprint and expires are the invitation's
    Seconds lifetime = 0;  ///< of the key: how long at most
    Beside beside = Beside::alone;
    std::string used;  ///< the fingerprint of the key that joined; empty: nobody yet
};

/// "role=member rank=0 may=see,logs", as the list has it.
std::string text_of_rights(const Allowed& entry);
/// A whole line.
std::string line_of(const Allowed& entry);
std::string line_of(const Invited& invited);

/// A key speaks for its name, and for names that are made of it: `NAME-` and 8 to 16 of 0-9 and
/// a-f. So are called the process of a submitted run, of a ServerApp, and who asks.
bool speaks_for(std::string_view key_name, std::string_view node_name) noexcept;

inline constexpr std::size_t allow_list_bytes_max = 8u << 20;
inline constexpr std::size_t allowed_keys_max = 16'384;
inline constexpr std::size_t invitations_max = 1024;

class AllowList {
  public:
    /// Every line that makes no sense is left out, and told in `faults`: one sentence with the
    /// line's number.
    static AllowList parse(std::string_view text, std::vector<std::string>& faults);

    /// The entry of that key, whether expired or not.
    [[nodiscard]] const Allowed* find(const std::string& fingerprint) const;
    [[nodiscard]] const std::vector<Allowed>& entries() const noexcept { return entries_; }
    /// The invitation with that fingerprint, whether expired, used or neither. All are compared,
    /// and each in constant time, so that the time tells nothing about what the list has.
    [[nodiscard]] const Invited* find_invitation(std::string_view fingerprint) const noexcept;
    [[nodiscard]] const std::vector<Invited>& invitations() const noexcept { return invitations_; }

  private:
    void add(Allowed entry);
    [[nodiscard]] std::string take(std::string_view line, std::size_t number);
    [[nodiscard]] std::string take_invited(const std::vector<std::string>& words,
                                           std::size_t number);
    void leave_out_made_names(std::vector<std::string>& faults);
    std::vector<Allowed> entries_;
    std::vector<Invited> invitations_;
    std::map<std::string, std::size_t, std::less<>> by_fingerprint_;
};

/// `text` with one more line.
std::string with_line(std::string text, const std::string& line);
/// `text` without the lines of these numbers, which count from 1.
std::string without_lines(std::string_view text, const std::vector<std::size_t>& lines);

}  // namespace vflbus::bus
