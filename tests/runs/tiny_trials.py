"""Cheap trials for the tests, and `python tiny_trials.py` to run a study of them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr

from widelimit.runs import ProcessExecutor, SerialExecutor, run_trials


def draw(config, report):
    """Seeded numbers; `log` gets a line when it begins, which takes `seconds`."""
    if "log" in config:
        with open(config["log"], "a") as log:
            log.write(f"{config['index']}\n")
    rng = np.random.default_rng(config["seed"])
    report(0.5)
    time.sleep(config.get("seconds", 0.0))
    sample = rng.normal(size=(3, config.get("size", 2)))
    return xr.Dataset(
        {
            "mean": ("epoch", sample.mean(1)),
            "mean_se": ("epoch", sample.std(1)),
            "sample": (("epoch", "seed"), sample),
            "count": ((), 3),
        },
        {"epoch": [0, 5, 10]},
    )


def troublesome(config, report):
    match config.get("trouble"):
        case "raise":
            raise ArithmeticError("the loss is not finite")
        case "exit":
            sys.exit(3)
        case "no dataset":
            return {"mean": 1.0}
        case "complex":
            return xr.Dataset({"z": ("k", np.array([1j]))})
        case "os._exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    return draw(config, report)


def keeps(config, report):
    """Fails some times; its folder tells how often it did."""
    report.directory.mkdir(parents=True, exist_ok=True)
    assert report.directory.is_absolute()
    before = len(list(report.directory.iterdir()))
    (report.directory / str(before)).touch()
    if before < config["fails"]:
        raise ArithmeticError("not yet")
    return xr.Dataset({"before": before})


def noisy(config, report):
    print("from Python")
    subprocess.run(["echo", "from a child"], check=True)
    print(sys.stdin.read())
    subprocess.run(["cat"], check=True)
    return draw(config, report)


def place(config, report):
    time.sleep(0.3)
    cores = len(os.sched_getaffinity(0))
    return xr.Dataset({"cores": cores, "group": os.getpgrp()})


def changes_its_config(config, report):
    config["seed"] = "changed"
    return xr.Dataset()


def compiled(config, report):
    """Stands for a compiled program: many minutes in which no Python code runs."""
    if config["index"] == 0:
        return draw(config, report)
    Path(config["log"]).touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)


def endless(config, report):
    Path(config["log"]).touch()
    while True:
        report(0.1)


def main(directory, workers, trial, trials_json):
    """Run; end with code 130 after Ctrl-C."""
    # A job in a shell's background inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    executor = ProcessExecutor(int(workers)) if int(workers) else SerialExecutor()
    try:
        run_trials(
            directory,
            configuration={"study": "tiny"},
            trials=json.loads(trials_json),
            trial=f"tiny_trials:{trial}",
            executor=executor,
        )
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main(*sys.argv[1:])
