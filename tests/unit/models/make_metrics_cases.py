#!/usr/bin/env python3
"""Writes metrics_cases.hpp: what scikit-learn (1.2.1) says of small label and prediction tables.

    python3 make_metrics_cases.py > metrics_cases.hpp && clang-format -i metrics_cases.hpp
"""
import numpy as np
from sklearn import metrics as m

rng = np.random.default_rng(20)


def ks(y, p):
    fpr, tpr, _ = m.roc_curve(y, p, drop_intermediate=False)
    return np.max(np.abs(tpr - fpr))


def linear(y, p):
    return {
        "loss": 0.5 * m.mean_squared_error(y, p), "r2": m.r2_score(y, p),
        "rmse": m.mean_squared_error(y, p, squared=False), "mae": m.mean_absolute_error(y, p)}


def logistic(y, p):
    y, p, nan = y[:, 0], p[:, 0], float("nan")
    one_class = len(np.unique(y)) < 2
    return {
        "loss": m.log_loss(y, p, labels=[0, 1]),
        "auc": nan if one_class else m.roc_auc_score(y, p),
        "ks": nan if one_class else ks(y, p),
        "accuracy": m.accuracy_score(y, p > .5), "f1": m.f1_score(y, p > .5, zero_division=0)}


def multilabel(y, p):
    k, c = y.shape[1], p > .5
    return {
        "loss": np.mean([m.log_loss(y[:, i], p[:, i], labels=[0, 1]) for i in range(k)]),
        "auc_macro": m.roc_auc_score(y, p, average="macro"),
        "auc_micro": m.roc_auc_score(y, p, average="micro"),
        "ks": np.mean([ks(y[:, i], p[:, i]) for i in range(k)]),
        "accuracy": m.accuracy_score(y, c), "label_accuracy": 1 - m.hamming_loss(y, c),
        "f1_macro": m.f1_score(y, c, average="macro", zero_division=0),
        "f1_micro": m.f1_score(y, c, average="micro", zero_division=0)}


def softmax(y, p):
    y, k, nan = y[:, 0].astype(int), p.shape[1], float("nan")
    c = np.argmax(p, axis=1)
    full = len(np.unique(y)) == k
    one_hot = np.eye(k)[y]
    return {
        "loss": m.log_loss(y, p, labels=range(k)), "accuracy": m.accuracy_score(y, c),
        "auc_macro": m.roc_auc_score(y, p, multi_class="ovr", average="macro") if full else nan,
        "auc_micro": m.roc_auc_score(one_hot, p, average="micro"),
        "ks": np.mean([ks(one_hot[:, i], p[:, i]) for i in range(k)]) if full else nan,
        "f1_macro": m.f1_score(y, c, average="macro", zero_division=0),
        "f1_micro": m.f1_score(y, c, average="micro", zero_division=0)}


def column(x):
    return np.asarray(x, dtype=float).reshape(-1, 1)


def probabilities(n, k, digits):
    p = np.round(rng.dirichlet(np.ones(k), n), digits)
    p[:, -1] = 1 - p[:, :-1].sum(axis=1)
    return np.abs(p)


y = rng.integers(0, 2, 40)
rare = np.zeros(60)
rare[[7, 31]] = 1
labels = rng.integers(0, 2, (30, 3))
classes = rng.integers(0, 4, 36)
classes[:4] = range(4)
gap = np.where(classes == 2, 1, classes)
target = rng.normal(size=(25, 1))

cases = [
    ("noise", "logistic", column(y), column(rng.uniform(size=40))),
    ("signal", "logistic", column(y), column(np.clip(.3 * y + .7 * rng.uniform(size=40), 0, 1))),
    ("ties", "logistic", column(y), column(np.round(.4 * y + .6 * rng.uniform(size=40), 1))),
    ("constant scores", "logistic", column(y), column(np.full(40, .25))),
    ("certain and wrong", "logistic", column([0, 1, 1, 0]), column([1, 0, 1, 0])),
    ("one class", "logistic", column(np.ones(5)), column([.1, .6, .7, .5, .9])),
    ("no positive called", "logistic", column(np.zeros(4)), column([.1, .2, .3, .4])),
    ("imbalanced", "logistic", column(rare), column(np.round(rng.beta(1, 9, 60) + .4 * rare, 2))),
    ("reversed", "logistic", column(y), column(np.round(.8 - .5 * y + .1 * rng.uniform(size=40), 3))),
    ("noise", "linear", target, rng.normal(size=(25, 1))),
    ("close", "linear", target, target + .1 * rng.normal(size=(25, 1))),
    ("constant target missed", "linear", column(np.ones(4)), column([1, 1.5, 1, .5])),
    ("constant target met", "linear", column(np.ones(4)), column(np.ones(4))),
    ("two outputs", "linear", rng.normal(size=(20, 2)) * [1, 5], rng.normal(size=(20, 2))),
    ("noise", "multilabel", labels.astype(float), np.round(rng.uniform(size=(30, 3)), 2)),
    ("signal", "multilabel", labels.astype(float),
     np.round(.4 * labels + .6 * rng.uniform(size=(30, 3)), 3)),
    ("a label never called", "multilabel", labels.astype(float),
     np.round(rng.uniform(size=(30, 3)), 2) * [1, .4, 1]),
    ("noise", "softmax", column(classes), probabilities(36, 4, 3)),
    ("ties", "softmax", column(classes), probabilities(36, 4, 1)),
    ("signal", "softmax", column(classes), .6 * np.eye(4)[classes] + .4 * probabilities(36, 4, 6)),
    ("a class without rows", "softmax", column(gap), probabilities(36, 4, 3)),
    ("a class neither there nor called", "softmax", column(gap),
     np.column_stack([probabilities(36, 3, 3)[:, :2], np.zeros(36), np.ones(36)])
     / np.array([1, 1, 1, 1])),
]
# the last one must still be a distribution
name, task, a, b = cases[-1]
b[:, 3] = 1 - b[:, 0] - b[:, 1]
cases[-1] = (name, task, a, np.abs(b))


def number(x):
    return "nan" if np.isnan(x) else repr(float(x))


print("#pragma once")
print("// Made by make_metrics_cases.py with scikit-learn 1.2.1. Do not edit.")
print("#include <limits>\n#include <string>\n#include <utility>\n#include <vector>\n")
print("namespace metrics_cases {\n")
print("inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();\n")
print("struct Case {\n    std::string name;\n    std::string task;\n    std::size_t rows;")
print("    std::vector<double> labels;       // column-major\n"
      "    std::vector<double> predictions;  // column-major")
print("    std::vector<std::pair<std::string, double>> expected;\n};\n")
print("inline std::vector<Case> all() {\n    return {")
for name, task, a, b in cases:
    expected = globals()[task](a, b)
    print(f'{{"{name}", "{task}", {len(a)}, {{{", ".join(f"{v:g}" if v == int(v) else number(v) for v in a.T.ravel())}}},')
    print("{" + ", ".join(number(v) for v in b.T.ravel()) + "},")
    print("{" + ", ".join(f'{{"{n}", {number(v)}}}' for n, v in expected.items()) + "}},")
print("    };\n}\n\n}  // namespace metrics_cases")
