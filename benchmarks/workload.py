"""What both sides of the training benchmark train on, and the cores they have."""

import os

import numpy as np

SEEDS, BATCH = 8, 64


def workload(features):
    """Random inputs in [0, 1] and labels, of the size of a small data set."""
    rng = np.random.default_rng(0)
    rows = 2048 if features == 784 else 1408
    x = rng.uniform(size=(rows, features)).astype(np.float32)
    return x, rng.integers(0, 10, size=rows)


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
