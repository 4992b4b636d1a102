"""The sphere sampler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.datasets import sphere


@pytest.mark.parametrize("dimension", [1, 2, 5])
@pytest.mark.parametrize("radius", [1.0, 0.3])
def test_every_row_lies_on_the_sphere(getkey, dimension, radius):
    x = sphere(getkey(), 50, dimension, radius=radius)
    assert x.shape == (50, dimension)
    np.testing.assert_allclose(jnp.linalg.norm(x, axis=1), radius, rtol=1e-14)


@pytest.mark.parametrize("dimension", [1, 3, 4])
def test_moments_are_those_of_the_uniform_distribution(getkey, dimension):
    n, r, d = 40_000, 1.7, dimension
    x = np.asarray(sphere(getkey(), n, d, radius=r))
    moments = {
        "mean": (x, 0),
        "variance": (x**2, r**2 / d),
        "fourth": (x**4, 3 * r**4 / (d * (d + 2))),
        "cross": (x * np.roll(x, 1, axis=1), 0 if d > 1 else r**2),
    }
    for name, (samples, expected) in moments.items():
        error = samples.std(0) / n**0.5 + 1e-12
        assert (abs(samples.mean(0) - expected) < 5 * error).all(), name


def test_it_is_linear_in_the_radius_and_fixed_by_the_key(getkey):
    key = getkey()
    x = sphere(key, 4, 3)
    np.testing.assert_allclose(sphere(key, 4, 3, radius=2.5), 2.5 * x, rtol=1e-15)
    assert not np.allclose(sphere(getkey(), 4, 3), x)


def test_it_runs_in_float32():
    with jax.enable_x64(False):
        for dimension in (1, 3):
            x = sphere(jax.random.key(0), 4, dimension)
            assert x.dtype == jnp.float32


@pytest.mark.parametrize(
    ("rows", "dimension", "radius", "message"),
    [
        (0, 3, 1.0, "`rows >= 1`. Got `rows=0"),
        (4, 0, 1.0, "`dimension >= 1`. Got `dimension=0"),
        (4, 3, 0.0, "finite `radius > 0`. Got `radius=0.0"),
        (4, 3, float("nan"), "finite `radius > 0`. Got `radius=nan"),
    ],
)
def test_what_is_wrong_is_refused(getkey, rows, dimension, radius, message):
    with pytest.raises(ValueError, match=f"`sphere` needs a?.*{message}"):
        sphere(getkey(), rows, dimension, radius=radius)
