"""Checks that the lemmas share, and their common assumptions."""

import numpy as np
from jaxtyping import Array, Float

from widelimit._checks import check_count, check_finite, check_positive, check_rows
from widelimit.bounds.base import Assumption
from widelimit.bounds.du2019.checks import check_probability

Inputs = Float[Array | np.ndarray, "n d"]
GAUSSIAN = Assumption.declared("weights start as N(0, 1), with signs in front")


def check_sizes(caller: str, *, gamma: float, c_0: float, **counts: int) -> None:
    """Raise unless the counts, the constant and the probability are in range."""
    for name, count in counts.items():
        check_count(caller, name, count, 1)
    check_positive(caller, "c_0", c_0)
    check_probability(caller, "gamma", gamma)


def check_perturbation(caller: str, delta: float) -> None:
    """Raise unless the perturbation is shorter than an input of unit norm."""
    if not 0 <= delta < 1:
        raise ValueError(
            f"`{caller}` needs `0 <= delta < 1`. Got `delta={delta}`. Inputs have norm "
            "1, and must stay away from zero."
        )


def on_sphere(
    caller: str, inputs: Inputs | None, features: int | None = None
) -> Assumption:
    """Unit norm of the inputs, checked if they are given."""
    statement = "every input has unit norm"
    if inputs is None:
        return Assumption.declared(statement)
    x = np.asarray(inputs, dtype=float)
    check_rows(caller, "inputs", x)
    check_finite(caller, "inputs", x)
    if features is not None and x.shape[1] != features:
        raise ValueError(
            f"`{caller}` needs `inputs` with `features` columns. Got `inputs.shape="
            f"{x.shape}` and `features={features}`."
        )
    norms = np.linalg.norm(x, axis=1)
    return Assumption.checked(
        statement,
        np.allclose(norms, 1, rtol=0, atol=1e-5),  # in single precision too
        f"norms from {norms.min():.6g} to {norms.max():.6g}",
    )


def half(delta: float) -> Assumption:
    """The condition of Lemmas B.4 and B.6 on the size of a perturbation."""
    return Assumption.checked("R <= 1/2", delta <= 0.5, f"R = {delta:.6g}")


def chi_square(degrees: int, tail: float) -> Assumption:
    """Where Eq. (2) of the paper is a bound at all."""
    return Assumption.checked(
        "d >= the logarithm in Eq. (2), which is false below that",
        degrees >= tail,
        f"d = {degrees:.6g}, the logarithm is {tail:.6g}",
    )
