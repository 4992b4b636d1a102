"""The trial of `gram-depth`: the population Gram matrix on several sets of rows."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from widelimit.kernels.gram import population_gram
from widelimit.studies.du2019_problem import inputs_of, network_of, separation_of
from widelimit.studies.du2019_settings import parse

if TYPE_CHECKING:
    import xarray as xr

DEPTH_TRIAL = "widelimit.studies.du2019_depth_trial:smallest_eigenvalues"


def smallest_eigenvalues(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""$\lambda_0$ of one architecture at one depth, on disjoint sets of rows.

    Seed $s$ stands for the $s$-th set of `rows` of all rows drawn. A ResNet that is to
    have the $\lambda$ of the data has that of all of them, so that it does not change
    from set to set.

    Args:
        config: One point of the study's grid; `studies.du2019_settings` says what is in
            it.
        report: Called with the share done.

    Returns:
        Per seed `lambda_0`, NaN where rounding hides it, `error` of it, and the
        `separation` of the rows; and the `branch_separation` in the network.
    """
    import xarray as xr

    x, separation = _all_rows(config)
    network = network_of(config, width=1, separation=separation)
    rows, found = config["rows"], []
    for seed in config["seeds"]:
        found.append(population_gram(network, x[seed * rows : (seed + 1) * rows]))
        report((seed + 1) / len(config["seeds"]))
    least = [g.lambda_0 if g.positive else np.nan for g in found]
    return xr.Dataset(
        {
            "lambda_0": ("seed", least),
            "error": ("seed", [g.error for g in found]),
            "separation": ("seed", [g.separation for g in found]),
            "branch_separation": separation,
        },
        coords={"seed": list(config["seeds"])},
    )


def check_rows(settings: Any) -> None:
    """Raise, with the cure, unless the data of the study's trials are here and suffice.

    Args:
        settings: The settings; `studies.du2019_settings` says what is in them.

    Raises:
        ValueError: If the name is unknown, the data have too few rows, or a ResNet is
            to have the separation of inputs that have none.
    """
    config = settings.model_dump(mode="json") | {"seeds": list(range(settings.seeds))}
    for label in settings.architectures:
        _all_rows({**config, "architecture": label})


def _all_rows(config: Mapping[str, Any]) -> tuple[Float[np.ndarray, "n *s"], float]:
    """The rows of all sets, and the separation in the branches."""
    label = config["architecture"]
    rows = config["rows"] * len(config["seeds"])
    x, _ = inputs_of(config, parse(label)[0], rows)
    return x, separation_of(label, x, tuple(config["window"]))
