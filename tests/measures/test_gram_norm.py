"""The mean norm from a Gram matrix, against that from its eigenvalues by LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.measures import mean_gaussian_norm, mean_gaussian_norm_of_gram

# Compiled once for each size, and shared by all tests.
norm_of_gram = jax.jit(mean_gaussian_norm_of_gram)
norm_of_variances = jax.jit(mean_gaussian_norm)

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
    expected = norm_of_variances(eigenvalues)
    np.testing.assert_allclose(norm_of_gram(jnp.asarray(g)), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 10])
@pytest.mark.parametrize("shape", SHAPES[:6])
def test_float32_keeps_its_digits_at_any_rank(shape, size):
    g = gram(shape, size)
    expected = norm_of_gram(jnp.asarray(g))
    found = norm_of_gram(jnp.asarray(g, jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=3e-6)


def test_no_matrix_is_no_norm_and_spoils_no_gradient():
    batch = jnp.asarray(gram("full", 3)).at[1].set(0.0)
    assert norm_of_gram(batch)[1] == 0
    total = lambda g: jnp.sum(mean_gaussian_norm_of_gram(g))  # noqa: E731
    gradient = jax.jit(jax.grad(total))(batch)
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient[1]) == 0)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_gradients_are_those_through_the_eigenvalues(size):
    g = gram("full", size)[0]
    eigenvalues, vectors = np.linalg.eigh(g)
    slopes = jax.jit(jax.grad(mean_gaussian_norm))(jnp.asarray(eigenvalues))
    expected = (vectors * np.asarray(slopes)) @ vectors.T
    found = jax.jit(jax.grad(mean_gaussian_norm_of_gram))(jnp.asarray(g))
    # Only changes that keep the matrix symmetric mean anything.
    np.testing.assert_allclose(found + found.T, 2 * expected, rtol=1e-9)


def test_leading_axes_are_a_batch():
    g = jnp.asarray(np.stack([gram("full", 3), gram("decaying", 3)]))
    one_by_one = [[norm_of_gram(m) for m in row] for row in g]
    np.testing.assert_allclose(norm_of_gram(g), np.asarray(one_by_one), rtol=1e-14)
