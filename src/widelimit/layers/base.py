"""What every layer offers."""

import abc
from typing import Any, ClassVar

from jaxtyping import Array, Float, Key

from widelimit.description import Description
from widelimit.layers.moments import Moments

Shape = tuple[int, ...]
Params = Any  # a pytree of arrays, whose structure belongs to the layer


class AbstractLayer(Description, abc.ABC):
    """A layer, or a whole network: one frozen description with two readings.

    The finite network is `init` and `apply`, the infinitely wide one `moments`. Shapes
    are those of one example, without the batch axis, channels last; `apply` takes a
    batch.

    Attributes:
        independent: Whether the output is an independent random combination of the
            input's features, so that the two may be added.
    """

    independent: ClassVar[bool] = False

    @abc.abstractmethod
    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output, given the shape of one input.

        Args:
            input_shape: Shape of one input, without the batch axis.

        Returns:
            The shape of one output, without the batch axis.

        Raises:
            ValueError: If the layer cannot take such an input.
        """

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        """Random parameters for inputs of one shape, in the default float type.

        Args:
            key: Random key.
            input_shape: Shape of one input, without the batch axis.

        Returns:
            A pytree of arrays.

        Raises:
            ValueError: If the layer cannot take such an input.
        """

    @abc.abstractmethod
    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *t"]:
        """Outputs of the layer for a batch of inputs.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs, one per row.

        Returns:
            Outputs, one per row.

        Raises:
            ValueError: If the inputs do not fit the parameters.
        """

    def moments(self, m: Moments) -> Moments:
        """Moments of the output at infinite width, from those of the input.

        Args:
            m: Moments of the features that enter.

        Returns:
            Moments of the features that leave.

        Raises:
            ValueError: If the layer has no infinite-width limit, or none for such
                features.
        """
        raise ValueError(
            f"`moments` needs layers with an infinite-width limit. Got `{self}`, which "
            f"has none. Leave it out, or measure finite networks."
        )

    def needs_joint(self, joint: bool) -> bool:
        """Whether moments of the input must hold every pair of positions.

        Args:
            joint: Whether those of the output must.

        Returns:
            The answer for the input.
        """
        return joint

    def __call__(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *t"]:
        """`apply`, so that a description serves as a function that is equal by value.

        A bound method is equal only to one of the same object, so that a program
        compiled for `network.apply` is not found again by an equal network; one
        compiled for `network` is.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs, one per row.

        Returns:
            Outputs, one per row.
        """
        return self.apply(params, x)

    def without_init(self, input_shape: Shape) -> "AbstractLayer":
        """The same function of the parameters, without the settings of `init`.

        Networks that differ in their initialisation alone become equal, and so share
        one compiled program.

        Args:
            input_shape: Shape of one input, without the batch axis.

        Returns:
            A description with an equal `apply`; its `init` means nothing.
        """
        return self
