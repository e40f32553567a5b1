"""Writes curves_cases.hpp: what scikit-learn draws of small sets of labels and scores.

Run with Debian's python3-sklearn: python3 make_curves_cases.py > curves_cases.hpp
"""
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import (average_precision_score, confusion_matrix, precision_recall_curve, roc_curve)

CASES = {
    "ties": ([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0], [.9, .8, .8, .7, .7, .5, .5, .4, .3, .3, .1, 0]),
    "perfect": ([0, 0, 1, 1], [.1, .2, .8, 1.]),
    "reversed": ([1, 1, 0], [.2, .4, .6]),
    "one score": ([1, 0, 1], [.5, .5, .5]),
}
rng = np.random.default_rng(7)
p = np.round(rng.uniform(size=60), 2)
CASES["many"] = ((rng.uniform(size=60) < p).astype(int).tolist(), p.tolist())


def numbers(values):
    return "{" + ", ".join(repr(float(v)) for v in values) + "}"


print("#pragma once")
print("// Made by make_curves_cases.py with scikit-learn. Do not edit.")
print("\n#include <vector>\n")
print("struct CurvesCase {\n    const char* name;\n    std::vector<double> y, score;")
print("    std::vector<double> fpr, tpr, thresholds;\n    std::vector<double> precision, recall, pr_thresholds;")
print("    double average_precision, ks;\n    std::vector<double> observed, predicted;")
print("    std::vector<double> confusion;  // tn fp fn tp at 0.5\n};\n")
print("// clang-format off\ninline const std::vector<CurvesCase> curves_cases{")
for name, (y, s) in CASES.items():
    fpr, tpr, thresholds = roc_curve(y, s, drop_intermediate=False)
    precision, recall, pr = precision_recall_curve(y, s)
    observed, predicted = calibration_curve(y, s, n_bins=5)
    called = (np.array(s) >= .5).astype(int)
    print(f'    {{"{name}", {numbers(y)}, {numbers(s)},')
    print(f"     {numbers(fpr)}, {numbers(tpr)}, {numbers(thresholds)},")
    print(f"     {numbers(precision)}, {numbers(recall)}, {numbers(pr)},")
    print(f"     {float(average_precision_score(y, s))!r}, {float(np.max(np.abs(tpr - fpr)))!r},")
    print(f"     {numbers(observed)}, {numbers(predicted)},")
    print(f"     {numbers(confusion_matrix(y, called, labels=[0, 1]).ravel())}}},")
print("};\n// clang-format on")
