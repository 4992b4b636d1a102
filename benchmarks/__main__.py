"""Measure widelimit against named alternatives, as ratios within one run.

    python -m benchmarks [NAME ...]

prints a table per benchmark and, when all are run, writes them to
`benchmarks/results.md`. Give the machine to it alone: other work distorts the ratios.
"""

import importlib
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

NAMES = ("training", "stability", "demo", "overhead")
RESULTS = Path(__file__).with_name("results.md")


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(names: Sequence[str]) -> int:
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores()))
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"Unknown: {', '.join(unknown)}. Known: {', '.join(NAMES)}.")
        return 2
    texts = []
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name} ...", file=sys.stderr, flush=True)
        text = f"## {module.TITLE}\n\n{module.NOTE}\n\n{table(module.measure())}\n"
        print(text, flush=True)
        texts.append(text)
    if not names:
        RESULTS.write_text("\n".join([heading(), *texts]))
    return 0


def table(rows: Sequence[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[h] for h in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def heading() -> str:
    import jax

    return (
        "# Benchmarks\n\nWritten by `python -m benchmarks`. Ratios are taken within "
        f"one run on one machine: {platform.machine()}, {cores()} cores, Python "
        f"{platform.python_version()}, JAX {jax.__version__}.\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
