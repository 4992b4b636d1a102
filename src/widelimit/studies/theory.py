"""The bounds, at the points of the studies' grids."""

from collections.abc import Callable

import numpy as np

from widelimit.bounds import ReLUChain
from widelimit.bounds.zhu2022 import lemma5_mean_square, theorem1_rate
from widelimit.layers import Sequential
from widelimit.networks import zhu2022_network
from widelimit.studies.figure import Curve
from widelimit.studies.trial import initialization


def network_of(label: str, *, depth: int, width: int, outputs: int) -> Sequential:
    """The network of one point of the grid."""
    return zhu2022_network(
        depth=depth, width=width, outputs=outputs, **initialization(label)
    )


def root_mean_square(
    label: str, *, depth: int, width: int, features: int, outputs: int
) -> float:
    """Root of Lemma 5's mean square: an upper bound on stability at initialisation."""
    network = network_of(label, depth=depth, width=width, outputs=outputs)
    return lemma5_mean_square(network, features).stability


def theorem1_value(
    label: str, *, depth: int, width: int, features: int, outputs: int
) -> float:
    """Right side of Theorem 1 per unit radius, with its constant set to 1."""
    network = network_of(label, depth=depth, width=width, outputs=outputs)
    betas = ReLUChain.of(network, features).betas
    return float(
        theorem1_rate(
            width=width,
            depth=depth,
            outputs=outputs,
            beta_first=betas[0],
            beta_last=betas[-1],
            gamma=betas[1] * (width / 2) ** 0.5 if depth > 1 else 1.0,
        )
    )


def theory_over_width(
    bound: Callable[..., float],
    label: str,
    series: str,
    widths: np.ndarray,
    **point: int,
) -> Curve:
    """One of the bounds above along a range of widths, as a dashed curve.

    Args:
        bound: `root_mean_square` or `theorem1_value`.
        label: The initialisation.
        series: Name in the legend.
        widths: The measured widths; the curve fills the range between.
        **point: Depth, features and outputs.

    Returns:
        The curve.
    """
    fine = np.unique(np.geomspace(widths.min(), widths.max(), 48).round().astype(int))
    values = [bound(label, width=int(width), **point) for width in fine]
    return Curve(series, fine.tolist(), values, theory=True)


def theory_over_depth(
    bound: Callable[..., float],
    label: str,
    series: str,
    depths: np.ndarray,
    **point: int,
) -> Curve:
    """One of the bounds above along a range of depths, as a dashed curve.

    Args:
        bound: `root_mean_square` or `theorem1_value`.
        label: The initialisation.
        series: Name in the legend.
        depths: The measured numbers of hidden layers.
        **point: Width, features and outputs.

    Returns:
        The curve; positions are the paper's L, one more than the hidden layers.
    """
    fine = range(int(depths.min()), int(depths.max()) + 1)
    values = [bound(label, depth=depth, **point) for depth in fine]
    return Curve(series, [depth + 1 for depth in fine], values, theory=True)
