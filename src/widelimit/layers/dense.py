"""The fully-connected layer."""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count
from widelimit.layers.base import Params, Shape
from widelimit.layers.fit import check_named, check_weight
from widelimit.layers.gradients import inner_products
from widelimit.layers.jets import at_values, leibniz, with_value
from widelimit.layers.moments import Moments
from widelimit.layers.weights import AbstractWeights, Parameterization


@dataclass(frozen=True)
class Dense(AbstractWeights):
    r"""Fully-connected layer $y = s\,(c\,W x + b)$, $c = 1$ but for the NTK form.

    At initialisation every output has variance
    $s^2 (\sigma_w^2 \|x\|^2 / \text{fan-in} + \sigma_b^2)$ in the standard and the NTK
    parameterization, and $s^2 (\sigma_w^2 \|x\|^2 + \sigma_b^2)$ in the direct one.
    At infinite width $K \to v K + s^2 \sigma_b^2$ with $v$ the variance of a weight
    times the fan-in, and $\Theta \to v \Theta + g$ with $g$ the kernel of the layer's
    own gradients, $s^2 c^2\,\text{fan-in}\,K$ and the bias's. In the NTK
    parameterization $g = v K + s^2 \sigma_b^2$; in the others it grows with the
    fan-in, which is that of this description.

    With `DIRECT`, `weight_std` is $\beta_l$ and `scale` is $1/\alpha$ of zhu2022,
    Eq. (2).

    Args:
        features: Number of outputs.
        weight_std: $\sigma_w$, whose meaning `parameterization` fixes; dimensionless.
        bias_std: Standard deviation $\sigma_b$ of the bias's contribution at
            initialisation; `None` leaves the bias out, and 0.0 starts a trainable bias
            at zero (in the NTK parameterization it then stays there).
        scale: Forward scale $s$.
        parameterization: Standard, NTK or direct.
    """

    features: int
    weight_std: float = 1.0
    bias_std: float | None = None
    scale: float = 1.0
    parameterization: Parameterization = Parameterization.STANDARD

    def __post_init__(self) -> None:
        check_count("Dense", "features", self.features, 1)
        self._check_weights()

    def fan_in(self, input_shape: Shape) -> int:
        if len(input_shape) != 1:
            raise ValueError(
                "`Dense` needs inputs that are vectors. Got `input_shape="
                f"{input_shape}`. Flatten images to one axis first."
            )
        return input_shape[0]

    def output_shape(self, input_shape: Shape) -> Shape:
        self.fan_in(input_shape)
        return (self.features,)

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        fan_in = self.fan_in(input_shape)
        return self._draw(key, (fan_in, self.features), input_shape)

    def apply(self, params: Params, x: Float[Array, "n d"]) -> Float[Array, "n o"]:
        check_named("Dense", params, self._names)
        weight = params["weight"]
        check_weight("Dense", weight, 2, self.features)
        if x.shape[-1] != weight.shape[0]:
            raise ValueError(
                f"`Dense.apply` needs inputs with {weight.shape[0]} features, as its "
                f"weights have. Got `x.shape={x.shape}`. Initialise the network with "
                "the `input_shape` of these inputs."
            )
        return self._scaled(jnp.matmul(x, weight), params, x.shape[-1])

    def apply_jets(
        self, params: Params, jets: Float[Array, "r n d"]
    ) -> Float[Array, "r n o"]:
        r"""Jets of the outputs: one product for the values and all derivatives.

        $\partial_\alpha y = s\,c\,W \partial_\alpha x$; the value alone has the bias.

        Args:
            params: What `init` returned, or a trained version of it.
            jets: Jets of the inputs.

        Returns:
            The jets.

        Raises:
            ValueError: If the inputs do not fit the parameters.
        """
        self.fan_in(jets.shape[2:])
        jax.eval_shape(self.apply, params, jets[0])  # which refuses what does not fit
        linear, weight = replace(self, bias_std=None), {"weight": params["weight"]}
        flat = jets.reshape(-1, jets.shape[-1])
        y = linear.apply(weight, flat).reshape(*jets.shape[:-1], -1)
        if self.bias_std is None:
            return y
        return with_value(y[0] + self.bias_factor * params["bias"], y)

    def pull_jets(
        self, params: Params, cotangents: Float[Array, "r n a o"]
    ) -> Float[Array, "r n a d"]:
        r"""Jets of derivatives by the inputs, from those by the outputs, likewise.

        $s\,c\,W^\top \partial_\alpha \delta$: weights do not depend on the input.

        Args:
            params: What `init` returned, or a trained version of it.
            cotangents: Jets of derivatives by what the layer gives.

        Returns:
            The jets.
        """
        weight = params["weight"]
        flat = cotangents.reshape(-1, weight.shape[1])
        pulled = self.forward_scale(len(weight)) * jnp.matmul(flat, weight.T)
        return pulled.reshape(*cotangents.shape[:-1], -1)

    def gradient_factors(
        self, params: Params, x: Float[Array, "n d"], cotangents: Float[Array, "n o w"]
    ) -> Any:
        return x, cotangents

    def gradient_products(
        self, one: Any, two: Any, *, output_axes: bool
    ) -> Float[Array, "n m *o"]:
        """Products of inputs, and the bias's, times products of cotangents."""
        (x1, g1), (x2, g2) = one, two
        inputs = self.forward_scale(x1.shape[-1]) ** 2 * (x1 @ x2.T)
        inputs = inputs + self.bias_factor**2
        if output_axes:
            inputs = inputs[:, :, None, None]
        return inputs * inner_products(g1, g2, output_axes=output_axes)

    def jacobian_products(
        self, one: Any, two: Any, *, output_axes: bool
    ) -> Float[Array, "r n r m *o"]:
        r"""The same with the gradients $\dot x \delta^\top + x \dot\delta^\top$.

        Two Gram matrices, $P$ of inputs and $Q$ of cotangents with their derivatives,
        and Leibniz' rule: $P_{\alpha\beta} Q_{00} + P_{\alpha 0} Q_{0\beta} +
        P_{0\beta} Q_{\alpha 0} + P_{00} Q_{\alpha\beta}$ (kim2023, App. H).

        Returns:
            The products, `r n r m o o` or `r n r m`.
        """
        (x1, g1), (x2, g2) = one, two
        inputs = _gram(x1, x2)
        inputs = self.forward_scale(x1.shape[-1]) ** 2 * inputs
        inputs = inputs + self.bias_factor**2 * at_values(inputs)  # a bias has x = 1
        if output_axes:
            cotangents = jnp.einsum("rnaw,qmbw->rnqmab", g1, g2)
            return leibniz(inputs[..., None, None], cotangents)
        return leibniz(inputs, _gram(g1, g2))

    def moments(self, m: Moments) -> Moments:
        return self._random_linear(m, self.fan_in(m.shape), (self.features,))


def _gram(a: Float[Array, "r n *s"], b: Float[Array, "q m *s"]) -> Array:
    """Inner products `r n q m`, as one product of matrices: `einsum` is slower here."""
    one, two = (z.reshape(math.prod(z.shape[:2]), -1) for z in (a, b))
    return (one @ two.T).reshape(*a.shape[:2], *b.shape[:2])
