#!/usr/bin/env python3
"""Compares answers.txt with python-paillier (the package phe of PyPI, which Stalactite uses).

A command of its own, as it needs a package that Debian does not have:
    python3 -m venv build/phe-venv && build/phe-venv/bin/pip install phe
    build/phe-venv/bin/python tests/unit/privacy/paillier/compare_phe.py

phe decrypts every ciphertext, sum and product of the file with the same primes, and what it encrypts
itself adds up with them. The unit test compares the same file with src/privacy/paillier, so the two
agree. With `--time` it also says what phe needs for the numbers of ./dev bench --only privacy, and for whole
batches of it: an encryption for each row, a product and an addition for each number of a column, and a decryption
for each column.
"""

import pathlib
import sys
import time

from phe import EncryptedNumber, PaillierPrivateKey, PaillierPublicKey

PAGE = pathlib.Path(__file__).parent / "answers.txt"


def slots_of(m, n, slot, count):
    m = m - n if m > n // 2 else m
    out = []
    for _ in range(count):
        low = m & ((1 << slot) - 1)
        low = low - (1 << slot) if low >> (slot - 1) else low
        out.append(low)
        m = (m - low) >> slot
    return out


def main():
    checked = 0
    public = secret = None
    for line in PAGE.read_text().splitlines():
        what, *words = line.split()
        if what == "key":
            p, q, n = int(words[1], 16), int(words[2], 16), int(words[4], 16)
            assert p * q == n
            public = PaillierPublicKey(n)
            secret = PaillierPrivateKey(public, p, q)
            ciphers = []
            continue
        if what == "encrypt":
            slot, count = int(words[0]), int(words[1])
            values, c = [int(w) for w in words[2:2 + count]], int(words[-1], 16)
            ciphers.append((c, values))
        elif what == "sum":
            c, values = int(words[0], 16), [int(w) for w in words[1:]]
        else:
            column, c = [int(w) for w in words[:5]], int(words[-1], 16)
            rows = [ciphers[i][1] for i in (0, 3, 4, 0, 1)]
            values = [sum(x * row[k] for x, row in zip(column, rows)) for k in range(count)]
        assert slots_of(secret.raw_decrypt(c), public.n, slot, count) == values, line[:80]
        # what phe encrypts is added
        own = public.raw_encrypt(5)
        total = EncryptedNumber(public, c) + EncryptedNumber(public, own)
        assert secret.raw_decrypt(total.ciphertext(False)) == (secret.raw_decrypt(c) + 5) % public.n
        checked += 1
    print(f"{checked} ciphertexts, sums and products: phe reads the same numbers")
    if "--time" in sys.argv:
        measure()


def measure():
    from phe import generate_paillier_keypair

    public, secret = generate_paillier_keypair(n_length=2048)

    def rate(count, once):
        begun = time.process_time()
        for _ in range(count):
            once()
        return count / (time.process_time() - begun)

    one, two = public.encrypt(1.5, precision=1e-10), public.encrypt(-2.5, precision=1e-10)
    encryptions = rate(20, lambda: public.encrypt(1.5, precision=1e-10))
    additions = rate(2000, lambda: one + two)
    products = rate(200, lambda: one * 12345)
    decryptions = rate(40, lambda: secret.decrypt(one))
    print(f"phe, 2048 bits: {encryptions:.0f} encryptions/s, {additions:.0f} additions/s, "
          f"{products:.0f} products with a column's number/s, {decryptions:.0f} decryptions/s")
    for rows, columns in ((256, 30), (4096, 330)):
        seconds = rows / encryptions + rows * columns * (1 / products + 1 / additions) + columns / decryptions
        print(f"{rows} x {columns}: {seconds:.1f} s of processor")


if __name__ == "__main__":
    main()
