#include "base/hash.hpp"

#include <sodium.h>

#include <bit>
#include <cassert>
#include <stdexcept>

namespace vflbus {
namespace {

void blake2b(std::span<std::uint8_t> out, std::string_view bytes, std::string_view key) {
    ensure_sodium();
    Hash256 hashed_key;
    const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
    const auto* k = reinterpret_cast<const unsigned char*>(key.data());
    std::size_t key_bytes = key.size();
    if (key_bytes > crypto_generichash_KEYBYTES_MAX) {
        crypto_generichash(hashed_key.data(), hashed_key.size(), k, key_bytes, nullptr, 0);
        k = hashed_key.data();
        key_bytes = hashed_key.size();
    }
    // generichash itself takes keys of any length up to 64; short ones are the caller's business
    crypto_generichash(out.data(), out.size(), in, bytes.size(), key_bytes ? k : nullptr,
                       key_bytes);
}

}  // namespace

void ensure_sodium() {
    static const bool ready = [] {
        if (sodium_init() < 0) throw std::runtime_error("libsodium could not be initialised");
        return true;
    }();
    (void)ready;
}

Hash128 hash128(std::string_view bytes, std::string_view key) {
    Hash128 out;
    blake2b(out, bytes, key);
    return out;
}

Hash256 hash256(std::span<const std::uint8_t> bytes) {
    return hash256(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Hash256 hash256(std::string_view bytes) {
    Hash256 out;
    blake2b(out, bytes, {});
    return out;
}

Hash256 sha256(std::string_view bytes) {
    ensure_sodium();
    Hash256 out;
    crypto_hash_sha256(out.data(), reinterpret_cast<const unsigned char*>(bytes.data()),
                       bytes.size());
    return out;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        out.push_back(digits[byte >> 4]);
        out.push_back(digits[byte & 15]);
    }
    return out;
}

void random_bytes(std::span<std::uint8_t> out) {
    ensure_sodium();
    randombytes_buf(out.data(), out.size());
}

RunId random_run_id() {
    RunId id;
    do random_bytes(id.bytes);
    while (id.none());
    return id;
}

std::uint64_t random_u64() {
    std::array<std::uint8_t, 8> bytes;
    random_bytes(bytes);
    return std::bit_cast<std::uint64_t>(bytes);
}

NodeId node_id_of(std::string_view name) {
    constexpr std::string_view prefix = "vflbus-node:";
    std::string text;
    text.reserve(prefix.size() + name.size());
    const Hash128 hash = hash128(text.append(prefix).append(name));
    std::uint64_t value = 0;
    for (int i = 7; i >= 0; --i) value = value << 8 | hash[static_cast<std::size_t>(i)];
    return NodeId{value == 0 ? 1 : value};
}

std::string RunId::hex() const {
    return to_hex(bytes);
}
std::string RunId::short_hex() const {
    return hex().substr(0, 8);
}

Result<RunId> parse_run_id(std::string_view hex) {
    const auto digit = [](char c) -> int {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    RunId id;
    if (hex.size() != 32)
        return fail(Errc::usage,
                    "a run id has 32 hexadecimal digits, not " + std::to_string(hex.size()));
    for (std::size_t i = 0; i < 16; ++i) {
        const int high = digit(hex[2 * i]);
        const int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return fail(Errc::usage, "a run id has 32 hexadecimal digits; \"" + std::string(hex) +
                                         "\" has others");
        id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return id;
}

bool is_valid_node_name(std::string_view name) noexcept {
    if (name.empty() || name.size() > 64 || name[0] == '.' || name[0] == '-') return false;
    for (const char c : name) {
        const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!ok) return false;
    }
    return true;
}

std::string sodium_version() {
    return sodium_version_string();
}

}  // namespace vflbus
