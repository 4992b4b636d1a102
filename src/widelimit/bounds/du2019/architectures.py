r"""The slopes of du2019's perturbation lemmas for its architectures.

Every bound of these lemmas is linear in the weights' relative movement $R$, where
$\|W^{(h)}(k) - W^{(h)}(0)\|_F \le \sqrt m R$ for all $h$. Here are the slopes.
"""

import abc
import math
from dataclasses import dataclass

from widelimit._checks import check_at_least, check_positive
from widelimit.bounds.du2019.constants import (
    ActivationConstants,
    geometric_sum,
    power,
)


@dataclass(frozen=True, kw_only=True)
class AbstractArchitecture(abc.ABC):
    r"""What the lemmas need of a network: constants in, slopes out.

    Args:
        activation: $L$, $\beta$, $c_\sigma$, $|\sigma(0)|$.
        depth: Number of hidden layers, the paper's $H$.
        c_w0: $\|W^{(h)}(0)\|_2 \le c_{w,0} \sqrt m$ for all $h$.
        c_x0: $\|x^{(h)}(0)\| \le c_{x,0}$ for all $h$ and inputs; at least 1, the
            norm of the inputs.

    Raises:
        ValueError: If a constant is out of range.
    """

    activation: ActivationConstants
    depth: int
    c_w0: float
    c_x0: float

    def __post_init__(self) -> None:
        caller = type(self).__name__
        check_at_least(caller, "depth", self.depth, 1)
        check_positive(caller, "c_w0", self.c_w0)
        check_positive(caller, "c_x0", self.c_x0)
        check_at_least(caller, "c_x0", self.c_x0, 1)

    @property
    @abc.abstractmethod
    def letter(self) -> str:
        """The appendix that treats this architecture."""

    @abc.abstractmethod
    def feature_slope(self, layer: int) -> float:
        r"""Bound of $\|x^{(h)}(k) - x^{(h)}(0)\| / R$."""

    @property
    @abc.abstractmethod
    def gram_slope(self) -> float:
        r"""Bound of $\|G^{(H)}(k) - G^{(H)}(0)\|_F / (n R)$."""

    @property
    @abc.abstractmethod
    def gradient_factors(self) -> tuple[float, float]:
        r"""Bounds of $\|\partial_{W^{(h)}} \mathcal L\|_F / (\sqrt n \|y - u\|_2)$.

        The first is for $h = 1$, the second for $h \ge 2$. They hold as long as
        features are at most twice $c_{x,0}$ and weights at most $2 c_{w,0} \sqrt m$.
        """

    @property
    def largest_radius(self) -> float:
        r"""The $R$ up to which weights and features at most double, as proofs need.

        It is $\min(c_{w,0}, c_{x,0} / s)$ with the feature slope $s$ of the last layer.
        """
        return min(self.c_w0, self.c_x0 / self.feature_slope(self.depth))


@dataclass(frozen=True, kw_only=True)
class FullyConnected(AbstractArchitecture):
    r"""Eq. (2): $x^{(h)} = \sqrt{c_\sigma / m}\, \sigma(W^{(h)} x^{(h-1)})$.

    With $c_x = 2 \sqrt{c_\sigma} L c_{w,0}$ and `geometric_sum` $g$, the slopes are

    - of $x^{(h)}$: $\sqrt{c_\sigma} L c_{x,0}\, g_{c_x}(h)$ (Lemma A.3);
    - of $G^{(H)}$:
      $(2 \beta c_{x,0} + 3 \sqrt{c_\sigma} L^2) L c_\sigma c_{x,0}^2\, g_{c_x}(H)$
      (proof of Lemma A.4);
    - of the gradients: $2 c_{x,0} \max(c_x, 1)^H$ (Lemma A.5), if $2 c_{w,0} \ge 1$.

    All three are right as printed. `c_x0` is 2 by Lemma A.1; see `norm_width`.
    """

    @property
    def letter(self) -> str:
        return "A"

    @property
    def c_x(self) -> float:
        r"""$2 \sqrt{c_\sigma} L c_{w,0}$."""
        sigma = self.activation
        return 2 * math.sqrt(sigma.c_sigma) * sigma.lipschitz * self.c_w0

    def feature_slope(self, layer: int) -> float:
        sigma = self.activation
        step = math.sqrt(sigma.c_sigma) * sigma.lipschitz * self.c_x0
        return step * geometric_sum(self.c_x, layer)

    @property
    def gram_slope(self) -> float:
        L, beta = self.activation.lipschitz, self.activation.smoothness
        c, x = self.activation.c_sigma, self.c_x0
        front = (2 * beta * x + 3 * math.sqrt(c) * L**2) * L * c * x**2
        return front * geometric_sum(self.c_x, self.depth)

    @property
    def gradient_factors(self) -> tuple[float, float]:
        factor = 2 * self.c_x0 * power(max(self.c_x, 1), self.depth)
        return factor, factor


@dataclass(frozen=True, kw_only=True)
class Residual(AbstractArchitecture):
    r"""Eq. (3) and the convolutional ResNet, whose `pixels` and `patch` are not 1.

    From the second layer on
    $x^{(h)} = x^{(h-1)} + \frac{\kappa}{H \sqrt m} \sigma(W^{(h)} \phi(x^{(h-1)}))$,
    where $\phi$ collects patches of $q$ of the $p$ pixels, $\|\phi(x)\|_F \le \sqrt q
    \|x\|_F$. With $e = \exp(2 \kappa c_{w,0} L \sqrt q)$ and
    $c_x = (\sqrt{c_\sigma} L \sqrt q + c_{x,0} / c_{w,0})\, e$, the slopes are

    - of $x^{(h)}$: $c_x$ (proofs of Lemmas B.3 and C.3);
    - of $G^{(H)}$: $\frac{\kappa^2}{H^2} \left(3 p q L c_{x,0} c_x + 2 \beta \sqrt p
      q^{3/2} c_{x,0}^2 (2 c_x c_{w,0} + c_{x,0})\right) L$ (Lemmas B.4 and C.4);
    - of the gradients: $2 \kappa c_{x,0} L \sqrt{pq}\, e / H$ for $h \ge 2$ (Lemmas
      B.5 and C.5), and $\sqrt{c_\sigma} L \sqrt{pq}\, e$ for $h = 1$.

    The paper has less in three places: the second term of Lemma B.4 with $L^2$ for $L$;
    Lemma C.4 without the $q$ that patches in place of pixels bring, but for one
    $\sqrt q$; and Lemmas B.5 and C.5 without the first layer, whose gradient has no
    $\kappa / H$.

    Args:
        activation: See `AbstractArchitecture`.
        depth: Number of hidden layers $H$, at least 2.
        c_w0: See `AbstractArchitecture`.
        c_x0: See `AbstractArchitecture`; `feature_norm_constant` gives one.
        branch: $\kappa = c_\lambda \lambda^{3/2}$. The proofs write $c_\lambda$, since
            $\lambda \le 1$.
        pixels: $p$.
        patch: $q$, pixels per patch.
    """

    branch: float
    pixels: int = 1
    patch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        caller = type(self).__name__
        check_at_least(caller, "depth", self.depth, 2)
        check_positive(caller, "branch", self.branch)
        check_at_least(caller, "pixels", self.pixels, 1)
        check_at_least(caller, "patch", self.patch, 1)

    @property
    def letter(self) -> str:
        return "B" if self.pixels == self.patch == 1 else "C"

    @property
    def growth(self) -> float:
        r"""Exponent $2 \kappa c_{w,0} L \sqrt q$ of the growth through all layers."""
        L = self.activation.lipschitz
        return 2 * self.branch * self.c_w0 * L * math.sqrt(self.patch)

    @property
    def c_x(self) -> float:
        r"""$(\sqrt{c_\sigma} L \sqrt q + c_{x,0} / c_{w,0})\, e$."""
        sigma = self.activation
        first = math.sqrt(sigma.c_sigma * self.patch) * sigma.lipschitz
        return (first + self.c_x0 / self.c_w0) * power(math.e, self.growth)

    def feature_slope(self, layer: int) -> float:
        return self.c_x if layer else 0.0

    def unrolled_slope(self, layer: int) -> float:
        r"""What the recursion in the proof gives before it is rounded up to $c_x$.

        $$\sqrt{c_\sigma} L \sqrt q\, r + \frac{c_{x,0}}{2 c_{w,0}} (r - 1), \quad
          r = \left(1 + \frac{2 \kappa c_{w,0} L \sqrt q}{H}\right)^{h-1}.$$

        Args:
            layer: $h$.

        Returns:
            The slope of $x^{(h)}$.
        """
        if layer == 0:
            return 0.0
        sigma, log = self.activation, math.log1p(self.growth / self.depth)
        first = math.sqrt(sigma.c_sigma * self.patch) * sigma.lipschitz
        grown = power(math.e, (layer - 1) * log)
        return first * grown + self.c_x0 / (2 * self.c_w0) * (grown - 1)

    @property
    def gram_slope(self) -> float:
        L, beta = self.activation.lipschitz, self.activation.smoothness
        p, q, x = self.pixels, self.patch, self.c_x0
        features = 3 * p * q * L * x * self.c_x
        moved = 2 * self.c_x * self.c_w0 + x
        derivatives = 2 * beta * math.sqrt(p) * q**1.5 * x**2 * moved
        return (self.branch / self.depth) ** 2 * (features + derivatives) * L

    @property
    def gradient_factors(self) -> tuple[float, float]:
        sigma = self.activation
        size = sigma.lipschitz * math.sqrt(self.pixels * self.patch)
        size *= power(math.e, self.growth)
        later = 2 * self.branch * self.c_x0 * size / self.depth
        return math.sqrt(sigma.c_sigma) * size, later
