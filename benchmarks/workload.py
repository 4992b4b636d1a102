"""What both sides of the training benchmark train on."""

import numpy as np

SEEDS, BATCH = 8, 64


def workload(features):
    """Random inputs in [0, 1] and labels, of the size of a small data set."""
    rng = np.random.default_rng(0)
    rows = 2048 if features == 784 else 1408
    x = rng.uniform(size=(rows, features)).astype(np.float32)
    return x, rng.integers(0, 10, size=rows)
