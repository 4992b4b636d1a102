"""What is asked of a finite network's tangent kernels, checked, and how it is met."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import check_flag, check_positive
from widelimit.kernels.empirical_checks import check_params, input_pair, params_dtype
from widelimit.kernels.empirical_tiles import GIB, TilePlan, in_tiles, plan_tiles
from widelimit.kernels.empirical_work import Work
from widelimit.layers import AbstractLayer, Params

Network = AbstractLayer | Callable[[Any, Any], Any]
MakeWork = Callable[..., Work]


@dataclass(frozen=True)
class Request:
    """A kernel between the rows of two checked batches, in tiles.

    Attributes:
        caller: Function to name.
        work: How to compute a tile.
        x1: Inputs, one per row, in the parameters' type.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether all outputs are paired.
        per_layer: Whether layers are kept apart.
        memory: Budget in GiB.
    """

    caller: str
    work: Work
    x1: np.ndarray
    x2: np.ndarray | None
    output_axes: bool
    per_layer: bool
    memory: float

    @classmethod
    def of(
        cls,
        caller: str,
        make_work: MakeWork,
        network: Network,
        params: Params,
        x1: ArrayLike,
        x2: ArrayLike | None,
        *,
        output_axes: bool,
        per_layer: bool,
        memory: float,
    ) -> "Request":
        """The request, if everything fits together.

        Args:
            caller: Function to name.
            make_work: Such as `work_for`.
            network: Description of the network, or a function.
            params: Its parameters.
            x1: Inputs, one per row.
            x2: Inputs; `x1` again if `None`.
            output_axes: Whether to pair all outputs.
            per_layer: Whether to keep layers apart.
            memory: Budget in GiB.

        Returns:
            The request.

        Raises:
            ValueError: If something does not fit.
        """
        check_positive(caller, "memory", memory)
        check_flag(caller, "output_axes", output_axes)
        check_flag(caller, "per_layer", per_layer)
        dtype = params_dtype(caller, params)
        a, b = input_pair(caller, x1, x2, dtype)
        if isinstance(network, AbstractLayer):
            check_params(caller, network, params, a.shape[1:])
        elif per_layer:
            raise ValueError(
                f"`{caller}` needs a description of the network for `per_layer=True`. "
                f"Got the function {network!r}. Describe it as a `Sequential`."
            )
        with jax.enable_x64(dtype == "float64"):
            work = make_work(
                network,
                params,
                jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype),
                output_axes=output_axes,
                per_layer=per_layer,
                rows=len(a),
                columns=None if b is None else len(b),
                budget=memory * GIB,
            )
        return cls(caller, work, a, b, output_axes, per_layer, memory)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of an entry of the kernel."""
        return (self.work.outputs, self.work.outputs) if self.output_axes else ()

    def kernel(self) -> Float[np.ndarray, "*kernel"]:
        """The kernel, layers in front if they are kept apart.

        Returns:
            It.
        """
        with jax.enable_x64(self.x1.dtype == "float64"):
            found = in_tiles(
                self.caller, self.work, self.x1, self.x2, self.axes, self.memory
            )
        return found if self.per_layer else found[0]

    def plan(self) -> TilePlan:
        """What it takes.

        Returns:
            Bytes and tiles.
        """
        return plan_tiles(
            self.caller,
            self.work,
            len(self.x1),
            None if self.x2 is None else len(self.x2),
            self.axes,
            self.x1.dtype.itemsize,
            self.memory,
        )


def in_one_piece(
    make_work: MakeWork,
    network: Network,
    params: Params,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"] | None,
    *,
    output_axes: bool,
    per_layer: bool,
) -> Float[Array, "*kernel"]:
    """A kernel without tiles and checks, inside other compiled programs.

    Args:
        make_work: Such as `work_for`.
        network: Description of the network, or a function.
        params: Its parameters.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart.

    Returns:
        The kernel as a JAX array.
    """
    work = make_work(
        network,
        params,
        jax.ShapeDtypeStruct((1, *x1.shape[1:]), x1.dtype),
        output_axes=output_axes,
        per_layer=per_layer,
        rows=len(x1),
        columns=None if x2 is None else len(x2),
    )
    one = work.factors(x1)
    two = one if x2 is None else work.factors(x2)
    kernel = work.products(one, two, x2 is None)
    return kernel if per_layer else kernel[0]
