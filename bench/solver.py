#!/usr/bin/env python3
"""solver.py FILE ROWS COLUMNS: answers each line of standard input by fitting scikit-learn's
LogisticRegression to the doubles in FILE (labels, then the table row by row) and printing
processor seconds, iterations and AUC. One thread: the caller sets OPENBLAS_NUM_THREADS."""
import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

path, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
values = np.fromfile(path)
y, x = values[:rows], values[rows:].reshape(rows, columns)
print("ready", flush=True)
for _ in sys.stdin:
    begin = time.process_time()
    model = LogisticRegression().fit(x, y)
    seconds = time.process_time() - begin
    print(seconds, model.n_iter_[0], roc_auc_score(y, model.decision_function(x)), flush=True)
