#!/usr/bin/env python3
"""Writes answers.txt: what the ring of src/privacy/rlwe must come to, by Python's integers.

Independent of the product: primes are searched for by trial, products are taken term by term, and
numbers modulo q are whole numbers. Run it by hand when
the parameters of the ring change:  python3 tests/unit/privacy/rlwe/answers.py > answers.txt
"""

N = 8192
BITS = 47


def is_prime(n):
    if n % 2 == 0:
        return False
    d, r = n - 1, 0
    while d % 2 == 0:
        d, r = d // 2, r + 1
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        x = pow(a, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(r - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def primes():
    """Three that make q, and the one by which key switching multiplies and divides."""
    found, candidate = [], (1 << BITS) + 1
    while len(found) < 4:
        candidate -= 2 * N
        if is_prime(candidate):
            found.append(candidate)
    return found


def numbers(seed, count, bound):
    """A linear congruential generator that the test has as well."""
    out = []
    for _ in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out.append((seed >> 16) % bound)
    return out


def main():
    *p, special = primes()
    print("primes", *p, special)
    q = p[0] * p[1] * p[2]
    # a sparse polynomial times a full one, modulo X^N + 1 and q; eight coefficients of the product
    for case in range(4):
        places = numbers(case + 1, 12, N)
        factors = [numbers(case * 100 + 10 + i, 1, q)[0] for i in range(12)]
        full = numbers(case + 50, N, q)
        for at in numbers(case + 90, 8, N):
            total = 0
            for place, factor in zip(places, factors):
                back = at - place
                total += factor * (full[back] if back >= 0 else -full[back + N])
            total %= q
            print("product", case, at, *(total % prime for prime in p))
    for case, step in enumerate((64, 4096, 8192)):
        switched(case, step, p, special)


def switched(case, step, p, special):
    """What a key switch adds to b: s(a) in digits, times a key, divided by the special prime."""
    q = p[0] * p[1] * p[2]
    element = 1 + 2 * N // step
    a = numbers(case + 300, N, q)
    image = [0] * N
    for i, value in enumerate(a):
        to = i * element % (2 * N)
        image[to % N] = value if to < N else -value
    digits = []
    for prime in p:
        share = pow(q // prime, -1, prime)
        digit = [value * share % prime for value in image]
        digits.append([value - prime if value > prime // 2 else value for value in digit])
    keys = [numbers(case * 10 + 400 + d, N, q * special) for d in range(3)]
    for at in (0, step // 2, N - step // 2):
        total = 0
        for digit, key in zip(digits, keys):
            for j, value in enumerate(digit):
                back = at - j
                total += value * (key[back] if back >= 0 else -key[back + N])
        rest = total % special
        if rest > special // 2:
            rest -= special
        print("switch", case, step, at, *((total - rest) // special % prime for prime in p))


if __name__ == "__main__":
    main()
