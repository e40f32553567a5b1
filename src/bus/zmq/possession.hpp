#pragma once
// That whoever says a public key has its secret.
//
// The problem: a party that may come puts a key on the broker's list by saying it (ENROL). It could
// say the key of somebody else, who then cannot join with it: one key has one line. So it says
// beside the key what only two can work out: who has the secret of that key, and the broker.

#include <optional>
#include <string>

#include "bus/keys/key.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::bus {

/// Extension of ENROL that has the proof; an even number, as it must be understood.
inline constexpr std::uint16_t extension_possession = 4;

/// What is proved, and to whom.
struct Possession {
    PublicKey fresh;    ///< the key that is said
    PublicKey broker;   ///< of the broker to which it is said
    std::string shown;  ///< fingerprint of the key of the connection
    std::string name;   ///< that the key is to have
};

/// 32 bytes, with the secret of one of both keys and the public key of the other one
/// (docs/protocol.md, section 13). Nothing for a key with which every secret agrees on the same.
std::optional<Bytes> proof_of(const Possession& what, const SecretKey& mine,
                              const PublicKey& theirs);

}  // namespace vflbus::bus
