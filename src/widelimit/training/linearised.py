"""A network linearised in its parameters, to be trained like any other."""

import dataclasses
from typing import TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.description import Description
from widelimit.kernels.empirical_checks import check_network
from widelimit.layers import AbstractLayer, Params


class LinearisedParams(TypedDict):
    r"""Parameters of a `Linearised` network: `start` $\theta_0$, `moved` $\Delta$."""

    start: Params
    moved: Params


@dataclasses.dataclass(frozen=True)
class Linearised(Description):
    r"""The tangent of a network in the space of functions, at its initialisation.

    $$f_{lin}(x) = f_{\theta_0}(x) + \partial_\theta f_{\theta_0}(x)\,\Delta$$

    `train` moves $\Delta$ and leaves $\theta_0$, which has no gradient (an optimizer
    with weight decay would shrink it). Its NTK, and its Jacobian NTK, are those of the
    network at $\theta_0$ and never change: what is between it and the trained network
    is the change of the kernel, and what is between it and the infinite network is the
    finite kernel's distance from its limit.

    Args:
        network: The network.

    Raises:
        ValueError: If it is not the description of a network.

    Example:
        >>> from widelimit.networks import mlp
        >>> network = mlp(depth=1, width=8)
        >>> tangent = Linearised(network)
        >>> params = tangent.start(network.init(jax.random.key(0), (3,)))
        >>> x = jnp.ones((2, 3))
        >>> bool(jnp.all(tangent(params, x) == network(params["start"], x)))
        True
    """

    network: AbstractLayer

    def __post_init__(self) -> None:
        check_network("Linearised", self.network)

    def start(self, params: Params) -> LinearisedParams:
        r"""The parameters before training.

        Args:
            params: $\theta_0$ of the network, with or without an axis of seeds.

        Returns:
            $\theta_0$ and $\Delta = 0$.
        """
        return {"start": params, "moved": jax.tree.map(jnp.zeros_like, params)}

    def __call__(
        self, params: LinearisedParams, x: Float[Array, "n *s"]
    ) -> Float[Array, "n *o"]:
        """Outputs for a batch of inputs.

        Args:
            params: What `start` returned, or a trained version of it.
            x: Inputs, one per row.

        Returns:
            Outputs, one per row.

        Raises:
            ValueError: If the parameters are not those of a linearised network.
        """
        if not (isinstance(params, dict) and params.keys() == {"start", "moved"}):
            raise ValueError(
                "`Linearised` needs parameters with `start` and `moved`. Got "
                f"{_kind(params)}. Take what its `start` makes of the network's."
            )
        fixed = jax.lax.stop_gradient(params["start"])
        values, change = jax.jvp(
            lambda p: self.network.apply(p, x), (fixed,), (params["moved"],)
        )
        return values + change


def _kind(params: object) -> str:
    if isinstance(params, dict):
        return f"a dictionary with {', '.join(map(repr, params)) or 'nothing'}"
    return f"a {type(params).__name__}"
