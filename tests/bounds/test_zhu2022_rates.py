import mpmath
import numpy as np
import pytest
from mpmath import mpf

from widelimit.bounds.zhu2022 import (
    TABLE1,
    table2_rates,
    theorem1_rate,
    theorem1_table,
    theorem3_rate,
)

SIZES = [  # d, m, o, L
    (5, 7, 3, 2),
    (11, 40, 2, 3),
    (3, 25, 6, 5),
]


def betas(name, d, m, o):
    match name:
        case "lecun":
            return d**-0.5, m**-0.5, m**-0.5
        case "he":
            return (2 / d) ** 0.5, (2 / m) ** 0.5, (2 / m) ** 0.5
        case _:
            return (2 / m) ** 0.5, (2 / m) ** 0.5, o**-0.5


@pytest.mark.parametrize("d, m, o, L", SIZES)
def test_theorem1_rate_at_high_precision(d, m, o, L):
    b1, bL, gamma = mpf("0.37"), mpf("0.23"), mpf("1.3")
    first = mpmath.sqrt(mpf(L) ** 3 * mpf(m) ** 2 * b1**2 * bL**2)
    second = mpmath.sqrt(m * o * b1**2 * bL**2)
    decay = mpmath.exp(-mpf(m) / mpf(L) ** 3)
    expected = (first * decay + second) * gamma ** (L - 2)
    rate = theorem1_rate(
        width=m, depth=L - 1, outputs=o, beta_first=0.37, beta_last=0.23, gamma=1.3
    )
    np.testing.assert_allclose(rate, float(expected), rtol=1e-13)


@pytest.mark.parametrize("name", TABLE1)
@pytest.mark.parametrize("d, m, o, L", SIZES)
def test_table1_at_high_precision(name, d, m, o, L):
    decay = mpmath.exp(-mpf(m) / mpf(L) ** 3)
    by = o if name == "ntk" else d
    tail = mpf(1) if name == "ntk" else mpmath.sqrt(mpf(o) / d)
    expected = mpmath.sqrt(mpf(L) ** 3 * m / by) * decay + tail
    if name == "lecun":
        expected *= (mpmath.sqrt(2) / 2) ** (L - 2)
    row = theorem1_table(name, width=m, depth=L - 1, features=d, outputs=o)
    np.testing.assert_allclose(row, float(expected), rtol=1e-13)


@pytest.mark.parametrize("name, factor", [("lecun", 1), ("he", 2), ("ntk", 2**0.5)])
@pytest.mark.parametrize("d, m, o, L", SIZES)
def test_table1_drops_a_constant_factor(name, factor, d, m, o, L):
    b1, b, bL = betas(name, d, m, o)
    full = theorem1_rate(
        width=m,
        depth=L - 1,
        outputs=o,
        beta_first=b1,
        beta_last=bL,
        gamma=b * (m / 2) ** 0.5,
    )
    row = theorem1_table(name, width=m, depth=L - 1, features=d, outputs=o)
    np.testing.assert_allclose(full / row, factor, rtol=1e-12)
    np.testing.assert_allclose(TABLE1[name], factor)


@pytest.mark.parametrize("name", TABLE1)
@pytest.mark.parametrize("L", [4, 7, 10])
def test_training_term_peaks_at_half_the_cube_of_the_depth(name, L):
    m = np.arange(1, 2 * L**3)
    # No outputs: the second term is constant in the width anyway.
    row = theorem1_table(name, width=m, depth=L - 1, features=9, outputs=4)
    assert abs(m[np.argmax(row)] - L**3 / 2) <= 1


def test_curves_broadcast():
    m, L = np.array([10, 100, 1000]), np.array([[2], [4]])
    row = theorem1_table("he", width=m, depth=L - 1, features=5, outputs=3)
    assert row.shape == (2, 3)
    one = theorem1_table("he", width=100, depth=3, features=5, outputs=3)
    np.testing.assert_allclose(row[1, 1], one)
    rate = theorem1_rate(
        width=m, depth=L - 1, outputs=3, beta_first=0.4, beta_last=m**-0.5
    )
    assert rate.shape == (2, 3)
    assert table2_rates(width=m, depth=L - 1, outputs=3).wu_holds.shape == (2, 3)
    assert theorem3_rate(width=m, samples=2, exponent=L).shape == (2, 3)


@pytest.mark.parametrize("d, m, o, L", SIZES)
def test_table2_at_high_precision(d, m, o, L):
    rates = table2_rates(width=m, depth=L - 1, outputs=o)
    log, m, L = mpmath.log(m), mpf(m), mpf(L)
    zhu = mpmath.sqrt(L**3 * m / o) * mpmath.exp(-m / L**3) + 1
    wu = L**2 * mpmath.cbrt(m) * mpmath.sqrt(log) + mpmath.sqrt(m * L)
    huang = mpf(2) ** ((3 * L - 5) / 2) * mpmath.sqrt(m)
    found = (rates.zhu, rates.wu, rates.wu_reduced, rates.huang)
    expected = (zhu, wu, mpmath.sqrt(m * L), huang)
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-13)


def test_wu_needs_astronomic_widths():
    m = np.array([1.0, 400.0, 1e6, 2.0e12, 2.4e12, 1e20])
    rates = table2_rates(width=m, depth=1, outputs=1)
    assert rates.wu_holds.tolist() == [False, False, False, False, True, True]
    assert not table2_rates(width=1e20, depth=9, outputs=1).wu_holds
    # Where it holds, the reduced form is right up to a factor of 2.
    ratio = (rates.wu / rates.wu_reduced)[rates.wu_holds]
    assert (ratio > 1).all() and (ratio < 2).all()


@pytest.mark.parametrize("m, n, c", [(30, 5, 1.5), (400, 7, 2.0), (1000, 11, 3.0)])
def test_theorem3_rate_at_high_precision(m, n, c):
    m, n, c = mpf(m), mpf(n), mpf(c)
    front = (mpmath.sqrt(n * mpmath.log(m)) + n) / m ** (c - 1)
    expected = front * (1 / mpmath.sqrt(n**3 * m) + 1 / m ** (c - mpf("0.5")))
    rate = theorem3_rate(width=float(m), samples=float(n), exponent=float(c))
    np.testing.assert_allclose(rate, float(expected), rtol=1e-13)


@pytest.mark.parametrize("c, slope, remark", [(2.0, -1.5, -2.5), (3.0, -2.5, -4.5)])
def test_the_remark_after_theorem3_keeps_the_smaller_term(c, slope, remark):
    n, m = 5, np.array([1e12, 1e14])
    rate = theorem3_rate(width=m, samples=n, exponent=c)
    rate = rate / (np.sqrt(n * np.log(m)) + n)
    found = np.log(rate[1] / rate[0]) / np.log(m[1] / m[0])
    np.testing.assert_allclose(found, slope, atol=1e-3)
    assert found > remark + 0.9


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: theorem1_table("he", width=0, depth=1, features=1, outputs=1),
            "`theorem1_table` needs `width >= 1`. Got `width=0.0`",
        ),
        (
            lambda: theorem1_table("xy", width=1, depth=1, features=1, outputs=1),
            "one of 'lecun', 'he', 'ntk'. Got `initialization='xy'`",
        ),
        (
            lambda: theorem1_rate(
                width=2, depth=0, outputs=1, beta_first=1, beta_last=1
            ),
            "`theorem1_rate` needs `depth >= 1`. Got `depth=0.0`",
        ),
        (
            lambda: theorem1_rate(
                width=2, depth=1, outputs=1, beta_first=1, beta_last=-1
            ),
            "`beta_last >= 0`. Got `beta_last=-1.0`",
        ),
        (
            lambda: theorem1_rate(
                width=2, depth=1, outputs=1, beta_first=1, beta_last=1, gamma=-2
            ),
            "`gamma >= 0`. Got `gamma=-2.0`",
        ),
        (
            lambda: table2_rates(width=np.array([4, 0]), depth=1, outputs=1),
            "`table2_rates` needs `width >= 1`",
        ),
        (
            lambda: theorem3_rate(width=2, samples=1, exponent=1.4),
            "`exponent >= 1.5`. Got `exponent=1.4`",
        ),
    ],
)
def test_numbers_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
