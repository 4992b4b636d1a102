"""du2019's population Gram matrices, and the eigenvalues that its theorems assume."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import finite_inputs
from widelimit.activations.moments import height as height_of
from widelimit.kernels.inputs import input_moments
from widelimit.kernels.quadrature import check_duals
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Moments,
    Residual,
    Scale,
    Sequential,
)
from widelimit.layers.sequential import moments_through
from widelimit.layers.weights import AbstractWeights


class PopulationGram(eqx.Module):
    r"""The limit of du2019's $G^{(H)}$, and what Assumptions 3.1, 4.1, 5.1 ask of it.

    Eigenvalues of `error` or less cannot be told from zero.

    Attributes:
        gram: $K^{(H)}$ of Eq. (4), (5) or (6), between the rows of the inputs.
        lambda_0: Its smallest eigenvalue $\lambda_0$.
        error: Rounding error of `lambda_0`, $n\,\epsilon\,\|K^{(H)}\|_2$ and a margin.
        separation: $\lambda$ of Assumptions 4.1 and 5.1: the smallest eigenvalue of the
            matrices of two rows of $K^{(0)}$.
        pair: The two rows that it belongs to.
        layer_separation: $\lambda$ of Assumption 3.1: the same over the layers
            $K^{(1)}, \dots, K^{(H)}$.
        layer_pair: The two rows that it belongs to.
        layer: The layer $h$ that it belongs to.
    """

    gram: Float[np.ndarray, "n n"]
    lambda_0: float
    error: float
    separation: float
    pair: tuple[int, int]
    layer_separation: float
    layer_pair: tuple[int, int]
    layer: int

    @property
    def positive(self) -> bool:
        r"""Whether $\lambda_0 > 0$ beyond rounding."""
        return self.lambda_0 > self.error


def population_gram(
    network: AbstractLayer, x: ArrayLike, *, throw: bool = False
) -> PopulationGram:
    r"""The population Gram matrix $K^{(H)}$ of a network, with its eigenvalues.

    $G^{(H)}(k)$ has the entries
    $\langle \partial f(x_i) / \partial W^{(H)}, \partial f(x_j) / \partial W^{(H)}
    \rangle$; $K^{(H)}$ is its limit for wide networks at initialisation: du2019,
    Eq. (4) for `du2019_fully_connected`, (5) for `du2019_resnet`, (6) for
    `du2019_conv_resnet`. Two entries of the paper's text are not what its App. D says:
    Eq. (5) pairs $b_i$ with $\sigma(u)$ of the same input, and Eq. (6) sums over all
    pairs of pixels of two patches where the same weight meets only pixels at the same
    place. This function does as App. D.

    Args:
        network: A `Sequential` whose last layer with parameters to train is hidden
            layer $H$, such as the builders make.
        x: Inputs, one per row.
        throw: Whether to raise if an eigenvalue is not positive.

    Returns:
        The matrix and the eigenvalues, in float64.

    Raises:
        ValueError: If the inputs do not fit the network or are not finite, or, with
            `throw`, if $\lambda_0$ or $\lambda$ is not positive; the message names the
            two rows.
    """
    caller = "population_gram"
    rows = finite_inputs(caller, "x", x, "float64")
    network.output_shape(rows.shape[1:])
    empty = np.flatnonzero(~rows.reshape(len(rows), -1).any(axis=1))
    if throw and len(empty):
        raise ValueError(
            f"`{caller}` needs rows that are not zero. Got zeros in row {empty[0]} "
            f"({len(empty)} such rows). Remove them."
        )
    check_duals(caller, network, rows)
    with jax.enable_x64(True):
        gram, layers = jax.tree.map(np.asarray, _matrices(network, jnp.asarray(rows)))
    first, *later = layers
    pair, separation = _least_pair(first)
    # The paper's minimum runs over h = 1..H, and K^(H) is the Gram matrix itself.
    found = [_least_pair(block) for block in [*later[:-1], gram[..., None, None]]]
    layer = int(np.argmin([value for _, value in found]))
    eigenvalues = np.linalg.eigvalsh(gram)
    n = len(gram)
    result = PopulationGram(
        gram=gram,
        lambda_0=float(eigenvalues[0]),
        error=float(4 * n * np.finfo(float).eps * max(abs(eigenvalues))),
        separation=separation,
        pair=pair,
        layer_separation=found[layer][1],
        layer_pair=found[layer][0],
        layer=layer + 1,
    )
    if throw:
        _raise_unless_positive(caller, result)
    return result


@functools.partial(jax.jit, static_argnums=0)
def _matrices(network: AbstractLayer, x: Float[Array, "n *s"]):
    """`K^(H)`, and `K^(0)` with the features' second moments, position by position."""
    layers = network.layers if isinstance(network, Sequential) else (network,)
    trained = [number for number, layer in enumerate(layers) if _trains(layer)]
    if not trained:
        raise ValueError(
            f"`population_gram` needs a network with parameters. Got `{network}`."
        )

    def features(layer: AbstractLayer, m: Moments) -> tuple[Array, ...]:
        return (_by_position(m),) if isinstance(layer, Activation | Residual) else ()

    last = trained[-1]
    m = input_moments(network, x, x, ntk=False)
    start = layers[0].moments(m)  # du2019's K^(0) has the first layer's patches
    m, kept = moments_through(layers[:last], m, features)
    m, more = moments_through(layers[last:], m.replace(ntk=()), features)
    assert m.ntk  # of the last trained layer alone
    return m.ntk[-1], [_by_position(start), *kept, *more]


def _trains(layer: AbstractLayer) -> bool:
    if isinstance(layer, Sequential):
        return any(map(_trains, layer.layers))
    if isinstance(layer, Residual):
        return _trains(layer.branch) or _trains(layer.shortcut or Scale(1.0))
    return isinstance(layer, AbstractWeights)


def _by_position(m: Moments) -> Float[Array, "n n p p"]:
    size = math.prod(m.positions)
    shape = (*m.cross.shape[:2], size, size if m.joint else 1)
    return m.cross.reshape(shape)


def _least_pair(k: Float[np.ndarray, "n n p r"]) -> tuple[tuple[int, int], float]:
    """The two rows with the smallest eigenvalue of their common matrix, and that."""
    n, _, p, r = k.shape
    if n == 1:
        return (0, 0), float(np.linalg.eigvalsh(k[0, 0])[0]) if p == r else math.nan
    i, j = np.triu_indices(n, 1)
    if p == 1:
        flat = k[..., 0, 0]
        a, b, c = flat[i, i], flat[j, j], flat[i, j]
        with jax.enable_x64(True):
            height = np.asarray(height_of(*map(jnp.asarray, (c, a, b))))
        # The determinant over the larger eigenvalue loses nothing to cancellation.
        least = height * (height / ((a + b) / 2 + np.hypot((a - b) / 2, c)))
    else:
        swapped = np.swapaxes(k[i, j], 1, 2)
        both = np.block([[k[i, i], k[i, j]], [swapped, k[j, j]]])
        least = np.linalg.eigvalsh(both)[:, 0]
    at = int(np.argmin(least))
    return (int(i[at]), int(j[at])), float(least[at])


def _raise_unless_positive(caller: str, found: PopulationGram) -> None:
    if found.separation <= found.error:
        i, j = found.pair
        raise ValueError(
            f"`{caller}` needs rows of which no two are parallel (patches of which no "
            f"two depend on each other, for convolutions). Got rows {i} and {j}, whose "
            f"matrix has the eigenvalue {found.separation:.3g}, within rounding "
            f"({found.error:.1e}) of zero. Remove one of them."
        )
    if not found.positive:
        raise ValueError(
            f"`{caller}` needs a positive definite Gram matrix. Got the smallest "
            f"eigenvalue {found.lambda_0:.3g}, which rounding of {found.error:.3g} "
            f"cannot tell from zero; the closest rows are {found.pair[0]} and "
            f"{found.pair[1]}. Remove near copies, or use fewer rows."
        )
