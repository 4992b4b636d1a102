"""A kernel of 10,000 by 10,000: time and memory beyond the result."""

from benchmarks.kernel_worker import OWN, RIVAL, Worker, sides

TITLE = "Limit NNGP and NTK, 10,000 by 10,000 inputs"
NOTE = (
    "ReLU, 3 hidden layers, 784 features, float64, all cores, each in a process of its "
    "own: of 10,000 inputs with themselves, and with 10,000 others. Memory is the peak "
    "of the first run, compilation included, beyond what the process and its inputs "
    "held before, less the two kernels. Required: widelimit at most 3 GB."
)
SETS = {"themselves": None, "10,000 others": {"rows": 10_000, "seed": 1}}
LABELS = {RIVAL: "neural-tangents", OWN: "widelimit"}


def measure():
    return [one(side, others) for side in sides() for others in SETS]


def one(side, others):
    x1 = {"rows": 10_000, "seed": 0}
    settings = {"activation": "relu", "x1": x1, "x2": SETS[others]}
    with Worker(side) as worker:
        memory = worker.ask("peak", "limit", **settings)
        time = worker.ask("seconds", "limit", **settings)
    return {
        "by": LABELS[side],
        "with": others,
        "first time, s": f"{time['first']:.1f}",
        "then, s": f"{time['seconds']:.1f}",
        "kernels, GB": f"{memory['bytes'] / 1e9:.1f}",
        "beyond them, GB": f"**{(memory['peak'] - memory['bytes']) / 1e9:.2f}**",
    }
