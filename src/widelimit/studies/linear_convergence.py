"""Gradient descent against du2019's rate, Theorems 3.1, 4.1 and 5.1."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.du2019_curves import cases, over_steps, some_steps, title_of
from widelimit.studies.du2019_rates import (
    claimed,
    known,
    log,
    since,
    slowest,
    theorem,
)
from widelimit.studies.du2019_settings import AXES, PRESETS, DescentSettings
from widelimit.studies.du2019_trial import TRIAL, check
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.verdicts import Claim, every_seed, interval, judge, log2

if TYPE_CHECKING:
    import xarray as xr


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for label, depth, at in cases(results):
        scope = {"architecture": label, "depth": depth}
        for name, words, statistics, told in (
            _condition(at, label),
            _eigenvalue(at),
            _rate(at),
            _whole(at),
        ):
            widths = at["width"].values
            found, holds = every_seed(statistics[:, -1])
            claims.append(
                Claim(
                    name=f"{name}[{label},H={depth}]",
                    statement=f"{title_of(label, depth)}: {words}",
                    statistic=found.mean,
                    uncertainty=found.half_width,
                    holds=holds,
                    detail=f"{told} At width {widths[-1]}, the widest; "
                    f"{since(statistics, widths)}.",
                    scope={**scope, "width": int(widths[-1])},
                )
            )
        claims.append(_lazy(at, label, depth))
    return claims


Row = tuple[str, str, np.ndarray, str]


def _condition(at: "xr.Dataset", label: str) -> Row:
    last = at.isel(width=-1)
    later = at.isel(step=slice(1, None))
    fall = later["loss"] / at["loss"].isel(step=0)
    steps = -log(fall) / (later["step"] * claimed(at))
    let = -np.expm1(-claimed(at) * float(at["step"][-1]))
    return (
        "condition-6.1",
        "Condition 6.1 holds at every step, L(k) <= (1 - eta lambda_0 / 2)^k L(0).",
        log2(steps.min("step", skipna=False).transpose("seed", "width").values),
        "log2 of the least ratio over steps of log(L(0) / L(k)) to -k log(1 - eta "
        f"lambda_0 / 2). Over all steps the bound falls by {let:.2g} of the first "
        f"loss, and the loss to {float(fall.isel(width=-1, step=-1).mean()):.2g} of "
        f"it. {theorem(last, label)}",
    )


def _eigenvalue(at: "xr.Dataset") -> Row:
    least = at["smallest"].min("step", skipna=False).transpose("seed", "width")
    return (
        "smallest-eigenvalue",
        "the smallest eigenvalue of G^(H)(k) stays above lambda_0 / 2.",
        log2(2 * least.values / known(at["lambda_0"])),
        "log2 of the least one over steps, over lambda_0 / 2 = "
        f"{known(at['lambda_0']) / 2:.2g}.",
    )


def _rate(at: "xr.Dataset") -> Row:
    bound = claimed(at)
    return (
        "rate",
        "the slowest step is at least as fast as the theorem says.",
        log2(slowest(at).values / bound),
        "log2 of the slowest step's rate, -log(L(k+1) / L(k)), over -log(1 - eta "
        f"lambda_0 / 2) = {bound:.2g}.",
    )


def _whole(at: "xr.Dataset") -> Row:
    start = at["smallest_total"].isel(step=0).transpose("seed", "width").values
    bound = -2 * np.log1p(-known(at["step_size"]) * start)
    return (
        "rate-of-all-layers",
        "the slowest step is at least as fast as the smallest eigenvalue of the whole "
        "G(0), all layers together, says.",
        log2(slowest(at).values / bound),
        "log2 of the slowest step's rate over -2 log(1 - eta lambda_min(G(0))), which "
        f"is {interval(bound[:, -1]).mean:.2g}.",
    )


def _lazy(at: "xr.Dataset", label: str, depth: int) -> Claim:
    last = at.isel(width=-1)
    ratio = (last["loss"] / last["linear_loss"]).isel(step=-1)
    found = interval(1 - np.abs(log2(ratio.values)))
    return Claim(
        name=f"linearised[{label},H={depth}]",
        statement=f"{title_of(label, depth)}: the network linearised at its start, "
        "with the whole G(0), predicts the last loss within a factor of 2.",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=judge(found),
        detail="1 less |log2| of measured over predicted loss, at width "
        f"{int(last['width'])}, the widest; not a claim of the paper.",
        scope={"architecture": label, "depth": depth, "width": int(last["width"])},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for label, depth, at in cases(results):
        steps = some_steps(int(results["step"].max()))
        some = at.sel(step=steps)
        eta, lambda_0 = known(at["step_size"]), known(at["lambda_0"])
        least = known(at["ntk_smallest"])
        widths = at["width"].values
        wide = some.isel(width=-1)
        start = at["loss"].sel(step=0)
        loss = [
            seed_curve((some["loss"] / start).sel(width=w), str(w), "step", log=True)
            for w in widths
        ]
        linear = log(wide["linear_loss"] / start.isel(width=-1)).mean("seed").values
        theory = [
            over_steps("linearised", steps, np.exp(linear)),
            over_steps("all layers", steps, (1 - eta * least) ** (2.0 * steps)),
            over_steps("Cond. 6.1", steps, (1 - eta * lambda_0 / 2) ** steps),
        ]
        relative = [
            seed_curve((some["smallest"] / lambda_0).sel(width=w), str(w), "step")
            for w in widths
        ]
        half = over_steps("λ₀ / 2", steps, np.full(len(steps), 0.5))
        rate = slowest(at)
        falls = rate.where((rate > 0).all("seed"))
        rates = [
            seed_curve(falls, "slowest step", "width", log=True),
            _level("all layers", widths, -2 * np.log1p(-eta * least)),
            _level("Cond. 6.1", widths, claimed(at)),
        ]
        figures.append(
            Figure(
                name=f"{label.replace(':', '-')}-{depth}",
                title=f"Gradient descent, {title_of(label, depth)}",
                caption="Dashed: Condition 6.1, the rate of the theorem, from the last "
                f"layer's K^(H) alone (lambda_0 = {lambda_0:.2g}, eta = {eta:.2g}); "
                "all layers, the rate of the smallest eigenvalue of the limit of G = "
                "sum of G^(h); linearised, the widest networks linearised at their "
                "start. Means over seeds (of logarithms, for losses and rates) with "
                "95 % intervals; a width at which some loss rose has no slowest step.",
                panels=(
                    Panel("Loss", "step", "L(k) / L(0)", [*loss, *theory],
                          x_log=False, legend="width"),
                    Panel("Smallest eigenvalue of G^(H)", "step",
                          "λ_min(G^(H)(k)) / λ₀", [*relative, half],
                          x_log=False, y_log=False, legend="width"),
                    Panel("Rate of the slowest step", "width",
                          "−log(L(k+1) / L(k))", rates, ordered=False),
                ),
            )
        )  # fmt: skip
    return figures


def _level(series: str, widths: np.ndarray, value: float) -> Curve:
    return Curve(series, widths.tolist(), [value] * len(widths), theory=True)


LINEAR_CONVERGENCE = Study(
    name="linear-convergence",
    title="Gradient descent at du2019's rate",
    question="Does the training loss of wide networks fall by (1 - eta lambda_0 / 2) a "
    "step, for fully-connected, residual and convolutional residual networks?",
    source="du2019, Theorems 3.1, 4.1 and 5.1, Condition 6.1, Sec. 6.",
    settings=DescentSettings,
    presets=PRESETS,
    axes=AXES,
    trial=TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check,
)
"""Loss, and the smallest eigenvalue of G^(H), step by step."""
