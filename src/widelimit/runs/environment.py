"""What a result was computed with: versions, device, precision."""

import functools
import platform
import sys
from importlib.metadata import version
from typing import Any

from widelimit._cores import cpu_count


def environment() -> dict[str, Any]:
    """Versions, machine, device and precision of this process, as JSON data.

    JAX is asked for its device only if something has imported it already.

    Returns:
        Versions by package, `python`, `system`, `cpus`, `device` (platform and kind),
        `default_float` and `matmul_precision`; the last three are `None` without JAX.
    """
    return _versions() | {"cpus": cpu_count()} | _jax_settings()


@functools.cache
def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{p: version(p) for p in ("widelimit", "jax", "jaxlib", "numpy", "xarray")},
    }


def _jax_settings() -> dict[str, Any]:
    jax = sys.modules.get("jax")
    if jax is None:
        return {"device": None, "default_float": None, "matmul_precision": None}
    try:
        first = jax.devices()[0]
        device = {
            "platform": first.platform,
            "kind": first.device_kind,
            "count": jax.device_count(),
        }
    except RuntimeError as error:  # no usable device: the trial says so itself
        device = {"platform": None, "kind": str(error)}
    return {
        "device": device,
        "default_float": "float64" if jax.config.jax_enable_x64 else "float32",
        "matmul_precision": jax.config.jax_default_matmul_precision,
    }
