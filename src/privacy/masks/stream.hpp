#pragma once
// Streams of pseudo-random bytes: AES-256 in counter mode, from a key that HKDF derives.
//
// A key serves for one stream only, so the counter always begins at 0: two streams differ by their
// keys, which are derived from different labels.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "privacy/masks/secret.hpp"

namespace vflbus::privacy {

/// HKDF with SHA-256 (RFC 5869): 32 bytes from a secret, a public salt and a label of the use.
[[nodiscard]] Key derive_key(std::span<const std::uint8_t> secret,
                             std::span<const std::uint8_t> salt,
                             std::span<const std::uint8_t> label);
/// The expansion alone (RFC 5869, section 2.3), from a key that is uniform already.
[[nodiscard]] Key expand_key(const Key& key, std::span<const std::uint8_t> label);

/// The bytes of AES-256-CTR under `key`, counter from 0: the same on every machine.
class AesStream {
  public:
    explicit AesStream(std::span<const std::uint8_t, Key::size> key);
    explicit AesStream(const Key& key) : AesStream(key.bytes()) {}
    ~AesStream();
    AesStream(AesStream&&) noexcept;
    AesStream& operator=(AesStream&&) noexcept;

    /// The next bytes of the stream.
    void fill(std::span<std::uint8_t> out);
    /// The next bytes as words, little-endian.
    void fill(std::span<std::uint64_t> out) {
        fill({reinterpret_cast<std::uint8_t*>(out.data()), out.size_bytes()});
    }

  private:
    void fill_wide(std::span<std::uint8_t> out);
    struct Cipher;
    std::unique_ptr<Cipher> cipher_;
};

/// For tests: whether streams that begin from now on may use the wide AES unit of a processor that
/// has one, in place of OpenSSL. The bytes are the same.
void allow_wide_aes(bool allowed) noexcept;

}  // namespace vflbus::privacy
