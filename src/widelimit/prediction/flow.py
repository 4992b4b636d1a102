r"""Training on values and gradients in the infinite-width limit, at any time.

With $z_i = (f(x_i) - y_i, \sqrt\lambda J(x_i))$ the objective of kim2023, Eq. (1), is
$\sum_i |z_i|^2 / 2N$. By the chain rule gradient flow moves
$u(x) = (f(x), J(x))$ by

$$\frac{du(x)}{dt} = -\frac1N \sum_i \Theta(x, x_i)\,\Lambda z_i, \quad
  \Lambda = \mathrm{diag}(1, \sqrt\lambda, \dots, \sqrt\lambda).$$

(Lemma 6 of the paper leaves one factor $\sqrt\lambda$ of $z$ and that of $\Lambda$ out;
Eq. (1) lacks a plus.) At infinite width $\Theta$ stays what it is, so $z$ follows
$dz/dt = -\Theta_\lambda z / N$, and everything is a function of the eigenvalues.
"""

import abc
import math
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

from widelimit._checks import (
    check_number,
    check_positive,
    check_rows,
    finite_inputs,
)
from widelimit.kernels import jacobian_kernel
from widelimit.kernels.jacobian.checks import check_regularization
from widelimit.layers import AbstractLayer
from widelimit.prediction.decomposition import (
    check_room,
    eigen,
    nearest_to_parallel,
    rounding,
)
from widelimit.prediction.flow_checks import (
    check_targets,
    checked_initial,
)
from widelimit.prediction.predictor import (
    KernelPredictor,
    Prediction,
    kernel_sums,
    new_inputs,
    split,
)

Times = Float[np.ndarray, "t 1"]


class AbstractTraining(eqx.Module):
    r"""A network trained on Eq. (1), in the limit, as the spectrum of $\Theta_\lambda$.

    Attributes:
        network: The network.
        x: Its training inputs.
        eigenvalues: Those of $\Theta_\lambda$, from the largest on. With
            $\lambda = 0$, those of the tangent kernel of the values alone.
        vectors: Its eigenvectors, in columns.
        coefficients: $V^\top z$ at the start.
        regularization: $\lambda$.
        ridge: $\rho$, the weight of the penalty on the movement.
        single: Whether there is one output without an axis of its own.
        initialized: Whether the network starts from a function other than zero.
    """

    network: AbstractLayer = eqx.field(static=True)
    x: Float[np.ndarray, "n d"]
    eigenvalues: Float[np.ndarray, " r"]
    vectors: Float[np.ndarray, "r r"]
    coefficients: Float[np.ndarray, "r o"]
    regularization: float = eqx.field(static=True)
    ridge: float = eqx.field(static=True)
    single: bool = eqx.field(static=True)
    initialized: bool = eqx.field(static=True)

    @abc.abstractmethod
    def _decay(self, time: Times) -> tuple[np.ndarray, np.ndarray]:
        """Spectral functions: what remains at each time, and what has grown."""

    @property
    def resolved(self) -> bool:
        """Whether the smallest eigenvalue, with the ridge, is not lost in rounding."""
        return bool(self.eigenvalues[-1] + self.ridge > rounding(self.eigenvalues))

    @property
    def rates(self) -> Float[np.ndarray, " r"]:
        """Eigenvalues without the negative ones that rounding makes, plus the ridge."""
        return np.maximum(self.eigenvalues, 0.0) + self.ridge

    @property
    def largest_learning_rate(self) -> float:
        r"""$2N / (\mu_\text{max} + \rho)$; gradient descent diverges from there on."""
        return 2 * len(self.x) / float(self.rates[0])

    def residuals(self, time: ArrayLike = math.inf) -> Prediction:
        r"""$f - y$ and $\sqrt\lambda J$ at the training inputs.

        Args:
            time: Times, or one.

        Returns:
            Both, with the times in front if there are several.

        Raises:
            ValueError: As `at`.
        """
        remaining, grown = self._spectral("residuals", time)
        left = remaining + self.ridge * grown
        z = np.einsum("sr,tr,ro->tso", self.vectors, left, self.coefficients)
        z = z.reshape(*np.shape(time), len(self.x), -1, z.shape[-1])
        if not self.regularization:
            z = np.concatenate([z, np.zeros_like(z, shape=self._still(z))], axis=-2)
        return split(z, self.single)

    def loss(self, time: ArrayLike = math.inf) -> Any:
        r"""The objective $\sum_i |z_i|^2 / 2N$ of Eq. (1), without the ridge's penalty.

        Args:
            time: Times, or one.

        Returns:
            One number for every time; over all outputs.

        Raises:
            ValueError: As `at`.
        """
        remaining, grown = self._spectral("loss", time)
        left = remaining + self.ridge * grown
        squares = np.sum(self.coefficients**2, axis=1)
        return ((left**2) @ squares / (2 * len(self.x))).reshape(np.shape(time))[()]

    def at(
        self,
        x: ArrayLike,
        time: ArrayLike = math.inf,
        *,
        initial: Prediction | None = None,
    ) -> Prediction:
        r"""Values and gradients at any inputs.

        $$u(x, t) = u_0(x) - \Theta(x, X)\,\Lambda V
          \frac{1 - e^{-t (\mu + \rho) / N}}{\mu + \rho} V^\top z_0,$$

        at $t = \infty$ from zero the predictor of Eq. (4) and its gradient.

        Args:
            x: Inputs, one per row.
            time: Times from 0 to `inf`, or one. Learning rate times steps, if you think
                of gradient descent; the number of steps, if this is one.
            initial: Values and gradients at `x` at the start, if the training inputs
                came with theirs.

        Returns:
            Both for all inputs, with the times in front if there are several.

        Raises:
            ValueError: If inputs, times or the start do not fit, or the time is `inf`
                and an eigenvalue cannot be told from zero.
        """
        x = new_inputs("at", x, self.x.shape[1])
        if (initial is not None) != self.initialized:
            raise ValueError(
                "`at` needs `initial` at `x` if, and only if, there was one for the "
                f"training inputs. Got `initial={initial!r}`."
            )
        if initial is not None:
            outputs = () if self.single else self.coefficients.shape[1:]
            initial = checked_initial("at", initial, (len(x), *outputs), x.shape[1])
        weights = self._weights("at", time)
        n, r, o, t = weights.shape
        both = kernel_sums(self.network, x, self.x, weights.reshape(n, r, o * t))
        both = both.reshape(*both.shape[:2], o, t)
        both = np.moveaxis(both, -1, 0) if np.ndim(time) else both[..., 0]
        found = split(both, self.single)
        if initial is None:
            return found
        return Prediction(
            initial.values + found.values, initial.gradients + found.gradients
        )

    def predictor(self, time: float | int = math.inf) -> KernelPredictor:
        """What training adds by some time, as a function of the kernel.

        It is the whole trained function where training starts from zero.

        Args:
            time: The time, or the number of steps.

        Returns:
            The function, with its norm.

        Raises:
            ValueError: As `at`.
        """
        grown = self.growth("predictor", time)
        parts = np.sqrt(np.maximum(self.eigenvalues, 0.0)) * grown
        parts = parts[:, None] * self.coefficients
        return KernelPredictor(
            network=self.network,
            x=self.x,
            weights=self._weights("predictor", time)[..., 0],
            gram=parts.T @ parts,
            single=self.single,
        )

    def growth(self, caller: str, time: float | int) -> Float[np.ndarray, " r"]:
        """What stands for the inverse of each eigenvalue at some time.

        Args:
            caller: Name of the public function, for messages.
            time: The time, or the number of steps.

        Returns:
            One number for every eigenvalue.

        Raises:
            ValueError: As `at`.
        """
        check_number(caller, "time", time)
        return self._spectral(caller, float(time))[1][0]

    def scale_gradients(self, z: np.ndarray) -> np.ndarray:
        r"""$\Lambda z$, with an axis for value and gradient.

        Args:
            z: One row for every row of $\Theta_\lambda$.

        Returns:
            The product.
        """
        z = z.reshape(len(self.x), -1, *z.shape[1:]).copy()
        z[:, 1:] *= math.sqrt(self.regularization)
        return z

    def _weights(self, caller: str, time: ArrayLike) -> Float[np.ndarray, "n r o t"]:
        _, grown = self._spectral(caller, time)
        parts = self.coefficients[..., None] * grown.T[:, None, :]
        z = self.vectors @ parts.reshape(len(parts), -1)
        return -self.scale_gradients(z).reshape(len(self.x), -1, *parts.shape[1:])

    def _spectral(self, caller: str, time: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.asarray(time)
        real = numbers.dtype.kind in "fiu" and numbers.size
        times = np.atleast_1d(numbers.astype(np.float64) if real else np.nan)
        if times.ndim != 1 or not np.all(times >= 0):
            raise ValueError(
                f"`{caller}` needs one `time >= 0`, or a vector of them. Got "
                f"`time={time!r}`."
            )
        if np.isinf(times).any() and not self.resolved:
            raise ValueError(
                f"`{caller}` needs a positive smallest eigenvalue (Assumption 8) for "
                f"`time=inf`. Got {self.eigenvalues[-1]:.3g} beside "
                f"{self.eigenvalues[0]:.3g}, which is zero up to rounding. "
                f"{self._why_singular()}, give a `ridge`, or ask for a finite time."
            )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self._decay(times[:, None])

    def _why_singular(self) -> str:
        """What makes the smallest eigenvalue vanish, and the beginning of the cure."""
        if 0 < self.regularization < 1:
            values = eigen(jacobian_kernel(self.network, self.x).dense())[0]
            # The smallest eigenvalue falls by no more than the factor lambda.
            if values[-1] > rounding(values):
                return (
                    f"`regularization={self.regularization:.3g}` is too small for "
                    f"float64: with 1 there are {values[-1]:.3g} and {values[0]:.3g}. "
                    f"Give at least {2 * rounding(values) / values[-1]:.1g}, or 0"
                )
        return f"{nearest_to_parallel(self.x)} Remove such rows, take a deeper network"

    def _still(self, z: np.ndarray) -> tuple[int, ...]:
        return (*z.shape[:-2], self.x.shape[1], z.shape[-1])


class RobustFlow(AbstractTraining):
    """Gradient flow. Made by `robust_flow`."""

    def _decay(self, time: Times) -> tuple[np.ndarray, np.ndarray]:
        rates, n = self.rates, len(self.x)
        exponent = np.where(rates == 0, 0.0, time * rates / n)
        # Where a rate is zero, growth is linear.
        grown = np.where(rates == 0, time / n, -np.expm1(-exponent) / rates)
        return np.exp(-exponent), grown

    def descent(self, learning_rate: float) -> "RobustDescent":
        """The same training by gradient descent, whose time counts steps.

        Args:
            learning_rate: The learning rate.

        Returns:
            The training.

        Raises:
            ValueError: If it diverges.
        """
        check_positive("descent", "learning_rate", learning_rate)
        if not learning_rate < self.largest_learning_rate:
            raise ValueError(
                "`descent` needs a `learning_rate` below "
                f"{self.largest_learning_rate:.6g}, where gradient descent starts to "
                f"diverge. Got `learning_rate={learning_rate}`."
            )
        names = [name for name in self.__dataclass_fields__]
        return RobustDescent(
            **{name: getattr(self, name) for name in names},
            learning_rate=float(learning_rate),
        )


class RobustDescent(AbstractTraining):
    """Gradient descent. Made by `RobustFlow.descent`.

    Attributes:
        learning_rate: The learning rate.
    """

    learning_rate: float = eqx.field(static=True)

    def _decay(self, time: Times) -> tuple[np.ndarray, np.ndarray]:
        finite = time[np.isfinite(time)]
        if np.any(finite != np.round(finite)):
            raise ValueError(
                "`RobustDescent` needs whole numbers of steps. Got "
                f"`time={finite.tolist()}`."
            )
        rates, n = self.rates, len(self.x)
        part = self.learning_rate * rates / n  # of a residual, removed by every step
        # The size of 1 - part, to the power of the number of steps, less 1.
        size = np.log1p(-np.where(part <= 1, part, 2 - part))
        power = np.where(time == 0, 0.0, time * np.where(part == 0, 0.0, size))
        power = np.where((part == 0) & np.isinf(time), 0.0, power)
        odd = (part > 1) & (np.mod(np.where(np.isinf(time), 0, time), 2) == 1)
        remaining = np.where(odd, -np.exp(power), np.exp(power))
        grown = np.where(odd, 1 + np.exp(power), -np.expm1(power)) / rates
        slow = time * self.learning_rate / n
        return remaining, np.where(rates == 0, slow, grown)


def robust_flow(
    network: AbstractLayer,
    x: ArrayLike,
    y: ArrayLike,
    *,
    regularization: float = 1.0,
    ridge: float = 0.0,
    initial: Prediction | None = None,
    memory: float = 1.0,
) -> RobustFlow:
    r"""Training with a penalty on the input gradient, in the infinite-width limit.

    The objective of kim2023, Eq. (1), with a penalty on how far the parameters move,

    $$\frac{1}{2N} \sum_i (f(x_i) - y_i)^2 + \lambda \|J(x_i)\|^2
      + \frac{\rho}{2N} \|\theta - \theta_0\|^2,$$

    minimised by gradient flow, whose solution is linear in
    $\Theta_\lambda = \Lambda \Theta \Lambda$. All times follow from one eigenvalue
    decomposition of its $N (d + 1)$ rows ($N$ if $\lambda = 0$).

    Args:
        network: Description of a fully-connected network of smooth activations, such
            as `networks.kim2023_network`.
        x: Training inputs, one per row.
        y: Targets: one number per input, or one row for several outputs, which train
            without seeing each other. Classes as +1 and -1.
        regularization: $\lambda$, between 0 and 1.
        ridge: $\rho$, not negative.
        initial: Values and gradients of the network at `x` before training; zero if
            `None`, as for a small $\kappa$.
        memory: Budget in GiB for what the kernel needs beside its numbers.

    Returns:
        The training, to be asked for values, gradients and losses at any time.

    Raises:
        ValueError: If something does not fit: targets, the start, $\lambda$,
            the network, memory.

    Example:
        >>> import numpy as np
        >>> from widelimit.networks import kim2023_network
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, -0.8]])
        >>> net = kim2023_network(depth=4, width=1)
        >>> flow = robust_flow(net, x, np.array([1.0, -1.0, 1.0]), regularization=0.1)
        >>> np.round(flow.at(x).values, 6) + 0.0
        array([ 1., -1.,  1.])

    References:
        Kim & Yang (2023), Eq. (1)-(4), https://arxiv.org/abs/2312.03386
    """
    caller = "robust_flow"
    rows = finite_inputs(caller, "x", x, "float64")
    check_rows(caller, "x", rows)
    targets = check_targets(caller, y, len(rows))
    check_regularization(caller, regularization)
    lam = float(regularization)
    check_number(caller, "ridge", ridge)
    if not 0 <= ridge < math.inf:
        raise ValueError(
            f"`{caller}` needs a finite `ridge >= 0`. Got `ridge={ridge}`."
        )
    if initial is not None:
        initial = checked_initial(caller, initial, targets.shape, rows.shape[1])
    check_room(caller, len(rows) * (rows.shape[1] + 1 if lam else 1))
    kernel = jacobian_kernel(network, rows, regularization=lam, memory=memory)
    part = "both" if lam else "value"
    values, vectors = eigen(kernel.part(part, part).dense())
    columns = targets.reshape(len(rows), -1)
    z = np.zeros((len(rows), rows.shape[1] + 1, columns.shape[1]))
    z[:, 0] = -columns
    if initial is not None:
        z[:, 0] += np.reshape(initial.values, columns.shape)
        slopes = np.reshape(initial.gradients, (*columns.shape, -1))
        z[:, 1:] = math.sqrt(lam) * np.swapaxes(slopes, 1, 2)
    z = z if lam else z[:, :1]
    return RobustFlow(
        network=network,
        x=rows,
        eigenvalues=values,
        vectors=vectors,
        coefficients=vectors.T @ z.reshape(len(values), -1),
        regularization=lam,
        ridge=float(ridge),
        single=targets.ndim == 1,
        initialized=initial is not None,
    )
