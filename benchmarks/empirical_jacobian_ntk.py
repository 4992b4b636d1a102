"""The finite Jacobian NTK against the Jacobian of all entries."""

from contextlib import ExitStack
from functools import partial
from statistics import median

import numpy as np

from benchmarks.kernel_worker import OWN, Worker, in_turn, ratio

TITLE = "Finite Jacobian NTK against the dense Jacobian of all entries"
NOTE = (
    "Of kim2023's network with GELU and 3 hidden layers, 64 inputs of 11 features with "
    "themselves, 768 rows in float32, on two cores. The rival differentiates the value "
    "and the input gradient of each input by all parameters, backwards, for all inputs "
    "at once, and contracts layer by layer. Memory is the peak of the first run, "
    "compilation and result included, beyond what the process held with inputs and "
    "parameters. Times are the median of 15, 9 and 5 rounds taken in turn, each of one "
    "run of the rival, which lasts about a second or longer, and of 40 of widelimit; "
    "ratios have the lowest and highest. Required: at least 100 in time at width 256, "
    "200 at 512 and 300 at 1024."
)
SIDES = {"widelimit": 40, "dense": 1}  # runs of which a turn takes the median
ROUNDS = {256: 15, 512: 9, 1024: 5}  # by width
INPUTS = {"x1": {"rows": 64, "seed": 0, "features": 11}}
FEW = {"x1": {"rows": 8, "seed": 0, "features": 11}}


def measure():
    return [one(width) for width in ROUNDS]


def one(width):
    def ask(worker, side, want, rows, repeats=1):
        order = {"implementation": side, "width": width, "depth": 3, **rows}
        return worker.ask(want, "empirical_jacobian", repeats, **order)

    memory, values, first = {}, {}, {}
    for side in SIDES:
        with Worker(OWN, cores=2, x64=False) as worker:
            memory[side] = ask(worker, side, "peak", INPUTS)["peak"]
    with ExitStack() as stack:
        workers = {
            side: stack.enter_context(Worker(OWN, cores=2, x64=False)) for side in SIDES
        }
        for side, worker in workers.items():
            values[side] = np.array(ask(worker, side, "values", FEW)["ntk"])
            first[side] = ask(worker, side, "seconds", INPUTS)["first"]

        def seconds(side, repeats):
            return ask(workers[side], side, "seconds", INPUTS, repeats)["seconds"]

        runs = {
            side: partial(seconds, side, repeats) for side, repeats in SIDES.items()
        }
        times = in_turn(runs, rounds=ROUNDS[width])
    own, rival = (values[side] for side in SIDES)
    return {
        "width": str(width),
        "widelimit, s": f"{median(times['widelimit']):.4f}",
        "dense, s": f"{median(times['dense']):.2f}",
        "dense / widelimit": ratio(times["dense"], times["widelimit"]),
        "first run, s": f"{first['widelimit']:.1f}, {first['dense']:.1f}",
        "memory, MB": f"{memory['widelimit'] / 1e6:.0f}, {memory['dense'] / 1e6:.0f}",
        "memory, ratio": f"**{memory['dense'] / memory['widelimit']:.0f}**",
        "largest difference": f"{np.abs(own - rival).max() / np.abs(rival).max():.0e}",
    }
