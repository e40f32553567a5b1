#include "privacy/paillier/paillier.hpp"

#include "base/assert.hpp"
#include "privacy/paillier/keys.hpp"

namespace vflbus::privacy::paillier {
namespace {
Path path_in_use = best_path();
}  // namespace

Path best_path() noexcept {
    return Lanes::possible() ? Path::ifma : Path::gmp;
}
Path path() noexcept {
    return path_in_use;
}
void use_path(Path path) noexcept {
    VFLBUS_ASSERT(path == Path::gmp || Lanes::possible(), "the processor has this path");
    path_in_use = path;
}

void read_slots(std::span<const std::uint64_t> plaintext, std::uint32_t slot_bits,
                std::span<std::uint64_t> out) {
    Integer m;
    Integer slot;
    set_words(m, plaintext);
    for (std::uint64_t& value : out) {
        mpz_tdiv_r_2exp(slot, m, slot_bits);
        value = low_word(slot);
        mpz_tdiv_q_2exp(m, m, slot_bits);
    }
}

}  // namespace vflbus::privacy::paillier
