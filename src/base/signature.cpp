#include "base/signature.hpp"

#include <sodium.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace vflbus {
namespace {

constexpr std::size_t seed_bytes = crypto_sign_SEEDBYTES;

/// The bytes of a hexadecimal text of exactly that length; false for any other text.
template <std::size_t N>
bool from_hex(std::string_view text, std::array<std::uint8_t, N>& out) {
    std::size_t length = 0;
    return text.size() == 2 * N &&
           sodium_hex2bin(out.data(), N, text.data(), text.size(), nullptr, &length, nullptr) ==
               0 &&
           length == N;
}

std::string system_error() {
    return std::strerror(errno);
}

}  // namespace

bool is_signature_of(std::string_view bytes, std::string_view signature,
                     std::string_view public_key) {
    ensure_sodium();
    std::array<std::uint8_t, crypto_sign_BYTES> made;
    std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key;
    return from_hex(signature, made) && from_hex(public_key, key) &&
           crypto_sign_verify_detached(made.data(),
                                       reinterpret_cast<const unsigned char*>(bytes.data()),
                                       bytes.size(), key.data()) == 0;
}

Result<SigningKey> SigningKey::read(const std::filesystem::path& file) {
    ensure_sodium();
    struct stat about{};
    if (::stat(file.c_str(), &about) != 0)
        return fail(Errc::io, "cannot read " + file.string() + ": " + system_error());
    if ((about.st_mode & 077) != 0)
        return fail(Errc::insecure, file.string() + " is a secret key that others may read; " +
                                        "if nobody has, `chmod 600 " + file.string() + "`");
    auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    std::array<std::uint8_t, seed_bytes> seed;
    const bool good = from_hex(trim(*text), seed);
    sodium_memzero(text->data(), text->size());
    if (!good) return fail(Errc::bad_data, file.string() + " holds no key (64 hexadecimal digits)");
    SigningKey key;
    std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> shown;
    crypto_sign_seed_keypair(shown.data(), key.secret_.data(), seed.data());
    sodium_memzero(seed.data(), seed.size());
    key.public_ = to_hex(shown);
    return key;
}

Result<SigningKey> SigningKey::open(const std::filesystem::path& file) {
    std::error_code ec;
    if (!std::filesystem::exists(file, ec)) {
        std::array<std::uint8_t, seed_bytes> seed;
        random_bytes(seed);
        std::string text = to_hex(seed) + "\n";
        sodium_memzero(seed.data(), seed.size());
        const auto made = write_new_file(file, text, S_IRUSR | S_IWUSR);
        sodium_memzero(text.data(), text.size());
        if (!made) return tl::unexpected(made.error());
    }
    return read(file);
}

SigningKey::~SigningKey() {
    sodium_memzero(secret_.data(), secret_.size());
}

std::string SigningKey::sign(std::string_view bytes) const {
    std::array<std::uint8_t, crypto_sign_BYTES> made;
    crypto_sign_detached(made.data(), nullptr, reinterpret_cast<const unsigned char*>(bytes.data()),
                         bytes.size(), secret_.data());
    return to_hex(made);
}

}  // namespace vflbus
