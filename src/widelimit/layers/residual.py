"""A branch added to its input."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Key

from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.fit import check_named
from widelimit.layers.gradients import Tap
from widelimit.layers.moments import Moments, add


@dataclass(frozen=True)
class Residual(AbstractLayer):
    r"""$x + g(x)$, or $s(x) + g(x)$ with a shortcut $s$.

    At infinite width, with $b$ the means of the features of either path,

    $$K \to K_s + K_g + b_s b_g'^\top + b_g b_s'^\top, \quad
      \Theta \to \Theta_s + \Theta_g.$$

    The branch may end in a dense or convolutional layer, whose output has mean zero, or
    in an activation, as in du2019, Eq. (3): features then keep a mean, and the next
    activation needs such a layer before it. The paper's Eq. (5) pairs $b_i$ with
    $\sigma(u)$ of the same input; App. D has it as above.

    Args:
        branch: The layers of $g$, with a dense or convolutional one among them.
        shortcut: The layers of $s$; the identity if `None`.
    """

    branch: AbstractLayer
    shortcut: AbstractLayer | None = None

    def __post_init__(self) -> None:
        for name, part in (("branch", self.branch), ("shortcut", self.shortcut)):
            if part is not None and not isinstance(part, AbstractLayer):
                raise ValueError(
                    f"`Residual` needs a layer as `{name}`. Got `{name}={part!r}`. "
                    "Wrap several as `Sequential((...))`."
                )

    @property
    def independent(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether both paths are."""
        shortcut = self.shortcut is not None and self.shortcut.independent
        return shortcut and self.branch.independent

    @property
    def batched(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether either path is."""
        shortcut = self.shortcut is not None and self.shortcut.batched
        return shortcut or self.branch.batched

    def output_shape(self, input_shape: Shape) -> Shape:
        branch = self.branch.output_shape(input_shape)
        shortcut = input_shape
        if self.shortcut is not None:
            shortcut = self.shortcut.output_shape(input_shape)
        if branch != shortcut:
            raise ValueError(
                "`Residual` needs a branch and a shortcut of the same shape. Got "
                f"{branch} and {shortcut} from `input_shape={input_shape}`. Change the "
                "branch's features, or give a `shortcut` that maps to its shape."
            )
        return branch

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        self.output_shape(input_shape)
        branch = self.branch.init(jax.random.fold_in(key, 0), input_shape)
        if self.shortcut is None:
            return {"branch": branch}
        shortcut = self.shortcut.init(jax.random.fold_in(key, 1), input_shape)
        return {"branch": branch, "shortcut": shortcut}

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *t"]:
        names = ("branch",) if self.shortcut is None else ("branch", "shortcut")
        check_named("Residual", params, names)
        y = self.branch.apply(params["branch"], x)
        if self.shortcut is None:
            return x + y
        return self.shortcut.apply(params["shortcut"], x) + y

    def apply_tapped(
        self, params: Params, x: Float[Array, "n *s"], tap: Tap
    ) -> Float[Array, "n *t"]:
        y = self.branch.apply_tapped(params["branch"], x, tap)
        if self.shortcut is None:
            return x + y
        return self.shortcut.apply_tapped(params["shortcut"], x, tap) + y

    def apply_training(
        self, params: Params, x: Float[Array, "n *s"]
    ) -> tuple[Float[Array, "n *t"], Params]:
        y, branch = self.branch.apply_training(params["branch"], x)
        if self.shortcut is None:
            return x + y, {"branch": branch}
        z, shortcut = self.shortcut.apply_training(params["shortcut"], x)
        return z + y, {"branch": branch, "shortcut": shortcut}

    def without_init(self, input_shape: Shape) -> "Residual":
        shortcut = self.shortcut
        if shortcut is not None:
            shortcut = shortcut.without_init(input_shape)
        return Residual(self.branch.without_init(input_shape), shortcut)

    def moments(self, m: Moments) -> Moments:
        self.output_shape(m.shape)
        shortcut = self.shortcut
        if not (self.branch.independent or (shortcut and shortcut.independent)):
            raise ValueError(
                "`Residual.moments` needs a dense or convolutional layer in its "
                f"branch, so that the two paths are independent. Got `{self}`."
            )
        held = len(m.ntk or ())  # blocks of the layers before, on both paths
        x = m if shortcut is None else shortcut.moments(m)
        y = self.branch.moments(m)
        return add(y, x, held)

    def needs_joint(self, joint: bool) -> bool:
        parts = (self.branch, self.shortcut)
        return joint or any(p.needs_joint(joint) for p in parts if p is not None)
