// The only file that includes OpenSSL's headers for AES.

#include "privacy/masks/stream.hpp"

#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/assert.hpp"
#include "privacy/masks/stream_wide.hpp"

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

namespace {

std::atomic<bool> wide_allowed{true};

bool wide() noexcept {
#ifdef VFLBUS_WIDE_AES
    static const bool has = has_wide_aes();
    return has && wide_allowed;
#else
    return false;
#endif
}

}  // namespace

void allow_wide_aes(bool allowed) noexcept {
    wide_allowed = allowed;
}

/// One of two ways to the same bytes.
struct AesStream::Cipher {
    Cipher() = default;
    ~Cipher() {
        EVP_CIPHER_CTX_free(context);  // wipes the key
        wipe(rounds.data(), sizeof rounds);
        wipe(rest.data(), rest.size());
    }
    Cipher(const Cipher&) = delete;
    Cipher& operator=(const Cipher&) = delete;

    EVP_CIPHER_CTX* context = nullptr;  ///< null: the wide unit
    AesRounds rounds{};
    std::uint64_t next = 0;                            ///< block
    std::array<std::uint8_t, aes_block_bytes> rest{};  ///< the block before it, from `used` on
    std::size_t used = aes_block_bytes;
};

AesStream::AesStream(std::span<const std::uint8_t, Key::size> key)
    : cipher_(std::make_unique<Cipher>()) {
#ifdef VFLBUS_WIDE_AES
    if (wide()) {
        wide_aes_rounds(key, cipher_->rounds);
        return;
    }
#endif
    cipher_->context = EVP_CIPHER_CTX_new();
    VFLBUS_ASSERT(cipher_->context != nullptr, "OpenSSL has memory for a cipher");
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
    if (cipher_->context == nullptr) return fill_wide(out);
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

void AesStream::fill_wide([[maybe_unused]] std::span<std::uint8_t> out) {
#ifdef VFLBUS_WIDE_AES
    Cipher& c = *cipher_;
    const auto take_rest = [&] {
        const std::size_t part = std::min(out.size(), c.rest.size() - c.used);
        std::memcpy(out.data(), c.rest.data() + c.used, part);
        c.used += part;
        out = out.subspan(part);
    };
    if (c.used < c.rest.size()) take_rest();
    const std::size_t blocks = out.size() / aes_block_bytes;
    wide_aes_blocks(c.rounds, c.next, out.first(blocks * aes_block_bytes));
    c.next += blocks;
    out = out.subspan(blocks * aes_block_bytes);
    if (out.empty()) return;
    wide_aes_blocks(c.rounds, c.next++, c.rest);
    c.used = 0;
    take_rest();
#endif
}

}  // namespace vflbus::privacy
