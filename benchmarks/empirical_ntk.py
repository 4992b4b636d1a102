"""The empirical NTK against dense Jacobians, and against its matrix products alone."""

from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks.kernel_worker import OWN, RIVAL, Worker, in_turn, ratio, sides

TITLE = "Empirical NTK of a network of width 2048"
NOTE = (
    "The NTK of one finite ReLU network, 3 hidden layers, biases, 784 features, one "
    "output, float32: of 64 inputs with themselves, and with 64 others. `products` are "
    "the matrix products of which the structured NTK consists, alone. Memory is the "
    "peak of a process of its own during its first run, compilation included, beyond "
    "what it held with inputs and parameters prepared. Times are the median of 5 "
    "rounds, in which each takes its turn; the ratios to widelimit's `empirical_ntk` "
    "have their lowest and highest. Required of the dense Jacobians: at least 100 in "
    "time and 5 in memory; of the products: at least 0.5 in time."
)
ROUNDS = 5
CASES = {
    "one core, with themselves": (1, None),
    "one core, with others": (1, {"rows": 64, "seed": 1}),
    "two cores, with themselves": (2, None),
}
# What is measured, by whom, and after how many runs to take the median of a turn.
IMPLEMENTATIONS = {
    "neural-tangents, Jacobian contraction": (RIVAL, "JACOBIAN_CONTRACTION", 1),
    "neural-tangents, NTK-vector products": (RIVAL, "NTK_VECTOR_PRODUCTS", 1),
    "neural-tangents, structured": (RIVAL, "STRUCTURED_DERIVATIVES", 9),
    "dense Jacobians": (OWN, "dense", 1),
    "products": (OWN, "products", 9),
    "widelimit": (OWN, "empirical_ntk", 9),
}


def measure():
    present = sides()
    shown = {k: v for k, v in IMPLEMENTATIONS.items() if v[0] in present}
    return [row for case in CASES for row in rows(case, shown, present)]


def rows(case, shown, present):
    cores, x2 = CASES[case]
    sets = {"x1": {"rows": 64, "seed": 0}, "x2": x2}

    def ask(worker, want, implementation, repeats=1):
        order = {"implementation": implementation, **sets}
        return worker.ask(want, "empirical", repeats, **order)[want]

    memory = {}
    for name, (side, implementation, _) in shown.items():
        with Worker(side, cores=cores, x64=False) as worker:
            memory[name] = ask(worker, "peak", implementation)
    with ExitStack() as stack:
        workers = {
            side: stack.enter_context(Worker(side, cores=cores, x64=False))
            for side in present
        }
        runs = {
            name: partial(ask, workers[side], "seconds", implementation, repeats)
            for name, (side, implementation, repeats) in shown.items()
        }
        times = in_turn(runs, rounds=ROUNDS)
    return [
        {
            "64 inputs": case,
            "implementation": name,
            "time, s": f"{median(times[name]):.4f}",
            "memory, MB": f"{memory[name] / 1e6:.0f}",
            "time / widelimit's": ratio(times[name], times["widelimit"]),
            "memory / widelimit's": f"**{memory[name] / memory['widelimit']:.1f}**",
        }
        for name in shown
    ]
