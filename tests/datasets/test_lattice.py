"""Lattices on spheres, against symmetry, random search and known bodies."""

import numpy as np
import pytest
import scipy.stats

from widelimit.datasets import covering_radius, sphere_lattice

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_the_cross_polytope_leaves_its_diagonals_uncovered(dimension):
    points = np.concatenate([np.eye(dimension), -np.eye(dimension)])
    expected = np.sqrt(2 - 2 / np.sqrt(dimension))
    np.testing.assert_allclose(covering_radius(points), expected, rtol=1e-12)


def test_half_a_sphere_is_far_from_the_other():
    points = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    points = np.concatenate([points, np.ones((1, 3)) / np.sqrt(3)])
    farthest = -np.ones(3) / np.sqrt(3)
    expected = np.linalg.norm(points - farthest, axis=1).min()
    np.testing.assert_allclose(covering_radius(points), expected, rtol=1e-12)


@pytest.mark.parametrize(("rows", "dimension"), [(9, 2), (60, 3), (256, 4), (90, 5)])
def test_random_search_finds_no_wider_gap(rows, dimension):
    points = sphere_lattice(rows, dimension)
    radius = covering_radius(points)
    tries = RNG.normal(size=(40_000, dimension))
    tries /= np.linalg.norm(tries, axis=1, keepdims=True)
    found = np.sqrt(2 - 2 * np.max(tries @ points.T, axis=1)).max()
    assert 0.85 * radius < found <= radius


def test_kim2023s_lattice_is_a_net():
    assert covering_radius(sphere_lattice(256, 4)) < 0.5


def test_the_plane_has_regular_polygons():
    points = sphere_lattice(12, 2)
    np.testing.assert_allclose(covering_radius(points), 2 * np.sin(np.pi / 24))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("dimension", [3, 4, 6])
def test_points_are_spread_evenly(dimension):
    rows = 2000
    points = sphere_lattice(rows, dimension)
    for axis in [*np.eye(dimension), np.ones(dimension) / np.sqrt(dimension)]:
        half = (dimension - 1) / 2  # of a coordinate's law on the sphere
        law = scipy.stats.beta(half, half, loc=-1, scale=2)
        distance = scipy.stats.kstest(points @ axis, law.cdf).statistic
        assert distance < 0.87 / np.sqrt(rows)  # of random points, on average


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((5, 3)), "norm 1"),
        (np.eye(9), "2 to 8 features"),
        (np.eye(3), "one hyperplane"),
        (np.ones(3), "points"),
    ],
)
def test_points_that_cannot_be_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        covering_radius(points)


def test_wrong_sizes_are_refused():
    for rows, dimension in [(0, 3), (5, 1)]:
        with pytest.raises(ValueError, match="sphere_lattice"):
            sphere_lattice(rows, dimension)
