#include "privacy/seal/seal.hpp"

#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "base/assert.hpp"
#include "base/hash.hpp"

namespace vflbus::privacy {
namespace {

using Octets = std::vector<std::uint8_t>;

constexpr std::string_view domain = "vflbus-seal-1";
constexpr std::size_t gcm_nonce_bytes = 12;
/// OpenSSL counts the bytes of one call with an int.
constexpr std::size_t call_bytes_max = std::size_t{1} << 30;

NonceWatch nonce_watch = nullptr;

std::span<const std::uint8_t> octets_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void append(Octets& out, std::span<const std::uint8_t> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class Integer>
void append_number(Octets& out, Integer value) {
    for (std::size_t i = sizeof value; i-- > 0;)
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

void append_name(Octets& out, const std::string& name) {
    VFLBUS_ASSERT(name.size() <= 255, "a name has 64 characters at most");
    out.push_back(static_cast<std::uint8_t>(name.size()));
    append(out, octets_of(name));
}

void append_identity(Octets& out, const SealIdentity& who) {
    append_name(out, who.name);
    append_name(out, who.key_name);
    append(out, who.key);
    append(out, who.session);
}

SealKey hmac(std::span<const std::uint8_t> key, std::span<const std::uint8_t> bytes) {
    ensure_sodium();
    crypto_auth_hmacsha256_state state;
    SealKey out;
    crypto_auth_hmacsha256_init(&state, key.data(), key.size());
    crypto_auth_hmacsha256_update(&state, bytes.data(), bytes.size());
    crypto_auth_hmacsha256_final(&state, out.bytes.data());
    sodium_memzero(&state, sizeof state);
    return out;
}

PublicBytes public_of_x25519(const SealKey& secret) {
    ensure_sodium();
    PublicBytes out{};
    crypto_scalarmult_base(out.data(), secret.bytes.data());
    return out;
}

std::optional<SealKey> shared_by_x25519(const SealKey& secret, const PublicBytes& theirs) {
    ensure_sodium();
    SealKey out;
    if (crypto_scalarmult(out.bytes.data(), secret.bytes.data(), theirs.data()) != 0) return {};
    return out;
}

/// Looked up once: OpenSSL takes longer to find a cipher by its name than to seal a small body.
const EVP_CIPHER* found_cipher(Cipher cipher) {
    static const EVP_CIPHER* const gcm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
    static const EVP_CIPHER* const chacha = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    return cipher == Cipher::aes_256_gcm ? gcm : chacha;
}

void require(bool good, const char* what) {
    if (!good) throw std::runtime_error(std::string("OpenSSL cannot ") + what);
}

}  // namespace

SealKey::~SealKey() {
    sodium_memzero(bytes.data(), bytes.size());
}

bool has_aes_unit() noexcept {
    ensure_sodium();
    return crypto_aead_aes256gcm_is_available() != 0;
}

void watch_nonces(NonceWatch watch) noexcept {
    nonce_watch = watch;
}

// -- agreeing ----------------------------------------------------------------------

const KeyAgreement& x25519() noexcept {
    static constexpr KeyAgreement agreement{public_of_x25519, shared_by_x25519};
    return agreement;
}

SealKey hkdf_extract(std::span<const std::uint8_t> salt, std::span<const std::uint8_t> secret) {
    return hmac(salt, secret);
}

SealKey hkdf_expand(const SealKey& root, std::span<const std::uint8_t> info) {
    Octets block(info.begin(), info.end());
    block.push_back(1);  // one block of SHA-256 is all that a key needs
    return hmac(root.bytes, block);
}

std::optional<SealKey> agree(const KeyAgreement& agreement, const SealSecrets& mine,
                             const PublicBytes& their_key, const PublicBytes& their_session,
                             bool first) {
    const auto session_session = agreement.shared(mine.session, their_session);
    const auto key_session = agreement.shared(mine.key, their_session);
    const auto session_key = agreement.shared(mine.session, their_key);
    const auto key_key = agreement.shared(mine.key, their_key);
    if (!session_session || !key_session || !session_key || !key_key) return {};
    Octets secret;
    secret.reserve(4 * sizeof(SealKey));
    append(secret, session_session->bytes);
    append(secret, (first ? key_session : session_key)->bytes);  // key of the first
    append(secret, (first ? session_key : key_session)->bytes);  // key of the second
    append(secret, key_key->bytes);
    const SealKey root = hkdf_extract(octets_of(domain), secret);
    sodium_memzero(secret.data(), secret.size());
    return root;
}

SealKey derive_key(const SealKey& root, const SealUse& use, bool to_second) {
    Octets info;
    append(info, octets_of(domain));
    info.push_back(static_cast<std::uint8_t>(use.purpose));
    info.push_back(static_cast<std::uint8_t>(use.cipher));
    info.push_back(to_second ? 1 : 2);
    append(info, use.run.bytes);
    append_number(info, use.term);
    append_number(info, use.opening);
    append_number(info, use.joining);
    append_identity(info, use.first);
    append_identity(info, use.second);
    return hkdf_expand(root, info);
}

// -- sealing -------------------------------------------------------------------------

SealNonce nonce_of(std::uint8_t kind, std::uint64_t number) noexcept {
    SealNonce nonce{};
    nonce[12] = kind;
    for (std::size_t i = 0; i < 8; ++i)
        nonce[23 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    return nonce;
}

struct SealStream::State {
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    State() = default;
    ~State() { EVP_CIPHER_CTX_free(context); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
};

SealStream::SealStream(Way way, Cipher cipher, const SealKey& key, const SealNonce& nonce,
                       std::span<const std::uint8_t> associated)
    : state_(std::make_unique<State>()) {
    if (way == Way::seal && nonce_watch != nullptr) nonce_watch(cipher, key, nonce, associated);
    SealKey inner = key;
    std::array<std::uint8_t, gcm_nonce_bytes> short_nonce{};
    std::copy(nonce.end() - gcm_nonce_bytes, nonce.end(), short_nonce.begin());
    if (cipher == Cipher::xchacha20_poly1305) {
        // XChaCha20: a key from the first 16 bytes of the nonce, and ChaCha20 with the last 8
        ensure_sodium();
        crypto_core_hchacha20(inner.bytes.data(), nonce.data(), key.bytes.data(), nullptr);
        std::fill_n(short_nonce.begin(), 4, std::uint8_t{0});
    }
    const EVP_CIPHER* const found = found_cipher(cipher);
    require(state_->context != nullptr && found != nullptr &&
                EVP_CipherInit_ex2(state_->context, found, inner.bytes.data(), short_nonce.data(),
                                   way == Way::seal ? 1 : 0, nullptr) == 1,
            "begin to seal");
    int written = 0;
    require(EVP_CipherUpdate(state_->context, nullptr, &written, associated.data(),
                             static_cast<int>(associated.size())) == 1,
            "take the associated data");
}

SealStream::~SealStream() = default;
SealStream::SealStream(SealStream&&) noexcept = default;
SealStream& SealStream::operator=(SealStream&&) noexcept = default;

void SealStream::next(std::span<std::uint8_t> part) {
    while (!part.empty()) {
        const std::size_t bytes = std::min(part.size(), call_bytes_max);
        int written = 0;
        require(EVP_CipherUpdate(state_->context, part.data(), &written, part.data(),
                                 static_cast<int>(bytes)) == 1,
                "seal a part");
        part = part.subspan(bytes);
    }
}

SealTag SealStream::tag() {
    SealTag out{};
    int written = 0;
    require(EVP_CipherFinal_ex(state_->context, out.data(), &written) == 1 &&
                EVP_CIPHER_CTX_ctrl(state_->context, EVP_CTRL_AEAD_GET_TAG, seal_tag_bytes,
                                    out.data()) == 1,
            "end a seal");
    return out;
}

bool SealStream::good(std::span<const std::uint8_t, seal_tag_bytes> tag) {
    SealTag copy{};
    std::copy(tag.begin(), tag.end(), copy.begin());
    require(EVP_CIPHER_CTX_ctrl(state_->context, EVP_CTRL_AEAD_SET_TAG, seal_tag_bytes,
                                copy.data()) == 1,
            "take a tag");
    int written = 0;
    std::uint8_t none = 0;
    return EVP_CipherFinal_ex(state_->context, &none, &written) == 1;
}

}  // namespace vflbus::privacy
