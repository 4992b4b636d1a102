"""Layers one after another."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Key

from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.fit import CURE
from widelimit.layers.gradients import Tap
from widelimit.layers.moments import Moments


@dataclass(frozen=True)
class Sequential(AbstractLayer):
    """The layers composed, first to last; parameters are a tuple with one entry each.

    Args:
        layers: The layers, in the order in which an input meets them.
    """

    layers: tuple[AbstractLayer, ...]

    def __post_init__(self) -> None:
        if not self.layers or not all(
            isinstance(layer, AbstractLayer) for layer in self.layers
        ):
            raise ValueError(
                "`Sequential` needs a non-empty tuple of layers. Got "
                f"`layers={self.layers!r}`. Wrap activations as `Activation(ReLU())`."
            )
        object.__setattr__(self, "layers", tuple(self.layers))

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        shapes = self.input_shapes(input_shape)
        # `fold_in`, not `split`: it compiles once, whatever the number of layers.
        return tuple(
            layer.init(jax.random.fold_in(key, number), shape)
            for number, (layer, shape) in enumerate(
                zip(self.layers, shapes, strict=True)
            )
        )

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *t"]:
        count = len(params) if isinstance(params, tuple | list) else None
        if count != len(self.layers):
            found = f"{count}" if count is not None else f"a `{type(params).__name__}`"
            raise ValueError(
                f"`Sequential.apply` needs parameters for its {len(self.layers)} "
                f"layers, as a tuple. Got {found}. {CURE}"
            )
        for layer, p in zip(self.layers, params, strict=True):
            x = layer.apply(p, x)
        return x

    def apply_tapped(
        self, params: Params, x: Float[Array, "n *s"], tap: Tap
    ) -> Float[Array, "n *t"]:
        for layer, p in zip(self.layers, params, strict=True):
            x = layer.apply_tapped(p, x, tap)
        return x

    def apply_training(
        self, params: Params, x: Float[Array, "n *s"]
    ) -> tuple[Float[Array, "n *t"], Params]:
        new = []
        for layer, p in zip(self.layers, params, strict=True):
            x, p = layer.apply_training(p, x)
            new.append(p)
        return x, tuple(new)

    def without_init(self, input_shape: Shape) -> "Sequential":
        shapes = self.input_shapes(input_shape)
        return Sequential(
            tuple(
                layer.without_init(shape)
                for layer, shape in zip(self.layers, shapes, strict=True)
            )
        )

    @property
    def independent(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether any layer is: what follows keeps it so."""
        return any(layer.independent for layer in self.layers)

    @property
    def batched(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether any layer is."""
        return any(layer.batched for layer in self.layers)

    def moments(self, m: Moments) -> Moments:
        return moments_through(self.layers, m)[0]

    def needs_joint(self, joint: bool) -> bool:
        for layer in reversed(self.layers):
            joint = layer.needs_joint(joint)
        return joint

    def input_shapes(self, input_shape: Shape) -> tuple[Shape, ...]:
        """Shape of one input of each layer."""
        shapes = [input_shape]
        for layer in self.layers[:-1]:
            shapes.append(layer.output_shape(shapes[-1]))
        return tuple(shapes)


def moments_through(
    layers: tuple[AbstractLayer, ...],
    m: Moments,
    collect: Callable[[AbstractLayer, Moments], tuple[Array, ...]] = lambda *_: (),
) -> tuple[Moments, list[Array]]:
    """Moments behind several layers, equal groups of which are one compiled loop.

    Args:
        layers: The layers, in the order in which an input meets them.
        m: Moments of the input.
        collect: What to keep of a layer and the moments behind it.

    Returns:
        The moments of the output, and what was kept, in the order of the layers.
    """
    start, kept = 0, []
    while start < len(layers):
        period, times = _repeated(layers, start)
        group = layers[start : start + period]

        def step(m: Moments, group=group) -> tuple[Moments, list[Array]]:
            own = []
            for layer in group:
                m = layer.moments(m)
                own += collect(layer, m)
            return m, own

        m, own = step(m)
        kept += own
        start += period
        if times < 3 or not _same_structure(m, jax.eval_shape(step, m)[0]):
            continue  # it changes, as where every layer keeps a kernel of its own
        # One program for all: compiling a hundred copies takes minutes.
        m, stacks = jax.lax.scan(lambda m, _, step=step: step(m), m, length=times - 1)
        kept += [stack[k] for k in range(times - 1) for stack in stacks]
        start += period * (times - 1)
    return m, kept


def _repeated(layers: tuple[AbstractLayer, ...], start: int) -> tuple[int, int]:
    """Length of the group of layers that repeats from `start`, and how often it is."""
    best = (1, 1)
    for period in range(1, (len(layers) - start) // 2 + 1):
        group, times = layers[start : start + period], 1
        while layers[start + times * period :][:period] == group:
            times += 1
        if times > 1 and times * period > best[0] * best[1]:
            best = (period, times)
    return best


def _same_structure(m: Moments, other: Moments) -> bool:
    def kind(tree):
        leaves, structure = jax.tree.flatten(tree)
        return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]

    return kind(m) == kind(other)
