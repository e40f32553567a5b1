#pragma once
// Ed25519 signatures (RFC 8032, libsodium), for what a node signs with a key of its own.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus {

/// Whether `signature` (128 hexadecimal digits) was made of `bytes` by the holder of the key whose
/// public half is `public_key` (64 digits). False for texts that are neither.
bool is_signature_of(std::string_view bytes, std::string_view signature,
                     std::string_view public_key);

/// A key pair. The secret half is wiped when the object goes.
class SigningKey {
  public:
    /// Reads the secret half from `file`, or makes a key and writes it there, with mode 0600, whole
    /// or not at all. Of two processes that do that at once, both get the key that was first.
    /// Errors: io (not readable, or the directory cannot be written), insecure (a file that others
    /// may read), bad_data (no key).
    static Result<SigningKey> open(const std::filesystem::path& file);
    /// The same without making one.
    static Result<SigningKey> read(const std::filesystem::path& file);

    SigningKey(const SigningKey&) = default;
    SigningKey& operator=(const SigningKey&) = default;
    ~SigningKey();

    /// 128 hexadecimal digits.
    [[nodiscard]] std::string sign(std::string_view bytes) const;
    /// 64 hexadecimal digits.
    [[nodiscard]] const std::string& public_half() const noexcept { return public_; }

  private:
    SigningKey() = default;
    std::array<std::uint8_t, 64> secret_{};
    std::string public_;
};

}  // namespace vflbus
