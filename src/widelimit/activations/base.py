"""What every activation offers."""

import abc
from typing import ClassVar

from jaxtyping import Array, Float

from widelimit.description import Description


class AbstractActivation(Description, abc.ABC):
    r"""An elementwise nonlinearity $\phi$.

    Attributes:
        smooth: Whether $\phi$ is twice differentiable everywhere.
    """

    smooth: ClassVar[bool]

    @abc.abstractmethod
    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        r"""$\phi(z)$, entry by entry."""
