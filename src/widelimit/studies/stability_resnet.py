"""Perturbation stability of residual networks against width and depth."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import (
    at_peak,
    last,
)
from widelimit.studies.figure import Figure
from widelimit.studies.image_curves import (
    radius_of,
    sensitivity_figure,
    training_figure,
    width_panels,
)
from widelimit.studies.image_settings import ResidualSettings
from widelimit.studies.image_trial import check_images
from widelimit.studies.verdicts import Claim, every, log2, rises_then_falls

if TYPE_CHECKING:
    import xarray as xr


def title_of(network: str) -> str:
    """The network's name for readers, such as `ResNet-18`."""
    return network.replace("resnet", "ResNet-")


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for when, epoch in (("before", 0), ("after", -1)):
        values = results["stability"].isel(epoch=epoch)
        if values.sizes["network"] > 1:
            claims.append(_depth(values, when))
    values = last(results)["stability"]
    claims += [_phase(values, str(name)) for name in results["network"].values]
    return claims


def _depth(values: "xr.DataArray", when: str) -> Claim:
    ordered = sorted(map(str, values["network"].values), key=_layers)
    groups = {}
    for width in values["width"].values:
        at = log2(values.sel(width=width).transpose("seed", "network").values)
        places = [list(values["network"].values).index(name) for name in ordered]
        for low, high in zip(places, places[1:], strict=False):
            groups[float(width), low] = at[:, high] - at[:, low]
    found, holds, group = every(groups)
    told = ", ".join(
        f"{width:.3g}: {np.nanmean(v):.2g}" if np.isfinite(v).any() else f"{width:.3g}"
        for (width, _), v in groups.items()
    )
    return Claim(
        f"grows-with-depth-{when}-training",
        f"{when.capitalize()} training, stability grows with depth at every width: "
        f"{' < '.join(map(title_of, ordered))}.",
        found.mean, found.half_width, holds,
        detail="log2 of the ratio of P, deeper over shallower, at the width factor "
        f"that decides, {group[0]:.3g}. By width factor: {told}.",
        scope={"when": when},
    )  # fmt: skip


def _layers(network: str) -> int:
    return int(network.removeprefix("resnet"))


def _phase(values: "xr.DataArray", network: str) -> Claim:
    rows = values.sel(network=network).transpose("seed", "width").values
    found, holds, peak = rises_then_falls(log2(rows))
    where = at_peak(values["width"].values, peak)
    return Claim(
        f"{network}-rises-then-falls",
        f"{title_of(network)}: stability rises, then falls with the width factor.",
        found.mean, found.half_width, holds,
        detail="The smaller of log2 P(peak) / P(ends) after training, "
        f"{where}. The paper calls this phase transition insignificant.",
        scope={"network": network},
    )  # fmt: skip


def _figures(results: "xr.Dataset") -> list[Figure]:
    names = sorted(map(str, results["network"].values), key=_layers)
    groups = [(title_of(name), results.sel(network=name)) for name in names]
    widest = [(name, at.isel(width=-1)) for name, at in groups]
    title = f"width factor {float(results['width'].values[-1]):.3g}"
    return [
        Figure(
            name="width",
            title="Stability and width, residual networks",
            caption="Perturbation stability per unit radius, in the units of the "
            "inputs as the network takes them, exact per test image, with the running "
            "statistics of batch normalisation; larger is less robust. Bands: 95 %, "
            "over seeds and images. At initialisation the statistics are those that no "
            "data have touched: mean 0 and variance 1.",
            panels=width_panels(
                groups, "width factor", legend="network", ordered=False
            ),
        ),
        training_figure(widest, name="width", title=title, legend="network"),
        sensitivity_figure(
            widest,
            name="images",
            title=title,
            legend="network",
            radius=radius_of(results),
        ),
    ]


STABILITY_RESNET = Study(
    name="stability-resnet",
    title="Width and depth of residual networks",
    question="Does the stability of ResNets grow with depth, and does it rise and fall "
    "with width?",
    source="zhu2022, Fig. 8, App. E.4.",
    settings=ResidualSettings,
    presets={
        "quick": {
            "networks": ("resnet8", "resnet20"), "widths": (0.25, 0.5, 1.0),
            "epochs": 5, "seeds": 3, "train_rows": 320, "test_rows": 200,
            "batch_size": 32,
        },
        "laptop": {
            "data": "cifar10", "size": 16, "widths": (1 / 32, 1 / 16, 1 / 8, 1 / 4),
            "seeds": 3, "train_rows": 1280, "test_rows": 500, "epochs": 10,
        },
        "paper": {
            "data": "cifar10", "widths": (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0),
            "seeds": 5, "train_rows": None, "stability_rows": 1000,
        },
    },
    axes={"network": "networks", "width": "widths"},
    trial="widelimit.studies.image_trial:train_on_images",
    claims=_claims,
    figures=_figures,
    check=check_images,
    demo=False,
)  # fmt: skip
