"""The Jacobian NTK of wide and deep finite networks."""

from benchmarks.kernel_worker import OWN, Worker

TITLE = "Finite Jacobian NTK, 224 inputs of 11 features, depth 11"
NOTE = (
    "Of kim2023's network with GELU and 11 hidden layers, as in its Fig. 3: 2688 rows "
    "in float32, on two cores. Times are of runs after the first, the median of 3 (of "
    "one at width 8192). Memory is the peak of the first run, compilation and result "
    "included, beyond what the process held with inputs and parameters: it is to grow "
    "with the width, not with its square, as the parameters do. Required: less than "
    "8 s at width 2048 and 180 s at width 8192."
)
WIDTHS = {512: 3, 2048: 3, 8192: 1}
INPUTS = {"x1": {"rows": 224, "seed": 0, "features": 11}}
DEPTH, GIB_FOR_TILES = 11, 4.0


def measure():
    return [one(width, repeats) for width, repeats in WIDTHS.items()]


def one(width, repeats):
    order = {"implementation": "widelimit", "width": width, "depth": DEPTH, **INPUTS}
    order["memory"] = GIB_FOR_TILES
    with Worker(OWN, cores=2, x64=False) as worker:
        memory = worker.ask("peak", "empirical_jacobian", **order)["peak"]
        found = worker.ask("seconds", "empirical_jacobian", repeats, **order)
    parameters = 11 * width + (DEPTH - 1) * width**2 + width
    return {
        "width": str(width),
        "time, s": f"**{found['seconds']:.2f}**",
        "first run, s": f"{found['first']:.1f}",
        "memory, MB": f"{memory / 1e6:.0f}",
        "parameters, MB": f"{4 * parameters / 1e6:.0f}",
    }
