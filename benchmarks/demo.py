"""The demo, as a new user meets it: time and memory of the whole process."""

import json
import resource
import subprocess
import sys
import tempfile
import time

TITLE = "The demo and the command line's start"
NOTE = (
    "Whole processes, compilation included. Required: `widelimit demo` under 120 s and "
    "2 GB on two cores; `widelimit --help` under 1 s."
)


def measure():
    return [demo(), start()]


def demo():
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "widelimit.cli", "demo", "--json", "--out", folder],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
    trials = sum(study["records"] for study in json.loads(done.stdout)["studies"])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "what": f"`widelimit demo`, {trials} trials",
        "time, s": f"{seconds:.0f}",
        "peak memory, GB": f"{peak:.2f}",
    }


def start():
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "widelimit.cli", "--help"],
            check=True,
            capture_output=True,
        )
        times.append(time.perf_counter() - began)
    return {
        "what": "`widelimit --help`",
        "time, s": f"{sorted(times)[2]:.2f}",
        "peak memory, GB": "",
    }
