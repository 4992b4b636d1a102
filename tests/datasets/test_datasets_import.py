"""Importing `widelimit.datasets` stays quick."""

import subprocess
import sys


def test_importing_datasets_loads_no_large_package():
    code = (
        "import sys, widelimit.datasets as d; d.names(); d.listing; "
        "print([m for m in ('jax', 'sklearn', 'scipy', 'pooch') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_every_public_name_is_there():
    from widelimit import datasets

    assert all(getattr(datasets, name) for name in dir(datasets))
