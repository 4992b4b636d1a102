"""The claims of `eigenfeatures`: what is useful, and what is robust."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from widelimit.studies.eigenfeatures_trial import DRAWN, HIGH, pearson
from widelimit.studies.kim2023_tables import title_of
from widelimit.studies.verdicts import Claim, Interval, claim_of_every, interval

if TYPE_CHECKING:
    import xarray as xr

GAP = 0.2
"""Accuracy by which one is taken to be clearly less than another."""

_ALMOST_ONE = 1 - 1e-6


def cases(results: "xr.Dataset") -> "Iterator[tuple[str, str, xr.Dataset]]":
    """Table, activation and results of every combination with a finished trial."""
    for table in results["table"].values:
        for activation in results["activation"].values:
            at = results.sel(table=table, activation=activation)
            if np.isfinite(at["depth"].values).any():
                yield str(table), str(activation), at


def penalties(at: "xr.Dataset") -> list[float]:
    r"""The $\lambda$ above zero."""
    return [float(v) for v in at["regularization"].values if v > 0]


def strengths(at: "xr.Dataset") -> list[float]:
    """The strengths of the perturbation above zero."""
    return [float(v) for v in at["strength"].values if v > 0]


def fisher(r: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    r"""Fisher's $\operatorname{artanh} r$ of correlations, finite where $r = 1$."""
    return np.arctanh(np.clip(r, -_ALMOST_ONE, _ALMOST_ONE))


def correlation(at: "xr.Dataset", lam: float, strength: float) -> Interval:
    """Mean correlation over seeds with its interval, both by Fisher's transform.

    Args:
        at: Results of a table and an activation.
        lam: The regularisation.
        strength: Of the perturbation.

    Returns:
        The interval on Fisher's scale; `np.tanh` of its ends are correlations.
    """
    return interval(_per_seed(at, "correlation", lam, strength, of=fisher))


def claims_of(results: "xr.Dataset") -> list[Claim]:
    """All claims, of every table and activation.

    Args:
        results: Those of the study.

    Returns:
        The claims.
    """
    claims = []
    for table, activation, at in cases(results):
        scope = {"table": table, "activation": activation}
        title, where = title_of(table, activation), f"[{table},{activation}]"
        for name, words, groups, detail in (
            _aligned(at),
            *(_more_aligned(at, strength) for strength in strengths(at)),
            _not_fragile(at),
            _not_inaccurate(at),
            _predictor(at),
        ):
            claims.append(
                claim_of_every(
                    f"{name}{where}",
                    f"{title}: {words}",
                    _judgeable(groups),
                    detail=f"{detail} {_setting(at)}",
                    scope=scope,
                )
            )
    return claims


Row = tuple[str, str, Mapping[Any, np.ndarray], str]


def _aligned(at: "xr.Dataset") -> Row:
    groups = {
        (lam, strength): _per_seed(at, "correlation", lam, strength, of=fisher)
        for lam in penalties(at)
        for strength in strengths(at)
    }
    return (
        "robust-aligned",
        "with Jacobian regularisation, eigenfeatures of high accuracy are robust: the "
        "two are correlated, for every lambda and perturbation.",
        groups,
        "Fisher's artanh of the correlation over eigenfeatures, of test accuracy and "
        "accuracy under the perturbation. A small step changes few signs, so a high "
        f"correlation at {strengths(at)[0]:g} says little. Correlations at "
        f"{strengths(at)[-1]:g}: {_correlations(at, penalties(at))}.",
    )


def _more_aligned(at: "xr.Dataset", strength: float) -> Row:
    standard = _per_seed(at, "correlation", 0.0, strength, of=fisher)
    groups = {
        lam: _per_seed(at, "correlation", lam, strength, of=fisher) - standard
        for lam in penalties(at)
    }
    return (
        f"more-aligned-{strength:g}",
        "Jacobian regularisation makes accuracy and robustness more correlated than "
        f"standard training, for every lambda (perturbation {strength:g}).",
        groups,
        "Fisher's artanh of the correlation with lambda less that of standard training,"
        f" on the same rows. Standard: {_told(correlation(at, 0.0, strength))}; "
        f"{_correlations(at, penalties(at), strength)}. Over the {DRAWN} largest "
        f"eigenvalues alone: standard {_leading(at, 0.0, strength)}; "
        + "; ".join(f"{lam:g}, {_leading(at, lam, strength)}" for lam in groups)
        + ".",
    )


def _not_fragile(at: "xr.Dataset") -> Row:
    groups = {
        (lam, strength): np.where(
            _per_seed(at, "high", lam, 0.0) > 0,
            GAP - _per_seed(at, "lost", lam, strength),
            np.nan,
        )
        for lam in (0.0, *penalties(at))
        for strength in strengths(at)
    }
    return (
        "none-accurate-but-fragile",
        f"no eigenfeature is highly accurate (at least {HIGH:.0%}) but less robust (by "
        f"{GAP:.0%} or more), with or without regularisation.",
        groups,
        f"{GAP:g} less the most accuracy that one of them loses. Such eigenfeatures: "
        f"{_high(at, 0.0)}. Seeds without any are left out.",
    )


def _not_inaccurate(at: "xr.Dataset") -> Row:
    groups = {
        (lam, strength): np.where(
            _per_seed(at, "high", lam, strength) > 0,
            GAP - _per_seed(at, "gained", lam, strength),
            np.nan,
        )
        for lam in (0.0, *penalties(at))
        for strength in strengths(at)
    }
    return (
        "none-robust-but-inaccurate",
        f"no eigenfeature is highly robust (at least {HIGH:.0%} under perturbation) "
        f"but less accurate (by {GAP:.0%} or more), with or without regularisation.",
        groups,
        f"{GAP:g} less the most accuracy that one of them lacks without the "
        f"perturbation. Such eigenfeatures under {strengths(at)[-1]:g}: "
        f"{_high(at, strengths(at)[-1])}. Seeds without any are left out.",
    )


def _predictor(at: "xr.Dataset") -> Row:
    strength, lam = strengths(at)[-1], penalties(at)[-1]
    under = [_per_seed(at, "predictor", one, strength) for one in (lam, 0.0)]
    clean = [_per_seed(at, "predictor", one, 0.0) for one in (lam, 0.0)]
    mean = [interval(values).mean for values in (*clean, *under)]
    return (
        "predictor-more-robust",
        "the predictor with Jacobian regularisation is more accurate than the standard "
        f"one under the perturbation {strength:g}.",
        {"": under[0] - under[1]},
        f"Difference of their accuracies: {mean[2]:.0%} and {mean[3]:.0%}; without "
        f"perturbation {mean[0]:.0%} and {mean[1]:.0%}. The perturbation is made "
        "against the standard one. At t = inf the predictor is the same for every "
        "lambda above 0. Not a claim of the paper.",
    )


def _per_seed(
    at: "xr.Dataset", name: str, lam: float, strength: float, *, of: Any = np.asarray
) -> np.ndarray:
    values = at[name].sel(regularization=lam, strength=strength)
    return of(values.values.astype(float))


def _judgeable(groups: Mapping[Any, np.ndarray]) -> Mapping[Any, np.ndarray]:
    """Groups with two seeds or more; one without any if there are none."""
    kept = {k: v for k, v in groups.items() if np.isfinite(v).sum() > 1}
    return kept or {"": np.array([np.nan])}


def _leading(at: "xr.Dataset", lam: float, strength: float) -> str:
    """The correlation over the features whose accuracies are stored."""
    one = at["feature_accuracy"].sel(regularization=lam)
    clean, under = (
        one.sel(strength=s).transpose("seed", "feature").values for s in (0.0, strength)
    )
    known = np.isfinite(clean) & np.isfinite(under)
    r = [
        pearson(u[k], v[k]) if k.any() else np.nan
        for u, v, k in zip(clean, under, known, strict=True)
    ]
    return _told(interval(fisher(np.array(r))))


def _told(found: Interval) -> str:
    low, high = np.tanh([found.low, found.high])
    return f"{np.tanh(found.mean):.2f} ({low:.2f} to {high:.2f})"


def _correlations(
    at: "xr.Dataset", lams: list[float], strength: float | None = None
) -> str:
    strength = strengths(at)[-1] if strength is None else strength
    return "; ".join(
        f"lambda = {lam:g}, {_told(correlation(at, lam, strength))}" for lam in lams
    )


def _high(at: "xr.Dataset", strength: float) -> str:
    counts = [
        f"{interval(_per_seed(at, 'high', lam, strength)).mean:.3g} of "
        f"{at['features'].sel(regularization=lam).mean().item():.0f} (lambda = {lam:g})"
        for lam in (0.0, *penalties(at))
    ]
    return ", ".join(counts)


def _setting(at: "xr.Dataset") -> str:
    depth, train, test, rows = (
        int(at[name].max())
        for name in ("depth", "train_rows", "test_rows", "table_rows")
    )
    return f"Depth {depth}; {train} training and {test} test rows of {rows}."
