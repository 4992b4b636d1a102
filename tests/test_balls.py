"""Balls of a norm, against NumPy in more digits."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.balls import euclidean, inside, nearest, sizes

SHAPE = (40, 3, 5)


def pairs(getkey, spread, dtype=jnp.float32):
    centres = jax.random.normal(getkey(), SHAPE, dtype)
    return centres + spread * jax.random.normal(getkey(), SHAPE, dtype), centres


def exact_squares(points, centres):
    """Squared distances of rows, in fractions."""
    rows = np.asarray(points).reshape(len(points), -1).astype(float)
    starts = np.asarray(centres).reshape(rows.shape).astype(float)
    return [
        sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(r, s, strict=True))
        for r, s in zip(rows, starts, strict=True)
    ]


@pytest.mark.parametrize("radius", [0.7, 1e-3, 1e-6])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_points_are_inside_in_exact_arithmetic(radius, dtype, getkey):
    points, centres = pairs(getkey, 1.0, dtype)
    kept = inside(points, centres, radius, "l2")
    assert max(exact_squares(kept, centres)) <= Fraction(radius) ** 2
    box = inside(points, centres, radius, "linf")
    gaps = np.asarray(box, float) - np.asarray(centres, float)
    assert np.abs(gaps).max() <= radius  # float64 holds differences of float32
    if radius > 1e-5:
        far = np.sqrt([float(s) for s in exact_squares(kept, centres)])
        np.testing.assert_allclose(far, radius, rtol=1e-3)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_points_that_are_inside_stay(norm, getkey):
    points, centres = pairs(getkey, 0.01, jnp.float64)
    assert jnp.all(inside(points, centres, 3.0, norm) == points)
    np.testing.assert_allclose(nearest(points, centres, 3.0, norm), points, rtol=1e-12)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_ball_of_radius_0_is_its_centre(norm, getkey):
    points, centres = pairs(getkey, 1.0)
    for project in (inside, nearest):
        assert jnp.all(project(points, centres, 0.0, norm) == centres)
        assert jnp.all(project(centres, centres, 0.0, norm) == centres)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", np.inf)])
def test_nearest_points_lie_on_the_sphere(norm, order, getkey):
    points, centres = pairs(getkey, 1.0, jnp.float64)
    found = nearest(points, centres, 0.3, norm)
    moved = np.asarray(found - centres).reshape(len(points), -1)
    far = np.linalg.norm(moved, order, axis=1)
    np.testing.assert_allclose(far, 0.3, rtol=1e-12)
    way = jax.random.normal(getkey(), SHAPE)
    way = way / np.linalg.norm(way.reshape(len(way), -1), order, axis=1)[:, None, None]
    other = centres + 0.3 * way
    gap, gap_of_other = (sizes(points - p, "l2") for p in (found, other))
    assert jnp.all(gap <= gap_of_other)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_norms_neither_overflow_nor_vanish(scale, getkey):
    vectors = jax.random.normal(getkey(), (4, 7), jnp.float32)
    found = euclidean(jnp.float32(scale) * vectors, 1)
    expected = scale * np.linalg.norm(np.asarray(vectors, float), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert jnp.all(jax.grad(lambda v: euclidean(v, 1).sum())(0 * vectors) == 0)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_every_row_may_have_its_own_radius(norm, getkey):
    points, centres = pairs(getkey, 1.0, jnp.float64)
    radii = jnp.linspace(0.0, 2.0, len(points))
    for project in (inside, nearest):
        found = project(points, centres, radii, norm)
        for i in (0, 7, 39):
            rows = slice(i, i + 1)
            alone = project(points[rows], centres[rows], float(radii[i]), norm)
            np.testing.assert_allclose(found[rows], alone, rtol=1e-12, atol=1e-15)
