#!/usr/bin/env python3
"""Writes count_cases.hpp: what scikit-learn (1.2.1) reaches with a log link on the table that
test_deviance.cpp makes by the same generator.

    python3 make_count_cases.py > count_cases.hpp && clang-format -i count_cases.hpp
"""
import numpy as np
from sklearn.linear_model import TweedieRegressor
from sklearn.metrics import d2_tweedie_score, mean_tweedie_deviance

from make_solver_cases import Rng

ROWS = 300
COLUMNS = 4
WEIGHTS = [0.5, -0.4, 0.2, 0.0]


def chi_square(rng):
    return sum(rng.normal() ** 2 for _ in range(4)) / 4


def table(task, seed):
    rng = Rng(seed)
    x = np.empty((ROWS, COLUMNS))
    exposure = np.empty(ROWS)
    y = np.empty(ROWS)
    for i in range(ROWS):
        for j in range(COLUMNS):
            x[i, j] = rng.normal()
        exposure[i] = 0.1 + 2 * rng.uniform()
        mean = exposure[i] * np.exp(0.3 + float(x[i] @ WEIGHTS))
        if task == "gamma":
            y[i] = 100 * mean * chi_square(rng)
            continue
        count = 0
        product = rng.uniform()
        while product > np.exp(-mean):
            product *= rng.uniform()
            count += 1
        y[i] = count if task == "poisson" else sum(100 * chi_square(rng) for _ in range(count))
    return x, exposure, y


def case(task, power, exposed, l2, seed):
    x, exposure, y = table(task, seed)
    if not exposed:
        exposure = np.ones(ROWS)
    weight = exposure ** (2 - power)
    model = TweedieRegressor(power=power, alpha=l2 / weight.sum(), link="log", tol=1e-12,
                             max_iter=100000)
    model.fit(x, y / exposure, sample_weight=weight)
    predicted = model.predict(x) * exposure
    deviance = mean_tweedie_deviance(y, predicted, power=power)
    rate = np.average(y / exposure, weights=weight)
    d2 = 1 - deviance / mean_tweedie_deviance(y, rate * exposure, power=power)
    if not exposed:
        assert abs(d2 - d2_tweedie_score(y, predicted, power=power)) < 1e-12
    numbers = ", ".join(f"{w:.9g}" for w in [model.intercept_, *model.coef_])
    print(f"{{Task::{task}, {power}, {'true' if exposed else 'false'}, {l2}, {seed}, {{{numbers}}}, "
          f"{deviance:.12g}, {d2:.12g}}},")


print("""#pragma once
// What scikit-learn reaches with a log link; written by make_count_cases.py.

#include <array>
#include <cstdint>

#include "base/task.hpp"

namespace cases {
using vflbus::Task;

struct Count {
    Task task;
    double power;
    bool exposed;
    double l2;
    std::uint64_t seed;
    std::array<double, 5> weights;  ///< the intercept, then those of the columns
    double deviance;                ///< mean over the rows, of the labels as they stand
    double d2;
};

inline const Count counts[] = {""")
for task, power in (("poisson", 1), ("gamma", 2), ("tweedie", 1.5), ("tweedie", 1.9)):
    for exposed in (False, True):
        for l2 in (0, 5):
            case(task, power, exposed, l2, 11 + 2 * l2)
print("};\n\n}  // namespace cases")
