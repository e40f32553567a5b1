#include <utility>

#include "privacy/rlwe/ring_impl.hpp"

namespace vflbus::privacy::rlwe {
namespace {

constexpr std::uint64_t mask = (std::uint64_t{1} << 52) - 1;

/// Eight words of any processor.
struct Words {
    std::uint64_t at[8];

    template <class F>
    static Words each(F f) {
        Words out;
        for (std::size_t i = 0; i < 8; ++i) out.at[i] = f(i);
        return out;
    }
    static Words load(const std::uint64_t* from) {
        return each([&](std::size_t i) { return from[i]; });
    }
    void store(std::uint64_t* to) const {
        for (std::size_t i = 0; i < 8; ++i) to[i] = at[i];
    }
    static Words set(std::uint64_t word) {
        return each([&](std::size_t) { return word; });
    }
    static Words load_signed(const std::int32_t* from) {
        return each(
            [&](std::size_t i) { return static_cast<std::uint64_t>(std::int64_t{from[i]}); });
    }
    template <int bits>
    static Words shift_left(const Words& a) {
        return each([&](std::size_t i) { return a.at[i] << bits; });
    }
    template <int bits>
    static Words shift_right(const Words& a) {
        return each([&](std::size_t i) { return a.at[i] >> bits; });
    }
    static Words shift_right_by(const Words& a, std::uint32_t bits) {
        return each([&](std::size_t i) { return a.at[i] >> bits; });
    }
    static Words add(const Words& a, const Words& b) {
        return each([&](std::size_t i) { return a.at[i] + b.at[i]; });
    }
    static Words sub(const Words& a, const Words& b) {
        return each([&](std::size_t i) { return a.at[i] - b.at[i]; });
    }
    static Words low52(const Words& a, const Words& b) {
        return each([&](std::size_t i) { return (a.at[i] * b.at[i]) & mask; });
    }
    static Words add_low52(const Words& sum, const Words& a, const Words& b) {
        return each([&](std::size_t i) { return sum.at[i] + ((a.at[i] * b.at[i]) & mask); });
    }
    static Words high52(const Words& a, const Words& b) {
        return each([&](std::size_t i) {
            return static_cast<std::uint64_t>((Wide{a.at[i] & mask} * Wide{b.at[i] & mask}) >> 52);
        });
    }
    static Words mask52(const Words& a) {
        return each([&](std::size_t i) { return a.at[i] & mask; });
    }
    struct Sum;
    static Words min(const Words& a, const Words& b) {
        // without a branch: the difference borrows into the high half when a < b; all are far
        // below 2^63 but for a - p that has wrapped
        return each([&](std::size_t i) {
            const std::uint64_t wrapped = 0 - (b.at[i] >> 63);
            return (a.at[i] & wrapped) | (b.at[i] & ~wrapped);
        });
    }
    /// One by one is all that any processor can do (bits.cpp).
    static std::size_t pack(const std::uint64_t*, std::size_t, std::uint32_t, std::uint8_t*) {
        return 0;
    }
    static std::size_t unpack(const std::uint8_t*, std::size_t, std::uint32_t, std::uint64_t*) {
        return 0;
    }
    static void transpose(Words (&x)[8]) {
        for (std::size_t i = 0; i < 8; ++i)
            for (std::size_t j = 0; j < i; ++j) std::swap(x[i].at[j], x[j].at[i]);
    }
};

struct Words::Sum {
    Wide at[8] = {};

    void add(const Words& x, const Words& y) {
        for (std::size_t i = 0; i < 8; ++i) at[i] += Wide{x.at[i]} * y.at[i];
    }
    Words low() const {
        return each([&](std::size_t i) { return static_cast<std::uint64_t>(at[i]) & mask; });
    }
    Words upper() const {
        return each([&](std::size_t i) { return static_cast<std::uint64_t>(at[i] >> 52); });
    }
};

}  // namespace

const Loops portable_loops = impl::loops_of<Words>();

}  // namespace vflbus::privacy::rlwe
