"""Jacobian-regularised regression on 5000 images of MNIST."""

from benchmarks.jacobian_regression import one

TITLE = "Jacobian-regularised regression on MNIST, 5000 images"
NOTE = (
    "As above, with 3,925,000 unknowns and 6 GiB for the solver. It takes a quarter of "
    "an hour or more. Required: at most 12 GB."
)


def measure():
    return [one(5000, (4, 9), 6.0)]
