"""Descriptions: values that go to JSON and back."""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cases
from oracles import unchecked
from widelimit.activations import (
    GELU,
    AbstractActivation,
    Custom,
    Erf,
    LeakyReLU,
    ReLU,
)
from widelimit.description import Description
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Dense,
    Parameterization,
    Sequential,
)
from widelimit.networks import mlp

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def form(kind, **fields):
    """JSON form of a description, as Python objects."""
    return st.fixed_dictionaries({"kind": st.just(kind)} | fields)


activations = st.sampled_from(["ReLU", "Identity", "Erf", "GELU", "Tanh"]).flatmap(
    form
) | form("LeakyReLU", slope=finite)
denses = form(
    "Dense",
    features=st.integers(1, 2**70),
    weight_std=positive,
    bias_std=st.none() | st.just(0.0) | positive,
    scale=positive | positive.map(lambda s: -s),
    parameterization=st.sampled_from(["standard", "ntk", "direct"]),
)
networks = st.recursive(
    denses | form("Activation", function=activations),
    lambda inner: form("Sequential", layers=st.lists(inner, min_size=1, max_size=4)),
    max_leaves=8,
)


def no_constants(name):
    raise AssertionError(f"{name} is not JSON")


@quick
@given(networks)
def test_json_gives_back_an_equal_network(network_form):
    network = AbstractLayer.from_json(json.dumps(network_form))
    text = network.to_json()
    assert json.loads(text, parse_constant=no_constants) == network_form
    for reader in (type(network), AbstractLayer, Description):
        back = reader.from_json(text)
        assert back == network and hash(back) == hash(network)
        assert type(back) is type(network) and repr(back) == repr(network)


@quick
@given(networks, networks)
def test_networks_are_equal_exactly_when_their_json_is(one, other):
    read = [AbstractLayer.from_json(json.dumps(form)) for form in (one, other)]
    assert (read[0] == read[1]) == (one == other)


@pytest.mark.parametrize("value", [*cases.ACTIVATIONS, *cases.DENSE, *cases.NETWORKS])
def test_what_is_built_goes_to_json_and_back(value):
    back = Description.from_json(value.to_json())
    assert back == value and repr(back) == repr(value)


def test_kinds_without_fields_differ():
    assert len({ReLU(), GELU(), Erf(), ReLU()}) == 3
    assert Activation(ReLU()) != Activation(GELU())


@pytest.mark.parametrize(
    "change",
    [
        {"features": 5},
        {"weight_std": 1.4},
        {"bias_std": None},
        {"bias_std": 0.0},
        {"scale": 0.7},
        {"parameterization": Parameterization.NTK},
    ],
    ids=str,
)
def test_every_field_counts(change):
    dense = Dense(4, weight_std=1.3, bias_std=0.2, scale=0.6)
    other = dataclasses.replace(dense, **change)
    assert other != dense and other.to_json() != dense.to_json()


def test_json_form():
    network = Sequential((Dense(3, 1.5), Activation(LeakyReLU(0.2))))
    assert json.loads(network.to_json()) == {
        "kind": "Sequential",
        "layers": [
            {
                "kind": "Dense",
                "features": 3,
                "weight_std": 1.5,
                "bias_std": None,
                "scale": 1.0,
                "parameterization": "standard",
            },
            {"kind": "Activation", "function": {"kind": "LeakyReLU", "slope": 0.2}},
        ],
    }


def test_fields_with_a_default_may_be_left_out():
    assert Dense.from_json('{"kind": "Dense", "features": 3}') == Dense(3)
    text = '{"kind": "Dense", "features": 3, "parameterization": "ntk"}'
    assert Dense.from_json(text) == Dense(3, parameterization=Parameterization.NTK)


def test_numpy_numbers_go_to_json():
    with unchecked():
        dense = Dense(np.int64(3), np.float32(1.5))
    assert Dense.from_json(dense.to_json()) == dense == Dense(3, 1.5)


def test_abstract_classes_are_no_kinds():
    assert not any(kind.startswith("Abstract") for kind in Description.kinds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"`Dense.from_json` needs JSON text. Got '\{', which fails with"),
        ("", "needs JSON text. Got ''"),
        ('{"kind": "Dens"}', r"known `kind`. Got 'Dens'. Known kinds: .*Dense, .*ReLU"),
        ('{"features": 3}', "known `kind`. Got None"),
        ('{"kind": ["Dense"]}', r"known `kind`. Got \['Dense'\]"),
        ('{"kind": "AbstractLayer"}', "known `kind`. Got 'AbstractLayer'"),
        (
            '{"kind": "Dense", "width": 3}',
            r"fields of `Dense`. Got \['width'\]: .*width",
        ),
        ('{"kind": "Dense"}', r"fields of `Dense`. Got \[\]: .*features"),
        (
            '{"kind": "Dense", "features": "3"}',
            "`Dense` needs a whole number as `features`",
        ),
        ('{"kind": "Dense", "features": 0}', "`Dense` needs `features >= 1`"),
        (
            '{"kind": "Dense", "features": 3, "parameterization": "mup"}',
            "`parameterization` needs to be one of .*. Got 'mup'",
        ),
        ('{"kind": "ReLU"}', "description of a `Dense`. Got a `ReLU`"),
        ("[1]", "description of a `Dense`. Got a `tuple`"),
        ("3", "description of a `Dense`. Got a `int`"),
        (
            '{"kind": "Dense", "features": 3, "weight_std": NaN}',
            "finite `weight_std > 0`. Got `weight_std=nan`",
        ),
        (
            '{"kind": "Dense", "features": 3, "scale": 1e999}',
            r"finite `abs\(scale\) > 0`. Got `abs\(scale\)=inf`",
        ),
        (
            '{"kind": "LeakyReLU", "slope": Infinity}',
            "`LeakyReLU` needs a finite `slope`. Got `slope=inf`",
        ),
        (
            '{"kind": "Sequential", "layers": [{"kind": "ReLU"}]}',
            r"Wrap activations as `Activation\(ReLU\(\)\)`",
        ),
        (
            '{"kind": "Activation", "function": {"kind": "Dense", "features": 3}}',
            r"`Activation` needs an activation such as `ReLU\(\)`. Got `function=Dense",
        ),
    ],
)
def test_bad_json_is_named(text, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        Dense.from_json(text)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_fields_do_not_go_to_json(bad):
    @dataclasses.dataclass(frozen=True)
    class AbstractShift(AbstractActivation):
        by: float

        def __call__(self, z):
            return z + self.by

    with pytest.raises(ValueError, match=f"needs finite numbers. Got {bad}"):
        AbstractShift(bad).to_json()


def test_a_function_has_no_json():
    network = mlp(depth=1, width=3, activation=Custom(jnp.tanh))
    with pytest.raises(ValueError, match="`to_json` needs .* which JSON cannot hold"):
        network.to_json()
