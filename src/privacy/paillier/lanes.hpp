#pragma once
// Eight numbers at once modulo the same odd number, by AVX-512 IFMA.
//
// The problem: a product of two numbers of 4096 bits takes GMP four microseconds, and an encryption
// needs 128 of them. IFMA multiplies eight pairs of 52-bit digits in one instruction, so eight
// independent products are computed side by side: digit i of number l is word 8 i + l of an array.
// Products are Montgomery's (a b / R modulo m with R = 2^(52 digits)), and "almost" reduced:
// numbers are below 2 m where 4 m < R, and become the least ones when they are stored.
//
// Nothing here branches or reads memory by what the numbers are, but for the entries that a caller
// picks.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "privacy/paillier/lane_loops.hpp"

namespace vflbus::privacy::paillier {

/// One array of eight numbers, aligned for whole registers.
class Eight {
  public:
    explicit Eight(std::size_t digits) : words_(8 * digits + 7) {}
    [[nodiscard]] std::uint64_t* data() noexcept {
        const auto at = reinterpret_cast<std::uintptr_t>(words_.data());
        return words_.data() + (64 - at % 64) % 64 / 8;
    }

  private:
    std::vector<std::uint64_t> words_;
};

class Lanes {
  public:
    static constexpr std::size_t count = 8;
    /// Whether this processor and this build can.
    [[nodiscard]] static bool possible() noexcept;

    Lanes() = default;
    /// `modulus`: odd, its highest word not 0. `square`: R^2 modulo m, and `reciprocal`:
    /// floor(R^2 / m), which who makes this computes.
    Lanes(std::span<const std::uint64_t> modulus, std::span<const std::uint64_t> square,
          std::span<const std::uint64_t> reciprocal);
    /// So many digits for a modulus of so many words: a multiple of 4.
    [[nodiscard]] static std::size_t digits_for(std::size_t words) noexcept;

    [[nodiscard]] std::size_t digits() const noexcept { return digits_; }
    [[nodiscard]] std::size_t words() const noexcept { return words_; }
    /// Words of an array of eight numbers.
    [[nodiscard]] std::size_t size() const noexcept { return count * digits_; }

    // arrays are aligned to 64 bytes; out may be a or b
    /// out = a b / R.
    void multiply(std::uint64_t* out, const std::uint64_t* a, const std::uint64_t* b) const;
    void square(std::uint64_t* out, const std::uint64_t* a) const;
    /// out = a b modulo m for least numbers a and b: in the time of one multiply(), where that and
    /// to_montgomery() take two. The result is the least one too.
    void multiply_plain(std::uint64_t* out, const std::uint64_t* a, const std::uint64_t* b) const;
    /// The same number in all lanes, from its digits.
    void spread(std::uint64_t* out, const std::uint64_t* digits) const;
    /// Numbers of words() each, below m, one after another; lanes beyond are filled with the last.
    void load(std::uint64_t* out, std::span<const std::uint64_t> numbers) const;
    /// Eight least numbers, as load() or multiply_plain() gave them.
    void store_eight(const std::uint64_t* a, std::span<std::uint64_t> numbers) const;
    /// The least numbers that are the same modulo m.
    void store(const std::uint64_t* a, std::span<std::uint64_t> numbers) const;
    /// a = a R, and back.
    void to_montgomery(std::uint64_t* a) const;
    void from_montgomery(std::uint64_t* a) const;
    /// One lane as digits.
    void digits_of(const std::uint64_t* a, std::size_t lane, std::uint64_t* digits) const;
    /// R modulo m, which is 1 in Montgomery's form.
    [[nodiscard]] const std::uint64_t* one() const noexcept { return one_.data(); }

    /// Lane l of out is entry index[l] of a table of numbers of digits() words each.
    void gather(std::uint64_t* out, const std::uint64_t* table, const std::uint64_t* index) const;
    /// Lane l of out is lane l of array index[l] of a table of arrays; and back.
    void gather_lanes(std::uint64_t* out, const std::uint64_t* table,
                      const std::uint64_t* index) const;
    void scatter_lanes(const std::uint64_t* a, std::uint64_t* table,
                       const std::uint64_t* index) const;
    /// out = array `index` of `entries` of them, all of which are read.
    void pick(std::uint64_t* out, const std::uint64_t* table, std::size_t entries,
              std::uint64_t index) const;

  private:
    const LaneLoops* loops_ = nullptr;
    std::size_t words_ = 0;
    std::size_t digits_ = 0;
    std::uint64_t inverse_ = 0;  ///< -1/m modulo 2^52
    std::vector<std::uint64_t> modulus_words_;
    std::vector<std::uint64_t> modulus_;  ///< digits
    std::vector<std::uint64_t> square_;   ///< digits of R^2 modulo m
    std::vector<std::uint64_t> one_;      ///< digits of R modulo m
    /// Digits of floor(R^2 / m); empty where m has so few bits that they are more than digits_ + 4.
    std::vector<std::uint64_t> reciprocal_;
};

}  // namespace vflbus::privacy::paillier
