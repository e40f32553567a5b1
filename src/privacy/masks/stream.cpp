// The only file that includes OpenSSL's headers for AES.

#include "privacy/masks/stream.hpp"

#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.hpp"

namespace vflbus::privacy {
namespace {

static_assert(crypto_auth_hmacsha256_BYTES == Key::size);

/// HMAC-SHA256 of `first` then `second` under a key of any length.
Key hmac(std::span<const std::uint8_t> key, std::span<const std::uint8_t> first,
         std::span<const std::uint8_t> second = {}) {
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key.data(), key.size());
    crypto_auth_hmacsha256_update(&state, first.data(), first.size());
    crypto_auth_hmacsha256_update(&state, second.data(), second.size());
    Key out;
    crypto_auth_hmacsha256_final(&state, out.bytes().data());
    wipe(&state, sizeof state);
    return out;
}

}  // namespace

Key expand_key(const Key& key, std::span<const std::uint8_t> label) {
    constexpr std::array<std::uint8_t, 1> first{1};
    return hmac(key.bytes(), label, first);
}

Key derive_key(std::span<const std::uint8_t> secret, std::span<const std::uint8_t> salt,
               std::span<const std::uint8_t> label) {
    return expand_key(hmac(salt, secret), label);
}

struct AesStream::Cipher {
    Cipher() : context(EVP_CIPHER_CTX_new()) {
        VFLBUS_ASSERT(context != nullptr, "OpenSSL has memory for a cipher");
    }
    ~Cipher() { EVP_CIPHER_CTX_free(context); }  // wipes the key
    Cipher(const Cipher&) = delete;
    Cipher& operator=(const Cipher&) = delete;

    EVP_CIPHER_CTX* context;
};

AesStream::AesStream(std::span<const std::uint8_t, Key::size> key)
    : cipher_(std::make_unique<Cipher>()) {
    constexpr std::array<std::uint8_t, 16> counter{};
    const int done = EVP_EncryptInit_ex(cipher_->context, EVP_aes_256_ctr(), nullptr, key.data(),
                                        counter.data());
    VFLBUS_ASSERT(done == 1, "every OpenSSL has AES-256 in counter mode");
}
AesStream::~AesStream() = default;
AesStream::AesStream(AesStream&&) noexcept = default;
AesStream& AesStream::operator=(AesStream&&) noexcept = default;

void AesStream::fill(std::span<std::uint8_t> out) {
    if (out.empty()) return;  // without an address even
    std::memset(out.data(), 0, out.size());
    while (!out.empty()) {
        const std::size_t part = std::min<std::size_t>(out.size(), std::size_t{1} << 30);
        int written = 0;
        const int done = EVP_EncryptUpdate(cipher_->context, out.data(), &written, out.data(),
                                           static_cast<int>(part));
        VFLBUS_ASSERT(done == 1 && static_cast<std::size_t>(written) == part,
                      "counter mode gives a byte for a byte");
        out = out.subspan(part);
    }
}

}  // namespace vflbus::privacy
