"""The letters of zhu2022, Eq. (2), read off the description of a network."""

import math
from dataclasses import dataclass

from widelimit._checks import check_at_least
from widelimit.activations import ReLU
from widelimit.layers import AbstractLayer, Activation, Dense, Sequential


@dataclass(frozen=True)
class ReLUChain:
    r"""Sizes and scales of a bias-free ReLU network with equal hidden widths.

    $$f(x) = \tfrac1\alpha W_L \phi(W_{L-1} \cdots \phi(W_1 x)), \quad
      [W_l]_{ij} \sim N(0, \beta_l^2).$$

    The paper's $L$ counts weight matrices; the depth of this library counts hidden
    layers, $L - 1$.

    Args:
        d: Input features.
        m: Units of each hidden layer.
        o: Outputs.
        betas: $\beta_1, \dots, \beta_L$, standard deviations.
        alpha: Divisor of the output, $\alpha > 0$.
    """

    d: int
    m: int
    o: int
    betas: tuple[float, ...]
    alpha: float

    @classmethod
    def of(
        cls, network: AbstractLayer, in_features: int, *, trained: bool = False
    ) -> "ReLUChain":
        r"""The chain that `network` is at initialisation.

        A layer may multiply its weights by a constant in the forward pass, as those
        in the NTK parameterization do. ReLU lets such a constant pass, so it can be
        counted in two places. Both readings are the same random function; they differ
        in what gradient descent acts on:

        - by default it belongs to $\beta_l$, but for the `scale` of the last layer,
          which is $1/\alpha$;
        - with `trained`, $\beta_l$ is the standard deviation of the parameters
          themselves, and all constants are in $\alpha$.

        Args:
            network: Dense layers with ReLU between them, in sequence.
            in_features: Number of input features, $d$.
            trained: Whether to describe the parameters rather than the function.

        Returns:
            The chain.

        Raises:
            ValueError: If `network` is no such network, or `in_features` is not
                positive.
        """
        caller = "ReLUChain.of"
        check_at_least(caller, "in_features", in_features, 1)
        dense = _dense_layers(caller, network)
        for i, layer in enumerate(dense, 1):
            if layer.bias_std is not None:
                raise ValueError(
                    f"`{caller}` needs dense layers without biases. Got `bias_std="
                    f"{layer.bias_std}` in dense layer {i} of {len(dense)}. Build the "
                    "network with `bias_std=None`."
                )
        hidden = [layer.features for layer in dense[:-1]]
        if len(set(hidden)) > 1:
            raise ValueError(
                f"`{caller}` needs hidden layers of one width. Got widths {hidden}. "
                "Use the same `features` in all of them."
            )
        m = hidden[0]
        fan_ins = [in_features] + [m] * len(hidden)
        stds = [
            layer.init_std(fan_in) for layer, fan_in in zip(dense, fan_ins, strict=True)
        ]
        scales = [
            abs(layer.forward_scale(fan_in))
            for layer, fan_in in zip(dense, fan_ins, strict=True)
        ]
        if trained:
            betas, alpha = stds, 1 / math.prod(scales)
        else:
            last = abs(dense[-1].scale)
            betas = [std * scale for std, scale in zip(stds, scales, strict=True)]
            betas[-1] /= last
            alpha = 1 / last
        return cls(in_features, m, dense[-1].features, tuple(betas), alpha)

    @property
    def L(self) -> int:
        """Number of weight matrices."""
        return len(self.betas)

    @property
    def widths(self) -> tuple[int, ...]:
        """All layer sizes, from the input to the output; `L + 1` of them."""
        return (self.d, *[self.m] * (self.L - 1), self.o)

    @property
    def gamma_power(self) -> float:
        r"""$\prod_{l=2}^{L-1} \beta_l \sqrt{m/2}$, which is $\gamma^{L-2}$."""
        middle = [beta * math.sqrt(self.m / 2) for beta in self.betas[1:-1]]
        return math.prod(middle, start=1.0)

    @property
    def gamma(self) -> float:
        r"""$\gamma$, the geometric mean of $\beta_l \sqrt{m/2}$; 1 if $L = 2$."""
        return self.gamma_power ** (1 / (self.L - 2)) if self.L > 2 else 1.0

    @property
    def lipschitz(self) -> float:
        r"""$\frac1\alpha \prod_l \beta_l (\sqrt{m_l} + \sqrt{m_{l-1}})$.

        No smaller than the expected product of the layers' operator norms: a Gaussian
        matrix has $E\|W\|_2 \le \beta (\sqrt p + \sqrt q)$ (Vershynin, High-Dimensional
        Probability, Sec. 7.3), and the layers are independent.
        """
        widths = [math.sqrt(width) for width in self.widths]
        norms = [
            beta * (rows + columns)
            for beta, rows, columns in zip(
                self.betas, widths[1:], widths[:-1], strict=True
            )
        ]
        return math.prod(norms) / self.alpha


def _dense_layers(caller: str, network: AbstractLayer) -> list[Dense]:
    """The dense layers, once it is known that only ReLU stands between them."""
    layers = list(_flat(network))
    dense, between = layers[::2], layers[1::2]
    if (
        len(dense) < 2
        or len(dense) != len(between) + 1
        or not all(isinstance(layer, Dense) for layer in dense)
        or not all(layer == Activation(ReLU()) for layer in between)
    ):
        found = ", ".join(
            repr(layer.function) if isinstance(layer, Activation) else layer_name
            for layer in layers
            for layer_name in [type(layer).__name__]
        )
        raise ValueError(
            f"`{caller}` needs dense layers with `ReLU()` between them, at least one "
            f"hidden layer, and a dense layer at the end. Got {found}. Build the "
            "network with `zhu2022_network` or `mlp(depth >= 1)`."
        )
    return [layer for layer in dense if isinstance(layer, Dense)]


def _flat(layer: AbstractLayer):
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            yield from _flat(inner)
    else:
        yield layer
