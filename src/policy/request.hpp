#pragma once
// What a member is asked for when somebody invites it to a run, and who judges it. A run is judged
// before anything of it is read or allocated, and again when what only shows later is known: the
// columns when a table is read, the rows when they are aligned (docs/policy.md).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"

namespace vflbus::policy {

struct Owner {
    std::string name;
    /// Of the key by which the transport knows it; empty where it has none. Then its name is what
    /// it says of itself.
    std::string fingerprint;
    friend bool operator==(const Owner&, const Owner&) = default;
};

/// What a run does with a member's data.
enum class Use : std::uint8_t { train, predict, check, app, features };
/// "train", "predict", "check", "app" or "features".
std::string_view name_of(Use use) noexcept;

struct Request {
    Owner owner;
    RunId run;
    std::uint32_t term = 0;
    Use use = Use::train;
    std::string agreed_text;                   ///< of its OPEN
    std::optional<config::AgreedHalf> agreed;  ///< what it says; none for an app
    /// The owner and the participants that it names; 0 for an open run, where nobody knows.
    std::uint64_t parties = 0;
    /// `participant_text` of those that it names, in any order.
    std::vector<std::string> participants;
    std::string app;  ///< SHA-256 of the shared object that would serve it here, hexadecimal
};

/// "member-0 (member 0)", with role and rank; without a rank when that is negative.
std::string participant_text(std::string_view name, std::string_view role, std::int64_t rank);

/// What a run did at this member, when it has ended.
struct Served {
    Errc code = Errc::ok;
    std::uint64_t bytes_in = 0;  ///< of bodies
    std::uint64_t bytes_out = 0;
};

/// Judges the runs that others invite a member to. The failures are `refused`, with a sentence for
/// the member and, in `for_others`, the name of the rule for the owner; `held` when somebody at the
/// member has to say so first; io when the decision could not be recorded, which refuses as well.
/// May be called from the strands of several runs at once.
class Judge {
  public:
    virtual ~Judge() = default;
    /// Whether this owner may ask for anything at all: before what it asks for is looked at.
    virtual Result<> admit_owner(const Owner& owner, const RunId& run) = 0;
    virtual Result<> admit(const Request& request) = 0;
    /// Of a run that was let in: the columns that it would read of this table, and how many rows
    /// there are of it.
    virtual Result<> columns(const RunId& run, const std::string& table,
                             std::span<const std::string> names, std::uint64_t rows) = 0;
    /// All parties have so many people (different ids) in common. Rows are more where an id
    /// repeats.
    virtual Result<> rows(const RunId& run, std::uint64_t rows) = 0;
    /// Another party's list in a private set intersection has so many ids: before it is multiplied.
    virtual Result<> psi_list(const RunId& run, std::uint64_t ids) = 0;
    /// The smallest batch of an epoch has so many different people at least.
    virtual Result<> batch(const RunId& run, std::uint64_t rows) = 0;
    /// A prediction asks for this member's part of the model of run `trained`. Whoever knows that
    /// id has no right to the model by it: it is for the owner of that training.
    virtual Result<> model(const RunId& run, const RunId& trained) = 0;
    virtual void ended(const RunId& run, const Served& served) = 0;
};

}  // namespace vflbus::policy
