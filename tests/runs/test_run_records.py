"""Records and their JSON: nothing is lost, and damage is told."""

import json

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from widelimit.runs import Record, canonical_json, config_key
from widelimit.runs.encoding import decode_dataset, encode_dataset
from widelimit.runs.environment import environment
from widelimit.runs.trial import evaluate

NUMBERS = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
    *("uint64", "float16", "float32", "float64"),
]
plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
configs = st.dictionaries(st.text(), plain_data, max_size=4)


def record(config=None, values=None, error=None, seconds=1.5):
    return Record(
        config={"width": 64} if config is None else config,
        started="2026-01-01T00:00:00.000+00:00",
        wall_seconds=seconds,
        environment={"jax": "0.10"},
        values=values,
        error=error,
    )


def there_and_back(values):
    text = json.dumps(encode_dataset(values), allow_nan=False)
    return decode_dataset(json.loads(text))


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda d: hnp.arrays(
            d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    )
)
def test_arrays_come_back_bit_for_bit(array):
    back = there_and_back(xr.Dataset({"a": (list("xyz")[: array.ndim], array)}))["a"]
    assert back.dtype == array.dtype and back.shape == array.shape
    nan = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    np.testing.assert_array_equal(np.isnan(back) if nan.any() else nan, nan)
    # Bytes, not `==`: -0.0 is not 0.0.
    assert back.values[~nan].tobytes() == array[~nan].tobytes()


def test_special_floats():
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1, 1 / 3, 1e308])
    back = there_and_back(xr.Dataset({"a": ("x", array)}))["a"].values
    assert back.tobytes() == array.tobytes()


def test_labels_attributes_and_text_come_back():
    values = xr.Dataset(
        {
            "loss": (("epoch", "split"), np.ones((2, 2)), {"units": "nats"}),
            "name": ("epoch", np.array(["a", "nan"], dtype=object)),
            "stable": ((), True),
        },
        {
            "epoch": [0, 100],
            "split": ["train", "test"],
            "rate": ("epoch", [0.1, np.inf]),
            "when": 3,
        },
        {"note": ["φ", 1]},
    )
    xr.testing.assert_identical(there_and_back(values), values)


def test_jax_arrays_are_written():
    values = xr.Dataset({"a": ("x", jnp.arange(3.0) / 3)})
    np.testing.assert_array_equal(there_and_back(values)["a"], np.arange(3.0) / 3)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1j]),
        np.array(["2026-01-01"], dtype="datetime64[ns]"),
        np.array([{"a": 1}]),
        np.asarray(jnp.ones(1, jnp.bfloat16)),
    ],
    ids=lambda a: str(a.dtype),
)
def test_other_dtypes_are_refused_by_name(array):
    with pytest.raises(ValueError, match=r"`gain` with dtype .*Convert it"):
        encode_dataset(xr.Dataset({"gain": ("x", array)}))


def test_attributes_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match=r"on `a`.*Make it a variable"):
        encode_dataset(xr.Dataset({"a": ((), 1.0, {"limit": float("nan")})}))


@given(configs, st.none() | st.text(min_size=1))
def test_records_come_back(config, error):
    values = xr.Dataset({"a": ("x", [0.1, np.nan])}) if error is None else None
    written = record(config, values, error)
    text = written.to_json()
    assert "\n" not in text and text.isascii()
    back = Record.from_json(text)
    assert back.to_json() == text
    assert back.key == written.key == config_key(config)
    assert back.status == ("done" if error is None else "failed")
    assert back.error == error and back.environment == {"jax": "0.10"}


@given(configs)
def test_key_ignores_order_only(config):
    shuffled = dict(reversed(list(config.items())))
    assert canonical_json(shuffled) == canonical_json(config)
    assert json.loads(canonical_json(config)) == config
    assert config_key({**config, "another": 1}) != config_key({**config, "another": 2})


def test_canonical_text():
    config = {"width": 64, "scale": 0.10, "depths": (1, 2), "name": "é", "bias": None}
    assert canonical_json(config) == (
        '{"bias":null,"depths":[1,2],"name":"\\u00e9","scale":0.1,"width":64}'
    )
    keys = {config_key({"a": v}) for v in (1, 1.0, True, "1")}
    assert len(keys) == 4 and all(len(k) == 20 for k in keys)


@pytest.mark.parametrize("value", [np.int64(3), float("inf"), {1, 2}, b"x"])
def test_configurations_of_other_things_are_refused(value):
    with pytest.raises(ValueError, match="needs plain JSON data"):
        config_key({"a": value})


@pytest.mark.parametrize("both", [True, False])
def test_a_record_has_values_or_an_error(both):
    with pytest.raises(ValueError, match="both" if both else "neither"):
        record(values=xr.Dataset() if both else None, error="x" if both else None)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda text: "", "not the record of a trial"),
        (lambda text: text[: len(text) // 2], "not the record of a trial"),
        (lambda text: "[1, 2]", "not the record of a trial"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "has format 2"),
        (lambda text: text.replace('"width": 64', '"width": 65'), "its key is"),
        (lambda text: text.replace('"error"', '"eror"'), "damaged: KeyError"),
        (lambda text: text.replace('"shape": [2]', '"shape": [3]'), "damaged"),
        (lambda text: text.replace('"float64"', '"object"'), "unknown dtype"),
    ],
)
def test_damaged_records_are_refused(damage, message):
    text = record(values=xr.Dataset({"a": ("x", [1.0, 2.0])})).to_json()
    assert damage(text) != text
    with pytest.raises(ValueError, match=message):
        Record.from_json(damage(text))


def test_environment_names_versions_device_and_precision():
    found = environment()
    json.dumps(found, allow_nan=False)
    assert found["jax"] == jax.__version__ and found["numpy"] == np.__version__
    assert found["device"]["platform"] == jax.default_backend()
    assert found["default_float"] == "float64"  # conftest.py switches x64 on
    assert found["cpus"] >= 1


def test_the_reason_is_what_was_raised():
    def fails(x):
        raise ValueError("`trial` needs more rows. Got 3.")

    trial = evaluate(lambda config, report: jax.jit(fails)(1.0), {}, lambda done: None)
    assert trial.error is not None and not trial.error.strip().endswith("Got 3.")
    assert trial.reason == "ValueError: `trial` needs more rows. Got 3."
    assert record(error="The process was killed.\n").reason == "The process was killed."
    assert record(error="a\nKeyboardInterrupt\n").reason == "KeyboardInterrupt"
    assert record(values=xr.Dataset()).reason == ""
