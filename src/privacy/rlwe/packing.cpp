#include "privacy/rlwe/packing.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/cores.hpp"
#include "privacy/rlwe/residues.hpp"
#include "privacy/rlwe/sampling.hpp"

namespace vflbus::privacy::rlwe {
namespace {

using SeedBytes = std::span<const std::uint8_t, Key::size>;

/// What packing needs of numbers modulo q.
struct Constants {
    Constants() {
        for (std::size_t d = 0; d < prime_count; ++d) {
            const Prime& prime = primes()[d];
            const std::uint64_t p = prime.value();
            std::uint64_t others = 1;  // q / p modulo p
            for (std::size_t i = 0; i < prime_count; ++i)
                if (i != d) others = prime.multiply(others, primes()[i].value() % p);
            const std::uint64_t special = special_prime().value() % p;
            const std::uint64_t share = prime.inverse_of(others);
            digit[d] = prime.factor(share);
            digit_of_transform[d] = prime.factor(prime.multiply(share, prime.size_inverse().value));
            // the key is in Montgomery form, and its multiple is not
            const std::uint64_t plain = prime.multiply(prime.multiply(special, others),
                                                       prime.inverse_of(prime.montgomery().value));
            counts_for[d] = prime.factor(plain);
            of_special[d] = prime.factor(special);
            inverse_of_special[d] = prime.factor(prime.inverse_of(special));
        }
    }
    /// (q / p)^-1 modulo p, which makes a digit of a number; and with the 1/N of a transform.
    std::array<Factor, prime_count> digit;
    std::array<Factor, prime_count> digit_of_transform;
    /// P q / p modulo p, without the factor of Montgomery's form.
    std::array<Factor, prime_count> counts_for;
    /// P and 1/P modulo p.
    std::array<Factor, prime_count> of_special;
    std::array<Factor, prime_count> inverse_of_special;
};
const Constants& constants() {
    static const Constants all;
    return all;
}

/// The half of a switch key that does not travel: a stream for each key and digit.
AesStream uniform_half(SeedBytes zero_seed, std::size_t step, std::size_t digit) {
    constexpr std::string_view use = "a of a switch key";
    std::array<std::uint8_t, use.size() + 3> label{};
    std::ranges::copy(use, label.begin());
    label[use.size()] = static_cast<std::uint8_t>(step);
    label[use.size() + 1] = static_cast<std::uint8_t>(step >> 8);
    label[use.size() + 2] = static_cast<std::uint8_t>(digit);
    Key of_all;
    std::ranges::copy(zero_seed, of_all.bytes().begin());
    return AesStream(expand_key(of_all, label));
}

std::size_t step_of(const Plan& plan, std::size_t level) {
    return plan.block_rows >> level;
}

void copy(const std::uint64_t* from, std::uint64_t* to) {
    std::copy_n(from, ring_size, to);
}

}  // namespace

const Prime& prime_at(std::size_t level) {
    return level < prime_count ? primes()[level] : special_prime();
}

// -- keys -------------------------------------------------------------------------------------

std::vector<std::uint8_t> make_switch_keys(const Plan& plan, SeedBytes zero_seed,
                                           const Extended& secret, AesStream& random) {
    std::vector<std::uint8_t> out;
    out.reserve(plan.levels() * switch_key_bytes() + 8);
    SecretVector<std::int32_t> errors(ring_size);
    SecretVector<std::uint64_t> all(ring_size * prime_count * level_count);
    SecretVector<std::uint64_t> half(ring_size);
    SecretVector<std::uint64_t> rotated(ring_size);
    for (std::size_t key = 0; key < plan.levels(); ++key) {
        const std::size_t step = step_of(plan, key);
        const Automorphism& automorphism = automorphism_of(step);
        for (std::size_t digit = 0; digit < prime_count; ++digit) {
            AesStream uniform = uniform_half(zero_seed, step, digit);
            sample_errors(random, errors.span());
            for (std::size_t level = 0; level < level_count; ++level) {
                const Prime& prime = prime_at(level);
                std::uint64_t* const to = all.data() + (digit * level_count + level) * ring_size;
                sample_uniform(uniform, prime, half.data());
                // -k1 s + e, and for the digit's own prime P (q / p) s(key)
                forward_signed(prime, errors.data(), to);
                multiply_subtract(prime, half.data(), secret.at(level), to);
                if (level != digit) continue;
                permute(automorphism.places.data(), secret.at(level), rotated.data());
                scale(prime, rotated.data(), constants().counts_for[digit]);
                add(prime, rotated.data(), to);
            }
        }
        pack_bits(all.span(), prime_bits, out);
    }
    return out;
}

Result<SwitchKeys> SwitchKeys::parse(const Plan& plan, SeedBytes zero_seed,
                                     std::span<const std::uint8_t> bytes) {
    if (bytes.size() != plan.levels() * switch_key_bytes())
        return fail(Errc::malformed_message,
                    "switch keys of " + std::to_string(bytes.size()) + " bytes where " +
                        std::to_string(plan.levels() * switch_key_bytes()) + " belong");
    SwitchKeys out;
    out.first_step_ = plan.block_rows;
    constexpr std::size_t half_words = ring_size * prime_count * level_count;
    for (std::size_t key = 0; key < plan.levels(); ++key) {
        std::vector<std::uint64_t> words(2 * half_words);
        unpack_bits(bytes.first(switch_key_bytes()), prime_bits,
                    std::span(words).first(half_words));
        bytes = bytes.subspan(switch_key_bytes());
        for (std::size_t digit = 0; digit < prime_count; ++digit) {
            AesStream uniform = uniform_half(zero_seed, step_of(plan, key), digit);
            for (std::size_t level = 0; level < level_count; ++level) {
                const Prime& prime = prime_at(level);
                std::uint64_t* const k0 = words.data() + (digit * level_count + level) * ring_size;
                std::uint64_t* const k1 = k0 + half_words;
                if (auto good = check_below(prime, k0); !good)
                    return tl::unexpected(std::move(good.error()));
                sample_uniform(uniform, prime, k1);
                for (std::uint64_t* const part : {k0, k1}) {
                    scale(prime, part, prime.montgomery());
                    // of its own prime the digit is there before it is scaled, transformed
                    if (level == digit) scale(prime, part, constants().digit[digit]);
                }
            }
        }
        out.keys_.push_back(std::move(words));
    }
    return out;
}

// -- columns ----------------------------------------------------------------------------------

void place_columns(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                   std::size_t group, std::size_t block, std::span<std::int32_t> out) {
    const std::size_t first = group * plan.feature_group;
    const std::size_t count = std::min(plan.feature_group, plan.shape.features - first);
    const std::size_t stride = plan.output_group * plan.block_rows;
    const std::size_t begin = std::min(rows, block * plan.block_rows);
    const std::size_t size = std::min(rows, begin + plan.block_rows) - begin;
    std::ranges::fill(out, 0);
    for (std::size_t j = 0; j < count && size > 0; ++j) {
        const auto column = columns.subspan((first + j) * rows + begin, size);
        if (j > 0) {
            reverse_signed(column, 1, &out[j * stride]);
            continue;
        }
        out[0] = column[0];
        // X^-i is -X^(N - i)
        if (size > 1) reverse_signed(column.subspan(1), -1, &out[ring_size - 1]);
    }
}

void combine_columns(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                     std::size_t leaf, CombinedColumns& out) {
    const std::size_t together = plan.leaf_products();
    const std::size_t first = leaf * together;
    out.polynomials.resize(plan.blocks() * together);
    out.present.assign(plan.blocks() * together, false);
    std::vector<SecretVector<std::int32_t>> small(together);
    for (auto& one : small) one = SecretVector<std::int32_t>(ring_size);
    SecretVector<std::int32_t> scratch(ring_size);
    for (std::size_t block = 0; block < plan.blocks(); ++block) {
        const auto present = out.present.begin() + static_cast<std::ptrdiff_t>(block * together);
        for (std::size_t i = 0; i < together; ++i) {
            present[static_cast<std::ptrdiff_t>(i)] = first + i < plan.feature_groups();
            if (first + i < plan.feature_groups())
                place_columns(plan, columns, rows, first + i, block, small[i].span());
            else
                wipe(small[i].span());
        }
        for (std::uint32_t level = 0; level < plan.input_levels; ++level) {
            const std::size_t step = std::size_t{1} << level;
            for (std::size_t i = 0; i < together; ++i) {
                if ((i & step) != 0) continue;
                const auto a = present + static_cast<std::ptrdiff_t>(i);
                const auto b = present + static_cast<std::ptrdiff_t>(i + step);
                if (!*a && !*b) continue;
                combine_signed(automorphism_of(step_of(plan, level)).coefficients.data(),
                               step_of(plan, level) / 2, small[i].data(), small[i + step].data(),
                               scratch.data());
                *a = *b = true;
            }
        }
        for (std::size_t i = 0; i < together; ++i) {
            if (!present[static_cast<std::ptrdiff_t>(i)]) continue;
            Polynomial& to = out.polynomials[block * together + i];
            for (std::size_t p = 0; p < prime_count; ++p)
                forward_factor(primes()[p], small[i].data(), to.at(p));
        }
    }
}

void images_of_b(const Plan& plan, std::span<const Polynomial* const> b,
                 std::vector<Polynomial>& all) {
    const std::size_t together = plan.leaf_products();
    all.resize(b.size() * together);
    for (std::size_t at = 0; at < b.size(); ++at) {
        Polynomial* const images = &all[at * together];
        std::ranges::copy(b[at]->words(), images[0].words().begin());
        for (std::uint32_t level = 0; level < plan.input_levels; ++level) {
            const Automorphism& automorphism = automorphism_of(step_of(plan, level));
            const std::size_t count = std::size_t{1} << level;
            for (std::size_t i = 0; i < count; ++i)
                for (std::size_t p = 0; p < prime_count; ++p)
                    permute(automorphism.places.data(), images[i].at(p), images[count + i].at(p));
        }
    }
}

void multiply_b(const Plan& plan, const CombinedColumns& columns,
                std::span<const Polynomial> images, std::size_t output_group, Polynomial& sum) {
    const std::size_t together = plan.leaf_products();
    for (std::size_t p = 0; p < prime_count; ++p) {
        Factors factors;
        for (std::size_t block = 0; block < plan.blocks(); ++block) {
            const std::size_t input = block * plan.output_groups() + output_group;
            for (std::size_t i = 0; i < together; ++i)
                if (columns.present[block * together + i])
                    factors.add(images[input * together + i].at(p),
                                columns.polynomials[block * together + i].at(p));
        }
        dot(primes()[p], factors.x, factors.y, sum.at(p));
    }
}

Factor scale_of_b(const Plan& plan, const Prime& prime) {
    return prime.factor(prime.multiply(prime.size_inverse_of_products().value,
                                       prime.inverse_of(plan.leaf_products())));
}

// -- key switching ----------------------------------------------------------------------------

class Packer::Switcher {
  public:
    /// Switches s(a) for a polynomial a modulo q: what it adds to b, times P, and to a.
    void run(const SwitchKeys& keys, std::size_t key, const Automorphism& automorphism,
             const Polynomial& a, Extended& offset, Polynomial& sum) {
        for (std::size_t d = 0; d < prime_count; ++d) {
            permute(automorphism.places.data(), a.at(d), rotated_.at(d));
            copy(rotated_.at(d), digits_.at(d));
            inverse(primes()[d], digits_.at(d), constants().digit_of_transform[d]);
        }
        added_.clear();
        for (std::size_t level = 0; level < level_count; ++level) {
            std::array<const std::uint64_t*, prime_count> digits{};
            std::array<std::array<const std::uint64_t*, prime_count>, 2> halves{};
            for (std::size_t d = 0; d < prime_count; ++d) {
                digits[d] = rotated_.at(d);
                if (level != d) {
                    lift(primes()[d], prime_at(level), digits_.at(d), lifted_.at(d));
                    forward(prime_at(level), lifted_.at(d));
                    digits[d] = lifted_.at(d);
                }
                halves[0][d] = keys.part(key, 0, d, level);
                halves[1][d] = keys.part(key, 1, d, level);
            }
            dot(prime_at(level), {halves[0], halves[1]}, digits,
                {offset.at(level), added_.at(level)}, /*added=*/true);
        }
        divide(added_, sum);
    }
    /// The same with the offset kept here, for divide_offset().
    void run_alone(const SwitchKeys& keys, std::size_t key, const Automorphism& automorphism,
                   const Polynomial& a, Polynomial& sum) {
        offset_.clear();
        run(keys, key, automorphism, a, offset_, sum);
    }
    /// sum = sum + that offset without its factor P.
    void divide_offset(Polynomial& sum) { divide(offset_, sum); }
    /// sum = sum + (x - [x]_P) / P. `x` is left in another form.
    void divide(Extended& x, Polynomial& sum) {
        inverse(special_prime(), x.at(prime_count), special_prime().size_inverse());
        for (std::size_t p = 0; p < prime_count; ++p) {
            lift(special_prime(), primes()[p], x.at(prime_count), lifted_.at(0));
            forward(primes()[p], lifted_.at(0));
            add_difference(primes()[p], x.at(p), lifted_.at(0), constants().inverse_of_special[p],
                           sum.at(p));
        }
    }
    /// sum = sum + s(x)
    void add_image(const Automorphism& automorphism, const Extended& x, Extended& sum) {
        for (std::size_t level = 0; level < level_count; ++level) {
            permute(automorphism.places.data(), x.at(level), lifted_.at(0));
            add(prime_at(level), lifted_.at(0), sum.at(level));
        }
    }

  private:
    Polynomial rotated_;
    Polynomial digits_;
    Extended added_;
    Extended offset_;
    Polynomial lifted_;  ///< digits modulo one prime
};

Packer::Packer() = default;
Packer::~Packer() = default;
Packer::Packer(Packer&&) noexcept = default;
Packer& Packer::operator=(Packer&&) noexcept = default;

void Packer::start(const Plan& plan, const SwitchKeys& keys, std::span<const Polynomial* const> a,
                   std::size_t workers) {
    VFLBUS_ASSERT(keys.serve(plan), "a packed answer is made with the keys of its plan");
    plan_ = &plan;
    keys_ = &keys;
    workers_ = std::max<std::size_t>(1, workers);
    if (scratch_.size() < workers_) scratch_.resize(workers_);
    leaves_.resize(plan.leaves());
    make_images(a);
}

void Packer::make_images(std::span<const Polynomial* const> a) {
    images_.resize(a.size() * plan_->leaf_products());
    offsets_.resize(a.size() * plan_->leaf_products());
    in_parallel(a.size(), workers_, [&](std::size_t at, std::size_t worker) {
        make_images(*a[at], at, scratch_[worker]);
    });
}

void Packer::make_images(const Polynomial& a, std::size_t at, Switcher& scratch) {
    const std::size_t together = plan_->leaf_products();
    Polynomial* const images = &images_[at * together];
    Polynomial* const offsets = &offsets_[at * together];
    std::ranges::copy(a.words(), images[0].words().begin());
    for (std::size_t p = 0; p < prime_count; ++p) {
        const Prime& prime = primes()[p];
        scale(prime, images[0].at(p), prime.factor(prime.inverse_of(together)));
    }
    for (std::uint32_t level = 0; level < plan_->input_levels; ++level) {
        const Automorphism& automorphism = automorphism_of(step_of(*plan_, level));
        const std::size_t count = std::size_t{1} << level;
        for (std::size_t i = 0; i < count; ++i) {
            images[count + i].clear();
            scratch.run_alone(*keys_, level, automorphism, images[i], images[count + i]);
            for (std::size_t p = 0; p < prime_count && i > 0; ++p)  // the first has no offset
                permute(automorphism.places.data(), offsets[i].at(p), offsets[count + i].at(p));
            if (i == 0) offsets[count].clear();
            scratch.divide_offset(offsets[count + i]);
        }
    }
    for (std::size_t p = 0; p < prime_count; ++p) {
        const Prime& prime = primes()[p];
        const std::uint64_t half = prime.inverse_of(std::uint64_t{1} << plan_->tree_levels);
        const std::uint64_t later = prime.multiply(half, prime.montgomery().value);
        const Factor of_a = prime.factor(later);
        const Factor of_offset =
            prime.factor(prime.multiply(later, constants().of_special[p].value));
        for (std::size_t i = 0; i < together; ++i) scale(prime, images[i].at(p), of_a);
        for (std::size_t i = 1; i < together; ++i) scale(prime, offsets[i].at(p), of_offset);
    }
}

void Packer::multiply(const CombinedColumns& columns, std::size_t output_group, std::size_t leaf) {
    const std::size_t together = plan_->leaf_products();
    Leaf& to = leaves_[output_group * plan_->leaves_per_output_group() + leaf];
    wipe(to.offset.at(prime_count), ring_size * sizeof(std::uint64_t));
    for (std::size_t p = 0; p < prime_count; ++p) {
        Factors of_a;
        Factors of_offset;
        for (std::size_t block = 0; block < plan_->blocks(); ++block) {
            const std::size_t input = block * plan_->output_groups() + output_group;
            for (std::size_t i = 0; i < together; ++i) {
                if (!columns.present[block * together + i]) continue;
                const std::uint64_t* const of = columns.polynomials[block * together + i].at(p);
                of_a.add(images_[input * together + i].at(p), of);
                if (i > 0) of_offset.add(offsets_[input * together + i].at(p), of);
            }
        }
        dot(primes()[p], of_a.x, of_a.y, to.a.at(p));
        dot(primes()[p], of_offset.x, of_offset.y, to.offset.at(p));
    }
}

/// x = x + X^(T/2) y + s(x - X^(T/2) y). Without y: twice x, whose other coefficients nobody wants.
void Packer::combine(Leaf& x, Leaf* y, std::uint32_t level, Switcher& scratch) const {
    if (y == nullptr) {
        for (std::size_t l = 0; l < level_count; ++l) {
            if (l < prime_count) add(primes()[l], x.a.at(l), x.a.at(l));
            add(prime_at(l), x.offset.at(l), x.offset.at(l));
        }
        return;
    }
    const Automorphism& automorphism = automorphism_of(step_of(*plan_, level));
    for (std::size_t l = 0; l < level_count; ++l) {
        const std::uint64_t* const half = automorphism.half_step[l].data();
        if (l < prime_count) add_and_subtract(primes()[l], half, x.a.at(l), y->a.at(l));
        add_and_subtract(prime_at(l), half, x.offset.at(l), y->offset.at(l));
    }
    scratch.add_image(automorphism, y->offset, x.offset);
    scratch.run(*keys_, level, automorphism, y->a, x.offset, x.a);
}

Leaf& Packer::merge(std::size_t answer) {
    const std::size_t first = answer * plan_->leaves_per_answer;
    const std::span<Leaf> leaves =
        this->leaves().subspan(first, std::min(plan_->leaves_per_answer, leaves_.size() - first));
    for (std::uint32_t level = 0; level < plan_->tree_levels; ++level) {
        const std::size_t step = std::size_t{1} << level;
        const std::size_t pairs = (leaves.size() + 2 * step - 1) / (2 * step);
        in_parallel(pairs, workers_, [&](std::size_t pair, std::size_t worker) {
            const std::size_t at = 2 * step * pair;
            combine(leaves[at], at + step < leaves.size() ? &leaves[at + step] : nullptr,
                    plan_->input_levels + level, scratch_[worker]);
        });
    }
    return leaves[0];
}

void wanted_offsets(const Plan& plan, Extended& offset, std::span<const std::size_t> powers,
                    std::span<std::uint64_t> out) {
    const std::size_t count = powers.size();
    SecretVector<std::uint64_t> rest(count);
    coefficients(plan.spacing(), special_prime(), offset.at(prime_count),
                 special_prime().size_inverse(), powers, rest.span());
    const std::uint64_t special = special_prime().value();
    for (std::size_t p = 0; p < prime_count; ++p) {
        const Prime& prime = primes()[p];
        const auto of_prime = out.subspan(p * count, count);
        coefficients(plan.spacing(), prime, offset.at(p), prime.size_inverse(), powers, of_prime);
        for (std::size_t i = 0; i < count; ++i) {
            // the rest as a number between -P/2 and P/2, modulo the prime
            const std::uint64_t upper = 0 - ((special / 2 - rest[i]) >> 63);
            const std::uint64_t centred = rest[i] + ((prime.value() - special) & upper);
            of_prime[i] = times(of_prime[i] + 2 * prime.value() - centred,
                                constants().inverse_of_special[p], prime.value());
        }
    }
}

}  // namespace vflbus::privacy::rlwe
