#include "privacy/masks/secret.hpp"

#include <sodium.h>

#include "base/hash.hpp"

namespace vflbus::privacy {
namespace {

RandomSource random_source = nullptr;

}  // namespace

void wipe(void* data, std::size_t bytes) noexcept {
    if (bytes != 0) sodium_memzero(data, bytes);
}

void random_secret(std::span<std::uint8_t> out) {
    if (random_source != nullptr) return random_source(out);
    random_bytes(out);
}

Key random_key() {
    Key key;
    random_secret(key.bytes());
    return key;
}

void use_random_source(RandomSource source) noexcept {
    random_source = source;
}

}  // namespace vflbus::privacy
