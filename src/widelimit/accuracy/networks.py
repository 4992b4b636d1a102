"""Networks of which kernels are compared, in the library's form and in mpmath."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mpmath
import numpy as np

from widelimit.accuracy import cases, recursion
from widelimit.accuracy.real import Real
from widelimit.accuracy.recursion import State
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Dense,
    Parameterization,
    Residual,
    Scale,
    Sequential,
)


@dataclass(frozen=True)
class Network:
    """A family of networks of any depth.

    Args:
        kind: `"plain"`, `"du2019"` (branches added behind the activation, so that
            features keep a mean) or `"branch"` (branches that end in a dense layer).
        activation: Name of the activation's class.
        weight_std: Of every dense layer.
        bias_std: Of every dense layer; 0 for none.
        float64: Depths that are compared in float64.
        float32: Depths that are compared in float32.
        few: Whether only few pairs of inputs are, because the reference is slow.
    """

    kind: str
    activation: str
    weight_std: float
    bias_std: float
    float64: tuple[int, ...]
    float32: tuple[int, ...]
    few: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        layers = {"plain": "", "du2019": "du2019 residual ", "branch": "residual "}
        biases = f"biases {self.bias_std:g}" if self.bias_std else "no biases"
        weights = f"weights {self.weight_std:g}"
        return f"{layers[self.kind]}{self.activation} network, {weights}, {biases}"

    @property
    def case(self) -> cases.Case:
        """The activation with its reference."""
        return _cases()[self.activation]

    @property
    def smooth(self) -> bool:
        """Whether its activation is."""
        return self.case.activation.smooth

    def depths(self, precision: str) -> tuple[int, ...]:
        """Depths that are compared in a precision."""
        return {"float64": self.float64, "float32": self.float32}[precision]

    def pairs(self, precision: str) -> "Inputs":
        """Pairs of inputs that are compared in a precision."""
        return input_pairs(precision, self.few, self.smooth)

    def library(self, depth: int) -> Sequential:
        """The network with that many hidden layers (or blocks).

        Args:
            depth: Number of hidden layers.

        Returns:
            Its description.
        """
        phi, hidden = Activation(self.case.activation), self._dense()
        if self.kind == "plain":
            return Sequential(((hidden, phi) * depth) + (hidden,))
        if self.kind == "du2019":
            block: AbstractLayer = Sequential((hidden, phi, Scale(FACTOR)))
        else:
            block = Sequential((phi, hidden))
        first = (hidden, phi) if self.kind == "du2019" else (hidden,)
        return Sequential((*first, *(Residual(block),) * depth, hidden))

    def _dense(self) -> Dense:
        return Dense(
            1,
            self.weight_std,
            self.bias_std or None,
            parameterization=Parameterization.NTK,
        )

    def reference(
        self,
        start: State,
        depths: tuple[int, ...],
        behind: Callable[[State], State] = lambda s: s,
    ) -> Iterator[State]:
        """States of the output for networks of growing depth.

        Args:
            start: State of the inputs.
            depths: Numbers of hidden layers, in increasing order.
            behind: Applied to the state behind every layer.

        Yields:
            One state for each depth.
        """
        partials, mean = self.case.partials, None
        if self.kind == "du2019":
            mean = MEANS[self.activation]

        def dense(s: State) -> State:
            return behind(recursion.dense(s, self.weight_std, self.bias_std))

        def activate(s: State) -> State:
            return behind(recursion.activate(s, partials, mean))

        state = behind(start)
        if self.kind == "du2019":
            state = activate(dense(state))
        elif self.kind == "branch":
            state = dense(state)
        for depth in range(1, max(depths) + 1):
            if self.kind == "plain":
                state = activate(dense(state))
            elif self.kind == "du2019":
                branch = recursion.scale(activate(dense(state)), FACTOR)
                state = behind(recursion.add(state, branch))
            else:
                state = behind(recursion.add(state, dense(activate(state))))
            if depth in depths:
                yield dense(state)


FACTOR = 0.3  # of du2019's branches


def networks() -> tuple[Network, ...]:
    """The networks of the table."""
    plain = [("ReLU", 2**0.5), ("Erf", 1.3), ("GELU", 1.5), ("Sine", 1.2)]
    found = []
    for name, weight in plain:
        found.append(Network("plain", name, weight, 0.0, (1, 10, 100), (100,)))
        found.append(Network("plain", name, weight, 0.3, (3, 30, 100), (10,)))
    return (
        *found,
        Network("plain", "ReLU", 1.0, 0.0, (100,), (100,)),
        Network("plain", "LeakyReLU", 1.4, 0.0, (1, 100), (10,)),
        Network("plain", "LeakyReLU", 1.4, 0.3, (30,), (3,)),
        Network("plain", "Abs", 1.0, 0.0, (10,), (100,)),
        Network("plain", "Abs", 1.0, 0.3, (3, 100), (30,)),
        Network("plain", "Tanh", 1.1, 0.3, (1, 3), (3,), few=True),
        Network("du2019", "GELU", 1.0, 0.0, (1, 10, 100), (10,)),
        Network("du2019", "Softplus", 1.0, 0.0, (1, 3), (3,), few=True),
        Network("branch", "ReLU", 0.7, 0.3, (3, 30), (30,)),
        Network("branch", "Erf", 0.7, 0.0, (3, 30), (30,)),
    )


@functools.cache
def _cases() -> dict[str, cases.Case]:
    # The first of a class: later ones are variants.
    found: dict[str, cases.Case] = {}
    for case in cases.cases():
        found.setdefault(type(case.activation).__name__, case)
    return found


def _gelu_mean(q: Real) -> tuple[Real, Real]:
    r"""$q / \sqrt{2\pi(1+q)}$, and its derivative."""
    value = q / mpmath.sqrt(2 * mpmath.pi * (1 + q))
    return value, value * (1 / q - 1 / (2 * (1 + q)))


def _softplus_mean(q: Real) -> tuple[Real, Real]:
    from widelimit.accuracy import means

    return means.mean(_cases()["Softplus"].function, q)


MEANS: dict[str, Callable[[Real], tuple[Real, Real]]] = {
    "GELU": _gelu_mean,
    "Softplus": _softplus_mean,
}


@dataclass(frozen=True)
class Inputs:
    """Pairs of inputs, exactly as given to the library.

    Args:
        places: What is hard about each pair.
        first: First inputs, one per row.
        second: Second inputs.
        along: Directions in which the first ones move, of their size.
    """

    places: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    along: np.ndarray


@functools.cache
def input_pairs(precision: str, few: bool, smooth: bool) -> Inputs:
    """The pairs for one precision.

    Args:
        precision: `"float64"` or `"float32"`.
        few: Whether only a few are wanted.
        smooth: Whether they are for a smooth activation, which has no extreme norms.

    Returns:
        The pairs.
    """
    x = np.array([0.7, -0.4, 1.1, 0.2, -0.9])
    other = np.array([0.5, 0.8, -0.3, 1.2, 0.1])
    away = np.array([0.3, 0.9, -0.5, 0.4, 0.6])
    along = np.array([0.2, -0.5, 0.3, 0.8, 0.4])
    pairs = {
        "generic": (1.0, x, other),
        "parallel": (1.0, x, 2 * x),
        "opposite": (1.0, x, -x),
        "distance 1e-3": (1.0, x, x + 1e-3 * away),
        "distance 1e-8": (1.0, x, x + 1e-8 * away),
    }
    if not few:
        pairs |= {"coincident": (1.0, x, x)}
        for k in range(4, 8):
            pairs[f"distance 1e-{k}"] = (1.0, x, x + 10.0**-k * away)
        pairs |= {
            "distance 1e-3 from the opposite": (1.0, x, -x - 1e-3 * away),
            "distance 1e-6 from the opposite": (1.0, x, -x - 1e-6 * away),
            "norms 1e-4": (1e-4, 1e-4 * x, 1e-4 * other),
            "norms 1e4": (1e4, 1e4 * x, 1e4 * other),
            "norms 1e-4 and 1e4": (1e-4, 1e-4 * x, 1e4 * other),
        }
    if not smooth and precision == "float64":
        pairs |= {
            "norms 1e-100": (1e-100, 1e-100 * x, 1e-100 * other),
            "norms 1e100": (1e100, 1e100 * x, 1e100 * other),
        }
    rows = pairs.values()
    return Inputs(
        tuple(pairs),
        np.array([x for _, x, _ in rows], precision),
        np.array([y for _, _, y in rows], precision),
        np.array([size * along for size, _, _ in rows], precision),
    )
