"""The smallest eigenvalue of the Gram matrix against depth: du2019, App. D.1."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, PositiveInt

from widelimit.activations import Softplus
from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.du2019_depth_trial import DEPTH_TRIAL, check_rows
from widelimit.studies.du2019_settings import (
    ProblemSettings,
    name_of,
    parse,
)
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.verdicts import Claim, claim_of_every, log2, slopes

if TYPE_CHECKING:
    import xarray as xr


class DepthSettings(ProblemSettings):
    """The same at many depths, without training; a seed is a set of rows."""

    depths: tuple[PositiveInt, ...] = Field((2, 3, 4, 6, 8, 12, 16), min_length=1)
    seeds: PositiveInt = 6


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        "data": "mnist",
        "rows": 100,
        "conv_size": 7,
        "depths": (2, 3, 4, 6, 8, 12, 16, 24),
    },
    "paper": {
        "data": "mnist",
        "rows": 300,
        "conv_size": 14,
        "depths": (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for label in (str(v) for v in results["architecture"].values):
        values = results["lambda_0"].sel(architecture=label)
        if parse(label)[0] == "fully-connected":
            claims += _exponential(values, label)
        else:
            claims += _power(values, label)
    return claims


def _power(values: "xr.DataArray", label: str) -> list[Claim]:
    found = powers(values, "depth")
    return [
        _claim("inverse-square", label, near(found, -2.0),
               "lambda_0 falls as 1 / H^2 with depth.",
               f"{TOLERANCE} less |p + 2|, with p the mean power of H; p = "
               f"{told(found)}."),
        _claim("power-not-exponential", label, {"": -_misfit(values)},
               "a power of H fits lambda_0 better than an exponential.",
               "log2 of the root mean square error of log lambda_0 that a line in H "
               "leaves, over that which a line in log H leaves."),
    ]  # fmt: skip


def _exponential(values: "xr.DataArray", label: str) -> list[Claim]:
    rows = log2(values.transpose("seed", "depth").values)
    factors = np.exp2(slopes(rows, values["depth"].values))
    return [
        _claim("exponential-not-power", label, {"": _misfit(values)},
               "lambda_0 falls exponentially with depth: an exponential fits better "
               "than a power of H.",
               "log2 of the root mean square error of log lambda_0 that a line in log "
               "H leaves, over that which a line in H leaves. lambda_0 falls by the "
               f"factor {told(factors)} per layer."),
        _claim("factor-per-layer", label, near(np.log2(factors), np.log2(chi())),
               f"lambda_0 falls by the factor chi = {chi():.4f} per layer, the slope "
               "at 1 of the map of correlations.",
               f"{TOLERANCE} less |log2| of the mean factor over chi = c_sigma "
               "E[sigma'(z)^2]. Not a claim of the paper."),
    ]  # fmt: skip


def _claim(
    name: str, label: str, groups: Mapping[str, np.ndarray], words: str, detail: str
) -> Claim:
    return claim_of_every(
        f"{name}[{label}]",
        f"{name_of(label)}: {words}",
        groups,
        detail=detail,
        scope={"architecture": label},
    )


def _misfit(values: "xr.DataArray") -> np.ndarray:
    """Per seed log2 of the errors that a power of H leaves, over an exponential's."""
    rows = log2(values.transpose("seed", "depth").values)
    depths = values["depth"].values.astype(float)
    return log2(_left(rows, np.log2(depths)) / _left(rows, depths))


def _left(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Root mean square distance of each row from its line over `x`."""
    if len(x) < 3:  # two points are on a line
        return np.full(len(rows), np.nan)
    slope = slopes(rows, x)[:, None]
    rest = rows - rows.mean(axis=1, keepdims=True) - slope * (x - x.mean())
    return np.sqrt(np.mean(np.square(rest), axis=1))


def chi() -> float:
    r"""Factor $c_\sigma E[\sigma'(z)^2]$ by which inputs' distances shrink per layer.

    A fully-connected network with variances 1 maps correlations $\rho$ by $c_\sigma
    E[\sigma(u) \sigma(v)]$, whose slope at $\rho = 1$ this is. Where it is below 1,
    $1 - \rho$ falls as its powers, and with it what tells the rows of $K^{(h)}$ apart.

    Returns:
        The factor.
    """
    sigma = Softplus()
    with jax.enable_x64(True):
        one = jnp.ones(())
        return float(sigma.c_sigma * sigma.dual_derivative(one, one, one))


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    residual, scaled, dense = [], [], []
    for label in (str(v) for v in results["architecture"].values):
        values, name = results["lambda_0"].sel(architecture=label), name_of(label)
        curve = seed_curve(values, name, "depth", log=True)
        if parse(label)[0] == "fully-connected":
            x = np.asarray(curve.x, dtype=float)
            line = curve.y[-1] * chi() ** (x - x[-1])
            dense += [curve, Curve(name, x.tolist(), line.tolist(), theory=True)]
            continue
        residual += [curve, guide(curve, -2.0)]
        first = values.isel(depth=0) * int(values["depth"][0]) ** 2
        scaled.append(
            seed_curve(values * values["depth"] ** 2 / first, name, "depth", log=True)
        )
    axis = "H (hidden layers)"
    panels = (
        Panel("Residual networks", axis, "λ₀", residual, ordered=False),
        Panel("The same, times H²", axis, "H² λ₀, over its first", scaled,
              y_log=False, ordered=False),
        Panel("Fully-connected", axis, "λ₀", dense, x_log=False),
    )  # fmt: skip
    figures.append(
        Figure(
            name="depth",
            title="Smallest eigenvalue of the population Gram matrix against depth",
            caption="Dashed: H^-2 for residual networks (Prop. D.1), and the power "
            f"chi^H, chi = c_sigma E[sigma'(z)^2] = {chi():.3f}, for fully-connected "
            "ones, both through the last point. Geometric means over disjoint sets of "
            "rows, with 95 % intervals; nothing is trained.",
            panels=tuple(panel for panel in panels if panel.curves),
        )
    )
    return figures


GRAM_DEPTH = Study(
    name="gram-depth",
    title="The Gram matrix's smallest eigenvalue against depth",
    question="Does lambda_0 fall as 1 / H^2 for residual networks, and exponentially "
    "for fully-connected ones?",
    source="du2019, Sec. 4 and App. D.1, Proposition D.1.",
    settings=DepthSettings,
    presets=PRESETS,
    axes={"architecture": "architectures", "depth": "depths"},
    trial=DEPTH_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_rows,
)
"""lambda_0 from the limit alone, against H."""
