"""Binomial intervals, by their definition."""

import numpy as np
import pytest
from scipy import special

from widelimit.measures import proportion, proportion_of


@pytest.mark.parametrize(("count", "total"), [(3, 17), (160, 161), (1, 2000)])
def test_each_tail_beyond_an_end_has_two_and_a_half_per_cent(count, total):
    found = proportion_of(count, total)
    k = np.arange(total + 1)
    choose = special.gammaln(total + 1) - special.gammaln(k + 1)
    choose -= special.gammaln(total - k + 1)

    def share(p):
        return np.exp(choose + k * np.log(p) + (total - k) * np.log1p(-p))

    np.testing.assert_allclose(share(found.low)[count:].sum(), 0.025, rtol=1e-6)
    np.testing.assert_allclose(share(found.high)[: count + 1].sum(), 0.025, rtol=1e-6)
    assert found.value == count / total


def test_edges():
    none, every = proportion(np.zeros(20)), proportion(np.ones(20))
    assert (none.low, every.high) == (0.0, 1.0) and none.high == 1 - every.low > 0.1
    empty = proportion(np.zeros(0))
    assert np.isnan(empty.value) and (empty.low, empty.high) == (0.0, 1.0)
    assert str(proportion(np.array([1, 0]))) == "50.0% (1.3% to 98.7%)"
    with pytest.raises(ValueError, match="total >= 3"):
        proportion_of(3, 2)
