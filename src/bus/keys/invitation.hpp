#pragma once
// An invitation: one line with which a party makes its own key and has it allowed.
//
// The problem: without it each party sends its public key to the owner of the broker, who allows it
// by hand, and gets the broker's public key in return; people skip the comparison. The line carries
// the broker's key, so that the party knows whom it talks to, and a secret, so that the broker
// does.
//
// The secret is never sent. It is the seed of a key pair of its own, the invitation's key, with
// which the party connects; the broker's allow-list has only the fingerprint of that key, a hash.
// So the handshake proves the secret, who has none is refused before the broker reads anything from
// him, as ever, and who reads the allow-list cannot join with what he has read.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "bus/keys/dates.hpp"
#include "bus/keys/key.hpp"

namespace vflbus::bus {

inline constexpr std::size_t invitation_secret_bytes = 20;
inline constexpr std::size_t invitation_line_bytes_max = 1024;

/// What the line says. It is for the party: what counts is what the broker's allow-list has.
struct InvitationLine {
    std::string address;               ///< of the broker, as parties reach it
    PublicKey broker;                  ///< which the party pins
    std::string name;                  ///< of the node
    std::vector<std::string> roles;    ///< may be none: for one who only asks
    std::vector<std::uint64_t> ranks;  ///< of a member; none: any
    Seconds expires = 0;               ///< of the invitation, not of the key
    std::array<std::uint8_t, invitation_secret_bytes> secret{};
    friend bool operator==(const InvitationLine&, const InvitationLine&) = default;
};

/// One word without blanks and without what a shell would change:
///   vflbus-invitation-1,ADDRESS,BROKER-KEY,NAME,ROLE+ROLE,RANK+RANK,EXPIRES,SECRET,CHECKSUM
std::string text_of(const InvitationLine& line);
/// Blanks and line feeds around and within it, as e-mail makes them, do not matter. Errors: usage,
/// each in one sentence that repeats nothing of the line: no invitation at all, another version,
/// and a checksum that does not fit, as of a line that was mistyped or cut.
Result<InvitationLine> parse_invitation(std::string_view text);

/// The key pair of which the secret is the seed.
KeyPair key_of(const InvitationLine& line);

}  // namespace vflbus::bus
