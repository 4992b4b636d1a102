"""An activation function as a layer."""

from dataclasses import dataclass

from jaxtyping import Array, Float, Key

from widelimit.activations import AbstractActivation
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.moments import Moments


@dataclass(frozen=True)
class Activation(AbstractLayer):
    r"""Applies $\phi$ to every entry; has no parameters.

    At infinite width, with $(u, v)$ Gaussian of covariance $K$,
    $K \to E\,\phi(u)\phi(v)$, $b \to E\,\phi(u)$ and
    $\Theta \to E[\phi'(u)\phi'(v)]\,\Theta$.

    Args:
        function: The activation $\phi$.
    """

    function: AbstractActivation

    def __post_init__(self) -> None:
        if not isinstance(self.function, AbstractActivation):
            raise ValueError(
                "`Activation` needs an activation such as `ReLU()`. Got "
                f"`function={self.function!r}`."
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        return ()

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *s"]:
        return self.function(x)

    def check(self, m: Moments) -> None:
        """Refuse features that are not Gaussian.

        Args:
            m: Moments of the features.

        Raises:
            ValueError: If they are not.
        """
        if not m.gaussian:
            raise ValueError(
                f"`Activation.moments` needs Gaussian features, which a dense or a "
                f"convolutional layer makes. Got `{self}` behind features that are "
                "not. Put such a layer before it."
            )

    def moments(self, m: Moments) -> Moments:
        self.check(m)
        phi = self.function
        p, q = m.variances()
        ntk = m.ntk
        if ntk:
            slopes = phi.dual_derivative(m.cross, p, q, m.height)
            ntk = tuple(slopes * block for block in ntk)
        own = [m.diagonal(block) for block in (m.first, m.second)]
        if m.joint:
            squares = [self._within(m, block) for block in (m.first, m.second)]
        else:
            squares = [phi.second_moment(v) for v in own]
        return m.replace(
            cross=phi.dual(m.cross, p, q, m.height),
            first=squares[0],
            second=squares[1],
            height=None
            if m.height is None
            else phi.dual_height(m.cross, p, q, m.height),
            mean_first=phi.mean(own[0]),
            mean_second=phi.mean(own[1]),
            ntk=ntk,
            gaussian=False,
        )

    def _within(self, m: Moments, block: Float[Array, "n *S"]):
        """Second moments between the positions of one input."""
        v, ones = m.diagonal(block), (1,) * len(m.positions)
        p = v.reshape(len(v), *m.positions, *ones)
        q = v.reshape(len(v), *ones, *m.positions)
        return self.function.dual(block, p, q)
