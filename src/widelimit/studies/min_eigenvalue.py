"""Where kim2023's Assumption 8 begins to hold: smallest eigenvalues against depth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt, field_validator

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.kim2023_tables import (
    ACTIVATIONS,
    TABLES,
    Depth,
    TableSettings,
)
from widelimit.studies.min_eigenvalue_claims import (
    JACOBIAN,
    NTK,
    SINGLE,
    WORDS,
    cases,
    claims_of,
)
from widelimit.studies.min_eigenvalue_trial import MIN_EIGENVALUE_TRIAL, check_parts

if TYPE_CHECKING:
    import xarray as xr

KERNELS = {NTK: "NTK", JACOBIAN: "Jacobian NTK"}


class MinEigenvalueSettings(TableSettings):
    """The same at many depths; a seed is a part of the table's rows.

    Attributes:
        depths: Numbers of hidden layers, ascending.
    """

    depths: tuple[Depth, ...] = Field(tuple(range(1, 13)), min_length=1)
    seeds: PositiveInt = 4

    @field_validator("depths")
    @classmethod
    def _ascending(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(depths)) != list(depths):
            raise ValueError("depths must rise")
        return depths


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"tables": ("algerian-forest-fires",), "size": 1200},
    "laptop": {"size": 3000},
    "paper": {"depths": tuple(range(1, 17))},
}


def _figures(results: "xr.Dataset") -> list[Figure]:
    by_table: dict[str, list[tuple[str, xr.Dataset]]] = {}
    for table, activation, at in cases(results):
        by_table.setdefault(table, []).append((activation, at))
    return [_figure(table, found) for table, found in by_table.items()]


def _figure(table: str, found: "list[tuple[str, xr.Dataset]]") -> Figure:
    whole, ratio, parts = [], [], []
    for activation, at in found:
        for kernel, name in KERNELS.items():
            series = f"{name}, {ACTIVATIONS[activation]}"
            one = at.sel(kernel=kernel)
            depths = one["depth"].values.tolist()
            least, error = one["whole"], one["whole_error"]
            notes = [WORDS.get(v, "?") for v in one["whole_verdict"].values.tolist()]
            whole.append(
                Curve(
                    series,
                    depths,
                    least.values.tolist(),
                    (least - error).values.tolist(),
                    (least + error).values.tolist(),
                    notes=notes,
                )
            )
            times = (least / error).values.tolist()
            ratio.append(Curve(series, depths, times, notes=notes))
            positive = one["part"].where(one["part"] > 0)
            parts.append(seed_curve(positive, series, "depth", log=True))
    depths = found[0][1]["depth"].values.tolist()

    def level(series: str, value: float) -> Curve:
        return Curve(series, depths, [value] * len(depths), theory=True)

    threshold = float(found[0][1]["threshold"].max())
    rows = [int(at["rows"].max()) for _, at in found]
    every = [int(at["table_rows"].max()) for _, at in found]
    part = [int(at["part_rows"].max()) for _, at in found]
    axis = "depth (hidden layers)"
    labels: Any = {"x_log": False, "ordered": False}
    return Figure(
        name=table,
        title=f"Smallest eigenvalues against depth, {TABLES[table]}",
        caption=f"Rows used: {_joined(rows)} of {_joined(every)}. Left: bands are the "
        f"bounds on the errors; dashed, {threshold:g}, above which eigenvalues count "
        "as positive by what seems to be the paper's criterion. Middle: the "
        "eigenvalue over the bound on its error; above the lower dashed line it is "
        "known to be positive, and in single precision it would be above the upper "
        f"one. Right: geometric means over parts of {_joined(part)} rows without "
        "overlap, with 95 % intervals. What is not positive is left out. Nothing is "
        "trained.",
        panels=(
            Panel("Rows used", axis, "smallest eigenvalue",
                  [*whole, level(f"{threshold:g}", threshold)], **labels),
            Panel("What is known of its sign", axis, "eigenvalue / bound on its error",
                  [*ratio, level("float64", 1.0), level("float32", SINGLE)], **labels),
            Panel("Parts of the rows", axis, "smallest eigenvalue", parts, **labels),
        ),
    )  # fmt: skip


def _joined(numbers: list[int]) -> str:
    return " or ".join(map(str, dict.fromkeys(numbers)))


MIN_EIGENVALUE = Study(
    name="min-eigenvalue",
    title="The smallest eigenvalue of the Jacobian NTK against depth",
    question="From which depth on is the Gram matrix of the Jacobian NTK positive "
    "definite (Assumption 8), by which criterion, and how does it compare with the "
    "NTK's?",
    source="kim2023, Assumption 8, Sec. 5.3, Fig. 6, B7 and B8.",
    settings=MinEigenvalueSettings,
    presets=PRESETS,
    axes={"table": "tables", "activation": "activations", "depth": "depths"},
    trial=MIN_EIGENVALUE_TRIAL,
    claims=claims_of,
    figures=_figures,
    demo=False,
    check=check_parts,
)
"""Smallest eigenvalues from the limit alone, against depth."""
