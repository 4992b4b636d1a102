"""A user's own function as an activation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float

from widelimit._checks import check_at_least
from widelimit.activations.base import HERMITE_TERMS, AbstractActivation


@dataclass(frozen=True)
class Custom(AbstractActivation):
    r"""Any smooth elementwise function, with duals by Hermite series.

    The number of terms that full accuracy needs grows with the variance: see
    `widelimit.activations.hermite`, and `check_quadrature` for the error. It is equal
    to itself only, and has no JSON form; for that, subclass `AbstractActivation`.

    Args:
        function: Entry by entry, in terms of `jax.numpy`, at least as often
            differentiable as the kernels that are asked for.
        terms: Terms of the series.
    """

    function: Callable[[Any], Any]
    terms: int = HERMITE_TERMS
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(
                "`Custom` needs a function of an array. Got "
                f"`function={self.function!r}`."
            )
        check_at_least("Custom", "terms", self.terms, 4)
        try:
            row = jax.eval_shape(
                lambda z: self.function(z), jax.ShapeDtypeStruct((3,), "float32")
            )
        except jax.errors.TracerArrayConversionError as error:
            raise ValueError(
                "`Custom` needs a function written with `jax.numpy`. Got `function="
                f"{self.function!r}`, which turns its argument into a NumPy array."
            ) from error
        if getattr(row, "shape", None) != (3,):
            raise ValueError(
                "`Custom` needs a function that works entry by entry. Got `function="
                f"{self.function!r}`, which makes {row} of three entries."
            )

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self.function(z)

    def to_json(self) -> str:
        raise ValueError(
            "`to_json` needs a description made of numbers and names. Got "
            f"`{self}`, which holds a function. Subclass `AbstractActivation`, or use "
            "an activation that the library names."
        )
