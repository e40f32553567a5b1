#!/usr/bin/env python3
"""One step of the split network of `vflbus-bench --only split`, in one process with PyTorch.

    python3 bench/network.py [--threads N] [--steps N]

The same networks (392-128-64 at each of two members, 128-64-1 on top), batch (256), optimizer (AdamW)
and precision (float32), the members' numbers side by side. Needs PyTorch (PyPI or Debian's
python3-torch); no test does. Prints microseconds per step and samples per second, the median of five
runs, of wall clock and of processor time.
"""
import argparse
import statistics
import time

import torch
from torch import nn

MEMBERS, FEATURES, BATCH = 2, 392, 256


def bottom():
    return nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--steps", type=int, default=300)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    bottoms = [bottom() for _ in range(MEMBERS)]
    top = nn.Sequential(nn.Linear(64 * MEMBERS, 64), nn.ReLU(), nn.Linear(64, 1))
    network = nn.ModuleList([*bottoms, top])
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.001, weight_decay=0.01)
    columns = [torch.rand(BATCH, FEATURES) - 0.5 for _ in range(MEMBERS)]
    labels = (torch.rand(BATCH, 1) < 0.3).float()

    def step():
        optimizer.zero_grad()
        out = top(torch.cat([b(x) for b, x in zip(bottoms, columns)], 1))
        nn.functional.binary_cross_entropy_with_logits(out, labels).backward()
        optimizer.step()

    for _ in range(50):
        step()
    walls, processor = [], []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(options.steps):
            step()
        walls.append((time.perf_counter() - wall) / options.steps)
        processor.append((time.process_time() - cpu) / options.steps)
    for name, times in (("wall", walls), ("processor", processor)):
        seconds = statistics.median(times)
        print(f"PyTorch {torch.__version__}, {options.threads} thread(s), {name}: "
              f"{seconds * 1e6:.0f} us per step, {BATCH / seconds:.0f} samples/s")


main()
