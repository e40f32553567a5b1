#!/usr/bin/env python3
"""Writes answers.txt: keys, ciphertexts, sums, products and plaintexts that src/privacy/paillier must
come to, by Python's integers.

Independent of the product: textbook formulae with pow(), a private key that is used without the
Chinese remainder theorem, products term by term. Run it by hand:
    python3 tests/unit/privacy/paillier/answers.py > answers.txt
"""

MASK = (1 << 64) - 1


class Numbers:
    """A linear congruential generator: the same numbers on every machine."""

    def __init__(self, seed):
        self.state = seed

    def word(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return self.state >> 16

    def bits(self, count):
        out = 0
        for _ in range(count // 32 + 1):
            out = out << 32 | (self.word() & 0xFFFFFFFF)
        return out & ((1 << count) - 1)


def is_prime(n):
    if any(n % p == 0 for p in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)):
        return False
    d, r = n - 1, 0
    while d % 2 == 0:
        d, r = d // 2, r + 1
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29):
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


def prime(numbers, bits):
    candidate = numbers.bits(bits) | 3 << (bits - 2) | 3
    while not is_prime(candidate):
        candidate += 4
    return candidate


def case(key_bits, seed, slot, outputs):
    numbers = Numbers(seed)
    p, q = prime(numbers, key_bits // 2), prime(numbers, key_bits // 2)
    n, x = p * q, numbers.bits(key_bits - 8)
    n2 = n * n
    h = pow(-x * x % n, n, n2)
    print("key", key_bits, f"{p:x} {q:x} {x:x} {n:x} {h:x}")

    def encrypt(values):
        alpha = numbers.bits(key_bits // 2)
        m = sum(v << (slot * j) for j, v in enumerate(values)) % n
        c = (1 + m * n) % n2 * pow(h, alpha, n2) % n2
        print("encrypt", slot, len(values), *values, f"{alpha:x} {c:x}")
        return c

    def decrypt(c):
        # the textbook: L(c^lambda) / L(g^lambda), lambda = (p - 1)(q - 1)
        lam = (p - 1) * (q - 1)
        m = (pow(c, lam, n2) - 1) // n * pow((pow(1 + n, lam, n2) - 1) // n, -1, n) % n
        return m - n if m > n // 2 else m

    small = [[numbers.bits(21) - (1 << 20) for _ in range(outputs)] for _ in range(5)]
    small[1] = [-(1 << 40)] * outputs
    small[2] = [(1 << 48) - 1] * outputs
    ciphers = [encrypt(values) for values in small]
    total = 1
    for c in ciphers:
        total = total * c % n2
    print("sum", f"{total:x}", *[sum(values[j] for values in small) for j in range(outputs)])
    assert decrypt(total) == sum(sum(v[j] for v in small) << (slot * j) for j in range(outputs))
    column = [numbers.bits(16) - (1 << 15) + 1 for _ in range(4)] + [0]
    column[0], column[3] = -32767, 32767
    rows = [ciphers[0], ciphers[3], ciphers[4], ciphers[0], ciphers[1]]
    result = 1
    for c, x in zip(rows, column):
        result = result * pow(c, x, n2) % n2
    print("product", *column, f"{result:x}")


if __name__ == "__main__":
    case(2048, 1, 104, 1)
    case(2048, 2, 104, 19)
    case(3072, 3, 104, 3)
    case(512, 4, 100, 2)
