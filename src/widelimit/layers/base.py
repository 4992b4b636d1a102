"""What every layer offers."""

import abc
import functools
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, Key

from widelimit.description import Description
from widelimit.layers.gradients import Tap, inner_products, row_gradients
from widelimit.layers.jets import paired
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
        batched: Whether training treats the rows of a batch together, so that
            `apply_training` differs from `apply`. Where `train` divides a batch over
            devices, a layer sees those of its own; `BatchNorm` asks for the others.
        smooth: Whether the layer itself is twice differentiable everywhere, whatever
            its activations are.
    """

    independent: ClassVar[bool] = False
    batched: ClassVar[bool] = False
    smooth: ClassVar[bool] = True

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

    def apply_training(
        self, params: Params, x: Float[Array, "n *s"]
    ) -> tuple[Float[Array, "n *t"], Params]:
        """Outputs of a batch to train on, and parameters with new running statistics.

        The same as `apply` with the parameters as they are, but in layers that
        normalise by the batch, and in those that hold such layers.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs, one per row.

        Returns:
            Outputs, one per row, and the parameters.
        """
        return self.apply(params, x), params

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

    def apply_tapped(
        self, params: Params, x: Float[Array, "n *s"], tap: Tap
    ) -> Float[Array, "n *t"]:
        """`apply`, with `tap` between every layer that has parameters and the next.

        Layers that hold others hand it on; one that has parameters but does not train
        them leaves it out.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs, one per row.
            tap: Receives layer, parameters, inputs and outputs, and gives the outputs.

        Returns:
            Outputs, one per row.
        """
        y = self.apply(params, x)
        return tap(self, params, x, y) if jax.tree.leaves(params) else y

    def gradient_factors(
        self,
        params: Params,
        x: Float[Array, "n *s"],
        cotangents: Float[Array, "n o *t"],
    ) -> Any:
        r"""What inner products of gradients by the layer's parameters are made of.

        Here these gradients themselves; a layer that knows their structure keeps less.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs of the layer, one per row.
            cotangents: Derivatives of the network's outputs by this layer's.

        Returns:
            A pytree of arrays with one entry per row.
        """
        return row_gradients(self.apply, params, x, cotangents)

    def gradient_products(
        self, one: Any, two: Any, *, output_axes: bool
    ) -> Float[Array, "n m *o"]:
        r"""Inner products of gradients by the layer's parameters: its share of the NTK.

        Args:
            one: `gradient_factors` of one batch.
            two: `gradient_factors` of another.
            output_axes: Whether to pair all outputs; else equal ones, and add these up.

        Returns:
            The products, `n m o o` or `n m`.
        """
        return inner_products(one, two, output_axes=output_axes)

    def jacobian_factors(
        self,
        params: Params,
        x: Float[Array, "n *s"],
        cotangents: Float[Array, "n o *t"],
    ) -> Any:
        """`gradient_factors` as `jacobian_products` wants them, before jets are taken.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs of the layer, one per row.
            cotangents: Derivatives of the network's outputs by this layer's.

        Returns:
            A pytree of arrays with one entry per row, of which `gradient_products` can
            be formed.
        """
        return self.gradient_factors(params, x, cotangents)

    def jacobian_products(
        self, one: Any, two: Any, *, output_axes: bool
    ) -> Float[Array, "r n r m *o"]:
        r"""Inner products of gradients of the outputs and of their input derivatives.

        The layer's share of the Jacobian NTK: `gradient_products` differentiated along
        the directions of either side. A layer that knows more may form it at once.

        Args:
            one: Jets of `jacobian_factors` of one batch.
            two: Jets of `jacobian_factors` of another.
            output_axes: Whether to pair all outputs; else equal ones, and add these up.

        Returns:
            The products, `r n r m o o` or `r n r m`.
        """
        products = functools.partial(self.gradient_products, output_axes=output_axes)
        return paired(products, one, two)

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
