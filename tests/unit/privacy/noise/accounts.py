#!/usr/bin/env python3
"""Makes accounts.txt: what the accountant of privacy/noise must say, computed by other means.

Epsilon by a dense search over the orders with fractions of 60 digits (decimal), where the product
uses doubles and a search by thirds. And the chances of discrete normal numbers for small
deviations, by their definition.

    python3 accounts.py > accounts.txt
"""
from decimal import Decimal, getcontext

getcontext().prec = 60


def epsilon(rho, delta):
    rho, delta = Decimal(rho), Decimal(delta)

    def at(above):
        order = 1 + above
        return order * rho + (1 - 1 / order).ln() - (delta.ln() + order.ln()) / above

    # above = order - 1, on a grid of powers that is made finer around the least
    low, high, points = Decimal(-20), Decimal(20), 400
    best = None
    for _ in range(12):
        width = (high - low) / points
        grid = [low + width * i for i in range(points + 1)]
        best = min(grid, key=lambda x: at(x.exp()))
        low, high = best - width, best + width
    return max(Decimal(0), at(best.exp()))


def main():
    for rho in ["0.000001", "0.001", "0.02", "0.5", "1", "10", "400"]:
        for delta in ["1e-10", "1e-6", "1e-5", "0.01"]:
            print("epsilon", rho, delta, f"{epsilon(rho, delta):.15e}")
    for sigma in [1, 2, 3]:
        weights = {x: (-Decimal(x * x) / (2 * sigma * sigma)).exp() for x in range(-80, 81)}
        total = sum(weights.values())
        for x in range(0, 5 * sigma + 1):
            print("chance", sigma, x, f"{weights[x] / total:.15e}")


main()
