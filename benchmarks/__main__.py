"""Measure widelimit against named alternatives, as ratios within one run.

    python -m benchmarks [NAME ...]

prints a table per benchmark and puts it in its place in `benchmarks/results.md`. Give
the machine to it alone: other work distorts the ratios.
"""

import importlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from widelimit._cores import cpu_count

NAMES = (
    "training",
    "image_training",
    "stability",
    "image_stability",
    "minimal_flip",
    "demo",
    "overhead",
    "kernels",
    "empirical_ntk",
    "empirical_jacobian_ntk",
    "large_jacobian_ntk",
    "large_kernel",
    "kernel_values",
    "jacobian_numbers",
    "jacobian_gram",
    "jacobian_product",
    "jacobian_regression",
    "large_jacobian_regression",
    "pgd",
    "lazy_exit",
)
RESULTS = Path(__file__).with_name("results.md")


def main(names: Sequence[str]) -> int:
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"Unknown: {', '.join(unknown)}. Known: {', '.join(NAMES)}.")
        return 2
    if len(names) != 1:  # each in a process of its own, with its own settings
        for name in names or NAMES:
            subprocess.run([sys.executable, "-m", "benchmarks", name], check=True)
        return 0
    (name,) = names
    print(f"{name} ...", file=sys.stderr, flush=True)
    module = importlib.import_module(f"benchmarks.{name}")
    text = f"{module.NOTE}\n\n{table(module.measure())}\n"
    print(text, flush=True)
    store(name, text)
    return 0


def store(name: str, text: str) -> None:
    """Writes the results with one section replaced, the others as they were."""
    titles = {n: importlib.import_module(f"benchmarks.{n}").TITLE for n in NAMES}
    old = RESULTS.read_text() if RESULTS.exists() else ""
    texts = dict(part.split("\n\n", 1) for part in old.split("\n## ")[1:])
    texts[titles[name]] = text
    parts = [f"## {t}\n\n{texts[t].strip()}\n" for t in titles.values() if t in texts]
    RESULTS.write_text("\n".join([heading(), *parts]))


def table(rows: Sequence[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[h] for h in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def heading() -> str:
    import jax

    return (
        "# Benchmarks\n\nWritten by `python -m benchmarks`. Ratios are taken within "
        f"one run on one machine: {platform.machine()}, {cpu_count()} cores, Python "
        f"{platform.python_version()}, JAX {jax.__version__}.\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
