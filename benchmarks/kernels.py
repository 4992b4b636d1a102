"""Limit kernels against neural-tangents, and against the work they cannot avoid."""

from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks.kernel_worker import OWN, RIVAL, Worker, in_turn, ratio, sides

TITLE = "Limit NNGP and NTK, 1000 by 1000 inputs"
NOTE = (
    "Both kernels between two sets of 1000 inputs of 784 features, 3 hidden layers, "
    "biases, float64, compiled. neural-tangents 0.6.5 runs in a process of its own on "
    "JAX 0.4.25, the last kind that it imports on. The floor is one arcsine and one "
    "square root per pair and hidden layer: by JAX in one compiled program, and by "
    "NumPy's own two functions, on one core. Ratios are the median of 7 rounds, in "
    "which each takes its turn with the median of 5 runs, with the lowest and highest. "
    "Required: at least 1 against neural-tangents on one core; at most 4 over JAX's "
    "floor."
)
SETS = {"x1": {"rows": 1000, "seed": 0}, "x2": {"rows": 1000, "seed": 1}}
FLOORS = {"jax": "JAX", "numpy": "NumPy"}
ROUNDS, REPEATS = 7, 5


def measure():
    present = sides()
    return [row for cores in (1, 2) for row in on_cores(cores, present)]


def on_cores(cores, present):
    with ExitStack() as stack:
        workers = {s: stack.enter_context(Worker(s, cores=cores)) for s in present}
        return [one(workers, cores, name) for name in ("relu", "erf", "gelu")]


def one(workers, cores, activation):
    def ask(side, task, **settings):
        return workers[side].ask("seconds", task, REPEATS, **settings, **SETS)[
            "seconds"
        ]

    runs = {
        side: partial(ask, side, "limit", activation=activation) for side in workers
    }
    floors = {name: partial(ask, OWN, "floor", library=name) for name in FLOORS}
    times = in_turn({**runs, **floors}, rounds=ROUNDS)
    row = {"activation": activation, "cores": str(cores)}
    if RIVAL in times:
        row["neural-tangents, s"] = f"{median(times[RIVAL]):.4f}"
    row["widelimit, s"] = f"{median(times[OWN]):.4f}"
    if RIVAL in times:
        row["neural-tangents / widelimit"] = ratio(times[RIVAL], times[OWN])
    for name, label in FLOORS.items():
        row[f"floor, {label}, s"] = f"{median(times[name]):.4f}"
        row[f"widelimit / {label}'s floor"] = ratio(times[OWN], times[name])
    return row
