"""One product with a Jacobian kernel against the matrix products in it."""

from functools import partial
from statistics import median

from benchmarks.kernel_worker import OWN, Worker, in_turn, ratio

TITLE = "One product with a Jacobian kernel"
NOTE = (
    "The Jacobian NTK of 784 features (erf, depth 3, float64) times a vector, on two "
    "cores, against the three matrix products of which it consists (twice n x n by "
    "n x d, once n x d by d x n), by JAX in one compiled program and by NumPy. Times "
    "are the median of 9 rounds taken in turn; ratios have the lowest and highest. "
    "Required: at most 2."
)
LABELS = {"jax": "JAX", "numpy": "NumPy"}
ROUNDS, REPEATS = 9, 3


def measure():
    with Worker(OWN, cores=2) as worker:
        return [one(worker, rows) for rows in (1000, 2000)]


def one(worker, rows):
    def ask(implementation):
        order = {"implementation": implementation, "x1": {"rows": rows, "seed": 0}}
        return worker.ask("seconds", "jacobian_product", REPEATS, **order)["seconds"]

    runs = {name: partial(ask, name) for name in ("widelimit", *LABELS)}
    times = in_turn(runs, rounds=ROUNDS)
    row = {"inputs": str(rows), "widelimit, s": f"{median(times['widelimit']):.3f}"}
    for name, label in LABELS.items():
        row[f"{label}, s"] = f"{median(times[name]):.3f}"
        row[f"widelimit / {label}"] = ratio(times["widelimit"], times[name])
    return row
