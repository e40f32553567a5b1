#!/usr/bin/env python3
"""Writes solver_cases.hpp: what scikit-learn (1.2.1) reaches on the tables of solver_tables.hpp and
on the sets of ../shared/data, each column scaled to mean 0 and variance 1.

    python3 make_solver_cases.py SHARED_DATA > solver_cases.hpp && clang-format -i solver_cases.hpp

The tables are made here and in solver_tables.hpp by the same generator (base/rng.hpp), so that no
numbers have to be stored but the results.
"""
import csv
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

MASK = (1 << 64) - 1


class Rng:
    """base/rng.hpp"""

    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        return (self.next() >> 11) * 2.0**-53

    def normal(self):
        total = -6.0
        for _ in range(12):
            total += self.uniform()
        return total


# name, task, rows, columns, kind; the kinds are explained in solver_tables.hpp
TABLES = [
    ("correlated columns", "logistic", 400, 20, "chain"),
    ("correlated columns, numbers", "linear", 400, 20, "chain"),
    ("correlated columns, classes", "softmax", 400, 12, "chain"),
    ("correlated columns, labels", "multilabel", 400, 12, "chain"),
    ("columns twice", "logistic", 300, 16, "twice"),
    ("columns twice, numbers", "linear", 300, 16, "twice"),
    ("a column that is the sum of others", "linear", 300, 12, "sum"),
    ("a column that is the sum of others, classes", "softmax", 300, 12, "sum"),
    ("more columns than rows", "logistic", 60, 150, "plain"),
    ("more columns than rows, numbers", "linear", 60, 150, "plain"),
    ("more columns than rows, classes", "softmax", 60, 150, "plain"),
    ("a constant column", "logistic", 200, 8, "constant"),
    ("a constant column, numbers", "linear", 200, 8, "constant"),
    ("huge columns", "logistic", 300, 10, "huge"),
    ("huge columns, numbers", "linear", 300, 10, "huge"),
    ("tiny columns", "logistic", 300, 10, "tiny"),
    ("tiny columns, numbers", "linear", 300, 10, "tiny"),
    ("rare categories", "logistic", 1000, 30, "rare"),
    ("rare categories, numbers", "linear", 1000, 30, "rare"),
    ("powers of one column", "linear", 200, 8, "powers"),
    ("powers of one column, two classes", "logistic", 200, 8, "powers"),
    ("nearly separable", "logistic", 200, 5, "separable"),
    ("few rows", "logistic", 12, 4, "plain"),
    ("heavy tails", "logistic", 500, 8, "heavy"),
]


def columns_of(kind, n, d, rng):
    x = np.empty((n, d))
    for j in range(d):
        for i in range(n):
            x[i, j] = rng.normal()
    half = d // 2
    if kind == "chain":
        for j in range(1, d):
            x[:, j] = 0.995 * x[:, j - 1] + 0.1 * x[:, j]
    elif kind == "twice":
        x[:, half:] = x[:, :half]
    elif kind == "sum":
        x[:, d - 1] = 0
        for j in range(d - 1):
            x[:, d - 1] += x[:, j]
    elif kind == "constant":
        x[:, 1] = 3.25
        x[:, d - 1] = -1e6
    elif kind == "huge":
        x[:, 0] = x[:, 0] * 1e9
        x[:, 1] = x[:, 1] + 1e9
        x[:, d - 1] = x[:, d - 1] * 1e120
    elif kind == "tiny":
        x[:, 0] = x[:, 0] * 1e-9
        x[:, 1] = x[:, 1] * 1e-9 + 1
        x[:, d - 1] = x[:, d - 1] * 1e-120
    elif kind == "rare":
        x[:, 3:] = 0
        for i in range(n):
            u = rng.uniform()
            x[i, 3 + min(d - 4, int(u * u * u * (d - 3)))] = 1
    elif kind == "powers":
        for j in range(1, d):
            x[:, j] = x[:, j - 1] * x[:, 0]
    elif kind == "heavy":
        x[:] = x * x * x * x * x
    return x


def scaled(x):
    x = x / np.where(np.abs(x).max(0) > 0, np.abs(x).max(0), 1)
    x = x - x.mean(0)
    deviation = x.std(0)
    keep = deviation > 1e-12
    return x[:, keep] / deviation[keep]


def labels_of(task, kind, x, rng):
    n, d = x.shape
    k = {"softmax": 4, "multilabel": 3}.get(task, 1)
    w = np.array([[rng.normal() for _ in range(d)] for _ in range(k)])
    z = np.zeros((n, k))
    for c in range(k):
        for j in range(d):
            z[:, c] += w[c, j] * x[:, j]
    noise = np.array([[rng.normal() for _ in range(k)] for _ in range(n)])
    z = z + (0.01 if kind == "separable" else 1.0) * noise
    if task == "linear":
        return 100 * z[:, 0] + 5000
    if task == "softmax":
        return z.argmax(1)
    if task == "multilabel":
        return (z > 0.5).astype(float)
    return (z[:, 0] > 0.5).astype(float)


def fit(task, x, y, **options):
    """RMSE, AUC (multilabel: their mean) or accuracy on the rows of the fit."""
    if task == "linear":
        z = Ridge(alpha=1).fit(x, y, **options).predict(x)
        return np.sqrt(np.mean((y - z) ** 2))
    balanced = options.pop("balanced", False)
    model = lambda: LogisticRegression(max_iter=100000, tol=1e-7,
                                       class_weight="balanced" if balanced else None)
    if task == "softmax":
        return np.mean(model().fit(x, y, **options).predict(x) == y)
    if task == "multilabel":
        return np.mean([roc_auc_score(y[:, c], model().fit(x, y[:, c]).decision_function(x))
                        for c in range(y.shape[1])])
    return roc_auc_score(y, model().fit(x, y, **options).decision_function(x))


def shared(folder, files):
    tables = []
    for name in files:
        with open(f"{folder}/{name}") as lines:
            rows = list(csv.reader(lines))
        tables.append({row[0]: [float(v) for v in row[1:]] for row in rows[1:]})
    ids = sorted(i for i in tables[0] if all(i in t for t in tables))
    x = np.array([tables[0][i][1:] + sum((t[i] for t in tables[1:]), []) for i in ids])
    own = np.array([tables[0][i][1:] for i in ids])
    y = np.array([tables[0][i][0] for i in ids])
    return scaled(x), (scaled(own) if own.shape[1] else own), y


SHARED = [
    ("default_credit", "logistic", ["default_credit_hetero_guest.csv",
                                    "default_credit_hetero_host.csv"]),
    ("breast", "logistic", ["breast_hetero_guest.csv", "breast_hetero_host.csv"]),
    ("vehicle", "softmax", ["vehicle_scale_hetero_guest.csv", "vehicle_scale_hetero_host.csv"]),
    ("motor", "linear", ["motor_hetero_guest.csv", "motor_hetero_host_1.csv",
                         "motor_hetero_host_2.csv"]),
    ("mnist", "softmax", ["mnist_labels_train.csv", "mnist_left_train.csv",
                          "mnist_right_train.csv"]),
]


def main():
    print("// Made by make_solver_cases.py with scikit-learn 1.2.1; not to be edited.")
    print("#pragma once")
    print('#include "solver_tables.hpp"')
    print("namespace support {")
    print("inline const std::vector<SolverCase> solver_cases = {")
    for seed, (name, task, n, d, kind) in enumerate(TABLES):
        rng = Rng(1000 + seed)
        x = scaled(columns_of(kind, n, d, rng))
        y = labels_of(task, kind, x, rng)
        print(f'{{"{name}", Task::{task}, {n}, {d}, "{kind}", {fit(task, x, y):.9g}}},')
    print("};")
    print("/// Of all rows, and of the label holder's columns alone (NaN: it has none).")
    print("struct SharedCase { const char* name; double joined; double alone; };")
    print("inline const std::vector<SharedCase> shared_cases = {")
    for name, task, files in SHARED:
        x, own, y = shared(sys.argv[1], files)
        alone = f"{fit(task, own, y):.9g}" if own.shape[1] else "NAN"
        print(f'{{"{name}", {fit(task, x, y):.9g}, {alone}}},')
        if name == "default_credit":
            weight = 1 + np.arange(len(y)) % 3
            print(f'{{"{name}, balanced", {fit(task, x, y, balanced=True):.9g}, NAN}},')
            print(f'{{"{name}, row weights", {fit(task, x, y, sample_weight=weight):.9g}, NAN}},')
    print("};")
    print("}  // namespace support")


if __name__ == "__main__":
    main()
