"""A network as a plain sequence of steps that do not depend on its widths.

Steps that map moments alike are equal, whatever the widths around them, so that a deep
network becomes one compiled loop.
"""

from dataclasses import dataclass, replace

from widelimit.layers import (
    AbstractLayer,
    Activation,
    Dense,
    Moments,
    Parameterization,
    Readout,
    Residual,
    Sequential,
)

ANY = (1,)  # the shape where none matters


@dataclass(frozen=True)
class Placed:
    """A layer at a place where its input has a certain shape.

    Args:
        layer: The layer.
        shape: Shape of one input.
    """

    layer: AbstractLayer
    shape: tuple[int, ...]

    def moments(self, m: Moments) -> Moments:
        """Those of the layer.

        Args:
            m: Moments of the input.

        Returns:
            Moments of the output, without its shape.
        """
        return self.layer.moments(m.replace(shape=self.shape)).replace(shape=ANY)


@dataclass(frozen=True)
class Branches:
    """Two sequences of steps, whose results are added.

    Args:
        branch: The first.
        shortcut: The second; empty for the identity.
    """

    branch: "Steps"
    shortcut: "Steps"


Step = Placed | Activation | Branches
Steps = tuple[Step, ...]


def steps_of(layer: AbstractLayer, shape: tuple[int, ...]) -> Steps:
    """The steps of a network.

    Args:
        layer: The network.
        shape: Shape of one of its inputs.

    Returns:
        The steps, in order.
    """
    if isinstance(layer, Activation):
        return (layer,)
    if isinstance(layer, Sequential):
        shapes = layer.input_shapes(shape)
        pairs = zip(layer.layers, shapes, strict=True)
        return tuple(step for part, s in pairs for step in steps_of(part, s))
    if isinstance(layer, Residual):
        shortcut = layer.shortcut
        return (
            Branches(
                steps_of(layer.branch, shape),
                () if shortcut is None else steps_of(shortcut, shape),
            ),
        )
    if isinstance(layer, Dense):
        free = layer.parameterization is Parameterization.NTK
        return (Placed(replace(layer, features=1), ANY if free else shape),)
    if isinstance(layer, Readout):
        return (Placed(replace(layer, outputs=1), ANY),)
    return (Placed(layer, shape),)


def repetition(steps: Steps) -> tuple[int, int]:
    """The group of steps with which a sequence begins again and again.

    Args:
        steps: The sequence.

    Returns:
        Length of the group that covers most steps, and how often it is there.
    """

    def times(period: int) -> int:
        count = 1
        while steps[count * period :][:period] == steps[:period]:
            count += 1
        return count

    found = {period: times(period) for period in range(1, len(steps) // 2 + 1)}
    covered = {p: p * t for p, t in found.items() if t > 1}
    best = max(covered, key=lambda p: covered[p], default=1)
    return best, found.get(best, 1)
