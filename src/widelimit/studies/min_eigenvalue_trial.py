"""The trial of `min-eigenvalue`: the smallest eigenvalues of one network on a table."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from widelimit.kernels import Verdict, jacobian_kernel, spectrum, why_singular
from widelimit.kernels.spectrum_result import Spectrum
from widelimit.layers import AbstractLayer
from widelimit.studies.kim2023_tables import drawn_rows, network_of, prepared

if TYPE_CHECKING:
    import xarray as xr

MIN_EIGENVALUE_TRIAL = "widelimit.studies.min_eigenvalue_trial:smallest_eigenvalues"

KERNELS = ("ntk", "jacobian-ntk")

VERDICTS: Mapping[Verdict, int] = {
    Verdict.HOLDS: 1,
    Verdict.UNRESOLVED: 0,
    Verdict.FAILS: -1,
}
"""How a verdict is stored."""


def smallest_eigenvalues(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    """Smallest eigenvalues of the NTK and the Jacobian NTK, of a table and its parts.

    A seed stands for a part: the rows, in a random order, are cut into as many parts of
    one size as there are seeds, without overlap.

    Args:
        config: One point of the study's grid; `studies.kim2023_tables` says what is in
            it.
        report: Called with the share done.

    Returns:
        Per kernel `whole` (the smallest eigenvalue of all rows), `whole_error` (a bound
        on its error), `whole_verdict` and the `largest` eigenvalue; per kernel and seed
        `part`, `part_error` and `part_verdict`; the number of `rows`, of rows of the
        table (`table_rows`) and of each part (`part_rows`), the number of `features`
        and the `threshold`. A verdict is 1 (holds), 0 (cannot be resolved) or -1
        (fails).
    """
    import xarray as xr

    table = prepared(config["table"], config["activation"])
    n, d = table.x.shape
    x = table.x[drawn_rows(n, d, config["size"])]
    network = network_of(config["activation"], config["depth"])
    seeds = list(config["seeds"])
    matrix = np.asarray(jacobian_kernel(network, x).dense())
    report(0.2)
    whole = _spectra(network, x, matrix)
    report(0.8)
    rows, r = len(x) // len(seeds), x.shape[1] + 1
    parts = []
    for seed in seeds:
        of = slice(seed * rows, (seed + 1) * rows)
        block = slice(of.start * r, of.stop * r)
        parts.append(_spectra(network, x[of], matrix[block, block]))
        report(0.8 + 0.2 * len(parts) / len(seeds))

    def every(read: Callable[[Spectrum], Any]) -> list[list[Any]]:
        return [[read(part[k]) for part in parts] for k in range(len(KERNELS))]

    per_part = ("kernel", "seed")
    return xr.Dataset(
        {
            "whole": ("kernel", [s.min for s in whole]),
            "whole_error": ("kernel", [s.min_error for s in whole]),
            "whole_verdict": ("kernel", [VERDICTS[s.verdict] for s in whole]),
            "largest": ("kernel", [s.max for s in whole]),
            "part": (per_part, every(lambda s: s.min)),
            "part_error": (per_part, every(lambda s: s.min_error)),
            "part_verdict": (per_part, every(lambda s: VERDICTS[s.verdict])),
            "rows": len(x),
            "table_rows": len(table.x),
            "part_rows": rows,
            "features": x.shape[1],
            "threshold": config["threshold"],
        },
        coords={"kernel": list(KERNELS), "seed": seeds},
    )


def check_parts(settings: Any) -> None:
    """Raise, with the cure, unless the tables are here and give rows enough.

    Args:
        settings: Settings of the study.

    Raises:
        FileNotFoundError: If the files of a table are not on this machine.
        ValueError: If a table has too few rows for the parts.
    """
    for table in settings.tables:
        for activation in settings.activations:
            n, d = prepared(table, activation).x.shape
            rows = len(drawn_rows(n, d, settings.size))
            if rows < 2 * settings.seeds:
                raise ValueError(
                    f"`min-eigenvalue` needs two rows of '{table}' for each seed. Got "
                    f"{rows} rows for `size={settings.size}`, and "
                    f"`seeds={settings.seeds}`. Choose a larger `size` or fewer seeds."
                )


def _spectra(
    network: AbstractLayer,
    x: Float[np.ndarray, "n d"],
    matrix: Float[np.ndarray, "r r"],
) -> list[Spectrum]:
    """Spectra of the tangent kernel and of the Jacobian one, whose part it is."""
    r = x.shape[1] + 1
    return [
        spectrum(
            block,
            singular=why_singular(network, x, jacobian=jacobian),
            method="dense",
            memory=64.0,
        )
        for jacobian, block in ((False, matrix[::r, ::r]), (True, matrix))
    ]
