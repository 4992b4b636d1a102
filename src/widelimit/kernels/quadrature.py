"""Whether every dual by quadrature has converged at the variances of a network."""

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.activations import AbstractActivation, Scaled
from widelimit.activations.accuracy import relative_quadrature_error
from widelimit.description import Description
from widelimit.kernels.inputs import input_moments
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Moments,
    Residual,
    Sequential,
)

TOLERANCE = 1e-8  # of an estimate that overstates the error of a converged rule by far


def check_duals(caller: str, network: AbstractLayer, x: np.ndarray) -> None:
    """Raise unless duals by quadrature converge at every layer.

    Each is tried at the smallest and the largest variance that the inputs give it.

    Args:
        caller: Who asks.
        network: Description of the network.
        x: Inputs, one per row.

    Raises:
        ValueError: If an estimated relative error is too large, or not a number.
    """
    if not _by_quadrature(network):
        return
    with jax.enable_x64(True):
        rows = jnp.asarray(x, jnp.float64)
        _walk(caller, network, input_moments(network, rows, rows[:1], ntk=False))


def _by_quadrature(value: object) -> bool:
    if isinstance(value, Scaled):
        return _by_quadrature(value.function)
    if isinstance(value, AbstractActivation):
        return type(value).dual is AbstractActivation.dual
    if isinstance(value, tuple):
        return any(map(_by_quadrature, value))
    if not isinstance(value, Description):
        return False
    return any(map(_by_quadrature, vars(value).values()))


def _walk(caller: str, layer: AbstractLayer, m: Moments) -> None:
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            _walk(caller, inner, m)
            m = inner.moments(m)
    elif isinstance(layer, Residual):
        for inner in (layer.branch, layer.shortcut):
            if inner is not None:
                _walk(caller, inner, m)
    elif isinstance(layer, Activation) and _by_quadrature(layer.function):
        _check(caller, layer.function, m)


def _check(caller: str, phi: AbstractActivation, m: Moments) -> None:
    v = m.diagonal(m.first)
    ends = jnp.stack([jnp.min(v), jnp.max(v)])
    errors = np.asarray(relative_quadrature_error(phi, ends, ends, ends))
    if (errors <= TOLERANCE).all():
        return
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    raise ValueError(
        f"`{caller}` needs duals that converge. Got an estimated relative error of "
        f"{errors[worst]:.1e} for `{phi}` at the variance {float(ends[worst]):.3g} of "
        "these inputs. Use more `terms`, smaller inputs or weights, or an activation "
        "with a closed form; no number of terms suits a function with a kink."
    )
