#include "privacy/psi/curve.hpp"

#include <sodium.h>

#include <algorithm>
#include <string>

#include "base/assert.hpp"
#include "privacy/psi/curve_ifma.hpp"
#include "privacy/psi/elligator.hpp"
#include "privacy/psi/field25519.hpp"

namespace vflbus::privacy::psi {
namespace {

constexpr std::size_t lanes = 8;
/// Keeps hashes to this group apart from every other use of BLAKE2b here.
constexpr std::string_view domain = "vflbus psi curve25519 elligator2 v1";

/// Below 2^255 - 19. Points travel: this may take as long as it likes for each.
bool is_canonical(const Point& point) noexcept {
    if (point[31] != 0x7f) return point[31] < 0x7f;
    for (std::size_t i = 30; i > 0; --i)
        if (point[i] != 0xff) return true;
    return point[0] < 0xed;
}

tl::unexpected<Failure> refused(const char* what) {
    return fail(Errc::malformed_message, std::string("sent a point that is ") + what);
}

/// The base point fills lanes that nobody asked for.
constexpr Point filler{9};

/// work(in, out) on groups of eight points.
template <class Work>
void by_eights(std::span<const Point> in, std::span<Point> out, const Work& work) {
    std::array<Point, lanes> group;
    for (std::size_t at = 0; at < in.size(); at += lanes) {
        const std::size_t n = std::min(lanes, in.size() - at);
        group.fill(filler);
        std::copy_n(in.begin() + static_cast<std::ptrdiff_t>(at), n, group.begin());
        work(group.data(), group.data());
        std::copy_n(group.begin(), n, out.begin() + static_cast<std::ptrdiff_t>(at));
    }
}

}  // namespace

Secret::Secret(const Randomness& random) {
    random(bytes_);
    bytes_[0] &= 248;
    bytes_[31] &= 127;
    bytes_[31] |= 64;
}

Secret::~Secret() {
    sodium_memzero(bytes_.data(), bytes_.size());
}

Path best_path() noexcept {
#ifdef VFLBUS_PSI_IFMA
    static const bool has = [] {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma");
    }();
    if (has) return Path::ifma;
#endif
    return Path::portable;
}

std::string_view name_of(Path path) noexcept {
    return path == Path::ifma ? "AVX-512 IFMA" : "portable";
}

void map_to_points(std::span<const Point> uniform, std::span<Point> out, Path path) {
    VFLBUS_ASSERT(uniform.size() == out.size(), "every point has a place");
#ifdef VFLBUS_PSI_IFMA
    if (path == Path::ifma && best_path() == Path::ifma)
        return by_eights(uniform, out, map_to_points_ifma);
#endif
    static_cast<void>(path);
    for (std::size_t i = 0; i < uniform.size(); ++i) out[i] = store(elligator(load(uniform[i])));
}

void hash_to_points(std::span<const Hash128> ids, std::span<Point> out, Path path) {
    VFLBUS_ASSERT(ids.size() == out.size(), "every point has a place");
    ensure_sodium();
    const auto* key = reinterpret_cast<const unsigned char*>(domain.data());
    for (std::size_t i = 0; i < ids.size(); ++i)
        crypto_generichash(out[i].data(), out[i].size(), ids[i].data(), ids[i].size(), key,
                           domain.size());
    map_to_points(out, out, path);
}

Result<> multiply(const Secret& secret, std::span<const Point> in, std::span<Point> out,
                  Path path) {
    VFLBUS_ASSERT(in.size() == out.size(), "every point has a place");
    ensure_sodium();
    if (!std::ranges::all_of(in, is_canonical)) return refused("not below 2^255 - 19");
    const std::uint8_t* const key = secret.bytes().data();
    bool low_order = false;
#ifdef VFLBUS_PSI_IFMA
    if (path == Path::ifma && best_path() == Path::ifma) {
        by_eights(in, out, [key](const Point* from, Point* to) { multiply_ifma(key, from, to); });
        for (const Point& point : out) low_order |= sodium_is_zero(point.data(), point.size()) != 0;
        sodium_stackzero(4096);
        if (low_order) return refused("of low order");
        return {};
    }
#endif
    static_cast<void>(path);
    for (std::size_t i = 0; i < in.size(); ++i) {
        Point product;
        low_order |= crypto_scalarmult(product.data(), key, in[i].data()) != 0;
        out[i] = product;
    }
    if (low_order) return refused("of low order");
    return {};
}

}  // namespace vflbus::privacy::psi
