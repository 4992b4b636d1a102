"""What the pages of the studies on images share: curves, classes and pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.curves import (
    STABILITY,
    accuracy_panel,
    last,
    seed_curve,
    stability_curve,
)
from widelimit.studies.figure import Bars, Figure, Panel, Picture, Pictures
from widelimit.studies.pictures import LEVELS
from widelimit.studies.verdicts import interval

if TYPE_CHECKING:
    import xarray as xr

MOST_CLASSES = 12
"""So many are shown; of more, the half least and the half most sensitive."""

Groups = Sequence[tuple[str, "xr.Dataset"]]


def training_figure(
    groups: Groups, *, name: str, title: str, legend: str, ordered: bool = False
) -> Figure:
    """Loss and accuracy while networks train.

    Args:
        groups: Of every series its name and results, without axes of the grid.
        name: Of the figure.
        title: What is trained.
        legend: What the series are.
        ordered: Whether they have an order.

    Returns:
        The figure.
    """
    labels: dict[str, Any] = {"x_log": False, "legend": legend, "ordered": ordered}
    loss = [seed_curve(at["train_loss"], n, "train_epoch") for n, at in groups]
    fit = [seed_curve(at["fit_accuracy"], n, "epoch", share=True) for n, at in groups]
    test = [seed_curve(at["accuracy"], n, "epoch", share=True) for n, at in groups]
    y = "share of rows that are right"
    return Figure(
        name=f"{name}-training",
        title=f"Training, {title}",
        caption="Means over seeds with 95 % intervals. The loss is that of the batches "
        "of an epoch; accuracies, with Wilson's intervals, are of the network as it "
        "evaluates.",
        panels=(
            Panel("Training loss", "epoch", "mean loss of the epoch", loss, **labels),
            Panel("Training accuracy", "epoch", y, fit, y_log=False, **labels),
            Panel("Test accuracy", "epoch", y, test, y_log=False, **labels),
        ),
    )


def classes_panel(groups: Groups, *, legend: str = "") -> Bars:
    """Stability by the class of the test images, after training.

    Args:
        groups: Of every series its name and results, without axes of the grid.
        legend: What the series are.

    Returns:
        The panel, most sensitive classes first.
    """
    first = groups[0][1]["class_stability"].mean("seed")
    ordered = first.dropna("label").sortby(first, ascending=False)["label"].values
    title = "By class of the image"
    if len(ordered) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        ordered = np.concatenate([ordered[:half], ordered[-half:]])
        title += f": the {half} highest and the {half} lowest"
    bars = []
    for name, at in groups:
        found = [
            interval(at["class_stability"].sel(label=label).values) for label in ordered
        ]
        ends = [(f.low, f.high) for f in found]
        bars.append((name, [f.mean for f in found], ends))
    return Bars(
        title, "class", STABILITY, [str(v) for v in ordered], bars, legend=legend
    )


def sensitivity_figure(
    groups: Groups, *, name: str, title: str, legend: str, radius: float
) -> Figure:
    """Stability by class, and images with their most damaging direction.

    Args:
        groups: Of every series its name and results, without axes of the grid; pictures
            are of the first.
        name: Of the figure.
        title: Which networks.
        legend: What the series are.
        radius: Of the ball of the pictures, as a share of the image's norm.

    Returns:
        The figure; without images if none was kept.
    """
    first, at = groups[0]
    pictures = _pictures_panel(at, f"{first}, first seed", radius=radius)
    caption = "Means over seeds with 95 % intervals, over the images of each class."
    if pictures:
        caption += " " + _pictures_caption(at, radius)
    return Figure(
        name=name,
        title=f"Where the network is sensitive, {title}",
        caption=caption,
        panels=(
            classes_panel(groups, legend=legend),
            *([pictures] if pictures else []),
        ),
    )


def radius_of(results: "xr.Dataset") -> float:
    """The radius of the pictures' ball, as a share of the image's norm."""
    return float(results.attrs.get("picture_radius", 0.1))


def width_panels(
    groups: Groups, title: str, *, legend: str, ordered: bool = True
) -> tuple[Panel, Panel, Panel]:
    """Stability after training and at initialisation, and accuracy, against width.

    Args:
        groups: Of every series its name and results, with the axis `width` left.
        title: Of the axis.
        legend: What the series are.
        ordered: Whether they have an order.

    Returns:
        The panels.
    """
    labels: dict[str, Any] = {"legend": legend, "ordered": ordered}
    ends = [(name, last(at)) for name, at in groups]
    starts = [(name, at.isel(epoch=0)) for name, at in groups]

    def stability(text: str, rows: Groups) -> Panel:
        curves = [stability_curve(at, name, "width") for name, at in rows]
        return Panel(text, title, STABILITY, curves, **labels)

    return (
        stability("After training", ends),
        accuracy_panel(ends, "width", **labels | {"x_title": title}),
        stability("At initialisation", starts),
    )


def _pictures_panel(at: "xr.Dataset", title: str, *, radius: float) -> Pictures | None:
    """Test images, the most damaging direction, and their sum.

    Args:
        at: Results of one point of the grid.
        title: Above the images.
        radius: Of the ball, as a share of the image's norm.

    Returns:
        The panel; `None` if no picture was kept.
    """
    if "picture" not in at or not np.isfinite(at["picture_peak"].values).any():
        return None
    at = at.dropna("shown", subset=["picture_peak"])
    rows = []
    for number in range(at.sizes["shown"]):
        one = at.isel(shown=number)
        pixels, step = (_image(one[name]) for name in ("picture", "picture_step"))
        peak = float(one["picture_peak"])
        summed = np.clip(pixels / 255 + peak * step / LEVELS, 0, 1)
        label, before, after = (
            str(one[f"picture_{name}"].values) for name in ("label", "before", "after")
        )
        rows.append(
            (
                Picture(_bytes(pixels / 255), f"{label}, seen as {before}",
                        f"Test image of class {label}, classified as {before}."),
                Picture(_bytes(0.5 + 0.5 * step / LEVELS), f"largest entry {peak:.2g}",
                        "The most damaging perturbation within a ball of "
                        f"{radius:.0%} of the image's norm; grey is no change. Its "
                        f"largest entry is {peak:.2g} of the range of pixels."),
                Picture(_bytes(summed), f"seen as {after}",
                        f"The sum of both, classified as {after}."),
            )
        )  # fmt: skip
    columns = ("image", "worst direction", "sum")
    return Pictures(title, columns, rows)


def _pictures_caption(at: "xr.Dataset", radius: float) -> str:
    """What there is to say of the pictures.

    Args:
        at: Results of one point of the grid.
        radius: Of the ball, as a share of the image's norm.

    Returns:
        Two sentences.
    """
    gains = at["picture_gain"].values.astype(float)
    gains = gains[np.isfinite(gains)]
    factors = ", ".join(f"{gain:.2g}" for gain in gains)
    return (
        "Images: the first right singular vector of the input Jacobian, as long as "
        f"{radius:.0%} of the image's norm (before clipping to the range of pixels), "
        "drawn with its largest entry as black or white. It changes the outputs "
        f"{factors} times as much as a random perturbation in the ball does on average."
    )


def _image(values: "xr.DataArray") -> np.ndarray:
    """Rows, columns and channels of one image, without those of larger ones."""
    kept = values
    for name in ("row", "column", "channel"):
        kept = kept.dropna(name, how="all")
    return kept.transpose("row", "column", "channel").values.astype(float)


def _bytes(shares: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)
