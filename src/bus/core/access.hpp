#pragma once
// Who is at the other end of a connection, and what the broker's owner lets each do.
//
// The problem: HELLO says a name, and anybody can say any name. What cannot be said falsely is the
// key that the transport has seen proved, and the allow-list gives that key one name. So the
// transport tells the broker whose key each connection has, and the broker looks up what that key
// may do each time that it is about to do something: a key that was revoked a moment ago may do
// nothing more.

#include <memory>
#include <string>

#include "bus/core/allowance.hpp"
#include "bus/keys/allow_list.hpp"

namespace vflbus::bus {

/// As the transport has proved it. At a broker with keys, a connection of which the transport says
/// nothing may do nothing: that somebody needs no key has to be said.
struct Identity {
    std::string name;           ///< that the allow-list gives the key
    std::string fingerprint;    ///< of the key
    bool needs_no_key = false;  ///< ipc in a private directory, inproc: not asked for rights
    friend bool operator==(const Identity&, const Identity&) = default;
};

/// What a transport says of a connection that is trusted for the way on which it came.
inline std::shared_ptr<const Identity> no_key_needed() {
    static const auto one = std::make_shared<const Identity>(Identity{{}, {}, true});
    return one;
}

/// Whether a connection has shown a key. Null: nothing is known of it.
inline bool has_key(const Identity* identity) noexcept {
    return identity != nullptr && !identity->needs_no_key;
}

// log lines about keys without a right: of all of them together
inline constexpr AllowanceLimits refusal_lines{.most = 256, .per_second = 16};

/// What counts now. Asked by the broker's thread.
class Access {
  public:
    virtual ~Access() = default;
    /// The entry of a key; null when it is not listed, is revoked or has expired.
    [[nodiscard]] virtual std::shared_ptr<const Allowed> entry(
        const std::string& fingerprint) const = 0;
};

}  // namespace vflbus::bus
