"""The proof of Theorem 3.1 with what is measured on one network."""

import math

from widelimit._checks import check_at_least, check_positive
from widelimit.bounds.base import Assumption
from widelimit.bounds.wang2022.checks import Inputs, on_sphere
from widelimit.bounds.wang2022.flip import KNOWN, MAY_TURN, Theorem31


def flip_certificate(
    *,
    features: int,
    function_value: float,
    gradient_norm: float,
    gradient_difference: float,
    delta: float,
    inputs: Inputs | None = None,
) -> Theorem31:
    r"""The proof of Theorem 3.1 for one network and input, from measured quantities.

    The step along the gradient of size $\|\delta\| = |\tilde\eta| / \|\nabla f\|$ with

    $$|\tilde\eta| = \frac{2 |f(x)|}{1 - D / \|\nabla f(x)\|}$$

    takes $f(x)$ at least to $-f(x)$, if $D$ bounds the change of the gradient within
    `delta` and the step is no longer than that. It needs no assumption on the width or
    the initialisation, and holds with certainty where $D$ does. The largest change that
    a search finds is a lower bound on $D$ (`largest_gradient_difference`): then this is
    an estimate.

    Args:
        features: $d$, for `rate`.
        function_value: $|f(x)|$.
        gradient_norm: $\|\nabla f(x)\|$.
        gradient_difference: $D$.
        delta: The radius within which $D$ is the largest change.
        inputs: The input, one row, to check its norm.

    Returns:
        The size, infinite if $D$ is no less than the gradient's norm.

    Raises:
        ValueError: If a number is negative or not finite.

    Assumes:
        - The size is at most `delta`, and $D$ below the gradient's norm: checked.
        - $D$ is the largest change: declared.
        - Unit norm, for `vacuous` only: checked on `inputs`, else declared.

    Constant:
        That of `rate`.

    References:
        wang2022, proof of Theorem 3.1 in App. B.
    """
    caller = "flip_certificate"
    numbers = {
        "function_value": function_value,
        "gradient_norm": gradient_norm,
        "gradient_difference": gradient_difference,
        "delta": delta,
    }
    for name, number in numbers.items():
        check_at_least(caller, name, number, 0)
        check_positive(caller, f"1 + {name}", 1 + number)  # finite
    room = gradient_norm - gradient_difference
    size = 2 * function_value / room if room > 0 else math.inf
    detail = f"{gradient_difference:.6g} against {gradient_norm:.6g}"
    return Theorem31(
        name="Theorem 3.1, measured",
        source="wang2022, proof of Theorem 3.1",
        kind="upper",
        quantity="size of a gradient step that flips the sign",
        value=size,
        assumptions=(
            on_sphere(caller, inputs, features),
            Assumption.checked(
                "the gradient changes less than it is", room > 0, detail
            ),
            Assumption.checked(
                "the size is within the radius of the search",
                size <= delta,
                f"{size:.6g} against {delta:.6g}",
            ),
            Assumption.declared("no larger change of the gradient was missed"),
        ),
        constants=("the constant of `rate`",),
        vacuous=size >= 1,
        reason=KNOWN if room > 0 else MAY_TURN,
        rate=1 / math.sqrt(features),
        function_value=float(function_value),
        gradient_norm=float(gradient_norm),
        gradient_difference=float(gradient_difference),
        eta_tilde=size * gradient_norm if room > 0 else math.inf,
        step_size=size / gradient_norm if room > 0 else math.inf,
        probability=math.nan,
    )
