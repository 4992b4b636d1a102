r"""Lemma D.1 and Proposition D.1: what pairs of inputs say of residual networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from widelimit._checks import check_at_least, check_finite, check_positive
from widelimit.bounds.base import Assumption, Bound

Gram = Float[Array | np.ndarray, "n n *pp"]
Means = Float[Array | np.ndarray, "n *p"]


@dataclass(frozen=True, kw_only=True)
class PairEigenvalues(Bound):
    r"""Lemma D.1 beside the matrices that it speaks of.

    Args:
        printed: The lemma's value as printed, from $K^{(0)}$.
        layer_eigenvalues: The least eigenvalue over pairs of $K^{(1)}, K^{(2)}, \dots$
        holds: Whether none of them is below `value`, but for rounding.
        pair: The rows in which the least of them is found.
    """

    printed: float
    layer_eigenvalues: tuple[float, ...]
    holds: bool
    pair: tuple[int, int]


def lemma_d1(
    initial: Gram, layers: Sequence[Gram], *, means: Means | None = None
) -> PairEigenvalues:
    r"""Lemma D.1: least eigenvalue of pairs of inputs in all layers, skips kept.

    With $\lambda(K) = \min_{i \ne j} \lambda_{\min} \begin{pmatrix} K_{ii} & K_{ij} \\
    K_{ji} & K_{jj} \end{pmatrix}$, the lemma claims

    $$\lambda(K^{(h)}) \ge \lambda(K^{(0)}).$$

    This is false: its proof takes every layer for one with a skip connection, but the
    first one has none. For softplus and two orthogonal inputs $\lambda(K^{(0)}) = 1$
    and $\lambda(K^{(1)}) = 0.29$. The proof's induction, begun at $h = 1$, shows that
    $K^{(h)} - b^{(h)} b^{(h)\top}$ does not decrease, hence

    $$\lambda(K^{(h)}) \ge \lambda(K^{(1)} - b^{(1)} b^{(1)\top})
      \ge \left(1 - c_\sigma (E\,\sigma(z))^2\right) \lambda(K^{(0)}),$$

    the last for inputs of unit norm without pixels, since in the Hermite series of
    $K^{(1)}$ every term past the mean has $1 - |c|^k \ge 1 - |c|$. So the conclusion
    stands: $\lambda$ does not depend on the depth. `means` asks for the middle term.

    Args:
        initial: $K^{(0)}$, with $p \times p$ blocks on the last axes if there are
            pixels.
        layers: $K^{(1)}$ and any number of $K^{(h)}$ after it, $h \le H - 1$.
        means: $b^{(1)}$, one per input and pixel.

    Returns:
        The bound from `initial`, or from the first of `layers` with `means`, and
        whether the matrices given keep it.

    Raises:
        ValueError: If the matrices are not finite, symmetric and of one shape, of
            fewer than two inputs, or if there are no `layers`.

    Assumes:
        - Layers from the second on have the identity as their skip: declared.
        - As printed, so does the first one: checked, and not the case.

    Constant:
        None is missing.

    References:
        du2019, Lemma D.1, Eq. (12).
    """
    caller = "lemma_d1"
    start = _blocks(caller, "initial", initial, None)
    if not len(layers):
        raise ValueError(
            f"`{caller}` needs `layers` with the matrix of the first layer at least. "
            "Got none."
        )
    grams = [
        _blocks(caller, f"layers[{h}]", gram, start.shape)
        for h, gram in enumerate(layers)
    ]
    found = [_least(gram) for gram in grams]
    least, pair = min(found)
    printed = value = _least(start)[0]
    rounding = 1e-10 * max(float(np.abs(gram).max()) for gram in grams)
    statement = "every layer, the first included, has the identity as its skip"
    assumption = Assumption.checked(statement, False, "the first layer has no skip")
    if means is not None:
        b = np.asarray(means, dtype=float)
        n, p = start.shape[0], start.shape[2]
        if b.shape != (n, p) and not (p == 1 and b.shape == (n,)):
            raise ValueError(
                f"`{caller}` needs one mean per input and pixel. Got `means.shape="
                f"{b.shape}` and `initial.shape={np.shape(initial)}`."
            )
        check_finite(caller, "means", b)
        b = b.reshape(n, p)
        value = _least(grams[0] - np.einsum("is,jt->ijst", b, b))[0]
        statement = "every layer from the second on has the identity as its skip"
        assumption = Assumption.declared(statement)
    return PairEigenvalues(
        name="Lemma D.1" + ("" if means is None else ", repaired"),
        source="du2019, App. D",
        kind="lower",
        quantity="least eigenvalue of K^(h) on a pair of inputs, for every layer h",
        value=value,
        assumptions=(assumption,),
        constants=(),
        vacuous=value <= 0,
        reason="eigenvalues of covariances are at least 0 anyway",
        printed=printed,
        layer_eigenvalues=tuple(eigenvalue for eigenvalue, _ in found),
        holds=bool(least >= value - rounding),
        pair=pair,
    )


def residual_gram_scale(*, depth: int, separation: float, c_lambda: float) -> float:
    r"""The factor $c_H$ of $K^{(H)}$, to which $\lambda_0$ is proportional.

    $$c_H = \frac{c_\lambda^2 \lambda^3}{H^2}, \qquad \lambda_0 \ge c_H\, c$$

    with a $c > 0$ that depends on the data and the activation, not on the depth
    [Proposition D.1]. Sec. D.1 prints $c_\lambda \lambda^{3/2} / H^2$. Each derivative
    of $f$ by $W^{(H)}$ has one factor $c_\lambda \lambda^{3/2} / H$, so their product
    has its square, as in Eq. (5).

    Args:
        depth: Number of hidden layers $H$, at least 2.
        separation: $\lambda$ of Assumption 4.1.
        c_lambda: $c_\lambda$.

    Returns:
        The factor.

    Raises:
        ValueError: If an argument is out of range.

    Assumes:
        - Eq. (3): not checked.

    Constant:
        $c$, the paper's $\kappa$, is not computed.

    References:
        du2019, Eq. (5) and Proposition D.1.
    """
    caller = "residual_gram_scale"
    check_at_least(caller, "depth", depth, 2)
    check_positive(caller, "separation", separation)
    check_positive(caller, "c_lambda", c_lambda)
    return c_lambda**2 * separation**3 / depth**2


def _blocks(caller: str, name: str, gram, shape: tuple | None) -> np.ndarray:
    """The matrix as `n` by `n` blocks of `p` by `p`."""
    array = np.asarray(gram, dtype=float)
    given = array.shape
    array = array[..., None, None] if array.ndim == 2 else array
    square = array.ndim == 4 and given[0] == given[1] and given[-1] == given[-2]
    if not square or given[0] < 2 or shape not in (None, array.shape):
        raise ValueError(
            f"`{caller}` needs matrices of shape `(n, n)` or `(n, n, p, p)` with "
            f"n >= 2, all alike. Got `{name}.shape={given}`."
        )
    check_finite(caller, name, array)
    if not np.allclose(array, array.transpose(1, 0, 3, 2), rtol=1e-6, atol=1e-10):
        raise ValueError(
            f"`{caller}` needs a symmetric `{name}`. Got one that differs from its "
            "transpose. Pass the kernel of the inputs with themselves."
        )
    return array


def _least(blocks: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The least eigenvalue over pairs of different inputs, and the pair."""
    n, p = blocks.shape[0], blocks.shape[2]
    found = []
    for i in range(n - 1):
        j = np.arange(i + 1, n)
        pairs = np.empty((len(j), 2, p, 2, p))
        pairs[:, 0, :, 0], pairs[:, 1, :, 1] = blocks[i, i], blocks[j, j]
        pairs[:, 0, :, 1] = blocks[i, j]
        pairs[:, 1, :, 0] = blocks[j, i]
        least = np.linalg.eigvalsh(pairs.reshape(-1, 2 * p, 2 * p))[:, 0]
        k = int(np.argmin(least))
        found.append((float(least[k]), (i, i + 1 + k)))
    return min(found)
