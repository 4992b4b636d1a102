"""The mean norm from a Gram matrix, against that from its eigenvalues by LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.measures import mean_gaussian_norm, mean_gaussian_norm_of_gram

SHAPES = ("full", "rank 1", "rank 2", "decaying", "equal", "diagonal", "tiny", "huge")


def gram(shape, size):
    rng = np.random.default_rng(size)
    factor = rng.normal(size=(3, size, size + 2))
    if shape.startswith("rank"):
        rank = int(shape[-1])
        factor = factor[:, :, :rank] @ rng.normal(size=(3, rank, size + 2))
    factor = {
        "decaying": factor * 10.0 ** -np.arange(size)[:, None],
        "equal": np.broadcast_to(1.6 * np.eye(size), (3, size, size)),
        "diagonal": np.broadcast_to(np.diag(np.arange(size) + 0.3), (3, size, size)),
        "tiny": 1e-120 * factor,
        "huge": 1e120 * factor,
    }.get(shape, factor)
    return factor @ factor.swapaxes(1, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 41])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_norm_from_the_eigenvalues(shape, size):
    g = gram(shape, size)
    eigenvalues = jnp.asarray(np.maximum(np.linalg.eigvalsh(g), 0.0))
    expected = mean_gaussian_norm(eigenvalues)
    found = mean_gaussian_norm_of_gram(jnp.asarray(g))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 10])
@pytest.mark.parametrize("shape", SHAPES[:6])
def test_float32_keeps_its_digits_at_any_rank(shape, size):
    g = gram(shape, size)
    expected = mean_gaussian_norm_of_gram(jnp.asarray(g))
    found = mean_gaussian_norm_of_gram(jnp.asarray(g, jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=3e-6)


def test_no_matrix_is_no_norm_and_spoils_no_gradient():
    batch = jnp.asarray(gram("full", 4)).at[1].set(0.0)
    assert mean_gaussian_norm_of_gram(batch)[1] == 0
    gradient = jax.grad(lambda g: jnp.sum(mean_gaussian_norm_of_gram(g)))(batch)
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient[1]) == 0)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_gradients_are_those_through_the_eigenvalues(size):
    g = jnp.asarray(gram("full", size)[0])

    def through_eigenvalues(g):
        return mean_gaussian_norm(jnp.linalg.eigvalsh(g))

    found = jax.grad(mean_gaussian_norm_of_gram)(g)
    expected = jax.grad(through_eigenvalues)(g)
    # Only changes that keep the matrix symmetric mean anything.
    np.testing.assert_allclose(found + found.T, expected + expected.T, rtol=1e-9)


def test_leading_axes_are_a_batch():
    g = jnp.asarray(np.stack([gram("full", 3), gram("decaying", 3)]))
    one_by_one = [[mean_gaussian_norm_of_gram(m) for m in row] for row in g]
    np.testing.assert_allclose(
        mean_gaussian_norm_of_gram(g), np.asarray(one_by_one), rtol=1e-14
    )
