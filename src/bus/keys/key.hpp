#pragma once
// Curve25519 keys as CURVE of ZeroMQ uses them, their text, and what people read to each other.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus::bus {

inline constexpr std::size_t key_bytes = 32;

struct PublicKey {
    std::array<std::uint8_t, key_bytes> bytes{};
    friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
};

/// Overwritten in memory when it is destroyed. There is no way to print it but `text_of`, which
/// only the key file uses.
class SecretKey {
  public:
    SecretKey() = default;
    SecretKey(const SecretKey&) = default;
    SecretKey& operator=(const SecretKey&) = default;
    ~SecretKey();

    std::array<std::uint8_t, key_bytes> bytes{};
};

struct KeyPair {
    PublicKey public_key;
    SecretKey secret;
};

/// From the operating system's random bytes.
KeyPair make_key_pair();
/// The public key that belongs to a secret one.
PublicKey public_key_of(const SecretKey& secret);

/// Z85 (ZeroMQ RFC 32), 40 characters.
std::string text_of(const PublicKey& key);
std::string text_of(const SecretKey& key);
/// Errors: bad_data, without the text in the sentence: it may be a secret.
Result<PublicKey> parse_public_key(std::string_view text);
Result<SecretKey> parse_secret_key(std::string_view text);

/// What people compare over the telephone: "7QHD-2K5W-...", 6 groups of 4 of A-Z and 2-7, base32
/// (RFC 4648) of the first 120 bits of BLAKE2b-256 of "vflbus-key:" and the 32 bytes. To find
/// another key with the same one takes 2^120 trials.
std::string fingerprint_of(const PublicKey& key);
/// In capital letters with its dashes; empty for a text that is no fingerprint. Dashes and the case
/// of letters may be as people type them.
std::string parse_fingerprint(std::string_view text);

}  // namespace vflbus::bus
