"""First crossings of random sums of kinks, against all their pieces."""

import jax.numpy as jnp
import numpy as np

from widelimit.attacks.kinks import Kinks
from widelimit.attacks.ray import first_crossing


def by_pieces(p, q, a, offset, slope, limit):
    def h(t):
        z = p + t * q
        return a @ np.where(z > 0, z, slope * z) + offset

    places = -p / q
    ends = np.sort(np.append(places[(places > 0) & (places < limit)], limit))
    left = 0.0
    for right in ends:
        if h(right) < 0:
            return left + (right - left) * h(left) / (h(left) - h(right))
        left = right
    return np.inf


def test_no_dip_is_passed_over():
    rng = np.random.default_rng(6)
    m, n, limit, slope, offset = 20, 3000, 3.0, 0.25, 0.5
    q, a = rng.normal(size=(m, n)), rng.normal(size=m)
    p = rng.normal(size=(m, 20 * n))
    p[0, ::3] = 0.0  # a kink at the start
    start = a @ np.where(p > 0, p, slope * p) + offset
    p = p[:, (start > 0) & (start < 1)][:, :n]
    h = Kinks(*map(jnp.asarray, (p, q, a, np.ones(n), offset)), slope)
    found = first_crossing(h, h.at(jnp.zeros(n)), jnp.full(n, limit))
    expected = [by_pieces(p[:, k], q[:, k], a, offset, slope, limit) for k in range(n)]
    crosses = np.isfinite(expected)
    assert 100 < crosses.sum() < n - 100
    np.testing.assert_array_equal(found.found, crosses)
    places = np.where(crosses, expected, limit)
    np.testing.assert_allclose(found.place, places, rtol=1e-9)
    assert np.all(h.at((found.place + found.end) / 2)[crosses] < 0)
