"""The two-layer network's Gram matrix in the limit, and its fluctuations (Lemma 7)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from widelimit.bounds.relu_chain import ReLUChain
from widelimit.bounds.zhu2022.inputs import rows
from widelimit.layers import AbstractLayer


@dataclass(frozen=True)
class LimitGram:
    """Mean of the random Gram matrix H(0), and how much H(0) varies.

    Args:
        mean: H_inf.
        variance: Expected squared Frobenius distance of H(0) from `mean`.
    """

    mean: Float[np.ndarray, "n n"]
    variance: float

    @classmethod
    def of(
        cls, caller: str, chain: ReLUChain, x: Float[np.ndarray, "n d"]
    ) -> "LimitGram":
        r"""Both moments, for the rows of `x`.

        One unit adds $(a / \alpha)^2 \langle x_i, x_j \rangle 1_{ij}$, where the
        indicator has mean $p = (\pi - \theta) / 2 \pi$. As $E a^4 = 3 \beta_2^4$, its
        variance is $(\beta_2 / \alpha)^4 \langle x_i, x_j \rangle^2 (3 p - p^2)$.

        Args:
            caller: Function to name in messages.
            chain: The network, with two weight matrices.
            x: Inputs, one per row.

        Returns:
            The moments.

        Raises:
            ValueError: If an input is zero.
        """
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        if not norms.all():
            raise ValueError(
                f"`{caller}` needs inputs that are not zero. Got zeros in row "
                f"{int(np.argmin(norms))}. Remove it."
            )
        products, unit = x @ x.T, x / norms
        # Rounding alone takes cosines out of [-1, 1], or the diagonal below 1.
        cosines = np.clip(unit @ unit.T, -1, 1)
        np.fill_diagonal(cosines, 1)
        p = (math.pi - np.arccos(cosines)) / (2 * math.pi)
        scale = (chain.betas[1] / chain.alpha) ** 2
        spread = np.sum(products**2 * (3 * p - p**2))
        return cls(chain.m * scale * products * p, float(chain.m * scale**2 * spread))

    @property
    def smallest_eigenvalue(self) -> float:
        """The least eigenvalue of `mean`, or zero where rounding hides its sign."""
        values = np.linalg.eigvalsh(self.mean)
        return float(values[0]) if values[0] > 1e-14 * values.sum() else 0.0


def two_layers(caller: str, network: AbstractLayer, in_features: int) -> ReLUChain:
    """The chain of a network that has one hidden layer.

    Args:
        caller: Function to name in messages.
        network: The network.
        in_features: Number of input features.

    Returns:
        The chain, in terms of the parameters.

    Raises:
        ValueError: If `network` is no ReLU chain with two weight matrices.
    """
    chain = ReLUChain.of(network, in_features, trained=True)
    if chain.L != 2:
        raise ValueError(
            f"`{caller}` needs a network with one hidden layer. Got {chain.L - 1} of "
            "them. Use `depth=1`."
        )
    return chain


def limit_gram(
    network: AbstractLayer, inputs: Float[Array | np.ndarray, "n d"]
) -> Float[np.ndarray, "n n"]:
    r"""Mean Gram matrix of the gradients in the hidden weights at initialisation.

    $$H^\infty_{ij} = \frac{m \beta_2^2}{\alpha^2} \langle x_i, x_j \rangle
      \frac{\pi - \theta_{ij}}{2 \pi},$$

    with the angle $\theta_{ij}$ between the inputs. For inputs of unit norm its
    diagonal is $m \beta_2^2 / (2 \alpha^2)$, so its smallest eigenvalue is no larger.

    Args:
        network: Bias-free ReLU network with one hidden layer.
        inputs: Inputs, one per row; none of them zero.

    Returns:
        The matrix.

    Raises:
        ValueError: If `network` is no such network, or an input is zero.

    References:
        zhu2022, App. D, where it is left as an expectation.
    """
    x = rows("limit_gram", inputs)
    chain = two_layers("limit_gram", network, x.shape[1])
    return LimitGram.of("limit_gram", chain, x).mean
