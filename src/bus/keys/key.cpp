#include "bus/keys/key.hpp"

#include <sodium.h>

#include <cctype>
#include <span>

#include "base/hash.hpp"
#include "bus/keys/base32.hpp"

namespace vflbus::bus {
namespace {

constexpr std::string_view z85_digits =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
constexpr std::size_t fingerprint_bytes = 15;  // 24 digits
constexpr std::size_t fingerprint_digits = 24;
constexpr std::size_t group_digits = 4;

std::string z85_of(std::span<const std::uint8_t> bytes) {
    std::string text;
    for (std::size_t i = 0; i + 4 <= bytes.size(); i += 4) {
        std::uint32_t value = 0;
        for (std::size_t k = 0; k < 4; ++k) value = value << 8 | bytes[i + k];
        char digits[5];
        for (std::size_t k = 5; k-- > 0; value /= 85) digits[k] = z85_digits[value % 85];
        text.append(digits, sizeof digits);
    }
    return text;
}

bool from_z85(std::string_view text, std::span<std::uint8_t> bytes) {
    if (text.size() != bytes.size() / 4 * 5) return false;
    for (std::size_t i = 0; i < bytes.size() / 4; ++i) {
        std::uint64_t value = 0;
        for (const char c : text.substr(i * 5, 5)) {
            const std::size_t digit = z85_digits.find(c);
            if (digit == std::string_view::npos) return false;
            value = value * 85 + digit;
        }
        if (value > 0xffffffffU) return false;
        for (std::size_t k = 4; k-- > 0; value >>= 8)
            bytes[i * 4 + k] = static_cast<std::uint8_t>(value);
    }
    return true;
}

std::string grouped(std::string_view digits) {
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i != 0 && i % group_digits == 0) text += '-';
        text += digits[i];
    }
    return text;
}

}  // namespace

SecretKey::~SecretKey() {
    sodium_memzero(bytes.data(), bytes.size());
}

KeyPair make_key_pair() {
    KeyPair pair;
    random_bytes(pair.secret.bytes);
    pair.public_key = public_key_of(pair.secret);
    return pair;
}

PublicKey public_key_of(const SecretKey& secret) {
    PublicKey key;
    (void)crypto_scalarmult_base(key.bytes.data(), secret.bytes.data());
    return key;
}

std::string text_of(const PublicKey& key) {
    return z85_of(key.bytes);
}

std::string text_of(const SecretKey& key) {
    return z85_of(key.bytes);
}

Result<PublicKey> parse_public_key(std::string_view text) {
    PublicKey key;
    if (!from_z85(text, key.bytes))
        return fail(Errc::bad_data, "a key is 40 characters of Z85, which this is not");
    return key;
}

Result<SecretKey> parse_secret_key(std::string_view text) {
    SecretKey key;
    if (!from_z85(text, key.bytes))
        return fail(Errc::bad_data, "a key is 40 characters of Z85, which this is not");
    return key;
}

std::string fingerprint_of(const PublicKey& key) {
    std::string said = "vflbus-key:";
    said.append(key.bytes.begin(), key.bytes.end());
    const Hash256 hash = hash256(said);
    const std::string digits = base32_of(std::span(hash).first(fingerprint_bytes));
    return grouped(digits);
}

std::string parse_fingerprint(std::string_view text) {
    std::string digits;
    for (const char c : text) {
        if (c == '-' || c == ' ') continue;
        const char upper = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        if (base32_digit(upper) < 0) return {};
        digits += upper;
    }
    return digits.size() == fingerprint_digits ? grouped(digits) : std::string();
}

}  // namespace vflbus::bus
