"""The dense Jacobian NTK against nested automatic differentiation."""

from contextlib import ExitStack
from functools import partial
from statistics import median

import numpy as np

from benchmarks.kernel_worker import OWN, Worker, in_turn, ratio

TITLE = "Dense Jacobian NTK, 224 inputs of 11 features, depth 11"
NOTE = (
    "The Gram matrix of 2688 rows in float64, on two cores. The rival differentiates "
    "the NTK of two inputs, its layers in one compiled loop, backwards by one input "
    "and forwards by the other, for all pairs at once. Memory is the peak of the first "
    "run, compilation and result included, beyond what the process held before. "
    "Compilation is the first run less the median of the later ones. Times are the "
    "median of 5 rounds taken in turn, each of one run of the rival and of 10 of "
    "widelimit, which last about as long; ratios have the lowest and highest. "
    "Required: at least 20 in time, 3 in memory and 2 in compilation, at equal values."
)
SIDES = {"widelimit": 10, "nested": 1}  # runs of which a turn takes the median
SET = {"x1": {"rows": 224, "seed": 0, "features": 11}}
FEW = {"x1": {"rows": 12, "seed": 0, "features": 11}}
ROUNDS = 5


def measure():
    return [one(activation) for activation in ("erf", "gelu")]


def one(activation):
    def ask(worker, side, want, rows, repeats=1):
        order = {"implementation": side, "activation": activation, "depth": 11, **rows}
        return worker.ask(want, "jacobian_gram", repeats, **order)

    memory, first, values = {}, {}, {}
    for side in SIDES:
        with Worker(OWN, cores=2) as worker:
            memory[side] = ask(worker, side, "peak", SET)["peak"]
    with ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(OWN, cores=2)) for side in SIDES}
        for side, worker in workers.items():
            first[side] = ask(worker, side, "seconds", SET)["first"]
            values[side] = np.array(ask(worker, side, "values", FEW)["gram"])

        def seconds(side, repeats):
            return ask(workers[side], side, "seconds", SET, repeats)["seconds"]

        runs = {
            side: partial(seconds, side, repeats) for side, repeats in SIDES.items()
        }
        times = in_turn(runs, rounds=ROUNDS)
    own, rival = (values[side] for side in SIDES)
    compiled = {side: first[side] - median(times[side]) for side in SIDES}
    return {
        "activation": activation,
        "widelimit, s": f"{median(times['widelimit']):.3f}",
        "nested, s": f"{median(times['nested']):.2f}",
        "nested / widelimit": ratio(times["nested"], times["widelimit"]),
        "memory, MB": f"{memory['widelimit'] / 1e6:.0f}, {memory['nested'] / 1e6:.0f}",
        "memory, ratio": f"**{memory['nested'] / memory['widelimit']:.1f}**",
        "compilation, s": f"{compiled['widelimit']:.1f}, {compiled['nested']:.1f}",
        "compilation, ratio": f"**{compiled['nested'] / compiled['widelimit']:.1f}**",
        "largest difference": f"{np.abs(own - rival).max() / np.abs(own).max():.0e}",
    }
