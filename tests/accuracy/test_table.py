"""The table: what is kept, what is broken, and how it is told."""

import dataclasses
import json
import math

import jax
import mpmath
import numpy as np
import pytest

from oracles import unchecked
from widelimit import cli
from widelimit.accuracy import accuracy_table, page
from widelimit.accuracy.cases import Case, cases
from widelimit.accuracy.comparison import (
    INFINITE,
    OUT_OF_RANGE,
    relative_error,
    singular_value,
)
from widelimit.accuracy.duals import compare_duals, library_duals
from widelimit.accuracy.grid import moments
from widelimit.accuracy.kernels import (
    KERNELS,
    ROUNDING,
    compare_kernels,
    library_kernels,
)
from widelimit.accuracy.networks import Network
from widelimit.activations import Identity

CASES = {case.name: case for case in cases()}
TINY = Network("plain", "Identity", 1.1, 0.3, (1, 3), (1,), few=True)


class Off(Identity):
    """Wrong in the twelfth digit."""

    def dual(self, c, p, q, height=None):
        return super().dual(c, p, q, height) * (1 + 1e-11)


def broken(comparisons):
    return {c.quantity for c in comparisons if not c.kept}


@pytest.mark.parametrize(
    ("name", "precision"), [("ReLU()", "float64"), ("Erf()", "float32")]
)
def test_duals_keep_the_promise(name, precision):
    grid = moments(precision)
    actual = library_duals(CASES[name].activation, precision, grid)
    found = compare_duals(CASES[name], precision, grid, actual)
    assert len(found) == 8 * len(grid) and not broken(found)
    singular = [c for c in found if c.singular]
    assert {c.quantity.split()[0] for c in singular} == (
        {"dual_derivative"} if name == "ReLU()" else set()
    )


def test_an_error_in_the_twelfth_digit_is_seen():
    case = dataclasses.replace(CASES["Identity()"], activation=Off())
    grid = moments("float64", few=True)
    found = compare_duals(case, "float64", grid, library_duals(Off(), "float64", grid))
    assert broken(found) == {"dual", "dual by c"}


def test_kernels_keep_the_promise():
    network = dataclasses.replace(TINY, activation="Erf", float64=(1,))
    for precision in ("float64", "float32"):
        actual = library_kernels(network, precision)
        found = compare_kernels(network, precision, actual)
        assert len(found) == 4 * 5 and not broken(found)


@pytest.mark.slow
def test_rounding_spoils_slopes_near_kinks_and_deep_chaos_only():
    kinked = dataclasses.replace(TINY, activation="ReLU", float64=(1,), few=False)
    chaotic = Network("plain", "Sine", 1.2, 0.3, (1, 60), (1,))
    for network, quantities in ((kinked, {"NTK by x"}), (chaotic, KERNELS)):
        actual = library_kernels(network, "float64")
        found = compare_kernels(network, "float64", actual)
        spoilt = [c for c in found if c.singular == ROUNDING]
        assert {c.quantity for c in spoilt} == set(quantities) and not broken(found)
        assert {c.place.split(", ")[0] for c in spoilt} >= {"distance 1e-8"}
        assert not any("generic" in c.place for c in spoilt)
        assert not any("depth 1" in c.place for c in spoilt if network is chaotic)


def test_a_missing_bias_is_seen():
    actual = library_kernels(dataclasses.replace(TINY, bias_std=0.0), "float64")
    assert len(broken(compare_kernels(TINY, "float64", actual))) == 2


def test_relative_errors():
    with mpmath.workdps(30):
        third = mpmath.mpf(1) / 3
        assert 0 < relative_error(1 / 3, third) < 1e-16
    assert relative_error(0.0, mpmath.mpf(0)) == 0
    assert relative_error(1e-30, mpmath.mpf(0)) == math.inf
    assert relative_error(math.nan, third) == math.inf
    assert relative_error(1e-3, mpmath.mpf(0), 1) == pytest.approx(1e-2)
    assert relative_error(2.0, mpmath.mpf(1), 1) == pytest.approx(1)


def test_singular_values():
    assert singular_value(mpmath.inf, "float64") == INFINITE
    assert singular_value(mpmath.nan, "float64") == INFINITE
    assert singular_value(mpmath.mpf(1e-40), "float32") == OUT_OF_RANGE
    assert singular_value(mpmath.mpf(1e40), "float32") == OUT_OF_RANGE
    assert singular_value(mpmath.mpf(1e40), "float64") is None
    assert singular_value(mpmath.mpf(0), "float64") is None


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_grid_holds_moments_that_exist(precision):
    for m in moments(precision):
        with mpmath.workdps(80):
            c, p, q = m.exact
            assert c * c <= p * q and p > 0 and q > 0
        kind = np.dtype(precision).type
        assert all(float(kind(x)) == x for x in m.rounded)
        assert (m.height is None) == (
            tuple(map(float, m.exact)) == m.rounded
        ) or m.height


def test_a_table_of_one_activation(tmp_path, capsys):
    out = tmp_path / "there" / "accuracy.md"
    arguments = ["accuracy", "--only", "Identity()", "--precision", "float64"]
    status = cli.main([*arguments, "--out", str(out), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 0 and told["kept"] and told["promise"] == {"float64": 1e-12}
    assert [row["quantity"] for row in told["rows"]][:2] == ["dual", "dual by c, p, q"]
    assert all(0 <= row["float64"]["worst"] <= 1e-12 for row in told["rows"])
    text = out.read_text()
    assert "`widelimit accuracy --precision float64 --only Identity()`" in text
    assert "kept in all 5 rows" in text and "float32:" not in text
    assert "broken\n" not in text and "| `Identity()` | dual |" in text


def test_a_broken_promise_is_told(monkeypatch, tmp_path, capsys):
    case = dataclasses.replace(CASES["Identity()"], activation=Off(), label="Off")
    monkeypatch.setattr("widelimit.accuracy.run.cases", lambda: (case,))
    monkeypatch.setattr("widelimit.accuracy.run.networks", lambda: (TINY,))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["accuracy"]) == 1
    text = (tmp_path / "accuracy.md").read_text()
    assert "The promise is broken in 2 of 9 rows." in text
    assert "## Where the promise is broken\n\n- `Off`, dual, float64: " in text
    assert "## Kernels" in text and "Identity network" in text
    assert "broken in 2 of 9 rows. See accuracy.md" in capsys.readouterr().out


def test_unknown_names():
    with pytest.raises(ValueError, match="Got .only='Ramp'.. Take one of .ReLU"):
        accuracy_table(only="Ramp")
    with unchecked(), pytest.raises(ValueError, match="Got `precision='float16'`"):
        accuracy_table(precision="float16")


@pytest.mark.slow
def test_all_closed_forms_in_float64():
    table = accuracy_table(precision="float64", only="ReLU")
    values = {"NNGP", "NTK", "dual", "dual_derivative"}
    assert all(row.kept for row in table.rows if row.quantity in values)
    assert "## Duals" in page(table) and "## Kernels" in page(table)
    assert isinstance(CASES["ReLU()"], Case) and jax.devices()
