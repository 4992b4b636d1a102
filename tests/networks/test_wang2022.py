"""The network of wang2022, against Sec. 2.1 of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.networks import wang2022_network

D, M = 3, 8


@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_the_function_of_the_paper(depth, getkey):
    network = wang2022_network(width=M, depth=depth)
    params = network.init(getkey(), (D,))
    first, *rest = [np.asarray(p["weight"]) for p in params if "weight" in p]
    signs = np.asarray(params[-1]["signs"])[:, 0]
    x = jax.random.normal(getkey(), (4, D))
    h = np.maximum(np.asarray(x) @ first, 0)
    for weight in rest:
        h = np.maximum(h @ weight, 0) * np.sqrt(2 / M)
    assert len(rest) == depth - 1 and set(signs) == {-1.0, 1.0}
    found = network.apply(params, x)[:, 0]
    np.testing.assert_allclose(found, h @ signs / np.sqrt(M), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 4])
def test_its_outputs_have_half_the_mean_square_of_the_input(depth, getkey):
    """Over 2000 networks of width 64, to five standard errors."""
    network = wang2022_network(width=64, depth=depth)
    x = jnp.array([[0.3, -1.1, 0.7]])
    keys = jax.random.split(getkey(), 2000)
    outputs = np.asarray(
        jax.vmap(lambda k: network.apply(network.init(k, (D,)), x)[0, 0])(keys)
    )
    square = outputs**2
    error = square.std() / np.sqrt(len(square))
    assert abs(square.mean() - float(jnp.sum(x**2)) / 2) < 5 * error


@pytest.mark.parametrize("wrong", [{"width": 0}, {"width": 3, "depth": 0}])
def test_sizes_must_be_positive(wrong):
    with pytest.raises(ValueError, match="wang2022_network"):
        wang2022_network(**wrong)
