"""How a training is divided over the devices: its seeds, then the rows of batches."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.layers import AbstractLayer
from widelimit.layers.data_parallel import BATCH_AXIS, batch_devices
from widelimit.training.plan import Plan

SEEDS = "seeds"


def divided(seeds: int, images: bool, plan: Plan) -> dict[str, int]:
    """Devices by what they divide.

    First every device takes as many seeds as any other. On CPUs, where small operations
    gain nothing from several cores, those that are left divide the rows of a batch of
    images. Dense layers are products, which take all cores by themselves, and functions
    of one's own may treat rows together.

    Args:
        seeds: Number of seeds.
        images: Whether inputs are images.
        plan: What is compiled in.

    Returns:
        Sizes of the axes of the mesh, in order.
    """
    count = len(jax.devices())
    of_seeds = _most(count, seeds)
    network = images and isinstance(plan.apply, AbstractLayer)
    if network and jax.default_backend() == "cpu":
        of_rows = _most(count // of_seeds, plan.batch_size // plan.accumulate)
    else:
        of_rows = 1
    return {SEEDS: of_seeds, BATCH_AXIS: of_rows}


def mesh(seeds: int, images: bool, plan: Plan) -> jax.sharding.Mesh:
    """The devices that a training takes, with axes for seeds and rows.

    Args:
        seeds: Number of seeds.
        images: Whether inputs are images.
        plan: What is compiled in.

    Returns:
        The mesh.
    """
    axes = divided(seeds, images, plan)
    devices = np.array(jax.devices()[: math.prod(axes.values())])
    return jax.sharding.Mesh(devices.reshape(*axes.values()), tuple(axes))


def own_part(array: Array, axis: int = 0) -> Array:
    """This device's part of an array that every device has whole.

    Args:
        array: As many entries on the axis as divide over the devices of the batch.
        axis: The axis.

    Returns:
        The part.
    """
    devices = batch_devices()
    if devices == 1:
        return array
    size = array.shape[axis] // devices
    start = jax.lax.axis_index(BATCH_AXIS) * size
    return jax.lax.dynamic_slice_in_dim(array, start, size, axis)


def of_all_parts(function: Callable[..., Any], *arrays: Array) -> Any:
    """A function of rows, each device of the batch taking its part of them.

    Args:
        function: Takes the arrays and gives one entry for each of their rows.
        arrays: As many rows in each; the last are repeated where they do not divide.

    Returns:
        What it gives for all rows, on every device.
    """
    devices, n = batch_devices(), len(arrays[0])
    if devices == 1:
        return function(*arrays)
    places = jnp.minimum(jnp.arange(-(-n // devices) * devices), n - 1)
    own = own_part(places)
    found = function(*(array[own] for array in arrays))
    whole = jax.lax.all_gather(found, BATCH_AXIS, tiled=True)
    return jax.tree.map(lambda a: a[:n], whole)


def mean_of_parts(tree: Any) -> Any:
    """The mean of what the devices of the batch have, each of equally many rows.

    Args:
        tree: Arrays.

    Returns:
        The same on every device.
    """
    return jax.lax.pmean(tree, BATCH_AXIS) if batch_devices() > 1 else tree


def _most(devices: int, count: int) -> int:
    """How many of the devices so many equal things divide over."""
    return max(k for k in range(1, devices + 1) if count % k == 0)
