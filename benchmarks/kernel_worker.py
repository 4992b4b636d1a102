"""A process that runs one side's kernels, and says what they took: its two ends.

Each side of the kernel benchmarks has its own interpreter and its own JAX, so that
neither disturbs the other. A line of input is a JSON object: `task` names a function of
the module, `settings` are its arguments, `want` is what the answer, one line of JSON,
is to hold:

- `seconds`: the median over `repeats` runs, after one to warm up, and `first`, the time
  of that one, with its compilation;
- `peak`: the most memory during the first run, its compilation included, beyond what
  the process, its inputs and its parameters held before, and the `bytes` of the result;
- `values`: the result.

This file runs on the rival's old NumPy and JAX, too. Cores and memory need Linux.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

FEATURES, DEPTH, WIDTH, WEIGHT_STD, BIAS_STD = 784, 3, 2048, 1.5, 0.3
OWN, RIVAL = "benchmarks.own_kernels", "benchmarks.rival_neural_tangents"


class Worker:
    """The asking end; a context that ends the process when it is left.

    Args:
        module: Which side.
        cores: How many cores the process may use; all of them if not given.
        x64: Whether its JAX has 64-bit types.
    """

    def __init__(self, module, *, cores=None, x64=True):
        python = sys.executable if module == OWN else rival_python()
        everything = os.sched_getaffinity(0)
        # A child may use what its parent may, and sizes its thread pools by that.
        os.sched_setaffinity(0, sorted(everything)[:cores])
        try:
            self.process = subprocess.Popen(
                [python, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "JAX_ENABLE_X64": str(int(x64))},
            )
        finally:
            os.sched_setaffinity(0, everything)

    def ask(self, want, task, repeats=1, **settings):
        order = {"want": want, "task": task, "settings": settings, "repeats": repeats}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"`{task}` ended its process. Its error is above.")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def rival_python():
    """The rival's interpreter, or None."""
    return os.environ.get("WIDELIMIT_RIVAL_PYTHON")


def sides():
    """Who can be measured here: widelimit, and its rival where there is one."""
    if rival_python():
        return (RIVAL, OWN)
    print(
        f"WIDELIMIT_RIVAL_PYTHON is not set: no neural-tangents. See {RIVAL}.",
        file=sys.stderr,
    )
    return (OWN,)


def in_turn(runs, *, rounds):
    """Times of each run, one a round, so that a slow spell meets all of them."""
    times = [{name: run() for name, run in runs.items()} for _ in range(rounds)]
    return {name: [round[name] for round in times] for name in runs}


def ratio(over, under):
    """The median ratio of two lists of times, with the lowest and the highest."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    digits = 2 if max(ratios) < 10 else 0
    middle, low, high = (
        f"{number:.{digits}f}"
        for number in (statistics.median(ratios), min(ratios), max(ratios))
    )
    return f"**{middle}** ({low} to {high})"


def inputs(rows):
    """Inputs as they were sent; or standard normal ones: `{"rows": 9, "seed": 0}`.

    They have `FEATURES` features, or as many as `"features"` says.
    """
    if isinstance(rows, dict):
        rng = np.random.default_rng(rows["seed"])
        return rng.standard_normal((rows["rows"], rows.get("features", FEATURES)))
    return np.asarray(rows, np.float64)


def serve(tasks):
    """The answering end: the tasks of standard input, line by line."""
    prepared = {}
    for line in sys.stdin:
        order = json.loads(line)
        key = json.dumps([order["task"], order["settings"]])
        if key not in prepared:
            prepared[key] = {"run": tasks[order["task"]](**order["settings"])}
        answer = ANSWERS[order["want"]](prepared[key], order.get("repeats", 1))
        print(json.dumps(answer), flush=True)


def seconds(task, repeats):
    if "first" not in task:
        task["first"] = clock(task["run"])
    times = [clock(task["run"]) for _ in range(repeats)]
    return {"seconds": statistics.median(times), "first": task["first"]}


def peak(task, repeats):
    del repeats
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the high-water mark falls to what is held now
    before = resident("VmRSS")
    start = time.perf_counter()
    result = finished(task["run"]())
    task["first"] = time.perf_counter() - start
    most = resident("VmHWM") - before
    return {"peak": most, "bytes": sum(array.nbytes for array in result.values())}


def values(task, repeats):
    del repeats
    result = finished(task["run"]())
    return {k: np.asarray(v, np.float64).tolist() for k, v in result.items()}


ANSWERS = {"seconds": seconds, "peak": peak, "values": values}


def clock(run):
    start = time.perf_counter()
    finished(run())
    return time.perf_counter() - start


def finished(result):
    import jax

    return jax.block_until_ready(result)


def resident(field):
    """A size from the process's status, in bytes."""
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024
