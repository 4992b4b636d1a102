"""The eight numbers per pair of which Jacobian NTKs are made."""

from benchmarks.kernel_worker import OWN, Worker

TITLE = "The eight numbers of the Jacobian NTK, 1000 by 1000 inputs"
NOTE = (
    "Between two sets of 1000 inputs of 784 features, 3 hidden layers, biases, "
    "float64, two cores: the median of 7 runs after compilation. Compilation is the "
    "first call, of ten inputs, in a process of its own, at depths 1 and 100. "
    "Required: at most 1 s for erf and 2 s for GELU; compilation at most 5 s at any "
    "depth up to 100."
)
SETS = {"x1": {"rows": 1000, "seed": 0}, "x2": {"rows": 1000, "seed": 1}}
FEW = {"x1": {"rows": 10, "seed": 0}, "x2": {"rows": 10, "seed": 1}}


def measure():
    return [one(activation) for activation in ("erf", "gelu")]


def one(activation):
    row = {"activation": activation}
    with Worker(OWN, cores=2) as worker:
        order = {"activation": activation, "depth": 3, **SETS}
        found = worker.ask("seconds", "jacobian_numbers", 7, **order)
        row["time, s"] = f"**{found['seconds']:.2f}**"
    for depth in (1, 100):
        with Worker(OWN, cores=2) as worker:
            order = {"activation": activation, "depth": depth, **FEW}
            found = worker.ask("seconds", "jacobian_numbers", **order)
            row[f"compilation, depth {depth}, s"] = f"**{found['first']:.1f}**"
    return row
